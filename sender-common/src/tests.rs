//! The parser against packets made by code, packets cut short and packets without sense.

use std::{vec, vec::Vec};

use proptest::prelude::*;

use crate::{
    Address, Change, Class, Hops, Meaning, Protocol, Reason, Report, Sink, TitleEntry, TitleId,
    craft::{
        Craft, Record, bye, empty_report, igmp_message, membership_report, receiver_report, rtcp, source_description,
    },
    inspect,
    membership::Query,
    rtcp::Loss,
};

/// Feedback port 6001 (title 1), 6002 (title 2, protected), group 239.192.0.1 and ff3e::8000:1 with RTCP port 5005, front door 554.
#[derive(Default)]
struct Recorder {
    reports: Vec<Report>,
    changes: Vec<Change>,
    queries: Vec<Query>,
    distances: Vec<(Address, Hops)>,
    details: Vec<Reason>,
}

impl Sink for Recorder {
    fn wants_port(&mut self, port: u16) -> bool {
        [6001, 6002, 5005].contains(&port)
    }
    fn feedback(&mut self, port: u16) -> TitleEntry {
        match port {
            6001 => TitleEntry::new(TitleId(1), false, true),
            6002 => TitleEntry::new(TitleId(2), true, true),
            _ => TitleEntry::default(),
        }
    }
    fn group(&mut self, group: &Address, port: u16) -> TitleEntry {
        let ours = ["239.192.0.1", "ff3e::8000:1"].map(|ip| Address::from(ip.parse::<std::net::IpAddr>().unwrap()));
        if ours.contains(group) && port == 5005 { self.feedback(6001) } else { TitleEntry::default() }
    }
    fn is_front_door(&mut self, port: u16) -> bool {
        port == 554
    }
    fn report(&mut self, report: &Report) -> Reason {
        self.reports.push(*report);
        Reason::Report
    }
    fn change(&mut self, change: &Change) {
        self.changes.push(*change);
    }
    fn query(&mut self, query: &Query) {
        self.queries.push(*query);
    }
    fn distance(&mut self, source: &Address, hops: Hops) {
        self.distances.push((*source, hops));
    }
    fn detail(&mut self, reason: Reason, _: u64) {
        self.details.push(reason);
    }
}

fn seen(packet: &[u8]) -> (Reason, Recorder) {
    let mut recorder = Recorder::default();
    (inspect(packet, &mut recorder), recorder)
}

fn viewer() -> Craft {
    Craft::between("10.0.0.9", "10.0.0.1")
}

fn viewer6() -> Craft {
    Craft::between("fd77::9", "fd77::1")
}

fn record(kind: u8, group: &str, sources: &[&str]) -> Record {
    let sources = sources.iter().map(|source| source.parse().unwrap()).collect();
    Record { kind, group: group.parse().unwrap(), sources, auxiliary: 0 }
}

