//! The pure function: (media, key, index) → RTP packet.

use std::fmt;
use std::sync::Arc;

use crate::media::{DueHint, Loop, Ticks};
use crate::srtp::{self, MasterKey, Mki, PacketIndex};

/// Length of the RTP header: no CSRC, no extension.
pub const RTP_HEADER_LEN: usize = 12;

/// Where a packet is in the loop: packet `n` of pass `pass`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Place {
    /// How often the loop has been run through before.
    pub pass: u64,
    /// Packet within the pass.
    pub n: u64,
}

/// One layer of one title: every packet it will ever have. Copies, unicast viewers, patches and a standby box that hold equal
/// streams make equal bytes.
pub struct Stream {
    media: Arc<Loop>,
    ssrc: u32,
    first_index: PacketIndex,
    first_timestamp: u32,
    packets_per_pass: u64,
    /// L in ticks of the RTP clock. L is a multiple of 300 ticks, so nothing is lost.
    pass_rtp: u64,
    rtp: Option<srtp::Rtp>,
    rtcp: Option<srtp::Rtcp>,
}

impl Stream {
    /// A stream whose packet 0 of pass 0 has `first_index` and `first_timestamp`. Without a key it is sent in clear.
    ///
    /// The index ends with 48 bits: [`index_of`](Self::index_of) is where that is noticed.
    pub fn new(
        media: Arc<Loop>,
        ssrc: u32,
        first_index: PacketIndex,
        first_timestamp: u32,
        key: Option<(&MasterKey, Option<Mki>)>,
    ) -> Stream {
        Stream {
            packets_per_pass: media.packets_per_pass(),
            pass_rtp: media.duration().to_rtp(media.clock_rate()),
            media,
            ssrc,
            first_index,
            first_timestamp,
            rtp: key.map(|(master, mki)| srtp::Rtp::new(master, ssrc, mki)),
            rtcp: key.map(|(master, mki)| srtp::Rtcp::new(master, mki)),
        }
    }

    /// Writes RTP header ‖ payload, encrypted and with MKI and tag if there is a key, and returns its length.
    /// `index` and `at` must belong together; they are both passed so that the hot path need not divide.
    ///
    /// # Panics
    /// If `out` is shorter than [`max_len`](Self::max_len), or `at` is not in the loop.
    #[inline]
    pub fn write(&self, index: PacketIndex, at: Place, out: &mut [u8]) -> usize {
        debug_assert_eq!(self.index_of(at), Some(index), "index and place disagree");
        let timestamp = self.timestamp_at(at.pass, self.media.due_at(at.n));
        out[0] = 0x80;
        out[1] = self.media.payload_type();
        out[2..4].copy_from_slice(&index.seq().to_be_bytes());
        out[4..8].copy_from_slice(&timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let len = RTP_HEADER_LEN + self.media.write_payload(at.pass, at.n, &mut out[RTP_HEADER_LEN..]);
        match &self.rtp {
            Some(rtp) => rtp.protect(index, out, RTP_HEADER_LEN, len),
            None => len,
        }
    }

    /// Where the packet with this index is; `None` before the first one.
    pub fn locate(&self, index: PacketIndex) -> Option<Place> {
        let distance = index.get().checked_sub(self.first_index.get())?;
        Some(Place { pass: distance / self.packets_per_pass, n: distance % self.packets_per_pass })
    }

    /// The place after this one.
    #[inline]
    pub fn advance(&self, at: Place) -> Place {
        if at.n + 1 < self.packets_per_pass { Place { n: at.n + 1, ..at } } else { Place { pass: at.pass + 1, n: 0 } }
    }

    /// The index of a place; `None` where the 48 bits end: the stream must have a new key and a new SSRC before.
    #[inline]
    pub fn index_of(&self, at: Place) -> Option<PacketIndex> {
        let distance = at.pass.checked_mul(self.packets_per_pass)?.checked_add(at.n)?;
        self.first_index.forward(distance)
    }

    /// When a place is due, counted from the beginning of pass 0.
    #[inline]
    pub fn due(&self, at: Place, hint: &mut DueHint) -> Ticks {
        Ticks(at.pass.saturating_mul(self.media.duration().0).saturating_add(self.media.due(at.n, hint).0))
    }

    /// The RTP timestamp of a moment, counted from the beginning of pass 0.
    pub fn timestamp(&self, media_time: Ticks) -> u32 {
        self.first_timestamp.wrapping_add(media_time.to_rtp(self.media.clock_rate()) as u32)
    }

    /// The same, without a limit on the pass.
    #[inline]
    fn timestamp_at(&self, pass: u64, due: Ticks) -> u32 {
        let in_pass = due.to_rtp(self.media.clock_rate());
        self.first_timestamp.wrapping_add(pass.wrapping_mul(self.pass_rtp).wrapping_add(in_pass) as u32)
    }

    /// Length of the longest packet.
    pub fn max_len(&self) -> usize {
        RTP_HEADER_LEN + self.media.max_payload_len() + self.rtp.as_ref().map_or(0, srtp::Rtp::overhead)
    }

    /// The synchronisation source of all copies.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The media that is looped.
    pub fn media(&self) -> &Arc<Loop> {
        &self.media
    }

    /// The index of packet 0 of pass 0.
    pub fn first_index(&self) -> PacketIndex {
        self.first_index
    }

    /// The keys for sender reports, if the stream is encrypted.
    pub fn rtcp(&self) -> Option<&srtp::Rtcp> {
        self.rtcp.as_ref()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("media", &self.media)
            .field("ssrc", &self.ssrc)
            .field("first_index", &self.first_index)
            .field("encrypted", &self.rtp.is_some())
            .finish_non_exhaustive()
    }
}
