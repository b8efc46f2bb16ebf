//! A configuration becomes a running sender: set-up, control loop, end.
//!
//! In: a validated [`Config`]. Out: packets, log lines, a status file. Everything that can fail for a reason an operator
//! can mend is tried before the first packet leaves. Order of set-up: media and keys, XDP program with its titles,
//! sockets (a zero-copy driver may need the program to send), copies. Not done here: deciding what plays; all titles of the
//! configuration run on multicast, always.

mod control;
mod counting;
mod plan;
mod ports;
mod status;

use std::path::PathBuf;

use anyhow::Context;

pub use status::{CopyStatus, GroupStatus, QueueStatus, Status, TitleStatus, XdpStatus, write_atomically};

use crate::{check, config::Config};

/// What the command line adds to the configuration.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Rewritten once a second with the [`Status`].
    pub status: Option<PathBuf>,
}

/// Nothing was started: something that was only found out while setting up is missing.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("nothing was started")]
pub struct NotStarted;

/// Runs until SIGINT or SIGTERM: then every group gets its BYE, the rings are drained and the XDP program is detached.
///
/// # Errors
/// [`crate::config::Problems`] if the configuration or this machine is not up to it, [`NotStarted`] if a socket, a map or
/// the XDP program can't be had: nothing was sent then. Anything else ended a running sender.
pub fn run(config: Config, options: RunOptions) -> anyhow::Result<()> {
    let ready = check::prepare(config)?;
    for warning in &ready.warnings {
        tracing::warn!("{warning}");
    }
    let start = || control::Control::start(plan::Plan::new(&ready)?, ready, options);
    start().context(NotStarted)?.run()
}
