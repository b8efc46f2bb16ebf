//! The sections, key by key. What concerns more than one key of a section, or more than one title, is in `rules`.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use toml::de::{DeTable, DeValue};

use super::{
    Config, Cpus, Dscp, FRAME_SIZE, Fault, GroupAddress, Log, MAX_COPIES, MAX_TITLES, Nanos, Network, Problems, Rtcp,
    RtpPort, SECTIONS, Section, Stagger, Title, TitleName, Transmit, Ttl, Vlans, keys,
    reader::{Document, Reader, boolean, integer, integer_in, list, parsed, text},
    rules::{self, Draft},
    values,
};

const MIB: u64 = 1 << 20;

pub(super) fn parse(file: &Path, source: &str) -> Result<Config, Problems> {
    let mut document = Document::new(file, source);
    let (root, errors) = DeTable::parse_recoverable(source);
    for error in &errors {
        let fault =
            Fault::new(format!("this is not TOML: {}", error.message()), "correct the line; strings stand in quotes");
        document.fault_at(error.span().map_or(0, |span| span.start), String::new(), fault);
    }
    if !errors.is_empty() {
        // What recovery made of broken lines would only produce errors about errors.
        return Err(document.problems);
    }
    let root = root.get_ref();
    let known: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
    document.refuse_unknown("", root, &known);

    let (network, queues) =
        network(&mut Reader::new(&mut document, Section::Network, keys::NETWORK, root.get("network")));
    let transmit =
        transmit(&mut Reader::new(&mut document, Section::Transmit, keys::TRANSMIT, root.get("transmit")), queues);
    let rtcp = rtcp(&mut Reader::new(&mut document, Section::Rtcp, keys::RTCP, root.get("rtcp")));
    let log = log(&mut Reader::new(&mut document, Section::Log, keys::LOG, root.get("log")));
    let (drafts, titles) = titles(&mut document, root, network.as_ref().map(|network| network.ttl), file);
    let warnings = rules::between_titles(&mut document, &drafts);

    let Document { origins, mut problems, .. } = document;
    match (network, transmit, rtcp, log, titles) {
        (Some(network), Some(transmit), Some(rtcp), Some(log), Some(titles)) if problems.is_empty() => {
            Ok(Config { file: file.to_owned(), network, transmit, rtcp, log, titles, warnings, origins })
        }
        _ => {
            problems.sort();
            Err(problems)
        }
    }
}

/// Gives the number of queues even if the rest is wrong: `[transmit]` is held against it.
fn network(s: &mut Reader<'_, '_, '_>) -> (Option<Network>, Option<usize>) {
    let interface = s.read("interface", |v| parsed(v, "\"eth1\""));
    let queues = s.read("queues", queues);
    let mode = s.read("mode", |v| parsed(v, "\"auto\""));
    let xdp = s.read("xdp", |v| parsed(v, "\"native\""));
    let querier = s.read("querier", |v| parsed(v, "\"auto\""));
    let source_v4 = s.read_optional("source_v4", unicast_v4);
    let source_v6 = s.read_optional("source_v6", unicast_v6);
    let vlan = s.read("vlan", |v| Vlans::new(&list(v, "[100]", integer)?));
    let vlan_priority = s.read("vlan_priority", |v| integer_in(v, 0, 7));
    let ttl = s.read("ttl", |v| Ttl::new(integer(v)?));
    let dscp = s.read("dscp", |v| Dscp::new(integer(v)?));
    let rate = s.read_optional("rate", |v| parsed(v, "\"10Gb/s\""));
    rules::network(s, interface.as_ref(), mode, xdp, vlan.as_ref());
    let count = queues.as_ref().map(Vec::len);
    let complete = || {
        Some(Network {
            interface: interface?,
            queues: queues?,
            mode: mode?,
            xdp: xdp?,
            querier: querier?,
            source_v4: source_v4?,
            source_v6: source_v6?,
            vlan: vlan?,
            vlan_priority: vlan_priority? as u8,
            ttl: ttl?,
            dscp: dscp?,
            rate: rate?,
        })
    };
    (complete(), count)
}

