//! What the programs write about themselves, as JSON. The only place that knows their keys.

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fs, path::Path};

/// `sender run --status FILE`, rewritten once a second.
#[derive(Clone, Deserialize)]
pub(super) struct SenderStatus {
    pub(super) titles: Vec<TitleStatus>,
    pub(super) copies: Vec<CopyStatus>,
    pub(super) queues: Vec<QueueStatus>,
    /// Packets encrypted since the start.
    pub(super) encrypted: u64,
    /// Packets sent since the start.
    pub(super) sent: u64,
    /// Packets left out since the start, because they were too late.
    pub(super) skipped: u64,
    pub(super) xdp: Xdp,
}

/// A title.
#[derive(Clone, Deserialize)]
pub(super) struct TitleStatus {
    /// Duration of a pass.
    pub(super) pass_ns: u64,
    /// RTP packets of a pass.
    pub(super) packets_per_pass: u64,
    /// Distinct receivers that reported within half a minute.
    pub(super) reporters: u64,
}

/// One copy of a title.
#[derive(Clone, Deserialize)]
pub(super) struct CopyStatus {
    pub(super) copy: u64,
    /// Its address and port, as `--group` of `sender receive` takes it.
    pub(super) group: String,
    pub(super) sent: u64,
    /// When its first packet is planned: CLOCK_MONOTONIC.
    pub(super) base_ns: u64,
    /// Index of its first packet: the same for every copy.
    pub(super) first_index: u64,
}

/// A queue of the NIC.
#[derive(Clone, Deserialize)]
pub(super) struct QueueStatus {
    /// How frames leave: copy, zero-copy, socket.
    pub(super) mode: String,
    /// Departure against plan.
    pub(super) lateness_ns: BTreeMap<String, u64>,
}

/// What the XDP program counted.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Xdp {
    /// By reason.
    counters: BTreeMap<String, u64>,
    groups: Vec<GroupStatus>,
}

/// IGMP records about a group.
#[derive(Clone, Deserialize)]
struct GroupStatus {
    group: String,
    joins: u64,
    leaves: u64,
}

/// Sums of XDP counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// IGMP records about our groups: joins, leaves, answers to queries.
    pub(super) records: u64,
    /// RTCP receiver reports.
    pub(super) reports: u64,
}

/// `sender receive --status FILE` and `--summary FILE`.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Summary {
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicate: u64,
    pub(super) reordered: u64,
    pub(super) auth_failed: u64,
    pub(super) joins_sent: u64,
    pub(super) leaves_sent: u64,
    pub(super) reports_sent: u64,
    pub(super) first_index: Option<u64>,
    pub(super) first_timestamp: Option<u32>,
    /// When the first packet would have arrived, had it been as quick as the quickest: CLOCK_MONOTONIC.
    pub(super) min_transit_ns: Option<i64>,
    pub(super) jitter_us: Option<u64>,
}

impl Counted {
    /// What was counted after `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            records: self.records.saturating_sub(earlier.records),
            reports: self.reports.saturating_sub(earlier.reports),
        }
    }
}

impl SenderStatus {
    pub(super) fn copy(&self, number: u64) -> Result<&CopyStatus> {
        let copy = self.copies.iter().find(|copy| copy.copy == number);
        copy.with_context(|| format!("sender's status has no copy {number}"))
    }

    /// The demo's only title.
    pub(super) fn title(&self) -> Result<&TitleStatus> {
        self.titles.first().context("sender's status has no title")
    }
}

impl CopyStatus {
    /// Its group without the port.
    pub(super) fn address(&self) -> &str {
        self.group.rsplit_once(':').map_or(&self.group, |(address, _)| address)
    }
}

impl Xdp {
    /// What was counted so far.
    pub(super) fn counted(&self) -> Counted {
        let sum = |names: &[&str]| names.iter().filter_map(|name| self.counters.get(*name)).sum();
        Counted {
            records: sum(&["group_join", "group_leave", "group_present"]),
            reports: sum(&["report", "report_unsolicited"]),
        }
    }

    /// How often a host was seen joining and leaving `copy`'s group.
    pub(super) fn group(&self, copy: &CopyStatus) -> (u64, u64) {
        let group = self.groups.iter().find(|group| group.group == copy.address());
        group.map_or((0, 0), |group| (group.joins, group.leaves))
    }
}

impl Summary {
    /// How long after its planned time the quickest packet arrived, in ns. `first_timestamp` is the RTP timestamp of the
    /// stream's first packet. `None` if nothing was received.
    pub(super) fn lateness(&self, copy: &CopyStatus, first_timestamp: u32) -> Option<i64> {
        // RTP's clock for MPEG-TS is 90 kHz; the difference is right while it is shorter than 2^32 ticks (13 h).
        let into_copy = i64::from(self.first_timestamp?.wrapping_sub(first_timestamp)) * 100_000 / 9;
        Some(self.min_transit_ns? - copy.base_ns.cast_signed() - into_copy)
    }

    /// The RTP timestamp of the stream's first packet, if it was received.
    pub(super) fn timestamp_of_first(&self, copy: &CopyStatus) -> Option<u32> {
        self.first_timestamp.filter(|_| self.first_index == Some(copy.first_index))
    }
}

/// Reads a JSON file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("understanding {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy() -> CopyStatus {
        let json = r#"{"title": "sample", "copy": 1, "group": "239.192.77.2:5004", "sent": 3, "base_ns": 5000,
                       "first_index": 7, "reports": 1, "pass": 0}"#;
        serde_json::from_str(json).expect("a copy's status")
    }

    fn summary(first_index: u64, first_timestamp: u32, min_transit_ns: i64) -> Summary {
        Summary {
            first_index: Some(first_index),
            first_timestamp: Some(first_timestamp),
            min_transit_ns: Some(min_transit_ns),
            ..Summary::default()
        }
    }

    #[test]
    fn lateness_is_arrival_against_the_packets_own_plan() {
        let stream = u32::MAX - 5;
        assert_eq!(summary(7, stream, 5100).lateness(&copy(), stream), Some(100));
        // 90 ticks after the first timestamp, over its wrap: a millisecond.
        assert_eq!(summary(9, 84, 1_005_100).lateness(&copy(), stream), Some(100));
        assert_eq!(Summary::default().lateness(&copy(), stream), None);
    }

    #[test]
    fn only_who_got_the_first_packet_knows_its_timestamp() {
        assert_eq!(summary(7, 3, 5100).timestamp_of_first(&copy()), Some(3));
        assert_eq!(summary(8, 3, 5100).timestamp_of_first(&copy()), None);
    }

    #[test]
    fn xdp_figures_are_found_by_name_and_group() {
        let json = r#"{"counters": {"group_join": 2, "group_leave": 3, "group_foreign": 9, "report": 4, "bye": 1},
                       "groups": [{"group": "239.192.77.2", "joins": 2, "leaves": 3, "presents": 0}], "events": 0}"#;
        let xdp: Xdp = serde_json::from_str(json).expect("what XDP counted");
        assert_eq!(xdp.counted(), Counted { records: 5, reports: 4 });
        assert_eq!(xdp.group(&copy()), (2, 3));
    }
}
