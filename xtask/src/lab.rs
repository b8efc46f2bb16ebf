//! `cargo xtask lab`: the test network, left up to try things by hand.

use crate::{build, demo, place::Place, privilege, setup, step};
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use sender_tests::lab::{self, Lab, Namespace, Options};
use serde::{Deserialize, Serialize};
use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
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
    let removing = matches!(arguments.action, Some(Action::Down));
    setup::ensure(place, if removing { setup::Goal::Network } else { setup::Goal::Demo })?;
    if !removing && !privilege::built_before() {
        step::say("building sender and its XDP program");
        build::sender(place, build::Profile::Dev)?;
    }
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
    prepare(place, prefix)?;
    let state = State { prefix: prefix.clone(), namespaces: built.leave_up() };
    fs::write(&file, serde_json::to_vec_pretty(&state)?).with_context(|| format!("writing {}", file.display()))?;
    step::say("the lab is up");
    print!("{}", drawing(place, prefix));
    Ok(())
}

/// The lab's folder in target: a sender.toml and its key, and what the printed commands write.
fn folder(place: &Place, prefix: &str) -> PathBuf {
    place.target.join(if prefix == "lab" { "lab".to_owned() } else { format!("lab-{prefix}") })
}

/// Writes the configuration and the key that the printed commands use; leaves those alone that are there.
fn prepare(place: &Place, prefix: &str) -> Result<()> {
    let folder = folder(place, prefix);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let (configuration, key) = (folder.join("sender.toml"), folder.join("sample.key"));
    if !configuration.exists() {
        // The lab has a querier of its own, with the sender's address: two would be one too many.
        let text =
            demo::configuration(lab::SENDER_INTERFACE, &place.file("tests/media/sample.ts"), "sample.key", "off");
        fs::write(&configuration, text).with_context(|| format!("writing {}", configuration.display()))?;
    }
    if !key.exists() {
        step::output(Command::new(build::sender_path(place, build::Profile::Dev)).args(["key", "new"]).arg(&key))?;
    }
    Ok(())
}

fn down(place: &Place, prefix: &str) -> Result<()> {
    let mut removed = lab::purge(prefix)?;
    removed.extend(lab::sweep());
    let file = state_file(place, prefix);
    if file.exists() {
        fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
    }
    // Only room on disk. What was received in the lab goes with it.
    let _ = fs::remove_dir_all(folder(place, prefix));
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
    let sender = place.short(&build::sender_path(place, build::Profile::Dev));
    let folder = place.short(&folder(place, p));
    let receive = format!("{sender} receive --interface rx0 --source 10.77.0.1 --feedback 10.77.0.1:6001");
    let down = if p == "lab" { String::new() } else { format!(" --prefix {p}") };
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

Try, as root, each in a terminal of its own:
  # 4 copies on 239.192.77.1 … 239.192.77.4; Ctrl-C ends it
  ip netns exec {p}-snd {sender} run -c {folder}/sender.toml --status {folder}/status.json
  # receive the first copy; Ctrl-C ends it
  ip netns exec {p}-r1 {receive} --group 239.192.77.1:5004 --key-file {folder}/sample.key --output {folder}/r1.ts
  # lose every 100th packet at r1; and no more
  ip netns exec {p}-r1 nft 'table inet loss {{ chain c {{ type filter hook prerouting priority raw; udp dport 5004 numgen inc mod 100 == 0 counter drop; }}; }}'
  ip netns exec {p}-r1 nft delete table inet loss
  # who joined what; what arrived; what the sender counts
  bridge -n {p}-br mdb show
  ip -n {p}-r1 -s link show rx0
  cat {folder}/status.json
  # remove it all
  cargo xtask lab down{down}
"
    )
}
