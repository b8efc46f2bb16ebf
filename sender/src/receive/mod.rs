//! Room `receive`: the reference client for one stream (one copy of one layer).
//!
//! Enters: RTP and RTCP datagrams with their arrival times, or, for [`run()`], the command line.
//! Leaves: media in order, receiver reports by the rules of RFC 3550, figures as [`Snapshot`], lines and JSON.
//! Not done here: asking for a title, fetching keys, combining layers; restamping is not undone.
//! [`Session`] and everything under it is pure: no clock, no I/O. `socket`, `output`, `progress` and `run` are the edge.

mod acquire;
mod cli;
mod error;
pub mod members;
#[expect(
    unreachable_pub,
    reason = "nix's macro makes public socket options, so their values have to be public as well"
)]
mod membership;
mod output;
mod progress;
pub mod reorder;
mod reports;
pub mod rtcp;
pub mod rtp;
mod run;
pub mod search;
pub mod sequence;
mod session;
mod socket;
pub mod source;
mod summary;
pub mod timing;

pub use cli::{Feedback, Options, ReceiveArgs};
pub use error::ReceiveError;
pub use output::Target;
pub use progress::{Document, Ended};
pub use run::{receive, run};
pub use session::{ReportSettings, Session, Settings};
pub use summary::{Counts, LastSenderReport, Snapshot};

#[cfg(test)]
mod loopback_tests;
#[cfg(test)]
mod tests;
