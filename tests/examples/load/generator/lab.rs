//! A network of the generator's own: two namespaces joined by a veth pair, the XDP program on the far end.
//!
//! Neither end has an address, nor IPv6: what is counted is what was sent, and nobody answers.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use sender::xdp::{Mode, Reason, Settings, TitleEntry, TitleId, Xdp};
use sender_tests::lab::{Entered, Namespace};

use super::{
    account::Drops,
    options::Options,
    target::{Reading, Target},
};

/// The near end.
pub(super) const SENDER: &str = "tx0";
/// The far end.
pub(super) const RECEIVER: &str = "rx0";
const MAC: [u8; 6] = [2, 0, 10, 79, 0, 2];

/// The running network. The fields are dropped in this order.
pub(super) struct Lab {
    xdp: Xdp,
    sender: Namespace,
    receiver: Namespace,
}

impl Lab {
    pub(super) fn new(options: &Options) -> Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        // A name that any later lab sweeps up, should this process be killed; beyond the numbers of its other labs.
        let prefix = format!("lab{}c{}", std::process::id(), 7000 + LABS.fetch_add(1, Ordering::Relaxed));
        let sender = Namespace::create(&format!("{prefix}-snd"))?;
        let receiver = Namespace::create(&format!("{prefix}-r1"))?;
        for namespace in [&sender, &receiver] {
            namespace.within(|| {
                std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").context("switching IPv6 off")
            })?;
        }
        let mac = MAC.map(|octet| format!("{octet:02x}")).join(":");
        sender.ip(&format!(
            "link add {SENDER} type veth peer name {RECEIVER} address {mac} netns {}\nlink set {SENDER} up\n",
            receiver.name()
        ))?;
        receiver.ip(&format!("link set {RECEIVER} up\n"))?;
        let settings = Settings {
            // Room to spare: the kernel's free lists keep a part of the entries for each CPU.
            receivers: (options.clients + options.clients / 4).max(4096) as u32,
            front_door: Some(options.front_door).filter(|port| *port != 0),
            ..Settings::default()
        };
        let xdp = {
            let _inside = receiver.enter()?;
            let mut xdp = Xdp::attach(RECEIVER, Mode::Native, &settings)?;
            register(&mut xdp, options)?;
            xdp
        };
        Ok(Self { xdp, sender, receiver })
    }

    pub(super) fn target(&self, _: &Options) -> Target {
        Target { interface: SENDER.to_owned(), mac: MAC, address: Ipv4Addr::new(10, 79, 0, 2) }
    }

    /// Moves the calling thread to the near end.
    pub(super) fn enter(&self) -> Result<Entered> {
        self.sender.enter()
    }

    pub(super) fn read(&self) -> Result<Reading> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("reading the clock")?;
        let at = std::time::Duration::from(now).as_nanos() as u64;
        Ok(Reading { at, counts: self.xdp.counters()?.iter().collect() })
    }

    /// What the far end's interface says.
    pub(super) fn far_end(&self) -> Result<Drops> {
        self.receiver.within(|| Drops::read(RECEIVER))
    }
}

fn register(xdp: &mut Xdp, options: &Options) -> Result<()> {
    let title = |number: usize| TitleEntry::new(TitleId(number as u16), false, true);
    for (number, port) in options.feedback.iter().enumerate() {
        xdp.register_feedback(*port, title(number))?;
    }
    for (number, group) in options.group.iter().enumerate() {
        xdp.register_group((*group).into(), 5005, title(number))?;
    }
    debug_assert_eq!(xdp.counters()?.get(Reason::Report), 0);
    Ok(())
}
