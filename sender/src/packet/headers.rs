//! The headers in front of an RTP packet, made ready once for a destination.

use std::net::IpAddr;

use super::checksum::{fold, ones_complement_sum};
use super::destination::Destination;

/// Where an RTP packet starts in a frame. Headers end here whatever their length, so that they sit in the cache line before
/// it: sending a resident frame to another destination touches that one line (two with QinQ over IPv6).
pub const RTP_OFFSET: usize = 128;
/// Ethernet, two VLAN tags, IPv6, UDP.
pub const MAX_HEADER_LEN: usize = 14 + 2 * 4 + 40 + UDP_LEN;

const LINE: usize = 64;
/// What may stick out of the line in front.
const SPILL: usize = 8;
const UDP_LEN: usize = 8;
const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;

// Offsets within the line, that is, counted so that the headers end at 64.
const UDP: usize = LINE - UDP_LEN;
const UDP_LENGTH: usize = UDP + 4;
const UDP_CHECKSUM: usize = UDP + 6;
const IPV4: usize = UDP - IPV4_LEN;
const IPV4_TOTAL_LENGTH: usize = IPV4 + 2;
const IPV4_CHECKSUM: usize = IPV4 + 10;
const IPV6: usize = UDP - IPV6_LEN;
const IPV6_PAYLOAD_LENGTH: usize = IPV6 + 4;

/// All headers of one destination with everything in them that does not depend on the payload, and the sums over it.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct HeaderTemplate {
    /// The last 64 bytes of the headers; lengths and checksums are zero.
    line: [u8; LINE],
    /// What comes before them, right-aligned.
    spill: [u8; SPILL],
    /// Sum over the IPv4 header without total length and checksum.
    ip_sum: u16,
    /// Sum over pseudo-header and UDP header without the lengths (both of them) and the checksum.
    udp_sum: u16,
    len: u8,
    ipv6: bool,
}

impl HeaderTemplate {
    /// The headers for `destination`.
    pub fn new(destination: &Destination) -> HeaderTemplate {
        let mut headers = Vec::with_capacity(MAX_HEADER_LEN);
        write_ethernet(destination, &mut headers);
        write_ip(destination, &mut headers);
        headers.extend(destination.src().port().to_be_bytes());
        headers.extend(destination.dst().port().to_be_bytes());
        headers.extend([0; 4]);

        let len = headers.len();
        let mut aligned = [0; SPILL + LINE];
        aligned[SPILL + LINE - len..].copy_from_slice(&headers);
        let (mut line, mut spill) = ([0; LINE], [0; SPILL]);
        spill.copy_from_slice(&aligned[..SPILL]);
        line.copy_from_slice(&aligned[SPILL..]);

        let ipv6 = destination.dst().is_ipv6();
        let addresses = if ipv6 { &line[IPV6 + 8..UDP] } else { &line[IPV4 + 12..UDP] };
        let sums = [addresses, &[0, 17], &line[UDP..UDP + 4]].map(|part| u32::from(ones_complement_sum(part)));
        HeaderTemplate {
            ip_sum: if ipv6 { 0 } else { ones_complement_sum(&line[IPV4..UDP]) },
            udp_sum: fold(sums.iter().sum()),
            line,
            spill,
            len: len as u8,
            ipv6,
        }
    }

