//! What the machine must have for a configuration to run. Pure: facts in, problems out.

use std::net::IpAddr;

use super::{
    SurveyedTitle,
    machine::{BPF, Capability, IPC_LOCK, Machine, NET_ADMIN, NET_RAW, PERFMON},
    source_v4, source_v6,
};
use crate::{
    config::{
        BitRate, ByteSize, Config, Cpus, FRAME_SIZE, Fault, HugePages, Problem, Problems, Section, Title, XdpAttach,
        XskMode,
    },
    netif::{Interface, NetifError},
};

/// Bytes of a frame that are kept for everything before the RTP header.
const HEADER_ROOM: u64 = 128;

/// The mode that can be had: `auto` becomes `socket` for a process that may not open AF_XDP sockets.
pub(super) fn mode(config: &Config, machine: &Machine, warnings: &mut Vec<Problem>) -> XskMode {
    let wanted = config.network.mode;
    if wanted != XskMode::Auto {
        return wanted;
    }
    if machine.capabilities.has(NET_RAW) {
        // Without a native program some drivers (igb) accept a zero-copy socket and then never send.
        return if config.network.xdp == XdpAttach::Native { XskMode::Auto } else { XskMode::Copy };
    }
    let what = "AF_XDP needs CAP_NET_RAW, which this process doesn't have: plain sockets will be used";
    let fault = Fault::new(what, remedy_for_capabilities(machine));
    warnings.push(config.origins.problem(Section::Network, "mode", fault));
    XskMode::Socket
}

pub(super) fn machine(
    config: &Config,
    machine: &Machine,
    mode: XskMode,
    problems: &mut Problems,
    warnings: &mut Vec<Problem>,
) {
    capabilities(config, machine, mode, problems);
    match &machine.interface {
        Ok(found) => {
            interface(config, found, mode, problems, warnings);
            sources(config, found, mode, problems, warnings);
        }
        Err(error) => problems.push(config.origins.problem(Section::Network, "interface", missing(error))),
    }
    memory(config, machine, mode, problems);
    cpus(config, machine, problems);
}

fn missing(error: &NetifError) -> Fault {
    match error {
        NetifError::Missing { name, present } => Fault::new(
            format!("there is no interface {name:?}"),
            format!("use one of those that exist in this network namespace: {}", present.join(", ")),
        ),
        NetifError::Netlink(_) => Fault::new(error.to_string(), "check that this process may use netlink sockets"),
    }
}

fn remedy_for_capabilities(machine: &Machine) -> String {
    let all = "cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon,cap_ipc_lock=ep";
    let program = &machine.program;
    format!("run as root, or once `setcap {all} {program}`, or do without: mode = \"socket\" and xdp = \"off\"")
}

fn capabilities(config: &Config, machine: &Machine, mode: XskMode, problems: &mut Problems) {
    let mut demand = |key, what: &str, needed: &[Capability]| {
        let missing = machine.capabilities.missing(needed);
        if !missing.is_empty() {
            let what = format!("{what} needs {}, which this process doesn't have", missing.join(", "));
            problems.push(config.origins.problem(
                Section::Network,
                key,
                Fault::new(what, remedy_for_capabilities(machine)),
            ));
        }
    };
    if mode != XskMode::Socket {
        demand("mode", "AF_XDP", &[NET_RAW]);
    }
    if config.network.xdp != XdpAttach::Off {
        demand("xdp", "the counting program", &[NET_RAW, NET_ADMIN, BPF, PERFMON]);
    }
}

