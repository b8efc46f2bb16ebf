//! What a frame's own headers say, for a back end that cannot send the frame as it is: where the payload lies, where it
//! goes, and how.
//!
//! Reads Ethernet, IPv4 and IPv6, UDP as the engine writes them: no fragments, no extension headers. VLAN tags are found
//! and refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What must be set on a socket for a packet to leave as its headers say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// Source address and port.
    pub source: SocketAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// The whole traffic class octet: DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
}

/// A frame taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// How it is to leave.
    pub flow: Flow,
    /// Where to.
    pub destination: SocketAddr,
    /// Where the UDP payload starts in the frame.
    pub start: usize,
    /// Its length.
    pub len: usize,
}

/// Why a frame cannot be sent through a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FlowError {
    /// The frame has a VLAN tag; a plain socket cannot write one.
    #[error(
        "frames carry a VLAN tag, which a plain socket cannot write: set network.interface to the VLAN interface of the \
         operating system (eth1.100) and remove network.vlan"
    )]
    Vlan,
    /// Not an unfragmented UDP packet over IPv4 or IPv6 with consistent lengths.
    #[error("the frame is not a whole UDP packet over IPv4 or IPv6")]
    NotUdp,
}

const ETHERNET: usize = 14;
const UDP: usize = 8;
const PROTOCOL_UDP: u8 = 17;

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Takes a frame apart.
///
/// # Errors
/// When the frame is not what a plain socket can send.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Parsed, FlowError> {
    match u16_at(frame, 12) {
        Some(0x8100 | 0x88a8) => Err(FlowError::Vlan),
        Some(0x0800) => ipv4(frame).ok_or(FlowError::NotUdp),
        Some(0x86dd) => ipv6(frame).ok_or(FlowError::NotUdp),
        _ => Err(FlowError::NotUdp),
    }
}

/// RFC 791, section 3.1.
fn ipv4(frame: &[u8]) -> Option<Parsed> {
    let ip = frame.get(ETHERNET..)?;
    let header = usize::from(ip.first()? & 0xf) * 4;
    let total = usize::from(u16_at(ip, 2)?);
    let fragment = u16_at(ip, 6)? & 0x3fff;
    if ip[0] >> 4 != 4 || header < 20 || fragment != 0 || *ip.get(9)? != PROTOCOL_UDP || total > ip.len() {
        return None;
    }
    let source = IpAddr::V4(Ipv4Addr::from(array::<4>(ip, 12)?));
    let destination = IpAddr::V4(Ipv4Addr::from(array::<4>(ip, 16)?));
    udp(frame, ETHERNET + header, total.checked_sub(header)?, source, destination, (ip[8], ip[1]))
}

/// RFC 8200, section 3.
fn ipv6(frame: &[u8]) -> Option<Parsed> {
    let ip = frame.get(ETHERNET..)?;
    let len = usize::from(u16_at(ip, 4)?);
    if ip[0] >> 4 != 6 || *ip.get(6)? != PROTOCOL_UDP || 40 + len > ip.len() {
        return None;
    }
    let source = IpAddr::V6(Ipv6Addr::from(array::<16>(ip, 8)?));
    let destination = IpAddr::V6(Ipv6Addr::from(array::<16>(ip, 24)?));
    udp(frame, ETHERNET + 40, len, source, destination, (ip[7], ip[0] << 4 | ip[1] >> 4))
}

/// RFC 768; `len` is what the network layer says, `how` TTL and traffic class.
fn udp(frame: &[u8], at: usize, len: usize, source: IpAddr, destination: IpAddr, how: (u8, u8)) -> Option<Parsed> {
    if usize::from(u16_at(frame, at + 4)?) != len || len < UDP {
        return None;
    }
    Some(Parsed {
        flow: Flow { source: SocketAddr::new(source, u16_at(frame, at)?), ttl: how.0, traffic_class: how.1 },
        destination: SocketAddr::new(destination, u16_at(frame, at + 2)?),
        start: at + UDP,
        len: len - UDP,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as the engine writes it (checksums left 0: nobody here reads them).
    pub(in crate::transmit) fn frame(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let udp_len = (UDP + payload.len()) as u16;
        let mut frame = vec![0; 12];
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([0x08, 0x00, 0x45, 34 << 2]);
                frame.extend((20 + udp_len).to_be_bytes());
                frame.extend([0, 0, 0x40, 0, 8, 17, 0, 0]);
                frame.extend(from.octets());
                frame.extend(to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend([0x86, 0xdd, 0x60 | (34 << 2) >> 4, (34 << 2 & 0xf) << 4, 0, 0]);
                frame.extend(udp_len.to_be_bytes());
                frame.extend([17, 8]);
                frame.extend(from.octets());
                frame.extend(to.octets());
            }
            _ => panic!("families differ"),
        }
        frame.extend(source.port().to_be_bytes());
        frame.extend(destination.port().to_be_bytes());
        frame.extend(udp_len.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        frame
    }

    fn addresses() -> [(SocketAddr, SocketAddr, usize); 2] {
        [
            ("10.0.0.1:4000".parse().unwrap(), "239.192.0.1:5004".parse().unwrap(), 42),
            ("[fd77::1]:4000".parse().unwrap(), "[ff3e::8000:1]:5004".parse().unwrap(), 62),
        ]
    }

    #[test]
    fn both_families_are_taken_apart() {
        for (source, destination, start) in addresses() {
            let parsed = parse(&frame(source, destination, b"payload")).expect("a good frame");
            let flow = Flow { source, ttl: 8, traffic_class: 34 << 2 };
            assert_eq!(parsed, Parsed { flow, destination, start, len: 7 });
        }
    }

    #[test]
    fn a_vlan_tag_is_refused_with_the_remedy() {
        let (source, destination, _) = addresses()[0];
        let mut tagged = frame(source, destination, b"x");
        tagged.splice(12..12, [0x81, 0x00, 0, 100]);
        let error = parse(&tagged).expect_err("tagged");
        assert!(error == FlowError::Vlan && error.to_string().contains("VLAN interface"));
    }

    #[test]
    fn fragments_and_other_protocols_are_refused() {
        let (source, destination, _) = addresses()[0];
        let good = frame(source, destination, b"x");
        for (at, value) in [(14, 0x44), (14, 0x65), (20, 0x20), (21, 1), (23, 6), (17, 200), (39, 7), (12, 0x88)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(parse(&bad), Err(FlowError::NotUdp), "byte {at} = {value}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_lead_outside_the_frame(bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0..3usize, cut in 0..80usize) {
            let mut bytes = bytes;
            if kind < 2 {
                let (source, destination, _) = addresses()[kind];
                let mut good = frame(source, destination, b"payload of some length");
                good.truncate(cut);
                for (to, from) in bytes.iter_mut().zip(&good) {
                    *to = *from;
                }
            }
            if let Ok(parsed) = parse(&bytes) {
                prop_assert!(parsed.start + parsed.len <= bytes.len());
            }
        }
    }
}
