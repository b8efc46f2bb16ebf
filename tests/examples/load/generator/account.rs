//! Sent against counted, and where the difference stayed.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use sender::xdp::Reason;
use sender_common::Class;

use super::{
    Out,
    target::{Counter, Counts, Reading},
    traffic::Traffic,
};

/// Counters come to rest within this.
const SETTLE: Duration = Duration::from_secs(4);

/// What an interface says that it dropped, since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drops {
    rx: u64,
    tx: u64,
}

impl Drops {
    pub(super) fn read(interface: &str) -> Result<Self> {
        let path = "/proc/thread-self/net/dev";
        let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
        let line = line.with_context(|| format!("{path} has no interface {interface}"))?;
        let field: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // Receive: bytes, packets, errs, drop, fifo, frame, compressed, multicast; then the same of transmit.
        let sum = |fields: &[usize]| fields.iter().filter_map(|at| field.get(*at)).sum();
        Ok(Self { rx: sum(&[2, 3, 4]), tx: sum(&[10, 11, 12]) })
    }
}

/// A run's figures while it goes on.
pub(super) struct Account<'c> {
    counter: Counter<'c>,
    interface: String,
    before: Option<Counts>,
    near: Drops,
    far: Option<Drops>,
    /// At the line before: when, sent, counted.
    last: (Duration, u64, u64),
}

impl<'c> Account<'c> {
    pub(super) fn begin(counter: Counter<'c>, interface: &str) -> Result<Self> {
        let before = counter.read()?.map(|reading| reading.counts);
        let far = far_end(&counter)?;
        let near = Drops::read(interface)?;
        Ok(Self { counter, interface: interface.to_owned(), before, near, far, last: Default::default() })
    }

    /// The line of a second.
    pub(super) fn line(&mut self, now: Duration, sent: u64, failures: u64) -> Result<()> {
        let (then, sent_then, counted_then) = self.last;
        let seconds = (now - then).as_secs_f64();
        let counted = self.counter.read()?.map(|reading| outcomes(&self.since(reading)));
        let rate = |now: u64, then: u64| (now - then) as f64 / seconds / 1000.0;
        let heard = counted.map_or(String::new(), |counted| {
            format!("   counted {counted:>12} ({:>8.1} k/s)", rate(counted, counted_then))
        });
        let failed = if failures > 0 { format!("   {failures} wake-ups failed") } else { String::new() };
        let sent_rate = rate(sent, sent_then);
        println!("{:>4.0} s   sent {sent:>12} ({sent_rate:>8.1} k/s){heard}{failed}", now.as_secs_f64());
        self.last = (now, sent, counted.unwrap_or(0));
        Ok(())
    }

    pub(super) fn end(self, traffic: &Traffic, time: Duration, behind: u64, out: &Out) -> Result<Outcome> {
        let counted = self.settle()?;
        let mut means = traffic.means();
        let counted = counted.map(|reading| {
            let mut counts = self.since(reading);
            // Which of the two it is depends on whom the box has announced.
            merge(&mut counts, Reason::ReportUnsolicited, Reason::Report);
            counts
        });
        merge(&mut means, Reason::ReportUnsolicited, Reason::Report);
        let near = Drops::read(&self.interface)?;
        let mut dropped = vec![(format!("{}: dropped in sending", self.interface), near.tx - self.near.tx)];
        if let (Some(before), Some(now)) = (self.far, far_end(&self.counter)?) {
            dropped.push((format!("{}: dropped in receiving", super::lab::RECEIVER), now.rx - before.rx));
        }
        dropped.push(("TX ring: not taken by the kernel".to_owned(), u64::from(out.socket.pending())));
        let statistics = out.socket.statistics();
        dropped.push(("TX ring: refused as invalid".to_owned(), statistics.map_or(0, |s| s.tx_invalid_descs)));
        let failures = out.failures.0.iter().map(|(errno, count)| (*errno, *count)).collect();
        let alone = matches!(self.counter, Counter::Lab(_));
        Ok(Outcome { sent: traffic.sent(), alone, time, behind, means, counted, dropped, failures })
    }

    fn since(&self, reading: Reading) -> Counts {
        let before = self.before.iter().flatten();
        let since =
            |((reason, now), (_, before)): ((Reason, u64), &(Reason, u64))| (reason, now.saturating_sub(*before));
        reading.counts.into_iter().zip(before).map(since).collect()
    }

    /// Waits until the counters rest, or until a status file was rewritten twice: it may have been in the making.
    fn settle(&self) -> Result<Option<Reading>> {
        let deadline = Instant::now() + SETTLE;
        let (mut last, mut changes) = (self.counter.read()?, 0);
        while let Some(before) = &last {
            thread::sleep(Duration::from_millis(50));
            let now = self.counter.read()?;
            let (rests, newer) =
                now.as_ref().map_or((true, false), |now| (now.counts == before.counts, now.at != before.at));
            changes += u32::from(newer);
            last = now;
            if (rests && newer && changes >= 2) || Instant::now() > deadline {
                break;
            }
        }
        Ok(last)
    }
}

