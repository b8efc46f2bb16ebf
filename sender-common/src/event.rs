//! What the XDP program tells at once: changes of state, never single packets.

use crate::layout::Address;

/// An event record, as it lies in the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When, in nanoseconds of `CLOCK_MONOTONIC` (to a tick of the kernel).
    pub time: u64,
    /// What happened: a number of [`EventKind`].
    pub kind: u32,
    /// The title's entry, 0 if there is none.
    pub title: u32,
    /// The SSRC of a reporter.
    pub ssrc: u32,
    /// The port reports come from.
    pub port: u16,
    /// The distance of a reporter; 255: not known.
    pub hops: u8,
    /// The protocol of a join, leave or query, by number of [`Protocol`](crate::membership::Protocol); for reports 1: known.
    pub detail: u8,
    /// Who.
    pub source: Address,
    /// The group of a join or leave.
    pub group: Address,
}

impl Event {
    /// Reads a record from the ring buffer; `None` if it is too short to be one.
    pub fn from_bytes(record: &[u8]) -> Option<Self> {
        let record: &[u8; 56] = record.first_chunk()?;
        let word = |at: usize| u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let address = |at: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&record[at..at + 16]);
            Address::v6(octets)
        };
        let mut time = [0; 8];
        time.copy_from_slice(&record[..8]);
        Some(Self {
            time: u64::from_ne_bytes(time),
            kind: word(8),
            title: word(12),
            ssrc: word(16),
            port: u16::from_ne_bytes([record[20], record[21]]),
            hops: record[22],
            detail: record[23],
            source: address(24),
            group: address(40),
        })
    }
}

/// What an [`Event`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    /// The first report of a receiver, or the first after its BYE.
    FirstReport = 1,
    /// A receiver said BYE.
    Bye = 2,
    /// A host joined one of our groups.
    Join = 3,
    /// A host left one of our groups.
    Leave = 4,
    /// A querier is heard for the first time, or another one than before.
    QuerierSeen = 5,
}

impl EventKind {
    /// The kind with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::FirstReport,
            2 => Self::Bye,
            3 => Self::Join,
            4 => Self::Leave,
            5 => Self::QuerierSeen,
            _ => return None,
        })
    }
}
