//! `cargo xtask demo`: the whole path on the lab, shown live and checked at the end.
//!
//! In: the sample title and the built `sender`. Out: a live view, a table, and an exit code that is 0 only if every figure
//! is right. `scene` starts and ends what runs, `figures` reads what the programs write, `view` shows it while it runs,
//! `verdict` compares. Not done here: the network itself (the lab's library).

mod figures;
mod scene;
mod verdict;
mod view;

pub(crate) use scene::configuration;

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
/// The copy that each receiver receives, r1 first. The last one joins before its copy begins and gets the first packet.
pub(super) const CHOSEN: [u64; 3] = [0, 1, 3];
/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;
/// Passes that the last copy makes while it is received.
const PASSES: f64 = 2.1;
/// From the sender's first query until the bridge forwards by membership only: the time that hosts have to answer.
const SNOOPING: u64 = 12_000_000_000;
/// How long hosts may take to repeat their leaves (RFC 3376, 8.11: a second), and the status to show them.
const REPEATS: Duration = Duration::from_millis(2500);

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

    fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails if it was asked to end, so that everything is dropped on the way out.
    fn check(&self) -> Result<()> {
        ensure!(!self.asked(), "interrupted");
        Ok(())
    }
}

pub(crate) fn main(place: &Place, arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure(place, setup::Goal::Demo)?;
    if !privilege::built_before() {
        step::say("building sender and its XDP program");
        build::sender(place, build::Profile::Dev)?;
    }
    if let Some(code) = privilege::become_root("the demo's network")? {
        return Ok(code);
    }
    let media = place.file(&arguments.media);
    ensure!(media.is_file(), "there is no {}: give an MPEG-TS file with --media", media.display());

    let begin = Instant::now();
    let interrupt = Interrupt::listen()?;
    let terminal = stdout().is_terminal();
    step::say("building the network: one sender, a snooping bridge, receivers (all in namespaces)");
    let binary = build::sender_path(place, build::Profile::Dev);
    let mut scene = Scene::build(place, binary, &media, arguments.keep)?;
    let outcome = play(&mut scene, &interrupt, terminal);
    if interrupt.asked() {
        // Ctrl-C reaches the programs of the demo, too: whatever else failed now failed for that.
        drop(scene);
        step::say("interrupted: everything is ended, the network is removed");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if outcome.is_err() {
        scene.show_last_words();
    }
    let right = outcome?;
    drop(scene);
    println!("({:.0} s, the network is removed)", begin.elapsed().as_secs_f64());
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the demo on the scene; whether every figure was right.
fn play(scene: &mut Scene, interrupt: &Interrupt, terminal: bool) -> Result<bool> {
    step::say(format!("starting sender: {COPIES} staggered copies, encrypted, through AF_XDP; XDP counts who listens"));
    scene.start_sender()?;
    let first = wait_for_status(scene, interrupt)?;
    step::say("starting three receivers, each on another copy");
    scene.start_receivers(&first)?;

    let plan = Plan::of(&first)?;
    let mut view = view::View::new(terminal);
    let (mut steady, mut flooded) = (None, None);
    let last = loop {
        interrupt.check()?;
        scene.check_alive()?;
        let status = scene.status()?;
        let now = sender_tests::lab::now()?;
        view.show(&plan, now, &status, &scene.receptions());
        if steady.is_none() && now > plan.all_run {
            steady = Some(status.clone());
        }
        if flooded.is_none() && now > plan.begin + SNOOPING {
            flooded = Some(scene.traffic()?.unwanted);
        }
        if now > plan.end {
            break status;
        }
        sleep(Duration::from_millis(if terminal { 250 } else { 500 }));
    };
    view.end();

    step::say("ending: receivers first, then the sender");
    let (steady, flooded) = steady.zip(flooded).context("the copies never all ran")?;
    let unwanted = scene.traffic()?.unwanted - flooded;
    let summaries = scene.stop_receivers()?;
    let (traffic, end) = settle(scene, interrupt, &first)?;
    scene.stop_sender()?;
    let evidence = verdict::Evidence { first, steady, last, end, traffic, unwanted, summaries };
    Ok(verdict::show(&evidence, terminal && std::env::var_os("NO_COLOR").is_none()))
}

/// When what happens, on CLOCK_MONOTONIC.
struct Plan {
    begin: u64,
    all_run: u64,
    end: u64,
    /// How long a pass takes.
    pass: u64,
}

impl Plan {
    fn of(status: &SenderStatus) -> Result<Self> {
        let base = |copy| status.copy(copy).map(|copy| copy.base_ns);
        let (begin, last) = (base(0)?, base(COPIES - 1)?);
        let pass = status.title()?.pass_ns;
        let end = last + (pass as f64 * PASSES) as u64;
        // The status is up to a second old.
        Ok(Self { begin, all_run: last + 1_500_000_000, end, pass })
    }
}

/// The first status with all copies in it.
fn wait_for_status(scene: &mut Scene, interrupt: &Interrupt) -> Result<SenderStatus> {
    const PATIENCE: Duration = Duration::from_secs(20);
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

/// What the receivers' wires carried and the sender's status, once both agree and nothing more can come, or after a few
/// seconds.
fn settle(scene: &Scene, interrupt: &Interrupt, first: &SenderStatus) -> Result<(scene::Traffic, SenderStatus)> {
    let (begin, before) = (Instant::now(), first.xdp.counted());
    loop {
        interrupt.check()?;
        let (traffic, status) = (scene.traffic()?, scene.status()?);
        let counted = status.xdp.counted().since(before);
        let agree = counted.records == traffic.memberships && counted.reports == traffic.reports;
        if agree && begin.elapsed() > REPEATS || begin.elapsed() > 3 * REPEATS {
            return Ok((traffic, status));
        }
        sleep(Duration::from_millis(250));
    }
}
