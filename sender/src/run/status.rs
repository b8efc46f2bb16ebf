//! What `sender run` tells of itself: a JSON file, rewritten once a second, whole or not at all.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::transmit::{Counters, Pacing, PortStats};

/// The whole status.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    /// Nanoseconds of `CLOCK_MONOTONIC` when it was taken.
    pub now_ns: u64,
    /// RTP packets sent, all queues.
    pub sent: u64,
    /// RTP packets made (encrypted, where there is a key).
    pub encrypted: u64,
    /// Packets left out because they were too late.
    pub skipped: u64,
    /// The titles.
    pub titles: Vec<TitleStatus>,
    /// The copies of all titles.
    pub copies: Vec<CopyStatus>,
    /// The queues.
    pub queues: Vec<QueueStatus>,
    /// What XDP counted; absent with `xdp = "off"`.
    pub xdp: Option<XdpStatus>,
    /// Whether this box is the IGMP and MLD querier.
    pub querier: BTreeMap<&'static str, bool>,
}

/// A title.
#[derive(Clone, Debug, Serialize)]
pub struct TitleStatus {
    /// Its name.
    pub name: String,
    /// SSRC of its stream.
    pub ssrc: u32,
    /// Duration of a pass.
    pub pass_ns: u64,
    /// RTP packets of a pass.
    pub packets_per_pass: u64,
    /// Time between neighbouring copies.
    pub stagger_ns: u64,
    /// Distinct receivers whose reports were counted in the last whole interval.
    pub reporters: u64,
    /// Receiver reports counted.
    pub reports: u64,
}

/// A copy.
#[derive(Clone, Debug, Serialize)]
pub struct CopyStatus {
    /// Name of its title.
    pub title: String,
    /// Its number within the title, from 0.
    pub copy: usize,
    /// Group and RTP port.
    pub group: SocketAddr,
    /// When its first packet (`first_index`) was planned: nanoseconds of `CLOCK_MONOTONIC`.
    pub base_ns: u64,
    /// Index of its first packet.
    pub first_index: u64,
    /// RTP packets sent.
    pub sent: u64,
    /// Sender reports sent.
    pub reports: u64,
    /// Pass it is in.
    pub pass: u64,
}

/// A queue.
#[derive(Clone, Debug, Serialize)]
pub struct QueueStatus {
    /// Number of the NIC queue.
    pub queue: u32,
    /// How frames leave: zero-copy, copy, socket.
    pub mode: String,
    /// The engine's counters, by name.
    pub engine: BTreeMap<&'static str, u64>,
    /// The port's counters, by name.
    pub port: BTreeMap<&'static str, u64>,
    /// Departure against plan: p50, p99, p99_9, max in nanoseconds.
    pub lateness_ns: BTreeMap<&'static str, u64>,
}

/// What XDP counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct XdpStatus {
    /// Counters by name.
    pub counters: BTreeMap<String, u64>,
    /// Joins and leaves of our groups.
    pub groups: Vec<GroupStatus>,
    /// Events taken from the ring buffer.
    pub events: u64,
}

/// What XDP saw of a group: evidence of presence, not a census (old versions suppress reports, proxies merge them).
#[derive(Clone, Debug, Serialize)]
pub struct GroupStatus {
    /// The group.
    pub group: IpAddr,
    /// Records that joined it.
    pub joins: u64,
    /// Records that left it.
    pub leaves: u64,
    /// Records that answered a query for it.
    pub presents: u64,
}

impl QueueStatus {
    /// The figures of one queue.
    pub fn new(queue: u32, engine: &Counters, port: &PortStats, pacing: &Pacing) -> Self {
        let lateness = [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999), ("max", 1.0)];
        Self {
            queue,
            mode: port.mode.to_string(),
            engine: engine.named().collect(),
            port: port_counters(port),
            lateness_ns: lateness.map(|(name, q)| (name, pacing.quantile(q))).into(),
        }
    }
}

fn port_counters(port: &PortStats) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("submitted", port.submitted),
        ("completed", port.completed),
        ("kicks", port.kicks),
        ("kick_errors_again", port.kick_errors.again),
        ("kick_errors_busy", port.kick_errors.busy),
        ("kick_errors_no_buffers", port.kick_errors.no_buffers),
        ("kick_errors_net_down", port.kick_errors.net_down),
        ("kick_errors_other", port.kick_errors.other),
        ("ring_full", port.ring_full),
        ("refused", port.refused),
        ("invalid_descs", port.invalid_descs),
        ("dropped", port.dropped),
        ("rebuilds", port.rebuilds),
    ])
}

/// Writes `value` as JSON to `path`, whole or not at all: readers never see half a file.
///
/// # Errors
/// When the folder can't be written to.
pub fn write_atomically<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let beside = beside(path);
    fs::write(&beside, serde_json::to_vec_pretty(value)?)?;
    fs::rename(&beside, path)
}

/// Finds out whether [`write_atomically`] can write to `path`; leaves nothing there.
pub(super) fn try_to_write(path: &Path) -> io::Result<()> {
    let beside = beside(path);
    fs::write(&beside, "")?;
    fs::remove_file(&beside)
}

/// Where a file is written before it takes its name.
fn beside(path: &Path) -> PathBuf {
    let mut beside = PathBuf::from(path);
    beside.as_mut_os_string().push(".new");
    beside
}
