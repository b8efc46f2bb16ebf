//! How a sender ends: in order, or killed.

use super::stage::{SAMPLE, Stage, Title, config, number};
use anyhow::{Context, Result};
use sender_tests::{
    lab::{SENDER_INTERFACE, Signal},
    skip::require_root,
};
use serde_json::Value;
use std::{path::Path, time::Duration};

/// What the sender's interface looks like, its packet counters aside.
pub(crate) fn interface(stage: &Stage) -> Result<Value> {
    let text = stage.lab.sender().run("ip", &["-details", "-json", "link", "show", SENDER_INTERFACE])?;
    let mut links: Value = serde_json::from_str(&text).context("reading `ip -json`")?;
    Ok(links[0].take())
}

fn sockets(stage: &Stage) -> Result<String> {
    stage.lab.sender().run("cat", &["/proc/net/packet"])
}

#[test]
fn a_killed_sender_leaves_nothing_and_the_next_one_works_at_once() -> Result<()> {
    if !require_root("a_killed_sender_leaves_nothing_and_the_next_one_works_at_once") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let key = stage.key()?;
    let before = (interface(&stage)?, sockets(&stage)?.lines().count());
    let title = Title { key: Some(&key), ..Title::clear(Path::new(SAMPLE), "239.192.77.1") };
    let config = config("mode = \"copy\"", &[title]);
    let mut sender = stage.run(&config)?;
    assert_ne!(interface(&stage)?, before.0, "the program is attached");
    let key = key.to_str().context("a path of letters")?;
    let mut receiver = stage.receive(1, "239.192.77.1:5004", &["--key-file", key])?;
    receiver.wait_for_packets(50)?;

    sender.process.signal(Signal::SIGKILL)?;
    sender.process.wait(Duration::from_secs(5))?;
    assert_eq!(interface(&stage)?, before.0, "as before");
    assert_eq!(sockets(&stage)?.lines().count(), before.1, "no socket is left");

    let old = number(&sender.status()?["titles"][0]["ssrc"]);
    let sender = stage.run(&config)?;
    let new = number(&sender.status()?["titles"][0]["ssrc"]);
    assert_ne!(old, new, "a new SSRC: no keystream is used twice");
    let status = receiver.wait_for("the new source", |status| number(&status["sources"]) == 2)?;
    assert_eq!(number(&status["ssrc"]), new);
    receiver.wait_for_packets(number(&status["received"]) + 50)?;
    let (summary, _) = receiver.end()?;
    assert_eq!(summary["auth_failed"], 0);
    sender.end()?;
    assert_eq!(interface(&stage)?, before.0, "as before");
    Ok(())
}

#[test]
fn a_sender_told_to_end_says_bye_and_its_receivers_end() -> Result<()> {
    if !require_root("a_sender_told_to_end_says_bye_and_its_receivers_end") {
        return Ok(());
    }
    let stage = Stage::with_receivers(2)?;
    let key = stage.key()?;
    let title = Title { copies: 16, key: Some(&key), ..Title::clear(Path::new(SAMPLE), "239.192.77.1") };
    let sender = stage.run(&config("mode = \"copy\"", &[title]))?;
    let arguments = ["--until-bye", "--key-file", key.to_str().context("a path of letters")?];
    let mut receivers =
        [stage.receive(1, "239.192.77.1:5004", &arguments)?, stage.receive(2, "239.192.77.2:5004", &arguments)?];
    for receiver in &mut receivers {
        receiver.wait_for_packets(20)?;
    }
    let end = sender.end()?;
    for (copy, receiver) in receivers.into_iter().enumerate() {
        let (summary, _) = receiver.ended()?;
        assert_eq!((&summary["ended"], &summary["lost"]), (&"bye".into(), &0.into()));
        let sent = number(&end["copies"][copy]["sent"]);
        let last = number(&summary["last_index"]) - number(&end["copies"][copy]["first_index"]);
        assert_eq!(last + 1, sent, "copy {copy} was received to its last packet");
    }
    Ok(())
}