/// Packets that are for us and right, in all the ways they come.
fn samples() -> Vec<(&'static str, Vec<u8>, Reason)> {
    let rr = receiver_report(7, 1, 12, 34);
    let igmp3 = Craft::between("10.0.0.9", "224.0.0.22");
    let mld2 = Craft::between("fe80::9", "ff02::16");
    let many: Vec<_> = (0..40).map(|n| record(4, &format!("239.192.1.{n}"), &[])).collect();
    vec![
        ("RR", viewer().udp(5005, 6001, &rr), Reason::Report),
        ("RR in a VLAN", viewer().vlan(0x8100, 7).udp(5005, 6001, &rr), Reason::Report),
        ("RR in QinQ", viewer().vlan(0x88a8, 7).vlan(0x8100, 8).udp(5005, 6001, &rr), Reason::Report),
        ("RR behind IPv4 options", viewer().options(&[1; 40]).udp(5005, 6001, &rr), Reason::Report),
        ("RR over IPv6", viewer6().udp(5005, 6001, &rr), Reason::Report),
        (
            "RR behind extension headers",
            viewer6().extension(0, &[0; 7]).extension(60, &[0; 7]).udp(5005, 6001, &rr),
            Reason::Report,
        ),
        ("RR to the group", Craft::between("10.0.0.9", "239.192.0.1").ttl(1).udp(5005, 5005, &rr), Reason::Report),
        ("RR to the IPv6 group", Craft::between("fd77::9", "ff3e::8000:1").udp(5005, 5005, &rr), Reason::Report),
        ("RR, SDES, BYE", viewer().udp(5005, 6001, &[rr.clone(), bye(7)].concat()), Reason::Report),
        ("IGMPv1 report", igmp3.igmp(&igmp_message(0x12, 0, [239, 192, 0, 1])), Reason::IgmpV1Report),
        ("IGMPv2 report", igmp3.igmp(&igmp_message(0x16, 0, [239, 192, 0, 1])), Reason::IgmpV2Report),
        ("IGMPv2 leave", igmp3.igmp(&igmp_message(0x17, 0, [239, 192, 0, 1])), Reason::IgmpV2Leave),
        ("IGMPv3 join", igmp3.igmp(&membership_report(true, &[record(4, "239.192.0.1", &[])])), Reason::IgmpV3Report),
        (
            "IGMPv3 join of a source",
            igmp3.vlan(0x8100, 1).igmp(&membership_report(true, &[record(5, "239.192.0.1", &["10.0.0.1"])])),
            Reason::IgmpV3Report,
        ),
        ("IGMPv3, 40 records", igmp3_many(&many), Reason::IgmpV3Report),
        ("MLDv1 report", mld2.mld(&mld1(131)), Reason::MldV1Report),
        ("MLDv1 done", mld2.mld(&mld1(132)), Reason::MldV1Done),
        ("MLDv2 join", mld2.mld(&membership_report(false, &[record(4, "ff3e::8000:1", &[])])), Reason::MldV2Report),
        ("SYN to the front door", viewer().ttl(61).tcp(40000, 554, 2), Reason::FrontDoorSyn),
    ]
}

fn igmp3_many(records: &[Record]) -> Vec<u8> {
    Craft::between("10.0.0.9", "224.0.0.22").igmp(&membership_report(true, records))
}

fn mld1(kind: u8) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend("ff3e::8000:1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    message
}

#[test]
fn every_sample_is_what_it_was_made_to_be() {
    for (name, packet, reason) in samples() {
        assert_eq!(seen(&packet).0, reason, "{name}");
    }
}

#[test]
fn a_sample_cut_anywhere_is_malformed_and_nobody_counts() {
    for (name, packet, _) in samples() {
        for length in 0..packet.len() {
            let (reason, recorder) = seen(&packet[..length]);
            assert_eq!(reason.class(), Class::Malformed, "{name}, cut at {length}: {}", reason.name());
            assert!(recorder.reports.is_empty() && recorder.changes.is_empty(), "{name}, cut at {length}");
        }
    }
}

#[test]
fn a_report_tells_who_and_how_far_and_what_was_lost() {
    let (_, recorder) = seen(&viewer().ttl(60).udp(5005, 6001, &receiver_report(7, 1, 12, -3)));
    let report = recorder.reports[0];
    assert_eq!((report.port, report.hops, report.unicast, report.compound.ssrc), (5005, Hops(4), true, 7));
    assert_eq!(report.source, Address::v4([10, 0, 0, 9]));
    let loss = Loss { fraction: 12, cumulative: -3, highest: 0, jitter: 0 };
    assert_eq!(report.compound.loss, Some(loss));
    let (_, recorder) = seen(&Craft::between("10.0.0.9", "239.192.0.1").udp(5005, 5005, &empty_report(7)));
    assert_eq!((recorder.reports[0].hops, recorder.reports[0].compound.loss), (Hops::UNKNOWN, None));
}

