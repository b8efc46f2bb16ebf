//! The end of the demo: every figure beside what it must be, and what a wrong one means.

use super::{
    CHOSEN, COPIES,
    figures::{SenderStatus, Summary},
    scene::Traffic,
};

/// How far from its plan a copy may arrive, in ms, on a machine that does other things, too.
const OFFSET_MS: f64 = 5.0;
/// How much of what was sent may be under way between the copies when the figures are taken.
const UNDER_WAY: f64 = 0.005;

/// All that was observed.
pub(super) struct Evidence {
    /// The sender before anybody joined.
    pub(super) first: SenderStatus,
    /// The sender once all copies ran.
    pub(super) steady: SenderStatus,
    /// The sender before the receivers left.
    pub(super) last: SenderStatus,
    /// The sender after they left.
    pub(super) end: SenderStatus,
    /// On the receivers' wires, by nft, over the whole demo.
    pub(super) traffic: Traffic,
    /// Media on the receivers' wires that they had not joined, once the bridge had heard who wants what.
    pub(super) unwanted: u64,
    /// By the receivers themselves.
    pub(super) summaries: Vec<Summary>,
}

/// Writes figures, and remembers what is wrong.
struct Sheet {
    colours: bool,
    wrong: Vec<String>,
}

impl Sheet {
    /// A figure, right-aligned in `width`; `otherwise` says what it means if it is not right.
    fn figure(
        &mut self,
        width: usize,
        value: impl ToString,
        right: bool,
        otherwise: impl FnOnce() -> String,
    ) -> String {
        let value = value.to_string();
        if !right {
            self.wrong.push(otherwise());
        }
        let text = if right { value } else { format!("!{value}") };
        let colour = if right { "32" } else { "1;31" };
        self.paint(colour, &format!("{text:>width$}"))
    }

