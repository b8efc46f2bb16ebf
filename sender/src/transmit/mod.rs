//! Room `transmit`.

pub mod memory_port;
pub mod port;
