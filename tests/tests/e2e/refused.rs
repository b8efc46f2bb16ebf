//! What can't run is refused: exit code 2, what is wrong and what to do, and nothing half started.

use super::{
    ending::interface,
    modes::POWERLESS,
    stage::{PORT, SAMPLE, Stage, Title, config, number},
};
use anyhow::{Context, Result};
use sender_tests::skip::require_root;
use std::{path::Path, time::Duration};

const GROUP: &str = "239.192.77.1";

#[test]
fn what_can_not_run_is_refused_with_the_remedy_and_nothing_is_started() -> Result<()> {
    if !require_root("what_can_not_run_is_refused_with_the_remedy_and_nothing_is_started") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let broken = stage.path("broken.ts");
    std::fs::write(&broken, [b'x'; 5000])?;
    let copy = |file| config("mode = \"copy\"", &[Title::clear(file, GROUP)]);
    let sample = Path::new(SAMPLE);
    let zero_copy = config("mode = \"zero-copy\"", &[Title::clear(sample, GROUP)]);
    let huge = copy(sample).replace("umem = \"32MiB\"", "umem = \"1TiB\"");
    let cases: &[(&str, &[&str], String, &[&str])] = &[
        ("interface", &[], copy(sample).replace("tx0", "nosuch0"), &["nosuch0", "use one of those", "tx0"]),
        ("capability", POWERLESS, copy(sample), &["CAP_NET_RAW", "CAP_BPF", "run as root", "setcap"]),
        ("media", &[], copy(&broken), &["broken.ts", "remedy"]),
        ("nomedia", &[], copy(&stage.path("none.ts")), &["none.ts", "check the path"]),
        ("memory", &[], huge, &["umem", "1TiB", "smaller umem"]),
        ("zerocopy", &[], zero_copy, &["tx0", "no zero-copy AF_XDP", "\"copy\""]),
        ("queue", &[], copy(sample).replace("mode =", "queues = [1]\nmode ="), &["no queue 1", "only queue 0"]),
    ];
    let member = stage.lab.receiver(1).join(GROUP.parse()?, PORT, None)?;
    let before = interface(&stage)?;
    for (name, prefix, text, words) in cases {
        let (code, said) = stage.run_to_end(prefix, name, text)?;
        assert_eq!(code, Some(2), "{name}: {said}");
        for word in *words {
            assert!(said.contains(word), "{name}: no {word:?} in\n{said}");
        }
        assert!(said.contains("nothing was started"), "{name}: {said}");
        assert_eq!(interface(&stage)?, before, "{name}: the interface is as before");
        assert!(!stage.path(&format!("{name}.json")).exists(), "{name}: no status");
    }
    assert_eq!(member.receive(Duration::from_millis(300))?, None, "not a packet was sent");
    Ok(())
}

#[test]
fn a_second_sender_on_the_same_queue_is_refused_and_the_first_goes_on() -> Result<()> {
    if !require_root("a_second_sender_on_the_same_queue_is_refused_and_the_first_goes_on") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let titles = [Title::clear(Path::new(SAMPLE), GROUP)];
    let mut first = stage.run(&config("mode = \"copy\"", &titles))?;
    let mut receiver = stage.receive(1, "239.192.77.1:5004", &[])?;
    receiver.wait_for_packets(20)?;
    let before = interface(&stage)?;
    let elsewhere = [Title::clear(Path::new(SAMPLE), "239.192.77.9")];
    for (name, network, words) in [
        ("second", "mode = \"copy\"", ["another XDP program", "tx0"]),
        ("third", "mode = \"copy\"\nxdp = \"off\"", ["queue 0", "tx0"]),
    ] {
        let (code, said) = stage.run_to_end(&[], name, &config(network, &elsewhere))?;
        eprintln!("{name}: {said}");
        assert_eq!(code, Some(2), "{name}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
        assert_eq!(interface(&stage)?, before, "{name}: the first one's program is in place");
    }
    let sent = number(&first.status()?["sent"]);
    first.wait_for("more packets", |status| number(&status["sent"]) > sent)?;
    let (summary, _) = receiver.end()?;
    let end = first.end().context("the first one")?;
    assert_eq!((&summary["lost"], &end["skipped"]), (&0.into(), &0.into()), "the first one went on");
    assert_eq!(summary["sources"], 1, "the first one never stopped");
    Ok(())
}
