//! The XDP program's user space: loads and attaches it, reads its maps, takes its events and its log.
//!
//! In: which ports and groups belong to which title, and who is expected. Out: counters by reason, statistics by title and
//! interval, the state of groups, distances, events. User space reads as much as there are titles, never as there are receivers.
//! Not done here: judging any of it (that is the audience's), or sending anything.

mod attach;
mod error;
mod event;
mod hold;
mod log;
mod tables;

pub use attach::{Mode, Settings, Xdp};
pub use error::XdpError;
pub use event::{Event, Reporter};
pub use tables::Counts;

pub use sender_common::{
    Distance, GroupState, Hops, Protocol, Querier, Reason, Receiver, TitleEntry, TitleId, TitleStats,
};

/// The yardsticks' object, for the benchmark. Empty if the build had no BPF toolchain.
#[doc(hidden)]
pub static YARDSTICK: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/yardstick"));

/// The load generator's object. Empty if the build had no BPF toolchain.
#[doc(hidden)]
pub static FLOOD: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/flood"));

/// The XDP program's object. Empty if the build had no BPF toolchain.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sender"));
