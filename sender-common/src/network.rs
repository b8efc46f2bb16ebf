//! From the first octet to the payload of IP: Ethernet, up to two VLAN tags, IPv4 with options, IPv6 with extension headers.

use crate::{
    layout::Address,
    packet::{Packet, Span, be16},
    reason::Reason,
};

/// IP protocol numbers (IANA).
pub mod protocol {
    /// IGMP, RFC 3376.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6, which carries MLD.
    pub const ICMP6: u8 = 58;

    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

/// As many IPv6 extension headers are followed: hop-by-hop, destination, routing, fragment, authentication, destination are
/// all that RFC 8200 4.1 has before the payload.
pub const MAX_EXTENSIONS: usize = 6;

/// The fixed part of an IP header, where it lies in the packet.
#[derive(Clone, Copy)]
pub enum Header<'p> {
    /// IPv4, without its options.
    V4(&'p [u8; 20]),
    /// IPv6.
    V6(&'p [u8; 40]),
}

/// An IP packet.
#[derive(Clone, Copy)]
pub struct Ip<'p> {
    /// The header.
    pub header: Header<'p>,
    /// Where the header begins.
    pub at: usize,
    /// What the payload is; never an extension header.
    pub protocol: u8,
    /// The TTL or hop limit.
    pub ttl: u8,
    /// The payload: within the length that the IP header declares, and within the frame.
    pub payload: Span,
}

impl<'p> Ip<'p> {
    /// The IPv4 packet whose header begins at `at`, its payload found before.
    #[inline(always)]
    pub fn v4_again<P: Packet<'p>>(packet: P, at: usize, payload: Span) -> Option<Self> {
        let header = packet.window::<20>(at)?;
        Some(Self { header: Header::V4(header), at, protocol: header[9], ttl: header[8], payload })
    }

    /// The IPv6 packet whose header begins at `at`, its payload and what that is found before.
    #[inline(always)]
    pub fn v6_again<P: Packet<'p>>(packet: P, at: usize, payload: Span, protocol: u8) -> Option<Self> {
        let header = packet.window::<40>(at)?;
        Some(Self { header: Header::V6(header), at, protocol, ttl: header[7], payload })
    }

    /// Who sent it.
    #[inline(always)]
    pub fn source(&self) -> Address {
        match self.header {
            Header::V4(h) => Address::v4([h[12], h[13], h[14], h[15]]),
            Header::V6(h) => v6(h, 8),
        }
    }

    /// Whom it was sent to.
    #[inline(always)]
    pub fn destination(&self) -> Address {
        match self.header {
            Header::V4(h) => Address::v4([h[16], h[17], h[18], h[19]]),
            Header::V6(h) => v6(h, 24),
        }
    }

    /// Whether it was sent to a group.
    #[inline(always)]
    pub fn is_multicast(&self) -> bool {
        match self.header {
            Header::V4(h) => h[16] >> 4 == 14,
            Header::V6(h) => h[24] == 0xff,
        }
    }

    /// Whether the IPv4 header's checksum is right; IPv6 has none.
    #[inline(always)]
    pub fn checksum_holds<P: Packet<'p>>(&self, packet: P) -> bool {
        let Header::V4(header) = self.header else { return true };
        // The sum doesn't depend on the order of octets (RFC 1071 2 (B)), so they are taken as the machine likes them.
        let word =
            |at: usize| u64::from(u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
        let mut sum = word(0) + word(4) + word(8) + word(12) + word(16);
        if header[0] & 15 > 5 {
            let options = Span { at: self.at + 20, end: self.at + usize::from(header[0] & 15) * 4 };
            // Ten words of options are the most that the header length can say.
            for word in 0..10 {
                let Some(word) = options.window::<4, P>(packet, word * 4) else { break };
                sum += u64::from(u32::from_ne_bytes(*word));
            }
        }
        fold(sum) == 0xffff
    }
}

/// The ones'-complement sum of 16-bit words, from a sum of 32-bit words.
#[inline(always)]
pub(crate) fn fold(sum: u64) -> u64 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

#[inline(always)]
fn v6(header: &[u8; 40], at: usize) -> Address {
    let word = |at: usize| {
        let h = header;
        u64::from_ne_bytes([h[at], h[at + 1], h[at + 2], h[at + 3], h[at + 4], h[at + 5], h[at + 6], h[at + 7]])
    };
    Address::from_words(word(at), word(at + 8))
}

