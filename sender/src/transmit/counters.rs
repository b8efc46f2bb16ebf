//! What an engine has done, in figures.

/// What the engine has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// RTP packets posted.
    pub sent: u64,
    /// Bytes of these frames, headers included.
    pub sent_bytes: u64,
    /// RTP packets made: read, restamped and, if the stream has a key, encrypted.
    pub encrypted: u64,
    /// Of the packets made, those made in a scratch frame because the stream's frames don't reach so far.
    pub scratch_beyond: u64,
    /// … because the resident frame was still in flight.
    pub scratch_busy: u64,
    /// … because the resident frame held a later pass already.
    pub scratch_newer: u64,
    /// Frames made elsewhere and posted.
    pub frames: u64,
    /// Frames made elsewhere that don't fit into a frame of the port.
    pub oversized: u64,
    /// Sender reports posted.
    pub reports: u64,
    /// Packets left out because they were later than [`Limits::max_lateness`](super::Limits::max_lateness).
    pub skipped: u64,
    /// Turns that ended early because the ring was full.
    pub ring_full: u64,
    /// Packets put off because no scratch frame was free.
    pub no_frame: u64,
    /// Copies that came to the end of the 48-bit index space.
    pub exhausted: u64,
    /// Times the watchdog found the ring standing still and kicked.
    pub stalls: u64,
    /// Times the watchdog rebuilt the socket.
    pub rebuilds: u64,
    /// Rebuilds that failed.
    pub rebuilds_failed: u64,
}

impl Counters {
    /// Every counter under its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("sent", self.sent),
            ("sent_bytes", self.sent_bytes),
            ("encrypted", self.encrypted),
            ("scratch_beyond", self.scratch_beyond),
            ("scratch_busy", self.scratch_busy),
            ("scratch_newer", self.scratch_newer),
            ("frames", self.frames),
            ("oversized", self.oversized),
            ("reports", self.reports),
            ("skipped", self.skipped),
            ("ring_full", self.ring_full),
            ("no_frame", self.no_frame),
            ("exhausted", self.exhausted),
            ("stalls", self.stalls),
            ("rebuilds", self.rebuilds),
            ("rebuilds_failed", self.rebuilds_failed),
        ]
        .into_iter()
    }
}
