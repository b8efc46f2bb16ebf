//! The reorder buffer: packets go in as they arrive and come out once each, in index order. A gap is waited for a
//! bounded time and a bounded number of packets; then its packets are lost, and stay lost when they come after all.

use std::collections::VecDeque;

/// How many indices before the next one to deliver are remembered, to tell a late packet from a duplicate.
const MEMORY: u64 = 1 << 16;

/// How long and how far the buffer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a gap is waited for, in nanoseconds from the arrival of the first packet behind it.
    pub wait: u64,
    /// How many indices the buffer spans at most; a packet further on gives up what is at the front.
    pub packets: u64,
    /// How long the first packets are held back in case an earlier one follows, in nanoseconds.
    pub settle: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { wait: 200_000_000, packets: 16_384, settle: 20_000_000 }
    }
}

/// What became of a packet that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is the first of its index and comes in time.
    New,
    /// Its index was here before.
    Duplicate,
    /// Its place has been given up, or lies before the first packet, or further back than is remembered.
    Late,
}

/// The buffer. `T` is what is delivered.
#[derive(Debug)]
pub struct Reorder<T> {
    limits: Limits,
    /// The next index to deliver; slot i of `slots` is index `next + i`.
    next: u64,
    first: u64,
    slots: VecDeque<Option<T>>,
    /// (arrival, index) of what is in `slots`, in order of arrival; entries before `next` are stale.
    arrivals: VecDeque<(u64, u64)>,
    /// Delivery begins here; afterwards `None`.
    settled_at: Option<u64>,
    ready: VecDeque<(u64, T)>,
    /// One bit for each of the last MEMORY indices: it was received.
    memory: Box<[u64]>,
    lost: u64,
}

impl<T> Reorder<T> {
    /// A buffer that begins at index `first`, whose packet arrived at `now`.
    pub fn new(limits: Limits, now: u64, first: u64) -> Reorder<T> {
        let limits = Limits { packets: limits.packets.clamp(1, MEMORY / 2), ..limits };
        Reorder {
            limits,
            next: first,
            first,
            slots: VecDeque::new(),
            arrivals: VecDeque::new(),
            settled_at: Some(now.saturating_add(limits.settle)),
            ready: VecDeque::new(),
            memory: vec![0; (MEMORY / 64) as usize].into_boxed_slice(),
            lost: 0,
        }
    }

    /// Puts a packet in that arrived at `now`.
    pub fn insert(&mut self, now: u64, index: u64, item: T) -> Placed {
        self.poll(now);
        if index < self.next && !self.move_back(index) {
            return self.remember_late(index);
        }
        if index - self.next >= self.limits.packets {
            self.settled_at = None;
            self.give_up_before(index - self.limits.packets + 1);
        }
        let slot = (index - self.next) as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        if self.slots[slot].is_some() {
            return Placed::Duplicate;
        }
        self.slots[slot] = Some(item);
        self.arrivals.push_back((now, index));
        self.deliver(now);
        Placed::New
    }