fn transmit(s: &mut Reader<'_, '_, '_>, queues: Option<usize>) -> Option<Transmit> {
    let umem = s.read("umem", umem);
    let ring = s.read("ring", ring);
    let hugepages = s.read("hugepages", |v| parsed(v, "\"auto\""));
    let cpus = s.read("cpus", cpus);
    let burst = s.read("burst", |v| integer_in(v, 1, 1024));
    let max_lateness =
        s.read("max_lateness", |v| time_in(v, Nanos::from_nanos(1_000_000), Nanos::from_nanos(10_000_000_000)));
    rules::transmit(s, umem, ring, burst, cpus.as_ref(), queues);
    Some(Transmit {
        umem: umem?,
        ring: ring?,
        hugepages: hugepages?,
        cpus: cpus?,
        burst: burst? as u32,
        max_lateness: max_lateness?,
    })
}

fn rtcp(s: &mut Reader<'_, '_, '_>) -> Option<Rtcp> {
    const SECOND: u64 = 1_000_000_000;
    let interval = s.read("interval", |v| time_in(v, Nanos::from_nanos(SECOND / 10), Nanos::from_nanos(60 * SECOND)));
    let report_timeout =
        s.read("report_timeout", |v| time_in(v, Nanos::from_nanos(SECOND), Nanos::from_nanos(3600 * SECOND)));
    let cname = s.read_optional("cname", |v| parsed(v, "\"sender@box1.example\""));
    if let (Some(interval), Some(timeout)) = (interval, report_timeout)
        && timeout.nanos() < interval.nanos().saturating_mul(2)
    {
        let what = format!("a receiver reports every {interval} or so and would be taken for gone in between");
        let remedy = format!("use at least twice the interval, better five times: \"{}\"", times(interval, 5));
        s.fault("report_timeout", Fault::new(what, remedy));
    }
    Some(Rtcp { interval: interval?, report_timeout: report_timeout?, cname: cname? })
}

fn log(s: &mut Reader<'_, '_, '_>) -> Option<Log> {
    Some(Log { level: s.read("level", |v| parsed(v, "\"info\""))? })
}

/// What could be read of every title, and all titles if all could be read whole.
fn titles(
    document: &mut Document<'_>,
    root: &DeTable<'_>,
    ttl: Option<Ttl>,
    file: &Path,
) -> (Vec<Draft>, Option<Vec<Title>>) {
    let Some(value) = root.get("title") else {
        let what = "there is no [[title]], so nothing would be sent";
        let fault = Fault::new(what, "add a [[title]] section with name, file, group and feedback_port");
        document.problems.push(document.origins.general(fault));
        return (Vec::new(), None);
    };
    let refuse = |document: &mut Document<'_>, fault| {
        document.fault_at(value.span().start, "title".to_owned(), fault);
        (Vec::new(), None)
    };
    let list = match value.get_ref().as_array() {
        None => {
            let fault = Fault::new("titles are a list of sections", "write its header with two brackets: [[title]]");
            return refuse(document, fault);
        }
        Some(list) if list.is_empty() => {
            return refuse(document, Fault::new("this list is empty", "add a [[title]] section"));
        }
        Some(list) if list.len() > MAX_TITLES => {
            let what = format!("{} titles are too many", list.len());
            return refuse(document, Fault::new(what, format!("keep to {MAX_TITLES} on one box")));
        }
        Some(list) => list,
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let (mut drafts, mut titles) = (Vec::new(), Some(Vec::new()));
    for (n, value) in list.iter().enumerate() {
        let (draft, title) =
            title(&mut Reader::new(document, Section::Title(n), keys::TITLE, Some(value)), n, ttl, folder);
        drafts.push(draft);
        titles = titles.zip(title).map(|(mut titles, title)| {
            titles.push(title);
            titles
        });
    }
    (drafts, titles)
}

