//! A [`Port`] over an AF_XDP socket.
//!
//! Descriptor addresses are addresses of the umem: the engine's frames come first in it, the fill ring's behind them.

use super::{
    frame_set::FrameSet,
    port::{Desc, FRAME_SIZE, KickErrors, Port, PortMode, PortStats, RebuildError},
};
use crate::xsk::{
    XskError,
    socket::{KickFailures, Socket, SocketConfig},
    umem::{self, Umem, UmemConfig},
};

const _: () = assert!(FRAME_SIZE == umem::FRAME_SIZE);

/// A port whose frames leave by one queue of a NIC, past the kernel's network stack.
#[derive(Debug)]
pub struct AfXdpPort {
    socket: Socket,
    in_flight: FrameSet,
    /// Frames that were outstanding when the socket was rebuilt, still to be handed back.
    orphans: Vec<u64>,
    counters: PortStats,
}

impl AfXdpPort {
    /// Maps packet memory and binds a socket. Call it on the thread that will use it, pinned, so that the memory comes
    /// from that thread's NUMA node.
    ///
    /// # Errors
    /// What failed, where, and what to do about it; nothing is left behind.
    pub fn open(config: SocketConfig, memory: UmemConfig) -> Result<AfXdpPort, XskError> {
        let mut socket = Socket::open(config, Umem::new(memory)?)?;
        let frames = socket.umem().tx_len() / FRAME_SIZE;
        Ok(AfXdpPort { socket, in_flight: FrameSet::new(frames), orphans: Vec::new(), counters: PortStats::default() })
    }

    /// The socket, for what the start line and metrics say of it.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    #[cold]
    #[inline(never)]
    fn refuse(&mut self, desc: Desc) {
        debug_assert!(false, "beyond room, out of its frame, or still in flight: {desc:?}");
        self.counters.refused += 1;
    }

    /// Adds what the kernel counted for the present socket.
    fn add_kernel_counters(&self, stats: &mut PortStats) {
        if let Some(kernel) = self.socket.statistics() {
            stats.invalid_descs += kernel.tx_invalid_descs;
            stats.tx_ring_empty += kernel.tx_ring_empty_descs;
        }
    }

    /// Hands frames of a former socket back.
    #[cold]
    #[inline(never)]
    fn reap_orphans(&mut self, done: &mut [u64]) -> usize {
        let n = done.len().min(self.orphans.len());
        for (slot, frame) in done.iter_mut().zip(self.orphans.drain(self.orphans.len() - n..)) {
            *slot = frame;
        }
        self.counters.completed += n as u64;
        n
    }
}

impl Port for AfXdpPort {
    #[inline]
    fn memory(&mut self) -> &mut [u8] {
        self.socket.umem().tx_area()
    }

    #[inline]
    fn room(&mut self) -> usize {
        let room = self.socket.room() as usize;
        self.counters.ring_full += u64::from(room == 0);
        room
    }

    #[inline]
    fn post(&mut self, desc: Desc) {
        let frame = desc.frame();
        if self.in_flight.contains(frame) || !self.socket.push(desc.addr, desc.len) {
            return self.refuse(desc);
        }
        self.in_flight.insert(frame);
    }

    #[inline]
    fn submit(&mut self) {
        self.counters.submitted += u64::from(self.socket.submit(&mut self.counters.kick_errors));
    }

    #[inline]
    fn reap(&mut self, done: &mut [u64]) -> usize {
        if !self.orphans.is_empty() {
            return self.reap_orphans(done);
        }
        let n = self.socket.reap(done);
        for addr in &mut done[..n] {
            *addr &= !(FRAME_SIZE as u64 - 1);
            self.in_flight.remove(*addr);
        }
        self.counters.completed += n as u64;
        n
    }

    #[inline]
    fn outstanding(&self) -> usize {
        self.socket.outstanding() as usize + self.orphans.len()
    }

    fn rebuild(&mut self) -> Result<(), RebuildError> {
        let mut counters = self.counters;
        self.add_kernel_counters(&mut counters);
        self.counters = counters;
        let reopened = self.socket.reopen();
        let before = self.orphans.len();
        self.orphans.extend(self.in_flight.drain());
        self.counters.dropped += (self.orphans.len() - before) as u64;
        reopened.map_err(|error| RebuildError { back_end: "AF_XDP", cause: Box::new(error) })?;
        self.counters.rebuilds += 1;
        Ok(())
    }

    fn stats(&self) -> PortStats {
        let mut stats = PortStats {
            mode: if self.socket.zero_copy() == Some(true) { PortMode::ZeroCopy } else { PortMode::Copy },
            taken: self.counters.submitted - u64::from(self.socket.pending()),
            kicks: self.socket.kicks(),
            ..self.counters
        };
        self.add_kernel_counters(&mut stats);
        stats
    }
}

impl KickFailures for KickErrors {
    #[cold]
    fn count(&mut self, errno: i32) {
        KickErrors::count(self, errno);
    }
}
