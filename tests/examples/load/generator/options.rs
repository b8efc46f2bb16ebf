//! The command line.

use std::{fmt, net::Ipv4Addr, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Result, ensure};
use clap::Parser;

/// Sends what an audience sends to a sender, and what its enemies might, and compares with what XDP counted
///
/// Without --interface it makes a veth pair of its own, in network namespaces, with the XDP program on the far end: nothing
/// leaves the machine. With it, it sends to a real box: see deploy/LOAD.md. It ends with 0 if every packet sent was counted, or
/// is known to have been dropped, and where.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask load", max_term_width = 100)]
pub(crate) struct Options {
    /// How many clients to simulate, up to 10M
    #[arg(long, default_value = "1k", value_parser = number)]
    pub(crate) clients: u64,
    /// The clients' addresses, one after the other; when they run out, clients share addresses and differ in port
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', default_value = "10.128.0.0/9")]
    pub(crate) from: Vec<Range>,
    /// Packets a second, or `max`
    #[arg(long, default_value = "100k", value_parser = rate)]
    pub(crate) rate: u64,
    /// Several rates one after the other, each for an equal part of the time: 100k,200k,max
    #[arg(long, value_name = "RATE", value_delimiter = ',', value_parser = rate, conflicts_with = "rate")]
    pub(crate) steps: Vec<u64>,
    /// As fast as it goes, by the kernel itself (BPF_PROG_TEST_RUN with live frames): several times faster. Long runs of one
    /// kind of packet; as many clients as a power of two, with the first addresses of the first network
    #[arg(long, conflicts_with_all = ["rate", "steps", "queue"])]
    pub(crate) live: bool,
    /// For how many seconds; more than 60 only with --really
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    pub(crate) time: f64,
    /// End after so many packets, if that is sooner
    #[arg(long, value_parser = number)]
    pub(crate) packets: Option<u64>,
    /// What to send, in parts: rr (receiver reports), join, leave, syn, hostile
    #[arg(long, value_name = "KIND=PARTS,…", default_value = "rr=80,join=6,leave=4,syn=5,hostile=5")]
    pub(crate) mix: Mix,
    /// Send from this interface, to a real box
    #[arg(long, requires_all = ["to_mac", "to"])]
    pub(crate) interface: Option<String>,
    /// The interface's queue to send from
    #[arg(long, default_value = "0")]
    pub(crate) queue: u32,
    /// The box's (or the next router's) Ethernet address
    #[arg(long, value_name = "MAC")]
    pub(crate) to_mac: Option<Mac>,
    /// The box's address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Option<Ipv4Addr>,
    /// Feedback ports of the box's titles
    #[arg(long, value_name = "PORT", value_delimiter = ',', default_value = "6001")]
    pub(crate) feedback: Vec<u16>,
    /// Groups of the box's titles
    #[arg(long, value_name = "GROUP", value_delimiter = ',', default_value = "239.192.0.1")]
    pub(crate) group: Vec<Ipv4Addr>,
    /// The front door's TCP port; 0: the box has none, and SYNs go to port 554 for nothing
    #[arg(long, value_name = "PORT", default_value = "554")]
    pub(crate) front_door: u16,
    /// The status file of the box (`sender run --status FILE`), to compare with
    #[arg(long, value_name = "FILE", requires = "interface")]
    pub(crate) status: Option<PathBuf>,
    /// Also over an interface that has the default route, and for longer than 60 seconds
    #[arg(long)]
    pub(crate) really: bool,
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        ensure!((1..=10_000_000).contains(&self.clients), "--clients: 1 to 10M, not {}", self.clients);
        ensure!(self.time > 0.0 && self.time.is_finite(), "--time: more than nothing");
        ensure!(self.time <= 60.0 || self.really, "--time: more than 60 seconds only with --really");
        let addresses: u64 = self.from.iter().map(|range| range.size()).sum();
        // From port 20000 on.
        let most = addresses * 40_000;
        ensure!(self.clients <= most, "--from has room for {most} clients only, not {}", self.clients);
        if self.live {
            ensure!(self.clients.is_power_of_two(), "--clients: a power of two with --live, such as 1048576");
            ensure!(
                self.clients <= self.from[0].size(),
                "--from: with --live, the first network must have room for all"
            );
        }
        ensure!(self.group.iter().all(Ipv4Addr::is_multicast), "--group: groups are 224.0.0.0/4");
        ensure!(self.mix.0.iter().any(|parts| *parts > 0), "--mix: some part must not be 0");
        Ok(())
    }

    pub(super) fn rates(&self) -> Vec<u64> {
        if self.live {
            return vec![u64::MAX];
        }
        if self.steps.is_empty() { vec![self.rate] } else { self.steps.clone() }
    }

    pub(super) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.time)
    }
}

/// `100k`, `10M`, `1234`.
fn number(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let count: u64 = digits.parse().map_err(|_| format!("{text} is no number such as 1500, 100k or 10M"))?;
    count.checked_mul(factor).ok_or_else(|| format!("{text} is too much"))
}

/// As [`number`], or `max`.
fn rate(text: &str) -> Result<u64, String> {
    match text {
        "max" => Ok(u64::MAX),
        _ => number(text).and_then(|rate| if rate > 0 { Ok(rate) } else { Err("0 packets a second".into()) }),
    }
}

/// Addresses: `10.128.0.0/9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    first: u32,
    bits: u32,
}

impl Range {
    pub(super) fn size(self) -> u64 {
        1 << self.bits
    }

    pub(super) fn address(self, index: u64) -> u32 {
        self.first + index as u32
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no IPv4 network such as 10.128.0.0/9");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let bits = prefix.parse().ok().and_then(|prefix| 32u32.checked_sub(prefix)).ok_or_else(wrong)?;
        let first = (u64::from(address.to_bits()) >> bits << bits) as u32;
        if bits > 24 || address.is_multicast() {
            return Err(format!("{text}: at least /8, and no groups"));
        }
        Ok(Self { first, bits })
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mac(pub(super) [u8; 6]);

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let octets: Option<Vec<u8>> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
        let octets = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok());
        octets.map(Self).ok_or_else(|| format!("{text} is no Ethernet address such as 02:00:00:00:00:01"))
    }
}

/// The kinds of packets, in the order of [`Mix`].
pub(super) const KINDS: [&str; 5] = ["rr", "join", "leave", "syn", "hostile"];

/// How many parts of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mix(pub(super) [u32; KINDS.len()]);

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = [0; KINDS.len()];
        for entry in text.split(',') {
            let (kind, count) = entry.split_once('=').ok_or_else(|| format!("{entry} is not KIND=PARTS"))?;
            let at = KINDS.iter().position(|known| *known == kind);
            let at = at.ok_or_else(|| format!("there is no kind {kind}; there are {}", KINDS.join(", ")))?;
            parts[at] = count.parse().ok().filter(|count| *count <= 1000).ok_or("parts are 0 to 1000")?;
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = KINDS.iter().zip(self.0).filter(|(_, parts)| *parts > 0);
        let parts: Vec<_> = parts.map(|(kind, parts)| format!("{kind}={parts}")).collect();
        f.write_str(&parts.join(","))
    }
}
