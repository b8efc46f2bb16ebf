//! Four staggered, encrypted copies for more than two passes: one run, looked at from all sides.

use super::{
    bytes::{Media, make_short_title},
    stage::{PORT, SAMPLE, Stage, Title, config, number, xdp},
};
use anyhow::{Context, Result, ensure};
use sender_tests::skip::{require_root, skip};
use serde_json::Value;
use std::{net::SocketAddr, path::Path, process::Command, sync::OnceLock};

const COPIES: usize = 4;
/// As promised.
const OFFSET_NS: i64 = 5_000_000;

/// What was observed.
struct Run {
    media: Media,
    /// The sender's status once all copies ran, before the receivers left, and at its end.
    steady: Value,
    last: Value,
    end: Value,
    /// Summary and media of each receiver; receiver n is on copy n.
    received: Vec<(Value, Vec<u8>)>,
    folder: tempfile::TempDir,
}

impl Run {
    fn first_index(&self) -> u64 {
        number(&self.end["copies"][0]["first_index"])
    }
}

/// The one run that the tests here look at; `None`: it can't be here, and that is noted.
fn run(test: &str) -> Option<&'static Run> {
    static RUN: OnceLock<Result<Run>> = OnceLock::new();
    if !require_root(test) {
        return None;
    }
    match RUN.get_or_init(perform) {
        Ok(run) => Some(run),
        Err(error) => panic!("the run failed: {error:#}"),
    }
}

fn perform() -> Result<Run> {
    let folder = tempfile::tempdir()?;
    let file = make_short_title(folder.path())?;
    let media = Media::open(&file)?;
    let stage = Stage::with_receivers(COPIES)?;
    let key = stage.key()?;
    let title = Title { copies: COPIES, key: Some(&key), ..Title::clear(&file, "232.77.0.1") };
    let mut sender = stage.run(&config("mode = \"copy\"", &[title]))?;
    let key = key.to_str().context("a path of letters")?;
    let groups = (1..=COPIES).map(|number| SocketAddr::new([232, 77, 0, number as u8].into(), PORT).to_string());
    let mut receivers = (1..)
        .zip(groups)
        .map(|(number, group)| {
            // Reports count whether they are protected (SRTCP) or not.
            let protect: &[&str] = if number % 2 == 0 { &["--protect-reports"] } else { &[] };
            stage.receive(number, &group, &[&["--key-file", key], protect].concat())
        })
        .collect::<Result<Vec<_>>>()?;
    let running = |status: &Value| (0..COPIES).all(|copy| number(&status["copies"][copy]["sent"]) > 0);
    let steady = sender.wait_for("packets of all copies", running)?;
    // The first pass may have begun before the receiver joined: two whole ones follow.
    let wanted = 3 * media.pass.packets_per_pass() + 10;
    for receiver in &mut receivers {
        receiver.wait_for("three passes", |status| {
            status["last_index"]
                .as_u64()
                .is_some_and(|last| last >= number(&steady["copies"][0]["first_index"]) + wanted)
        })?;
    }
    let last = sender.status()?;
    let received = receivers.into_iter().map(|receiver| receiver.end()).collect::<Result<Vec<_>>>()?;
    Ok(Run { media, steady, last, end: sender.end()?, received, folder })
}