    /// Length of all headers in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "headers are never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Writes the headers so that they end at [`RTP_OFFSET`] of `frame`, for an RTP packet of `payload_len` bytes whose
    /// [`ones_complement_sum`] is `payload_sum`. Returns where the Ethernet frame starts. Bytes of `frame` from 56 on may be
    /// written, and none from [`RTP_OFFSET`] on is looked at.
    ///
    /// # Panics
    /// If `frame` is shorter than [`RTP_OFFSET`].
    #[inline]
    pub fn write(&self, frame: &mut [u8], payload_len: usize, payload_sum: u16) -> usize {
        debug_assert!(payload_len + IPV4_LEN + UDP_LEN <= usize::from(u16::MAX));
        let udp_len = (UDP_LEN + payload_len) as u16;
        let head: &mut [u8; RTP_OFFSET] = frame.first_chunk_mut().expect("a frame has room for its headers");
        if self.len() > LINE {
            head[LINE - SPILL..LINE].copy_from_slice(&self.spill);
        }
        let line: &mut [u8; LINE] = head.last_chunk_mut().expect("64 is less than 128");
        *line = self.line;
        if self.ipv6 {
            line[IPV6_PAYLOAD_LENGTH..][..2].copy_from_slice(&udp_len.to_be_bytes());
        } else {
            let total = IPV4_LEN as u16 + udp_len;
            let checksum = !fold(u32::from(self.ip_sum) + u32::from(total));
            line[IPV4_TOTAL_LENGTH..][..2].copy_from_slice(&total.to_be_bytes());
            line[IPV4_CHECKSUM..][..2].copy_from_slice(&checksum.to_be_bytes());
        }
        // The length counts twice: in the pseudo-header and in the UDP header.
        let checksum = !fold(u32::from(self.udp_sum) + 2 * u32::from(udp_len) + u32::from(payload_sum));
        // Zero would mean "no checksum" (RFC 768), which IPv6 forbids (RFC 8200 section 8.1).
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        line[UDP_LENGTH..][..2].copy_from_slice(&udp_len.to_be_bytes());
        line[UDP_CHECKSUM..][..2].copy_from_slice(&checksum.to_be_bytes());
        RTP_OFFSET - self.len()
    }
}

fn write_ethernet(destination: &Destination, out: &mut Vec<u8>) {
    out.extend(destination.dst_mac().0);
    out.extend(destination.src_mac().0);
    for tag in destination.vlans() {
        out.extend(tag.tpid.to_be_bytes());
        out.extend(tag.tci.to_be_bytes());
    }
    let ethertype: u16 = if destination.dst().is_ipv6() { 0x86dd } else { 0x0800 };
    out.extend(ethertype.to_be_bytes());
}