#[test]
fn compounds_with_wrong_figures_are_named() {
    let sr = rtcp(200, 0, &[0; 24]);
    let sdes = source_description(7);
    let spoilt = |at: usize, value: u8| {
        let mut compound = receiver_report(7, 1, 0, 0);
        compound[at] = value;
        compound
    };
    let mut padded = [empty_report(7), rtcp(204, 0, &[0; 20])].concat();
    let app = padded.len() - 24;
    padded[app] |= 0x20;
    let table: Vec<(&str, Vec<u8>, Reason)> = vec![
        ("nothing", vec![], Reason::RtcpShort),
        ("hole punching", vec![0xce, 0xfa, 0xed, 0xfe], Reason::RtcpShort),
        ("RTP", [&[0x80, 33][..], &[0; 30]].concat(), Reason::RtcpType),
        ("version 1", spoilt(0, 0x41), Reason::RtcpVersion),
        ("version 1 behind", spoilt(32, 0x41), Reason::RtcpVersion),
        ("count too high", spoilt(0, 0x82), Reason::RtcpCount),
        ("SDES count too high", spoilt(32, 0x9f), Reason::RtcpCount),
        ("length too long", spoilt(3, 0xff), Reason::RtcpLength),
        ("length too short", spoilt(3, 1), Reason::RtcpCount),
        ("length behind too long", spoilt(35, 9), Reason::RtcpLength),
        ("padding in front", spoilt(0, 0xa1), Reason::RtcpPadding),
        ("padding of nothing", padded.clone(), Reason::RtcpPadding),
        ("SDES alone", sdes, Reason::RtcpReduced),
        ("a sender's", sr, Reason::SenderReport),
        (
            "more packets than are followed",
            [receiver_report(7, 1, 0, 0), bye(8).repeat(20)].concat(),
            Reason::RtcpPackets,
        ),
    ];
    for (name, payload, reason) in table {
        let (found, recorder) = seen(&viewer().udp(5005, 6001, &payload));
        assert_eq!(found, reason, "{name}");
        assert!(recorder.reports.is_empty(), "{name}");
    }
    *padded.last_mut().unwrap() = 8;
    assert_eq!(seen(&viewer().udp(5005, 6001, &padded)).0, Reason::Report, "padding at the end");
}

#[test]
fn of_a_protected_title_only_the_clear_part_is_read() {
    let mut srtcp = receiver_report(7, 1, 12, 34);
    srtcp[8..].fill(0xa5);
    srtcp.extend([0; 14]);
    let (reason, recorder) = seen(&viewer().udp(5005, 6002, &srtcp));
    assert_eq!(reason, Reason::Report);
    assert_eq!((recorder.reports[0].compound.ssrc, recorder.reports[0].compound.loss), (7, None));
    assert_ne!(seen(&viewer().udp(5005, 6001, &srtcp)).0, Reason::Report, "the same is no report for a plain title");
    assert_eq!(seen(&viewer().udp(5005, 6002, &srtcp[..40])).0, Reason::RtcpLength, "no room for the tag");
}

#[test]
fn records_mean_joins_leaves_and_presence() {
    use Meaning::{Join, Leave, Present};
    let source = ["10.0.0.1"];
    let table: [(u8, &[&str], Option<Meaning>); 11] = [
        (1, &[], None),
        (1, &source, Some(Present)),
        (2, &[], Some(Present)),
        (3, &[], Some(Leave)),
        (3, &source, Some(Join)),
        (4, &[], Some(Join)),
        (4, &source, Some(Join)),
        (5, &[], None),
        (5, &source, Some(Join)),
        (6, &[], None),
        (6, &source, Some(Leave)),
    ];
    for (kind, sources, meaning) in table {
        // Alone (the short way) and behind another one.
        for before in [vec![], vec![record(2, "224.0.0.251", &[])]] {
            let records = [before, vec![record(kind, "239.192.0.1", sources)]].concat();
            let (_, recorder) = seen(&igmp3_many(&records));
            let ours = recorder.changes.iter().find(|change| change.group == Address::v4([239, 192, 0, 1]));
            assert_eq!(ours.map(|change| change.meaning), meaning, "type {kind}, sources {sources:?}");
        }
    }
}

