//! From a configuration and the interface's facts to what will run: streams with keys and SSRCs, and where each copy goes.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, ensure};

use super::ports::Demand;
use crate::{
    config::{Config, Stagger, Title},
    media::Loop,
    netif::Interface,
    packet::{Destination, Stream, VlanTag},
    srtp::{KeyFile, PacketIndex},
    transmit::nanos,
};

/// Everything that will run.
pub(super) struct Plan {
    pub(super) titles: Vec<TitlePlan>,
}

/// A title: one stream, and its copies.
pub(super) struct TitlePlan {
    pub(super) name: String,
    pub(super) stream: Arc<Stream>,
    pub(super) media: Arc<Loop>,
    /// Which of the workers sends it.
    pub(super) worker: usize,
    pub(super) protected: bool,
    pub(super) feedback_port: u16,
    pub(super) rtcp_port: u16,
    /// Nanoseconds between neighbouring copies.
    pub(super) stagger: u64,
    pub(super) copies: Vec<CopyPlan>,
}

/// A copy: where its packets and its reports go.
pub(super) struct CopyPlan {
    pub(super) group: SocketAddr,
    pub(super) media: Destination,
    pub(super) reports: Destination,
}

impl Plan {
    /// Opens media and keys and draws SSRCs; changes nothing on the machine.
    ///
    /// # Errors
    /// The first title that can't be sent, with what is wrong.
    pub(super) fn new(config: &Config, interface: &Interface) -> anyhow::Result<Self> {
        let workers = config.network.queues.len();
        let titles = config.titles.iter().enumerate();
        let titles = titles.map(|(number, title)| {
            plan_title(config, interface, title, number % workers)
                .with_context(|| format!("title \"{}\" can't be sent", title.name))
        });
        Ok(Self { titles: titles.collect::<anyhow::Result<_>>()? })
    }
}

impl Plan {
    /// Copies of all titles.
    pub(super) fn copies_of_all(&self) -> u32 {
        self.titles.iter().map(|title| title.copies.len() as u32).sum()
    }

    /// What the busiest of `workers` workers has to hold.
    pub(super) fn demand(&self, workers: usize) -> Demand {
        let of = |worker| self.titles.iter().filter(move |title| title.worker == worker);
        let copies = |worker| of(worker).map(|title| title.copies.len() as u32).sum();
        Demand {
            streams: (0..workers).map(|worker| of(worker).count() as u32).max().unwrap_or(0),
            cursors: (0..workers).map(copies).max().unwrap_or(0),
        }
    }
}

fn plan_title(config: &Config, interface: &Interface, title: &Title, worker: usize) -> anyhow::Result<TitlePlan> {
    let media = Arc::new(Loop::open(&title.file)?);
    let key_file = title.key_file.as_deref().map(KeyFile::read).transpose()?;
    let key = key_file.as_ref().map(|file| (&file.key, file.mki.filter(|_| title.mki)));
    let stream = Arc::new(new_stream(&media, key)?);

    let pass = media.duration().to_nanos();
    let stagger = match title.stagger {
        Stagger::Auto => pass / title.copies() as u64,
        Stagger::Every(time) => nanos(time.duration()),
    };
    let last = stagger * (title.copies() as u64 - 1);
    ensure!(last < pass, "the last copy would start {last} ns after the first, but one pass takes {pass} ns: use a smaller stagger, or \"auto\"");

    let source = if title.is_ipv6() {
        config.network.source_v6.or(interface.ipv6.first().copied()).map(Into::into)
    } else {
        config.network.source_v4.or(interface.ipv4.first().copied()).map(Into::into)
    };
    let family = if title.is_ipv6() { "IPv6" } else { "IPv4" };
    let source: std::net::IpAddr = source.with_context(|| {
        format!("{} has no {family} address to send from: give it one with `ip address add`, or set the source", interface.name)
    })?;
    let vlans: Vec<VlanTag> = vlan_tags(config);
    let destination = |group, port| {
        let source = SocketAddr::new(source, port);
        let group = SocketAddr::new(group, port);
        Destination::multicast(interface.mac, &vlans, source, group, title.ttl.get(), config.network.dscp.get())
    };
    let copies = title.groups.iter().map(|group| {
        Ok(CopyPlan {
            group: SocketAddr::new(group.ip(), title.port.rtp()),
            media: destination(group.ip(), title.port.rtp())?,
            reports: destination(group.ip(), title.port.rtcp())?,
        })
    });
    Ok(TitlePlan {
        name: title.name.to_string(),
        stream,
        media,
        worker,
        protected: key_file.is_some(),
        feedback_port: title.feedback_port,
        rtcp_port: title.port.rtcp(),
        stagger,
        copies: copies.collect::<anyhow::Result<_>>()?,
    })
}

/// A stream under a new SSRC: with the key from a file, the SSRC alone keeps this run's keystream apart from earlier ones'.
///
/// Sequence numbers begin in the lower half, so that no receiver can be wrong about the first rollover (RFC 3711 §3.3.1).
fn new_stream(media: &Arc<Loop>, key: Option<(&crate::srtp::MasterKey, Option<crate::srtp::Mki>)>) -> anyhow::Result<Stream> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).context("the kernel gives no random numbers")?;
    let [a, b, c, d, e, f, g, h, i, j] = random;
    let first = PacketIndex::from_parts(0, u16::from_be_bytes([i, j]) & 0x7fff);
    Ok(Stream::new(media.clone(), u32::from_be_bytes([a, b, c, d]), first, u32::from_be_bytes([e, f, g, h]), key))
}

/// The configured tags as they go on the wire.
pub(super) fn vlan_tags(config: &Config) -> Vec<VlanTag> {
    let tags = config.network.vlan.tags(config.network.vlan_priority);
    tags.into_iter().map(|(tpid, tci)| VlanTag { tpid, tci }).collect()
}
