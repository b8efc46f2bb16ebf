//! Receivers that come at an awkward time or with the wrong means.

use super::stage::{LONG, PORT, SAMPLE, Stage, Title, config, number, xdp};
use anyhow::{Context, Result};
use sender_tests::skip::require_root;
use std::path::Path;

#[test]
fn who_joins_while_the_sender_sets_up_its_memory_is_counted_as_joining() -> Result<()> {
    if !require_root("who_joins_while_the_sender_sets_up_its_memory_is_counted_as_joining") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let config = config("mode = \"copy\"", &[Title::clear(Path::new(SAMPLE), "239.192.77.1")]);
    let mut sender = stage.start(&[], "sender", &config.replace("32MiB", "256MiB"))?;
    sender.process.wait_for("XDP program attached", LONG)?;
    let member = stage.lab.receiver(1).join("239.192.77.1".parse()?, PORT, None)?;
    let status = sender.wait_for("the join", |status| xdp(status, "group_join") > 0)?;
    assert!(number(&status["xdp"]["groups"][0]["joins"]) > 0);
    member.receive(LONG)?.context("media reaches a member")?;
    sender.end()?;
    Ok(())
}

#[test]
fn a_receiver_with_another_key_says_so_and_fails() -> Result<()> {
    if !require_root("a_receiver_with_another_key_says_so_and_fails") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let (key, other) = (stage.key()?, stage.key_named("other.key")?);
    let title = Title { key: Some(&key), ..Title::clear(Path::new(SAMPLE), "239.192.77.1") };
    let sender = stage.run(&config("mode = \"copy\"", &[title]))?;
    let other = other.to_str().context("a path of letters")?;
    let mut receiver = stage.receive(1, "239.192.77.1:5004", &["--key-file", other, "--timeout", "3s"])?;
    let code = receiver.process.wait(LONG)?.code();
    let said = receiver.process.stderr();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("none has authenticated") && said.contains("Check the key file"), "{said}");
    sender.end()?;
    Ok(())
}
