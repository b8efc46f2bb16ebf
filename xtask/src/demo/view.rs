//! The live view: one block that refreshes itself on a terminal, a line every few seconds elsewhere.

use super::{CHOSEN, Plan, figures::SenderStatus, scene::Traffic};
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
    last: Option<(u64, Traffic)>,
}

impl View {
    pub(super) fn new(terminal: bool) -> Self {
        Self { terminal, shown: 0, last_line: None, last: None }
    }

    /// Shows the figures of `now`.
    pub(super) fn show(&mut self, plan: &Plan, now: u64, status: &SenderStatus, traffic: &Traffic) {
        if self.terminal {
            let block = self.block(plan, now, status, traffic);
            // Back to the block's first line, then each line over the old one.
            let back = if self.shown > 0 { format!("\x1b[{}A", self.shown) } else { String::new() };
            self.shown = block.len();
            let lines: String = block.iter().map(|line| format!("{line}\x1b[K\n")).collect();
            self.write(&format!("{back}{lines}"));
        } else if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            let arrived: Vec<_> = traffic.media.iter().map(u64::to_string).collect();
            let line = format!(
                "{:>5.1} s of {:.0}: encrypted {}, sent {}, arrived {}, reports {}\n",
                seconds(now, plan.begin).max(0.0),
                seconds(plan.end, plan.begin),
                status.encrypted,
                status.sent,
                arrived.join(" / "),
                traffic.reports_sent
            );
            self.write(&line);
        }
        self.last = Some((now, traffic.clone()));
    }

    /// Leaves the last block standing.
    pub(super) fn end(&mut self) {
        self.shown = 0;
    }

    fn block(&self, plan: &Plan, now: u64, status: &SenderStatus, traffic: &Traffic) -> Vec<String> {
        const BAR: usize = 40;
        let part = (seconds(now, plan.begin) / seconds(plan.end, plan.begin)).clamp(0.0, 1.0);
        let done = (part * BAR as f64) as usize;
        let mut lines = vec![
            format!("  [{}{}] {:.0} s", "━".repeat(done), " ".repeat(BAR - done), seconds(now, plan.begin).max(0.0)),
            format!(
                "  sender   encrypted \x1b[1m{:>8}\x1b[0m   sent \x1b[1m{:>8}\x1b[0m   {:.2} sent per encryption",
                status.encrypted,
                status.sent,
                status.sent as f64 / status.encrypted.max(1) as f64
            ),
        ];
        for copy in &status.copies {
            let begins = seconds(copy.base_ns, now);
            let state =
                if begins > 0.0 { format!("begins in {begins:.1} s") } else { format!("{:>8} packets", copy.sent) };
            lines.push(format!("  copy {}   {:<22} {state}", copy.copy, copy.group));
        }
        for (index, arrived) in traffic.media.iter().enumerate() {
            let rate = self.last.as_ref().map_or(0.0, |(then, earlier)| {
                let packets = arrived.saturating_sub(earlier.media.get(index).copied().unwrap_or(0));
                packets as f64 / seconds(now, *then).max(0.001)
            });
            lines.push(format!(
                "  r{}       copy {}   {arrived:>8} packets   {rate:>6.0} packets/s",
                index + 1,
                CHOSEN[index]
            ));
        }
        lines.push(format!(
            "  sent by receivers: {} IGMP, {} RTCP packets",
            traffic.memberships_sent, traffic.reports_sent
        ));
        lines
    }

    fn write(&self, text: &str) {
        let mut out = stdout().lock();
        // A closed output doesn't stop the demo: its exit code still counts.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// From `earlier` to `later` in seconds, negative if it is the other way round.
fn seconds(later: u64, earlier: u64) -> f64 {
    (i128::from(later) - i128::from(earlier)) as f64 / 1e9
}