fn title(s: &mut Reader<'_, '_, '_>, number: usize, network_ttl: Option<Ttl>, folder: &Path) -> (Draft, Option<Title>) {
    let path = |v: &DeValue<'_>| match text(v, "\"media/news.ts\"")? {
        "" => Err(Fault::new("this names no file", "write a path, absolute or relative to this file's folder")),
        path => Ok(folder.join(path)),
    };
    let name: Option<TitleName> = s.read("name", |v| parsed(v, "\"news\""));
    let file = s.read("file", path);
    let groups = groups(s);
    let stagger = s.read("stagger", stagger);
    let port = s.read("port", |v| RtpPort::new(integer(v)?));
    let feedback_port = s.read("feedback_port", |v| values::port_number(integer(v)?));
    let ttl = s.read_optional("ttl", |v| Ttl::new(integer(v)?));
    let key_file = s.read_optional("key_file", path);
    let mki = s.read("mki", boolean);
    let draft = Draft { number, name: name.clone(), groups: groups.clone().unwrap_or_default(), port, feedback_port };
    let complete = || {
        Some(Title {
            name: name?,
            file: file?,
            groups: groups?,
            stagger: stagger?,
            port: port?,
            feedback_port: feedback_port?,
            ttl: ttl?.or(network_ttl)?,
            key_file: key_file?,
            mki: mki?,
        })
    };
    (draft, complete())
}

/// `group` and `copies`, or `groups`: one address for each copy.
fn groups(s: &mut Reader<'_, '_, '_>) -> Option<Vec<GroupAddress>> {
    const EXAMPLE: &str = "\"239.192.0.1\"";
    let copies = s.read("copies", |v| integer_in(v, 1, i64::from(MAX_COPIES)));
    let first = s.read_optional("group", |v| parsed::<GroupAddress>(v, EXAMPLE));
    let listed = s.read_optional("groups", |v| list(v, "[\"239.192.0.1\"]", |v| parsed::<GroupAddress>(v, EXAMPLE)));
    let (copies, first, listed) = (copies?, first?, listed?);
    match (first, listed) {
        (Some(_), Some(_)) => {
            s.fault(
                "groups",
                Fault::new("group is given too", "keep group (the first address) or groups (all of them)"),
            );
            None
        }
        (None, None) => {
            s.fault(
                "group",
                Fault::new("this key is missing", format!("write group = {EXAMPLE}: the first copy's group")),
            );
            None
        }
        (None, Some(listed)) => listed_groups(s, copies, listed),
        (Some(first), None) => {
            let all: Option<Vec<_>> = (0..copies as u32).map(|n| first.following(n)).collect();
            if all.is_none() {
                let what =
                    format!("{copies} copies take {copies} addresses from here on, and not all of them are groups");
                s.fault("group", Fault::new(what, "begin with a lower address, or list all in groups = [..]"));
            }
            all
        }
    }
}

fn listed_groups(s: &mut Reader<'_, '_, '_>, copies: i64, listed: Vec<GroupAddress>) -> Option<Vec<GroupAddress>> {
    let count = listed.len();
    if count == 0 || count > MAX_COPIES as usize {
        s.fault(
            "groups",
            Fault::new(format!("{count} groups"), format!("list 1 to {MAX_COPIES} groups, one for each copy")),
        );
        return None;
    }
    if s.written("copies") && copies != count as i64 {
        s.fault("copies", Fault::new(format!("groups lists {count} groups"), "make them as many, or leave out copies"));
        return None;
    }
    if listed.iter().any(|group| group.ip().is_ipv4() != listed[0].ip().is_ipv4()) {
        let what = "IPv4 and IPv6 are mixed in one title";
        s.fault("groups", Fault::new(what, "use one family, and a second [[title]] with the same file for the other"));
        return None;
    }
    Some(listed)
}

fn queues(v: &DeValue<'_>) -> Result<Vec<u32>, Fault> {
    let queues = list(v, "[0, 1]", |v| integer_in(v, 0, 4095).map(|queue| queue as u32))?;
    if queues.is_empty() {
        return Err(Fault::new("no queue is listed", "list at least one, like [0]"));
    }
    match queues.iter().enumerate().find(|(i, queue)| queues[..*i].contains(queue)) {
        Some((_, queue)) => Err(Fault::new(format!("queue {queue} is listed twice"), "list each queue once")),
        None => Ok(queues),
    }
}

