//! The engine's figures on their way out: filled by the data thread in small steps, read by the control thread.

use super::{counters::Counters, pacing::Pacing, port::PortStats};

/// Figures of one copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyFigures {
    /// RTP packets sent.
    pub packets: u64,
    /// Octets of payload, as sender reports count them.
    pub octets: u64,
    /// Sender reports sent.
    pub reports: u64,
    /// Index of the next packet.
    pub next_index: u64,
    /// Its pass.
    pub pass: u64,
}

/// All figures of one engine at about one time. Made once with room for every copy, then passed back and forth.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The engine's counters.
    pub counters: Counters,
    /// The port's counters.
    pub port: PortStats,
    /// Lateness of departures.
    pub pacing: Pacing,
    /// By number of the cursor; a vacant one has `None`.
    pub copies: Vec<Option<CopyFigures>>,
}

impl Snapshot {
    /// A snapshot with room for `cursors` copies.
    pub fn with_room_for(cursors: u32) -> Self {
        Self { copies: Vec::with_capacity(cursors as usize), ..Self::default() }
    }
}