#[test]
fn every_copy_is_the_file_again_and_again_bit_for_bit() -> Result<()> {
    let Some(run) = run("every_copy_is_the_file_again_and_again_bit_for_bit") else { return Ok(()) };
    for (copy, (summary, bytes)) in run.received.iter().enumerate() {
        let packets = run.media.compare(run.first_index(), summary, bytes).with_context(|| format!("copy {copy}"))?;
        assert_eq!(packets, number(&summary["received"]), "copy {copy}: packets written");
        assert!(packets > 2 * run.media.pass.packets_per_pass(), "copy {copy}: more than two passes");
        let (first, last) = (number(&summary["first_index"]), number(&summary["last_index"]));
        assert_eq!(last - first + 1, packets, "copy {copy}: without a gap");
        for trouble in ["lost", "duplicate", "reordered", "late", "auth_failed", "malformed", "foreign", "kernel_drops"]
        {
            assert_eq!(summary[trouble], 0, "copy {copy}: {trouble}");
        }
        assert_eq!(summary["sources"], 1, "copy {copy}");
        assert!(number(&summary["sr_received"]) > 0, "copy {copy} has sender reports");
        assert_eq!(summary["rtcp_refused"], 0, "copy {copy}: sender reports authenticate");
    }
    Ok(())
}

#[test]
fn every_copy_arrives_within_five_milliseconds_of_its_plan() -> Result<()> {
    let Some(run) = run("every_copy_arrives_within_five_milliseconds_of_its_plan") else { return Ok(()) };
    let stagger = run.media.pass.duration().to_nanos() / COPIES as u64;
    for (copy, (summary, _)) in run.received.iter().enumerate() {
        let base = number(&run.end["copies"][copy]["base_ns"]);
        assert_eq!(base - number(&run.end["copies"][0]["base_ns"]), copy as u64 * stagger, "the plan of copy {copy}");
        let first = number(&summary["first_index"]) - run.first_index();
        let transit = summary["min_transit_ns"].as_i64().context("a transit time")?;
        let late = transit - i64::try_from(base + run.media.due(first))?;
        eprintln!("copy {copy}: {} µs after its plan", late / 1000);
        assert!((-100_000..OFFSET_NS).contains(&late), "copy {copy} came {late} ns after its plan");
    }
    Ok(())
}

#[test]
fn a_packet_is_encrypted_once_for_all_copies() -> Result<()> {
    let Some(run) = run("a_packet_is_encrypted_once_for_all_copies") else { return Ok(()) };
    let Run { steady, last, end, .. } = run;
    assert_eq!(end["encrypted"], end["copies"][0]["sent"], "only the leading copy encrypts");
    let since = |name: &str| number(&last[name]) - number(&steady[name]);
    let ratio = since("sent") as f64 / since("encrypted") as f64;
    assert!((ratio / COPIES as f64 - 1.0).abs() < 0.02, "1 : {ratio}");
    assert_eq!(end["skipped"], 0);
    Ok(())
}

#[test]
fn xdp_counts_every_report_every_receiver_and_every_join() -> Result<()> {
    let Some(run) = run("xdp_counts_every_report_every_receiver_and_every_join") else { return Ok(()) };
    let sum = |name: &str| run.received.iter().map(|(summary, _)| number(&summary[name])).sum::<u64>();
    let end = &run.end;
    assert!(sum("reports_sent") > COPIES as u64, "several reports each");
    assert_eq!(xdp(end, "report"), sum("reports_sent"), "reports");
    assert_eq!(number(&end["titles"][0]["reports"]), sum("reports_sent"), "reports of the title");
    assert_eq!(sum("byes_sent"), COPIES as u64);
    // Of a protected title's compounds only the first 8 octets are read: a BYE behind them counts as a report.
    assert_eq!((xdp(end, "bye"), xdp(end, "report_unsolicited")), (0, 0));
    assert_eq!(number(&end["titles"][0]["reporters"]), COPIES as u64, "receivers");
    let groups = end["xdp"]["groups"].as_array().context("the groups")?;
    for (of_group, of_all) in [("joins", "group_join"), ("leaves", "group_leave"), ("presents", "group_present")] {
        let counted: Vec<u64> = groups.iter().map(|group| number(&group[of_group])).collect();
        assert_eq!(counted.iter().sum::<u64>(), xdp(end, of_all), "{of_group} of all groups");
        assert!(of_group == "presents" || counted.iter().all(|&count| count >= 1), "{of_group}: {counted:?}");
    }
    Ok(())
}

