//! A [`Port`] that sends nothing: the rings of an AF_XDP socket in memory, for tests and benchmarks of the engine without
//! kernel and root.
//!
//! Submitted packets are completed at once, or (after [`MemoryPort::hold`]) when the test says so. With
//! [`MemoryPort::record`] the bytes of every submitted packet are kept, in order.

use std::collections::VecDeque;

use super::{
    frame_set::FrameSet,
    port::{Desc, FRAME_SIZE, Port, PortMode, PortStats, RebuildError},
};
use crate::xsk::{
    XdpDesc,
    mmap::{HugePages, Mapping},
    ring::{Consumer, Producer, testing},
};

/// A port whose rings end in memory.
#[derive(Debug)]
pub struct MemoryPort {
    memory: Mapping,
    ring: usize,
    outstanding: usize,
    in_flight: FrameSet,
    tx: Producer<XdpDesc>,
    completion: Consumer<u64>,
    kernel: Kernel,
    /// Rebuilds fail, as with an interface that is down.
    refuse: bool,
    /// There is no socket since a rebuild that failed.
    closed: bool,
    stats: PortStats,
}

/// The other end of the rings.
#[derive(Debug)]
struct Kernel {
    tx: Consumer<XdpDesc>,
    completion: Producer<u64>,
    /// Taken and not completed.
    held: VecDeque<Desc>,
    hold: bool,
    record: bool,
    sent: Vec<Vec<u8>>,
}

impl MemoryPort {
    /// A port with `frames` frames, of which at most `ring` can be outstanding.
    ///
    /// # Panics
    /// When there is not so much memory.
    #[must_use]
    pub fn new(frames: usize, ring: usize) -> MemoryPort {
        let memory = Mapping::anonymous(frames * FRAME_SIZE, HugePages::Auto);
        let size = u32::try_from(ring.next_power_of_two()).expect("a ring's size is a u32");
        let (tx, kernel_tx, _) = testing::pair(size, 0);
        let (kernel_completion, completion, _) = testing::pair(size, 0);
        MemoryPort {
            memory: memory.unwrap_or_else(|error| panic!("a port in memory for tests: {error}")),
            ring,
            outstanding: 0,
            in_flight: FrameSet::new(frames),
            tx,
            completion,
            kernel: Kernel {
                tx: kernel_tx,
                completion: kernel_completion,
                held: VecDeque::with_capacity(ring),
                hold: false,
                record: false,
                sent: Vec::new(),
            },
            refuse: false,
            closed: false,
            stats: PortStats { mode: PortMode::Memory, ..PortStats::default() },
        }
    }

    /// From now on what is submitted is completed only by [`MemoryPort::complete`] (`true`), or at once (`false`; what was
    /// held before stays held).
    pub fn hold(&mut self, hold: bool) {
        self.kernel.hold = hold;
    }

    /// From now on rebuilds fail (`true`) and leave the port without a socket, or work again.
    pub fn refuse_rebuilds(&mut self, refuse: bool) {
        self.refuse = refuse;
    }

    /// From now on the bytes of every submitted packet are kept for [`MemoryPort::take_sent`].
    pub fn record(&mut self, record: bool) {
        self.kernel.record = record;
    }

    /// What was submitted since the last call, as it stood in memory at submit.
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.kernel.sent)
    }

    /// Completes up to `n` submitted frames, oldest first; says how many.
    pub fn complete(&mut self, n: usize) -> usize {
        self.kernel.complete(n)
    }

    /// Submitted and not completed, oldest first.
    pub fn in_flight(&self) -> impl Iterator<Item = Desc> + '_ {
        self.kernel.held.iter().copied()
    }

    #[cold]
    #[inline(never)]
    fn refuse(&mut self, desc: Desc) {
        debug_assert!(false, "beyond room, out of its frame, or still in flight: {desc:?}");
        self.stats.refused += 1;
    }
}

