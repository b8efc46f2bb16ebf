//! The loop of the sample title as a player sees it. Needs ffmpeg; says so and ends where there is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Loop;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/media/sample.ts")
}

/// Writes the payloads of the passes one after the other.
fn write_passes(title: &Loop, passes: std::ops::Range<u64>, path: &Path) {
    let mut bytes = Vec::new();
    let mut payload = vec![0; title.max_payload_len()];
    for (pass, n) in passes.flat_map(|pass| (0..title.packets_per_pass()).map(move |n| (pass, n))) {
        let len = title.write_payload(pass, n, &mut payload);
        bytes.extend_from_slice(&payload[..len]);
    }
    std::fs::write(path, bytes).unwrap();
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Option<(String, String)> {
    let filled =
        arguments.iter().map(|&argument| if argument == "FILE" { path.as_os_str() } else { argument.as_ref() });
    match Command::new(program).args(filled).output() {
        Ok(output) => {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            Some((text(&output.stdout), text(&output.stderr)))
        }
        Err(error) => {
            eprintln!("SKIPPED: cannot run {program}: {error}");
            None
        }
    }
}

#[test]
fn three_passes_of_the_sample_decode_without_a_message_and_without_a_gap() {
    let title = Loop::open(&sample()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    // The pass in which the first stamps of 33 bits wrap.
    let wrap = (1u64 << 33) / (title.duration().0 / 300);
    for first in [0, 5, wrap - 1] {
        let path = dir.path().join("passes.ts");
        write_passes(&title, first..first + 3, &path);
        let Some((_, messages)) = run("ffmpeg", &["-v", "warning", "-i", "FILE", "-f", "null", "-"], &path) else {
            return;
        };
        assert_eq!(messages, "", "from pass {first}");

        let probe = ["-v", "error", "-show_entries", "packet=stream_index,dts", "-of", "csv=p=0", "FILE"];
        let Some((packets, _)) = run("ffprobe", &probe, &path) else { return };
        let mut stamps: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for line in packets.lines().filter(|line| !line.trim().is_empty()) {
            let mut fields = line.split(',');
            let mut field = || fields.next().unwrap().parse::<i64>().unwrap();
            let stream = field() as u64;
            stamps.entry(stream).or_default().push(field());
        }
        let counts: Vec<usize> = stamps.values().map(Vec::len).collect();
        assert_eq!(counts, [3 * 320, 3 * 600]);
        for (stream, step) in [(0, 3600), (1, 1920)] {
            let uneven = stamps[&stream].windows(2).map(|pair| pair[1] - pair[0]).find(|&found| found != step);
            assert_eq!(uneven, None, "stream {stream} from pass {first}");
        }
    }
}