fn far_end(counter: &Counter<'_>) -> Result<Option<Drops>> {
    match counter {
        Counter::Lab(lab) => lab.far_end().map(Some),
        _ => Ok(None),
    }
}

fn merge(counts: &mut Counts, from: Reason, into: Reason) {
    let moved = std::mem::take(&mut counts[from as usize].1);
    counts[into as usize].1 += moved;
}

/// The number of packets: each has one outcome, and details on top of it.
fn outcomes(counts: &Counts) -> u64 {
    counts.iter().filter(|(reason, _)| reason.class() != Class::Detail).map(|(_, count)| count).sum()
}

/// What depends on what came before, or on the box's settings.
fn is_boxes_own(reason: Reason) -> bool {
    use Reason::{Absorbed, EventHeld, EventLost, NewReceiver, NewReceiverLost, SsrcMismatch};
    matches!(reason, Absorbed | EventHeld | EventLost | NewReceiver | NewReceiverLost | SsrcMismatch)
}

/// What came of it.
pub(crate) struct Outcome {
    sent: u64,
    /// Nobody else sends there.
    alone: bool,
    time: Duration,
    behind: u64,
    means: Counts,
    counted: Option<Counts>,
    dropped: Vec<(String, u64)>,
    failures: Vec<(i32, u64)>,
}

impl Outcome {
    /// How many packets were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many were dropped, at places that are known.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.iter().map(|(_, count)| count).sum()
    }

    /// How many were counted; `None` where nobody tells.
    pub(crate) fn counted(&self) -> Option<u64> {
        self.counted.as_ref().map(outcomes)
    }

    /// The reasons whose figures differ: name, sent, counted.
    pub(crate) fn differences(&self) -> Vec<(&'static str, u64, u64)> {
        let rows = self.means.iter().zip(self.counted.iter().flatten());
        let rows = rows.filter(|((reason, sent), (_, counted))| !is_boxes_own(*reason) && sent != counted);
        rows.map(|((reason, sent), (_, counted))| (reason.name(), *sent, *counted)).collect()
    }

    /// How many receivers were noted for the first time.
    pub(crate) fn noted(&self) -> u64 {
        self.counted.as_ref().map_or(0, |counts| counts[Reason::NewReceiver as usize].1)
    }

    /// Every packet was counted for what it is, or was dropped where we know. What a real box counts beyond that is others'.
    pub(crate) fn is_accounted_for(&self) -> bool {
        let missing = |(_, sent, counted): &(&str, u64, u64)| *sent > *counted || (self.alone && sent != counted);
        match self.counted() {
            Some(_) if self.dropped() == 0 => !self.differences().iter().any(missing),
            Some(counted) if self.alone => counted + self.dropped() == self.sent,
            Some(counted) => counted + self.dropped() >= self.sent,
            None => true,
        }
    }

    pub(super) fn print(&self) {
        let rate = self.sent() as f64 / self.time.as_secs_f64() / 1000.0;
        println!("\n{:<24} {:>12} {:>12}", "", "sent", "counted");
        let counted = self.counted.clone().unwrap_or_default();
        for (at, (reason, sent)) in self.means.iter().enumerate() {
            let counted = counted.get(at).map(|(_, count)| *count);
            if (*sent == 0 && counted.unwrap_or(0) == 0) || *reason == Reason::NewReceiver {
                continue;
            }
            let differs = counted.is_some_and(|counted| counted != *sent) && !is_boxes_own(*reason);
            let counted = counted.map_or("?".to_owned(), |count| count.to_string());
            let note = if differs { "  <- differs" } else { "" };
            println!("{:<24} {sent:>12} {counted:>12}{note}", reason.name());
        }
        if self.noted() > 0 {
            println!("receivers noted for the first time: {}", self.noted());
        }
        for (place, count) in self.dropped.iter().filter(|(_, count)| *count > 0) {
            println!("{place}: {count}");
        }
        for (errno, count) in &self.failures {
            println!("wake-ups that failed with {}: {count}", nix::errno::Errno::from_raw(*errno));
        }
        if self.behind > 0 {
            println!("{} packets fewer than asked for: this machine makes no more", self.behind);
        }
        let verdict = match self.counted() {
            None => "counted: not known; give --status FILE".to_owned(),
            Some(counted) if !self.is_accounted_for() => {
                let dropped = self.dropped();
                format!("counted: {counted}; dropped at known places: {dropped}; NOT ACCOUNTED FOR")
            }
            Some(counted) if self.dropped() > 0 => {
                format!("{counted} counted and {} dropped as said above: none missing", self.dropped())
            }
            Some(_) => "all counted, each for what it is".to_owned(),
        };
        println!("sent {} in {:.1} s ({rate:.1} k/s): {verdict}", self.sent, self.time.as_secs_f64());
    }
}
