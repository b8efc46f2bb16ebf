//! Logging to standard error.

use std::io::{self, IsTerminal as _};

use sender::config::LogLevel;
use tracing_subscriber::EnvFilter;

/// A log filter that can't be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "{origin} {filter:?} is no log filter: {reason}\n    remedy: write a level (error, warn, info, debug, trace) or a list like info,sender::xdp=debug"
)]
pub(crate) struct BadFilter {
    origin: &'static str,
    filter: String,
    reason: String,
}

/// Whether to use colours: only on a terminal whose user didn't object (no-color.org).
pub(crate) fn coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Starts logging by the first of these that is given: `--log`, RUST_LOG, the configuration's level, `info`.
pub(crate) fn start(argument: Option<&str>, level: Option<LogLevel>) -> Result<(), BadFilter> {
    let variable = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let (origin, filter) = match (argument, &variable) {
        (Some(filter), _) => ("--log", filter),
        (None, Some(filter)) => ("RUST_LOG", filter.as_str()),
        (None, None) => ("[log] level", level.unwrap_or(LogLevel::Info).as_str()),
    };
    let refuse = |reason: String| BadFilter { origin, filter: filter.to_owned(), reason };
    if let Some(word) = filter.split(',').find(|part| is_unknown_word(part.trim())) {
        return Err(refuse(format!("{word:?} is no level")));
    }
    let parsed = EnvFilter::try_new(filter).map_err(|error| refuse(error.to_string()))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .with_ansi(coloured())
        .with_target(true);
    // Fails only if logging was started before, and then it runs.
    let _ = subscriber.try_init();
    Ok(())
}

/// A single word that is no level would be taken for a module's name, and nothing would be logged at all.
fn is_unknown_word(part: &str) -> bool {
    let single = !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric());
    single && part != "sender" && part.parse::<tracing_subscriber::filter::LevelFilter>().is_err()
}
