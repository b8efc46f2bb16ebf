//! The benchmark: `cargo bench -p sender-tests -- [--json FILE] [--only PREFIX]`. Each figure stands beside a yardstick measured
//! in the same run; absolute figures are for a quiet machine, the ratio decides.

mod engine;
mod memory;
mod pacing;
mod report;
mod veth;
mod xdp;

use std::{path::PathBuf, process::ExitCode};

use report::Report;

/// A module's name (the first part of its figures' names), and what measures it.
type Module = (&'static str, fn(&mut Report));

const MODULES: &[Module] = &[
    ("xdp", xdp::run),
    ("engine", engine::run),
    ("veth", veth::run),
    ("pacing", pacing::run),
    ("memory", memory::run),
];

fn main() -> ExitCode {
    let (mut json, mut only) = (None, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = arguments.next().map(PathBuf::from),
            "--only" => only = arguments.next().unwrap_or_default(),
            // cargo adds it.
            "--bench" => {}
            other => {
                eprintln!("unknown argument {other}; there are --json FILE and --only PREFIX");
                return ExitCode::from(2);
            }
        }
    }
    let mut report = Report::default();
    for (name, run) in MODULES {
        if only.is_empty() || only.starts_with(name) || name.starts_with(&only) {
            run(&mut report);
        }
    }
    report.print();
    match json.map(|path| (report.write_json(&path), path)) {
        Some((Err(error), path)) => {
            eprintln!("can't write {}: {error}", path.display());
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
