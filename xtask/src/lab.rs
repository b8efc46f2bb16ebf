//! `cargo xtask lab`: the test network, left up to try things by hand.

use crate::{build, place::Place, privilege, setup, step};
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use sender_tests::lab::{self, Lab, Namespace, Options};
use serde::{Deserialize, Serialize};
use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{ExitCode, Stdio},
};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// What the namespaces' names start with, for a second lab beside the first
    #[arg(long, default_value = "lab", global = true, value_parser = prefix)]
    prefix: String,
    /// RX and TX queues of the sender's interface
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    queues: u32,
}

#[derive(Subcommand)]
enum Action {
    /// Build it and leave it up (the default)
    Up,
    /// Remove it and end what runs inside; also what labs of killed tests left over
    Down,
    /// Query for memberships until killed: runs inside the sender's namespace as long as the lab is up
    #[command(hide = true)]
    Querier,
}

/// What is noted of a lab that is up.
#[derive(Serialize, Deserialize)]
struct State {
    prefix: String,
    namespaces: Vec<String>,
}

fn prefix(text: &str) -> Result<String, String> {
    if (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 20 lower-case letters and digits".to_owned())
    }
}

pub(crate) fn main(place: &Place, arguments: &Arguments) -> Result<ExitCode> {
    if let Some(Action::Querier) = arguments.action {
        lab::query_for_ever(&Namespace::existing(&format!("{}-snd", arguments.prefix))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure(place, setup::Goal::Lab)?;
    if let Some(code) = privilege::become_root("the lab")? {
        return Ok(code);
    }
    match arguments.action {
        Some(Action::Down) => down(place, &arguments.prefix)?,
        _ => up(place, arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn state_file(place: &Place, prefix: &str) -> PathBuf {
    place.target.join(format!("{prefix}.json"))
}

fn up(place: &Place, arguments: &Arguments) -> Result<()> {
    let prefix = &arguments.prefix;
    let file = state_file(place, prefix);
    let noted: Option<State> = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    if let Some(state) = noted
        && state.namespaces.iter().all(|name| Namespace::existing(name).is_ok())
    {
        step::say("the lab is up already (`cargo xtask lab down` removes it)");
        print!("{}", drawing(place, prefix));
        return Ok(());
    }
    // A build that was killed half-way, or a restart of the machine: begin anew.
    lab::purge(prefix)?;

    let options = Options { prefix: Some(prefix.clone()), sender_queues: arguments.queues, ..Options::default() };
    let built = Lab::build(&options)?;
    let own = env::current_exe().context("finding the path of xtask")?;
    built
        .sender()
        .command(own)
        .args(["lab", "querier", "--prefix", prefix])
        // Not ended by a Ctrl-C in this terminal; `lab down` ends it with everything else inside.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting the lab's querier")?;
    let state = State { prefix: prefix.clone(), namespaces: built.leave_up() };
    fs::write(&file, serde_json::to_vec_pretty(&state)?).with_context(|| format!("writing {}", file.display()))?;
    step::say("the lab is up");
    print!("{}", drawing(place, prefix));
    Ok(())
}

fn down(place: &Place, prefix: &str) -> Result<()> {
    let mut removed = lab::purge(prefix)?;
    removed.extend(lab::sweep());
    let file = state_file(place, prefix);
    if file.exists() {
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
    }
    ensure!(Namespace::existing(&format!("{prefix}-br")).is_err(), "the namespace {prefix}-br is still there");
    if removed.is_empty() {
        step::say("there was no lab");
    } else {
        removed.sort();
        step::say(format!("removed {}", removed.join(" ")));
    }
    Ok(())
}

/// The lab as text, with commands to begin with.
fn drawing(place: &Place, p: &str) -> String {
    let sender = place.short(&build::sender_path(place, true));
    format!(
        "
  {p}-snd                      {p}-br                            {p}-r1 … {p}-r4
  ┌───────────────────┐        ┌────────────────────┐        ┌──────────────────────┐
  │ tx0               │        │        br0         │      ┌─┤ rx0 10.77.0.11       │ {p}-r1
  │ 10.77.0.1/24      ├─ veth ─┤ snd        r1 … r4 ├ veth ┼─┤ rx0 10.77.0.12       │ {p}-r2
  │ fd77::1/64        │        │ IGMP, MLD snooping │      ├─┤ rx0 10.77.0.13       │ {p}-r3
  │                   │        │                    │      └─┤ rx0 10.77.0.14       │ {p}-r4
  └───────────────────┘        └────────────────────┘        └─ fd77::11 … fd77::14 ┘

  The bridge forwards a group only to ports that joined it; the sender's port gets every report.

Try (as root; `cargo build --release -p sender` builds the program):
  ip netns exec {p}-snd {sender} run -c sender.toml   with interface = \"tx0\" in it
  ip netns exec {p}-r1 {sender} receive --interface rx0 --source 10.77.0.1 --group 239.192.0.1:5004 --output r1.ts
  ip netns exec {p}-r1 nft 'table inet loss {{ chain c {{ type filter hook prerouting priority raw; udp dport 5004 numgen inc mod 100 == 0 counter drop; }}; }}'
                                                           lose every 100th packet (nft delete table inet loss: no more)
  bridge -n {p}-br mdb show                                who joined what
  ip -n {p}-r1 -s link show rx0                            what arrived
  cargo xtask lab down                                     remove it all
"
    )
}
