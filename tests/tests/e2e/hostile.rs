//! Truncated, malformed and hostile packets on a live wire: counted by reason, never members, and the sender goes on.
//! What each packet means to the program is in the tables of `xdp_table`; here they come by the network.

use super::stage::{FEEDBACK, PORT, SAMPLE, Stage, Title, config, number, xdp};
use anyhow::Result;
use sender_common::craft::{Craft, Record, bye, empty_report, igmp_message, membership_report, receiver_report, rtcp};
use sender_tests::skip::require_root;
use std::{collections::BTreeMap, net::IpAddr, path::Path};

const GROUP: [u8; 4] = [239, 192, 77, 1];
const TIMES: u64 = 3;

fn join(kind: u8, group: IpAddr) -> Vec<u8> {
    membership_report(group.is_ipv4(), &[Record { kind, group, sources: vec![], auxiliary: 0 }])
}

/// Spoils the last octet, and with it the checksum.
fn spoiled(mut frame: Vec<u8>) -> Vec<u8> {
    *frame.last_mut().expect("a frame has octets") ^= 0x55;
    frame
}

/// Frames beside the counter that each must move by one.
fn hostile(stage: &Stage) -> Vec<(&'static str, Vec<u8>)> {
    let (from, to) = (stage.lab.receiver(1), stage.lab.sender());
    let group = IpAddr::from(GROUP);
    let group6: IpAddr = "ff3e::8077:1".parse().expect("an address");
    let to_group = Craft::new(from.v4().into(), group);
    let link_local = Craft::between("fe80::bad", "ff02::16");
    let unicast = Craft::new(from.v4().into(), to.v4().into());
    let report = |payload: &[u8]| unicast.udp(5005, FEEDBACK, payload);
    let whole = receiver_report(7, 8, 0, 0);
    let mut frames = vec![
        ("igmp_checksum", spoiled(to_group.igmp(&join(4, group)))),
        ("igmp_record", to_group.igmp(&join(9, group))),
        ("igmp_address", to_group.igmp(&igmp_message(0x16, 0, [10, 0, 0, 1]))),
        ("igmp_off_link", to_group.clone().ttl(2).options(&[0x94, 4, 0, 0]).ip(2, &join(4, group))),
        ("mld_checksum", spoiled(link_local.mld(&join(4, group6)))),
        ("mld_record", link_local.mld(&join(9, group6))),
        ("mld_off_link", Craft::between("fd77::bad", "ff02::16").mld(&join(4, group6))),
        ("rtcp_short", report(&[0x80, 201, 0])),
        ("rtcp_version", report(&[&[0x40][..], &whole[1..]].concat())),
        ("rtcp_type", report(&[&[0x80, 33][..], &whole[2..]].concat())),
        ("rtcp_reduced", report(&bye(7))),
        ("rtcp_count", report(&rtcp(201, 31, &[0; 4]))),
        ("rtcp_length", report(&empty_report(7)[..12])),
        ("udp_foreign_group", Craft::new(from.v4().into(), [239, 192, 99, 99].into()).udp(5005, PORT + 1, &whole)),
    ];
    // A good report and a good join, cut off at every octet behind the Ethernet header.
    for frame in [report(&whole), to_group.igmp(&join(4, group))] {
        frames.extend((15..frame.len()).map(|length| ("ip_short", frame[..length].to_vec())));
    }
    frames.iter_mut().for_each(|(_, frame)| frame[..6].copy_from_slice(&to.mac()));
    frames
}

#[test]
fn hostile_packets_are_counted_by_reason_and_never_become_members() -> Result<()> {
    if !require_root("hostile_packets_are_counted_by_reason_and_never_become_members") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let titles = [Title::clear(Path::new(SAMPLE), "239.192.77.1")];
    let mut sender = stage.run(&config("mode = \"copy\"", &titles))?;
    let frames = hostile(&stage);
    let mut expected = BTreeMap::new();
    for (reason, _) in &frames {
        *expected.entry(*reason).or_insert(0) += TIMES;
    }
    let frames: Vec<_> = frames.into_iter().map(|(_, frame)| frame).collect();
    for _ in 0..TIMES {
        // Behind the bridge, at its port to the sender: it drops itself what it doesn't understand.
        stage.lab.bridge().put("snd", &frames)?;
    }
    let count = |status: &serde_json::Value| expected.keys().map(|reason| xdp(status, reason)).sum::<u64>();
    let all = expected.values().sum::<u64>();
    let status = sender.wait_for("all of them", |status| count(status) >= all)?;
    let counted: BTreeMap<_, _> = expected.keys().map(|reason| (*reason, xdp(&status, reason))).collect();
    assert_eq!(counted, expected);
    for member in ["report", "report_unsolicited", "new_receiver", "group_join", "group_present", "bye"] {
        assert_eq!(xdp(&status, member), 0, "{member}");
    }
    assert_eq!((number(&status["titles"][0]["reporters"]), number(&status["xdp"]["groups"][0]["joins"])), (0, 0));

    let mut receiver = stage.receive(1, "239.192.77.1:5004", &[])?;
    receiver.wait_for_packets(50)?;
    let (summary, _) = receiver.end()?;
    assert_eq!(summary["lost"], 0, "it sends on");
    let end = sender.end()?;
    assert_eq!(
        (number(&end["titles"][0]["reporters"]), number(&end["titles"][0]["reports"])),
        (1, number(&summary["reports_sent"]))
    );
    Ok(())
}