    /// Gives up gaps that have been waited for long enough.
    pub fn poll(&mut self, now: u64) {
        self.deliver(now);
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            let present = self.slots.iter().position(Option::is_some).unwrap_or(self.slots.len());
            self.give_up_before(self.next + present as u64);
            self.deliver(now);
        }
    }

    /// When [`Reorder::poll`] next has something to do, in nanoseconds.
    pub fn deadline(&self) -> Option<u64> {
        let oldest = self.arrivals.front()?.0;
        Some(self.settled_at.unwrap_or_else(|| oldest.saturating_add(self.limits.wait)))
    }

    /// The stream is over: gives up every gap; what is left comes out.
    pub fn flush(&mut self) {
        self.settled_at = None;
        while !self.slots.is_empty() {
            self.give_up_before(self.next + self.slots.len() as u64);
        }
    }

    /// The next packet in order and its index.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        self.ready.pop_front()
    }

    /// Packets given up.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The first index of the stream.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Before anything was delivered the start may still move back.
    fn move_back(&mut self, index: u64) -> bool {
        let end = self.next + self.slots.len() as u64;
        if self.settled_at.is_none() || end - index > self.limits.packets {
            return false;
        }
        for _ in index..self.next {
            self.slots.push_front(None);
        }
        self.next = index;
        self.first = index;
        true
    }

    fn deliver(&mut self, now: u64) {
        if self.settled_at.is_some_and(|at| now < at) {
            return;
        }
        self.settled_at = None;
        while let Some(Some(_)) = self.slots.front() {
            self.step();
        }
        self.forget_arrivals();
    }

    /// Takes the front slot off: delivered if there is a packet in it, lost if not.
    fn step(&mut self) {
        let bit = self.next % MEMORY;
        let (word, mask) = ((bit / 64) as usize, 1 << (bit % 64));
        match self.slots.pop_front().flatten() {
            Some(item) => {
                self.memory[word] |= mask;
                self.ready.push_back((self.next, item));
            }
            None => {
                self.memory[word] &= !mask;
                self.lost += 1;
            }
        }
        self.next += 1;
    }

    fn give_up_before(&mut self, index: u64) {
        while self.next < index && !self.slots.is_empty() {
            self.step();
        }
        // Beyond the slots there is nothing but loss; however far it goes, it takes no longer than MEMORY steps.
        let empty = index.saturating_sub(self.next);
        if empty >= MEMORY {
            self.memory.fill(0);
            self.lost += empty;
            self.next = index;
        }
        while self.next < index {
            self.step();
        }
        self.forget_arrivals();
    }

    fn forget_arrivals(&mut self) {
        while self.arrivals.front().is_some_and(|&(_, index)| index < self.next) {
            self.arrivals.pop_front();
        }
    }

    fn remember_late(&mut self, index: u64) -> Placed {
        if self.next - index > MEMORY || index < self.first {
            return Placed::Late;
        }
        let bit = index % MEMORY;
        let (word, mask) = ((bit / 64) as usize, 1 << (bit % 64));
        if self.memory[word] & mask != 0 {
            return Placed::Duplicate;
        }
        self.memory[word] |= mask;
        Placed::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const LIMITS: Limits = Limits { wait: 100, packets: 64, settle: 10 };

    fn drain(buffer: &mut Reorder<u64>) -> Vec<u64> {
        std::iter::from_fn(|| buffer.pop())
            .map(|(index, item)| {
                assert_eq!(index, item);
                index
            })
            .collect()
    }

    fn filled(now_and_index: &[(u64, u64)]) -> Reorder<u64> {
        let mut buffer = Reorder::new(LIMITS, now_and_index[0].0, now_and_index[0].1);
        for &(now, index) in now_and_index {
            buffer.insert(now, index, index);
        }
        buffer
    }

    #[test]
    fn packets_in_order_come_out_at_once_after_the_start() {
        let mut buffer = filled(&[(0, 7)]);
        assert_eq!(drain(&mut buffer), [0u64; 0]);
        assert_eq!(buffer.deadline(), Some(10));
        buffer.poll(10);
        assert_eq!(drain(&mut buffer), [7]);
        assert_eq!(buffer.deadline(), None);
        buffer.insert(11, 8, 8);
        assert_eq!(drain(&mut buffer), [8]);
    }

    #[test]
    fn an_earlier_packet_right_at_the_start_still_comes_first() {
        let mut buffer = filled(&[(0, 7), (1, 6), (2, 8)]);
        buffer.poll(10);
        assert_eq!(drain(&mut buffer), [6, 7, 8]);
        assert_eq!((buffer.first(), buffer.lost()), (6, 0));
        assert_eq!(buffer.insert(11, 5, 5), Placed::Late);
    }

    #[test]
    fn a_gap_is_given_up_when_its_time_is_over_and_a_late_packet_stays_lost() {
        let mut buffer = filled(&[(0, 0), (20, 1), (30, 3), (40, 5)]);
        assert_eq!(drain(&mut buffer), [0, 1]);
        assert_eq!(buffer.deadline(), Some(130));
        buffer.poll(129);
        assert_eq!(drain(&mut buffer), [0u64; 0]);
        buffer.poll(130);
        assert_eq!(drain(&mut buffer), [3]);
        assert_eq!((buffer.lost(), buffer.deadline()), (1, Some(140)));
        assert_eq!(buffer.insert(131, 4, 4), Placed::New);
        assert_eq!(drain(&mut buffer), [4, 5]);
        assert_eq!(buffer.insert(132, 2, 2), Placed::Late);
        assert_eq!(buffer.insert(133, 2, 2), Placed::Duplicate);
        assert_eq!(buffer.insert(134, 3, 3), Placed::Duplicate);
        assert_eq!((buffer.lost(), drain(&mut buffer)), (1, vec![]));
    }

    #[test]
    fn a_packet_beyond_the_span_gives_up_the_front() {
        let mut buffer = filled(&[(0, 0), (20, 2), (21, 65)]);
        assert_eq!(drain(&mut buffer), [0, 2]);
        assert_eq!(buffer.lost(), 1);
        assert_eq!(buffer.insert(22, 66, 66), Placed::New);
        assert_eq!(buffer.insert(23, 1 << 40, 1 << 40), Placed::New);
        buffer.flush();
        assert_eq!(drain(&mut buffer), [65, 66, 1 << 40]);
        assert_eq!(buffer.lost(), (1u64 << 40) + 1 - 5);
    }

    #[test]
    fn flush_counts_open_gaps_as_lost() {
        let mut buffer = filled(&[(0, 0), (20, 3), (21, 6)]);
        buffer.flush();
        assert_eq!(drain(&mut buffer), [0, 3, 6]);
        assert_eq!(buffer.lost(), 4);
    }

    proptest! {
        #[test]
        fn permutations_within_the_window_come_out_in_order(
            first in prop_oneof![Just(0u64), Just(0xfff0), Just(0xffff_fff0u64), 0..1u64 << 47],
            keys in proptest::collection::vec(0u64..32, 2..500),
        ) {
            // Each packet is delayed by less than the window.
            let mut order: Vec<(u64, u64)> =
                keys.iter().enumerate().map(|(i, key)| (i as u64 + key, first + i as u64)).collect();
            order.sort_by_key(|&(at, _)| at);
            let mut buffer = Reorder::new(Limits { settle: 1000, ..LIMITS }, order[0].0, order[0].1);
            for &(at, index) in &order {
                prop_assert_eq!(buffer.insert(at, index, index), Placed::New);
            }
            buffer.flush();
            prop_assert_eq!(buffer.lost(), 0);
            let expected: Vec<u64> = (first..first + keys.len() as u64).collect();
            prop_assert_eq!(drain(&mut buffer), expected);
        }

        #[test]
        fn exactly_what_was_left_out_is_lost_and_doubles_come_out_once(
            first in prop_oneof![Just(0xff00u64), Just(0xffff_ff00u64), 0..1u64 << 47],
            fate in proptest::collection::vec((0u8..4, 0u64..20), 2..600),
        ) {
            let mut events = vec![(0, first)];
            let mut sent = BTreeSet::from([first]);
            for (i, &(copies, delay)) in fate.iter().enumerate() {
                let (at, index) = (i as u64 + 1, first + 1 + i as u64);
                for copy in 0..u64::from(copies) {
                    events.push((at + delay * copy, index));
                    sent.insert(index);
                }
            }
            events.sort_by_key(|&(at, _)| at);
            let mut buffer = Reorder::new(LIMITS, 0, first);
            let mut counts = [0u64; 3];
            for &(at, index) in &events {
                counts[buffer.insert(at, index, index) as usize] += 1;
            }
            buffer.flush();
            let highest = *sent.last().expect("the first is in");
            prop_assert_eq!(counts[Placed::New as usize], sent.len() as u64);
            prop_assert_eq!(counts[Placed::Duplicate as usize], (events.len() - sent.len()) as u64);
            prop_assert_eq!(counts[Placed::Late as usize], 0);
            prop_assert_eq!(buffer.lost(), highest - first + 1 - sent.len() as u64);
            prop_assert_eq!(drain(&mut buffer), sent.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn whatever_comes_received_and_lost_add_up(
            events in proptest::collection::vec((0u64..50, 0u64..400), 1..300),
        ) {
            let mut buffer = Reorder::new(LIMITS, 0, 1000 + events[0].1);
            let (mut now, mut new, mut highest) = (0, 0, 0);
            for &(step, index) in &events {
                now += step;
                if buffer.insert(now, 1000 + index, 1000 + index) == Placed::New {
                    new += 1;
                    highest = highest.max(1000 + index);
                }
            }
            buffer.flush();
            let out = drain(&mut buffer);
            prop_assert_eq!(out.len() as u64, new);
            prop_assert!(out.is_sorted());
            prop_assert_eq!(new + buffer.lost(), highest - buffer.first() + 1);
        }
    }
}
