//! Where a copy goes: everything its headers say.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(bytes: [u8; 6]) -> Self {
        MacAddr(bytes)
    }
}

/// An IEEE 802.1Q tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VlanTag {
    /// Tag protocol identifier: 0x8100, or 0x88a8 for the outer tag of QinQ.
    pub tpid: u16,
    /// Priority (3 bits), drop eligible (1 bit), VLAN identifier (12 bits).
    pub tci: u16,
}

impl VlanTag {
    /// A customer tag (IEEE 802.1Q).
    pub const fn customer(tci: u16) -> VlanTag {
        VlanTag { tpid: 0x8100, tci }
    }

    /// A service tag, the outer one of two (IEEE 802.1ad).
    pub const fn service(tci: u16) -> VlanTag {
        VlanTag { tpid: 0x88a8, tci }
    }
}

/// Why there can be no such destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// IPv4 and IPv6 mixed.
    #[error(
        "cannot send from {src} to {dst}: one is IPv4 and the other IPv6; give a source address of the group's family"
    )]
    Families {
        /// Source.
        src: SocketAddr,
        /// Destination.
        dst: SocketAddr,
    },
    /// More than two tags.
    #[error("{0} VLAN tags: at most two can be sent (QinQ)")]
    VlanTags(usize),
    /// TTL 0.
    #[error("a TTL of 0 never leaves the box: use 1 (this network only) to 255")]
    Ttl,
    /// DSCP has six bits.
    #[error("DSCP {0} is out of range: it is 0 to 63")]
    Dscp(u8),
    /// Not a multicast group.
    #[error("{0} is no multicast group: groups are 224.0.0.0 to 239.255.255.255, or ff00::/8")]
    NotMulticast(IpAddr),
    /// Port 0.
    #[error("port 0 in {0}: nothing can be sent there")]
    Port(SocketAddr),
}

/// Where a copy goes. Valid by construction: both addresses are of one family.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Destination {
    src_mac: MacAddr,
    dst_mac: MacAddr,
    vlans: [Option<VlanTag>; 2],
    src: SocketAddr,
    dst: SocketAddr,
    ttl: u8,
    dscp: u8,
}

impl Destination {
    /// To one next hop; `vlans` from the outer to the inner one.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn new(
        src_mac: impl Into<MacAddr>,
        dst_mac: impl Into<MacAddr>,
        vlans: &[VlanTag],
        (src, dst): (SocketAddr, SocketAddr),
        ttl: u8,
        dscp: u8,
    ) -> Result<Destination, DestinationError> {
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(DestinationError::Families { src, dst });
        }
        if vlans.len() > 2 {
            return Err(DestinationError::VlanTags(vlans.len()));
        }
        if let Some(&zero) = [src, dst].iter().find(|addr| addr.port() == 0) {
            return Err(DestinationError::Port(zero));
        }
        if ttl == 0 {
            return Err(DestinationError::Ttl);
        }
        if dscp > 63 {
            return Err(DestinationError::Dscp(dscp));
        }
        let vlans = [vlans.first().copied(), vlans.get(1).copied()];
        Ok(Destination { src_mac: src_mac.into(), dst_mac: dst_mac.into(), vlans, src, dst, ttl, dscp })
    }

    /// To a multicast group, whose Ethernet address follows from it.
    ///
    /// # Errors
    /// As [`new`](Self::new); or `group` is none.
    pub fn multicast(
        src_mac: impl Into<MacAddr>,
        vlans: &[VlanTag],
        src: SocketAddr,
        group: SocketAddr,
        ttl: u8,
        dscp: u8,
    ) -> Result<Destination, DestinationError> {
        let mac = multicast_mac(group.ip()).ok_or(DestinationError::NotMulticast(group.ip()))?;
        Destination::new(src_mac, mac, vlans, (src, group), ttl, dscp)
    }

    /// The sender's Ethernet address.
    pub fn src_mac(&self) -> MacAddr {
        self.src_mac
    }

    /// The next hop's or the group's Ethernet address.
    pub fn dst_mac(&self) -> MacAddr {
        self.dst_mac
    }

    /// Tags from the outer to the inner one.
    pub fn vlans(&self) -> impl Iterator<Item = VlanTag> {
        self.vlans.into_iter().flatten()
    }

    /// Source address and port.
    pub fn src(&self) -> SocketAddr {
        self.src
    }

    /// Destination address and port.
    pub fn dst(&self) -> SocketAddr {
        self.dst
    }

    /// Time to live or hop limit.
    pub fn ttl(&self) -> u8 {
        self.ttl
    }

    /// Differentiated services code point.
    pub fn dscp(&self) -> u8 {
        self.dscp
    }
}

/// The Ethernet address of a multicast group: the low 23 bits of an IPv4 group (RFC 1112 section 6.4), the low 32 bits of
/// an IPv6 one (RFC 2464 section 7). `None` if it is no group.
pub fn multicast_mac(group: IpAddr) -> Option<MacAddr> {
    if !group.is_multicast() {
        return None;
    }
    Some(MacAddr(match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_groups_ethernet_address_follows_from_its_low_bits() {
        let table = [
            ("239.192.0.1", "01:00:5e:40:00:01"),
            ("224.128.1.2", "01:00:5e:00:01:02"),
            ("239.255.255.255", "01:00:5e:7f:ff:ff"),
            ("ff3e::8000:1", "33:33:80:00:00:01"),
        ];
        for (group, mac) in table {
            assert_eq!(multicast_mac(group.parse().unwrap()).unwrap().to_string(), mac);
        }
        assert_eq!(multicast_mac("10.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn impossible_destinations_are_refused() {
        let make = |src, group, ttl, dscp, vlans: &[VlanTag]| {
            Destination::multicast([2; 6], vlans, addr(src), addr(group), ttl, dscp).err()
        };
        let (src, group) = ("10.0.0.1:5004", "239.192.0.1:5004");
        assert_eq!(make(src, group, 1, 63, &[VlanTag::service(1), VlanTag::customer(2)]), None);
        assert_eq!(make(src, group, 0, 0, &[]), Some(DestinationError::Ttl));
        assert_eq!(make(src, group, 1, 64, &[]), Some(DestinationError::Dscp(64)));
        assert_eq!(make(src, group, 1, 0, &[VlanTag::customer(1); 3]), Some(DestinationError::VlanTags(3)));
        assert_eq!(make(src, "239.192.0.1:0", 1, 0, &[]), Some(DestinationError::Port(addr("239.192.0.1:0"))));
        assert!(matches!(make(src, "[ff3e::1]:5004", 1, 0, &[]), Some(DestinationError::Families { .. })));
        assert!(matches!(make(src, "10.1.0.1:5004", 1, 0, &[]), Some(DestinationError::NotMulticast(_))));
    }
}
