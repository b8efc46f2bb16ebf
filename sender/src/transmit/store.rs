//! Who holds which frame: the frame store, a cache of finished packets in the port's memory.
//!
//! The memory is cut in two: *resident* frames, handed out to streams as [`Extent`]s (packet n of a pass lives in frame
//! n of its stream's extent, ready to be sent again by every later copy), and *scratch* frames for everything that is
//! not resident. The store decides only what may be done with a frame; the bytes are the engine's business.

use crate::srtp::PacketIndex;

/// Consecutive frames of a port's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Number of the first frame.
    pub first: u32,
    /// How many frames.
    pub count: u32,
}

/// What is known of a resident frame. 16 bytes: a cursor that walks its extent meets a new cache line every 4 packets.
#[derive(Clone, Copy)]
struct Slot {
    /// The packet whose bytes are in the frame.
    index: u64,
    /// The stream it belongs to; extents change hands without being wiped.
    owner: Owner,
    /// Ones' complement sum of the RTP packet.
    sum: u16,
    /// Length of the RTP packet; the top bit says that the frame is posted and not yet completed.
    len: u16,
}

const IN_FLIGHT: u16 = 1 << 15;

/// Identifies a stream for as long as the engine runs; never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner(pub u32);

/// What a resident frame can do for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The frame holds this very packet and is free to be posted: patch and post.
    Resident { len: u16, sum: u16 },
    /// The frame may be filled with this packet.
    Fill,
    /// The frame is in flight: make the packet in a scratch frame.
    Busy,
    /// The frame holds a later pass already: make the packet in a scratch frame.
    Newer,
}

/// The state of every frame.
pub(super) struct FrameStore {
    slots: Box<[Slot]>,
    /// Free scratch frames; all frames from `slots.len()` on are scratch.
    scratch: Vec<u32>,
}

impl FrameStore {
    /// A store for `frames` frames, the last `scratch` of which are scratch.
    pub(super) fn new(frames: u32, scratch: u32) -> Self {
        let resident = frames.saturating_sub(scratch);
        let empty = Slot { index: u64::MAX, owner: Owner(0), sum: 0, len: 0 };
        Self { slots: vec![empty; resident as usize].into_boxed_slice(), scratch: (resident..frames).rev().collect() }
    }

    /// How many frames extents can be made of.
    pub(super) fn resident_frames(&self) -> u32 {
        self.slots.len() as u32
    }

    /// What `frame` can do for the packet `index` of `owner`.
    #[inline]
    pub(super) fn look_up(&self, frame: u32, owner: Owner, index: PacketIndex) -> Lookup {
        let slot = &self.slots[frame as usize];
        if slot.len & IN_FLIGHT != 0 {
            return Lookup::Busy;
        }
        if slot.owner != owner {
            return Lookup::Fill;
        }
        if slot.index == index.get() {
            return Lookup::Resident { len: slot.len, sum: slot.sum };
        }
        if slot.index > index.get() { Lookup::Newer } else { Lookup::Fill }
    }

    /// Notes that `frame` now holds packet `index` of `owner` and is about to be posted.
    #[inline]
    pub(super) fn filled(&mut self, frame: u32, owner: Owner, index: PacketIndex, len: u16, sum: u16) {
        self.slots[frame as usize] = Slot { index: index.get(), owner, sum, len: len | IN_FLIGHT };
    }

    /// Notes that the resident `frame` is about to be posted again.
    #[inline]
    pub(super) fn posted(&mut self, frame: u32) {
        self.slots[frame as usize].len |= IN_FLIGHT;
    }

    /// Takes a scratch frame; it comes back with [`completed`](Self::completed).
    #[inline]
    pub(super) fn take_scratch(&mut self) -> Option<u32> {
        self.scratch.pop()
    }

    /// Notes that the kernel is done with `frame`.
    #[inline]
    pub(super) fn completed(&mut self, frame: u32) {
        match self.slots.get_mut(frame as usize) {
            Some(slot) => slot.len &= !IN_FLIGHT,
            None => self.scratch.push(frame),
        }
    }

    /// The place of a slot in memory, for prefetching.
    #[inline]
    pub(super) fn prefetch(&self, frame: u32) {
        if let Some(slot) = self.slots.get(frame as usize) {
            crate::xsk::prefetch::for_write(std::slice::from_ref(slot));
        }
    }
}

/// Hands out extents of resident frames; lives with whoever starts streams, not in the engine.
#[derive(Debug)]
pub struct FrameBudget {
    /// Free extents, by first frame, never adjacent.
    free: Vec<Extent>,
}