fn write_ip(destination: &Destination, out: &mut Vec<u8>) {
    let traffic_class = destination.dscp() << 2;
    match (destination.src().ip(), destination.dst().ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            // Version and header length, total length (later), identification 0 and don't fragment (RFC 6864), UDP.
            out.extend([0x45, traffic_class, 0, 0, 0, 0, 0x40, 0, destination.ttl(), 17, 0, 0]);
            out.extend(src.octets());
            out.extend(dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            out.extend([0x60 | traffic_class >> 4, traffic_class << 4, 0, 0, 0, 0, 17, destination.ttl()]);
            out.extend(src.octets());
            out.extend(dst.octets());
        }
        _ => unreachable!("a Destination's addresses are of one family"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Destination, VlanTag};
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;
    use std::net::SocketAddr;

    /// What an independent parser makes of a frame; it checks lengths and the IPv4 checksum.
    fn check(destination: &Destination, payload: &[u8]) {
        let mut frame = vec![0xaa; RTP_OFFSET];
        frame.extend(payload);
        let template = HeaderTemplate::new(destination);
        let start = template.write(&mut frame, payload.len(), ones_complement_sum(payload));
        assert_eq!(start, RTP_OFFSET - template.len());
        assert!(frame[..RTP_OFFSET - LINE - SPILL].iter().all(|&byte| byte == 0xaa), "written too far in front");

        let parsed = SlicedPacket::from_ethernet(&frame[start..]).unwrap();
        let Some(TransportSlice::Udp(udp)) = &parsed.transport else { panic!("no UDP in {parsed:?}") };
        assert_eq!(udp.source_port(), destination.src().port());
        assert_eq!(udp.destination_port(), destination.dst().port());
        assert_eq!(udp.payload(), payload);
        assert_ne!(udp.checksum(), 0);
        let tags: Vec<u16> = parsed.vlan_ids().iter().map(|id| id.value()).collect();
        let expected: Vec<u16> = destination.vlans().map(|tag| tag.tci & 0x0fff).collect();
        assert_eq!(tags, expected);
        match &parsed.net {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                assert_eq!(IpAddr::from(header.source), destination.src().ip());
                assert_eq!(IpAddr::from(header.destination), destination.dst().ip());
                assert_eq!((header.time_to_live, header.dscp.value()), (destination.ttl(), destination.dscp()));
                assert!(header.dont_fragment && header.identification == 0);
                assert_eq!(udp.to_header().calc_checksum_ipv4(&header, payload).unwrap(), udp.checksum());
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header().to_header();
                assert_eq!(IpAddr::from(header.source), destination.src().ip());
                assert_eq!(IpAddr::from(header.destination), destination.dst().ip());
                assert_eq!((header.hop_limit, header.traffic_class >> 2), (destination.ttl(), destination.dscp()));
                assert_eq!(udp.to_header().calc_checksum_ipv6(&header, payload).unwrap(), udp.checksum());
            }
            other => panic!("no IP in {other:?}"),
        }
    }

    fn destinations() -> Vec<Destination> {
        let one = [VlanTag::customer(0x2064)];
        let two = [VlanTag::service(7), VlanTag::customer(4094)];
        let pairs = [("10.0.0.1:5004", "239.192.0.1:5004"), ("[fd00::1]:5004", "[ff3e::8000:1]:5006")];
        let mut made = Vec::new();
        for (src, group) in pairs {
            for vlans in [&[][..], &one, &two] {
                let (src, group) = (src.parse().unwrap(), group.parse().unwrap());
                made.push(Destination::multicast([2, 0, 0, 0, 0, 1], vlans, src, group, 8, 34).unwrap());
            }
        }
        made
    }

    #[test]
    fn an_independent_parser_reads_every_kind_of_header() {
        for destination in destinations() {
            for len in [0, 1, 2, 1315, 1316, 1328, 1329] {
                check(&destination, &vec![0x5a; len]);
            }
        }
    }

    #[test]
    fn header_lengths_are_as_the_standards_say() {
        let lens: Vec<usize> = destinations().iter().map(|to| HeaderTemplate::new(to).len()).collect();
        assert_eq!(lens, [42, 46, 50, 62, 66, 70]);
        assert_eq!(lens.last(), Some(&MAX_HEADER_LEN));
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        for destination in destinations() {
            let template = HeaderTemplate::new(&destination);
            let mut frame = [0; RTP_OFFSET];
            let zeros = (0..=u16::MAX).filter(|&sum| {
                template.write(&mut frame, 2, sum);
                assert_ne!(frame[126..], [0, 0]);
                frame[126..] == [0xff, 0xff]
            });
            let sums: Vec<u16> = zeros.collect();
            assert!(!sums.is_empty());
            sums.iter().for_each(|sum| check(&destination, &sum.to_be_bytes()));
        }
    }

    #[test]
    fn a_frame_sent_elsewhere_is_the_frame_made_for_there() {
        let all = destinations();
        let payload = [0x77; 333];
        let sum = ones_complement_sum(&payload);
        let mut resident = vec![0; RTP_OFFSET];
        resident.extend(payload);
        for (first, second) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
            HeaderTemplate::new(first).write(&mut resident, payload.len(), sum);
            let start = HeaderTemplate::new(second).write(&mut resident, payload.len(), sum);
            let mut fresh = vec![0; RTP_OFFSET];
            fresh.extend(payload);
            HeaderTemplate::new(second).write(&mut fresh, payload.len(), sum);
            assert_eq!(resident[start..], fresh[start..]);
        }
    }

    fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let v4 = any::<([u8; 4], [u8; 4])>().prop_map(|(src, dst)| (IpAddr::from(src), IpAddr::from(dst)));
        let v6 = any::<([u8; 16], [u8; 16])>().prop_map(|(src, dst)| (IpAddr::from(src), IpAddr::from(dst)));
        (prop_oneof![v4, v6], 1u16.., 1u16..).prop_map(|((src, dst), a, b)| ((src, a).into(), (dst, b).into()))
    }

    proptest! {
        #[test]
        fn headers_are_right_for_any_destination_and_payload(
            macs in any::<[[u8; 6]; 2]>(),
            addresses in addresses(),
            tcis in proptest::collection::vec(any::<u16>(), 0..=2),
            (ttl, dscp) in (1u8.., 0u8..64),
            payload in proptest::collection::vec(any::<u8>(), 0..1400),
        ) {
            let vlans: Vec<VlanTag> = tcis.into_iter().map(VlanTag::customer).collect();
            check(&Destination::new(macs[0], macs[1], &vlans, addresses, ttl, dscp).unwrap(), &payload);
        }
    }
}
