//! What the kernel and user space must agree on: map keys and values, event records, and the one parser
//! (Ethernet … IGMP, MLD, RTCP) that the XDP program, user space and the fuzz targets all use.
//!
//! [`inspect`](inspect::inspect) takes a packet and a [`Sink`] and says what the packet was: exactly one
//! outcome [`Reason`], and what it means for us, told to the sink. The kernel's sink keeps the maps; a
//! test's sink keeps a list. No `std`, no allocation, no I/O, no clock.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "craft"))]
extern crate alloc;

#[cfg(any(test, feature = "craft"))]
pub mod craft;
pub mod event;
pub mod flood;
pub mod inspect;
pub mod layout;
pub mod membership;
pub mod network;
pub mod packet;
#[cfg(feature = "user")]
mod pod;
pub mod reason;
pub mod rtcp;

pub use event::{Event, EventKind};
pub use inspect::{Report, Sink, inspect};
pub use layout::{
    Address, Counters, Distance, Expected, GroupState, Hops, Querier, Receiver, ReceiverKey, Settings, TitleEntry,
    TitleId, TitleStats, Tokens,
};
pub use membership::{Change, Meaning, Protocol};
pub use packet::Packet;
pub use reason::{Class, Reason};

#[cfg(test)]
mod tests;
