//! Room `srtp`.
