//! A hierarchical timing wheel: insert, and take what is due, at a cost that does not depend on how much it holds.
//!
//! Keys are small integers (`0..capacity`), each in the wheel at most once; the wheel is a set of intrusive lists over
//! them and never allocates after [`Wheel::new`]. Three levels: *near* slots of one tick (16.4 µs), *far* slots of 4096
//! ticks (67 ms), and one list for what is more than 275 s away. A bit per slot finds the next slot in use.

use super::time::Time;

/// log2 of a tick in nanoseconds: 16.4 µs, far below the pacing goal and above the cost of a wake-up.
const TICK_SHIFT: u32 = 14;
const SLOT_BITS: u32 = 12;
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_MASK: u64 = SLOTS as u64 - 1;
const NIL: u32 = u32::MAX;
/// The tick of a key that does not wait.
const OUT: u64 = u64::MAX;

/// The keys that wait, by the tick they are due in.
pub struct Wheel {
    /// All ticks before this one are empty.
    tick: u64,
    near: Level,
    far: Level,
    /// Head of the list of keys beyond the far level's reach.
    beyond: u32,
    /// Per key: the next key in its list.
    next: Box<[u32]>,
    /// Per key: the tick it is due in, or `OUT`.
    due: Box<[u64]>,
    len: usize,
}

/// One ring of slots, each the head of a list of keys.
struct Level {
    heads: Box<[u32]>,
    used: [u64; SLOTS / 64],
}

impl Wheel {
    /// An empty wheel for the keys `0..capacity`, beginning at `now`.
    pub fn new(capacity: usize, now: Time) -> Self {
        Self {
            tick: tick_of(now),
            near: Level::new(),
            far: Level::new(),
            beyond: NIL,
            next: vec![NIL; capacity].into_boxed_slice(),
            due: vec![OUT; capacity].into_boxed_slice(),
            len: 0,
        }
    }

    /// How many keys wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets `key` wait until `due`; a time in the past is due at once. The key must not be waiting already.
    #[inline]
    pub fn insert(&mut self, key: u32, due: Time) {
        let tick = tick_of(due).max(self.tick);
        self.due[key as usize] = tick;
        self.len += 1;
        self.link(key, tick);
    }

    /// Takes `key` out, if it waits. Walks the list it is in: for commands, not for every packet.
    pub fn remove(&mut self, key: u32) {
        let tick = self.due[key as usize];
        if tick == OUT {
            return;
        }
        let after = self.next[key as usize];
        let head = match self.slot_of(tick) {
            Place::Near(slot) => self.near.heads[slot],
            Place::Far(slot) => self.far.heads[slot],
            Place::Beyond => self.beyond,
        };
        if head == key {
            match self.slot_of(tick) {
                Place::Near(slot) => self.near.set(slot, after),
                Place::Far(slot) => self.far.set(slot, after),
                Place::Beyond => self.beyond = after,
            }
        } else {
            let mut before = head;
            while self.next[before as usize] != key {
                before = self.next[before as usize];
            }
            self.next[before as usize] = after;
        }
        self.due[key as usize] = OUT;
        self.len -= 1;
    }

    /// Moves keys that are due at `now` into `out`, oldest tick first, until it is full; returns how many.
    #[inline]
    pub fn expire(&mut self, now: Time, out: &mut [u32]) -> usize {
        let target = tick_of(now);
        let mut count = 0;
        while count < out.len() && self.len > 0 && self.tick <= target {
            let slot = (self.tick & SLOT_MASK) as usize;
            let Some(used) = self.near.first_used_from(slot) else {
                if !self.next_rotation(target) {
                    break;
                }
                continue;
            };
            let tick = (self.tick & !SLOT_MASK) | used as u64;
            if tick > target {
                self.tick = target;
                break;
            }
            self.tick = tick;
            let mut key = self.near.heads[used];
            while key != NIL && count < out.len() {
                out[count] = key;
                count += 1;
                self.due[key as usize] = OUT;
                key = self.next[key as usize];
            }
            self.near.set(used, key);
        }
        self.len -= count;
        if self.len == 0 {
            self.tick = self.tick.max(target);
        }
        count
    }

    /// When the next key is due, at the latest a rotation (67 ms) away if it is further; `None` if nothing waits.
    pub fn next_due(&self) -> Option<Time> {
        if self.len == 0 {
            return None;
        }
        let base = self.tick & !SLOT_MASK;
        let tick = match self.near.first_used_from((self.tick & SLOT_MASK) as usize) {
            Some(slot) => base | slot as u64,
            None => base + SLOTS as u64,
        };
        Some(Time::from_nanos(tick << TICK_SHIFT))
    }

    /// Enters the next near rotation, unless it begins after `target`.
    fn next_rotation(&mut self, target: u64) -> bool {
        let next = (self.tick & !SLOT_MASK) + SLOTS as u64;
        if next > target {
            self.tick = target;
            return false;
        }
        self.tick = next;
        let far = next >> SLOT_BITS;
        if far & SLOT_MASK == 0 {
            let list = std::mem::replace(&mut self.beyond, NIL);
            self.relink(list);
        }
        let slot = (far & SLOT_MASK) as usize;
        let list = self.far.heads[slot];
        self.far.set(slot, NIL);
        self.relink(list);
        true
    }

    fn relink(&mut self, mut key: u32) {
        while key != NIL {
            let next = self.next[key as usize];
            self.link(key, self.due[key as usize]);
            key = next;
        }
    }

