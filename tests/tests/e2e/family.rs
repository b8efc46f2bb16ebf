//! IPv6: groups of source-specific range, MLDv2, reports, SRTP.

use super::{
    bytes::Media,
    stage::{FEEDBACK, SAMPLE, Stage, Title, config, number, xdp},
};
use anyhow::{Context, Result};
use sender_tests::skip::require_root;
use std::path::Path;

#[test]
fn ipv6_copies_arrive_bit_for_bit_and_their_joins_and_reports_are_counted() -> Result<()> {
    if !require_root("ipv6_copies_arrive_bit_for_bit_and_their_joins_and_reports_are_counted") {
        return Ok(());
    }
    let stage = Stage::with_receivers(2)?;
    let media = Media::open(Path::new(SAMPLE))?;
    let key = stage.key()?;
    // Sixteen copies 0.8 s apart: the second runs soon.
    let title = Title { copies: 16, key: Some(&key), ..Title::clear(Path::new(SAMPLE), "ff3e::8077:1") };
    let sender = stage.run(&config("mode = \"copy\"", &[title]))?;
    let key = key.to_str().context("a path of letters")?;
    let feedback = format!("[{}]:{FEEDBACK}", stage.lab.sender().v6());
    let arguments = ["--key-file", key, "--feedback", &feedback];
    let mut receivers =
        [stage.receive(1, "[ff3e::8077:1]:5004", &arguments)?, stage.receive(2, "[ff3e::8077:2]:5004", &arguments)?];
    for receiver in &mut receivers {
        receiver.wait_for_packets(250)?;
    }
    let first_index = number(&sender.status()?["copies"][0]["first_index"]);
    let mut reports = 0;
    for receiver in receivers {
        let (summary, bytes) = receiver.end()?;
        assert_eq!(media.compare(first_index, &summary, &bytes)?, number(&summary["received"]));
        assert_eq!((&summary["lost"], &summary["auth_failed"]), (&0.into(), &0.into()));
        assert!(number(&summary["sr_received"]) > 0, "sender reports come by IPv6 too");
        reports += number(&summary["reports_sent"]);
    }
    let end = sender.end()?;
    assert_eq!(xdp(&end, "report"), reports);
    assert_eq!(number(&end["titles"][0]["reporters"]), 2);
    for group in 0..2 {
        let group = &end["xdp"]["groups"][group];
        assert!(number(&group["joins"]) >= 1 && number(&group["leaves"]) >= 1, "{group}");
    }
    assert!(xdp(&end, "mld_v2_report") > 0);
    Ok(())
}
