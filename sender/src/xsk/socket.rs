//! One AF_XDP socket for sending: its packet memory, its rings, and when to wake the kernel.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use super::{
    bind::{self, Link},
    error::XskError,
    syscall,
    uapi::{Statistics, TX_BATCH_SIZE, XdpDesc},
    umem::Umem,
};

/// How long a socket that is dropped waits for what it has sent to be done.
const DRAIN_LIMIT: Duration = Duration::from_millis(200);

/// Which way of sending is wanted. A demand, not a hint: what cannot be had is an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Zero-copy or an error.
    ZeroCopy,
    /// Copy, even where zero-copy could be had.
    Copy,
    /// Zero-copy where the driver has it, else copy.
    #[default]
    Auto,
}

/// Where a socket binds and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketConfig {
    /// Name of the interface, in the calling thread's network namespace.
    pub interface: String,
    /// Its queue.
    pub queue: u32,
    /// Entries of the TX ring, a power of two; the completion ring has twice as many.
    pub ring: u32,
    /// Zero-copy, copy or either.
    pub mode: Mode,
    /// Whether the kernel may ask to be woken instead of being woken every time. True except for drivers with a bug there.
    pub need_wakeup: bool,
    /// Copy mode: how many packets one call may send (Linux 6.18; older kernels send 32). `None`: the kernel's default.
    pub copy_budget: Option<u32>,
}

impl Default for SocketConfig {
    fn default() -> SocketConfig {
        SocketConfig {
            interface: String::new(),
            queue: 0,
            ring: 2048,
            mode: Mode::Auto,
            need_wakeup: true,
            copy_budget: Some(u32::MAX),
        }
    }
}

impl SocketConfig {
    pub(super) fn completion_size(&self) -> u32 {
        self.ring * 2
    }

    fn check(&self) -> Result<(), XskError> {
        let (ring, remedy) = (self.ring, "a power of two from 32 to 65536, 2048 by default (transmit.ring)");
        if !ring.is_power_of_two() || !(32..=65536).contains(&ring) {
            return Err(XskError::Config { what: "ring", value: ring.to_string(), remedy });
        }
        Ok(())
    }
}

/// Failures of kicks go here, by errno. The caller counts; a kick is never an error.
pub trait KickFailures {
    /// A `sendto` failed with this errno.
    fn count(&mut self, errno: i32);
}

/// A bound socket with its packet memory.
///
/// Dropped in this order: what was submitted is waited for (bounded), the socket closed, the rings unmapped, the memory
/// unmapped.
#[derive(Debug)]
pub struct Socket {
    /// `None` after a [`Socket::reopen`] that failed.
    link: Option<Link>,
    umem: Umem,
    config: SocketConfig,
    /// Pushed and not reaped.
    outstanding: u32,
    /// Wake-ups since the socket was made, over all reopenings.
    kicks: u64,
}

impl Socket {
    /// Opens and binds a socket over `umem`.
    ///
    /// # Errors
    /// What failed, on which interface and queue, and what to do. EBUSY is tried again for two seconds.
    pub fn open(config: SocketConfig, umem: Umem) -> Result<Socket, XskError> {
        config.check()?;
        let link = bind::open(&config, &umem)?;
        Ok(Socket { link: Some(link), umem, config, outstanding: 0, kicks: 0 })
    }

    /// A new socket over the same memory. Nothing is outstanding after it, whatever the old socket held.
    ///
    /// # Errors
    /// As [`Socket::open`]; there is then no socket, [`Socket::room`] is 0, and this may be called again.
    pub fn reopen(&mut self) -> Result<(), XskError> {
        self.link = None;
        self.outstanding = 0;
        self.link = Some(bind::open(&self.config, &self.umem)?);
        Ok(())
    }

    /// The packet memory.
    #[inline]
    pub fn umem(&mut self) -> &mut Umem {
        &mut self.umem
    }

    /// Where it is bound.
    #[must_use]
    pub fn config(&self) -> &SocketConfig {
        &self.config
    }

    /// Whether the kernel sends without copying, as it says itself; `None` without a socket.
    #[must_use]
    pub fn zero_copy(&self) -> Option<bool> {
        self.link.as_ref().map(|link| link.zero_copy)
    }