    #[inline]
    fn link(&mut self, key: u32, tick: u64) {
        let (level, slot) = match self.slot_of(tick) {
            Place::Near(slot) => (&mut self.near, slot),
            Place::Far(slot) => (&mut self.far, slot),
            Place::Beyond => {
                self.next[key as usize] = self.beyond;
                self.beyond = key;
                return;
            }
        };
        self.next[key as usize] = level.heads[slot];
        level.set(slot, key);
    }

    /// Where a key that is due in `tick` waits. Entering a rotation moves its keys down a level, so that this always holds.
    #[inline]
    fn slot_of(&self, tick: u64) -> Place {
        if tick >> SLOT_BITS == self.tick >> SLOT_BITS {
            Place::Near((tick & SLOT_MASK) as usize)
        } else if tick >> (2 * SLOT_BITS) == self.tick >> (2 * SLOT_BITS) {
            Place::Far(((tick >> SLOT_BITS) & SLOT_MASK) as usize)
        } else {
            Place::Beyond
        }
    }
}

/// The list a key waits in.
enum Place {
    Near(usize),
    Far(usize),
    Beyond,
}

impl Level {
    fn new() -> Self {
        Self { heads: vec![NIL; SLOTS].into_boxed_slice(), used: [0; SLOTS / 64] }
    }

    #[inline]
    fn set(&mut self, slot: usize, head: u32) {
        self.heads[slot] = head;
        let bit = 1 << (slot % 64);
        if head == NIL {
            self.used[slot / 64] &= !bit;
        } else {
            self.used[slot / 64] |= bit;
        }
    }

    #[inline]
    fn first_used_from(&self, slot: usize) -> Option<usize> {
        let mut word = slot / 64;
        let mut bits = self.used[word] & (u64::MAX << (slot % 64));
        while bits == 0 {
            word += 1;
            bits = *self.used.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

#[inline]
fn tick_of(time: Time) -> u64 {
    time.nanos() >> TICK_SHIFT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TICK: u64 = 1 << TICK_SHIFT;

    fn drain(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut out = [0; 7];
        let mut all = Vec::new();
        loop {
            let count = wheel.expire(Time::from_nanos(now), &mut out);
            if count == 0 {
                return all;
            }
            all.extend_from_slice(&out[..count]);
        }
    }

    #[test]
    fn a_key_comes_out_in_its_tick_and_not_before() {
        let mut wheel = Wheel::new(4, Time::ZERO);
        wheel.insert(3, Time::from_nanos(10 * TICK));
        assert!(drain(&mut wheel, 10 * TICK - 1).is_empty());
        assert_eq!(drain(&mut wheel, 10 * TICK), [3]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_time_in_the_past_is_due_at_once() {
        let mut wheel = Wheel::new(1, Time::from_nanos(1 << 40));
        wheel.insert(0, Time::ZERO);
        assert_eq!(drain(&mut wheel, 1 << 40), [0]);
    }

    #[test]
    fn a_key_hours_away_comes_out_in_time() {
        let mut wheel = Wheel::new(1, Time::ZERO);
        let due = 3 * 3600 * 1_000_000_000;
        wheel.insert(0, Time::from_nanos(due));
        let mut now = Time::ZERO;
        let mut out = [0; 1];
        let mut turns = 0;
        while wheel.expire(now, &mut out) == 0 {
            now = wheel.next_due().expect("one key waits");
            turns += 1;
            assert!(turns < 1_000_000);
        }
        assert_eq!(now.nanos(), due >> TICK_SHIFT << TICK_SHIFT);
    }

    #[test]
    fn an_idle_wheel_follows_the_clock() {
        let mut wheel = Wheel::new(1, Time::ZERO);
        assert!(drain(&mut wheel, 1 << 50).is_empty());
        wheel.insert(0, Time::from_nanos((1 << 50) + 5 * TICK));
        assert_eq!(wheel.next_due(), Some(Time::from_nanos((1 << 50) + 5 * TICK)));
    }

    proptest! {
        #[test]
        fn a_wheel_agrees_with_a_sorted_map(
            steps in prop::collection::vec((0u64..400_000_000_000, 0u64..100_000_000_000, 0u32..3), 1..120),
            start in 0u64..1 << 48,
        ) {
            let mut wheel = Wheel::new(512, Time::from_nanos(start));
            let mut oracle: BTreeMap<(u64, u32), ()> = BTreeMap::new();
            let mut now = start;
            let mut key = 0;
            for (after, step, copies) in steps {
                for copy in 0..=copies {
                    let due = now + after / (1 + u64::from(copy) * 1000);
                    wheel.insert(key, Time::from_nanos(due));
                    oracle.insert((due >> TICK_SHIFT, key), ());
                    key += 1;
                }
                let removed = key - 1 - copies / 2;
                wheel.remove(removed);
                wheel.remove(removed);
                oracle.retain(|&(_, key), ()| key != removed);
                now += step;
                let mut got = drain(&mut wheel, now);
                let rest = oracle.split_off(&((now >> TICK_SHIFT) + 1, 0));
                let mut want: Vec<u32> = oracle.into_keys().map(|(_, key)| key).collect();
                oracle = rest;
                got.sort_unstable();
                want.sort_unstable();
                prop_assert_eq!(got, want);
                prop_assert_eq!(wheel.len(), oracle.len());
                if let Some(next) = wheel.next_due() {
                    let first = oracle.keys().next().expect("both hold the same").0;
                    prop_assert!(next.nanos() >> TICK_SHIFT <= first);
                }
            }
        }
    }
}
