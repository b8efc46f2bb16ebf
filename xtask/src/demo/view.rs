//! The live view: one block that refreshes itself on a terminal, a line every few seconds elsewhere.

use super::{
    CHOSEN, Plan,
    figures::{SenderStatus, Summary},
};
use std::{
    io::{Write, stdout},
    time::{Duration, Instant},
};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how the demo goes on.
pub(super) struct View {
    terminal: bool,
    /// Lines of the block that is shown.
    shown: usize,
    last_line: Option<Instant>,
}

impl View {
    pub(super) fn new(terminal: bool) -> Self {
        Self { terminal, shown: 0, last_line: None }
    }

    /// Shows the figures of `now`.
    pub(super) fn show(&mut self, plan: &Plan, now: u64, status: &SenderStatus, receptions: &[Summary]) {
        if self.terminal {
            let block = block(plan, now, status, receptions);
            // Back to the block's first line, then each line over the old one.
            let back = if self.shown > 0 { format!("\x1b[{}A", self.shown) } else { String::new() };
            self.shown = block.len();
            let lines: String = block.iter().map(|line| format!("{line}\x1b[K\n")).collect();
            write(&format!("{back}{lines}"));
        } else if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            write(&line(plan, now, status, receptions));
        }
    }

    /// Leaves the last block standing.
    pub(super) fn end(&mut self) {
        self.shown = 0;
    }
}

fn line(plan: &Plan, now: u64, status: &SenderStatus, receptions: &[Summary]) -> String {
    let received: Vec<_> = receptions.iter().map(|reception| reception.received.to_string()).collect();
    let lost: u64 = receptions.iter().map(|reception| reception.lost).sum();
    format!(
        "{:>4.0} s of {:.0}: encrypted {}, sent {}, received {}, lost {lost}, reports counted {}\n",
        seconds(now, plan.begin).max(0.0),
        seconds(plan.end, plan.begin),
        status.encrypted,
        status.sent,
        received.join(" / "),
        status.xdp.counted().reports
    )
}

fn block(plan: &Plan, now: u64, status: &SenderStatus, receptions: &[Summary]) -> Vec<String> {
    const BAR: usize = 48;
    let part = (seconds(now, plan.begin) / seconds(plan.end, plan.begin)).clamp(0.0, 1.0);
    let done = (part * BAR as f64) as usize;
    let mut lines = vec![
        format!(
            "  {}\x1b[2m{}\x1b[0m {:.0} of {:.0} s",
            "━".repeat(done),
            "━".repeat(BAR - done),
            seconds(now, plan.begin).clamp(0.0, seconds(plan.end, plan.begin)),
            seconds(plan.end, plan.begin)
        ),
        format!("  encrypted \x1b[1m{:>6}\x1b[0m   sent \x1b[1m{:>6}\x1b[0m", status.encrypted, status.sent),
    ];
    for copy in &status.copies {
        let (runs, pass) = (seconds(now, copy.base_ns), plan.pass as f64 / 1e9);
        let state = match runs {
            0.0.. => format!("pass {:.0}, at {:>4.1} s", (runs / pass).floor() + 1.0, runs % pass),
            _ => format!("begins in {:.1} s", -runs),
        };
        let receiver = CHOSEN.iter().position(|&chosen| chosen == copy.copy);
        let reception = receiver.and_then(|index| Some((index + 1, receptions.get(index)?)));
        let reception = reception.map_or_else(String::new, |(number, reception)| {
            let jitter = reception.jitter_us.unwrap_or(0) as f64 / 1e3;
            format!("r{number}  {:>6} received, {} lost, jitter {jitter:.2} ms", reception.received, reception.lost)
        });
        lines.push(format!("  copy {}  {:<18} {state:<17}  {reception}", copy.copy, copy.group));
    }
    let counted = status.xdp.counted();
    let reporters = status.titles.first().map_or(0, |title| title.reporters);
    lines.push(format!(
        "  XDP counts {:>3} IGMP records, {:>3} receiver reports of {reporters} receivers",
        counted.records, counted.reports
    ));
    lines
}

fn write(text: &str) {
    let mut out = stdout().lock();
    // A closed output doesn't stop the demo: its exit code still counts.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// From `earlier` to `later` in seconds, negative if it is the other way round.
fn seconds(later: u64, earlier: u64) -> f64 {
    (i128::from(later) - i128::from(earlier)) as f64 / 1e9
}