impl FrameBudget {
    /// All of `frames` resident frames are free.
    pub fn new(frames: u32) -> Self {
        Self { free: vec![Extent { first: 0, count: frames }] }
    }

    /// How many frames are free in all.
    pub fn free(&self) -> u32 {
        self.free.iter().map(|extent| extent.count).sum()
    }

    /// Takes an extent of `wanted` frames, or the largest there is: what is not resident is made in scratch frames.
    pub fn take(&mut self, wanted: u32) -> Extent {
        let fitting = self.free.iter().position(|extent| extent.count >= wanted);
        let largest = || (0..self.free.len()).max_by_key(|&at| self.free[at].count);
        let Some(at) = fitting.or_else(largest) else {
            return Extent::default();
        };
        let extent = &mut self.free[at];
        let taken = Extent { first: extent.first, count: extent.count.min(wanted) };
        extent.first += taken.count;
        extent.count -= taken.count;
        self.free.retain(|extent| extent.count > 0);
        taken
    }

    /// Gives an extent back.
    pub fn give_back(&mut self, extent: Extent) {
        if extent.count == 0 {
            return;
        }
        let at = self.free.partition_point(|free| free.first < extent.first);
        self.free.insert(at, extent);
        self.free.dedup_by(|right, left| {
            let adjacent = left.first + left.count == right.first;
            if adjacent {
                left.count += right.count;
            }
            adjacent
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Owner = Owner(1);

    fn index(value: u64) -> PacketIndex {
        PacketIndex::new(value)
    }

    #[test]
    fn a_frame_is_posted_again_only_after_its_completion() {
        let mut store = FrameStore::new(4, 2);
        assert_eq!(store.look_up(0, ONE, index(7)), Lookup::Fill);
        store.filled(0, ONE, index(7), 1300, 0xabcd);
        assert_eq!(store.look_up(0, ONE, index(7)), Lookup::Busy);
        store.completed(0);
        assert_eq!(store.look_up(0, ONE, index(7)), Lookup::Resident { len: 1300, sum: 0xabcd });
        store.posted(0);
        assert_eq!(store.look_up(0, ONE, index(7)), Lookup::Busy);
    }

    #[test]
    fn an_older_pass_never_replaces_a_newer_one() {
        let mut store = FrameStore::new(4, 2);
        store.filled(0, ONE, index(107), 1300, 0);
        store.completed(0);
        assert_eq!(store.look_up(0, ONE, index(7)), Lookup::Newer);
        assert_eq!(store.look_up(0, ONE, index(207)), Lookup::Fill);
    }

    #[test]
    fn a_frame_of_another_stream_is_filled_but_not_while_it_is_in_flight() {
        let mut store = FrameStore::new(4, 2);
        store.filled(0, ONE, index(7), 1300, 0);
        assert_eq!(store.look_up(0, Owner(2), index(1)), Lookup::Busy);
        store.completed(0);
        assert_eq!(store.look_up(0, Owner(2), index(1)), Lookup::Fill);
    }

    #[test]
    fn scratch_frames_are_bounded_and_come_back() {
        let mut store = FrameStore::new(4, 2);
        let taken = [store.take_scratch(), store.take_scratch()];
        assert_eq!(taken, [Some(2), Some(3)]);
        assert_eq!(store.take_scratch(), None);
        store.completed(3);
        assert_eq!(store.take_scratch(), Some(3));
    }

    proptest! {
        #[test]
        fn the_budget_loses_and_doubles_nothing(wishes in prop::collection::vec(1u32..60, 1..40)) {
            let mut budget = FrameBudget::new(500);
            let mut held: Vec<Extent> = Vec::new();
            for (turn, wanted) in wishes.into_iter().enumerate() {
                if turn % 3 == 2 && !held.is_empty() {
                    let at = wanted as usize % held.len();
                    budget.give_back(held.swap_remove(at));
                } else {
                    held.push(budget.take(wanted));
                }
                let mut used = vec![false; 500];
                for extent in &held {
                    for frame in extent.first..extent.first + extent.count {
                        prop_assert!(!std::mem::replace(&mut used[frame as usize], true), "frame {} twice", frame);
                    }
                }
                prop_assert_eq!(budget.free() as usize, used.iter().filter(|used| !**used).count());
            }
            held.drain(..).for_each(|extent| budget.give_back(extent));
            prop_assert_eq!(budget.take(500).count, 500);
        }
    }
}
