//! The end of the demo: every figure beside what it must be.

use super::{
    CHOSEN, COPIES,
    figures::{Counted, SenderStatus, Summary},
    scene::Traffic,
};

/// How far from its plan a copy may arrive, in ms, on a machine that does other things, too.
const OFFSET_MS: f64 = 5.0;
/// How far packets sent per encryption may be from the number of copies, in parts of one: what is under way when the
/// figures are taken.
const RATIO: f64 = 0.01;

/// All that was observed.
pub(super) struct Evidence<'a> {
    /// The sender before anybody joined.
    pub(super) first: &'a SenderStatus,
    /// The sender once all copies ran.
    pub(super) steady: &'a SenderStatus,
    /// The sender before the receivers left.
    pub(super) last: &'a SenderStatus,
    /// By XDP, over the whole demo.
    pub(super) counted: Counted,
    /// By nft, over the whole demo.
    pub(super) traffic: Traffic,
    /// By the receivers themselves.
    pub(super) summaries: Vec<Summary>,
}

/// A figure and whether it is right.
struct Figure {
    text: String,
    right: bool,
}

impl Figure {
    fn new(value: impl ToString, right: bool) -> Self {
        Self { text: value.to_string(), right }
    }

    /// Right-aligned in `width`, and marked if it is wrong.
    fn cell(&self, width: usize, colours: bool) -> String {
        let text = if self.right { self.text.clone() } else { format!("{} !", self.text) };
        match (colours, self.right) {
            (true, true) => format!("\x1b[32m{text:>width$}\x1b[0m"),
            (true, false) => format!("\x1b[1;31m{text:>width$}\x1b[0m"),
            (false, _) => format!("{text:>width$}"),
        }
    }
}

/// Prints the tables; whether every figure is right.
pub(super) fn show(evidence: &Evidence<'_>, colours: bool) -> bool {
    let mut right = true;
    let mut cell = |figure: Figure, width| {
        right &= figure.right;
        figure.cell(width, colours)
    };

    println!("\nreceiver  copy   packets     lost  duplicate  out of order  not decrypted  offset of its copy");
    for ((number, summary), copy) in (1..).zip(&evidence.summaries).zip(CHOSEN) {
        let zero = |value: u64| Figure::new(value, value == 0);
        println!(
            "r{number:<8} {copy:>4}  {}  {}  {}  {}  {}  {}",
            cell(Figure::new(summary.received, summary.received > 0), 8),
            cell(zero(summary.lost), 7),
            cell(zero(summary.duplicate), 9),
            cell(zero(summary.reordered), 12),
            cell(zero(summary.auth_failed), 13),
            cell(offset(evidence, summary, copy), 0),
        );
    }

    let Evidence { counted, traffic, summaries, .. } = evidence;
    println!("\n                       sent by receivers   counted by XDP");
    println!(
        "IGMP joins and leaves  {:>17}   {}",
        traffic.memberships_sent,
        cell(
            Figure::new(
                counted.memberships,
                counted.memberships == traffic.memberships_sent && counted.memberships > 0
            ),
            14
        )
    );
    println!(
        "RTCP receiver reports  {:>17}   {}",
        traffic.reports_sent,
        cell(Figure::new(counted.reports, counted.reports == traffic.reports_sent && counted.reports > 0), 14)
    );
    let own: u64 = summaries.iter().map(|summary| summary.reports_sent).sum();
    println!("  by their own count   {}", cell(Figure::new(own, own == traffic.reports_sent), 17));

    let encrypted = evidence.last.encrypted.saturating_sub(evidence.steady.encrypted);
    let sent = evidence.last.sent.saturating_sub(evidence.steady.sent);
    let ratio = sent as f64 / encrypted.max(1) as f64;
    let fits = encrypted > 0 && (ratio / COPIES as f64 - 1.0).abs() <= RATIO;
    println!(
        "\nwhile all copies ran: {encrypted} packets encrypted, {sent} sent: {}",
        cell(Figure::new(format!("1 : {ratio:.2}"), fits), 0)
    );

    println!(
        "\n{}",
        if right { "every figure is right" } else { "WRONG: the figures marked with ! are not what they must be" }
    );
    right
}

/// The copy's offset from the first copy as planned, and how far the first packet's arrival was from that.
fn offset(evidence: &Evidence<'_>, summary: &Summary, number: u64) -> Figure {
    let (Ok(copy), Ok(leading)) = (evidence.first.copy(number), evidence.first.copy(0)) else {
        return Figure::new("no such copy in the sender's status", false);
    };
    let plan = copy.base_ns.saturating_sub(leading.base_ns) as f64 / 1e9;
    match summary.lateness(copy) {
        Some(late) => {
            let late = late as f64 / 1e6;
            Figure::new(format!("{plan:.3} s planned, {late:+.2} ms off"), late.abs() <= OFFSET_MS)
        }
        None => Figure::new(format!("{plan:.3} s planned, joined too late to compare"), false),
    }
}
