//! The product's own querier, in a network that has no other.

use super::stage::{PORT, SAMPLE, Stage, Title, config};
use anyhow::{Context, Result};
use sender_tests::{
    lab::{Captured, Direction, Options},
    skip::require_root,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Whether a frame is media to a group of ours.
fn is_media(frame: &Captured) -> bool {
    frame.direction == Direction::In
        && frame.bytes.starts_with(&[0x01, 0x00, 0x5e, 0x40, 77])
        && frame.bytes.len() > 1000
}

/// Whether a frame is an IGMPv3 query for `group`, with the Router Alert option.
fn is_query(frame: &Captured, group: [u8; 4]) -> bool {
    frame.bytes.get(38) == Some(&0x11) && frame.bytes[12..15] == [8, 0, 0x46] && frame.bytes[42..46] == group
}

#[test]
fn our_querier_makes_the_bridge_snoop_and_asks_after_a_leave() -> Result<()> {
    if !require_root("our_querier_makes_the_bridge_snoop_and_asks_after_a_leave") {
        return Ok(());
    }
    let options = Options { receivers: 2, router_port: false, querier: false, ..Options::default() };
    let stage = Stage::build(&options)?;
    let (there, elsewhere) = (stage.lab.receiver(1).capture()?, stage.lab.receiver(2).capture()?);
    let titles = [Title::clear(Path::new(SAMPLE), "239.192.77.1")];
    let mut sender = stage.run(&config("mode = \"copy\"\nquerier = \"on\"", &titles))?;
    let long = Duration::from_secs(5);
    there.wait_for(long, |frame| is_query(frame, [0; 4]))?.context("a general query")?;
    // Joined after the query: its report comes of itself, and finds the sender only if the bridge knows where the querier is.
    let member = stage.lab.receiver(1).join("239.192.77.1".parse()?, PORT, None)?;
    member.receive(long)?.context("media reaches a member")?;
    sender.wait_for("the join", |status| status["xdp"]["groups"][0]["joins"].as_u64() > Some(0))?;
    // The bridge floods until the time to answer the first query, 10 s, is over.
    let end = Instant::now() + Duration::from_secs(25);
    while elsewhere.wait_for(Duration::from_millis(500), is_media)?.is_some() {
        anyhow::ensure!(Instant::now() < end, "media is flooded for ever");
    }
    member.receive(long)?.context("media still reaches a member")?;
    assert!(sender.status()?["querier"]["ipv4"].as_bool().context("a state of the querier")?);

    there.take()?;
    drop(member);
    there.wait_for(long, |frame| is_query(frame, [239, 192, 77, 1]))?.context("a query for the group that was left")?;
    sender.wait_for("the leave", |status| status["xdp"]["groups"][0]["leaves"].as_u64() > Some(0))?;
    there.take()?;
    let after = there.wait_for(Duration::from_millis(500), is_media)?;
    assert!(after.is_none(), "nobody is left, nothing is forwarded");
    sender.end()?;
    Ok(())
}
