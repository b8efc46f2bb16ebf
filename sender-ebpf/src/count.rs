//! The parser's sink: what a packet means for us, kept in the maps.

use core::{
    arch::asm,
    intrinsics::{AtomicOrdering, atomic_xchg},
};

use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns},
};
use sender_common::{
    Address, Change, Counters, Distance, EventKind, Hops, Querier, Reason, Receiver, ReceiverKey, Report, Settings,
    Sink, TitleEntry, TitleStats, inspect,
    layout::{COUNTERS as ROOM, HOPS_BUCKETS, INTERVAL_SLOTS},
    membership::{List, Protocol, Query},
    network::{Header, Ip},
    packet::{Packet, Span},
    rtcp::Walked,
};

use crate::{events, groups, log, maps, reports};

/// The maps that every packet needs, looked up once.
pub struct Count {
    ctx: *mut xdp_md,
    counters: *mut Counters,
    settings: *const Settings,
    /// The packet was a report that is to be swallowed.
    pub absorb: bool,
}

impl Count {
    /// `None` never happens: the maps have the entry. The verifier wants to see it asked.
    #[inline(always)]
    pub fn begin(ctx: *mut xdp_md) -> Option<Self> {
        Some(Self {
            ctx,
            counters: maps::COUNTERS.get_ptr_mut(0)?,
            settings: maps::SETTINGS.get_ptr(0)?,
            absorb: false,
        })
    }

    /// Adds to a counter of this CPU.
    #[inline(always)]
    pub fn add(&mut self, reason: Reason, count: u64) {
        let mut index = reason as usize;
        // Masked out of the compiler's sight: it knows that there are fewer reasons, the verifier doesn't.
        // SAFETY: touches nothing but its register.
        unsafe { asm!("{0} &= {1}", inout(reg) index, const ROOM - 1, options(pure, nomem, nostack)) };
        // SAFETY: the index is masked to the array.
        let counter = unsafe { self.counters.cast::<u64>().add(index) };
        // SAFETY: the value is this CPU's own, and an XDP program isn't interrupted by another run of it on the same CPU.
        unsafe { *counter += count };
    }

    /// Nanoseconds of `CLOCK_MONOTONIC`, to a tick of the kernel. Asking the clock costs as much as a look-up in a map, and its
    /// coarse answer changes with the tick only: so each CPU asks once a tick, and remembers.
    #[inline(always)]
    pub fn now(&mut self) -> u64 {
        // SAFETY: a helper without arguments, which the kernel replaces by a load.
        let tick = unsafe { bpf_jiffies64() };
        // SAFETY: this CPU's own value; see `add`.
        let counters = unsafe { &mut *self.counters };
        if counters.tick != tick {
            // SAFETY: a helper without arguments.
            counters.now = unsafe { bpf_ktime_get_coarse_ns() };
            counters.tick = tick;
        }
        counters.now
    }

    #[inline(always)]
    fn settings(&self) -> &Settings {
        // SAFETY: the entry of an array map stays where it is; user space writes it word by word.
        unsafe { &*self.settings }
    }
}

impl Sink for Count {
    #[inline(always)]
    fn wants_port(&mut self, port: u16) -> bool {
        maps::PORTS.get(u32::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 != 0)
    }

