//! The receiver's memory: which index a sequence number means, and which indices were there already
//! (RFC 3711 sections 3.3.1 and 3.3.2).

use super::PacketIndex;

/// What a [`ReplayWindow`] says of an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Not seen yet.
    Fresh,
    /// Seen already: a duplicate or a replay.
    Replayed,
    /// Older than the window: cannot be told, so it must be refused.
    TooOld,
}

const WORDS: usize = 16;

/// Sliding window over the indices that were received and authenticated.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    highest: Option<u64>,
    /// Bit `index % SIZE` says whether `index` was seen, for the `SIZE` indices up to `highest`.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// How many indices back it remembers; RFC 3711 asks for at least 64.
    pub const SIZE: u64 = 64 * WORDS as u64;

    /// An empty window.
    pub fn new() -> ReplayWindow {
        ReplayWindow::default()
    }

    /// What is known of `index`. Changes nothing: only an authenticated packet may (see [`accept`](Self::accept)).
    pub fn check(&self, index: u64) -> Verdict {
        match self.highest {
            None => Verdict::Fresh,
            Some(highest) if index > highest => Verdict::Fresh,
            Some(highest) if highest - index >= Self::SIZE => Verdict::TooOld,
            Some(_) if self.bit(index) => Verdict::Replayed,
            Some(_) => Verdict::Fresh,
        }
    }

    /// Notes an authenticated packet's index and says what it was before.
    pub fn accept(&mut self, index: u64) -> Verdict {
        let verdict = self.check(index);
        if verdict != Verdict::Fresh {
            return verdict;
        }
        match self.highest {
            Some(highest) if index < highest => {}
            Some(highest) if index - highest < Self::SIZE => {
                (highest + 1..index).for_each(|skipped| self.set(skipped, false));
                self.highest = Some(index);
            }
            _ => {
                self.seen = [0; WORDS];
                self.highest = Some(index);
            }
        }
        self.set(index, true);
        verdict
    }

    /// The highest index accepted.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    fn bit(&self, index: u64) -> bool {
        self.seen[(index / 64) as usize % WORDS] >> (index % 64) & 1 == 1
    }

    fn set(&mut self, index: u64, seen: bool) {
        let word = &mut self.seen[(index / 64) as usize % WORDS];
        let bit = 1 << (index % 64);
        if seen { *word |= bit } else { *word &= !bit }
    }
}

/// Estimates the packet index from the sequence number, and refuses what was there already. Use in this order:
/// [`guess`](Self::guess), [`check`](Self::check), [`super::Rtp::unprotect`], [`accept`](Self::accept).
#[derive(Clone, Debug)]
pub struct IndexGuess {
    /// ROC ‖ s_l of RFC 3711: what a sequence number is held against.
    reference: PacketIndex,
    window: ReplayWindow,
}

impl IndexGuess {
    /// For a receiver that knows an index within 2^15 packets of the first one to come: ROC 0 and the sequence number of
    /// the session description, or what a key message or a search of the ROC with [`super::Rtp::verify`] gave.
    pub fn near(reference: PacketIndex) -> IndexGuess {
        IndexGuess { reference, window: ReplayWindow::new() }
    }

    /// The index within 2^15 of the reference that has this sequence number. `None` if that lies outside the 48-bit space:
    /// such a packet cannot be authentic. (Below index 0 there is nothing, so at ROC 0 the guess stays at ROC 0.)
    pub fn guess(&self, seq: u16) -> Option<PacketIndex> {
        let (roc, last) = (self.reference.roc(), self.reference.seq());
        let roc = if last < 0x8000 && seq > last + 0x8000 {
            roc.saturating_sub(1)
        } else if last >= 0x8000 && seq < last - 0x8000 {
            roc.checked_add(1)?
        } else {
            roc
        };
        Some(PacketIndex::from_parts(roc, seq))
    }

    /// Whether a packet with this index is worth authenticating.
    pub fn check(&self, index: PacketIndex) -> Verdict {
        self.window.check(index.get())
    }

