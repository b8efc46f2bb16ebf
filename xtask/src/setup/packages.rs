//! Debian packages, by apt's configured sources. The only step that may need sudo.

use super::{Goal, Step, Todo};
use crate::{
    privilege::{Privilege, on_path},
    step,
};
use anyhow::{Context, Result, bail};

/// A program we run and the package that has it.
struct Package {
    name: &'static str,
    program: &'static str,
    goal: Goal,
}

const PACKAGES: &[Package] = &[
    // Namespaces, veth pairs, the bridge.
    Package { name: "iproute2", program: "ip", goal: Goal::Network },
    // Loss and independent counts in the lab.
    Package { name: "nftables", program: "nft", goal: Goal::Network },
    // The tests have it decode what was received.
    Package { name: "ffmpeg", program: "ffmpeg", goal: Goal::Everything },
];

pub(super) fn step(goal: Goal) -> Step<'static> {
    let missing: Vec<_> = PACKAGES
        .iter()
        .filter(|package| package.goal <= goal)
        .filter(|package| !on_path(package.program))
        .map(|package| package.name)
        .collect();
    let todo =
        (!missing.is_empty()).then(|| Todo { missing: missing.join(" "), get: Box::new(move || install(&missing)) });
    Step {
        name: "Debian packages",
        why: "the test network is made with ip and nft; ffmpeg checks what was received",
        todo,
    }
}

fn install(packages: &[&str]) -> Result<()> {
    if !on_path("apt-get") {
        bail!(
            "this machine has no apt-get: install the programs of Debian's packages {} another way",
            packages.join(", ")
        );
    }
    let privilege = Privilege::find();
    if privilege == Privilege::None {
        bail!(
            "this needs root and there is no sudo; as root, run: apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    let install = || {
        let mut command = privilege.command("apt-get");
        command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
        eprintln!("    $ {}", step::shown(&command));
        step::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    if install().is_ok() {
        return Ok(());
    }
    eprintln!("    apt's lists may be missing or old: updating them and trying again");
    step::run(privilege.command("apt-get").arg("update"))
        .context("is the network there, and are apt's sources right?")?;
    install()
}