fn interface(config: &Config, found: &Interface, mode: XskMode, problems: &mut Problems, warnings: &mut Vec<Problem>) {
    let name = &found.name;
    let mut problem = |key, fault| problems.push(config.origins.problem(Section::Network, key, fault));
    if !found.up {
        problem("interface", Fault::new(format!("{name} is down"), format!("run `ip link set dev {name} up`")));
    } else if !found.carrier {
        let fault = Fault::new(
            format!("{name} has no link: nothing leaves the box"),
            "plug in the cable, or bring up the other end",
        );
        warnings.push(config.origins.problem(Section::Network, "interface", fault));
    }
    let count = found.queues();
    let beyond: Vec<String> =
        config.network.queues.iter().filter(|queue| **queue >= count).map(ToString::to_string).collect();
    if mode != XskMode::Socket && !beyond.is_empty() {
        let have =
            if count == 1 { "only queue 0".to_owned() } else { format!("queues 0 to {}", count.saturating_sub(1)) };
        let what = format!("there is no queue {}: {name} has {have}", beyond.join(", "));
        problem("queues", Fault::new(what, format!("use those, or give it more: `ethtool -L {name} combined N`")));
    }
}

/// A source address for each family that titles use.
fn sources(config: &Config, found: &Interface, mode: XskMode, problems: &mut Problems, warnings: &mut Vec<Problem>) {
    let name = &found.name;
    let families = [
        ("source_v4", "IPv4", false, source_v4(config, found).map(IpAddr::V4)),
        ("source_v6", "IPv6", true, source_v6(config, found).map(IpAddr::V6)),
    ];
    for (key, family, ipv6, source) in families {
        let Some(title) = config.titles.iter().find(|title| title.is_ipv6() == ipv6) else { continue };
        let Some(source) = source else {
            let what = format!("{name} has no {family} address to send title {:?} from", title.name.as_str());
            let fault =
                Fault::new(what, format!("give it one with `ip address add … dev {name}`, or write {key} = \"…\""));
            problems.push(config.origins.problem(Section::Network, key, fault));
            continue;
        };
        let own = match source {
            IpAddr::V4(v4) => found.ipv4.contains(&v4),
            IpAddr::V6(v6) => found.ipv6.contains(&v6),
        };
        if !own {
            let what = format!("{source} is no address of {name}");
            let remedy = format!("use one of the interface's, or run `ip address add {source} dev {name}`");
            let problem = config.origins.problem(Section::Network, key, Fault::new(what, remedy));
            if mode == XskMode::Socket { problems.push(problem) } else { warnings.push(problem) }
        }
    }
}

fn memory(config: &Config, machine: &Machine, mode: XskMode, problems: &mut Problems) {
    let queues = config.network.queues.len() as u64;
    let needed = config.transmit.umem.bytes().saturating_mul(queues);
    let sum = format!(
        "{} for each of {}, {} in all",
        config.transmit.umem,
        super::table::count(queues as usize, "queue"),
        ByteSize::from_bytes(needed)
    );
    let mut problem = |key, what: String, remedy: String| {
        problems.push(config.origins.problem(Section::Transmit, key, Fault::new(what, remedy)));
    };
    if let Some(memory) = machine.memory {
        let huge = if config.transmit.hugepages == HugePages::Off { 0 } else { memory.huge_free };
        if config.transmit.hugepages == HugePages::On && needed > huge {
            let pages = needed.div_ceil(memory.huge_page.max(1));
            let what = format!("{sum}, but only {} of huge pages are free", ByteSize::from_bytes(huge));
            problem(
                "hugepages",
                what,
                format!("run `sysctl vm.nr_hugepages={pages}`, or write \"auto\", or use a smaller umem"),
            );
        } else if needed > memory.available.max(huge) {
            let what = format!("{sum}, but only {} of memory are available", ByteSize::from_bytes(memory.available));
            problem(
                "umem",
                what,
                "use a smaller umem or fewer queues; titles that don't fit are encrypted again for each copy"
                    .to_owned(),
            );
        }
    }
    if let Some(limit) = machine.memlock
        && mode != XskMode::Socket
        && needed > limit
        && !machine.capabilities.has(IPC_LOCK)
    {
        let what = format!("{sum}, but this process may lock only {}", ByteSize::from_bytes(limit));
        let remedy = "raise the limit (`ulimit -l unlimited`, LimitMEMLOCK=infinity in the systemd unit), or give it CAP_IPC_LOCK";
        problem("umem", what, remedy.to_owned());
    }
}

