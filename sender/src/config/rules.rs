//! Rules between keys of different sections and between titles.

use std::collections::HashMap;

use super::{
    Cpus, FRAME_SIZE, Fault, GroupAddress, GroupMac, Network, Problem, Section, Title, Transmit, XdpAttach, XskMode,
    reader::Document,
};

pub(super) fn between_sections(document: &mut Document<'_>, network: Option<&Network>, transmit: Option<&Transmit>) {
    if let Some(network) = network {
        if network.mode == XskMode::ZeroCopy && network.xdp != XdpAttach::Native {
            let what =
                "zero-copy is only safe with the native XDP program: without it some drivers bind and then never send";
            let remedy = "set xdp = \"native\", or mode = \"copy\" or \"auto\"";
            document.fault(Section::Network, "xdp", Fault::new(what, remedy));
        }
        if network.mode == XskMode::Socket && !network.vlan.ids().is_empty() {
            let id = network.vlan.ids()[0];
            let remedy =
                format!("leave out vlan and send by the VLAN's own interface, like {}.{id}", network.interface);
            document.fault(Section::Network, "vlan", Fault::new("plain sockets can't put tags on packets", remedy));
        }
    }
    if let Some(transmit) = transmit {
        let (frames, least) = (transmit.frames(), 4 * u64::from(transmit.ring));
        if frames < least {
            let what = format!("{frames} packets fit, but ring = {} needs {least}", transmit.ring);
            let remedy =
                format!("use at least \"{}\", or a smaller ring", super::ByteSize::from_bytes(least * FRAME_SIZE));
            document.fault(Section::Transmit, "umem", Fault::new(what, remedy));
        }
        if transmit.burst > transmit.ring {
            let fault = Fault::new(format!("the ring holds only {}", transmit.ring), "use at most the ring's size");
            document.fault(Section::Transmit, "burst", fault);
        }
    }
    if let (Some(network), Some(Transmit { cpus: Cpus::Pinned(cpus), .. })) = (network, transmit)
        && cpus.len() != network.queues.len()
    {
        let what = format!("{} CPUs for {} queues", cpus.len(), network.queues.len());
        document.fault(Section::Transmit, "cpus", Fault::new(what, "list one CPU for each queue, or write \"auto\""));
    }
}

/// Names, groups and ports that must be unique. Returns what is legal but unwise.
pub(super) fn between_titles(document: &mut Document<'_>, titles: &[(usize, Title)]) -> Vec<Problem> {
    unique_names(document, titles);
    unique_groups(document, titles);
    distinct_ports(document, titles);
    let flooded = titles.iter().filter_map(|(n, title)| {
        let group = title.groups.iter().find(|group| matches!(group.mac(), GroupMac::V4(low) if low < 0x100))?;
        let what =
            format!("{group} has the Ethernet address of a group in 224.0.0.0/24, which switches send to every port");
        let fault = Fault::new(what, "avoid addresses that end in .0.0.x or .128.0.x, take 239.192.1.0 or later");
        Some(document.origins.problem(Section::Title(*n), group_key(document, *n), fault))
    });
    flooded.collect()
}

fn unique_names(document: &mut Document<'_>, titles: &[(usize, Title)]) {
    let mut seen = HashMap::new();
    for (n, title) in titles {
        if let Some(first) = seen.insert(&title.name, *n) {
            let line = document.origins.line(Section::Title(first), "name");
            let fault = Fault::new(
                format!("there is a title of this name already ({line})"),
                "give each title a name of its own",
            );
            document.fault(Section::Title(*n), "name", fault);
        }
    }
}

/// The key that a title's groups come from.
fn group_key(document: &Document<'_>, n: usize) -> &'static str {
    if document.origins.is_written(Section::Title(n), "groups") { "groups" } else { "group" }
}

fn unique_groups(document: &mut Document<'_>, titles: &[(usize, Title)]) {
    let mut seen: HashMap<GroupMac, (usize, GroupAddress)> = HashMap::new();
    for (n, title) in titles {
        for group in &title.groups {
            let Some(&(other, taken)) = seen.get(&group.mac()) else {
                seen.insert(group.mac(), (*n, *group));
                continue;
            };
            let whose =
                if other == *n { "this title".to_owned() } else { format!("title {:?}", name_of(titles, other)) };
            let (what, remedy) = if taken == *group {
                (format!("{group} is a group of {whose} already"), "give each copy of each title a group of its own")
            } else {
                let bits = if group.ip().is_ipv4() { 23 } else { 32 };
                let what = format!(
                    "{group} and {taken} of {whose} are one Ethernet address: their low {bits} bits are the same"
                );
                (what, "use groups that differ in these bits, so that switches and NICs can tell them apart")
            };
            let key = group_key(document, *n);
            document.fault(Section::Title(*n), key, Fault::new(what, remedy));
            // One message for each title is enough: the next address of an overlapping range says nothing new.
            break;
        }
    }
}

fn name_of(titles: &[(usize, Title)], n: usize) -> &str {
    titles.iter().find(|(number, _)| *number == n).map_or("", |(_, title)| title.name.as_str())
}

/// A feedback port belongs to one title, and is no title's media or RTCP port: reports are told apart by port.
fn distinct_ports(document: &mut Document<'_>, titles: &[(usize, Title)]) {
    let mut media: HashMap<u16, (usize, &str)> = HashMap::new();
    for (n, title) in titles {
        media.entry(title.port.rtp()).or_insert((*n, "RTP"));
        media.entry(title.port.rtcp()).or_insert((*n, "RTCP"));
    }
    let mut feedback: HashMap<u16, usize> = HashMap::new();
    for (n, title) in titles {
        let port = title.feedback_port;
        let clash = match (feedback.get(&port), media.get(&port)) {
            (Some(other), _) => Some((*other, "feedback_port", "the feedback port")),
            (None, Some((other, "RTP"))) => Some((*other, "port", "the RTP port")),
            (None, Some((other, _))) => Some((*other, "port", "the RTCP port (port + 1)")),
            (None, None) => None,
        };
        feedback.entry(port).or_insert(*n);
        if let Some((other, key, whose)) = clash {
            let line = document.origins.line(Section::Title(other), key);
            let what = format!("this is {whose} of title {:?} already ({line})", name_of(titles, other));
            let fault = Fault::new(what, "reports are told apart by it: use a port that no title uses");
            document.fault(Section::Title(*n), "feedback_port", fault);
        }
    }
}
