//! What nobody should send: broken, forged, or meant for somebody else.

use std::net::Ipv4Addr;

use sender_common::craft::{Craft, Record, bye, empty_report, igmp_message, membership_report, receiver_report, rtcp};

use super::traffic::Own;

/// One packet of each kind. All are longer than the shortest Ethernet frame, so that no driver pads them into something else,
/// except those whose meaning doesn't depend on it.
pub(super) fn packets(to: Ipv4Addr, port: u16, group: Ipv4Addr) -> Vec<(Own, Vec<u8>)> {
    let nobody = Ipv4Addr::UNSPECIFIED;
    let craft = Craft::new(nobody.into(), to.into()).ttl(61);
    let igmp = Craft::new(nobody.into(), Ipv4Addr::new(224, 0, 0, 22).into());
    let good = receiver_report(7, 1, 0, 0);
    let spoilt = |at: usize, value: u8| {
        let mut frame = craft.udp(5005, port, &good);
        frame[at] = value;
        frame
    };
    let payload = |octets: &[u8]| craft.udp(5005, port, octets);
    let mut cut = craft.udp(5005, port, &good);
    cut.truncate(70);
    let mut igmp_checksum = igmp.igmp(&igmp_message(0x16, 0, group.octets()));
    // The checksum of the message, behind 24 octets of IP header.
    igmp_checksum[14 + 24 + 2] ^= 0xff;
    let record = |kind, group| Record { kind, group, sources: vec![], auxiliary: 0 };
    let records = |records: &[Record]| igmp.igmp(&membership_report(true, records));
    let many: Vec<_> = (0..100).map(|_| record(4, group.into())).collect();
    let far: Vec<u8> = igmp.clone().options(&[0x94, 4, 0, 0]).ttl(64).ip(2, &igmp_message(0x16, 0, group.octets()));
    // Behind 14 octets of Ethernet: IP's version and length, its checksum, RTCP's version, type, length and count.
    let packets = vec![
        cut,
        spoilt(14, 0x44),
        spoilt(14, 0x65),
        spoilt(25, 0xaa),
        spoilt(42, 0x01),
        spoilt(43, 17),
        spoilt(43, 205),
        spoilt(45, 200),
        spoilt(42, 0x9f),
        spoilt(42, 0xa1),
        spoilt(39, 250),
        payload(&[0; 4]),
        payload(&rtcp(201, 0, &[0; 4])),
        payload(&[empty_report(7), bye(8)].concat()),
        payload(&(0..40).flat_map(|_| empty_report(7)).collect::<Vec<_>>()),
        craft.udp(5005, 9, &[0xff; 700]),
        craft.udp(53, port, &[0; 64]),
        craft.clone().fragment(0x2000).udp(5005, port, &good),
        craft.clone().fragment(0x0010).udp(5005, port, &good),
        craft.clone().options(&[1; 40]).udp(5005, port, &good),
        craft.tcp(5005, 9, 2),
        craft.tcp(5005, 554, 0x12),
        craft.ip(47, &[0; 64]),
        igmp_checksum,
        far,
        records(&[record(9, group.into())]),
        records(&[record(4, to.into())]),
        records(&[record(4, Ipv4Addr::new(239, 255, 255, 250).into())]),
        records(&many),
        igmp.igmp(&igmp_message(0x13, 0, group.octets())),
    ];
    let mut packets: Vec<_> = packets.into_iter().map(|frame| (Own::Address, frame)).collect();
    // No IP in it at all.
    let mut stranger = vec![0; 60];
    stranger[12..14].copy_from_slice(&[0x08, 0x06]);
    packets.push((Own::Nothing, stranger));
    packets
}
