//! The two ends of a ring shared with the kernel: a plain data structure, tested without a socket.
//!
//! Cursors only ever grow, as u32, and wrap; an entry's slot is its cursor masked. Each end keeps its own cursor and a copy
//! of the other's, which it reads anew (acquire) only when the copy does not suffice, and publishes its own (release)
//! once a batch. The protocol is that of libxdp's `xsk.h` and the kernel's net/xdp/xsk_queue.h.
#![expect(unsafe_code, reason = "cursors and entries lie in memory shared with the kernel")]

use std::{
    fmt,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{mmap::Mapping, uapi::RingOffset};

/// What a ring's memory is, kept alive by the ends that use it.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its Drop, never read")]
enum Owner {
    Kernel(Mapping),
    Heap(Arc<testing::Heap>),
}

/// Where the parts of a ring are.
struct Shared<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    /// Number of entries, a power of two.
    size: u32,
    _owner: Owner,
}

// SAFETY: the cursors are atomics, and entries are touched only by the end whose turn it is; which thread that end
// lives on does not matter.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: Copy> Shared<T> {
    /// # Safety
    /// `mapping` must be a ring of `size` entries of type T, laid out as `offsets` says, mapped readable and writable.
    unsafe fn in_mapping(mapping: Mapping, offsets: &RingOffset, size: u32) -> Shared<T> {
        assert!(size.is_power_of_two(), "ring sizes are checked at configuration");
        let end = offsets.desc as usize + size as usize * size_of::<T>();
        assert!(end <= mapping.len(), "the mapping was sized by these offsets");
        let start = mapping.start();
        // SAFETY: the offsets lie within the mapping (the caller's promise; checked above for the last of them), and
        // the kernel aligns cursors and entries.
        let at = |offset: u64| unsafe { start.add(offset as usize) };
        Shared {
            producer: at(offsets.producer).cast(),
            consumer: at(offsets.consumer).cast(),
            flags: at(offsets.flags).cast(),
            entries: at(offsets.desc).cast(),
            size,
            _owner: Owner::Kernel(mapping),
        }
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: points into memory that `_owner` keeps mapped; only ever used as an atomic here.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }
    }

    #[inline]
    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.flags.as_ref() }
    }

    /// The slot of a cursor; any cursor has one.
    #[inline]
    fn slot(&self, cursor: u32) -> *mut T {
        // SAFETY: masked by a power of two, the index is below `size`, and there are `size` entries.
        unsafe { self.entries.add((cursor & (self.size - 1)) as usize).as_ptr() }
    }
}

/// The end that fills a ring: TX and fill rings.
pub struct Producer<T> {
    shared: Shared<T>,
    /// Next to write; what lies between this and the published cursor is not visible to the peer.
    head: u32,
    /// What the peer sees.
    published: u32,
    /// Copy of the peer's cursor.
    consumer: u32,
}

impl<T: Copy> Producer<T> {
    /// # Safety
    /// As [`Shared::in_mapping`]; and there must be no other producer of this ring.
    pub(super) unsafe fn in_mapping(mapping: Mapping, offsets: &RingOffset, size: u32) -> Producer<T> {
        // SAFETY: the caller's promise.
        Producer::new(unsafe { Shared::in_mapping(mapping, offsets, size) })
    }

    fn new(shared: Shared<T>) -> Producer<T> {
        let head = shared.producer().load(Ordering::Acquire);
        let consumer = shared.consumer().load(Ordering::Acquire);
        Producer { shared, head, published: head, consumer }
    }

    /// Number of entries.
    #[inline]
    #[must_use]
    pub fn size(&self) -> u32 {
        self.shared.size
    }

    /// How many entries can be pushed, by the last known state.
    #[inline]
    fn known_free(&self) -> u32 {
        // A peer's cursor that makes no sense (ahead of ours) reads as a full ring.
        self.shared.size.saturating_sub(self.head.wrapping_sub(self.consumer))
    }

    /// How many entries can be pushed now; reads the peer's cursor.
    #[inline]
    pub fn free(&mut self) -> u32 {
        self.consumer = self.shared.consumer().load(Ordering::Acquire);
        self.known_free()
    }

