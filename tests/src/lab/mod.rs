//! The test network: one sender and up to four receivers around a bridge that snoops, all in namespaces of their own.
//!
//! In: [`Options`]. Out: a [`Lab`] with a [`Node`] for each namespace, to run programs in, to enter, to join groups from,
//! to lose and count packets in, and to look at the wire. Everything is removed when the `Lab` is dropped, also by a panic.
//! Not done here: starting `sender`, judging results. No interface of the machine itself is ever touched.
//!
//! ```text
//!   <prefix>-snd                 <prefix>-br                   <prefix>-r1 … r4
//!   tx0 10.77.0.1/24  ──veth──  snd ┐                ┌ r1 ──veth── rx0 10.77.0.11/24 fd77::11/64
//!       fd77::1/64                  └ br0 (snooping) ┤ …
//!                                                    └ r4 ──veth── rx0 10.77.0.14/24 fd77::14/64
//! ```

mod capture;
mod member;
mod namespace;
mod node;
mod process;
mod querier;
mod rules;

pub use capture::{Capture, Captured, Direction};
pub use member::Membership;
pub use namespace::{Entered, Namespace, purge, sweep};
pub use node::{LinkStats, Node};
pub use process::Process;
pub use querier::{Querier, query_for_ever};
pub use rules::{Hook, Loss, Rule};

pub use nix::sys::signal::Signal;

use anyhow::{Context, Result, ensure};
use nix::time::{ClockId, clock_gettime};
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// How many receivers a lab can have.
pub const MAX_RECEIVERS: usize = 4;
/// The sender's interface, in its namespace.
pub const SENDER_INTERFACE: &str = "tx0";
/// A receiver's interface, in its namespace.
pub const RECEIVER_INTERFACE: &str = "rx0";
/// The bridge, in its namespace.
pub const BRIDGE: &str = "br0";

/// What a lab looks like. `Options::default()` fits most tests.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of the namespaces start with it. `None`: a prefix of this process and lab only, swept up by any later lab
    /// if this process dies before it can clean up.
    pub prefix: Option<String>,
    /// How many receivers, 1 to [`MAX_RECEIVERS`].
    pub receivers: usize,
    /// Queues (RX and TX) of the sender's veth.
    pub sender_queues: u32,
    /// Whether the bridge's port to the sender is a multicast router port for good, so that every report reaches the
    /// sender even before it has seen a query from there.
    pub router_port: bool,
    /// Whether the lab queries for memberships (IGMPv3, MLDv2) from the sender's namespace. A bridge without any querier
    /// floods multicast instead of snooping. Off for tests of a querier of the product's own.
    pub querier: bool,
    /// The links' MTU in bytes.
    pub mtu: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { prefix: None, receivers: MAX_RECEIVERS, sender_queues: 1, router_port: true, querier: true, mtu: 1500 }
    }
}

/// A running test network. Dropping it ends what runs inside and removes it.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    querier: Option<Querier>,
    sender: Node,
    receivers: Vec<Node>,
    bridge: Namespace,
}

impl Lab {
    /// The usual lab: four receivers, one queue, snooping in force.
    pub fn new() -> Result<Self> {
        Self::build(&Options::default())
    }

