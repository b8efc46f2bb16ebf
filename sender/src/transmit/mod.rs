//! Room `transmit`.

pub mod afxdp_port;
pub mod memory_port;
pub mod port;