    /// Writes the next entry, not yet visible to the peer. False when the ring is full.
    #[inline]
    pub fn push(&mut self, entry: T) -> bool {
        if self.known_free() == 0 && self.free() == 0 {
            return false;
        }
        // SAFETY: the slot is valid, and the peer does not touch it: it is not between the consumer's cursor (acquired:
        // the peer is done reading) and the published one.
        unsafe { self.shared.slot(self.head).write(entry) };
        self.head = self.head.wrapping_add(1);
        true
    }

    /// Makes what was pushed visible to the peer; says how many entries that were.
    #[inline]
    pub fn submit(&mut self) -> u32 {
        let n = self.head.wrapping_sub(self.published);
        if n > 0 {
            self.published = self.head;
            // Release: the entries, and the frames they speak of, are written before the peer sees the cursor.
            self.shared.producer().store(self.head, Ordering::Release);
        }
        n
    }

    /// Pushed and not submitted.
    #[inline]
    #[must_use]
    pub fn unsubmitted(&self) -> u32 {
        self.head.wrapping_sub(self.published)
    }

    /// How many submitted entries the peer has not taken yet.
    #[inline]
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.published.wrapping_sub(self.shared.consumer().load(Ordering::Acquire))
    }

    /// Whether the peer asks to be woken (`XDP_RING_NEED_WAKEUP`, include/uapi/linux/if_xdp.h).
    ///
    /// The kernel may set the flag just after this has looked: ask again in every pass while something is outstanding.
    #[inline]
    #[must_use]
    pub fn needs_wakeup(&self) -> bool {
        self.shared.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("size", &self.shared.size).field("head", &self.head).finish_non_exhaustive()
    }
}

/// The end that empties a ring: the completion ring (and, in tests, the kernel's end of the others).
pub struct Consumer<T> {
    shared: Shared<T>,
    /// Next to read.
    tail: u32,
    /// What the peer sees.
    released: u32,
    /// Copy of the peer's cursor.
    producer: u32,
}

impl<T: Copy> Consumer<T> {
    /// # Safety
    /// As [`Shared::in_mapping`]; and there must be no other consumer of this ring.
    pub(super) unsafe fn in_mapping(mapping: Mapping, offsets: &RingOffset, size: u32) -> Consumer<T> {
        // SAFETY: the caller's promise.
        Consumer::new(unsafe { Shared::in_mapping(mapping, offsets, size) })
    }

    fn new(shared: Shared<T>) -> Consumer<T> {
        let tail = shared.consumer().load(Ordering::Acquire);
        let producer = shared.producer().load(Ordering::Acquire);
        Consumer { shared, tail, released: tail, producer }
    }

    /// Number of entries.
    #[inline]
    #[must_use]
    pub fn size(&self) -> u32 {
        self.shared.size
    }

    /// How many entries can be read now; reads the peer's cursor.
    #[inline]
    pub fn available(&mut self) -> u32 {
        self.producer = self.shared.producer().load(Ordering::Acquire);
        self.known_available()
    }

    /// By the last known state; never more than the ring holds, whatever the peer's cursor says.
    #[inline]
    fn known_available(&self) -> u32 {
        self.producer.wrapping_sub(self.tail).min(self.shared.size)
    }

    /// Reads the next entry. Its slot is the peer's again after [`Consumer::release`].
    #[inline]
    pub fn peek(&mut self) -> Option<T> {
        if self.known_available() == 0 && self.available() == 0 {
            return None;
        }
        // SAFETY: the slot is valid and lies before the producer's cursor (acquired: the peer is done writing); every
        // bit pattern the kernel writes is a T, since rings hold integers and structs of integers.
        let entry = unsafe { self.shared.slot(self.tail).read() };
        self.tail = self.tail.wrapping_add(1);
        Some(entry)
    }

