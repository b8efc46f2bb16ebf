//! The seam between the engine and what carries its frames: the [`Port`] trait.
//!
//! The engine writes frames into [`Port::memory`], posts descriptors, submits them and reaps what is done. It knows
//! nothing of sockets. Back ends: AF_XDP rings (`afxdp_port`), plain sockets (`socket_port`), and a ring pair in
//! memory for tests and benchmarks (`memory_port`). Nothing here sleeps or reads a clock.

use std::{error::Error, fmt};

/// Size of a frame in bytes: the memory of a port is an array of these.
///
/// 2048 is what every driver takes in aligned mode, and a packet of 1500 bytes with its headers fits.
pub const FRAME_SIZE: usize = 2048;

/// One frame to send: the bytes `addr .. addr + len` of [`Port::memory`].
///
/// The packet may start anywhere in its frame but must not leave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Desc {
    /// Where the packet (its Ethernet header) starts, in bytes from the start of [`Port::memory`].
    pub addr: u64,
    /// Length of the packet in bytes, without the frame check sequence.
    pub len: u32,
}

impl Desc {
    /// Where the frame that holds this packet starts: `addr` rounded down to a multiple of [`FRAME_SIZE`].
    #[inline]
    #[must_use]
    pub const fn frame(self) -> u64 {
        self.addr & !(FRAME_SIZE as u64 - 1)
    }

    /// Whether the packet lies within one frame of a memory of `memory_len` bytes, and is not empty.
    #[inline]
    #[must_use]
    pub const fn is_valid(self, memory_len: usize) -> bool {
        let offset = self.addr as usize & (FRAME_SIZE - 1);
        self.len > 0 && offset + self.len as usize <= FRAME_SIZE && (self.frame() as usize) < memory_len
    }
}

/// What carries frames to the network.
///
/// The life of a frame: the engine writes it, [`post`](Port::post)s it, [`submit`](Port::submit)s, and leaves it
/// alone until [`reap`](Port::reap) hands its address back. Between submit and reap the kernel or the NIC may read
/// it at any moment; what is written meanwhile may or may not be seen on the wire. The port does not watch that rule.
///
/// One pass of the engine is: reap, write and post at most [`room`](Port::room) frames, **submit**. Submit belongs
/// to every pass, even one that posts nothing, because it is what wakes a kernel that still holds frames.
///
/// `post`, `submit` and `reap` never allocate, lock or log; errors in them are counters ([`Port::stats`]).
pub trait Port {
    /// The frames the engine owns: frame `i` starts at `i * FRAME_SIZE`; the length is a multiple of [`FRAME_SIZE`].
    ///
    /// Frames that the back end keeps for itself (AF_XDP's fill ring) are not part of it.
    fn memory(&mut self) -> &mut [u8];

    /// How many descriptors can be posted now.
    ///
    /// Never more than what the completion side can take, so a frame once posted can always be completed.
    fn room(&mut self) -> usize;

    /// Queues one packet; not visible to the kernel before [`submit`](Port::submit).
    ///
    /// The caller keeps to [`room`](Port::room). A descriptor too many, one that is not
    /// [valid](Desc::is_valid), or one whose frame is still in flight, is a bug in the caller: a panic in debug builds;
    /// in release builds it is counted ([`PortStats::refused`]) and not sent, and does not come back from
    /// [`reap`](Port::reap).
    fn post(&mut self, desc: Desc);

    /// Publishes what was posted and wakes the kernel where that is needed.
    ///
    /// Also to be called when nothing was posted: while anything is outstanding and the kernel wants a wake-up (or
    /// the mode is copy), this kicks.
    fn submit(&mut self);

    /// Writes the start addresses of frames that are done to `done` and says how many.
    ///
    /// An address is that of the frame ([`Desc::frame`]), wherever in the frame the packet started. Frames are
    /// handed back once per posting, at most `done.len()` a call; call again while the slice came back full.
    fn reap(&mut self, done: &mut [u64]) -> usize;

    /// How many frames are posted and not yet reaped (submitted or not).
    fn outstanding(&self) -> usize;

    /// The watchdog's remedy for a ring that stands still: a new socket over the same memory.
    ///
    /// Bounded in time (seconds), allocates, and logs nothing. All outstanding frames count as completed after it and come
    /// from [`reap`](Port::reap), whether they were sent or not; that holds after an error too, and [`room`](Port::room)
    /// is then 0 until a later rebuild works.
    ///
    /// # Errors
    /// When no new socket could be had: what was tried and why it failed.
    fn rebuild(&mut self) -> Result<(), RebuildError>;

    /// The counters since the port was made. One system call at most: for once a second, not for every packet.
    fn stats(&self) -> PortStats;
}

/// A port could not get a new socket.
#[derive(Debug, thiserror::Error)]
#[error("rebuilding the {back_end} port failed: {cause}")]
pub struct RebuildError {
    /// The back end: "AF_XDP", "socket" …
    pub back_end: &'static str,
    /// What went wrong, with its remedy.
    pub cause: Box<dyn Error + Send + Sync>,
}

/// How frames leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PortMode {
    /// AF_XDP, the NIC reads the frames where they are.
    ZeroCopy,
    /// AF_XDP, the kernel copies each frame.
    Copy,
    /// Plain sockets with `sendmmsg`.
    Socket,
    /// Nothing leaves: a ring pair in memory.
    #[default]
    Memory,
}

