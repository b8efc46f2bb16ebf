//! `cargo xtask test`: builds every test program, runs them, and says at the end what passed, failed and was skipped.

use crate::{
    build::{self, Program},
    place::Place,
    privilege::Privilege,
    setup, step,
    vm::{self, Outcome},
};
use anyhow::{Context, Result};
use clap::Args;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Show every test's line, not only those of the end-to-end tests
    #[arg(short, long)]
    verbose: bool,
}

/// What the test programs said.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
    failures: Vec<String>,
}

pub(crate) fn main(place: &Place, arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(place, setup::Goal::Everything)?;
    let begin = Instant::now();
    step::say("building sender, the XDP program and the tests");
    let sender = build::sender(place, false)?;
    let mut programs = build::programs(place, &["test", "--locked", "--no-run"])?;
    // End-to-end tests last: what they rely on has been tested then.
    programs.sort_by_key(|program| (is_end_to_end(program), program.package.clone(), program.name.clone()));

    let privilege = Privilege::find();
    if privilege == Privilege::Sudo {
        step::say("not root: the test programs run with sudo, for namespaces and XDP");
    }
    let skip_log = place.target.join("skips.log");
    fs::write(&skip_log, "").with_context(|| format!("making {}", skip_log.display()))?;

    let mut tally = Tally::default();
    for program in &programs {
        let mut command = privilege.command(&program.path);
        command
            .args(&arguments.filter)
            .current_dir(&program.folder)
            .env("CARGO_MANIFEST_DIR", &program.folder)
            .env("SENDER_BIN", &sender);
        let end_to_end = is_end_to_end(program);
        if end_to_end {
            // One at a time: each has several processes and measures time, and there may be two cores only.
            command.arg("--test-threads=1");
        }
        let title = format!("{} {} {}", program.package, program.kind, program.name);
        run(command, &title, &skip_log, end_to_end || arguments.verbose, &mut tally)?;
    }
    if arguments.filter.is_none() {
        let mut examples = place.cargo();
        examples.args(["test", "--locked", "--quiet", "--doc"]);
        run(examples, "examples in the documentation", &skip_log, arguments.verbose, &mut tally)?;
    }
    let mut skipped = skipped(&skip_log)?;
    if arguments.filter.is_none() {
        run_guests(place, &mut tally, &mut skipped);
    }
    report(&tally, &skipped, begin)
}

/// The checks in QEMU guests. Where there can be none, they are one skipped test.
fn run_guests(place: &Place, tally: &mut Tally, skipped: &mut BTreeMap<String, String>) {
    step::say("vm-test: zero-copy on emulated NICs, in QEMU guests");
    match vm::run(place, &vm::Args::default()) {
        Ok(Outcome::Ran { passed, failed }) => {
            tally.passed += passed;
            tally.failed += failed;
            if failed > 0 {
                tally.failures.push(format!("{failed} check(s) of vm-test, see above"));
            }
        }
        Ok(Outcome::Skipped(reason)) => {
            // As with the test programs: counted as passed, and taken off as skipped.
            tally.passed += 1;
            skipped.insert("vm-test".to_owned(), reason);
        }
        Err(error) => {
            tally.failed += 1;
            tally.failures.push(format!("vm-test: {error:#}"));
        }
    }
}

fn is_end_to_end(program: &Program) -> bool {
    program.package == "tests" && program.kind == "test"
}

/// Runs one test program to its end, counts what it says, and shows it: line by line if `live`, else only if it failed.
fn run(mut command: Command, title: &str, skip_log: &Path, live: bool, tally: &mut Tally) -> Result<()> {
    let begin = Instant::now();
    let mut child = command
        .env("SENDER_SKIP_LOG", skip_log)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {title}"))?;
    let stdout = child.stdout.take().expect("standard output was asked for as a pipe");
    let (mut kept, mut own, mut announced) = (Vec::new(), Tally::default(), false);
    for line in BufReader::new(stdout).lines() {
        let line = line.with_context(|| format!("reading what {title} says"))?;
        own.take(&line);
        if !live {
            kept.push(line);
        } else if line.starts_with("test ") && !line.starts_with("test result") {
            if !std::mem::replace(&mut announced, true) {
                step::say(title);
            }
            println!("{line}");
        } else {
            kept.push(line);
        }
    }
    let status = child.wait().with_context(|| format!("waiting for {title}"))?;
    if !status.success() {
        if own.failed == 0 {
            own.failed = 1;
            own.failures.push(format!("{title} as a whole ({status})"));
        }
        println!("{}", kept.join("\n"));
    }
    let count = own.passed + own.failed;
    if count > 0 && !announced {
        step::say(format!("{title}: {} of {count} passed in {:.1} s", own.passed, begin.elapsed().as_secs_f64()));
    }
    tally.add(own);
    Ok(())
}

impl Tally {
    /// Takes what a line of a test program says, if anything.
    fn take(&mut self, line: &str) {
        if let Some(test) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(test.to_owned());
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        // "ok. 9 passed; 0 failed; 0 ignored; 0 measured; …"; doc tests may say it more than once.
        for part in result.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<usize>), words.next()) else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.failures.extend(other.failures);
    }
}

/// The skipped tests and their reasons.
fn skipped(skip_log: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(skip_log).with_context(|| format!("reading {}", skip_log.display()))?;
    let skip = |line: &str| {
        let (test, reason) = line.strip_prefix("SKIPPED ")?.split_once(": ")?;
        Some((test.to_owned(), reason.to_owned()))
    };
    Ok(text.lines().filter_map(skip).collect())
}

fn report(tally: &Tally, skipped: &BTreeMap<String, String>, begin: Instant) -> Result<ExitCode> {
    for (test, reason) in skipped {
        println!("skipped: {test}: {reason}");
    }
    for test in &tally.failures {
        println!("FAILED: {test}");
    }
    // The test programs count a test that skipped itself as passed.
    let passed = tally.passed.saturating_sub(skipped.len());
    let ignored = if tally.ignored > 0 { format!(", {} ignored", tally.ignored) } else { String::new() };
    println!(
        "{passed} passed, {} failed, {} skipped{ignored} in {:.0} s",
        tally.failed,
        skipped.len(),
        begin.elapsed().as_secs_f64()
    );
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_programs_lines_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            tally.take(line);
        }
        assert_eq!((tally.passed, tally.failed, tally.ignored), (5, 1, 1));
        assert_eq!(tally.failures, ["a::c"]);
    }
}