    /// Pushed and not reaped.
    #[inline]
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Submitted and not yet taken from the TX ring by the kernel.
    #[inline]
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.link.as_ref().map_or(0, |link| link.tx.pending())
    }

    /// Wake-ups since the socket was made.
    #[must_use]
    pub fn kicks(&self) -> u64 {
        self.kicks
    }

    /// How many descriptors can be pushed now, such that all of them can be completed.
    #[inline]
    pub fn room(&mut self) -> u32 {
        let Some(link) = &mut self.link else { return 0 };
        let completable = link.completion.size().saturating_sub(self.outstanding);
        link.tx.free().min(completable)
    }

    /// Writes a descriptor, not yet visible to the kernel. False when there is no room, or when the packet is not within
    /// one frame of the TX area: the kernel would call such a descriptor invalid, and old ones lose the frame.
    #[inline]
    pub fn push(&mut self, addr: u64, len: u32) -> bool {
        use super::umem::FRAME_SIZE;
        let offset = addr as usize & (FRAME_SIZE - 1);
        let within = len > 0 && offset + len as usize <= FRAME_SIZE && (addr as usize) < self.umem.tx_len();
        let Some(link) = &mut self.link else { return false };
        let pushed =
            within && self.outstanding < link.completion.size() && link.tx.push(XdpDesc { addr, len, options: 0 });
        self.outstanding += u32::from(pushed);
        pushed
    }

    /// Publishes what was pushed, and wakes the kernel while it holds anything and wants that; says how many were published.
    ///
    /// Belongs to every pass of a loop, also when nothing was pushed: the kernel may ask for a wake-up just after the
    /// last look, and in copy mode it only sends while it is called.
    #[inline]
    pub fn submit(&mut self, failures: &mut impl KickFailures) -> u32 {
        let Some(link) = &mut self.link else { return 0 };
        let published = link.tx.submit();
        if self.outstanding > 0 {
            if !link.zero_copy {
                self.kick_copy(failures);
            } else if !self.config.need_wakeup || link.tx.needs_wakeup() {
                self.kick_once(failures);
            }
        }
        published
    }

    /// One wake-up.
    #[inline]
    fn kick_once(&mut self, failures: &mut impl KickFailures) {
        if let Some(link) = &self.link {
            self.kicks += 1;
            if let Err(errno) = syscall::kick(&link.fd) {
                kick_failed(failures, errno);
            }
        }
    }

    /// Copy mode: one call sends a batch (32 on older kernels) and says EAGAIN when more is left. Called again while the
    /// ring gets shorter, at most often enough to empty it.
    ///
    /// A kernel that has taken everything needs no call: completions come by themselves when the packets are freed.
    #[inline]
    fn kick_copy(&mut self, failures: &mut impl KickFailures) {
        let mut left = self.pending();
        let mut calls = left.div_ceil(TX_BATCH_SIZE) + 1;
        while left > 0 && calls > 0 {
            self.kick_once(failures);
            let now = self.pending();
            if now == left {
                return;
            }
            left = now;
            calls -= 1;
        }
    }

    /// Writes the addresses of completed packets to `done`, as they were pushed, and says how many.
    #[inline]
    pub fn reap(&mut self, done: &mut [u64]) -> usize {
        let Some(link) = &mut self.link else { return 0 };
        let mut n = 0;
        for slot in done {
            let Some(addr) = link.completion.peek() else { break };
            *slot = addr;
            n += 1;
        }
        link.completion.release();
        self.outstanding -= (n as u32).min(self.outstanding);
        n
    }

    /// The kernel's counters of this socket; a reopened socket starts anew.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        let link = self.link.as_ref()?;
        syscall::get_option(&link.fd, libc::SOL_XDP, libc::XDP_STATISTICS).ok()
    }

    /// Waits until nothing is outstanding, at most `limit`; says whether that was reached.
    pub fn drain(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut done = [0; 64];
        while self.link.is_some() && self.outstanding > 0 {
            self.submit(&mut Ignore);
            if self.reap(&mut done) == 0 {
                if Instant::now() >= deadline {
                    return false;
                }
                thread::sleep(Duration::from_micros(100));
            }
        }
        self.outstanding == 0
    }
}

#[cold]
#[inline(never)]
fn kick_failed(failures: &mut impl KickFailures, errno: i32) {
    failures.count(errno);
}

/// Counts nothing.
struct Ignore;

impl KickFailures for Ignore {
    fn count(&mut self, _: i32) {}
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.drain(DRAIN_LIMIT);
    }
}

impl fmt::Display for Socket {
    /// For the start line: where, and what it turned out to be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.zero_copy() {
            Some(true) => "zero-copy",
            Some(false) => "copy",
            None => "closed",
        };
        let SocketConfig { interface, queue, ring, .. } = &self.config;
        write!(f, "{interface} queue {queue}: {mode}, ring {ring}, {}", self.umem.pages())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xsk::{mmap::HugePages, umem::UmemConfig};

    fn umem() -> Umem {
        Umem::new(UmemConfig { tx_frames: 4, rx_frames: 4, huge_pages: HugePages::Off }).expect("eight frames")
    }

    #[test]
    fn a_missing_interface_is_named() {
        let config = SocketConfig { interface: "nowhere0".into(), ..SocketConfig::default() };
        let error = Socket::open(config, umem()).expect_err("there is none");
        assert!(matches!(error, XskError::NoInterface { .. }) && error.to_string().contains("nowhere0"), "{error}");
    }

    #[test]
    fn ring_sizes_are_powers_of_two() {
        for ring in [0, 1, 511, 131_072] {
            let config = SocketConfig { ring, ..SocketConfig::default() };
            let error = Socket::open(config, umem()).expect_err("no such ring");
            assert!(error.to_string().contains("power of two"), "{error}");
        }
    }
}
