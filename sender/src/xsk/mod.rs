//! Room `xsk`: AF_XDP sockets, and the home of unsafe code.
//!
//! In: an interface, a queue, sizes and the mode wanted. Out: packet memory ([`umem`]) and a [`socket`] whose rings take
//! descriptors and give completions back. Errors at set-up say what to do; afterwards there are only counters.
//! Not done here: what is sent and when (`transmit`), receiving (the fill ring is only kept populated), XDP programs
//! (`xdp`). Multi-buffer packets and TX metadata are not used.

mod bind;
mod error;
mod limits;
pub mod mmap;
pub mod prefetch;
pub mod ring;
pub mod socket;
pub mod syscall;
mod uapi;
pub mod umem;

pub use error::XskError;
pub use uapi::{Statistics, XdpDesc};
