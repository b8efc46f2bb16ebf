//! The beginning of a source: its packets are held until they have shown that they are a source, and at which index it is.

use super::search::{Search, Step};
use crate::srtp::{PacketIndex, Rtp};
use std::collections::VecDeque;

/// Rollover counters tried in one step of a search: about 10 ms.
const SEARCH_STEP: u32 = 4096;
/// Packets kept while a search goes on.
const HELD_IN_SEARCH: usize = 8192;
/// Packets kept until two have come in sequence.
const HELD_IN_PROBATION: usize = 16;
/// Packets searched through in a row before the key counts as wrong.
const CANDIDATES: u32 = 3;
/// How long to wait with the next candidate then, in ns.
const CANDIDATE_PAUSE: u64 = 5_000_000_000;

/// A packet that waits: when it arrived, and its bytes.
pub(super) type Held = (u64, Vec<u8>);

/// The two ways to accept a source.
#[derive(Debug)]
pub(super) enum Acquire {
    /// Without a key: until two packets follow each other (RFC 3550 A.1), or one if the SSRC was told.
    Probation { roc: u32, one_is_enough: bool, next: Option<u16>, held: VecDeque<Held>, index: Option<PacketIndex> },
    /// With a key: until a packet authenticates, which tells the rollover counter.
    Searching { roc: Option<u32>, search: Option<Search>, failed: u32, not_before: u64, held: VecDeque<Held> },
}

impl Acquire {
    pub(super) fn probation(roc: u32, one_is_enough: bool) -> Acquire {
        Acquire::Probation { roc, one_is_enough, next: None, held: VecDeque::new(), index: None }
    }

    pub(super) fn searching(roc: Option<u32>) -> Acquire {
        Acquire::Searching { roc, search: None, failed: 0, not_before: 0, held: VecDeque::new() }
    }

    /// Holds a packet. Returns how many had to be let go of for it.
    pub(super) fn on_packet(&mut self, now: u64, sequence: u16, bytes: &[u8]) -> u64 {
        let (held, most) = match self {
            Acquire::Probation { roc, one_is_enough, next, held, index } => {
                if *one_is_enough || *next == Some(sequence) {
                    *index = Some(PacketIndex::from_parts(*roc, sequence));
                }
                *next = Some(sequence.wrapping_add(1));
                (held, HELD_IN_PROBATION)
            }
            Acquire::Searching { roc, search, failed, not_before, held } => {
                if search.is_none() && now >= *not_before {
                    *search = Some(Search::new(bytes.to_vec(), sequence, *roc));
                }
                (held, if *failed < CANDIDATES { HELD_IN_SEARCH } else { HELD_IN_PROBATION })
            }
        };
        held.push_back((now, bytes.to_vec()));
        let surplus = held.len().saturating_sub(most);
        held.drain(..surplus);
        surplus as u64
    }

    /// Goes on with the search. The index of one of the packets, once there is one.
    pub(super) fn step(&mut self, now: u64, crypto: Option<&Rtp>) -> Option<PacketIndex> {
        match (self, crypto) {
            (Acquire::Searching { search: slot, failed, not_before, .. }, Some(rtp)) => {
                match slot.as_mut()?.step(rtp, SEARCH_STEP) {
                    Step::Found(index) => return Some(index),
                    Step::Unfinished => return None,
                    Step::Exhausted => {}
                }
                *slot = None;
                *failed += 1;
                if *failed >= CANDIDATES {
                    *not_before = now.saturating_add(CANDIDATE_PAUSE);
                }
                None
            }
            (Acquire::Probation { index, .. }, _) => *index,
            (Acquire::Searching { .. }, None) => None,
        }
    }

    /// Whether [`Acquire::step`] has work that needs no further packet.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Acquire::Searching { search: Some(_), .. })
    }

    /// Whether as many packets as are tried have failed with every rollover counter.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self, Acquire::Searching { failed, .. } if *failed >= CANDIDATES)
    }

    /// The packets held, in order of arrival.
    pub(super) fn take_held(&mut self) -> VecDeque<Held> {
        match self {
            Acquire::Probation { held, .. } | Acquire::Searching { held, .. } => std::mem::take(held),
        }
    }
}
