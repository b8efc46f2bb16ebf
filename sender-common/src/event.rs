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
