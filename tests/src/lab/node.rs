//! A host of the lab: its namespace, its one interface and its addresses.

use super::{Capture, Hook, Loss, Membership, Namespace, Process, Rule, mac, namespace, v4, v6};
use anyhow::{Context, Result};
use std::{
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
};

/// A host of the lab. What a [`Namespace`] can do, it can too.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    interface: String,
    host: u8,
}

/// How a node is connected.
pub(super) struct Plan<'a> {
    pub(super) interface: &'a str,
    pub(super) port: &'a str,
    pub(super) host: u8,
    pub(super) queues: u32,
    pub(super) mtu: u32,
    pub(super) port_options: &'a str,
}

/// Counters of an interface, as the kernel keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets dropped on receipt.
    pub rx_dropped: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets dropped on sending.
    pub tx_dropped: u64,
}

impl Node {
    /// Connects `namespace` to a port of the bridge.
    pub(super) fn connect(namespace: Namespace, bridge: &Namespace, plan: &Plan<'_>) -> Result<Self> {
        let Plan { interface, port, host, queues, mtu, port_options } = plan;
        let address = mac(*host).map(|byte| format!("{byte:02x}")).join(":");
        namespace::run(
            namespace::ip().args(["-batch", "-"]),
            &format!(
                "link add name {interface} mtu {mtu} netns {} address {address} numtxqueues {queues} numrxqueues {queues} \
                 type veth peer name {port} mtu {mtu} netns {} numtxqueues {queues} numrxqueues {queues}\n",
                namespace.name(),
                bridge.name()
            ),
        )
        .with_context(|| format!("connecting {} to the lab's bridge", namespace.name()))?;
        bridge.ip(&format!(
            "link set {port} master {}\nlink set {port} type bridge_slave {port_options}\nlink set {port} up\n",
            super::BRIDGE
        ))?;
        namespace.ip(&format!(
            "link set {interface} up\naddress add {}/24 dev {interface}\naddress add {}/64 dev {interface} nodad\n\
             route add 224.0.0.0/4 dev {interface}\n",
            v4(*host),
            v6(*host)
        ))?;
        Ok(Self { namespace, interface: (*interface).to_owned(), host: *host })
    }

    /// The name of its interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Its IPv4 address.
    pub fn v4(&self) -> Ipv4Addr {
        v4(self.host)
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> Ipv6Addr {
        v6(self.host)
    }

    /// Its MAC address.
    pub fn mac(&self) -> [u8; 6] {
        mac(self.host)
    }

    /// Starts `program` inside; it is killed when the guard is dropped.
    pub fn spawn<S: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, arguments: &[S]) -> Result<Process> {
        let mut command = self.command(program);
        command.args(arguments);
        Process::spawn(command)
    }

    /// Joins `group` on this node's interface, of any source or of `source` only, with a socket bound to the group and
    /// `port`. Leaves when dropped.
    pub fn join(&self, group: IpAddr, port: u16, source: Option<IpAddr>) -> Result<Membership> {
        Membership::join(self, group, port, source)
    }

    /// Loses incoming packets that match the nft expression `matching` (`udp dport 5004`; empty: all IP packets).
    /// Joins and captures are not touched, delivery is. Ends when the rule is dropped.
    pub fn lose(&self, matching: &str, loss: Loss) -> Result<Rule> {
        Rule::lose(&self.namespace, matching, loss)
    }

    /// Counts packets that match the nft expression `matching` at `hook`, until the rule is dropped.
    pub fn count(&self, hook: Hook, matching: &str) -> Result<Rule> {
        Rule::count(&self.namespace, hook, matching)
    }

    /// Captures everything on the wire of this node from now on.
    pub fn capture(&self) -> Result<Capture> {
        Capture::start(&self.namespace, &self.interface)
    }

    /// The interface's counters.
    pub fn link_stats(&self) -> Result<LinkStats> {
        let shown = namespace::run(
            namespace::ip().args(["-n", self.name(), "-json", "-statistics", "link", "show", &self.interface]),
            "",
        )?;
        let links: serde_json::Value = serde_json::from_str(&shown).context("reading `ip -json link`")?;
        let counter = |way: &str, name: &str| {
            links[0]["stats64"][way][name]
                .as_u64()
                .with_context(|| format!("`ip -json -statistics link` without {way} {name}"))
        };
        Ok(LinkStats {
            rx_packets: counter("rx", "packets")?,
            rx_bytes: counter("rx", "bytes")?,
            rx_dropped: counter("rx", "dropped")?,
            tx_packets: counter("tx", "packets")?,
            tx_bytes: counter("tx", "bytes")?,
            tx_dropped: counter("tx", "dropped")?,
        })
    }

    pub(super) fn into_namespace(self) -> Namespace {
        self.namespace
    }
}

impl Deref for Node {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}