    /// Gives the slots of all entries read back to the peer; says how many those were.
    #[inline]
    pub fn release(&mut self) -> u32 {
        let n = self.tail.wrapping_sub(self.released);
        if n > 0 {
            self.released = self.tail;
            // Release: our reads are done before the peer may overwrite.
            self.shared.consumer().store(self.tail, Ordering::Release);
        }
        n
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("size", &self.shared.size).field("tail", &self.tail).finish_non_exhaustive()
    }
}

pub mod testing {
    //! Ring pairs without a socket: both ends over two plain vectors, for tests and benchmarks.

    use std::{
        cell::UnsafeCell,
        ptr::NonNull,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use super::{Consumer, Owner, Producer, Shared};

    /// Cursors and entries (as words of 8 bytes) of a ring on the heap.
    pub(super) struct Heap {
        cursors: Vec<AtomicU32>,
        entries: Vec<UnsafeCell<u64>>,
    }

    impl std::fmt::Debug for Heap {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Heap").field("cursors", &self.cursors).finish_non_exhaustive()
        }
    }

    // SAFETY: the cells are only reached through a ring's two ends, whose cursors keep them apart.
    unsafe impl Sync for Heap {}
    // SAFETY: as above.
    unsafe impl Send for Heap {}

    /// What a [`pair`] can carry: entries of AF_XDP rings.
    ///
    /// # Safety
    /// Must be plain data without padding, a multiple of 8 bytes long, with an alignment of at most 8.
    pub unsafe trait Entry: Copy + Send {}
    // SAFETY: eight bytes.
    unsafe impl Entry for u64 {}
    // SAFETY: 16 bytes, integers only (asserted in uapi).
    unsafe impl Entry for crate::xsk::uapi::XdpDesc {}

    /// The peer's side of the flags word: what a kernel does to ask for a wake-up.
    #[derive(Clone, Debug)]
    pub struct Flags(Arc<Heap>);

    impl Flags {
        /// Sets or clears `XDP_RING_NEED_WAKEUP`.
        pub fn set_need_wakeup(&self, wanted: bool) {
            self.0.cursors[2].store(if wanted { libc::XDP_RING_NEED_WAKEUP } else { 0 }, Ordering::Relaxed);
        }
    }

