//! Room `receive`.
