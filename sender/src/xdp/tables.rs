//! What the program is told, and what it has counted.

use std::net::{IpAddr, SocketAddr};

use aya::maps::MapError;
use sender_common::{
    Address, Distance, Expected, GroupState, Querier, Reason, Receiver, ReceiverKey, TitleEntry, TitleId, TitleStats,
    layout::{INTERVAL_SLOTS, maps},
};

use super::{Event, Xdp, XdpError};

/// The counters, summed over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts([u64; Reason::COUNT]);

impl Counts {
    /// One counter.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// All counters, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|reason| (*reason, self.get(*reason)))
    }

    /// What was counted since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index].saturating_sub(earlier.0[index])))
    }
}

/// Names the map and what was tried on it.
fn on(what: &'static str, map: &'static str) -> impl FnOnce(MapError) -> XdpError {
    move |source| XdpError::Map { what, map, source }
}

/// Not finding an entry is an answer.
fn found<T>(result: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(None),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the program is told.
impl Xdp {
    /// Makes a UDP port a title's feedback port.
    pub fn register_feedback(&mut self, port: u16, title: TitleEntry) -> Result<(), XdpError> {
        self.check(title.title())?;
        if !self.feedback(port)?.is_present() {
            self.want(port)?;
        }
        self.feedback.set(u32::from(port), title, 0).map_err(on("write", maps::FEEDBACK))
    }

    /// Takes a feedback port back.
    pub fn unregister_feedback(&mut self, port: u16) -> Result<(), XdpError> {
        if !self.feedback(port)?.is_present() {
            return Ok(());
        }
        self.feedback.set(u32::from(port), TitleEntry::default(), 0).map_err(on("write", maps::FEEDBACK))?;
        self.unwant(port)
    }

    /// Makes a group one of ours: its joins are counted, and the reports to its RTCP port. Registered again, its counts go on
    /// from zero.
    pub fn register_group(&mut self, group: IpAddr, rtcp_port: u16, title: TitleEntry) -> Result<(), XdpError> {
        self.check(title.title())?;
        if !group.is_multicast() {
            return Err(XdpError::NotAGroup { address: group });
        }
        self.unregister_group(group)?;
        self.want(rtcp_port)?;
        let state = GroupState { title, rtcp_port, ..GroupState::default() };
        self.groups.insert(Address::from(group), state, 0).map_err(on("insert", maps::GROUPS))
    }

    /// Takes a group back.
    pub fn unregister_group(&mut self, group: IpAddr) -> Result<(), XdpError> {
        let Some(state) = self.group(group)? else { return Ok(()) };
        found(self.groups.remove(&Address::from(group))).map_err(on("remove", maps::GROUPS))?;
        self.unwant(state.rtcp_port)
    }

    /// Announces a receiver: its reports count for the title. Port 0: any port of that address. With an SSRC, only reports
    /// that carry it count; without, any does.
    pub fn announce(&mut self, title: TitleId, receiver: SocketAddr, ssrc: Option<u32>) -> Result<(), XdpError> {
        self.check(title)?;
        let key = ReceiverKey::new(title, Address::from(receiver.ip()), receiver.port());
        let expected = Expected { ssrc: ssrc.unwrap_or(0), any_ssrc: u32::from(ssrc.is_none()) };
        self.expected.insert(key, expected, 0).map_err(on("insert", maps::EXPECTED))?;
        // Should it have reported before, it is noted anew by its next report.
        found(self.receivers.remove(&key)).map_err(on("remove", maps::RECEIVERS)).map(drop)
    }

    /// Takes an announcement back and forgets the receiver.
    pub fn forget(&mut self, title: TitleId, receiver: SocketAddr) -> Result<(), XdpError> {
        let key = ReceiverKey::new(title, Address::from(receiver.ip()), receiver.port());
        found(self.expected.remove(&key)).map_err(on("remove", maps::EXPECTED))?;
        found(self.receivers.remove(&key)).map_err(on("remove", maps::RECEIVERS)).map(drop)
    }

    /// Begins the next interval and answers its number. The one that ended can be read for as long as three more last.
    pub fn advance_interval(&mut self) -> Result<u32, XdpError> {
        // Never 0: that is what an untouched entry has.
        self.shared.interval = self.shared.interval.checked_add(1).unwrap_or(1);
        self.shared_map.set(0, self.shared, 0).map_err(on("write", maps::SETTINGS))?;
        Ok(self.shared.interval)
    }

    /// The number of the interval that runs now.
    pub fn interval(&self) -> u32 {
        self.shared.interval
    }

    fn feedback(&self, port: u16) -> Result<TitleEntry, XdpError> {
        self.feedback.get(&u32::from(port), 0).map_err(on("read", maps::FEEDBACK))
    }

    fn check(&self, title: TitleId) -> Result<(), XdpError> {
        let titles = self.settings.titles;
        if u32::from(title.0) < titles { Ok(()) } else { Err(XdpError::TitleBeyond { title: title.0, titles }) }
    }

    fn want(&mut self, port: u16) -> Result<(), XdpError> {
        *self.wanted.entry(port).or_default() += 1;
        self.write_ports(port)
    }

    fn unwant(&mut self, port: u16) -> Result<(), XdpError> {
        if let Some(count) = self.wanted.get_mut(&port) {
            *count -= 1;
            if *count == 0 {
                self.wanted.remove(&port);
            }
        }
        self.write_ports(port)
    }

    /// Writes the word of the bitmap that the port is in.
    fn write_ports(&mut self, port: u16) -> Result<(), XdpError> {
        let index = port >> 6;
        let word =
            self.wanted.keys().filter(|port| **port >> 6 == index).fold(0u64, |word, port| word | 1 << (port & 63));
        self.ports.set(u32::from(index), word, 0).map_err(on("write", maps::PORTS))
    }
}

/// What the program has counted.
impl Xdp {
    /// All counters, summed over the CPUs.
    pub fn counters(&self) -> Result<Counts, XdpError> {
        let cpus = self.counters.get(&0, 0).map_err(on("read", maps::COUNTERS))?;
        let mut counts = [0u64; Reason::COUNT];
        for cpu in cpus.iter() {
            for (count, here) in counts.iter_mut().zip(cpu.counts) {
                *count += here;
            }
        }
        Ok(Counts(counts))
    }

    /// A title's statistics for an interval, summed over the CPUs. Reading the running one shows what there is so far.
    pub fn title_stats(&self, title: TitleId, interval: u32) -> Result<TitleStats, XdpError> {
        self.check(title)?;
        let index = u32::from(title.0) * INTERVAL_SLOTS + interval % INTERVAL_SLOTS;
        let cpus = self.title_stats.get(&index, 0).map_err(on("read", maps::TITLE_STATS))?;
        let mut sum = TitleStats { interval, ..TitleStats::default() };
        for cpu in cpus.iter().filter(|cpu| cpu.interval == interval) {
            sum.reporters += cpu.reporters;
            sum.unsolicited += cpu.unsolicited;
            sum.reports += cpu.reports;
            sum.unsolicited_reports += cpu.unsolicited_reports;
            sum.byes += cpu.byes;
            sum.hops_unknown += cpu.hops_unknown;
            for (bucket, here) in sum.hops.iter_mut().zip(cpu.hops) {
                *bucket += here;
            }
        }
        Ok(sum)
    }

    /// A group's state; `None` if it isn't one of ours.
    pub fn group(&self, group: IpAddr) -> Result<Option<GroupState>, XdpError> {
        found(self.groups.get(&Address::from(group), 0)).map_err(on("read", maps::GROUPS))
    }

    /// A client's distance, by its request to the front door.
    pub fn distance(&self, client: IpAddr) -> Result<Option<Distance>, XdpError> {
        found(self.distances.get(&Address::from(client), 0)).map_err(on("read", maps::DISTANCES))
    }

    /// What is known of one receiver.
    pub fn receiver(&self, title: TitleId, receiver: SocketAddr) -> Result<Option<Receiver>, XdpError> {
        let key = ReceiverKey::new(title, Address::from(receiver.ip()), receiver.port());
        found(self.receivers.get(&key, 0)).map_err(on("read", maps::RECEIVERS))
    }

    /// All receivers of a title. Walks the whole table: for tests and demonstrations only.
    pub fn receivers(&self, title: TitleId) -> impl Iterator<Item = (SocketAddr, Receiver)> + '_ {
        let entries = self.receivers.iter().filter_map(Result::ok);
        let own = entries.filter(move |(key, _)| key.title == u32::from(title.0));
        own.map(|(key, receiver)| (SocketAddr::new(key.address.ip(), key.port), receiver))
    }

    /// The IGMP querier last heard.
    pub fn igmp_querier(&self) -> Result<Option<Querier>, XdpError> {
        self.querier(0)
    }

    /// The MLD querier last heard.
    pub fn mld_querier(&self) -> Result<Option<Querier>, XdpError> {
        self.querier(1)
    }

    fn querier(&self, index: u32) -> Result<Option<Querier>, XdpError> {
        let querier = self.queriers.get(&index, 0).map_err(on("read", maps::QUERIERS))?;
        Ok((querier.queries > 0).then_some(querier))
    }

    /// The events since the last call, each with its time in nanoseconds of `CLOCK_MONOTONIC`; never waits. Those that were
    /// lost or held back are counted ([`Reason::EventLost`], [`Reason::EventHeld`]).
    pub fn events(&mut self) -> impl Iterator<Item = (u64, Event)> + '_ {
        std::iter::from_fn(|| {
            loop {
                let record = self.events.next()?;
                if let Some(event) = Event::from_record(&record) {
                    return Some(event);
                }
            }
        })
    }

    /// Forwards the program's log lines into `tracing`; never waits.
    pub fn flush_log(&mut self) {
        self.log.flush();
    }
}
