//! What the programs write about themselves, as JSON. The only place that knows their keys.

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fs, path::Path};

/// `sender run --status FILE`, rewritten once a second.
#[derive(Clone, Deserialize)]
pub(super) struct SenderStatus {
    pub(super) copies: Vec<CopyStatus>,
    /// Packets encrypted since the start.
    pub(super) encrypted: u64,
    /// Packets sent since the start.
    pub(super) sent: u64,
    pub(super) xdp: Xdp,
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
    /// Index of its first packet.
    pub(super) first_index: u64,
    /// RTP timestamp of its first packet.
    pub(super) first_timestamp: Option<u32>,
}

/// What the XDP program counted, by reason.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Xdp {
    counters: BTreeMap<String, u64>,
}

/// Sums of XDP counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// IGMP packets of members: reports and leaves.
    pub(super) memberships: u64,
    /// RTCP receiver reports.
    pub(super) reports: u64,
}

/// `sender receive --summary FILE`, written at its end.
#[derive(Clone, Deserialize)]
pub(super) struct Summary {
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicate: u64,
    pub(super) reordered: u64,
    pub(super) auth_failed: u64,
    pub(super) reports_sent: u64,
    pub(super) first_index: u64,
    pub(super) first_timestamp: Option<u32>,
    /// When the first packet arrived: CLOCK_MONOTONIC.
    pub(super) first_arrival_ns: u64,
}

impl SenderStatus {
    pub(super) fn copy(&self, number: u64) -> Result<&CopyStatus> {
        let copy = self.copies.iter().find(|copy| copy.copy == number);
        copy.with_context(|| format!("sender's status has no copy {number}"))
    }
}

impl Xdp {
    /// What was counted between `earlier` and this.
    pub(super) fn since(&self, earlier: &Self) -> Counted {
        let count = |names: &[&str]| {
            let sum = |xdp: &Self| names.iter().filter_map(|name| xdp.counters.get(*name)).sum::<u64>();
            sum(self).saturating_sub(sum(earlier))
        };
        Counted {
            memberships: count(&["igmp_v1_report", "igmp_v2_report", "igmp_v2_leave", "igmp_v3_report"]),
            reports: count(&["report", "report_unsolicited"]),
        }
    }
}

impl Summary {
    /// How long after its planned time the first packet arrived, in ns; `None` if it wasn't the copy's first and there is
    /// no timestamp to go by.
    pub(super) fn lateness(&self, copy: &CopyStatus) -> Option<i128> {
        let into_copy = if self.first_index == copy.first_index {
            0
        } else {
            // RTP's clock for MPEG-TS is 90 kHz; the difference is right while it is shorter than 2^32 ticks (13 h).
            i128::from(self.first_timestamp?.wrapping_sub(copy.first_timestamp?)) * 100_000 / 9
        };
        Some(i128::from(self.first_arrival_ns) - i128::from(copy.base_ns) - into_copy)
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
        let json = r#"{"copy": 1, "group": "239.192.77.2:5004", "sent": 3, "base_ns": 5000, "first_index": 7,
                       "first_timestamp": 4294967290, "more": "ignored"}"#;
        serde_json::from_str(json).expect("a copy's status")
    }

    fn summary(first_index: u64, first_timestamp: u32, first_arrival_ns: u64) -> Summary {
        let (received, lost, duplicate, reordered, auth_failed, reports_sent) = (1, 0, 0, 0, 0, 0);
        let first_timestamp = Some(first_timestamp);
        Summary {
            received,
            lost,
            duplicate,
            reordered,
            auth_failed,
            reports_sent,
            first_index,
            first_timestamp,
            first_arrival_ns,
        }
    }

    #[test]
    fn lateness_is_arrival_against_the_packets_own_plan() {
        assert_eq!(summary(7, 0, 5100).lateness(&copy()), Some(100));
        // 90 ticks after the first timestamp, over its wrap: a millisecond.
        assert_eq!(summary(9, 84, 1_005_100).lateness(&copy()), Some(100));
    }

    #[test]
    fn xdp_counts_are_differences_of_sums() {
        let xdp = |v2, v3, report| Xdp {
            counters: [("igmp_v2_report", v2), ("igmp_v3_report", v3), ("report", report)]
                .map(|(name, count)| (name.to_owned(), count))
                .into(),
        };
        assert_eq!(xdp(5, 7, 9).since(&xdp(1, 2, 3)), Counted { memberships: 9, reports: 6 });
    }
}
