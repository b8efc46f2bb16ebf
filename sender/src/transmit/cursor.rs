//! A cursor: one copy's place on its way through a loop, with where it sends and what it has sent.

use std::{sync::Arc, time::Duration};

use super::{
    snapshot::CopyFigures,
    store::{Extent, Owner},
    time::{Time, nanos},
};
use crate::{
    media::{DueHint, Ticks},
    packet::{HeaderTemplate, Place, SenderReport, Stream},
    srtp::{MAX_RTCP_INDEX, PacketIndex},
};

/// A stream as the engine holds it: the pure function, and the frames its packets may stay in.
pub struct StreamSlot {
    /// Makes the packets.
    pub(super) stream: Arc<Stream>,
    /// The resident frames: packet n of a pass lives in frame n of the extent, if it has so many.
    pub(super) extent: Extent,
    pub(super) owner: Owner,
}

impl StreamSlot {
    /// A stream with the resident frames of `extent`. `owner` must never have been used with this engine before.
    pub fn new(stream: Arc<Stream>, extent: Extent, owner: Owner) -> Self {
        Self { stream, extent, owner }
    }

    /// The frames to give back once the stream is out of the engine.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The resident frame of packet `n` of a pass.
    #[inline]
    pub(super) fn frame(&self, n: u64) -> Option<u32> {
        (n < u64::from(self.extent.count)).then(|| self.extent.first + n as u32)
    }
}

/// The SRTCP indices that belong to one channel: sender reports differ from copy to copy, so no two channels of a stream
/// may ever use the same index (RFC 3711 §9.1).
///
/// Of `n` channels each takes every n-th of the 2³¹ indices: with 4 copies and a report in 5 s they last for 85 years,
/// with 1024 for four months.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcpIndices {
    next: u32,
    step: u32,
}

impl RtcpIndices {
    /// The indices of channel `channel` of `channels`, a number that must stay the same as long as the stream's key does.
    ///
    /// # Panics
    /// If there is no such channel.
    pub fn of_channel(channel: u32, channels: u32) -> Self {
        assert!(channel < channels && channels <= MAX_RTCP_INDEX, "channel {channel} of {channels}");
        Self { next: channel, step: channels }
    }

    /// The next index, or `None` when they are used up: then no more reports are sent.
    pub fn take(&mut self) -> Option<u32> {
        let index = self.next;
        (index <= MAX_RTCP_INDEX).then(|| {
            // Neither summand has more than 31 bits.
            self.next += self.step;
            index
        })
    }
}

/// The sender reports of one copy.
pub struct Reports {
    /// Headers of the RTCP packets.
    pub template: HeaderTemplate,
    /// Mean time between two reports; each interval is drawn from half to one and a half of it (RFC 3550 §6.2).
    pub interval: Duration,
    /// Canonical name in the SDES.
    pub cname: Arc<str>,
    /// Indices of the protected reports.
    pub indices: RtcpIndices,
}

/// One copy of a layer on its way through the loop.
pub struct Cursor {
    pub(super) stream: u32,
    pub(super) place: Place,
    pub(super) index: PacketIndex,
    /// When pass 0, packet 0 was or would have been due on this copy.
    start: Time,
    /// When the packet at `place` is due.
    pub(super) due: Time,
    hint: DueHint,
    pub(super) template: HeaderTemplate,
    pub(super) packets: u64,
    pub(super) octets: u64,
    pub(super) reports: Option<Box<Reports>>,
    pub(super) reports_sent: u64,
}

impl Cursor {
    /// A copy of the stream in slot `slot` whose pass 0, packet 0 is (or, if it begins elsewhere, was) due at `start`.
    pub fn new(slot: u32, stream: &Stream, start: Time, template: HeaderTemplate, reports: Option<Reports>) -> Self {
        Self {
            stream: slot,
            place: Place { pass: 0, n: 0 },
            index: stream.first_index(),
            start,
            due: start,
            hint: DueHint::default(),
            template,
            packets: 0,
            octets: 0,
            reports: reports.map(Box::new),
            reports_sent: 0,
        }
        .planned(stream)
    }

    /// The same copy, but beginning at a place further on, not before the moment that place is due.
    pub fn from(mut self, place: Place, stream: &Stream) -> Option<Self> {
        self.index = stream.index_of(place)?;
        self.place = place;
        Some(self.planned(stream))
    }

    fn planned(mut self, stream: &Stream) -> Self {
        self.due = self.start.plus_nanos(stream.due(self.place, &mut self.hint).to_nanos());
        self
    }

    /// What this copy has sent.
    pub fn figures(&self) -> CopyFigures {
        CopyFigures {
            packets: self.packets,
            octets: self.octets,
            reports: self.reports_sent,
            next_index: self.index.get(),
            pass: self.place.pass,
        }
    }

    /// Goes on to the next packet; false at the end of the 48-bit index space, where a stream has to end.
    #[inline]
    pub(super) fn advance(&mut self, stream: &Stream) -> bool {
        let Some(index) = self.index.next() else { return false };
        self.place = stream.advance(self.place);
        self.index = index;
        self.due = self.start.plus_nanos(stream.due(self.place, &mut self.hint).to_nanos());
        true
    }

    /// Writes this copy's compound report (SR, SDES, and BYE if `bye`) and protects it; returns its length, 0 if the
    /// copy sends no reports or its index range is used up.
    ///
    /// `ntp` is the wall clock at `now` in NTP format (RFC 3550 §4).
    pub(super) fn write_report(&mut self, stream: &Stream, now: Time, ntp: u64, bye: bool, out: &mut [u8]) -> usize {
        let Some(reports) = &mut self.reports else { return 0 };
        let elapsed = now.since(self.start);
        let media_time = Ticks(elapsed / 1000 * 27 + elapsed % 1000 * 27 / 1000);
        let report = SenderReport {
            ssrc: stream.ssrc(),
            ntp,
            rtp_timestamp: stream.timestamp(media_time),
            packets: self.packets as u32,
            octets: self.octets as u32,
            cname: &reports.cname,
            bye,
        };
        let len = report.write(out);
        match stream.rtcp() {
            None => len,
            Some(srtcp) => reports.indices.take().map_or(0, |index| srtcp.protect(index, out, len)),
        }
    }

    /// Nanoseconds until the next report; `random` is any 32 random bits.
    pub(super) fn report_interval(&self, random: u32) -> u64 {
        let mean = self.reports.as_ref().map_or(0, |reports| nanos(reports.interval));
        mean / 2 + ((u128::from(mean) * u128::from(random)) >> 32) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_index_belongs_to_two_channels() {
        let channels = crate::config::MAX_COPIES;
        let mut seen = std::collections::HashSet::new();
        for channel in 0..channels {
            let mut indices = RtcpIndices::of_channel(channel, channels);
            assert!((0..20).all(|_| indices.take().is_some_and(|index| seen.insert(index))));
        }
        assert_eq!(seen.len(), 20 * channels as usize);
    }

    #[test]
    fn indices_end_with_their_31_bits() {
        let mut indices = RtcpIndices { next: MAX_RTCP_INDEX - 1, step: 3 };
        assert_eq!(indices.take(), Some(MAX_RTCP_INDEX - 1));
        assert_eq!(indices.take(), None);
        assert_eq!(indices.take(), None);
        let mut one = RtcpIndices { next: MAX_RTCP_INDEX, step: MAX_RTCP_INDEX };
        assert_eq!((one.take(), one.take()), (Some(MAX_RTCP_INDEX), None));
    }
}
