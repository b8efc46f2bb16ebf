//! Building with cargo, and the programs that came out of it.

use crate::{place::Place, step};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::Stdio,
};

/// A test or bench program that cargo built.
pub(crate) struct Program {
    /// The package it belongs to.
    pub(crate) package: String,
    /// The target's name, as in `--test NAME`.
    pub(crate) name: String,
    /// What it is: lib, bin, test, bench.
    pub(crate) kind: String,
    /// The package's folder, where it expects to run.
    pub(crate) folder: PathBuf,
    /// The program itself.
    pub(crate) path: PathBuf,
}

/// One of cargo's JSON messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<MessageProfile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct MessageProfile {
    test: bool,
}

/// What is built: for development with its checks on, as xtask itself and the tests are, or for speed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// Builds the binary `sender`, the XDP program within it. Returns its path.
pub(crate) fn sender(place: &Place, profile: Profile) -> Result<PathBuf> {
    let mut cargo = place.cargo();
    cargo.args(["build", "--locked", "--package", "sender", "--bin", "sender"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    step::run(&mut cargo)?;
    let path = sender_path(place, profile);
    if !path.is_file() {
        bail!("cargo built no {}: is build.target or build.target-dir set in a cargo configuration?", path.display());
    }
    Ok(path)
}

/// Where the binary `sender` is after its build.
pub(crate) fn sender_path(place: &Place, profile: Profile) -> PathBuf {
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    place.target.join(folder).join("sender")
}

/// Runs cargo with `arguments` (a `test --no-run` or `bench --no-run`) and returns the test programs it made.
pub(crate) fn programs(place: &Place, arguments: &[&str]) -> Result<Vec<Program>> {
    let mut cargo = place.cargo();
    cargo.args(arguments).arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let shown = step::shown(&cargo);
    let mut child = cargo.spawn().with_context(|| format!("starting `{shown}`"))?;
    let stdout = child.stdout.take().expect("standard output was asked for as a pipe");
    let mut programs = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("reading cargo's messages")?;
        // Lines that are no message of cargo's are for nobody here.
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        programs.extend(program(message));
    }
    let status = child.wait().with_context(|| format!("waiting for `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(programs)
}

fn program(message: Message) -> Option<Program> {
    let Message { reason, executable: Some(path), manifest_path: Some(manifest), target: Some(target), profile } =
        message
    else {
        return None;
    };
    if reason != "compiler-artifact" || !profile.is_some_and(|profile| profile.test) {
        return None;
    }
    let folder = manifest.parent()?.to_owned();
    Some(Program {
        package: folder.file_name()?.to_string_lossy().into_owned(),
        name: target.name,
        kind: target.kind.first().cloned().unwrap_or_default(),
        folder,
        path,
    })
}
