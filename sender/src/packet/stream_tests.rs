//! The pure function is pure, and runs on over every counter's end.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Place, RTP_HEADER_LEN, Stream};
use crate::media::synthetic::Recipe;
use crate::media::{DueHint, Loop, Ticks};
use crate::srtp::{MasterKey, PacketIndex, Rtp};

const SSRC: u32 = 0x1357_9bdf;
const MKI: [u8; 4] = *b"ep 7";

fn media() -> Arc<Loop> {
    Arc::new(Loop::from_bytes("synthetic", Recipe { pictures: 10, ..Recipe::default() }.build()).unwrap())
}

fn master() -> MasterKey {
    MasterKey::new([7; 16], [9; 14])
}

fn stream(first: u64, encrypted: bool) -> Stream {
    let key = master();
    Stream::new(media(), SSRC, PacketIndex::new(first), 0xffff_0000, encrypted.then_some((&key, Some(MKI))))
}

fn packet(stream: &Stream, index: PacketIndex) -> Vec<u8> {
    let mut out = vec![0xee; stream.max_len()];
    let len = stream.write(index, stream.locate(index).unwrap(), &mut out);
    out.truncate(len);
    out
}

#[test]
fn a_packet_in_clear_is_an_rtp_header_and_the_payload() {
    let stream = stream(0x1_fffe, false);
    let made = packet(&stream, PacketIndex::new(0x2_0001));
    assert_eq!(made[..4], [0x80, 33, 0, 1]);
    assert_eq!(made[8..12], SSRC.to_be_bytes());
    let mut payload = vec![0; 1316];
    let len = stream.media().write_payload(0, 3, &mut payload);
    assert_eq!(made[RTP_HEADER_LEN..], payload[..len]);
    let due = stream.due(Place { pass: 0, n: 3 }, &mut DueHint::default());
    assert_eq!(made[4..8], stream.timestamp(due).to_be_bytes());
}

#[test]
fn an_encrypted_packet_opens_to_the_one_in_clear() {
    let (clear, encrypted) = (stream(70_000, false), stream(70_000, true));
    let rtp = Rtp::new(&master(), SSRC, Some(MKI));
    for index in (70_000..70_100).map(PacketIndex::new) {
        let mut made = packet(&encrypted, index);
        assert!(made.len() <= encrypted.max_len());
        let len = rtp.unprotect(index, &mut made).unwrap();
        assert_eq!(made[..len], packet(&clear, index));
    }
}

#[test]
fn sequence_number_and_rollover_counter_run_on_over_their_ends() {
    for first in [0xfff0, 0xffff_fff0, (1 << 40) - 1] {
        let stream = stream(first, true);
        let rtp = Rtp::new(&master(), SSRC, Some(MKI));
        let mut at = Place::default();
        for value in first..first + 100 {
            let index = stream.index_of(at).unwrap();
            assert_eq!(index.get(), value);
            let mut made = packet(&stream, index);
            assert_eq!(made[2..4], (value as u16).to_be_bytes());
            assert!(rtp.verify((value >> 16) as u32, &made));
            assert!(rtp.unprotect(index, &mut made).is_ok());
            at = stream.advance(at);
        }
    }
}

#[test]
fn the_index_ends_with_48_bits_and_does_not_begin_anew() {
    let stream = stream(PacketIndex::MAX.get() - 5, true);
    let last = stream.locate(PacketIndex::MAX).unwrap();
    assert_eq!(stream.index_of(last), Some(PacketIndex::MAX));
    assert_eq!(stream.index_of(stream.advance(last)), None);
    assert_eq!(stream.index_of(Place { pass: u64::MAX, n: 0 }), None);
    assert_eq!(stream.locate(PacketIndex::new(5)), None);
    assert!(!packet(&stream, PacketIndex::MAX).is_empty());
}

#[test]
fn timestamps_move_by_the_length_of_a_pass_and_wrap() {
    let stream = stream(0, false);
    let pass = stream.media().packets_per_pass();
    let by = (stream.media().duration().0 / 300) as u32;
    let stamp = |index: u64| u32::from_be_bytes(packet(&stream, PacketIndex::new(index))[4..8].try_into().unwrap());
    assert_eq!(stamp(0), 0xffff_0000);
    for index in 0..pass * 40 {
        assert_eq!(stamp(index + pass), stamp(index).wrapping_add(by), "{index}");
    }
    assert!(stamp(pass * 39) < 0xffff_0000, "it has wrapped");
}

#[test]
fn due_times_go_on_from_pass_to_pass() {
    let stream = stream(0, false);
    let (mut at, mut last, mut hint) = (Place::default(), None, DueHint::default());
    for _ in 0..stream.media().packets_per_pass() * 3 {
        let due = stream.due(at, &mut hint);
        assert!(last <= Some(due));
        last = Some(due);
        at = stream.advance(at);
    }
    assert_eq!(at, Place { pass: 3, n: 0 });
    assert_eq!(stream.due(at, &mut hint), Ticks(3 * stream.media().duration().0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whether it was reached by walking or by a jump, by this stream or by one that began at another place of the same count.
    #[test]
    fn an_index_is_the_same_bytes_by_whatever_way_it_is_reached(
        first in 0u64..1 << 40, distance in 0u64..500, encrypted in any::<bool>(),
    ) {
        let walked = stream(first, encrypted);
        let mut at = Place::default();
        let mut out = vec![0; walked.max_len()];
        for _ in 0..distance {
            // Frames are used again: what was in them may not matter.
            walked.write(walked.index_of(at).unwrap(), at, &mut out);
            at = walked.advance(at);
        }
        let index = walked.index_of(at).unwrap();
        prop_assert_eq!(index.get(), first + distance);
        let len = walked.write(index, at, &mut out);

        let jumped = stream(first, encrypted);
        prop_assert_eq!(jumped.locate(index), Some(at));
        prop_assert_eq!(&out[..len], packet(&jumped, index));
    }
}
