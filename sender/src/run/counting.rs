//! The XDP program at work for a running sender: titles announced to it, its figures and events taken.

use tracing::{debug, info, warn};

use super::{
    plan::Plan,
    status::{GroupStatus, XdpStatus},
};
use crate::{
    check::Ready,
    config::XdpAttach,
    querier::Querier,
    transmit::{Time, nanos, now},
    xdp::{Counts, Event, Mode, Settings, TitleEntry, TitleId, Xdp, XdpError},
};

/// The program, and what was read from it last.
pub(super) struct Counting {
    xdp: Xdp,
    /// How long an interval lasts, in nanoseconds: receivers are counted once in each.
    interval: u64,
    advanced: Time,
    counts: Option<Counts>,
    titles: Vec<TitleCounts>,
    groups: Vec<GroupStatus>,
    events: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TitleCounts {
    /// Distinct receivers that reported in the last whole interval, or in the present one if those are more.
    pub(super) reporters: u64,
    /// Receiver reports since the start.
    pub(super) reports: u64,
    /// Reports of the intervals that are over.
    before: u64,
}

impl Counting {
    /// Loads and attaches the program and announces the titles to it; `None` if the configuration wants none. Packet memory
    /// may take seconds to set up after this: who joins meanwhile is counted.
    ///
    /// # Errors
    /// What failed, and what to do about it.
    pub(super) fn start(ready: &Ready, plan: &Plan) -> Result<Option<Self>, XdpError> {
        let config = &ready.config;
        let mode = match config.network.xdp {
            XdpAttach::Native => Mode::Native,
            XdpAttach::Generic => Mode::Generic,
            XdpAttach::Off => {
                warn!("xdp = \"off\": neither reports nor joins are counted");
                return Ok(None);
            }
        };
        let default = Settings::default();
        let settings = Settings {
            titles: plan.titles.len().max(1) as u32,
            groups: plan.copies_of_all().max(default.groups),
            ..default
        };
        let xdp = Xdp::attach(&ready.interface.name, mode, &settings)?;
        let mut counting = Self {
            xdp,
            interval: nanos(config.rtcp.report_timeout.duration()),
            advanced: now(),
            counts: None,
            titles: vec![TitleCounts::default(); plan.titles.len()],
            groups: Vec::new(),
            events: 0,
        };
        counting.announce(plan)?;
        info!("XDP program attached to {} ({})", ready.interface.name, config.network.xdp);
        Ok(Some(counting))
    }

    /// Tells the program which ports and groups belong to which title.
    fn announce(&mut self, plan: &Plan) -> Result<(), XdpError> {
        for (number, title) in plan.titles.iter().enumerate() {
            // Whoever has the group and the port may listen: no client is announced before it reports.
            let entry = TitleEntry::new(TitleId(number as u16), title.protected, true);
            self.xdp.register_feedback(title.feedback_port, entry)?;
            for copy in &title.copies {
                self.xdp.register_group(copy.group.ip(), title.rtcp_port, entry)?;
                self.groups.push(GroupStatus { group: copy.group.ip(), joins: 0, leaves: 0, presents: 0 });
            }
        }
        Ok(())
    }

    /// Takes events and log lines, and tells the queriers what concerns them.
    pub(super) fn hear(&mut self, queriers: &mut [Querier], now: Time) {
        for (_, event) in self.xdp.events() {
            self.events += 1;
            debug!("{event:?}");
            if let Event::Leave { group, .. } = event {
                queriers.iter_mut().for_each(|querier| querier.left(group, now));
            }
        }
        self.xdp.flush_log();
    }

    /// Reads the figures: so many look-ups as there are titles and groups, whatever the number of receivers.
    ///
    /// # Errors
    /// When a map can't be read.
    pub(super) fn collect(&mut self, queriers: &mut [Querier], now: Time) -> Result<(), XdpError> {
        for heard in [self.xdp.igmp_querier()?, self.xdp.mld_querier()?].into_iter().flatten() {
            let when = Time::from_nanos(heard.last);
            queriers.iter_mut().for_each(|querier| querier.heard(heard.address.ip(), when));
        }
        let present = self.xdp.interval();
        for (number, counts) in self.titles.iter_mut().enumerate() {
            let stats = self.xdp.title_stats(TitleId(number as u16), present)?;
            counts.reports = counts.before + u64::from(stats.reports);
            counts.reporters = counts.reporters.max(stats.reporters.into());
        }
        if now.since(self.advanced) >= self.interval {
            self.advanced = now;
            self.xdp.advance_interval()?;
            for (number, counts) in self.titles.iter_mut().enumerate() {
                let stats = self.xdp.title_stats(TitleId(number as u16), present)?;
                counts.before += u64::from(stats.reports);
                counts.reporters = stats.reporters.into();
            }
        }
        for status in &mut self.groups {
            if let Some(state) = self.xdp.group(status.group)? {
                (status.joins, status.leaves, status.presents) = (state.joins, state.leaves, state.presents);
            }
        }
        self.counts = Some(self.xdp.counters()?);
        Ok(())
    }

    /// The figures of a title.
    pub(super) fn title(&self, number: usize) -> TitleCounts {
        self.titles.get(number).copied().unwrap_or_default()
    }

    /// All figures by name.
    pub(super) fn status(&self) -> XdpStatus {
        let counters = self.counts.iter().flat_map(Counts::iter);
        XdpStatus {
            counters: counters.map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
            groups: self.groups.clone(),
            events: self.events,
        }
    }
}
