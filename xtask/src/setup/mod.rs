//! Set-up: brings a bare Debian machine with cargo to where everything builds and runs.
//!
//! In: the machine as it is. Out: Debian packages, rust-src and bpf-linker in their places. A step is done only when its
//! result isn't there, so a second run takes no time and a broken one is gone on with. A failing step doesn't keep the
//! others from being done. Not done here: building the workspace (`build.rs`).

mod linker;
mod packages;
mod toolchain;

use crate::{place::Place, privilege, step};
use anyhow::{Result, bail};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};
use toolchain::Toolchain;

/// A step: its name, why it is needed, and what to do, if anything.
struct Step<'a> {
    name: &'static str,
    why: &'static str,
    todo: Option<Todo<'a>>,
}

/// What a step has to do: what is missing, and how it is got.
struct Todo<'a> {
    missing: String,
    get: Box<dyn FnOnce() -> Result<()> + 'a>,
}

/// What is needed for: each takes what the one before takes, and more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Goal {
    /// Removing the test network.
    Network,
    /// Building `sender` and running it on the test network.
    Demo,
    /// Building, testing and checking everything.
    Everything,
}

/// `cargo xtask setup`: says what is there, too.
pub(crate) fn explicit(place: &Place) -> Result<ExitCode> {
    let begin = Instant::now();
    for step in steps(place, Goal::Everything)? {
        let state = step.todo.as_ref().map_or_else(|| "there".to_owned(), |todo| format!("missing: {}", todo.missing));
        eprintln!("  {:<16} {state}", step.name);
    }
    let done = ensure(place, Goal::Everything)?;
    if done == 0 {
        step::say(format!("nothing to do ({} ms)", begin.elapsed().as_millis()));
    } else {
        step::say("everything is there: try `cargo xtask demo`");
    }
    Ok(ExitCode::SUCCESS)
}

/// Does what is missing for `goal`, silently if that is nothing. Returns how many steps were done.
pub(crate) fn ensure(place: &Place, goal: Goal) -> Result<usize> {
    if privilege::built_before() {
        return Ok(0);
    }
    let steps: Vec<_> = steps(place, goal)?.into_iter().filter(|step| step.todo.is_some()).collect();
    let (count, mut failures) = (steps.len(), Vec::new());
    for (number, step) in steps.into_iter().enumerate() {
        let Some(Todo { missing, get }) = step.todo else { continue };
        step::say(format!("set-up {}/{count}, {}: getting {missing} ({})", number + 1, step.name, step.why));
        let begin = Instant::now();
        match get() {
            Ok(()) => eprintln!("    done in {:.0?}", begin.elapsed().max(Duration::from_millis(1))),
            Err(error) => {
                eprintln!("    failed: {error:#}");
                failures.push(step.name);
            }
        }
    }
    if !failures.is_empty() {
        bail!(
            "set-up is not complete, see above for: {}. What was done stays; run the command again when the cause is gone",
            failures.join(", ")
        );
    }
    Ok(count)
}

fn steps(place: &Place, goal: Goal) -> Result<Vec<Step<'_>>> {
    let mut steps = vec![packages::step(goal)];
    if goal >= Goal::Demo {
        let toolchain = Toolchain::find(place)?;
        steps.push(toolchain::step(place, &toolchain, goal));
        steps.push(linker::step(place, toolchain));
    }
    Ok(steps)
}
