//! The XDP program's log lines, as `tracing` events.

use ::log::{Level, Log, Metadata, Record};
use sender_common::Reason;

/// Takes what aya-log reads. Lines name a reason by its number (the program has no room for names): the name goes in here.
#[derive(Debug)]
pub(super) struct IntoTracing;

impl Log for IntoTracing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = name_reason(&record.args().to_string());
        match record.level() {
            Level::Error => tracing::error!(target: "sender::xdp", "{line}"),
            Level::Warn => tracing::warn!(target: "sender::xdp", "{line}"),
            Level::Info => tracing::info!(target: "sender::xdp", "{line}"),
            Level::Debug => tracing::debug!(target: "sender::xdp", "{line}"),
            Level::Trace => tracing::trace!(target: "sender::xdp", "{line}"),
        }
    }

    fn flush(&self) {}
}

fn name_reason(line: &str) -> String {
    let named = line.rsplit_once("reason ").and_then(|(before, number)| {
        let reason = Reason::ALL.get(number.parse::<usize>().ok()?)?;
        Some(format!("{before}reason {} ({})", reason.name(), reason.description()))
    });
    named.unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_reason() {
        let number = Reason::RtcpVersion as u32;
        let line = name_reason(&format!("malformed packet passed on, reason {number}"));
        assert!(line.contains("reason rtcp_version (An RTCP packet"), "{line}");
        assert_eq!(name_reason("multicast querier: 10.0.0.1"), "multicast querier: 10.0.0.1");
        assert_eq!(name_reason("reason 99999"), "reason 99999");
    }
}
