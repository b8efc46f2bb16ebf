//! Steps: what is done, said in one line with why; and commands whose failure says which it was.

use anyhow::{Context, Result, bail};
use std::{
    fmt::Display,
    io::{IsTerminal, stderr},
    process::{Command, Stdio},
};

/// Says what is being done now.
pub(crate) fn say(what: impl Display) {
    if stderr().is_terminal() {
        eprintln!("\x1b[1;36m==>\x1b[0m {what}");
    } else {
        eprintln!("==> {what}");
    }
}

/// Runs a command to its end; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("starting `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command to its end; returns its standard output. Its standard error becomes part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