#[test]
fn wrong_memberships_are_named_and_none_of_their_records_counts() {
    let good = record(4, "239.192.0.1", &[]);
    let igmp3 = Craft::between("10.0.0.9", "224.0.0.22");
    let mut checksum = igmp3.igmp(&igmp_message(0x16, 0, [239, 192, 0, 1]));
    checksum[41] ^= 1;
    let mut header = igmp3.igmp(&igmp_message(0x16, 0, [239, 192, 0, 1]));
    header[24] ^= 1;
    let far = igmp3.ttl(9).options(&[0x94, 4, 0, 0]);
    let table: Vec<(&str, Vec<u8>, Reason)> = vec![
        ("checksum", checksum, Reason::IgmpChecksum),
        ("header checksum", header, Reason::IpChecksum),
        ("from another link", far.ip(2, &igmp_message(0x16, 0, [239, 192, 0, 1])), Reason::IgmpOffLink),
        ("no group", igmp3_many(&[good.clone(), record(4, "10.0.0.1", &[])]), Reason::IgmpAddress),
        ("no such type", igmp3_many(&[good.clone(), record(9, "239.192.0.1", &[])]), Reason::IgmpRecord),
        ("MLD from afar", Craft::between("fd77::9", "ff02::16").mld(&mld1(131)), Reason::MldOffLink),
    ];
    for (name, packet, reason) in table {
        let (found, recorder) = seen(&packet);
        assert_eq!(found, reason, "{name}");
        assert!(recorder.changes.is_empty(), "{name}");
    }
}

#[test]
fn fragments_and_foreign_packets_are_told_apart() {
    let rr = receiver_report(7, 1, 0, 0);
    let table: Vec<(&str, Vec<u8>, Reason)> = vec![
        ("ARP", [&[0; 12][..], &[8, 6], &[0; 28]].concat(), Reason::NotIp),
        ("three tags", viewer().vlan(0x88a8, 1).vlan(0x8100, 2).vlan(0x8100, 3).udp(1, 6001, &rr), Reason::VlanDepth),
        ("first fragment", viewer().fragment(0x2000).udp(1, 6001, &rr), Reason::FragmentFirst),
        ("later fragment", viewer().fragment(7).udp(1, 6001, &rr), Reason::FragmentLater),
        ("IPv6 fragment", viewer6().extension(44, &[0, 0, 1, 0, 0, 0, 1]).udp(1, 6001, &rr), Reason::FragmentFirst),
        (
            "too many extensions",
            (0..7).fold(viewer6(), |craft, _| craft.extension(60, &[0; 7])).udp(1, 6001, &rr),
            Reason::IpExtensions,
        ),
        ("another port", viewer().udp(1, 9, &rr), Reason::UdpForeign),
        ("another group", Craft::between("10.0.0.9", "239.0.0.9").udp(1, 5005, &rr), Reason::UdpForeignGroup),
        ("GRE", viewer().ip(47, &[0; 20]), Reason::OtherProtocol),
        ("SYN-ACK", viewer().tcp(1, 554, 0x12), Reason::TcpForeign),
    ];
    for (name, packet, reason) in table {
        assert_eq!(seen(&packet).0, reason, "{name}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_the_parser_panic(octets in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = seen(&octets);
    }

    #[test]
    fn a_spoilt_sample_neither_panics_nor_counts_when_malformed(which in 0..19usize, at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let (_, mut packet, _) = samples().swap_remove(which);
        let at = at.index(packet.len());
        packet[at] = value;
        let (reason, recorder) = seen(&packet);
        if reason.class() != Class::Valid {
            prop_assert!(recorder.reports.is_empty() && recorder.changes.is_empty());
        }
        prop_assert!(recorder.changes.iter().all(|change| change.protocol != Protocol::Igmp3 || reason == Reason::IgmpV3Report));
    }
}
