//! What is learnt of the clocks while going over a file: the programme's PCRs, and the DTSs of each elementary stream.

use super::packet::CLOCK_MASK;
use super::timeline::Anchor;
use crate::media::Reason;

/// A PCR counts 27 MHz and wraps with its 33-bit base.
const PCR_MODULUS: u64 = (CLOCK_MASK + 1) * 300;
/// The standard asks for a PCR every 100 ms. A gap as long as this is damage, not negligence.
const MAX_PCR_GAP: u64 = 10 * 27_000_000;
const TICKS_PER_MS: u64 = 27_000;
/// PCRs closer than an RTP packet say nothing more of when it is due.
const MIN_ANCHOR_GAP: u64 = 7;

/// Collects the programme's PCRs as anchors of the timeline.
#[derive(Default)]
pub(super) struct ClockTrack {
    last: Option<u64>,
    /// Time since the first PCR, wraps taken off.
    pub(super) time: u64,
    pub(super) anchors: Vec<Anchor>,
}

impl ClockTrack {
    /// Transport packet number `packet`, at `offset` in the file, carries this PCR.
    pub(super) fn pcr(&mut self, pcr: u64, packet: u64, offset: u64) -> Result<(), Reason> {
        let forward = self.last.map_or(0, |last| (pcr + PCR_MODULUS - last % PCR_MODULUS) % PCR_MODULUS);
        if forward > PCR_MODULUS / 2 {
            return Err(Reason::PcrBackwards { offset, by_ms: (PCR_MODULUS - forward) / TICKS_PER_MS });
        }
        if forward > MAX_PCR_GAP {
            return Err(Reason::PcrJump { offset, by_ms: forward / TICKS_PER_MS });
        }
        self.last = Some(pcr);
        self.time += forward;
        let new = Anchor { packet, time: self.time };
        match self.anchors[..] {
            [.., last] if last.time == new.time => {}
            [_, .., last] if packet - last.packet < MIN_ANCHOR_GAP => {}
            _ => self.anchors.push(new),
        }
        Ok(())
    }
}

/// The DTSs of one elementary stream, in ticks of 90 kHz since the first one.
#[derive(Default)]
pub(super) struct StampTrack {
    last: Option<(u64, i64)>,
    lowest: i64,
    highest: i64,
    /// The last step forward.
    pub(super) step: u64,
}

impl StampTrack {
    pub(super) fn dts(&mut self, dts: u64) {
        let at = match self.last {
            None => 0,
            Some((last, at)) => {
                let forward = dts.wrapping_sub(last) & CLOCK_MASK;
                let step =
                    if forward > CLOCK_MASK / 2 { forward as i64 - (CLOCK_MASK + 1) as i64 } else { forward as i64 };
                if step > 0 {
                    self.step = step as u64;
                }
                at + step
            }
        };
        self.last = Some((dts, at));
        self.lowest = self.lowest.min(at);
        self.highest = self.highest.max(at);
    }

    /// From the lowest to the highest DTS.
    pub(super) fn span(&self) -> u64 {
        self.highest.abs_diff(self.lowest)
    }

    pub(super) fn seen(&self) -> bool {
        self.last.is_some()
    }
}
