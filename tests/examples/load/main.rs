//! The load generator: see the module `generator`, and deploy/LOAD.md. `cargo xtask load` builds it in release and starts it.

mod generator;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match generator::run(&generator::Options::parse()) {
        Ok(outcome) if outcome.is_accounted_for() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
