//! Whom to send to, and who counts.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::{Context, Result, ensure};
use sender::xdp::Reason;
use serde_json::Value;

use super::{lab::Lab, options::Options};

/// A box with the XDP program on it.
pub(super) struct Target {
    /// The interface to send from.
    pub(super) interface: String,
    pub(super) mac: [u8; 6],
    pub(super) address: Ipv4Addr,
}

impl Target {
    /// The box that the options name.
    pub(super) fn of(options: &Options) -> Result<Self> {
        let interface = options.interface.clone().context("--interface is missing")?;
        let mac = options.to_mac.context("--to-mac is missing")?.0;
        let address = options.to.context("--to is missing")?;
        Ok(Self { interface, mac, address })
    }
}

/// What was counted, by reason.
pub(super) type Counts = Vec<(Reason, u64)>;

/// Where the counted figures come from.
pub(super) enum Counter<'l> {
    /// The lab's own XDP program.
    Lab(&'l Lab),
    /// The status file of a running sender.
    Status(&'l Path),
    /// Nobody tells.
    None,
}

/// A reading.
pub(super) struct Reading {
    /// When the counter was read; its own clock.
    pub(super) at: u64,
    pub(super) counts: Counts,
}

impl Counter<'_> {
    pub(super) fn read(&self) -> Result<Option<Reading>> {
        match self {
            Counter::Lab(lab) => Ok(Some(lab.read()?)),
            Counter::Status(path) => status(path).map(Some),
            Counter::None => Ok(None),
        }
    }
}

fn status(path: &Path) -> Result<Reading> {
    let text = fs::read_to_string(path).with_context(|| format!("reading the status file {}", path.display()))?;
    let status: Value = serde_json::from_str(&text).with_context(|| format!("{} is no status file", path.display()))?;
    let counters = status["xdp"]["counters"].as_object();
    let counters = counters.with_context(|| format!("{} has no xdp.counters: is XDP off there?", path.display()))?;
    let count = |reason: &Reason| (*reason, counters.get(reason.name()).and_then(Value::as_u64).unwrap_or(0));
    let at = status["now_ns"].as_u64().context("the status file has no now_ns")?;
    Ok(Reading { at, counts: Reason::ALL.iter().map(count).collect() })
}

/// The way to everybody else is no place for load, unless somebody really means it.
pub(super) fn refuse_default_route(interface: &str, really: bool) -> Result<()> {
    let v4 = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    ensure!(
        really || !has_default_route(interface, &v4, &v6),
        "{interface} has the default route: this may hit more than the box; say --really if that is meant"
    );
    Ok(())
}

/// Looks for a route to everywhere through `interface` in what the kernel's two files say.
fn has_default_route(interface: &str, v4: &str, v6: &str) -> bool {
    let v4 = v4.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let v6 = v6.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let everywhere = "0".repeat(32);
    v4.into_iter().any(|f| f.len() > 7 && f[0] == interface && f[1] == "00000000" && f[7] == "00000000")
        || v6.into_iter().any(|f| f.len() > 9 && f[9] == interface && f[0] == everywhere && f[1] == "00")
}

#[cfg(test)]
mod tests {
    use super::has_default_route;

    #[test]
    fn the_default_route_is_found_in_both_families() {
        let v4 = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                  eth0 00000000 0100A8C0 0003 0 0 0 00000000 0 0 0\n\
                  eth1 0000A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
        let zero = "0".repeat(32);
        let v6 = format!("{zero} 00 {zero} 00 {zero} 00000400 00000001 00000000 00000003 eth2\n");
        assert!(has_default_route("eth0", v4, "") && !has_default_route("eth1", v4, &v6));
        assert!(has_default_route("eth2", v4, &v6));
    }
}
