//! The XDP program, run by the kernel on packets made by code (`BPF_PROG_TEST_RUN`): what each is counted as, what is left in the
//! maps, and that the kernel and user space, which share the parser, say the same of any packet.

use std::net::{IpAddr, SocketAddr};

use proptest::{prelude::*, test_runner::TestRunner};
use sender::xdp::{Event, Reason, Settings, TitleEntry, TitleId, Xdp, XdpError};
use sender_common::{
    Address, Change, Class, Hops, Meaning, Report, Sink,
    craft::{Craft, Record, bye, empty_report, igmp_message, membership_report, receiver_report, rtcp},
    inspect,
    membership::Query,
};
use sender_tests::skip::skip;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const OPEN: TitleId = TitleId(1);
const PROTECTED: TitleId = TitleId(2);
const CLOSED: TitleId = TitleId(3);

/// The program with three titles: feedback ports 6001 to 6003, groups for the first; or `None` and the reason said, where
/// it can't be loaded.
fn program(test: &str, settings: &Settings) -> Option<Xdp> {
    let mut xdp = match Xdp::load(settings) {
        Ok(xdp) => xdp,
        Err(error @ (XdpError::NotBuilt | XdpError::NotPermitted { .. })) => {
            skip(test, &error.to_string());
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let open = TitleEntry::new(OPEN, false, true);
    xdp.register_feedback(6001, open).expect("the maps have room");
    xdp.register_feedback(6002, TitleEntry::new(PROTECTED, true, true)).expect("the maps have room");
    xdp.register_feedback(6003, TitleEntry::new(CLOSED, false, false)).expect("the maps have room");
    for group in groups() {
        xdp.register_group(group, 5005, open).expect("the maps have room");
    }
    Some(xdp)
}

fn settings() -> Settings {
    Settings { receivers: 4096, distances: 1024, front_door: Some(554), ..Settings::default() }
}

fn groups() -> [IpAddr; 2] {
    ["239.192.0.1", "ff3e::8000:1"].map(|group| group.parse().expect("a literal"))
}

fn viewer() -> Craft {
    Craft::between("10.0.0.9", "10.0.0.1")
}

fn record(kind: u8, group: &str) -> Record {
    Record { kind, group: group.parse().expect("a literal"), sources: vec![], auxiliary: 0 }
}

fn igmp3(records: &[Record]) -> Vec<u8> {
    Craft::between("10.0.0.9", "224.0.0.22").igmp(&membership_report(true, records))
}

/// Name, packet, outcome, details.
type Row = (&'static str, Vec<u8>, Reason, &'static [(Reason, u64)]);

fn table() -> Vec<Row> {
    use Reason::*;
    let rr = receiver_report(7, 1, 12, 34);
    let mld = Craft::between("fe80::9", "ff02::16");
    let many: Vec<_> = (0..183).map(|_| record(4, "239.192.0.1")).collect();
    let mut wrong = rr.clone();
    wrong[3] = 99;
    vec![
        ("a report", viewer().udp(5005, 6001, &rr), Reason::Report, &[(NewReceiver, 1)]),
        ("the same again", viewer().udp(5005, 6001, &rr), Reason::Report, &[]),
        ("in QinQ", viewer().vlan(0x88a8, 1).vlan(0x8100, 2).udp(5006, 6001, &rr), Reason::Report, &[(NewReceiver, 1)]),
        ("behind ten words of options", viewer().options(&[1; 40]).udp(5005, 6001, &rr), Reason::Report, &[]),
        (
            "over IPv6, behind hop-by-hop",
            Craft::between("fd77::9", "fd77::1").extension(0, &[0; 7]).udp(5005, 6001, &rr),
            Reason::Report,
            &[(NewReceiver, 1)],
        ),
        (
            "to the group",
            Craft::between("10.0.0.8", "239.192.0.1").udp(5005, 5005, &rr),
            Reason::Report,
            &[(NewReceiver, 1)],
        ),
        ("with a BYE", viewer().udp(5005, 6001, &[rr.clone(), bye(7)].concat()), Reason::Report, &[(Bye, 1)]),
        (
            "with somebody else's BYE",
            viewer().udp(5005, 6001, &[rr.clone(), bye(8)].concat()),
            Reason::Report,
            &[(ByeOther, 1)],
        ),
        ("from a stranger", viewer().udp(5005, 6003, &rr), ReportUnsolicited, &[(NewReceiver, 1)]),
        (
            "to a protected title",
            viewer().udp(5005, 6002, &[&rr[..], &[9; 14]].concat()),
            Reason::Report,
            &[(NewReceiver, 1)],
        ),
        ("with a wrong length", viewer().udp(5005, 6001, &wrong), RtcpLength, &[]),
        ("a sender's report", viewer().udp(5005, 6001, &rtcp(200, 0, &[0; 24])), SenderReport, &[]),
        ("hole punching", viewer().udp(5005, 6001, &[0xce, 0xfa, 0xed, 0xfe]), RtcpShort, &[]),
        ("another port", viewer().udp(5005, 6004, &rr), UdpForeign, &[]),
        ("a fragment", viewer().fragment(0x2000).udp(5005, 6001, &rr), FragmentFirst, &[]),
        (
            "IGMPv2 report, IHL 6",
            Craft::between("10.0.0.9", "239.192.0.1").igmp(&igmp_message(0x16, 0, [239, 192, 0, 1])),
            IgmpV2Report,
            &[(GroupJoin, 1)],
        ),
        (
            "IGMPv2 leave",
            Craft::between("10.0.0.9", "224.0.0.2").igmp(&igmp_message(0x17, 0, [239, 192, 0, 1])),
            IgmpV2Leave,
            &[(GroupLeave, 1)],
        ),
        ("IGMPv3 join", igmp3(&[record(4, "239.192.0.1")]), IgmpV3Report, &[(GroupJoin, 1)]),
        (
            "IGMPv3, ours and others'",
            igmp3(&[record(2, "239.192.0.1"), record(4, "239.1.1.1")]),
            IgmpV3Report,
            &[(GroupPresent, 1), (GroupForeign, 1)],
        ),
        (
            "IGMPv3, more records than are looked at",
            igmp3(&many),
            IgmpV3Report,
            &[(GroupJoin, 64), (RecordsExcess, 119), (ChecksumUnchecked, 1)],
        ),
        (
            "IGMPv3, the last record wrong",
            igmp3(&[record(4, "239.192.0.1"), record(9, "239.192.0.1")]),
            IgmpRecord,
            &[],
        ),
        (
            "an IGMP query",
            Craft::between("10.0.0.254", "224.0.0.1").igmp(&igmp_message(0x11, 100, [0; 4])),
            IgmpQuery,
            &[],
        ),
        (
            "MLDv2 join, hop-by-hop",
            mld.mld(&membership_report(false, &[record(4, "ff3e::8000:1")])),
            MldV2Report,
            &[(GroupJoin, 1)],
        ),
        ("a request", viewer().ttl(60).tcp(40000, 554, 2), FrontDoorSyn, &[]),
    ]
}

#[test]
fn each_packet_is_counted_as_what_it_is_and_passed_on() {
    let Some(xdp) = program("each_packet_is_counted_as_what_it_is_and_passed_on", &settings()) else { return };
    for (name, packet, outcome, details) in table() {
        let before = xdp.counters().unwrap();
        let (verdict, _) = xdp.run_on(&packet, 1).unwrap();
        assert_eq!(verdict, XDP_PASS, "{name}");
        let moved: Vec<_> = xdp.counters().unwrap().since(&before).iter().filter(|(_, count)| *count > 0).collect();
        let (outcomes, found): (Vec<_>, Vec<_>) =
            moved.into_iter().partition(|(reason, _)| reason.class() != Class::Detail);
        assert_eq!(outcomes, [(outcome, 1)], "{name}");
        let found: Vec<_> = found.into_iter().filter(|(reason, _)| *reason != Reason::EventHeld).collect();
        let mut details = details.to_vec();
        details.sort();
        assert_eq!(found, details, "{name}");
    }
    assert_eq!(xdp.distance("10.0.0.9".parse().expect("a literal")).unwrap().map(|distance| distance.hops), Some(4));
    let querier = xdp.igmp_querier().unwrap().expect("a query was counted");
    assert_eq!(querier.address, Address::v4([10, 0, 0, 254]));
}

#[test]
fn a_packet_cut_anywhere_is_malformed_and_changes_nothing() {
    let Some(xdp) = program("a_packet_cut_anywhere_is_malformed_and_changes_nothing", &settings()) else { return };
    for (name, packet, outcome, _) in table() {
        if outcome.class() != Class::Valid {
            continue;
        }
        // The kernel takes no frame shorter than an Ethernet header.
        for length in 14..packet.len() {
            let before = xdp.counters().unwrap();
            assert_eq!(xdp.run_on(&packet[..length], 1).unwrap().0, XDP_PASS);
            for (reason, _) in xdp.counters().unwrap().since(&before).iter().filter(|(_, count)| *count > 0) {
                assert_eq!(reason.class(), Class::Malformed, "{name}, cut at {length}: {}", reason.name());
            }
        }
    }
    assert_eq!(xdp.receivers(OPEN).count(), 0);
    assert_eq!(xdp.group(groups()[0]).unwrap().unwrap().joins, 0);
}

#[test]
fn a_reporter_is_counted_once_an_interval_with_its_distance() {
    let Some(mut xdp) = program("a_reporter_is_counted_once_an_interval_with_its_distance", &settings()) else {
        return;
    };
    let first = xdp.interval();
    for (address, ttl) in [("10.0.0.9", 64), ("10.0.0.8", 61), ("10.0.0.7", 61), ("10.0.0.9", 64)] {
        let packet = Craft::between(address, "10.0.0.1").ttl(ttl).udp(5005, 6001, &receiver_report(7, 1, 0, 0));
        xdp.run_on(&packet, 5).unwrap();
    }
    let second = xdp.advance_interval().unwrap();
    xdp.run_on(&viewer().udp(5005, 6001, &empty_report(7)), 3).unwrap();
    let stats = xdp.title_stats(OPEN, first).unwrap();
    assert_eq!((stats.reporters, stats.reports, stats.hops[0], stats.hops[3]), (3, 20, 1, 2));
    let stats = xdp.title_stats(OPEN, second).unwrap();
    assert_eq!((stats.reporters, stats.reports), (1, 3));
    // Four on, the slot is used again.
    for _ in 0..4 {
        xdp.advance_interval().unwrap();
    }
    assert_eq!(xdp.title_stats(OPEN, first + 4).unwrap().reporters, 0);
}

#[test]
fn only_an_announced_receiver_with_its_own_ssrc_counts_for_a_closed_title() {
    let test = "only_an_announced_receiver_with_its_own_ssrc_counts_for_a_closed_title";
    let Some(mut xdp) = program(test, &settings()) else { return };
    let report = |port: u16, ssrc: u32| viewer().udp(port, 6003, &receiver_report(ssrc, 1, 0, 0));
    let known: SocketAddr = "10.0.0.9:5005".parse().unwrap();
    xdp.run_on(&report(5005, 77), 1).unwrap();
    xdp.announce(CLOSED, known, Some(77)).unwrap();
    xdp.run_on(&report(5005, 77), 2).unwrap();
    xdp.run_on(&report(5005, 78), 1).unwrap();
    xdp.run_on(&report(5007, 77), 1).unwrap();
    let stats = xdp.title_stats(CLOSED, xdp.interval()).unwrap();
    assert_eq!((stats.reporters, stats.reports), (1, 2));
    assert_eq!((stats.unsolicited, stats.unsolicited_reports), (2, 3));
    assert_eq!(xdp.counters().unwrap().get(Reason::SsrcMismatch), 1);
    xdp.forget(CLOSED, known).unwrap();
    assert_eq!(xdp.receiver(CLOSED, known).unwrap(), None);
}

#[test]
fn changes_of_state_are_told_once() {
    let Some(mut xdp) = program("changes_of_state_are_told_once", &settings()) else { return };
    xdp.run_on(&viewer().udp(5005, 6001, &receiver_report(7, 1, 0, 0)), 10).unwrap();
    xdp.run_on(&igmp3(&[record(4, "239.192.0.1")]), 1).unwrap();
    xdp.run_on(&igmp3(&[record(3, "239.192.0.1")]), 1).unwrap();
    xdp.run_on(&viewer().udp(5005, 6001, &[receiver_report(7, 1, 0, 0), bye(7)].concat()), 1).unwrap();
    let query = Craft::between("10.0.0.254", "224.0.0.1").igmp(&igmp_message(0x11, 100, [0; 4]));
    xdp.run_on(&query, 3).unwrap();
    let events: Vec<_> = xdp.events().map(|(_, event)| event).collect();
    let group = groups()[0];
    assert!(matches!(events[0], Event::FirstReport(reporter) if reporter.ssrc == 7 && reporter.hops == Some(0)));
    assert!(matches!(events[1], Event::Join { group: joined, .. } if joined == group));
    assert!(matches!(events[2], Event::Leave { group: left, .. } if left == group));
    assert!(matches!(events[3], Event::Bye(reporter) if reporter.known));
    assert!(matches!(events[4], Event::QuerierSeen { .. }));
    assert_eq!(events.len(), 5, "{events:?}");
    // One source with many changes is held back.
    xdp.run_on(&igmp3(&[record(4, "239.192.0.1")]), 1000).unwrap();
    assert!(xdp.events().count() <= 32);
    assert!(xdp.counters().unwrap().get(Reason::EventHeld) > 900);
    xdp.flush_log();
}

#[test]
fn absorbed_are_valid_reports_to_feedback_ports_and_nothing_else() {
    let settings = Settings { absorb: true, ..settings() };
    let Some(xdp) = program("absorbed_are_valid_reports_to_feedback_ports_and_nothing_else", &settings) else { return };
    for (name, packet, outcome, _) in table() {
        let is_report = matches!(outcome, Reason::Report | Reason::ReportUnsolicited) && name != "to the group";
        let wanted = if is_report { XDP_DROP } else { XDP_PASS };
        assert_eq!(xdp.run_on(&packet, 1).unwrap().0, wanted, "{name}");
    }
}

/// User space's own account, by the same parser.
#[derive(Default)]
struct Model(Vec<(Reason, u64)>);

impl Sink for Model {
    fn wants_port(&mut self, port: u16) -> bool {
        [6001, 6002, 6003, 5005].contains(&port)
    }
    fn feedback(&mut self, port: u16) -> TitleEntry {
        match port {
            6001 => TitleEntry::new(OPEN, false, true),
            6002 => TitleEntry::new(PROTECTED, true, true),
            6003 => TitleEntry::new(CLOSED, false, false),
            _ => TitleEntry::default(),
        }
    }
    fn group(&mut self, group: &Address, port: u16) -> TitleEntry {
        if port == 5005 && groups().contains(&group.ip()) { self.feedback(6001) } else { TitleEntry::default() }
    }
    fn is_front_door(&mut self, port: u16) -> bool {
        port == 554
    }
    fn report(&mut self, report: &Report) -> Reason {
        if report.compound.bye {
            self.0.push((Reason::Bye, 1));
        }
        if report.title.is_open() { Reason::Report } else { Reason::ReportUnsolicited }
    }
    fn change(&mut self, change: &Change) {
        let reason = match change.meaning {
            _ if !groups().contains(&change.group.ip()) => Reason::GroupForeign,
            Meaning::Join => Reason::GroupJoin,
            Meaning::Leave => Reason::GroupLeave,
            Meaning::Present => Reason::GroupPresent,
        };
        self.0.push((reason, 1));
    }
    fn query(&mut self, _: &Query) {}
    fn distance(&mut self, _: &Address, _: Hops) {}
    fn detail(&mut self, reason: Reason, count: u64) {
        self.0.push((reason, count));
    }
}

#[test]
fn the_kernel_and_user_space_say_the_same_of_any_packet() {
    let Some(xdp) = program("the_kernel_and_user_space_say_the_same_of_any_packet", &settings()) else { return };
    let samples: Vec<_> = table().into_iter().map(|(_, packet, ..)| packet).collect();
    let edit = (any::<prop::sample::Index>(), any::<u8>());
    let spoilt = (0..samples.len(), prop::collection::vec(edit, 0..4), any::<prop::sample::Index>(), any::<bool>());
    let packets = spoilt.prop_map(|(which, edits, cut, cuts)| {
        let mut packet = samples[which].clone();
        for (at, value) in edits {
            let at = at.index(packet.len());
            packet[at] = value;
        }
        if cuts {
            packet.truncate(14.max(cut.index(packet.len() + 1)));
        }
        packet
    });
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5000) });
    let result = runner.run(&packets, |packet| {
        let before = xdp.counters().unwrap();
        xdp.run_on(&packet, 1).unwrap();
        // What depends on what came before is the kernel's alone.
        let kernels_own = [Reason::NewReceiver, Reason::EventHeld, Reason::EventLost];
        let counted: Vec<_> = xdp.counters().unwrap().since(&before).iter().collect();
        let kernel: Vec<_> =
            counted.into_iter().filter(|(reason, count)| *count > 0 && !kernels_own.contains(reason)).collect();
        let mut model = Model::default();
        let outcome = inspect(&packet[..], &mut model);
        model.0.push((outcome, 1));
        let mut user = std::collections::BTreeMap::new();
        for (reason, count) in model.0 {
            *user.entry(reason).or_insert(0) += count;
        }
        prop_assert_eq!(kernel, user.into_iter().collect::<Vec<_>>());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
