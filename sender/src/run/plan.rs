//! From what was found ready to what will run: streams with keys and SSRCs, and where each copy goes.

use std::{collections::HashSet, net::SocketAddr, sync::Arc};

use anyhow::Context;

use super::ports::Demand;
use crate::{
    check::{Ready, ReadyTitle},
    config::{Config, Title},
    media::Loop,
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
    /// Draws SSRCs and works out destinations; changes nothing on the machine.
    ///
    /// # Errors
    /// The first title that can't be sent, with what is wrong.
    pub(super) fn new(ready: &Ready) -> anyhow::Result<Self> {
        let workers = ready.config.network.queues.len();
        let titles = ready.config.titles.iter().zip(&ready.titles).enumerate();
        let mut ssrcs = HashSet::new();
        let titles = titles.map(|(number, (title, opened))| {
            let stream = new_stream(&opened.media, opened.key.as_ref(), &mut ssrcs)?;
            plan_title(ready, title, opened, stream, number % workers)
                .with_context(|| format!("title \"{}\" can't be sent", title.name))
        });
        Ok(Self { titles: titles.collect::<anyhow::Result<_>>()? })
    }

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

fn plan_title(
    ready: &Ready,
    title: &Title,
    opened: &ReadyTitle,
    stream: Stream,
    worker: usize,
) -> anyhow::Result<TitlePlan> {
    let source = ready.source(title.is_ipv6()).context("there is no source address of the groups' family")?;
    let vlans = vlan_tags(&ready.config);
    let dscp = ready.config.network.dscp.get();
    let destination = |group, port| {
        let (source, group) = (SocketAddr::new(source, port), SocketAddr::new(group, port));
        Destination::multicast(ready.interface.mac, &vlans, source, group, title.ttl.get(), dscp)
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
        stream: Arc::new(stream),
        media: opened.media.clone(),
        worker,
        protected: opened.key.is_some(),
        feedback_port: title.feedback_port,
        rtcp_port: title.port.rtcp(),
        stagger: nanos(opened.stagger.duration()),
        copies: copies.collect::<anyhow::Result<_>>()?,
    })
}

/// A stream under a new SSRC: with the key from a file, the SSRC alone keeps this run's keystream apart from earlier ones'.
///
/// Titles may share a key file, so no two may have one SSRC (RFC 3711 §9.1): `taken` holds those drawn before.
///
/// Sequence numbers begin in the lower half, so that no receiver can be wrong about the first rollover (RFC 3711 §3.3.1).
fn new_stream(media: &Arc<Loop>, key: Option<&KeyFile>, taken: &mut HashSet<u32>) -> anyhow::Result<Stream> {
    let ssrc = loop {
        let ssrc = u32::from_be_bytes(random()?);
        if taken.insert(ssrc) {
            break ssrc;
        }
    };
    let first = PacketIndex::from_parts(0, u16::from_be_bytes(random()?) & 0x7fff);
    let key = key.map(|file| (&file.master, file.mki));
    Ok(Stream::new(media.clone(), ssrc, first, u32::from_be_bytes(random()?), key))
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the kernel gives no random numbers")?;
    Ok(bytes)
}

/// The configured tags as they go on the wire.
pub(super) fn vlan_tags(config: &Config) -> Vec<VlanTag> {
    let tags = config.network.vlan.tags(config.network.vlan_priority);
    tags.into_iter().map(|(tpid, tci)| VlanTag { tpid, tci }).collect()
}
