//! The transmit engine: what is due leaves through a port, out of frames that are encrypted once and sent many times.
//!
//! In: streams (the pure packet function), cursors (copies on their way through a loop) and the time. Out: descriptors
//! through a [`Port`], figures in a [`Snapshot`]. The core ([`Engine`] with wheel, frame store, watchdog) is sans-IO and
//! knows no clock; [`Worker`] is the pinned thread round it. Not done here: which title plays where and why.

pub mod afxdp_port;
pub mod flow;
pub mod memory_port;
pub mod port;
pub mod socket_port;

mod counters;
mod cursor;
mod engine;
#[cfg(test)]
mod engine_tests;
mod frame_set;
mod pacing;
mod snapshot;
mod store;
mod time;
mod watchdog;
mod wheel;
mod worker;

pub use counters::Counters;
pub use cursor::{Cursor, Reports, RtcpIndices, StreamSlot};
pub use engine::{Engine, Limits, ntp_from_nanos};
pub use pacing::Pacing;
pub use port::{Desc, FRAME_SIZE, KickErrors, Port, PortMode, PortStats};
pub use snapshot::{CopyFigures, Snapshot};
pub use store::{Extent, FrameBudget, Owner};
pub use time::{Time, nanos};
pub use wheel::Wheel;
pub use worker::{Command, Event, Settings, StartError, Worker, now};
