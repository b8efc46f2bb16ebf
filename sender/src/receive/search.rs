//! The rollover counter for a late joiner: the sequence number tells 16 bits of a packet's index, the authentication tag
//! tells whether a guess at the other 32 was right. The search is bounded and goes in steps.

use crate::srtp::{PacketIndex, Rtp};
use std::ops::Range;

/// Rollover counters that are tried when nothing is known: 2^32 packets, 49 days at 1000 packets a second.
pub const SEARCHED: u64 = 1 << 16;

/// One packet whose rollover counter is looked for.
#[derive(Debug)]
pub struct Search {
    packet: Vec<u8>,
    sequence: u16,
    /// What is left to try, the next range last.
    ranges: Vec<Range<u64>>,
}

/// How a step of the search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The packet has this index.
    Found(PacketIndex),
    /// There is more to try.
    Unfinished,
    /// None of the rollover counters fits.
    Exhausted,
}

impl Search {
    /// Looks for the rollover counter of `packet` with this sequence number. With `near` that one and both its
    /// neighbours are tried, otherwise all from 0 to [`SEARCHED`].
    pub fn new(packet: Vec<u8>, sequence: u16, near: Option<u32>) -> Search {
        let whole = 0..1 << 32;
        let ranges = match near.map(u64::from) {
            None => std::iter::once(0..SEARCHED).collect(),
            Some(roc) => [roc.wrapping_sub(1), roc + 1, roc]
                .into_iter()
                .filter(|roc| whole.contains(roc))
                .map(|roc| roc..roc + 1)
                .collect(),
        };
        Search { packet, sequence, ranges }
    }

    /// Looks from a rollover counter that was right some time ago onwards, after a long interruption.
    pub fn onwards(packet: Vec<u8>, sequence: u16, roc: u32) -> Search {
        let roc = u64::from(roc);
        Search { packet, sequence, ranges: std::iter::once(roc..(roc + 1024).min(1 << 32)).collect() }
    }

    /// Tries at most `budget` rollover counters.
    pub fn step(&mut self, rtp: &Rtp, budget: u32) -> Step {
        for _ in 0..budget {
            let Some(range) = self.ranges.last_mut() else { return Step::Exhausted };
            let roc = range.start as u32;
            range.start += 1;
            if range.is_empty() {
                self.ranges.pop();
            }
            if rtp.verify(roc, &self.packet) {
                return Step::Found(PacketIndex::from_parts(roc, self.sequence));
            }
        }
        if self.ranges.is_empty() { Step::Exhausted } else { Step::Unfinished }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rtp::tests::packet;
    use super::*;
    use crate::srtp::MasterKey;

    fn protected(index: PacketIndex) -> (Rtp, Vec<u8>) {
        let rtp = Rtp::new(&MasterKey::new([7; 16], [9; 14]), 5, None);
        let mut bytes = packet(index.seq(), 1, 5, b"media");
        let len = bytes.len();
        bytes.resize(len + rtp.overhead(), 0);
        rtp.protect(index, &mut bytes, 12, len);
        (rtp, bytes)
    }

    fn run(mut search: Search, rtp: &Rtp) -> (Step, u32) {
        for turn in 1.. {
            match search.step(rtp, 100) {
                Step::Unfinished => {}
                step => return (step, turn),
            }
        }
        unreachable!("the ranges are finite")
    }

    #[test]
    fn the_counter_is_found_from_the_tag_wherever_it_is_in_range() {
        for roc in [0, 1, 777, 65_535] {
            let index = PacketIndex::from_parts(roc, 12);
            let (rtp, bytes) = protected(index);
            assert_eq!(run(Search::new(bytes, 12, None), &rtp), (Step::Found(index), roc / 100 + 1));
        }
    }

    #[test]
    fn the_search_ends_when_nothing_fits() {
        let (rtp, bytes) = protected(PacketIndex::from_parts(65_536, 12));
        assert_eq!(run(Search::new(bytes, 12, None), &rtp), (Step::Exhausted, 656));
    }

    #[test]
    fn a_given_counter_is_tried_with_both_neighbours_only() {
        let index = PacketIndex::from_parts(0x8000_0000, 1);
        let (rtp, bytes) = protected(index);
        for (near, expected) in [
            (0x7fff_fffe, Step::Exhausted),
            (0x7fff_ffff, Step::Found(index)),
            (0x8000_0000, Step::Found(index)),
            (0x8000_0001, Step::Found(index)),
            (0x8000_0002, Step::Exhausted),
            (0, Step::Exhausted),
            (u32::MAX, Step::Exhausted),
        ] {
            assert_eq!(run(Search::new(bytes.clone(), 1, Some(near)), &rtp), (expected, 1), "near {near:#x}");
        }
    }

    #[test]
    fn after_an_interruption_the_search_goes_onwards() {
        let index = PacketIndex::from_parts(1_000_005, 1);
        let (rtp, bytes) = protected(index);
        assert_eq!(run(Search::onwards(bytes.clone(), 1, 1_000_000), &rtp).0, Step::Found(index));
        assert_eq!(run(Search::onwards(bytes, 1, 1_000_006), &rtp).0, Step::Exhausted);
    }
}
