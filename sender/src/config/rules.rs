//! Rules between several keys and between titles.

use std::collections::HashMap;

use super::{
    ByteSize, Cpus, FRAME_SIZE, Fault, GroupAddress, GroupMac, InterfaceName, Problem, RtpPort, Section, TitleName,
    Vlans, XdpAttach, XskMode,
    reader::{Document, Reader},
};

/// The keys of `[network]` among one another, as far as they could be read.
pub(super) fn network(
    s: &mut Reader<'_, '_, '_>,
    interface: Option<&InterfaceName>,
    mode: Option<XskMode>,
    xdp: Option<XdpAttach>,
    vlan: Option<&Vlans>,
) {
    if mode == Some(XskMode::ZeroCopy) && xdp.is_some_and(|xdp| xdp != XdpAttach::Native) {
        let what =
            "zero-copy is only safe with the native XDP program: without it some drivers bind and then never send";
        s.fault("xdp", Fault::new(what, "set xdp = \"native\", or mode = \"copy\" or \"auto\""));
    }
    if mode == Some(XskMode::Socket)
        && let Some([outer, ..]) = vlan.map(Vlans::ids)
    {
        let name = interface.map_or("eth1", InterfaceName::as_str);
        let remedy = format!("leave out vlan and send by the VLAN's own interface, like {name}.{outer}");
        s.fault("vlan", Fault::new("plain sockets can't put tags on packets", remedy));
    }
}

/// The keys of `[transmit]` among one another, and the CPUs beside the queues, as far as they could be read.
pub(super) fn transmit(
    s: &mut Reader<'_, '_, '_>,
    umem: Option<ByteSize>,
    ring: Option<u32>,
    burst: Option<i64>,
    cpus: Option<&Cpus>,
    queues: Option<usize>,
) {
    if let (Some(umem), Some(ring)) = (umem, ring) {
        let (frames, least) = (umem.bytes() / FRAME_SIZE, 4 * u64::from(ring));
        if frames < least {
            let what = format!("{frames} packets fit, but ring = {ring} needs {least}");
            let remedy = format!("use at least \"{}\", or a smaller ring", ByteSize::from_bytes(least * FRAME_SIZE));
            s.fault("umem", Fault::new(what, remedy));
        }
    }
    if let (Some(burst), Some(ring)) = (burst, ring)
        && burst > i64::from(ring)
    {
        s.fault("burst", Fault::new(format!("the ring holds only {ring}"), "use at most the ring's size"));
    }
    if let (Some(queues), Some(Cpus::Pinned(cpus))) = (queues, cpus)
        && cpus.len() != queues
    {
        let what = format!("{} CPUs for {queues} queues", cpus.len());
        s.fault("cpus", Fault::new(what, "list one CPU for each queue, or write \"auto\""));
    }
}

/// What of a title must differ from all others, as far as it could be read.
pub(super) struct Draft {
    pub(super) number: usize,
    pub(super) name: Option<TitleName>,
    pub(super) groups: Vec<GroupAddress>,
    pub(super) port: Option<RtpPort>,
    pub(super) feedback_port: Option<u16>,
}

impl Draft {
    fn section(&self) -> Section {
        Section::Title(self.number)
    }

    /// As another title's message calls it.
    fn called(&self) -> String {
        match &self.name {
            Some(name) => format!("title {:?}", name.as_str()),
            None => format!("title number {}", self.number + 1),
        }
    }
}

/// Names, groups and ports that must be unique. Returns what is legal but unwise.
pub(super) fn between_titles(document: &mut Document<'_>, titles: &[Draft]) -> Vec<Problem> {
    unique_names(document, titles);
    unique_groups(document, titles);
    distinct_ports(document, titles);
    let flooded = titles.iter().filter_map(|title| {
        let group = title.groups.iter().find(|group| matches!(group.mac(), GroupMac::V4(low) if low < 0x100))?;
        let what =
            format!("{group} has the Ethernet address of a group in 224.0.0.0/24, which switches send to every port");
        let fault = Fault::new(what, "avoid addresses that end in .0.0.x or .128.0.x, take 239.192.1.0 or later");
        Some(document.origins.problem(title.section(), group_key(document, title), fault))
    });
    flooded.collect()
}

fn unique_names(document: &mut Document<'_>, titles: &[Draft]) {
    let mut seen = HashMap::new();
    for title in titles {
        let Some(name) = &title.name else { continue };
        let Some(first) = seen.get(name) else {
            seen.insert(name, title.section());
            continue;
        };
        let line = document.origins.line(*first, "name");
        let fault =
            Fault::new(format!("there is a title of this name already ({line})"), "give each title a name of its own");
        document.fault(title.section(), "name", fault);
    }
}

/// The key that a title's groups come from.
fn group_key(document: &Document<'_>, title: &Draft) -> &'static str {
    if document.origins.is_written(title.section(), "groups") { "groups" } else { "group" }
}

fn unique_groups(document: &mut Document<'_>, titles: &[Draft]) {
    let mut seen: HashMap<GroupMac, (&Draft, GroupAddress)> = HashMap::new();
    for title in titles {
        for group in &title.groups {
            let Some(&(other, taken)) = seen.get(&group.mac()) else {
                seen.insert(group.mac(), (title, *group));
                continue;
            };
            let whose = if other.number == title.number { "this title".to_owned() } else { other.called() };
            let (what, remedy) = if taken == *group {
                (format!("{group} is a group of {whose} already"), "give each copy of each title a group of its own")
            } else {
                let bits = if group.ip().is_ipv4() { 23 } else { 32 };
                let what = format!(
                    "{group} and {taken} of {whose} are one Ethernet address: their low {bits} bits are the same"
                );
                (what, "use groups that differ in these bits, so that switches and NICs can tell them apart")
            };
            let key = group_key(document, title);
            document.fault(title.section(), key, Fault::new(what, remedy));
            // One message for each title is enough: the next address of an overlapping range says nothing new.
            break;
        }
    }
}

/// A feedback port belongs to one title, and is no title's media or RTCP port: reports are told apart by port.
fn distinct_ports(document: &mut Document<'_>, titles: &[Draft]) {
    let mut media: HashMap<u16, (&Draft, &str)> = HashMap::new();
    for title in titles {
        let Some(port) = title.port else { continue };
        media.entry(port.rtp()).or_insert((title, "the RTP port"));
        media.entry(port.rtcp()).or_insert((title, "the RTCP port (port + 1)"));
    }
    let mut feedback: HashMap<u16, &Draft> = HashMap::new();
    for title in titles {
        let Some(port) = title.feedback_port else { continue };
        let clash = match (feedback.get(&port), media.get(&port)) {
            (Some(other), _) => Some((*other, "feedback_port", "the feedback port")),
            (None, Some((other, whose))) => Some((*other, "port", *whose)),
            (None, None) => None,
        };
        feedback.entry(port).or_insert(title);
        if let Some((other, key, whose)) = clash {
            let line = document.origins.line(other.section(), key);
            let what = format!("this is {whose} of {} already ({line})", other.called());
            let fault = Fault::new(what, "reports are told apart by it: use a port that no title uses");
            document.fault(title.section(), "feedback_port", fault);
        }
    }
}
