//! Room `transmit`.

pub mod afxdp_port;
pub mod flow;
pub mod memory_port;
pub mod port;
pub mod socket_port;

mod frame_set;