/// Finds the IP payload of a frame. What isn't for us, and what is broken, comes back as the reason.
#[inline(always)]
pub fn parse<'p, P: Packet<'p>>(packet: P) -> Result<Ip<'p>, Reason> {
    let ethernet = packet.window::<14>(0).ok_or(Reason::EthernetShort)?;
    match be16(ethernet, 12) {
        IPV4 => ipv4(packet, 14),
        IPV6 => ipv6(packet, 14),
        VLAN | QINQ => tagged(packet),
        _ => Err(Reason::NotIp),
    }
}

#[inline(always)]
fn tagged<'p, P: Packet<'p>>(packet: P) -> Result<Ip<'p>, Reason> {
    let mut at = 14;
    let mut ethertype = be16(packet.window::<4>(at).ok_or(Reason::EthernetShort)?, 2);
    at += 4;
    if ethertype == VLAN || ethertype == QINQ {
        ethertype = be16(packet.window::<4>(at).ok_or(Reason::EthernetShort)?, 2);
        at += 4;
    }
    match ethertype {
        IPV4 => ipv4(packet, at),
        IPV6 => ipv6(packet, at),
        VLAN | QINQ => Err(Reason::VlanDepth),
        _ => Err(Reason::NotIp),
    }
}

#[inline(always)]
fn ipv4<'p, P: Packet<'p>>(packet: P, at: usize) -> Result<Ip<'p>, Reason> {
    let header = packet.window::<20>(at).ok_or(Reason::IpShort)?;
    let length = usize::from(header[0] & 15) * 4;
    let total = usize::from(be16(header, 2));
    if header[0] >> 4 != 4 || length < 20 || total < length {
        return Err(Reason::IpHeader);
    }
    let payload = Span { at: at + length, end: at + total };
    if payload.end > packet.length() {
        return Err(Reason::IpShort);
    }
    // More fragments, or an offset.
    match be16(header, 6) & 0x3fff {
        0 => Ok(Ip { header: Header::V4(header), at, protocol: header[9], ttl: header[8], payload }),
        0x2000 => Err(Reason::FragmentFirst),
        _ => Err(Reason::FragmentLater),
    }
}

#[inline(always)]
fn ipv6<'p, P: Packet<'p>>(packet: P, at: usize) -> Result<Ip<'p>, Reason> {
    let header = packet.window::<40>(at).ok_or(Reason::IpShort)?;
    if header[0] >> 4 != 6 {
        return Err(Reason::IpHeader);
    }
    let payload = Span { at: at + 40, end: at + 40 + usize::from(be16(header, 4)) };
    if payload.end > packet.length() {
        return Err(Reason::IpShort);
    }
    let mut ip = Ip { header: Header::V6(header), at, protocol: header[6], ttl: header[7], payload };
    for _ in 0..MAX_EXTENSIONS {
        match ip.protocol {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION => {
                let extension = ip.payload.window::<8, P>(packet, 0).ok_or(Reason::IpShort)?;
                ip.protocol = extension[0];
                ip.payload.at += (usize::from(extension[1]) + 1) * 8;
            }
            protocol::AUTHENTICATION => {
                let extension = ip.payload.window::<8, P>(packet, 0).ok_or(Reason::IpShort)?;
                ip.protocol = extension[0];
                ip.payload.at += (usize::from(extension[1]) + 2) * 4;
            }
            protocol::FRAGMENT => {
                let extension = ip.payload.window::<8, P>(packet, 0).ok_or(Reason::IpShort)?;
                match be16(extension, 2) & 0xfff9 {
                    // A whole packet with a fragment header (RFC 6946).
                    0 => {}
                    1 => return Err(Reason::FragmentFirst),
                    _ => return Err(Reason::FragmentLater),
                }
                ip.protocol = extension[0];
                ip.payload.at += 8;
            }
            _ => return Ok(ip),
        }
        if ip.payload.at > ip.payload.end {
            return Err(Reason::IpShort);
        }
    }
    match ip.protocol {
        protocol::HOP_BY_HOP
        | protocol::ROUTING
        | protocol::DESTINATION
        | protocol::AUTHENTICATION
        | protocol::FRAGMENT => Err(Reason::IpExtensions),
        _ => Ok(ip),
    }
}
