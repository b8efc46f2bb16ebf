//! MPEG transport streams (ISO/IEC 13818-1).
//!
//! [`scan()`] goes over a file once and finds what one pass is; [`restamp()`] shifts the clocks and counters of a packet.

mod frames;
mod packet;
mod psi;
mod restamp;
mod scan;
mod timeline;
mod timing;

pub(super) use packet::PACKET_LEN;
pub(super) use restamp::{Shift, restamp};
pub(super) use scan::{Pass, scan};
pub(super) use timeline::Segment;