impl Kernel {
    /// Takes what is in the TX ring.
    #[inline]
    fn run(&mut self, memory: &[u8]) -> u64 {
        while let Some(XdpDesc { addr, len, .. }) = self.tx.peek() {
            if self.record {
                self.sent.push(memory[addr as usize..addr as usize + len as usize].to_vec());
            }
            if self.hold {
                self.held.push_back(Desc { addr, len });
            } else {
                self.completion.push(addr);
            }
        }
        self.completion.submit();
        u64::from(self.tx.release())
    }

    fn complete(&mut self, n: usize) -> usize {
        let n = n.min(self.held.len());
        for desc in self.held.drain(..n) {
            self.completion.push(desc.addr);
        }
        self.completion.submit();
        n
    }
}

impl Port for MemoryPort {
    #[inline]
    fn memory(&mut self) -> &mut [u8] {
        self.memory.bytes_mut()
    }

    #[inline]
    fn room(&mut self) -> usize {
        let room = if self.closed { 0 } else { self.ring - self.outstanding };
        self.stats.ring_full += u64::from(room == 0);
        room
    }

    #[inline]
    fn post(&mut self, desc: Desc) {
        let Desc { addr, len } = desc;
        let good = self.outstanding < self.ring
            && desc.is_valid(self.memory.len())
            && !self.in_flight.contains(desc.frame())
            && self.tx.push(XdpDesc { addr, len, options: 0 });
        if !good {
            return self.refuse(desc);
        }
        self.in_flight.insert(desc.frame());
        self.outstanding += 1;
    }

    #[inline]
    fn submit(&mut self) {
        self.stats.submitted += u64::from(self.tx.submit());
        self.stats.taken += self.kernel.run(self.memory.bytes_mut());
    }

    #[inline]
    fn reap(&mut self, done: &mut [u64]) -> usize {
        let mut n = 0;
        for slot in done {
            let Some(addr) = self.completion.peek() else { break };
            *slot = Desc { addr, len: 0 }.frame();
            self.in_flight.remove(*slot);
            n += 1;
        }
        self.completion.release();
        self.outstanding -= n;
        self.stats.completed += n as u64;
        n
    }

    #[inline]
    fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn rebuild(&mut self) -> Result<(), RebuildError> {
        self.stats.submitted += u64::from(self.tx.submit());
        let hold = std::mem::replace(&mut self.kernel.hold, true);
        let record = std::mem::replace(&mut self.kernel.record, false);
        self.stats.taken += self.kernel.run(&[]);
        self.stats.dropped += self.kernel.complete(usize::MAX) as u64;
        (self.kernel.hold, self.kernel.record) = (hold, record);
        self.closed = self.refuse;
        if self.refuse {
            return Err(RebuildError { back_end: "memory", cause: "the test refuses it".into() });
        }
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
        assert_eq!((port.stats().dropped, port.stats().ring_full, port.outstanding()), (3, 1, 0));
    }

    #[test]
    fn completions_may_come_in_another_order_than_posts() {
        let mut port = MemoryPort::new(8, 8);
        for (frame, hold) in [(0, true), (1, false)] {
            port.hold(hold);
            port.post(Desc { addr: frame * 2048, len: 60 });
            port.submit();
        }
        let mut done = [0; 8];
        assert_eq!((port.reap(&mut done), done[0]), (1, 2048));
        assert_eq!((port.complete(8), port.reap(&mut done), done[0], port.outstanding()), (1, 1, 0, 0));
    }

    #[test]
    #[should_panic(expected = "still in flight")]
    fn a_frame_that_is_still_in_flight_is_not_posted_again() {
        let mut port = MemoryPort::new(4, 4);
        port.post(Desc { addr: 0, len: 60 });
        port.post(Desc { addr: 100, len: 60 });
    }

    #[test]
    #[should_panic(expected = "beyond room")]
    fn no_more_is_posted_than_there_is_room_for() {
        let mut port = MemoryPort::new(4, 3);
        for frame in 0..4 {
            port.post(Desc { addr: frame * 2048, len: 60 });
        }
    }
}
