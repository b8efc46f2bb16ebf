//! `cargo xtask vm-test`: the sender in a QEMU guest with a current kernel, bound with XDP_ZEROCOPY to emulated NICs.
//!
//! In: the workspace, and Debian's mirror the first time. Out: a table of checks and an exit code (0 passed, 1 failed,
//! 3 skipped because QEMU or a kernel cannot be had). Nothing is installed: all of it is below `target/vm`. Needs
//! no root, except for virtio-net with two queues (it has one without). Not done here: the checks themselves (`tests/examples/vm_guest`, process 1 of the guest and peer of its
//! NIC); timing, which an emulated machine says nothing about.

mod debian;
mod guest;
mod initrd;
mod machine;
mod verdict;

use std::{fmt, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use guest::Guest;
use machine::Machine;

use crate::{build, place::Place, setup, step};

/// The guest's program, an example of the package `sender-tests`.
const PROGRAM: &str = "vm_guest";
/// Exit code of a run by hand that could not test anything.
const SKIPPED: u8 = 3;

/// Options of `vm-test`.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Args {
    /// Only this NIC; all by default
    #[arg(long, value_enum)]
    nic: Option<Nic>,
    /// Only the checks whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Keep the guest's console log even if all is well
    #[arg(long)]
    keep_log: bool,
}

/// What came of it, for `cargo xtask test`, which counts.
pub(crate) enum Outcome {
    /// The guests ran.
    Ran {
        /// Checks that passed.
        passed: usize,
        /// Checks that failed.
        failed: usize,
    },
    /// Nothing could be tested here, and why.
    Skipped(String),
}

impl Outcome {
    /// The exit code of `vm-test` run by hand.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Outcome::Ran { failed: 0, .. } => ExitCode::SUCCESS,
            Outcome::Ran { .. } => ExitCode::FAILURE,
            Outcome::Skipped(_) => ExitCode::from(SKIPPED),
        }
    }
}

/// The NICs that have zero-copy in QEMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Nic {
    /// Intel 82576: the driver real boxes have; sends only while a native XDP program is attached
    Igb,
    /// virtio-net: reads frames late, so it shows every frame that is written again too early
    Virtio,
}

impl Nic {
    const ALL: [Nic; 2] = [Nic::Igb, Nic::Virtio];

    /// QEMU's `-device` for it. Without the IOMMU flag virtio has no DMA mapping and refuses zero-copy.
    fn device(self) -> &'static str {
        match self {
            Nic::Igb => "igb,id=nic,netdev=wire,mac=52:54:00:12:34:56,romfile=",
            Nic::Virtio => {
                "virtio-net-pci,id=nic,netdev=wire,mac=52:54:00:12:34:56,romfile=,disable-legacy=on,iommu_platform=on"
            }
        }
    }
}

impl fmt::Display for Nic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Nic::Igb => "igb",
            Nic::Virtio => "virtio",
        })
    }
}

/// `cargo xtask vm-test`.
pub(crate) fn main(place: &Place, args: &Args) -> Result<ExitCode> {
    setup::ensure(place, setup::Goal::Everything)?;
    Ok(run(place, args)?.exit_code())
}

/// Runs the guests and prints what they found.
///
/// # Errors
/// The guest's program does not build, or a file cannot be written. A guest that fails is an [`Outcome`].
pub(crate) fn run(place: &Place, args: &Args) -> Result<Outcome> {
    let cache = place.target.join("vm");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let machine = match Machine::get(&cache) {
        Ok(machine) => machine,
        Err(error) => {
            let reason = format!("{error:#}");
            println!("vm-test: SKIPPED: {reason}");
            return Ok(Outcome::Skipped(reason));
        }
    };
    let program = build_program(place)?;
    let sender = build::sender(place, false)?;
    let guest = Guest {
        machine: &machine,
        program: &program,
        sender: &sender,
        logs: &cache.join("logs"),
        only: args.only.as_deref(),
    };
    let (mut passed, mut failed) = (0, 0);
    for nic in Nic::ALL.into_iter().filter(|nic| args.nic.is_none_or(|only| only == *nic)) {
        println!("\n{nic}, Linux {}", machine.version());
        let verdict = guest.run(nic)?;
        if verdict.failed() > 0 || args.keep_log {
            println!("  console: {}", guest.log(nic).display());
        } else {
            fs::remove_file(guest.log(nic))?;
        }
        passed += verdict.passed();
        failed += verdict.failed();
    }
    println!("\nvm-test: {passed} passed, {failed} failed");
    Ok(Outcome::Ran { passed, failed })
}

/// Builds process 1 of the guest, as `cargo test` builds it too: nothing is compiled twice.
fn build_program(place: &Place) -> Result<PathBuf> {
    step::say("building the guest's program, the XDP program within it");
    step::run(place.cargo().args(["build", "--locked", "--example", PROGRAM]))?;
    Ok(place.target.join("debug/examples").join(PROGRAM))
}
