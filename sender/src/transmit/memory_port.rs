//! A [`Port`] that sends nothing: a ring in memory, for tests and benchmarks of the engine without kernel and root.
//!
//! Posted descriptors are completed when submitted, or (after [`MemoryPort::hold`]) when the test says so. With
//! [`MemoryPort::record`] the bytes of every submitted packet are kept, in order.

use std::collections::VecDeque;

use super::port::{Desc, FRAME_SIZE, Port, PortMode, PortStats, RebuildError};

/// A port whose wire is a `Vec`.
#[derive(Debug)]
pub struct MemoryPort {
    memory: Vec<u8>,
    ring: usize,
    posted: VecDeque<Desc>,
    in_flight: VecDeque<Desc>,
    done: VecDeque<u64>,
    hold: bool,
    record: bool,
    sent: Vec<Vec<u8>>,
    stats: PortStats,
}

impl MemoryPort {
    /// A port with `frames` frames, of which at most `ring` can be outstanding.
    #[must_use]
    pub fn new(frames: usize, ring: usize) -> MemoryPort {
        MemoryPort {
            memory: vec![0; frames * FRAME_SIZE],
            ring,
            posted: VecDeque::with_capacity(ring),
            in_flight: VecDeque::with_capacity(ring),
            done: VecDeque::with_capacity(ring),
            hold: false,
            record: false,
            sent: Vec::new(),
            stats: PortStats { mode: PortMode::Memory, ..PortStats::default() },
        }
    }

    /// From now on frames are completed only by [`MemoryPort::complete`] (`true`), or at submit (`false`).
    pub fn hold(&mut self, hold: bool) {
        self.hold = hold;
    }

    /// From now on the bytes of every submitted packet are kept for [`MemoryPort::take_sent`].
    pub fn record(&mut self, record: bool) {
        self.record = record;
    }

    /// What was submitted since the last call, as it stood in memory at submit.
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }

    /// Completes up to `n` submitted frames, oldest first; says how many.
    pub fn complete(&mut self, n: usize) -> usize {
        let n = n.min(self.in_flight.len());
        self.done.extend(self.in_flight.drain(..n).map(Desc::frame));
        self.stats.taken += n as u64;
        n
    }

    /// Submitted and not completed, oldest first.
    pub fn in_flight(&self) -> impl Iterator<Item = Desc> + '_ {
        self.in_flight.iter().copied()
    }

    #[cold]
    fn refuse(&mut self, desc: Desc) {
        debug_assert!(false, "descriptor beyond room or out of its frame: {desc:?}");
        self.stats.refused += 1;
    }

    #[cold]
    fn keep(&mut self) {
        for desc in &self.posted {
            let start = desc.addr as usize;
            self.sent.push(self.memory[start..start + desc.len as usize].to_vec());
        }
    }
}

impl Port for MemoryPort {
    #[inline]
    fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    #[inline]
    fn room(&mut self) -> usize {
        let room = self.ring - self.outstanding();
        self.stats.ring_full += u64::from(room == 0);
        room
    }

    #[inline]
    fn post(&mut self, desc: Desc) {
        if self.outstanding() == self.ring || !desc.is_valid(self.memory.len()) {
            return self.refuse(desc);
        }
        self.posted.push_back(desc);
    }

    #[inline]
    fn submit(&mut self) {
        if self.record {
            self.keep();
        }
        self.stats.submitted += self.posted.len() as u64;
        if self.hold {
            self.in_flight.extend(self.posted.drain(..));
        } else {
            self.stats.taken += self.posted.len() as u64;
            self.done.extend(self.posted.drain(..).map(Desc::frame));
        }
    }

    #[inline]
    fn reap(&mut self, done: &mut [u64]) -> usize {
        let n = done.len().min(self.done.len());
        for (slot, frame) in done.iter_mut().zip(self.done.drain(..n)) {
            *slot = frame;
        }
        self.stats.completed += n as u64;
        n
    }

    #[inline]
    fn outstanding(&self) -> usize {
        self.posted.len() + self.in_flight.len() + self.done.len()
    }

    fn rebuild(&mut self) -> Result<(), RebuildError> {
        self.stats.dropped += (self.posted.len() + self.in_flight.len()) as u64;
        self.done.extend(self.in_flight.drain(..).chain(self.posted.drain(..)).map(Desc::frame));
        self.stats.rebuilds += 1;
        Ok(())
    }

    fn stats(&self) -> PortStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_once_and_aligned() {
        let mut port = MemoryPort::new(4, 2);
        port.record(true);
        assert_eq!(port.room(), 2);
        port.memory()[2048 + 58..2048 + 62].copy_from_slice(b"abcd");
        port.post(Desc { addr: 2048 + 58, len: 4 });
        let mut done = [0; 4];
        assert_eq!((port.outstanding(), port.reap(&mut done)), (1, 0));
        port.submit();
        assert_eq!(port.reap(&mut done), 1);
        assert_eq!((done[0], port.outstanding(), port.reap(&mut done)), (2048, 0, 0));
        assert_eq!(port.take_sent(), vec![b"abcd".to_vec()]);
    }

    #[test]
    fn held_frames_come_back_when_the_test_says_so_or_by_rebuild() {
        let mut port = MemoryPort::new(4, 4);
        port.hold(true);
        for frame in 0..3 {
            port.post(Desc { addr: frame * 2048, len: 60 });
        }
        port.submit();
        port.post(Desc { addr: 3 * 2048, len: 60 });
        assert_eq!((port.room(), port.in_flight().count()), (0, 3));
        let mut done = [0; 8];
        assert_eq!((port.complete(1), port.reap(&mut done)), (1, 1));
        assert!(port.rebuild().is_ok());
        assert_eq!(port.reap(&mut done), 3);
        assert_eq!(&done[..3], &[2048, 4096, 6144]);
        assert_eq!((port.stats().dropped, port.stats().ring_full), (3, 1));
    }
}