    /// Both ends of a ring of `size` entries whose cursors start at `start`, and its flags.
    ///
    /// # Panics
    /// When `size` is not a power of two.
    #[must_use]
    pub fn pair<T: Entry>(size: u32, start: u32) -> (Producer<T>, Consumer<T>, Flags) {
        assert!(size.is_power_of_two(), "a ring's size is a power of two, not {size}");
        let words = size as usize * size_of::<T>() / size_of::<u64>();
        let heap = Arc::new(Heap {
            cursors: [start, start, 0].map(AtomicU32::new).into(),
            entries: (0..words).map(|_| UnsafeCell::new(0)).collect(),
        });
        let shared = || Shared {
            producer: NonNull::from(&heap.cursors[0]),
            consumer: NonNull::from(&heap.cursors[1]),
            flags: NonNull::from(&heap.cursors[2]),
            entries: NonNull::from(&heap.entries[..]).cast(),
            size,
            _owner: Owner::Heap(Arc::clone(&heap)),
        };
        (Producer::new(shared()), Consumer::new(shared()), Flags(Arc::clone(&heap)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::xsk::uapi::XdpDesc;

    #[test]
    fn nothing_is_visible_before_submit_or_reusable_before_release() {
        let (mut producer, mut consumer, _) = testing::pair::<u64>(2, 0);
        assert!(producer.push(1) && producer.push(2) && !producer.push(3));
        assert_eq!((consumer.peek(), producer.unsubmitted()), (None, 2));
        assert_eq!((producer.submit(), producer.submit(), producer.pending()), (2, 0, 2));
        assert_eq!((consumer.peek(), producer.free()), (Some(1), 0));
        assert_eq!((consumer.release(), producer.free(), producer.pending()), (1, 1, 1));
        assert!(producer.push(3));
        assert_eq!((producer.submit(), consumer.peek(), consumer.peek(), consumer.peek()), (1, Some(2), Some(3), None));
    }

    #[test]
    fn the_wake_up_flag_is_seen() {
        let (producer, _consumer, flags) = testing::pair::<u64>(2, 0);
        assert!(!producer.needs_wakeup());
        flags.set_need_wakeup(true);
        assert!(producer.needs_wakeup());
    }

    #[test]
    fn a_descriptor_ring_keeps_its_entries_apart_while_cursors_wrap() {
        let (mut producer, mut consumer, _) = testing::pair::<XdpDesc>(4, u32::MAX - 1);
        for round in 0..10u64 {
            for i in 0..4 {
                assert!(producer.push(XdpDesc { addr: round * 4 + i, len: i as u32, options: 0 }));
            }
            assert_eq!((producer.free(), producer.submit(), producer.pending()), (0, 4, 4));
            for i in 0..4 {
                let entry = XdpDesc { addr: round * 4 + i, len: i as u32, options: 0 };
                assert_eq!(consumer.peek(), Some(entry));
            }
            assert_eq!((consumer.peek(), consumer.release(), producer.free()), (None, 4, 4));
        }
    }

    #[test]
    fn a_peer_cursor_that_makes_no_sense_reads_as_full_or_at_most_one_ring() {
        let (mut producer, mut consumer, _) = testing::pair::<u64>(4, 0);
        producer.shared.consumer().store(1000, Ordering::Release);
        assert_eq!((producer.free(), producer.push(1)), (0, false));
        consumer.shared.producer().store(5000, Ordering::Release);
        assert_eq!(consumer.available(), 4);
    }

    #[test]
    fn two_threads_pass_a_million_entries_in_order() {
        const N: u64 = 1_000_000;
        let (mut producer, mut consumer, _) = testing::pair::<u64>(64, u32::MAX - 100_000);
        let writer = std::thread::spawn(move || {
            let mut next = 0;
            while next < N {
                while next < N && producer.push(next) {
                    next += 1;
                }
                if producer.submit() == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < N {
            while let Some(entry) = consumer.peek() {
                assert_eq!(entry, expected);
                expected += 1;
            }
            if consumer.release() == 0 {
                std::thread::yield_now();
            }
        }
        writer.join().unwrap();
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Submit,
        Peek(u8),
        Release,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..20u8).prop_map(Step::Push),
            Just(Step::Submit),
            (0..20u8).prop_map(Step::Peek),
            Just(Step::Release)
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// The oracle: three queues (pushed, visible, read but not released) of unlimited length.
        #[test]
        fn a_ring_behaves_like_its_oracle(order in 0..6u32, start in prop_oneof![Just(0), u32::MAX - 200..=u32::MAX, any::<u32>()], steps in steps()) {
            let size = 1 << order;
            let (mut producer, mut consumer, _) = testing::pair::<u64>(size, start);
            let (mut pushed, mut visible, mut read) = (VecDeque::new(), VecDeque::new(), 0usize);
            let mut next = 0u64;
            for step in steps {
                match step {
                    Step::Push(n) => for _ in 0..n {
                        let fits = pushed.len() + visible.len() + read < size as usize;
                        prop_assert_eq!(producer.push(next), fits);
                        if fits {
                            pushed.push_back(next);
                            next += 1;
                        }
                    },
                    Step::Submit => {
                        prop_assert_eq!(producer.submit() as usize, pushed.len());
                        visible.append(&mut pushed);
                    }
                    Step::Peek(n) => for _ in 0..n {
                        let entry = consumer.peek();
                        prop_assert_eq!(entry, visible.pop_front());
                        read += usize::from(entry.is_some());
                    },
                    Step::Release => {
                        prop_assert_eq!(consumer.release() as usize, read);
                        read = 0;
                    }
                }
                prop_assert_eq!(producer.free() as usize, size as usize - pushed.len() - visible.len() - read);
                prop_assert_eq!(producer.unsubmitted() as usize, pushed.len());
                prop_assert_eq!(consumer.available() as usize, visible.len());
                prop_assert_eq!(producer.pending() as usize, visible.len() + read);
            }
        }
    }
}
