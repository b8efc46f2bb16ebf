//! Room `config`: `sender.toml` becomes a [`Config`] that can't be wrong in itself, or the list of all its [`Problems`].
//!
//! In: the text of a file. Out: `Config`, whose types hold only valid values ("parse, don't validate"), and which still
//! knows where each value was written. Not done here: looking at the machine, the media and the keys: room `check` does that.
//! A new key needs a row in `keys`, a field and a line in `sections`, and its lines in `deploy/sender.example.toml`;
//! a test names what is forgotten.

#[cfg(test)]
mod example;
mod keys;
mod problem;
mod reader;
mod rules;
mod sections;
#[cfg(test)]
mod tests;
mod units;
mod values;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

pub use self::{
    keys::{Absent, KeySpec, SECTIONS},
    problem::{Fault, Problem, Problems},
    reader::{Origins, Section},
    units::{BitRate, ByteSize, Nanos},
    values::{
        Cname, Cpus, Dscp, GroupAddress, GroupMac, HugePages, InterfaceName, LogLevel, Querier, RtpPort, Stagger,
        TitleName, Ttl, Vlans, XdpAttach, XskMode,
    },
};

/// Most copies of one title.
pub const MAX_COPIES: u32 = 1024;
/// Most titles in a catalogue.
pub const MAX_TITLES: usize = 100_000;
/// Bytes of umem that one packet takes.
pub const FRAME_SIZE: u64 = 2048;

/// The whole configuration, valid in itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The way out.
    pub network: Network,
    /// The engine.
    pub transmit: Transmit,
    /// Reports.
    pub rtcp: Rtcp,
    /// Logging.
    pub log: Log,
    /// The catalogue, at least one title.
    pub titles: Vec<Title>,
    /// Legal, but better otherwise.
    pub warnings: Vec<Problem>,
    /// Where every value was written.
    pub origins: Origins,
}

/// `[network]`: the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The interface.
    pub interface: InterfaceName,
    /// NIC queues to send by, each with a thread of its own. Not empty, no doubles.
    pub queues: Vec<u32>,
    /// How packets get to the NIC.
    pub mode: XskMode,
    /// How the counting program is attached.
    pub xdp: XdpAttach,
    /// Whether this box is the network's IGMP and MLD querier.
    pub querier: Querier,
    /// IPv4 source address, `None`: the interface's first.
    pub source_v4: Option<Ipv4Addr>,
    /// IPv6 source address, `None`: the interface's first that isn't link-local.
    pub source_v6: Option<Ipv6Addr>,
    /// VLAN tags put on what is sent.
    pub vlan: Vlans,
    /// Priority in these tags, 0 to 7.
    pub vlan_priority: u8,
    /// TTL or hop limit of titles that name none.
    pub ttl: Ttl,
    /// DSCP.
    pub dscp: Dscp,
    /// What the port can carry, `None`: the link's speed.
    pub rate: Option<BitRate>,
}

/// `[transmit]`: the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Packet memory of one queue, a multiple of 2 MiB.
    pub umem: ByteSize,
    /// Descriptors in a transmit ring, a power of two.
    pub ring: u32,
    /// Huge pages for the umem.
    pub hugepages: HugePages,
    /// Where the sending threads run.
    pub cpus: Cpus,
    /// Most packets posted in one go.
    pub burst: u32,
    /// A packet later than this is skipped and counted.
    pub max_lateness: Nanos,
}

impl Transmit {
    /// Frames in one queue's umem.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.umem.bytes() / FRAME_SIZE
    }
}

/// `[rtcp]`: reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// Between two sender reports of a copy.
    pub interval: Nanos,
    /// A receiver that was silent this long is gone.
    pub report_timeout: Nanos,
    /// CNAME in sender reports, `None`: made from the source address.
    pub cname: Option<Cname>,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What is logged; `--log` and RUST_LOG go before it.
    pub level: LogLevel,
}

/// `[[title]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// Its name, unique.
    pub name: TitleName,
    /// The media, absolute or relative to the working directory.
    pub file: PathBuf,
    /// Where each copy is sent: one unique group each, all of one family, at least one.
    pub groups: Vec<GroupAddress>,
    /// Time between neighbouring copies.
    pub stagger: Stagger,
    /// RTP port; RTCP is the next one.
    pub port: RtpPort,
    /// Our UDP port that this title's receivers report to, unique.
    pub feedback_port: u16,
    /// TTL or hop limit: its own, or the network's.
    pub ttl: Ttl,
    /// SRTP master key, `None`: sent in clear.
    pub key_file: Option<PathBuf>,
    /// Whether packets carry the key's identifier.
    pub mki: bool,
}

impl Title {
    /// How many copies are sent, K.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.groups.len()
    }

    /// Whether its groups are IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.groups.first().is_some_and(|group| matches!(group.ip(), IpAddr::V6(_)))
    }
}

impl Config {
    /// Reads and validates a file. All that is wrong comes back at once.
    pub fn load(file: &Path) -> Result<Config, Problems> {
        match std::fs::read_to_string(file) {
            Ok(text) => Config::parse(file, &text),
            Err(error) => {
                let mut document = reader::Document::new(file, "");
                let remedy = match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        "name the configuration with -c FILE; deploy/sender.example.toml is one to begin with"
                    }
                    std::io::ErrorKind::InvalidData => "save it as UTF-8",
                    _ => "make it a file that this user may read",
                };
                let fault = Fault::new(format!("the configuration can't be read: {error}"), remedy);
                document.problems.push(document.origins.general(fault));
                Err(document.problems)
            }
        }
    }

    /// Validates a text as if it stood in `file`, to whose folder relative paths in it are relative.
    pub fn parse(file: &Path, text: &str) -> Result<Config, Problems> {
        sections::parse(file, text)
    }
}
