//! Room `xdp`.