    #[inline(always)]
    fn feedback(&mut self, port: u16) -> TitleEntry {
        maps::FEEDBACK.get(u32::from(port)).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn group(&mut self, group: &Address, port: u16) -> TitleEntry {
        // SAFETY: entries are removed by user space only, and then reused no sooner than this run has ended (RCU).
        let state = unsafe { maps::GROUPS.get(group) };
        state.filter(|state| state.rtcp_port == port).map(|state| state.title).unwrap_or_default()
    }

    #[inline(always)]
    fn is_front_door(&mut self, port: u16) -> bool {
        port != 0 && self.settings().front_door == u32::from(port)
    }

    #[inline(always)]
    fn report(&mut self, report: &Report) -> Reason {
        self.absorb = report.unicast && self.settings().absorb != 0;
        let (now, interval) = (self.now(), self.settings().interval);
        let key = ReceiverKey::new(report.title.title(), report.source, report.port);
        let ssrc = report.compound.ssrc;
        let mut found = maps::RECEIVERS.get_ptr_mut(&key);
        let mut tell = 0;
        if found.is_none() {
            if events::first_seen(&key, report.title.0, ssrc, now) == 0 {
                self.detail(Reason::NewReceiverLost, 1);
                return Reason::ReportUnsolicited;
            }
            self.detail(Reason::NewReceiver, 1);
            tell = EventKind::FirstReport as u32;
            found = maps::RECEIVERS.get_ptr_mut(&key);
        }
        let Some(receiver) = found else { return Reason::ReportUnsolicited };
        // SAFETY: a value of the map, alive until this run ends (RCU). Packets of one receiver come by one queue, so by one
        // CPU; should two meet all the same, a report more or less is counted.
        let receiver = unsafe { &mut *receiver };
        let Some(stats) = slot(report.title, interval) else { return Reason::ReportUnsolicited };
        if receiver.flags & Receiver::AGREED != 0 && receiver.ssrc != ssrc {
            self.detail(Reason::SsrcMismatch, 1);
            stats.unsolicited_reports += 1;
            return Reason::ReportUnsolicited;
        }
        let known = receiver.flags & Receiver::KNOWN != 0;
        note(receiver, report, now);
        if receiver.interval != interval {
            // Exchanged, so that two CPUs can't both count it.
            // SAFETY: aligned and within the value.
            let before = unsafe { atomic_xchg::<u32, { AtomicOrdering::SeqCst }>(&mut receiver.interval, interval) };
            if before != interval {
                count_once(stats, known, report.hops);
            }
        }
        match known {
            true => stats.reports += 1,
            false => stats.unsolicited_reports += 1,
        }
        stats.byes += u32::from(report.compound.bye && known);
        if report.compound.bye {
            self.detail(Reason::Bye, 1);
            tell = EventKind::Bye as u32;
            receiver.flags |= Receiver::LEFT;
        } else if receiver.flags & Receiver::LEFT != 0 {
            receiver.flags &= !Receiver::LEFT;
            tell = EventKind::FirstReport as u32;
        }
        if tell != 0 {
            let what = u64::from(tell) << 32
                | u64::from(known) << 24
                | u64::from(report.hops.0) << 16
                | u64::from(report.port);
            let [high, low] = report.source.words();
            let who = u64::from(report.title.0) << 32 | u64::from(ssrc);
            self.told(events::tell_report(now, what, who, high, low));
        }
        if known { Reason::Report } else { Reason::ReportUnsolicited }
    }

    #[inline(always)]
    fn change(&mut self, change: &Change) {
        let ([group_high, group_low], [high, low]) = (change.group.words(), change.source.words());
        let what = change.protocol as u32 | (change.meaning as u32) << 8;
        groups::group_changed(group_high, group_low, high, low, what);
    }

    #[inline(always)]
    fn query(&mut self, query: &Query) {
        let nobody = query.source == Address::UNSPECIFIED_V4 || query.source == Address::UNSPECIFIED;
        let index = u32::from(matches!(query.protocol, Protocol::Mld1 | Protocol::Mld2));
        let Some(querier) = maps::QUERIERS.get_ptr_mut(index).filter(|_| !nobody) else { return };
        // SAFETY: the entry of an array map; queries are rare, and the last one to write is as good as the one before.
        let querier: &mut Querier = unsafe { &mut *querier };
        let other = querier.queries == 0 || querier.address != query.source;
        querier.last = self.now();
        querier.queries += 1;
        querier.address = query.source;
        querier.protocol = query.protocol as u32;
        querier.max_response = u32::from(query.max_response);
        if other {
            let what = u64::from(EventKind::QuerierSeen as u32) << 32
                | (query.protocol as u64) << 24
                | u64::from(Hops::UNKNOWN.0) << 16;
            let [high, low] = query.source.words();
            let told = events::tell_report(querier.last, what, 0, high, low);
            self.told(told);
            log::log_querier(high, low);
        }
    }

    #[inline(always)]
    fn distance(&mut self, source: &Address, hops: Hops) {
        let distance = Distance { last: self.now(), hops: u32::from(hops.0), reserved: 0 };
        let _ = maps::DISTANCES.insert(source, &distance, 0);
    }

    #[inline(always)]
    fn detail(&mut self, reason: Reason, count: u64) {
        self.add(reason, count);
    }

    #[inline(always)]
    fn rtcp<'p, P: Packet<'p>>(&mut self, packet: P, ip: &Ip<'p>) -> Reason {
        match ip.header {
            // Few ways lead here, so the verifier can bear to look at each: a call is saved.
            Header::V4(_) => inspect::rtcp(packet, ip, self),
            Header::V6(_) => {
                let answer = reports::rtcp_v6(self.ctx, ip.at, ip.payload.at, ip.payload.end);
                self.absorb = answer & reports::ABSORB != 0;
                Reason::from_number(answer & 0xff)
            }
        }
    }

    #[inline(always)]
    fn walk<'p, P: Packet<'p>>(&mut self, _: P, span: Span, ssrc: u32) -> Walked {
        Walked(reports::rtcp_walk(self.ctx, span.at, span.end, ssrc))
    }

    #[inline(always)]
    fn igmp<'p, P: Packet<'p>>(&mut self, _: P, ip: &Ip<'p>) -> Reason {
        Reason::from_number(groups::igmp(self.ctx, ip.at, ip.payload.at, ip.payload.end))
    }

    #[inline(always)]
    fn checksum<'p, P: Packet<'p>>(&mut self, _: P, span: Span, seed: u64) -> u64 {
        groups::checksum(self.ctx, span.at, span.end, seed)
    }

    #[inline(always)]
    fn records<'p, const N: usize, P: Packet<'p>>(&mut self, _: P, list: &List) -> Reason {
        let place = list.span.at | list.span.end << 16 | usize::from(list.count) << 32;
        let [high, low] = list.source.words();
        Reason::from_number(match N {
            4 => groups::igmp_records(self.ctx, place, high, low),
            _ => groups::mld_records(self.ctx, place, high, low),
        })
    }

    #[inline(always)]
    fn step<'p, const N: usize, P: Packet<'p>>(&mut self, _: P, rest: Span, source: Address, tell: bool) -> u32 {
        let place = rest.at | rest.end << 16 | usize::from(tell) << 32;
        let [high, low] = source.words();
        match N {
            4 => groups::igmp_step(self.ctx, place, high, low),
            _ => groups::mld_step(self.ctx, place, high, low),
        }
    }

    #[inline(always)]
    fn mld<'p, P: Packet<'p>>(&mut self, _: P, ip: &Ip<'p>) -> Reason {
        Reason::from_number(groups::mld(self.ctx, ip.at, ip.payload.at, ip.payload.end))
    }
}

impl Count {
    #[inline(always)]
    pub fn told(&mut self, told: events::Told) {
        match told {
            events::TOLD => {}
            events::HELD => self.add(Reason::EventHeld, 1),
            _ => {
                self.add(Reason::EventLost, 1);
                log::log_events_lost();
            }
        }
    }
}

/// Notes the report in its receiver's entry.
#[inline(always)]
fn note(receiver: &mut Receiver, report: &Report, now: u64) {
    receiver.last = now;
    receiver.reports = receiver.reports.wrapping_add(1);
    receiver.ssrc = report.compound.ssrc;
    receiver.hops = report.hops.0;
    match report.compound.loss {
        Some(loss) => {
            receiver.fraction_lost = loss.fraction;
            receiver.cumulative_lost = loss.cumulative;
            receiver.highest = loss.highest;
            receiver.jitter = loss.jitter;
            receiver.flags |= Receiver::LOSS;
        }
        None => receiver.flags &= !Receiver::LOSS,
    }
}

/// This CPU's statistics of a title for the running interval; what an interval before left there is cleared.
#[inline(always)]
fn slot(title: TitleEntry, interval: u32) -> Option<&'static mut TitleStats> {
    let index = u32::from(title.title().0) * INTERVAL_SLOTS + interval % INTERVAL_SLOTS;
    // SAFETY: this CPU's own value; see `Count::add`.
    let stats = unsafe { &mut *maps::TITLE_STATS.get_ptr_mut(index)? };
    if stats.interval != interval {
        reports::renew(index, interval);
    }
    Some(stats)
}

#[inline(always)]
fn count_once(stats: &mut TitleStats, known: bool, hops: Hops) {
    if !known {
        stats.unsolicited += 1;
        return;
    }
    stats.reporters += 1;
    if hops == Hops::UNKNOWN {
        stats.hops_unknown += 1;
        return;
    }
    let bucket = usize::from(hops.0).min(HOPS_BUCKETS - 1) & (HOPS_BUCKETS - 1);
    stats.hops[bucket] += 1;
}
