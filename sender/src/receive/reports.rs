//! The RTCP side of a session: who is there, what the sender says, and the reports that go out when they are due.

use super::members::Members;
use super::rtcp::{Block, Item, SenderReport, is_compound, items, write_report};
use super::session::{ReportSettings, Settings};
use super::source::Source;
use super::summary::LastSenderReport;
use super::timing::{Due, Timing};
use crate::srtp::{ReplayWindow, Rtcp, Verdict};
use std::collections::VecDeque;

/// Taken for the session's bandwidth until it has been measured, in bit/s.
const ASSUMED_BANDWIDTH: u64 = 1_000_000;
/// How long the bandwidth is measured, in ns.
const MEASURE: u64 = 1_000_000_000;

/// What was counted of RTCP.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReportCounts {
    pub(super) reports_sent: u64,
    pub(super) byes_sent: u64,
    pub(super) received: u64,
    pub(super) refused: u64,
    pub(super) sender_reports: u64,
}

/// State of the RTCP side.
#[derive(Debug)]
pub(super) struct Reports {
    settings: ReportSettings,
    crypto: Option<Rtcp>,
    /// Index of the next SRTCP packet of ours.
    next_index: u32,
    timing: Timing,
    members: Members,
    /// The SSRC told beforehand, or that of the source received.
    media_ssrc: Option<u32>,
    /// SRTCP indices of that source.
    seen: ReplayWindow,
    last_sr: Option<(SenderReport, u64)>,
    source_left_at: Option<u64>,
    /// When media was last seen to arrive, and the last such time that a report covered.
    heard: u64,
    reported: u64,
    traffic: u64,
    measured_at: u64,
    outgoing: VecDeque<Vec<u8>>,
    left: bool,
    pub(super) counts: ReportCounts,
}

impl Reports {
    pub(super) fn new(settings: &Settings, now: u64) -> Reports {
        let reports = settings.reports.clone();
        let first_size = write_report(0, None, &reports.cname, false).len() + reports.overhead;
        let bandwidth = reports.bandwidth.unwrap_or(ASSUMED_BANDWIDTH);
        Reports {
            crypto: settings.key.as_ref().map(|file| Rtcp::new(&file.master, file.mki)),
            // All receivers share the key. Should two draw one SSRC, they still meet no index twice, or hardly ever.
            next_index: (reports.seed >> 34) as u32,
            timing: Timing::new(now, bandwidth, first_size, reports.minimum, reports.seed),
            members: Members::default(),
            media_ssrc: settings.ssrc,
            seen: ReplayWindow::new(),
            last_sr: None,
            source_left_at: None,
            heard: 0,
            reported: 0,
            traffic: 0,
            measured_at: now,
            outgoing: VecDeque::new(),
            left: false,
            counts: ReportCounts::default(),
            settings: reports,
        }
    }

    /// Bytes came on the RTP port: they are the session's bandwidth.
    pub(super) fn on_traffic(&mut self, len: usize) {
        self.traffic += (len + self.settings.overhead) as u64;
    }

    /// The session receives this source now.
    pub(super) fn on_new_source(&mut self, ssrc: u32) {
        if self.media_ssrc != Some(ssrc) {
            self.media_ssrc = Some(ssrc);
            self.seen = ReplayWindow::new();
            self.last_sr = None;
        }
        self.source_left_at = None;
        if self.settings.own_ssrc == ssrc {
            self.change_ssrc();
        }
    }

    /// Media of this source may have come.
    pub(super) fn on_media(&mut self, now: u64, source: &Source) {
        if source.last_heard() > self.heard {
            self.heard = source.last_heard();
            self.members.on_rtp(now, source.ssrc());
        }
    }

    pub(super) fn on_rtcp(&mut self, now: u64, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        let authentic = match &self.crypto {
            None => None,
            Some(crypto) => match crypto.unprotect(&mut bytes) {
                Ok((len, index)) => {
                    bytes.truncate(len);
                    Some(index)
                }
                Err(_) => None,
            },
        };
        if !is_compound(&bytes) {
            self.counts.refused += 1;
            return;
        }
        let items = items(&bytes);
        let (first_ssrc, is_sender) = match items.first() {
            Some(Item::SenderReport(report)) => (report.ssrc, true),
            Some(Item::ReceiverReport(ssrc)) => (*ssrc, false),
            _ => {
                self.counts.refused += 1;
                return;
            }
        };
        if first_ssrc == self.settings.own_ssrc {
            // Our own packet, looped back by the group; or somebody chose the same SSRC (RFC 3550 8.2).
            let own = items.contains(&Item::Cname(first_ssrc, self.settings.cname.as_bytes()));
            if !own && !self.left {
                self.change_ssrc();
            }
            return;
        }
        // With a key only what is authentic is believed of senders; other members may report in clear.
        let from_media = self.media_ssrc == Some(first_ssrc);
        let replayed = from_media && authentic.is_some_and(|index| self.seen.accept(index.into()) != Verdict::Fresh);
        let forged = (from_media || is_sender) && self.crypto.is_some() && authentic.is_none();
        if replayed || forged {
            self.counts.refused += 1;
            return;
        }
        self.counts.received += 1;
        let size = datagram.len() + self.settings.overhead;
        let is_bye = items.iter().any(|item| matches!(item, Item::Bye(_)));
        if !is_bye {
            self.timing.on_received(size);
        }
        for item in items {
            self.on_item(now, item, size, from_media || self.crypto.is_none() || authentic.is_some());
        }
    }

