//! A test that can't run here says why, and is counted as skipped, never as passed.

use std::{fs::OpenOptions, io::Write};

/// The variable naming the file that skips are appended to; `cargo xtask test` sets it and reads the file at the end.
pub const SKIP_LOG: &str = "SENDER_SKIP_LOG";

/// Says on standard error, and in the file named by [`SKIP_LOG`] if set, that `test` did not run, and why.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED {test}: {reason}\n");
    eprint!("{line}");
    let Some(path) = std::env::var_os(SKIP_LOG) else { return };
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        // One write: lines of tests that run side by side don't mix.
        .and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = written {
        eprintln!("can't note the skip in {}: {error}", path.display());
    }
}

/// Whether the test may make namespaces and load programs; notes the skip when it may not.
pub fn require_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip(test, "needs root (network namespaces, BPF); run `cargo xtask test`, which uses sudo for the tests");
    }
    root
}