fn cpus(config: &Config, machine: &Machine, problems: &mut Problems) {
    let (Cpus::Pinned(wanted), Some(allowed)) = (&config.transmit.cpus, &machine.cpus) else { return };
    let beyond: Vec<String> = wanted.iter().filter(|cpu| !allowed.contains(cpu)).map(ToString::to_string).collect();
    if !beyond.is_empty() {
        let what = format!("this process can't run on CPU {}", beyond.join(", "));
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        let fault = Fault::new(what, format!("use some of {}", allowed.join(", ")));
        problems.push(config.origins.problem(Section::Transmit, "cpus", fault));
    }
}

/// Whether every title's packets fit into the interface's MTU and into a frame.
pub(super) fn packets(config: &Config, interface: &Interface, titles: &[SurveyedTitle], problems: &mut Problems) {
    // An interface takes one VLAN tag beside its MTU, a second one comes out of it (is_skb_forwardable, net/core/dev.c).
    let tags = 4 * config.network.vlan.ids().len().saturating_sub(1) as u64;
    for (n, (title, surveyed)) in config.titles.iter().zip(titles).enumerate() {
        let Some(payload) = surveyed.max_payload() else { continue };
        let (ip, srtp) = (if title.is_ipv6() { 40 } else { 20 }, srtp_overhead(title));
        let rtp = 12 + payload + srtp;
        let packet = ip + 8 + rtp;
        let parts = format!("IP {ip}, UDP 8, RTP 12, media {payload}, SRTP {srtp}");
        let mtu = u64::from(interface.mtu);
        if packet + tags > mtu {
            let name = &interface.name;
            let second = if tags > 0 { " and a second VLAN tag" } else { "" };
            let what = format!("its packets of {packet} bytes ({parts}){second} don't fit into MTU {mtu} of {name}");
            let remedy =
                format!("run `ip link set dev {name} mtu {}`, here and on the way to the receivers", packet + tags);
            problems.push(config.origins.problem(Section::Title(n), "file", Fault::new(what, remedy)));
        } else if HEADER_ROOM + rtp > FRAME_SIZE {
            let what = format!("its packets of {packet} bytes ({parts}) don't fit into a frame of {FRAME_SIZE} bytes");
            let fault = Fault::new(what, "packetize the media into smaller packets");
            problems.push(config.origins.problem(Section::Title(n), "file", fault));
        }
    }
}

/// What SRTP adds to a packet of a title: tag and key identifier.
pub(super) fn srtp_overhead(title: &Title) -> u64 {
    match (&title.key_file, title.mki) {
        (None, _) => 0,
        (Some(_), false) => crate::srtp::TAG_LEN as u64,
        (Some(_), true) => (crate::srtp::TAG_LEN + crate::srtp::MKI_LEN) as u64,
    }
}

/// Warns if all copies together are more than the port carries.
pub(super) fn rate(config: &Config, interface: &Interface, titles: &[SurveyedTitle], warnings: &mut Vec<Problem>) {
    let Some(port) = config.network.rate.map(BitRate::bits_per_second).or(interface.speed) else { return };
    let needed: u64 = config.titles.iter().zip(titles).filter_map(|(title, surveyed)| surveyed.port_rate(title)).sum();
    if needed > port {
        let what = format!(
            "all copies together are {}, the port carries {}",
            super::table::rate(needed),
            super::table::rate(port)
        );
        let fault = Fault::new(
            what,
            "take fewer titles or copies, or a faster port; rate = \"…\" tells what it really carries",
        );
        warnings.push(config.origins.problem(Section::Network, "rate", fault));
    }
}
