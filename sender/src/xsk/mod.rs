//! Room `xsk`.
pub mod prefetch;