impl fmt::Display for PortMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PortMode::ZeroCopy => "zero-copy",
            PortMode::Copy => "copy",
            PortMode::Socket => "socket",
            PortMode::Memory => "memory",
        })
    }
}

/// Failed kicks (or socket sends) by what the kernel said. None of the first four is an error: the frames stay queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KickErrors {
    /// EAGAIN: more in the ring than one call takes (copy mode: 32), or the send buffer is full.
    pub again: u64,
    /// EBUSY: the driver's queue is full or being reconfigured.
    pub busy: u64,
    /// ENOBUFS: no memory for a packet buffer, or the queue discipline dropped.
    pub no_buffers: u64,
    /// ENETDOWN: the interface is down.
    pub net_down: u64,
    /// Anything else; [`KickErrors::last_other`] has the last one.
    pub other: u64,
    /// The last errno counted in `other`, 0 if none.
    pub last_other: i32,
}

impl KickErrors {
    /// Counts one failure.
    #[cold]
    pub fn count(&mut self, errno: i32) {
        match errno {
            libc::EAGAIN => self.again += 1,
            libc::EBUSY => self.busy += 1,
            libc::ENOBUFS => self.no_buffers += 1,
            libc::ENETDOWN => self.net_down += 1,
            other => {
                self.other += 1;
                self.last_other = other;
            }
        }
    }

    /// All failures.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.again + self.busy + self.no_buffers + self.net_down + self.other
    }
}

/// What a port counted since it was made; a rebuild does not set it back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// How frames leave, read back from the kernel.
    pub mode: PortMode,
    /// Descriptors published to the kernel.
    pub submitted: u64,
    /// Descriptors that came back, rebuilds' included.
    pub completed: u64,
    /// Of those submitted, how many the kernel has taken from the TX ring. Standing still while `submitted` is ahead:
    /// the kernel does not send. Moving while `completed` stands still: it does not hand back.
    pub taken: u64,
    /// Wake-ups: `sendto` calls (AF_XDP) or `sendmmsg` calls (sockets).
    pub kicks: u64,
    /// Failed wake-ups by errno.
    pub kick_errors: KickErrors,
    /// How often [`Port::room`] had to say 0.
    pub ring_full: u64,
    /// Descriptors that [`Port::post`] refused: more than [`Port::room`], out of their frame, or still in flight.
    pub refused: u64,
    /// Descriptors that the kernel called invalid (XDP_STATISTICS).
    pub invalid_descs: u64,
    /// How often the kernel looked for something to send and found nothing (XDP_STATISTICS).
    pub tx_ring_empty: u64,
    /// Packets that the back end gave up on (sockets: the send buffer stayed full; rebuilds: what was outstanding).
    pub dropped: u64,
    /// Rebuilds done.
    pub rebuilds: u64,
}

impl PortStats {
    /// For the watchdog's message: the likeliest cause of a port with frames outstanding that makes no progress.
    #[must_use]
    pub fn stall_cause(&self) -> &'static str {
        match (self.mode, self.taken < self.submitted) {
            (PortMode::ZeroCopy, true) if self.kick_errors.last_other == libc::EINVAL => {
                "zero-copy is bound but the driver refuses to send (EINVAL): some drivers (igb) send only while a native \
                 XDP program is attached: attach one, or set mode = \"copy\""
            }
            _ if self.kick_errors.net_down > 0 => "the interface is or was down: check carrier and `ip link`",
            (PortMode::ZeroCopy, true) => {
                "the kernel takes nothing from the TX ring: link down, or a zero-copy driver without a native XDP \
                 program: check carrier, attach the program, or set mode = \"copy\""
            }
            (_, true) => "the kernel takes nothing from the TX ring: check that the interface is up",
            (_, false) => "everything was taken but does not come back: the driver hangs or resets; see its kernel log",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_must_stay_in_its_frame() {
        let memory = 4 * FRAME_SIZE;
        assert!(Desc { addr: 0, len: 1 }.is_valid(memory));
        assert!(Desc { addr: 2048 + 58, len: 1990 }.is_valid(memory));
        assert!(!Desc { addr: 2048 + 58, len: 1991 }.is_valid(memory));
        assert!(!Desc { addr: 0, len: 0 }.is_valid(memory));
        assert!(!Desc { addr: 4 * 2048, len: 1 }.is_valid(memory));
        assert!(!Desc { addr: u64::MAX, len: 1500 }.is_valid(memory));
        assert!(!Desc { addr: 0, len: u32::MAX }.is_valid(memory));
        assert_eq!(Desc { addr: 2048 + 58, len: 1 }.frame(), 2048);
    }

    #[test]
    fn kick_errors_are_counted_by_errno() {
        let mut errors = KickErrors::default();
        for errno in [libc::EAGAIN, libc::EBUSY, libc::ENOBUFS, libc::ENETDOWN, libc::EINVAL, libc::EAGAIN] {
            errors.count(errno);
        }
        assert_eq!((errors.again, errors.busy, errors.no_buffers, errors.net_down), (2, 1, 1, 1));
        assert_eq!((errors.other, errors.last_other, errors.total()), (1, libc::EINVAL, 6));
    }

    #[test]
    fn a_stalled_zero_copy_socket_with_einval_is_blamed_on_the_missing_program() {
        let mut stats = PortStats { mode: PortMode::ZeroCopy, submitted: 10, ..PortStats::default() };
        stats.kick_errors.count(libc::EINVAL);
        assert!(stats.stall_cause().contains("native"));
    }
}
