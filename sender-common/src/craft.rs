//! Packets made by code, readably: for tests, the load generator and the corpus of the fuzz targets.
//!
//! `Craft::v4("10.0.0.9", "10.0.0.1").vlan(0x8100, 7).ttl(61).udp(5005, 6001, &receiver_report(..))` is a frame whose lengths and
//! checksums are right; tests spoil it afterwards.

use alloc::{vec, vec::Vec};
use core::net::IpAddr;

/// The IPv4 option Router Alert (RFC 2113), which IGMP carries.
pub const ROUTER_ALERT: [u8; 4] = [0x94, 0x04, 0, 0];
/// A hop-by-hop header with the option Router Alert for MLD (RFC 2711), without its next-header octet.
const HOP_BY_HOP_ALERT: [u8; 7] = [0, 5, 2, 0, 0, 1, 0];

/// A frame in the making: Ethernet, VLAN tags, IP.
#[derive(Clone, Debug)]
pub struct Craft {
    source: IpAddr,
    destination: IpAddr,
    vlans: Vec<(u16, u16)>,
    ttl: u8,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: u16,
}

impl Craft {
    /// A frame between two addresses of one family. The TTL is 64 until said otherwise.
    pub fn new(source: IpAddr, destination: IpAddr) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "both addresses are of one family");
        Self { source, destination, vlans: vec![], ttl: 64, options: vec![], extensions: vec![], fragment: 0 }
    }

    /// As [`Craft::new`], from literals.
    pub fn between(source: &str, destination: &str) -> Self {
        Self::new(source.parse().expect("an address literal"), destination.parse().expect("an address literal"))
    }

    /// One more VLAN tag, inside those there are.
    #[must_use]
    pub fn vlan(mut self, tpid: u16, tci: u16) -> Self {
        self.vlans.push((tpid, tci));
        self
    }

    /// The TTL or hop limit.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// IPv4 options; the length must be a multiple of 4.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        assert_eq!(options.len() % 4, 0, "IPv4 options are whole words");
        self.options = options.to_vec();
        self
    }

    /// One more IPv6 extension header: its type and its octets but the first (next header).
    #[must_use]
    pub fn extension(mut self, kind: u8, rest: &[u8]) -> Self {
        self.extensions.push((kind, rest.to_vec()));
        self
    }

    /// The 16 bits of flags and fragment offset (IPv4).
    #[must_use]
    pub fn fragment(mut self, bits: u16) -> Self {
        self.fragment = bits;
        self
    }

    /// A frame with a UDP datagram.
    pub fn udp(&self, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        let mut udp = vec![];
        udp.extend(from.to_be_bytes());
        udp.extend(to.to_be_bytes());
        udp.extend(((payload.len() + 8) as u16).to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        let sum = !ones_complement(&udp, self.pseudo_header(17, udp.len()));
        let sum = if sum == 0 { 0xffff } else { sum };
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        self.ip(17, &udp)
    }

    /// A frame with a TCP segment without payload; `flags`: the octet with SYN (2) and ACK (16).
    pub fn tcp(&self, from: u16, to: u16, flags: u8) -> Vec<u8> {
        let mut tcp = vec![];
        tcp.extend(from.to_be_bytes());
        tcp.extend(to.to_be_bytes());
        tcp.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        self.ip(6, &tcp)
    }

    /// A frame with an IGMP message, as hosts send it: TTL 1, Router Alert. The checksum is put in.
    pub fn igmp(&self, message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        put_checksum(&mut message, 0);
        let mut craft = self.clone().ttl(1);
        if craft.options.is_empty() {
            craft.options = ROUTER_ALERT.to_vec();
        }
        craft.ip(2, &message)
    }

    /// A frame with an MLD message, as hosts send it: hop limit 1, hop-by-hop Router Alert. The checksum is put in.
    pub fn mld(&self, message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        let seed = self.pseudo_header(58, message.len());
        put_checksum(&mut message, seed);
        self.clone().ttl(1).extension(0, &HOP_BY_HOP_ALERT).ip(58, &message)
    }

    /// A frame with whatever payload.
    pub fn ip(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for (tpid, tci) in &self.vlans {
            frame.extend(tpid.to_be_bytes());
            frame.extend(tci.to_be_bytes());
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([8, 0]);
                let mut header = vec![0x45 + (self.options.len() / 4) as u8, 0];
                header.extend(((20 + self.options.len() + payload.len()) as u16).to_be_bytes());
                header.extend([0, 0]);
                header.extend(self.fragment.to_be_bytes());
                header.extend([self.ttl, protocol, 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                header.extend(&self.options);
                let sum = !ones_complement(&header, 0);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend(header);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                let extensions: usize = self.extensions.iter().map(|(_, rest)| rest.len() + 1).sum();
                frame.extend(((extensions + payload.len()) as u16).to_be_bytes());
                let kinds: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).chain([protocol]).collect();
                frame.extend([kinds[0], self.ttl]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                for ((_, rest), next) in self.extensions.iter().zip(&kinds[1..]) {
                    frame.push(*next);
                    frame.extend(rest);
                }
            }
            _ => unreachable!("both addresses are of one family: new() asserts it"),
        }
        frame.extend(payload);
        frame
    }

    fn pseudo_header(&self, protocol: u8, length: usize) -> u32 {
        let mut octets = vec![];
        for ip in [self.source, self.destination] {
            match ip {
                IpAddr::V4(ip) => octets.extend(ip.octets()),
                IpAddr::V6(ip) => octets.extend(ip.octets()),
            }
        }
        u32::from(ones_complement(&octets, 0)) + u32::from(protocol) + length as u32
    }
}

fn put_checksum(message: &mut [u8], seed: u32) {
    if message.len() >= 4 {
        message[2..4].fill(0);
        let sum = !ones_complement(message, seed);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

fn ones_complement(octets: &[u8], seed: u32) -> u16 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum = words.fold(seed, |sum, word| sum + word);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// An RTCP packet: type, count, and its content behind the length, which must be whole words.
pub fn rtcp(kind: u8, count: u8, content: &[u8]) -> Vec<u8> {
    assert_eq!(content.len() % 4, 0, "RTCP packets are whole words");
    let mut packet = vec![0x80 | count, kind];
    packet.extend(((content.len() / 4) as u16).to_be_bytes());
    packet.extend(content);
    packet
}

/// A compound as receivers send it: RR with one block, SDES with a CNAME.
pub fn receiver_report(ssrc: u32, media: u32, fraction_lost: u8, cumulative_lost: i32) -> Vec<u8> {
    let mut content = ssrc.to_be_bytes().to_vec();
    content.extend(media.to_be_bytes());
    content.push(fraction_lost);
    content.extend(&cumulative_lost.to_be_bytes()[1..]);
    content.extend([0; 16]);
    let mut compound = rtcp(201, 1, &content);
    compound.extend(source_description(ssrc));
    compound
}

/// An RR without blocks, as a receiver sends that has received nothing yet, and an SDES.
pub fn empty_report(ssrc: u32) -> Vec<u8> {
    let mut compound = rtcp(201, 0, &ssrc.to_be_bytes());
    compound.extend(source_description(ssrc));
    compound
}

/// An SDES with a CNAME.
pub fn source_description(ssrc: u32) -> Vec<u8> {
    let mut content = ssrc.to_be_bytes().to_vec();
    content.extend(b"\x01\x08viewer@x\0\0");
    rtcp(202, 1, &content)
}

/// A BYE.
pub fn bye(ssrc: u32) -> Vec<u8> {
    rtcp(203, 1, &ssrc.to_be_bytes())
}

/// An IGMPv1 or v2 message: its type and group; [`Craft::igmp`] puts the checksum in.
pub fn igmp_message(kind: u8, max_response: u8, group: [u8; 4]) -> Vec<u8> {
    let mut message = vec![kind, max_response, 0, 0];
    message.extend(group);
    message
}

/// A record of an IGMPv3 or MLDv2 report.
#[derive(Clone, Debug)]
pub struct Record {
    /// The record's type, 1 to 6.
    pub kind: u8,
    /// The group.
    pub group: IpAddr,
    /// The sources.
    pub sources: Vec<IpAddr>,
    /// Words of auxiliary data.
    pub auxiliary: u8,
}

/// An IGMPv3 report (all groups IPv4) or MLDv2 report (all groups IPv6).
pub fn membership_report(is_igmp: bool, records: &[Record]) -> Vec<u8> {
    let mut message = vec![if is_igmp { 0x22 } else { 143 }, 0, 0, 0, 0, 0];
    message.extend((records.len() as u16).to_be_bytes());
    for record in records {
        message.extend([record.kind, record.auxiliary]);
        message.extend((record.sources.len() as u16).to_be_bytes());
        for address in [record.group].iter().chain(&record.sources) {
            match address {
                IpAddr::V4(ip) => message.extend(ip.octets()),
                IpAddr::V6(ip) => message.extend(ip.octets()),
            }
        }
        message.extend(vec![0; usize::from(record.auxiliary) * 4]);
    }
    message
}
