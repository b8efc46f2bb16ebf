//! Room `packet`: what goes on the wire.
//!
//! Enters: a [`Loop`](crate::media::Loop), keys, an index and its place in the loop; a [`Destination`].
//! Leaves: [`Stream`], the pure function (media, key, index) → RTP packet, the same bytes for every copy; and
//! [`HeaderTemplate`], the Ethernet, VLAN, IP and UDP headers that send those bytes to one destination; sender reports.
//! Not done here: when to send, frames and rings, which destinations there are.

mod checksum;
mod destination;
mod headers;
mod report;
mod stream;
#[cfg(test)]
mod stream_tests;

pub use checksum::ones_complement_sum;
pub use destination::{Destination, DestinationError, MacAddr, VlanTag, multicast_mac};
pub use headers::{HeaderTemplate, MAX_HEADER_LEN, RTP_OFFSET};
pub use report::SenderReport;
pub use stream::{Place, RTP_HEADER_LEN, Stream};
