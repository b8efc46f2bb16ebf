//! Tests that can't run here say why, and count as skipped, never as passed.

use std::{fs::OpenOptions, io::Write as _};

/// Says that a test is skipped, and why: a line `SKIPPED <test>: <reason>` on standard error and, if `SENDER_SKIP_LOG` names a
/// file, at that file's end, where the one who runs the tests counts them. The test returns right after it.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED {test}: {reason}\n");
    // Not `eprint!`: the test harness would keep it to itself.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("SENDER_SKIP_LOG") {
        let log = OpenOptions::new().create(true).append(true).open(path);
        // One write, so that lines of several tests at once stay whole.
        let _ = log.and_then(|mut log| log.write_all(line.as_bytes()));
    }
}
