//! The receiver of one stream without I/O: datagrams and the time go in; media in order, RTCP to send, the next deadline
//! and a [`Snapshot`] come out. A receiver of several layers has one for each.

use super::reorder::Limits;
use super::reports::Reports;
use super::rtp::Header;
use super::source::{Heard, Packet, Profile, Source, State};
use super::summary::{Counts, Snapshot};
use super::timing::MIN_INTERVAL;
use crate::srtp::KeyFile;
use std::collections::VecDeque;

/// Another SSRC takes over after the present one has been silent for so long, in ns.
const SILENCE: u64 = 2_000_000_000;
/// SSRCs that are tried at the same time; so what else is sent to the group can't keep the stream out.
const MAX_CANDIDATES: usize = 4;

/// What a session is set up with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The SSRC to receive; otherwise the first that shows itself, and a new one when that falls silent.
    pub ssrc: Option<u32>,
    /// The key of a protected stream.
    pub key: Option<KeyFile>,
    /// The rollover counter now, if it is known.
    pub roc: Option<u32>,
    /// RTP timestamp units per second.
    pub clock_rate: u32,
    /// Of the reorder buffer.
    pub limits: Limits,
    /// Settings of the reports.
    pub reports: ReportSettings,
}

/// What the reports are made with.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// This receiver's SSRC: random.
    pub own_ssrc: u32,
    /// Its canonical name.
    pub cname: String,
    /// Bandwidth of the session in bit/s; measured if not given.
    pub bandwidth: Option<u64>,
    /// Bytes of UDP and IP headers, which count in the average size of RTCP packets.
    pub overhead: usize,
    /// Minimum interval in ns: 5 s in RFC 3550.
    pub minimum: u64,
    /// Seed of the random intervals.
    pub seed: u64,
    /// Whether own reports go out as SRTCP.
    pub protect: bool,
}

impl Settings {
    /// Settings of a clear 90 kHz stream; the rest as in the RFC.
    pub fn new(own_ssrc: u32, cname: String, seed: u64) -> Settings {
        let reports = ReportSettings {
            own_ssrc,
            cname,
            bandwidth: None,
            overhead: 28,
            minimum: MIN_INTERVAL,
            seed,
            protect: false,
        };
        Settings { ssrc: None, key: None, roc: None, clock_rate: 90_000, limits: Limits::default(), reports }
    }
}

/// The receiver of one stream.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    /// The source received.
    source: Option<Source>,
    /// Sources one of which would be received if it showed itself to be one.
    candidates: Vec<Source>,
    sources: u64,
    /// Counts of sources that are over, and of what belongs to none.
    past: Counts,
    media: VecDeque<Packet>,
    reports: Reports,
}

impl Session {
    /// Joins at `now`: the first report is scheduled from here.
    pub fn new(settings: Settings, now: u64) -> Session {
        let reports = Reports::new(&settings, now);
        Session {
            settings,
            source: None,
            candidates: Vec::new(),
            sources: 0,
            past: Counts::default(),
            media: VecDeque::new(),
            reports,
        }
    }

    /// A datagram came on the RTP port.
    pub fn on_rtp(&mut self, now: u64, datagram: &[u8]) {
        self.reports.on_traffic(datagram.len());
        let Some(header) = Header::parse(datagram) else {
            self.past.malformed += 1;
            return;
        };
        if self.settings.ssrc.is_some_and(|ssrc| ssrc != header.ssrc) {
            self.past.foreign += 1;
            return;
        }
        match &mut self.source {
            Some(source) if source.ssrc() == header.ssrc => {
                if source.on_packet(now, &header, datagram) == Heard::Restarted {
                    self.retire();
                    self.audition(now, &header, datagram);
                }
            }
            Some(source) if now.saturating_sub(source.last_heard()) < SILENCE && !self.reports.source_left() => {
                self.past.foreign += 1;
            }
            _ => self.audition(now, &header, datagram),
        }
        self.collect(now);
    }

    /// A datagram came on the RTCP port.
    pub fn on_rtcp(&mut self, now: u64, datagram: &[u8]) {
        self.reports.on_rtcp(now, datagram);
    }

    /// Does what is due and says when there is something to do next. Never later than a second from now, so that the
    /// session's bandwidth is measured.
    pub fn poll(&mut self, now: u64) -> u64 {
        for source in self.source.iter_mut().chain(&mut self.candidates) {
            source.poll(now);
        }
        self.collect(now);
        let source = self.source.as_mut();
        let reports = self.reports.poll(now, source);
        self.source
            .iter()
            .chain(&self.candidates)
            .filter_map(Source::deadline)
            .chain([reports, now + 1_000_000_000])
            .min()
            .unwrap_or(now)
    }

    /// The next packet of media, in order.
    pub fn take_media(&mut self) -> Option<Packet> {
        self.media.pop_front()
    }

    /// The next RTCP packet to send.
    pub fn take_rtcp(&mut self) -> Option<Vec<u8>> {
        self.reports.take()
    }

