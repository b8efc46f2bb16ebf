//! The other ways out of the box: the same bytes by plain sockets, and no AF_XDP without saying so.

use super::{
    bytes::Media,
    stage::{SAMPLE, Stage, Title, config, number},
};
use anyhow::Result;
use sender_tests::skip::require_root;
use std::path::Path;

/// A root without any capability.
pub(crate) const POWERLESS: &[&str] = &["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

#[test]
fn plain_sockets_send_the_same_bytes_without_any_capability() -> Result<()> {
    if !require_root("plain_sockets_send_the_same_bytes_without_any_capability") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let media = Media::open(Path::new(SAMPLE))?;
    let key = stage.key()?;
    let title = Title { key: Some(&key), ..Title::clear(Path::new(SAMPLE), "239.192.77.1") };
    let config = config("mode = \"socket\"\nxdp = \"off\"", &[title]);
    let sender = stage.run_with(POWERLESS, "sender", &config)?;
    let mut receiver = stage.receive(1, "239.192.77.1:5004", &["--key-file", key.to_str().expect("letters")])?;
    receiver.wait_for_packets(100)?;
    let status = sender.status()?;
    let (summary, bytes) = receiver.end()?;
    let packets = media.compare(number(&status["copies"][0]["first_index"]), &summary, &bytes)?;
    assert_eq!((packets, &summary["lost"]), (number(&summary["received"]), &0.into()));
    let end = sender.end()?;
    assert_eq!(end["queues"][0]["mode"], "socket");
    assert!(end["xdp"].is_null(), "nothing is counted");
    Ok(())
}

#[test]
fn automatic_mode_says_what_it_took() -> Result<()> {
    if !require_root("automatic_mode_says_what_it_took") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let titles = [Title::clear(Path::new(SAMPLE), "239.192.77.1")];
    let mut sender = stage.run(&config("mode = \"auto\"", &titles))?;
    sender.process.wait_for("queue 0 of tx0: copy mode", super::stage::LONG)?;
    // Figures are asked for once a second, and are in the next status.
    let status = sender.wait_for("figures", |status| number(&status["sent"]) > 0)?;
    assert_eq!(status["queues"][0]["mode"], "copy");
    sender.end()?;
    Ok(())
}
