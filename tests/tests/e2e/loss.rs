//! What the network loses, the receiver shows as lost: no more, no less.

use super::stage::{LONG, SAMPLE, Stage, Title, config, number};
use anyhow::{Result, ensure};
use sender_tests::{lab::Loss, skip::require_root};
use std::{
    path::Path,
    time::{Duration, Instant},
};

#[test]
fn loss_in_the_network_shows_up_as_exactly_that_loss() -> Result<()> {
    if !require_root("loss_in_the_network_shows_up_as_exactly_that_loss") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let sender = stage.run(&config("mode = \"copy\"", &[Title::clear(Path::new(SAMPLE), "239.192.77.1")]))?;
    let mut receiver = stage.receive(1, "239.192.77.1:5004", &[])?;
    receiver.wait_for_packets(20)?;
    let rule = stage.lab.receiver(1).lose("udp dport 5004", Loss::EveryNth(40))?;
    // The rule ends just after a packet was lost: for the next 39 its counter can't change while it is taken away.
    let end = Instant::now() + LONG;
    while rule.packets()? < 5 {
        ensure!(Instant::now() < end, "nothing is lost");
        std::thread::sleep(Duration::from_millis(5));
    }
    let lost = rule.packets()?;
    drop(rule);
    // Gaps are given up once later packets have waited long enough.
    receiver.wait_for("the gaps", |status| number(&status["lost"]) >= lost)?;
    let before = number(&receiver.wait_for("a status", |_| true)?["received"]);
    receiver.wait_for_packets(before + 50)?;
    let (summary, bytes) = receiver.end()?;
    assert_eq!(number(&summary["lost"]), lost);
    let expected = number(&summary["last_index"]) - number(&summary["first_index"]) + 1;
    assert_eq!(number(&summary["received"]) + lost, expected);
    assert_eq!(number(&summary["bytes"]), bytes.len() as u64);
    for trouble in ["duplicate", "reordered", "late"] {
        assert_eq!(summary[trouble], 0, "{trouble}");
    }
    sender.end()?;
    Ok(())
}
