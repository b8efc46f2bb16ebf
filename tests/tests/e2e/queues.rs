//! Several queues: titles are dealt out over them.

use super::{
    bytes::Media,
    stage::{FEEDBACK, SAMPLE, Stage, Title, config, number},
};
use anyhow::Result;
use sender_tests::{lab::Options, skip::require_root};
use std::path::Path;

#[test]
fn titles_are_dealt_out_over_two_queues_and_both_send() -> Result<()> {
    if !require_root("titles_are_dealt_out_over_two_queues_and_both_send") {
        return Ok(());
    }
    let stage = Stage::build(&Options { receivers: 2, sender_queues: 2, ..Options::default() })?;
    let media = Media::open(Path::new(SAMPLE))?;
    let titles = [
        Title { name: "one", ..Title::clear(Path::new(SAMPLE), "239.192.77.1") },
        Title { name: "two", feedback: FEEDBACK + 1, ..Title::clear(Path::new(SAMPLE), "239.192.77.2") },
    ];
    let mut sender = stage.run(&config("mode = \"copy\"\nqueues = [0, 1]", &titles))?;
    let second = format!("{}:{}", stage.lab.sender().v4(), FEEDBACK + 1);
    let mut receivers =
        [stage.receive(1, "239.192.77.1:5004", &[])?, stage.receive(2, "239.192.77.2:5004", &["--feedback", &second])?];
    for receiver in &mut receivers {
        receiver.wait_for_packets(100)?;
    }
    let status = sender
        .wait_for("both queues", |status| (0..2).all(|queue| number(&status["queues"][queue]["engine"]["sent"]) > 0))?;
    let mut reports = [0; 2];
    for (title, receiver) in receivers.into_iter().enumerate() {
        let (summary, bytes) = receiver.end()?;
        let packets = media.compare(number(&status["copies"][title]["first_index"]), &summary, &bytes)?;
        assert_eq!((packets, &summary["lost"]), (number(&summary["received"]), &0.into()), "title {title}");
        reports[title] = number(&summary["reports_sent"]);
    }
    let end = sender.end()?;
    for title in 0..2 {
        assert_eq!(end["queues"][title]["engine"]["sent"], end["copies"][title]["sent"], "a queue for each title");
        assert_eq!(number(&end["titles"][title]["reports"]), reports[title], "each title has its own reports");
        assert_eq!(number(&end["titles"][title]["reporters"]), 1);
    }
    Ok(())
}