#[test]
fn ffmpeg_decodes_the_received_passes_without_a_message_and_dts_runs_on() -> Result<()> {
    let test = "ffmpeg_decodes_the_received_passes_without_a_message_and_dts_runs_on";
    let Some(run) = run(test) else { return Ok(()) };
    if Command::new("ffprobe").arg("-version").output().is_err() {
        skip(test, "needs ffmpeg and ffprobe; `cargo xtask setup` installs them");
        return Ok(());
    }
    for (copy, (summary, bytes)) in run.received.iter().enumerate() {
        let whole = run.media.whole_passes(run.first_index(), summary, bytes);
        assert!(whole.len() >= 2 * run.media.len(), "copy {copy}: two whole passes");
        let path = run.folder.path().join(format!("copy{copy}.ts"));
        std::fs::write(&path, whole)?;
        decodes(&path).with_context(|| format!("copy {copy}"))?;
        let pass = i64::try_from(run.media.pass.duration().to_rtp(90_000))?;
        for (stream, frames) in [("v:0", 96), ("a:0", 180)] {
            let stamps = decoding_times(&path, stream)?;
            assert!(stamps.len() >= 2 * frames, "copy {copy}, {stream}: {} frames", stamps.len());
            let back = stamps.windows(2).position(|pair| pair[1] <= pair[0]);
            assert_eq!(back, None, "copy {copy}, {stream}: DTS runs on through {} frames", stamps.len());
            let uneven = (frames..stamps.len()).find(|&n| stamps[n] - stamps[n - frames] != pass);
            assert_eq!(uneven, None, "copy {copy}, {stream}: each pass is one duration later than the one before");
        }
    }
    Ok(())
}

fn decodes(path: &Path) -> Result<()> {
    let input = path.to_str().context("a path of letters")?;
    let output = Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-i", input, "-f", "null", "-"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "ffmpeg says: {said}");
    Ok(())
}

fn decoding_times(path: &Path, stream: &str) -> Result<Vec<i64>> {
    let input = path.to_str().context("a path of letters")?;
    let arguments = ["-v", "error", "-select_streams", stream, "-show_entries", "packet=dts", "-of", "csv=p=0", input];
    let output = Command::new("ffprobe").args(arguments).output()?;
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(|line| line.trim_matches(',')).filter(|line| !line.is_empty());
    lines.map(|line| line.parse().with_context(|| format!("{stream}: {line:?}"))).collect()
}

#[test]
fn copies_in_clear_are_bit_exact_too_and_their_byes_are_counted() -> Result<()> {
    if !require_root("copies_in_clear_are_bit_exact_too_and_their_byes_are_counted") {
        return Ok(());
    }
    let stage = Stage::with_receivers(2)?;
    let media = Media::open(Path::new(SAMPLE))?;
    let title = Title { copies: 8, ..Title::clear(Path::new(SAMPLE), "239.192.77.1") };
    let mut sender = stage.run(&config("mode = \"copy\"", &[title]))?;
    let mut receivers = [stage.receive(1, "239.192.77.1:5004", &[])?, stage.receive(2, "239.192.77.2:5004", &[])?];
    for receiver in &mut receivers {
        receiver.wait_for_packets(200)?;
    }
    let status = sender.wait_for("two copies", |status| number(&status["copies"][1]["sent"]) > 0)?;
    let mut reports = 0;
    for receiver in receivers {
        let (summary, bytes) = receiver.end()?;
        let packets = media.compare(number(&status["copies"][0]["first_index"]), &summary, &bytes)?;
        assert_eq!((packets, &summary["lost"]), (number(&summary["received"]), &0.into()));
        reports += number(&summary["reports_sent"]);
    }
    let end = sender.end()?;
    assert_eq!((xdp(&end, "report"), xdp(&end, "bye")), (reports, 2), "reports, and a BYE of each");
    Ok(())
}