    /// Builds the network that `options` describe and waits until the bridge snoops.
    ///
    /// # Errors
    /// Without root or the tools (`ip`), or when a namespace of that prefix exists. What was built till then is removed.
    pub fn build(options: &Options) -> Result<Self> {
        ensure!(
            (1..=MAX_RECEIVERS).contains(&options.receivers),
            "a lab has 1 to {MAX_RECEIVERS} receivers, not {}",
            options.receivers
        );
        ensure!(
            nix::unistd::geteuid().is_root(),
            "the lab needs root, to make network namespaces: run it with sudo, or through `cargo xtask`"
        );
        sweep();
        let prefix = options.prefix.clone().unwrap_or_else(own_prefix);

        let bridge = Namespace::create(&format!("{prefix}-br"))?;
        bridge
            .ip(&format!(
                "link add {BRIDGE} mtu {} type bridge mcast_snooping 1 mcast_querier 0 mcast_igmp_version 3 \
                 mcast_mld_version 2\nlink set {BRIDGE} up\n",
                options.mtu
            ))
            .context("making the lab's bridge (does the kernel have bridges with multicast snooping?)")?;

        let sender = Node::connect(
            Namespace::create(&format!("{prefix}-snd"))?,
            &bridge,
            &node::Plan {
                interface: SENDER_INTERFACE,
                port: "snd",
                host: 1,
                queues: options.sender_queues,
                mtu: options.mtu,
                port_options: if options.router_port { "mcast_router 2" } else { "mcast_router 1" },
            },
        )?;
        let receivers = (1..=options.receivers)
            .map(|number| {
                Node::connect(
                    Namespace::create(&format!("{prefix}-r{number}"))?,
                    &bridge,
                    &node::Plan {
                        interface: RECEIVER_INTERFACE,
                        port: &format!("r{number}"),
                        host: 10 + number as u8,
                        queues: 1,
                        mtu: options.mtu,
                        // One host behind the port: a leave may act at once.
                        port_options: "fastleave on",
                    },
                )
            })
            .collect::<Result<Vec<_>>>()?;

        let querier = if options.querier { Some(Querier::start(&sender)?) } else { None };
        if querier.is_some() {
            // The bridge floods until the answers to the first query had their time (its delay timer, which can't be
            // read): only then does it forward by membership.
            std::thread::sleep(querier::MAX_RESPONSE + Duration::from_millis(50));
        }
        Ok(Self { prefix, querier, sender, receivers, bridge })
    }

    /// What the names of this lab's namespaces start with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The node that sends.
    pub fn sender(&self) -> &Node {
        &self.sender
    }

    /// Receiver `number`, counted from 1 as in its namespace's name.
    pub fn receiver(&self, number: usize) -> &Node {
        &self.receivers[number.checked_sub(1).expect("receivers are counted from 1")]
    }

    /// All receivers, r1 first.
    pub fn receivers(&self) -> &[Node] {
        &self.receivers
    }

    /// The namespace of the bridge.
    pub fn bridge(&self) -> &Namespace {
        &self.bridge
    }

    /// Leaves the network standing after this process: returns the names of its namespaces. [`purge`] removes it.
    /// The querier ends with this process: run [`query_for_ever`] in one that stays.
    pub fn leave_up(self) -> Vec<String> {
        let Self { sender, receivers, bridge, .. } = self;
        let mut names = vec![bridge.keep(), sender.into_namespace().keep()];
        names.extend(receivers.into_iter().map(|receiver| receiver.into_namespace().keep()));
        names
    }

    /// Ends the lab's own querier, if it has one. The bridge floods again some minutes after the last query.
    pub fn stop_querier(&mut self) {
        self.querier = None;
    }
}

/// CLOCK_MONOTONIC in nanoseconds: the clock of every time in summaries, status files and captures.
pub fn now() -> Result<u64> {
    nanos(ClockId::CLOCK_MONOTONIC)
}

fn nanos(clock: ClockId) -> Result<u64> {
    let time = Duration::from(clock_gettime(clock).context("reading a clock")?);
    Ok(u64::try_from(time.as_nanos()).expect("nanoseconds since boot or 1970 fit 64 bits for 580 years"))
}

/// The `sender` binary to test: the one that SENDER_BIN names, else the one beside the running test or xtask in the
/// target folder.
pub fn sender_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SENDER_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("finding the path of the running program")?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("sender"))
        .find(|path| path.is_file())
        .with_context(|| format!("no `sender` binary near {}: run `cargo build -p sender` first", own.display()))
}

/// A prefix no other lab has: `lab<pid>c<counter>`. [`sweep`] knows this form.
fn own_prefix() -> String {
    static LABS: AtomicU32 = AtomicU32::new(0);
    format!("lab{}c{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed))
}

/// IPv4 address of host `host` in the lab.
fn v4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host)
}

/// IPv6 address of host `host` in the lab, its last group reading like the IPv4 address's last byte.
fn v6(host: u8) -> Ipv6Addr {
    let digits = u16::from(host / 10) * 16 + u16::from(host % 10);
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, digits)
}

/// MAC address of host `host` in the lab.
fn mac(host: u8) -> [u8; 6] {
    [0x02, 0x00, 10, 77, 0, host]
}
