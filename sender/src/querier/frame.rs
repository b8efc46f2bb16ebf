//! The bytes of queries: IGMPv3 (RFC 3376 §4.1) and MLDv2 (RFC 3810 §5.1), from Ethernet on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{QUERY_INTERVAL, Query, RESPONSE_INTERVAL, ROBUSTNESS};
use crate::packet::{VlanTag, ones_complement_sum};

/// A query as a whole Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryFrame(Vec<u8>);

/// IP precedence "internetwork control", as routers' own messages carry it (RFC 3376 §4).
const INTERNETWORK_CONTROL: u8 = 0xc0;
/// All systems, to which general queries go.
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// All nodes on the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl QueryFrame {
    /// The frame of `query` from `source` (IPv6: link-local); `None` if the query's group is of the other family.
    pub fn new(query: Query, source: IpAddr, source_mac: [u8; 6], vlans: &[VlanTag]) -> Option<Self> {
        let packet = match (source, query) {
            (IpAddr::V4(source), Query::General) => igmp(source, ALL_SYSTEMS, Ipv4Addr::UNSPECIFIED),
            (IpAddr::V4(source), Query::Group(IpAddr::V4(group))) => igmp(source, group, group),
            (IpAddr::V6(source), Query::General) => mld(source, ALL_NODES, Ipv6Addr::UNSPECIFIED),
            (IpAddr::V6(source), Query::Group(IpAddr::V6(group))) => mld(source, group, group),
            _ => return None,
        };
        let mut frame = Vec::with_capacity(22 + packet.len());
        frame.extend(destination_mac(&packet));
        frame.extend(source_mac);
        for tag in vlans {
            frame.extend(tag.tpid.to_be_bytes());
            frame.extend(tag.tci.to_be_bytes());
        }
        frame.extend(if source.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend(packet);
        Some(Self(frame))
    }

    /// The bytes, from the destination MAC address on.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be sent.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// RFC 1112 §6.4 and RFC 2464 §7, from the packet's destination address.
fn destination_mac(packet: &[u8]) -> [u8; 6] {
    if packet[0] >> 4 == 4 {
        [0x01, 0x00, 0x5e, packet[17] & 0x7f, packet[18], packet[19]]
    } else {
        [0x33, 0x33, packet[36], packet[37], packet[38], packet[39]]
    }
}

fn igmp(source: Ipv4Addr, destination: Ipv4Addr, group: Ipv4Addr) -> Vec<u8> {
    let mut query = vec![0x11, tenths_of_a_second(), 0, 0];
    query.extend(group.octets());
    query.extend([ROBUSTNESS, QUERY_INTERVAL.as_secs() as u8, 0, 0]);
    let sum = checksum(&[&query]);
    query[2..4].copy_from_slice(&sum);

    // Header of 24 bytes with the Router Alert option (RFC 2113), TTL 1, protocol 2.
    let mut packet = vec![0x46, INTERNETWORK_CONTROL, 0, 24 + query.len() as u8, 0, 0, 0x40, 0, 1, 2, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend([0x94, 0x04, 0, 0]);
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(query);
    packet
}

fn mld(source: Ipv6Addr, destination: Ipv6Addr, group: Ipv6Addr) -> Vec<u8> {
    let response = RESPONSE_INTERVAL.as_millis() as u16;
    let mut query = vec![130, 0, 0, 0];
    query.extend(response.to_be_bytes());
    query.extend([0, 0]);
    query.extend(group.octets());
    query.extend([ROBUSTNESS, QUERY_INTERVAL.as_secs() as u8, 0, 0]);
    let pseudo = [0, 0, 0, query.len() as u8, 0, 0, 0, 58];
    let sum = checksum(&[&source.octets(), &destination.octets(), &pseudo, &query]);
    query[2..4].copy_from_slice(&sum);

    // Hop limit 1; hop-by-hop header with Router Alert (RFC 2711) for MLD, padded to 8 bytes.
    let mut packet = vec![0x60, 0, 0, 0, 0, 8 + query.len() as u8, 0, 1];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend([58, 0, 5, 2, 0, 0, 1, 0]);
    packet.extend(query);
    packet
}

/// Max Resp Code in units of 0.1 s; below 128 the code is the value (RFC 3376 §4.1.1).
fn tenths_of_a_second() -> u8 {
    (RESPONSE_INTERVAL.as_millis() / 100) as u8
}

/// The Internet checksum over parts of even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let sum = parts.iter().map(|part| u32::from(ones_complement_sum(part))).sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn frame(query: Query, source: &str) -> Vec<u8> {
        QueryFrame::new(query, source.parse().unwrap(), MAC, &[]).unwrap().bytes().to_vec()
    }

    #[test]
    fn a_general_igmp_query_is_what_the_rfc_says() {
        let frame = frame(Query::General, "10.77.0.1");
        assert_eq!(frame[..14], [1, 0, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(frame[14], 0x46);
        assert_eq!(checksum(&[&frame[14..38]]), [0, 0]);
        assert_eq!(checksum(&[&frame[38..]]), [0, 0]);
        assert_eq!(frame[38..40], [0x11, 100]);
        assert_eq!(frame[42..46], [0; 4]);
        assert_eq!(frame[46..], [2, 125, 0, 0]);
    }

    #[test]
    fn a_group_specific_query_goes_to_the_group() {
        let group = "239.129.2.3".parse().unwrap();
        let frame = frame(Query::Group(group), "10.77.0.1");
        assert_eq!(frame[..6], [1, 0, 0x5e, 1, 2, 3]);
        assert_eq!(frame[30..34], [239, 129, 2, 3]);
        assert_eq!(frame[42..46], [239, 129, 2, 3]);
    }

    #[test]
    fn a_general_mld_query_is_what_the_rfc_says() {
        let frame = frame(Query::General, "fe80::1");
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame[12..16], [0x86, 0xdd, 0x60, 0]);
        assert_eq!(frame[20..22], [0, 1], "next header hop-by-hop, hop limit 1");
        assert_eq!(frame[54..62], [58, 0, 5, 2, 0, 0, 1, 0]);
        let pseudo = [0, 0, 0, 28, 0, 0, 0, 58];
        assert_eq!(checksum(&[&frame[22..54], &pseudo, &frame[62..]]), [0, 0]);
    }

    #[test]
    fn tags_go_between_the_addresses_and_the_type() {
        let tags = [VlanTag { tpid: 0x8100, tci: 7 }];
        let frame = QueryFrame::new(Query::General, "10.0.0.1".parse().unwrap(), MAC, &tags).unwrap();
        assert_eq!(frame.bytes()[12..18], [0x81, 0, 0, 7, 8, 0]);
    }

    #[test]
    fn a_group_of_the_other_family_makes_no_query() {
        let group = "ff3e::1".parse().unwrap();
        assert_eq!(QueryFrame::new(Query::Group(group), "10.0.0.1".parse().unwrap(), MAC, &[]), None);
    }
}
