//! `cargo xtask demo`: the whole path on the lab, shown live and checked at the end.
//!
//! In: the sample title and the built `sender`. Out: a live view, a table, and an exit code that is 0 only if every figure
//! is right. `scene` starts and ends what runs, `figures` reads what the programs write, `view` shows it while it runs,
//! `verdict` compares. Not done here: the network itself (the lab's library).

mod figures;
mod scene;
mod verdict;
mod view;

use crate::{build, place::Place, privilege, setup, step};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use figures::SenderStatus;
use scene::Scene;
use std::{
    io::{IsTerminal, stdout},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

/// Copies of the title.
pub(super) const COPIES: u64 = 4;
/// The copy that each receiver receives, r1 first. They join before their copy begins.
pub(super) const CHOSEN: [u64; 3] = [1, 2, 3];
/// Passes that the last copy makes while it is received, at least.
const PASSES: f64 = 2.1;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The title to send: an MPEG-TS file
    #[arg(long, value_name = "FILE", default_value = "tests/media/sample.ts")]
    media: PathBuf,
    /// Keep what was received, the configuration and the programs' output in target/demo
    #[arg(long)]
    keep: bool,
}

/// Set by Ctrl-C or SIGTERM: looked at wherever the demo waits.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    fn listen() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("listening for Ctrl-C")?;
        }
        Ok(Self(flag))
    }

    /// Fails if it was asked to end, so that everything is dropped on the way out.
    fn check(&self) -> Result<()> {
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted; the lab is removed");
        Ok(())
    }
}

pub(crate) fn main(place: &Place, arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(place, setup::Goal::Everything)?;
    if !privilege::built_before() {
        step::say("building sender and its XDP program (release)");
        build::sender(place, true)?;
    }
    if let Some(code) = privilege::become_root("the demo's network")? {
        return Ok(code);
    }
    let media = place.file(&arguments.media);
    ensure!(media.is_file(), "there is no {}: give an MPEG-TS file with --media", media.display());

    let interrupt = Interrupt::listen()?;
    let terminal = stdout().is_terminal();
    step::say("building the network: one sender, a snooping bridge, receivers (all in namespaces)");
    let mut scene = Scene::build(place, &media, arguments.keep)?;
    let outcome = play(&mut scene, &interrupt, terminal);
    if outcome.is_err() {
        scene.show_last_words();
    }
    let right = outcome?;
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the demo on the scene; whether every figure was right.
fn play(scene: &mut Scene, interrupt: &Interrupt, terminal: bool) -> Result<bool> {
    step::say("starting sender: 4 staggered copies through AF_XDP, reports counted by XDP");
    scene.start_sender()?;
    let first = wait_for_status(scene, interrupt)?;
    let baseline = first.xdp.clone();
    step::say("starting three receivers, each on another copy");
    scene.start_receivers(&first)?;

    let plan = Plan::of(&first)?;
    let mut view = view::View::new(terminal);
    let mut steady: Option<SenderStatus> = None;
    let last = loop {
        interrupt.check()?;
        scene.check_alive()?;
        let status = scene.status()?;
        let now = sender_tests::lab::now()?;
        view.show(&plan, now, &status, &scene.traffic()?);
        if steady.is_none() && now > plan.all_run {
            steady = Some(status.clone());
        }
        if now > plan.end {
            break status;
        }
        sleep(Duration::from_millis(if terminal { 500 } else { 1000 }));
    };
    view.end();

    step::say("ending: receivers first, then the sender");
    let summaries = scene.stop_receivers()?;
    let (traffic, counted) = settle(scene, &baseline)?;
    scene.stop_sender()?;
    let steady = steady.context("the copies never all ran")?;
    Ok(verdict::show(
        &verdict::Evidence { first: &first, steady: &steady, last: &last, counted, traffic, summaries },
        terminal,
    ))
}

/// When what happens, on CLOCK_MONOTONIC.
struct Plan {
    begin: u64,
    all_run: u64,
    end: u64,
}

impl Plan {
    fn of(status: &SenderStatus) -> Result<Self> {
        let base = |copy| status.copy(copy).map(|copy| copy.base_ns);
        let (begin, last) = (base(0)?, base(COPIES - 1)?);
        // Copies are a COPIES-th of a pass apart.
        let pass = (last.saturating_sub(begin)) * COPIES / (COPIES - 1);
        let end = last + (pass as f64 * PASSES) as u64;
        Ok(Self { begin, all_run: last + 1_000_000_000, end })
    }
}

/// The first status with all copies in it.
fn wait_for_status(scene: &mut Scene, interrupt: &Interrupt) -> Result<SenderStatus> {
    const PATIENCE: Duration = Duration::from_secs(15);
    let begin = Instant::now();
    loop {
        interrupt.check()?;
        scene.check_alive()?;
        match scene.status() {
            Ok(status) if status.copies.len() as u64 == COPIES => return Ok(status),
            Ok(status) if begin.elapsed() > PATIENCE => {
                bail!("sender runs {} copies, not {COPIES}", status.copies.len())
            }
            Err(error) if begin.elapsed() > PATIENCE => return Err(error).context("sender writes no status"),
            _ => sleep(Duration::from_millis(20)),
        }
    }
}

/// What the receivers sent and XDP counted since the baseline, once both agree and nothing more comes, or after a few
/// seconds. A host repeats its leave within a second or two (RFC 3376, 8.11), and the status is up to a second old.
fn settle(scene: &Scene, baseline: &figures::Xdp) -> Result<(scene::Traffic, figures::Counted)> {
    let begin = Instant::now();
    loop {
        let traffic = scene.traffic()?;
        let counted = scene.status()?.xdp.since(baseline);
        let agree = counted.memberships == traffic.memberships_sent && counted.reports == traffic.reports_sent;
        if agree && begin.elapsed() > Duration::from_secs(3) || begin.elapsed() > Duration::from_secs(8) {
            return Ok((traffic, counted));
        }
        sleep(Duration::from_millis(100));
    }
}
