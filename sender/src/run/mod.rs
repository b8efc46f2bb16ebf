//! Room `run`.

use std::path::PathBuf;

use crate::{check, config::Config};

/// What the command line adds to the configuration.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Where the state is written as JSON, again and again.
    pub status: Option<PathBuf>,
}

/// Runs the sender until it is told to end. An error that is [`crate::config::Problems`] means that nothing was started.
pub fn run(config: Config, _options: RunOptions) -> anyhow::Result<()> {
    let _ready = check::prepare(config)?;
    anyhow::bail!("the engine isn't wired up yet")
}
