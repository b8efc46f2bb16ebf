//! Room `media`: a file becomes a [`Loop`], the packets of one pass.
//!
//! Enters: the path of a media file (MPEG-TS). Leaves: for packet `n` of pass `pass` its payload and its due time, functions
//! of (media, pass, n) and of nothing else: no clock, no state from packet to packet.
//! From pass to pass PCR, OPCR, PTS, DTS and continuity counters run on, so that a player that stays sees one endless
//! programme. Not done here: RTP headers, encryption, sending; what is in the pictures.

mod error;
mod ticks;
mod title_loop;
mod ts;

#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod player_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
pub(crate) mod synthetic;

pub use error::{MediaError, Reason};
pub use ticks::Ticks;
pub use title_loop::{DueHint, Loop};