fn umem(v: &DeValue<'_>) -> Result<super::ByteSize, Fault> {
    let size: super::ByteSize = parsed(v, "\"256MiB\"")?;
    let bytes = size.bytes();
    if bytes == 0 || !bytes.is_multiple_of(2 * MIB) {
        let up = super::ByteSize::from_bytes((bytes / (2 * MIB) + 1).saturating_mul(2 * MIB));
        return Err(Fault::new(
            "packet memory comes in pages of 2 MiB",
            format!("use a multiple of 2 MiB, like \"{up}\""),
        ));
    }
    if bytes / FRAME_SIZE > u64::from(u32::MAX) {
        return Err(Fault::new("this is more than a umem can have", "use at most \"1TiB\""));
    }
    Ok(size)
}

fn ring(v: &DeValue<'_>) -> Result<u32, Fault> {
    let number = integer_in(v, 64, 32768)? as u32;
    if number.is_power_of_two() {
        return Ok(number);
    }
    let (down, up) = (number.next_power_of_two() / 2, number.next_power_of_two());
    Err(Fault::new("a ring's size is a power of two", format!("use {down} or {up}")))
}

fn cpus(v: &DeValue<'_>) -> Result<Cpus, Fault> {
    const EXAMPLE: &str = "\"auto\", \"off\" or [2, 3]";
    match v.as_str() {
        Some("auto") => Ok(Cpus::Auto),
        Some("off") => Ok(Cpus::Off),
        Some(_) => Err(Fault::new("this word is not known here", format!("write {EXAMPLE}"))),
        None => list(v, EXAMPLE, |v| integer_in(v, 0, 8191).map(|cpu| cpu as usize)).map(Cpus::Pinned),
    }
}

fn stagger(v: &DeValue<'_>) -> Result<Stagger, Fault> {
    match integer(v) {
        Ok(0) => Ok(Stagger::Every(Nanos::from_nanos(0))),
        Ok(_) => Err(Fault::new(
            "a time needs a unit",
            "write \"auto\" (duration of the loop / copies), a time like \"2.5s\", or 0",
        )),
        Err(_) => parsed(v, "\"auto\", \"2.5s\" or 0"),
    }
}

fn time_in(v: &DeValue<'_>, least: Nanos, most: Nanos) -> Result<Nanos, Fault> {
    let time: Nanos = parsed(v, "\"2.5s\"")?;
    if (least..=most).contains(&time) {
        Ok(time)
    } else {
        Err(Fault::new("this is out of range", format!("use \"{least}\" to \"{most}\"")))
    }
}

fn times(time: Nanos, n: u64) -> Nanos {
    Nanos::from_nanos(time.nanos().saturating_mul(n))
}

fn unicast_v4(v: &DeValue<'_>) -> Result<Ipv4Addr, Fault> {
    let remedy = "write an address of this box like \"192.0.2.10\"";
    match text(v, "\"192.0.2.10\"")?.parse::<Ipv4Addr>() {
        Ok(ip) if ip.is_multicast() || ip.is_unspecified() || ip.is_broadcast() => {
            Err(Fault::new("this is no address of a single box", remedy))
        }
        Ok(ip) => Ok(ip),
        Err(_) => Err(Fault::new("this is no IPv4 address", remedy)),
    }
}

fn unicast_v6(v: &DeValue<'_>) -> Result<Ipv6Addr, Fault> {
    let remedy = "write an address of this box like \"2001:db8::10\"";
    match text(v, "\"2001:db8::10\"")?.parse::<Ipv6Addr>() {
        Ok(ip) if ip.is_multicast() || ip.is_unspecified() => {
            Err(Fault::new("this is no address of a single box", remedy))
        }
        Ok(ip) => Ok(ip),
        Err(_) => Err(Fault::new("this is no IPv6 address", remedy)),
    }
}