    /// Notes an authenticated packet; says `Fresh` unless it must be dropped.
    pub fn accept(&mut self, index: PacketIndex) -> Verdict {
        let first = self.window.highest().is_none();
        let verdict = self.window.accept(index.get());
        if verdict == Verdict::Fresh && (first || index > self.reference) {
            self.reference = index;
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_sequence_number_means_the_nearest_index() {
        // (reference ROC, reference sequence number, sequence number, ROC expected)
        let table = [
            (0, 0, 1, Some(0)),
            (0, 0xfff0, 5, Some(1)),
            (1, 5, 0xfff0, Some(0)),
            (0, 5, 0xfff0, Some(0)),
            (7, 0x7fff, 0xffff, Some(7)),
            (7, 0x7ffe, 0xffff, Some(6)),
            (7, 0x8000, 0, Some(7)),
            (7, 0x8001, 0, Some(8)),
            (0xffff, 0xffff, 0, Some(0x1_0000)),
            (0x1_0000, 0, 0xffff, Some(0xffff)),
            (u32::MAX, 0xffff, 0, None),
            (u32::MAX, 0xffff, 0xfffe, Some(u32::MAX)),
        ];
        for (roc, last, seq, expected) in table {
            let guess = IndexGuess::near(PacketIndex::from_parts(roc, last));
            let expected = expected.map(|roc| PacketIndex::from_parts(roc, seq));
            assert_eq!(guess.guess(seq), expected, "{roc} {last} {seq}");
        }
    }

    #[test]
    fn a_stream_that_begins_just_before_a_wrap_is_followed_over_it() {
        for start in [0xfffe_u64, 0xffff_fffe, 0xffff_ffff_fffe] {
            let mut guess = IndexGuess::near(PacketIndex::new(start));
            for value in (start..start + 70_000).take_while(|&value| value <= PacketIndex::MAX.get()) {
                let index = PacketIndex::new(value);
                assert_eq!(guess.guess(index.seq()), Some(index));
                assert_eq!(guess.accept(index), Verdict::Fresh);
            }
        }
    }

    #[test]
    fn the_first_packet_may_lie_before_the_reference() {
        let mut guess = IndexGuess::near(PacketIndex::from_parts(1, 2));
        let index = guess.guess(0xfffd).unwrap();
        assert_eq!(index, PacketIndex::from_parts(0, 0xfffd));
        assert_eq!(guess.accept(index), Verdict::Fresh);
        assert_eq!(guess.accept(PacketIndex::from_parts(1, 0)), Verdict::Fresh);
        assert_eq!(guess.check(index), Verdict::Replayed);
    }

    #[test]
    fn duplicates_and_packets_behind_the_window_are_refused() {
        let mut window = ReplayWindow::new();
        assert_eq!(window.accept(5000), Verdict::Fresh);
        assert_eq!(window.accept(5000), Verdict::Replayed);
        assert_eq!(window.accept(5000 - ReplayWindow::SIZE), Verdict::TooOld);
        assert_eq!(window.accept(5001 - ReplayWindow::SIZE), Verdict::Fresh);
        assert_eq!(window.accept(5001 - ReplayWindow::SIZE), Verdict::Replayed);
        assert_eq!(window.accept(1 << 40), Verdict::Fresh);
        assert_eq!(window.accept((1 << 40) - 1), Verdict::Fresh);
        assert_eq!(window.check(5001), Verdict::TooOld);
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(steps in proptest::collection::vec((-1500i64..1500, 1u8..4), 1..400)) {
            let (mut window, mut set, mut at) = (ReplayWindow::new(), BTreeSet::new(), 1_000_000i64);
            for (step, times) in steps {
                at += step;
                for _ in 0..times {
                    let index = at as u64;
                    let expected = match set.last() {
                        Some(&highest) if index + ReplayWindow::SIZE <= highest => Verdict::TooOld,
                        _ if set.contains(&index) => Verdict::Replayed,
                        _ => Verdict::Fresh,
                    };
                    prop_assert_eq!(window.accept(index), expected);
                    if expected == Verdict::Fresh {
                        set.insert(index);
                    }
                }
            }
        }
    }
}
