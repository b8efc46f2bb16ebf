//! `cargo xtask bench`: builds the benchmark in release and runs it.

use crate::{build, place::Place, privilege::Privilege, setup, step};
use anyhow::{Context, Result};
use clap::Args;
use std::{env, path::PathBuf, process::ExitCode};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Write all figures to this file: {"name": {"value": …, "unit": …, "yardstick": …, "ratio": …}}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only benchmarks whose name begins with this (xdp, engine.resident, …); may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Passed to the benchmark as they are
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn main(place: &Place, arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(place, setup::Goal::Everything)?;
    step::say("building the benchmark (release)");
    let sender = build::sender(place, build::Profile::Release)?;
    let programs =
        build::programs(place, &["bench", "--locked", "--no-run", "--package", "sender-tests", "--bench", "sender"])?;
    let program = programs.into_iter().find(|program| program.name == "sender").context("cargo built no benchmark")?;

    let mut command = Privilege::find().command(&program.path);
    command.arg("--bench").current_dir(&program.folder).env("SENDER_BIN", sender);
    if let Some(file) = &arguments.json {
        // The benchmark runs in its package's folder.
        let here = env::current_dir().context("finding the current folder")?;
        command.arg("--json").arg(here.join(file));
    }
    for name in &arguments.only {
        command.args(["--only", name]);
    }
    let status = command.args(&arguments.rest).status().context("starting the benchmark")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