    /// A figure that must be what another one is.
    fn same(&mut self, width: usize, value: u64, wanted: u64, otherwise: &str) -> String {
        self.figure(width, value, value == wanted && value > 0, || {
            format!("{value} where {wanted} is right: {otherwise}")
        })
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn heading(&self, text: &str) {
        println!("\n{}", self.paint("1", text));
    }
}

/// Prints the tables and the verdict; whether every figure was right.
pub(super) fn show(evidence: &Evidence, colours: bool) -> bool {
    let mut sheet = Sheet { colours, wrong: Vec::new() };
    show_receivers(evidence, &mut sheet);
    show_counts(evidence, &mut sheet);
    show_sender(evidence, &mut sheet);
    println!();
    if sheet.wrong.is_empty() {
        println!("{}", sheet.paint("1;32", "RIGHT: every figure is what it must be."));
    } else {
        println!("{}", sheet.paint("1;31", &format!("WRONG: the figures marked with ! ({})", sheet.wrong.len())));
        sheet.wrong.iter().for_each(|meaning| println!("  {meaning}"));
    }
    sheet.wrong.is_empty()
}

fn show_receivers(evidence: &Evidence, sheet: &mut Sheet) {
    sheet.heading(
        "receiver  copy  packets  passes   lost  duplicate  out of order  decrypt failures  offset of its copy (plan, at most 5 ms off)",
    );
    let per_pass = evidence.first.titles.first().map_or(1, |title| title.packets_per_pass).max(1);
    // One stream on all copies: who got the first packet of its copy knows its timestamp for everybody.
    let first_timestamp = evidence
        .summaries
        .iter()
        .zip(CHOSEN)
        .find_map(|(summary, copy)| summary.timestamp_of_first(evidence.first.copy(copy).ok()?));
    for ((number, summary), copy) in (1..).zip(&evidence.summaries).zip(CHOSEN) {
        let passes = summary.received as f64 / per_pass as f64;
        let row = [
            sheet.figure(8, summary.received, summary.received > 0, || format!("r{number} received nothing")),
            sheet.figure(7, format!("{passes:.2}"), passes > 2.0, || {
                format!("r{number} received {passes:.2} passes, not more than two: it joined too late, or packets are missing")
            }),
            sheet.figure(6, summary.lost, summary.lost == 0, || {
                format!("r{number} lost packets: the network or the receiver's socket dropped them, or the sender left them out")
            }),
            sheet.figure(10, summary.duplicate, summary.duplicate == 0, || {
                format!("r{number} got packets twice: a copy posts a packet again")
            }),
            sheet.figure(13, summary.reordered, summary.reordered == 0, || {
                format!("r{number} got packets out of order: a copy overtakes itself")
            }),
            sheet.figure(17, summary.auth_failed, summary.auth_failed == 0, || {
                format!("r{number} could not decrypt packets: wrong key or index, or changed on the way")
            }),
            offset(evidence, summary, first_timestamp, copy, sheet),
        ];
        println!("r{number:<8} {copy:>4} {}", row.join(" "));
    }
}

/// The copy's offset from the leading copy's plan as it arrived, beside its plan.
fn offset(evidence: &Evidence, summary: &Summary, first: Option<u32>, number: u64, sheet: &mut Sheet) -> String {
    let copies = (evidence.first.copy(number), evidence.first.copy(0));
    let late = copies.0.as_ref().ok().zip(first).and_then(|(copy, first)| summary.lateness(copy, first));
    let ((Ok(copy), Ok(leading)), Some(late)) = (copies, late) else {
        return sheet
            .figure(18, "unknown", false, || format!("copy {number}: no receiver got a first packet to compare with"));
    };
    let plan = copy.base_ns.saturating_sub(leading.base_ns) as f64 / 1e9;
    let late = late as f64 / 1e6;
    let arrived = sheet.figure(12, format!("{:.4} s", plan + late / 1e3), late.abs() <= OFFSET_MS, || {
        format!("copy {number} arrives {late:+.2} ms off its plan, more than {OFFSET_MS} ms: it began late, or drifts")
    });
    format!("{arrived} ({plan:.3} s {late:+.2} ms)")
}

fn show_counts(evidence: &Evidence, sheet: &mut Sheet) {
    let Evidence { first, end, traffic, summaries, .. } = evidence;
    let sum = |of: fn(&Summary) -> u64| summaries.iter().map(of).sum::<u64>();
    let counted = end.xdp.counted().since(first.xdp.counted());
    let seen = |of: fn((u64, u64)) -> u64, only_chosen: bool| {
        let copies = end.copies.iter().filter(|copy| CHOSEN.contains(&copy.copy) == only_chosen);
        copies.filter(|copy| of(end.xdp.group(copy)) > 0).count() as u64
    };
    let (joined, left) = (|(joins, _): (u64, u64)| joins, |(_, leaves): (u64, u64)| leaves);
    let mistaken = seen(joined, false);

    sheet.heading("                              receivers say   on their wires   counted by XDP");
    let line = |name: &str, said: String, wire: String, xdp: String, note: &str| {
        println!("{name:<30}{said:>13}{wire:>17}{xdp}{note}");
    };
    let (joins, leaves) = (sum(|summary| summary.joins_sent), sum(|summary| summary.leaves_sent));
    let groups_joined = sheet.figure(17, seen(joined, true), seen(joined, true) == joins && mistaken == 0, || {
        format!("XDP saw {} of {joins} groups joined, and {mistaken} that nobody joined", seen(joined, true))
    });
    line("groups joined", joins.to_string(), String::new(), groups_joined, "   distinct groups");
    let groups_left = sheet.same(17, seen(left, true), leaves, "groups that XDP saw left");
    line("groups left", leaves.to_string(), String::new(), groups_left, "   distinct groups");
    let records = sheet.same(
        17,
        counted.records,
        traffic.memberships,
        "IGMP messages of the receivers that XDP counted: some did not reach the sender, or were refused by the parser",
    );
    let note = "   joins and leaves, which hosts repeat, and answers to our queries";
    line("IGMP messages", String::new(), traffic.memberships.to_string(), records, note);
    let said = sum(|summary| summary.reports_sent);
    let reports =
        sheet.same(17, counted.reports, said, "receiver reports that XDP counted: some did not reach the sender");
    let wire = sheet.same(17, traffic.reports, said, "receiver reports on the wires, by nft");
    line("receiver reports", said.to_string(), wire, reports, "");
    let reporters = evidence.last.titles.first().map_or(0, |title| title.reporters);
    let reporters = sheet.same(17, reporters, summaries.len() as u64, "distinct receivers that XDP saw reporting");
    line("distinct receivers", summaries.len().to_string(), String::new(), reporters, "");
}

fn show_sender(evidence: &Evidence, sheet: &mut Sheet) {
    let Evidence { steady, last, end, .. } = evidence;
    let encrypted = last.encrypted.saturating_sub(steady.encrypted);
    let sent = last.sent.saturating_sub(steady.sent);
    let of_copy = |status: &SenderStatus| status.copy(0).map_or(0, |copy| copy.sent);
    let leading = of_copy(last).saturating_sub(of_copy(steady));
    let under_way = sent.abs_diff(encrypted * COPIES);

    sheet.heading("while all copies ran");
    let once = sheet.same(
        8,
        encrypted,
        leading,
        "packets encrypted, beside those that the leading copy sent: some were encrypted twice",
    );
    println!("packets encrypted          {once}   as many as the leading copy sent");
    let near = under_way as f64 <= sent as f64 * UNDER_WAY;
    let all = sheet.figure(8, sent, sent > 0 && near, || {
        format!("{sent} packets sent is {under_way} off {COPIES} × {encrypted}: copies encrypt for themselves, or skip")
    });
    let ratio = sent as f64 / encrypted.max(1) as f64;
    println!("packets sent               {all}   1 : {ratio:.3} ({COPIES} × {encrypted} and {under_way} under way)");
    let skipped = sheet.figure(8, end.skipped, end.skipped == 0, || {
        "packets were left out because they were too late: this machine was too busy to send in time".to_owned()
    });
    println!("packets left out           {skipped}");
    let unwanted = sheet.figure(8, evidence.unwanted, evidence.unwanted == 0, || {
        "media of other copies came to receivers: the bridge floods, since it has not heard our querier".to_owned()
    });
    println!(
        "other copies' packets      {unwanted}   at the receivers: the bridge forwards what was joined, led by our querier"
    );
    if let Some(queue) = end.queues.first() {
        let quantile = |name: &str| queue.lateness_ns.get(name).map_or(0.0, |&nanos| nanos as f64 / 1e6);
        println!(
            "departure against plan     median {:.2} ms, 99 % {:.2} ms, worst {:.2} ms (AF_XDP, {} mode)",
            quantile("p50"),
            quantile("p99"),
            quantile("max"),
            queue.mode
        );
    }
}