    fn on_item(&mut self, now: u64, item: Item<'_>, size: usize, trusted: bool) {
        match item {
            Item::SenderReport(report) if self.media_ssrc == Some(report.ssrc) => {
                if trusted {
                    self.counts.sender_reports += 1;
                    self.last_sr = Some((report, now));
                    self.members.on_rtcp(now, report.ssrc);
                }
            }
            Item::Cname(ssrc, _) => self.members.on_rtcp(now, ssrc),
            Item::Bye(ssrc) if self.media_ssrc == Some(ssrc) && !trusted => {}
            Item::Bye(ssrc) => {
                if self.media_ssrc == Some(ssrc) {
                    self.source_left_at = Some(now);
                }
                self.timing.on_bye(size);
                if self.members.on_bye(ssrc) {
                    self.timing.on_fewer(now, self.members.count());
                }
            }
            Item::SenderReport(_) | Item::ReceiverReport(_) => {}
        }
    }

    /// Sends what is due. When to come back.
    pub(super) fn poll(&mut self, now: u64, source: Option<&mut Source>) -> u64 {
        self.measure(now);
        if self.left {
            return u64::MAX;
        }
        if now >= self.timing.deadline() {
            let timeout = self.timing.member_timeout(self.members.count());
            if self.members.expire(now, timeout) {
                self.timing.on_fewer(now, self.members.count());
            }
            match self.timing.on_expire(now, self.members.count()) {
                Some(Due::Report) => {
                    let size = self.send(now, source, false);
                    self.timing.on_sent(size + self.settings.overhead);
                }
                Some(Due::Bye) => {
                    self.send(now, source, true);
                    self.left = true;
                }
                None => {}
            }
        }
        self.timing.deadline()
    }

    pub(super) fn leave(&mut self, now: u64, source: Option<&mut Source>) {
        if self.left {
            return;
        }
        if !self.timing.has_sent() {
            self.left = true;
            return;
        }
        let size = write_report(0, None, &self.settings.cname, true).len() + self.settings.overhead;
        if self.timing.leave(now, self.members.count(), size) == Some(Due::Bye) {
            self.send(now, source, true);
            self.left = true;
        }
    }

    /// Queues a compound packet; its size without UDP and IP headers.
    fn send(&mut self, now: u64, source: Option<&mut Source>, bye: bool) -> usize {
        let block = source.filter(|_| self.heard > self.reported).and_then(|source| self.block(now, source));
        self.reported = self.heard;
        self.queue(write_report(self.settings.own_ssrc, block.as_ref(), &self.settings.cname, bye), bye)
    }

    fn queue(&mut self, mut packet: Vec<u8>, bye: bool) -> usize {
        if let Some(crypto) = self.crypto.as_ref().filter(|_| self.settings.protect) {
            let len = packet.len();
            packet.resize(len + crypto.overhead(), 0);
            let len = crypto.protect(self.next_index, &mut packet, len);
            packet.truncate(len);
            self.next_index += 1;
        }
        let size = packet.len();
        self.outgoing.push_back(packet);
        self.counts.reports_sent += 1;
        self.counts.byes_sent += u64::from(bye);
        size
    }

    /// The report block on the source; LSR and DLSR from its last SR.
    fn block(&self, now: u64, source: &mut Source) -> Option<Block> {
        let figures = source.report()?;
        let (last_sr, delay) = match self.last_sr {
            Some((report, arrival)) => {
                let delay = u128::from(now.saturating_sub(arrival)) * 65_536 / 1_000_000_000;
                ((report.ntp >> 16) as u32, u32::try_from(delay).unwrap_or(u32::MAX))
            }
            None => (0, 0),
        };
        Some(Block { ssrc: source.ssrc(), figures, last_sr, delay })
    }

    /// Another participant has our SSRC: BYE for it, and a new one (RFC 3550 8.2).
    fn change_ssrc(&mut self) {
        let old = self.settings.own_ssrc;
        if self.timing.has_sent() {
            self.queue(write_report(old, None, &self.settings.cname, true), true);
        }
        let mixed = (u64::from(old) ^ self.settings.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.settings.own_ssrc = (mixed >> 32) as u32;
        if self.settings.own_ssrc == old || Some(self.settings.own_ssrc) == self.media_ssrc {
            self.settings.own_ssrc = old.wrapping_add(0x1000_0001);
        }
    }

    fn measure(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.measured_at);
        if elapsed < MEASURE {
            return;
        }
        if self.settings.bandwidth.is_none() && self.traffic > 0 {
            let measured = u128::from(self.traffic) * 8 * 1_000_000_000 / u128::from(elapsed);
            self.timing.set_bandwidth(measured as u64);
        }
        self.traffic = 0;
        self.measured_at = now;
    }

    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    pub(super) fn has_left(&self) -> bool {
        self.left && self.outgoing.is_empty()
    }

    pub(super) fn own_ssrc(&self) -> u32 {
        self.settings.own_ssrc
    }

    pub(super) fn members(&self) -> usize {
        self.members.count().members
    }

    /// The source said BYE, and no media has come since.
    pub(super) fn source_left(&self) -> bool {
        self.source_left_at.is_some_and(|at| self.heard <= at)
    }

    pub(super) fn last_sender_report(&self) -> Option<LastSenderReport> {
        self.last_sr.map(|(report, arrival_ns)| LastSenderReport {
            ntp: report.ntp,
            rtp_timestamp: report.rtp,
            packets: report.packets,
            octets: report.octets,
            arrival_ns,
        })
    }
}
