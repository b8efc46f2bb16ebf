//! Room `xsk`.
