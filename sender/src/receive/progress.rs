//! What is shown while it runs, and the figures as a file.

use super::error::ReceiveError;
use super::source::State;
use super::summary::Snapshot;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why receiving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It has not.
    Running,
    /// `--packets` are there.
    Packets,
    /// `--duration` is over.
    Duration,
    /// SIGINT or SIGTERM.
    Signal,
    /// The sender said BYE (`--until-bye`).
    Bye,
    /// The reader of the output has gone.
    OutputClosed,
    /// No media came in time.
    Silence,
    /// Reading or writing failed.
    Failed,
}

/// The JSON document of `--status` and `--summary`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    /// Why it ended, or `running`.
    pub ended: Ended,
    /// The session's figures.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// RTP datagrams that the kernel dropped because the socket's buffer was full.
    pub kernel_drops: u64,
    /// Memberships taken: one for each group and source, whose IGMP or MLD reports the kernel sends and repeats.
    pub joins_sent: u64,
    /// Memberships given back.
    pub leaves_sent: u64,
    /// Of `reports_sent`: refused by the system (no route, for instance).
    pub reports_unsent: u64,
}

impl Document {
    /// Writes it so that a reader sees the old file or the new one, never a part.
    pub fn write(&self, path: &Path) -> Result<(), ReceiveError> {
        let fail = |source: io::Error| ReceiveError::Write { path: path.to_owned(), source };
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| fail(error.into()))?;
        text.push(b'\n');
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary: PathBuf = path.with_file_name(name);
        std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path)).map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            fail(error)
        })
    }
}

/// The line on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    /// `None`: quiet.
    terminal: Option<bool>,
    /// Time, packets and bytes when it was last shown.
    last: (u64, u64, u64),
}

impl Progress {
    pub(super) fn new(terminal: Option<bool>, now: u64) -> Progress {
        Progress { terminal, last: (now, 0, 0) }
    }

    /// Shows the figures at `now` (ns); the rate is that since the last time.
    pub(super) fn show(&mut self, now: u64, document: &Document) {
        let Some(terminal) = self.terminal else { return };
        let counts = document.snapshot.counts;
        let (then, packets, bytes) = std::mem::replace(&mut self.last, (now, counts.received, counts.bytes));
        let seconds = (now.saturating_sub(then) as f64 / 1e9).max(1e-3);
        let rate = ((counts.bytes - bytes) as f64 * 8.0 / seconds / 1e6, (counts.received - packets) as f64 / seconds);
        let line = line(document, rate, terminal);
        let mut out = io::stderr().lock();
        // Nobody reading it is no reason to end.
        let _ = if terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    }

    /// The refreshed line stays, and what follows begins on its own.
    pub(super) fn end(&mut self, document: &Document) {
        if self.terminal == Some(true) {
            eprintln!();
        }
        if self.terminal.is_some() {
            let counts = document.snapshot.counts;
            eprintln!(
                "{} packets, {} bytes, {} lost, {} duplicate, {} reordered, {} late; {} reports and {} BYE sent",
                counts.received,
                counts.bytes,
                counts.lost,
                counts.duplicate,
                counts.reordered,
                counts.late,
                document.snapshot.reports_sent,
                document.snapshot.byes_sent
            );
        }
    }
}

/// One line of progress.
fn line(document: &Document, (megabits, packets): (f64, f64), colour: bool) -> String {
    let snapshot = &document.snapshot;
    let counts = snapshot.counts;
    match snapshot.state {
        State::Waiting => return format!("waiting for media; {} other packets", counts.foreign + counts.malformed),
        State::SearchingRoc => return "looking for the rollover counter".into(),
        State::WrongKey => return "packets come, but none authenticates: is it the right key file?".into(),
        State::Receiving => {}
    }
    let bad = |name: &str, value: u64| match (value, colour) {
        (0, _) | (_, false) => format!("{name} {value}"),
        _ => format!("\x1b[31m{name} {value}\x1b[0m"),
    };
    let mut parts = vec![
        format!("{megabits:.2} Mb/s {packets:.0} pps"),
        bad("lost", counts.lost),
        format!("duplicate {} reordered {}", counts.duplicate, counts.reordered),
        format!("jitter {:.2} ms", snapshot.jitter_us.unwrap_or(0) as f64 / 1e3),
    ];
    let troubles =
        [("late", counts.late), ("kernel drops", document.kernel_drops), ("not authentic", counts.auth_failed)];
    parts.extend(troubles.into_iter().filter(|&(_, value)| value > 0).map(|(name, value)| bad(name, value)));
    let position = snapshot.position_ns.unwrap_or(0) / 100_000_000;
    let (minutes, seconds) = (position / 600, position % 600);
    parts.push(format!(
        "at {:02}:{:02}:{:02}.{} index {} roc {}",
        minutes / 60,
        minutes % 60,
        seconds / 10,
        seconds % 10,
        snapshot.last_index.unwrap_or(0),
        snapshot.roc.unwrap_or(0)
    ));
    if snapshot.source_left {
        parts.push("the sender has said BYE".into());
    }
    parts.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::super::session::{Session, Settings};
    use super::*;

    fn document() -> Document {
        let snapshot = Session::new(Settings::new(1, "me".into(), 1), 0).snapshot();
        Document { ended: Ended::Running, snapshot, kernel_drops: 0, joins_sent: 1, leaves_sent: 0, reports_unsent: 0 }
    }

    #[test]
    fn a_line_says_what_is_lost_and_where_it_is() {
        let mut document = document();
        assert_eq!(line(&document, (0.0, 0.0), false), "waiting for media; 0 other packets");
        document.snapshot.state = State::Receiving;
        document.snapshot.counts.lost = 3;
        document.kernel_drops = 2;
        document.snapshot.position_ns = Some(3_723_400_000_000);
        document.snapshot.last_index = Some(70_000);
        document.snapshot.roc = Some(1);
        document.snapshot.jitter_us = Some(1250);
        let plain = "4.00 Mb/s 380 pps | lost 3 | duplicate 0 reordered 0 | jitter 1.25 ms | kernel drops 2 | \
                     at 01:02:03.4 index 70000 roc 1";
        assert_eq!(line(&document, (4.0, 380.0), false), plain);
        assert!(line(&document, (4.0, 380.0), true).contains("\x1b[31mlost 3\x1b[0m"));
    }

    #[test]
    fn the_document_is_flat_and_replaces_the_file_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("status.json");
        std::fs::write(&path, "old").expect("writable");
        document().write(&path).expect("writable");
        let text = std::fs::read_to_string(&path).expect("it is there");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["ended"], "running");
        assert_eq!(value["state"], "waiting");
        assert_eq!((&value["received"], &value["joins_sent"]), (&0.into(), &1.into()));
        assert!(value["first_index"].is_null());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let error = document().write(&folder.path().join("none/status.json")).expect_err("no such folder");
        assert_eq!(error.exit_code(), 1);
    }
}
