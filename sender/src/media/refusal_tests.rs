//! Broken files are refused with file, offset, reason and remedy.

use super::synthetic::{Adaptation, PMT_PID, Recipe, VIDEO_PID, Writer, pes};
use super::{Loop, MediaError, Reason};

fn refusal(bytes: Vec<u8>) -> Reason {
    match Loop::from_bytes("film.ts", bytes) {
        Err(MediaError::Refused { name, reason }) => {
            assert_eq!(name, "film.ts");
            reason
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// The default stream with something done to it.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Recipe::default().build();
    change(&mut bytes);
    bytes
}

fn clocked(pcrs: &[u64]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.tables();
    for &pcr in pcrs {
        writer.packet(VIDEO_PID, false, Some(Adaptation { pcr, opcr: None }), &[1; 100]);
        (0..9).for_each(|_| writer.null());
    }
    writer.bytes
}

const MS: u64 = 27_000;

#[test]
fn files_that_are_no_transport_stream_are_refused() {
    assert_eq!(refusal(Vec::new()), Reason::Empty);
    assert_eq!(refusal(b"GIF89a: this begins with a sync byte".repeat(100)), Reason::NotTs);
    assert_eq!(refusal(vec![0; 18_800]), Reason::NotTs);
}

#[test]
fn longer_packets_are_told_by_their_length() {
    let bytes = Recipe::default().build();
    let m2ts: Vec<u8> = bytes.chunks(188).flat_map(|packet| [&[0, 1, 2, 3], packet].concat()).collect();
    assert_eq!(refusal(m2ts), Reason::M2ts);
    let with_parity: Vec<u8> = bytes.chunks(188).flat_map(|packet| [packet, &[9; 16]].concat()).collect();
    assert_eq!(refusal(with_parity), Reason::Packets204);
}

#[test]
fn a_cut_off_packet_is_refused_with_the_command_that_mends_it() {
    let bytes = changed(|bytes| bytes.truncate(188 * 500 + 77));
    assert_eq!(refusal(bytes.clone()), Reason::Truncated { offset: 94_000, have: 77 });
    let message = Loop::from_bytes("film.ts", bytes).unwrap_err().to_string();
    assert!(message.contains("film.ts") && message.contains("truncate -s 94000"), "{message}");
}

#[test]
fn lost_sync_is_refused_where_it_is_lost() {
    assert_eq!(refusal(changed(|bytes| bytes[188 * 300] = 0x48)), Reason::NoSync { offset: 56_400 });
    let torn = changed(|bytes| drop(bytes.drain(30_000..30_188 - 10)));
    let torn = torn[..torn.len() / 188 * 188].to_vec();
    assert_eq!(refusal(torn), Reason::NoSync { offset: 30_080 });
}

#[test]
fn damaged_and_scrambled_packets_are_refused() {
    let Reason::Damaged { offset: 376, .. } = refusal(changed(|bytes| bytes[377] |= 0x80)) else { panic!() };
    let Reason::Damaged { offset: 376, .. } = refusal(changed(|bytes| bytes[380] = 184)) else { panic!() };
    let scrambled = changed(|bytes| bytes[188 * 3 + 3] |= 0xc0);
    assert_eq!(refusal(scrambled), Reason::Scrambled { offset: 564, pid: VIDEO_PID });
}

#[test]
fn a_stream_without_programme_or_clock_is_refused() {
    let mut writer = Writer::default();
    (0..100).for_each(|_| writer.null());
    assert_eq!(refusal(writer.bytes), Reason::NoProgramme { what: "a programme association table (PAT)" });

    let mut writer = Writer::default();
    (0..10).for_each(|_| writer.pat());
    assert_eq!(refusal(writer.bytes), Reason::NoProgramme { what: "its programme map table (PMT)" });

    let mut writer = Writer::default();
    writer.pat();
    writer.pmt(0x1fff);
    assert_eq!(refusal(writer.bytes), Reason::NoPcr { pmt: PMT_PID });

    assert_eq!(refusal(clocked(&[])), Reason::NoPcr { pmt: PMT_PID });
    assert_eq!(refusal(clocked(&[5])), Reason::OnePcr { pid: VIDEO_PID });
    assert_eq!(refusal(clocked(&[5, 5, 5])), Reason::OnePcr { pid: VIDEO_PID });
}

#[test]
fn a_clock_that_runs_backwards_jumps_or_moves_is_refused() {
    let backwards = clocked(&[1000 * MS, 1040 * MS, 1030 * MS]);
    assert_eq!(refusal(backwards), Reason::PcrBackwards { offset: 188 * 22, by_ms: 10 });
    let jump = clocked(&[1000 * MS, 1040 * MS, 20_000 * MS]);
    assert_eq!(refusal(jump), Reason::PcrJump { offset: 188 * 22, by_ms: 18_960 });

    let mut writer = Writer { bytes: clocked(&[0, 40 * MS]), ..Writer::default() };
    let at = writer.count() * 188;
    writer.pmt(0x0abc);
    assert_eq!(refusal(writer.bytes), Reason::PcrPidChanges { offset: at, pid: 0x0abc });
}

#[test]
fn a_clock_that_wraps_is_not_taken_for_one_that_runs_backwards() {
    let wrap = (1 << 33) * 300;
    let title = Loop::from_bytes("film.ts", clocked(&[wrap - 40 * MS, 0, 40 * MS, 80 * MS])).unwrap();
    assert!(title.duration().0 > 120 * MS && title.duration().0 < 200 * MS);
}

#[test]
fn time_stamps_cut_over_two_packets_are_refused() {
    let mut writer = Writer { bytes: clocked(&[0, 40 * MS]), ..Writer::default() };
    let at = writer.count() * 188;
    writer.packet(VIDEO_PID, true, None, &pes(0xe0, 7200, Some(3600))[..18]);
    assert_eq!(refusal(writer.bytes), Reason::SplitPes { offset: at });
}

#[test]
fn what_cannot_be_opened_is_named() {
    let message = Loop::open("/nonexistent/film.ts".as_ref()).unwrap_err().to_string();
    assert!(message.contains("/nonexistent/film.ts") && message.contains("No such file"), "{message}");
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Loop::open(dir.path()), Err(MediaError::Refused { reason: Reason::NotAFile, .. })));
    let empty = dir.path().join("empty.ts");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(Loop::open(&empty), Err(MediaError::Refused { reason: Reason::Empty, .. })));
}

#[test]
fn a_file_written_into_is_a_change_and_one_renamed_over_it_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("title.ts"), dir.path().join("new.ts"));
    let bytes = Recipe::default().build();
    std::fs::write(&path, &bytes).unwrap();
    let title = Loop::open(&path).unwrap();
    assert!(!title.is_changed());
    std::fs::write(&other, &bytes).unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert!(!title.is_changed());

    let title = Loop::open(&path).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert!(title.is_changed());
}