    /// The stream is over for this receiver: what is held comes out, and a BYE is due (RFC 3550 6.3.7: at once in a small
    /// session, later in a large one, never if nothing was ever sent). Go on with [`Session::poll`] until
    /// [`Session::has_left`].
    pub fn leave(&mut self, now: u64) {
        if let Some(source) = &mut self.source {
            source.flush();
        }
        self.collect(now);
        self.reports.leave(now, self.source.as_mut());
    }

    /// Whether there is nothing left to send.
    pub fn has_left(&self) -> bool {
        self.reports.has_left()
    }

    /// Whether the source has said BYE and was not heard after it.
    pub fn source_left(&self) -> bool {
        self.reports.source_left()
    }

    /// Packets accepted so far.
    pub fn received(&self) -> u64 {
        self.past.received + self.source.as_ref().map_or(0, |source| source.counts().received)
    }

    /// The figures now.
    pub fn snapshot(&self) -> Snapshot {
        let shown = self.source.as_ref().or(self.candidates.iter().max_by_key(|candidate| candidate.state()));
        let mut counts = self.past;
        for source in self.source.iter().chain(&self.candidates) {
            counts = counts.plus(source.counts());
        }
        let source = self.source.as_ref();
        let track = source.and_then(Source::track);
        Snapshot {
            state: shown.map_or(State::Waiting, Source::state),
            counts,
            sources: self.sources,
            ssrc: source.map(Source::ssrc),
            first_index: track.map(|(first, _)| first),
            last_index: track.map(|(_, track)| track.reception.highest()),
            roc: track.map(|(_, track)| (track.reception.highest() >> 16) as u32),
            first_arrival_ns: track.map(|(_, track)| track.first_arrival),
            last_arrival_ns: track.map(|(_, track)| track.last_arrival),
            first_timestamp: track.map(|(_, track)| track.timeline.first()),
            position_ns: track.map(|(_, track)| track.timeline.position()),
            min_transit_ns: track.map(|(_, track)| track.timeline.min_transit()),
            jitter_us: track.map(|(_, track)| track.reception.jitter_us()),
            own_ssrc: self.reports.own_ssrc(),
            members: self.reports.members() as u64,
            reports_sent: self.reports.counts.reports_sent,
            byes_sent: self.reports.counts.byes_sent,
            rtcp_received: self.reports.counts.received,
            rtcp_refused: self.reports.counts.refused,
            sr_received: self.reports.counts.sender_reports,
            sr_last: self.reports.last_sender_report(),
            source_left: self.reports.source_left(),
        }
    }

    /// A packet of an SSRC that is not the present one's, while that is silent or there is none.
    fn audition(&mut self, now: u64, header: &Header, datagram: &[u8]) {
        let known = self.candidates.iter().position(|candidate| candidate.ssrc() == header.ssrc);
        let Some(place) = known.or_else(|| self.admit(now, header.ssrc)) else {
            self.past.foreign += 1;
            return;
        };
        self.candidates[place].on_packet(now, header, datagram);
    }

    /// Makes an SSRC a candidate, if need be in the place of one that has fallen silent or failed.
    fn admit(&mut self, now: u64, ssrc: u32) -> Option<usize> {
        let profile = Profile {
            key: self.settings.key.as_ref(),
            roc: self.settings.roc,
            expected: self.settings.ssrc.is_some(),
            clock_rate: self.settings.clock_rate,
            limits: self.settings.limits,
        };
        let candidate = Source::new(now, ssrc, profile);
        if self.candidates.len() < MAX_CANDIDATES {
            self.candidates.push(candidate);
            return Some(self.candidates.len() - 1);
        }
        let place = self.candidates.iter().position(|candidate| {
            candidate.state() == State::WrongKey || now.saturating_sub(candidate.last_heard()) >= SILENCE / 2
        })?;
        let old = std::mem::replace(&mut self.candidates[place], candidate);
        self.past = self.past.plus(old.counts());
        Some(place)
    }

    /// The present source is over.
    fn retire(&mut self) {
        if let Some(mut source) = self.source.take() {
            source.flush();
            self.media.extend(std::iter::from_fn(|| source.pop()));
            self.past = self.past.plus(source.counts());
        }
    }

    /// After anything that may have brought media: a candidate that receives becomes the source, its packets come out.
    fn collect(&mut self, now: u64) {
        if let Some(place) = self.candidates.iter().position(|candidate| candidate.state() == State::Receiving) {
            self.retire();
            let source = self.candidates.swap_remove(place);
            self.reports.on_new_source(source.ssrc());
            self.source = Some(source);
            self.sources += 1;
            self.past = self.candidates.drain(..).fold(self.past, |past, other| past.plus(other.counts()));
        }
        if let Some(source) = &mut self.source {
            self.media.extend(std::iter::from_fn(|| source.pop()));
            self.reports.on_media(now, source);
        }
    }
}
