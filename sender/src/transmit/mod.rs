//! Room `transmit`.
