//! A port that breaks the one rule of the frame store, to show that the wire tells: it hands frames back as soon as the
//! kernel has taken their descriptors, not when it has sent them. The engine above then writes into frames in flight.

use std::collections::VecDeque;

use sender::{
    transmit::{Desc, FRAME_SIZE, KickErrors, Port, PortMode, PortStats, port::RebuildError},
    xsk::socket::{KickFailures, Socket},
};

/// A socket's port without patience.
pub(crate) struct HastyPort {
    socket: Socket,
    posted: VecDeque<u64>,
    stats: PortStats,
}

struct Uncounted;

impl KickFailures for Uncounted {
    fn count(&mut self, _: i32) {}
}

impl HastyPort {
    pub(crate) fn new(socket: Socket) -> HastyPort {
        HastyPort { socket, posted: VecDeque::new(), stats: PortStats::default() }
    }
}

impl Port for HastyPort {
    fn memory(&mut self) -> &mut [u8] {
        self.socket.umem().tx_area()
    }

    fn room(&mut self) -> usize {
        self.socket.room() as usize
    }

    fn post(&mut self, desc: Desc) {
        if self.socket.push(desc.addr, desc.len) {
            self.posted.push_back(desc.frame());
        } else {
            self.stats.refused += 1;
        }
    }

    fn submit(&mut self) {
        self.stats.submitted += u64::from(self.socket.submit(&mut Uncounted));
    }

    fn reap(&mut self, done: &mut [u64]) -> usize {
        let mut completions = [0; 64];
        while self.socket.reap(&mut completions) == completions.len() {}
        // Here it is: taken from the TX ring is not sent.
        let taken = self.posted.len().saturating_sub(self.socket.pending() as usize).min(done.len());
        for (slot, frame) in done.iter_mut().zip(self.posted.drain(..taken)) {
            *slot = frame & !(FRAME_SIZE as u64 - 1);
        }
        self.stats.completed += taken as u64;
        taken
    }

    fn outstanding(&self) -> usize {
        self.posted.len()
    }

    fn rebuild(&mut self) -> Result<(), RebuildError> {
        Ok(())
    }

    fn stats(&self) -> PortStats {
        let mode = if self.socket.zero_copy() == Some(true) { PortMode::ZeroCopy } else { PortMode::Copy };
        PortStats { mode, kick_errors: KickErrors::default(), ..self.stats }
    }
}
