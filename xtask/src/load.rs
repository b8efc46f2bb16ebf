//! `cargo xtask load`: builds the load generator in release and runs it.

use crate::{place::Place, privilege::Privilege, setup, step};
use anyhow::{Context, Result};
use clap::Args;
use std::{ffi::OsString, process::ExitCode};

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// Passed to the load generator as they are; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

pub(crate) fn main(place: &Place, arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(place, setup::Goal::Everything)?;
    step::say("building the load generator (release)");
    step::run(place.cargo().args([
        "build",
        "--locked",
        "--release",
        "--package",
        "sender-tests",
        "--example",
        "load",
    ]))?;
    let program = place.target.join("release/examples/load");
    let status = Privilege::find().command(program).args(&arguments.rest).status().context("starting the generator")?;
    // Its own codes: 1 if packets are not accounted for, 2 if it could not run.
    Ok(status.code().map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8)))
}
