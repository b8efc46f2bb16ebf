//! Group membership by interface index, source-specific or from any source, for both families: the protocol-independent
//! socket options of RFC 3678 section 5, which socket2 and nix do not offer.

use nix::libc;
use nix::sys::socket::setsockopt;
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

/// `struct sockaddr_storage`, filled by hand.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Storage([u8; 128]);

/// `struct group_req`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GroupRequest {
    interface: u32,
    group: Storage,
}

/// `struct group_source_req`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GroupSourceRequest {
    interface: u32,
    group: Storage,
    source: Storage,
}

const _: () = assert!(size_of::<GroupRequest>() == size_of::<libc::group_req>());
const _: () = assert!(size_of::<GroupSourceRequest>() == size_of::<libc::group_source_req>());
const _: () = assert!(std::mem::offset_of!(GroupSourceRequest, source) == 136);

sockopt_impl!(
    /// Joins an IPv4 group from any source.
    JoinV4, SetOnly, libc::IPPROTO_IP, libc::MCAST_JOIN_GROUP, GroupRequest);
sockopt_impl!(
    /// Joins an IPv6 group from any source.
    JoinV6, SetOnly, libc::IPPROTO_IPV6, libc::MCAST_JOIN_GROUP, GroupRequest);
sockopt_impl!(
    /// Leaves an IPv4 group.
    LeaveV4, SetOnly, libc::IPPROTO_IP, libc::MCAST_LEAVE_GROUP, GroupRequest);
sockopt_impl!(
    /// Leaves an IPv6 group.
    LeaveV6, SetOnly, libc::IPPROTO_IPV6, libc::MCAST_LEAVE_GROUP, GroupRequest);
sockopt_impl!(
    /// Joins an IPv4 group for one source.
    JoinSourceV4, SetOnly, libc::IPPROTO_IP, libc::MCAST_JOIN_SOURCE_GROUP, GroupSourceRequest);
sockopt_impl!(
    /// Joins an IPv6 group for one source.
    JoinSourceV6, SetOnly, libc::IPPROTO_IPV6, libc::MCAST_JOIN_SOURCE_GROUP, GroupSourceRequest);
sockopt_impl!(
    /// Leaves an IPv4 group for one source.
    LeaveSourceV4, SetOnly, libc::IPPROTO_IP, libc::MCAST_LEAVE_SOURCE_GROUP, GroupSourceRequest);
sockopt_impl!(
    /// Leaves an IPv6 group for one source.
    LeaveSourceV6, SetOnly, libc::IPPROTO_IPV6, libc::MCAST_LEAVE_SOURCE_GROUP, GroupSourceRequest);
sockopt_impl!(
    /// The interface that IPv4 multicast is sent on.
    SendInterfaceV4, SetOnly, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, libc::ip_mreqn);
sockopt_impl!(
    /// `SK_MEMINFO_*` of the socket; the ninth is the number of datagrams dropped.
    Meminfo, GetOnly, libc::SOL_SOCKET, libc::SO_MEMINFO, [u32; 9]);

/// A group on an interface, from one source or any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub(super) interface: u32,
    pub(super) group: IpAddr,
    pub(super) source: Option<IpAddr>,
}

impl Membership {
    pub(super) fn join(&self, socket: &impl AsFd) -> nix::Result<()> {
        let interface = self.interface;
        let group = storage(self.group);
        match (self.source.map(storage), self.group.is_ipv4()) {
            (None, true) => setsockopt(socket, JoinV4, &GroupRequest { interface, group }),
            (None, false) => setsockopt(socket, JoinV6, &GroupRequest { interface, group }),
            (Some(source), true) => setsockopt(socket, JoinSourceV4, &GroupSourceRequest { interface, group, source }),
            (Some(source), false) => setsockopt(socket, JoinSourceV6, &GroupSourceRequest { interface, group, source }),
        }
    }

    pub(super) fn leave(&self, socket: &impl AsFd) -> nix::Result<()> {
        let interface = self.interface;
        let group = storage(self.group);
        match (self.source.map(storage), self.group.is_ipv4()) {
            (None, true) => setsockopt(socket, LeaveV4, &GroupRequest { interface, group }),
            (None, false) => setsockopt(socket, LeaveV6, &GroupRequest { interface, group }),
            (Some(source), true) => setsockopt(socket, LeaveSourceV4, &GroupSourceRequest { interface, group, source }),
            (Some(source), false) => {
                setsockopt(socket, LeaveSourceV6, &GroupSourceRequest { interface, group, source })
            }
        }
    }
}

/// The interface that multicast of an IPv4 socket is sent on.
pub(super) fn send_on_v4(socket: &impl AsFd, interface: u32) -> nix::Result<()> {
    let any = libc::in_addr { s_addr: 0 };
    let request = libc::ip_mreqn { imr_multiaddr: any, imr_address: any, imr_ifindex: interface.cast_signed() };
    setsockopt(socket, SendInterfaceV4, &request)
}

/// Datagrams that the kernel dropped because the socket's buffer was full.
pub(super) fn drops(socket: &impl AsFd) -> u64 {
    nix::sys::socket::getsockopt(socket, Meminfo).map_or(0, |info| u64::from(info[8]))
}

fn storage(address: IpAddr) -> Storage {
    let mut bytes = [0; 128];
    let family = match address {
        IpAddr::V4(address) => {
            bytes[4..8].copy_from_slice(&address.octets());
            libc::AF_INET
        }
        IpAddr::V6(address) => {
            bytes[8..24].copy_from_slice(&address.octets());
            libc::AF_INET6
        }
    };
    bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    Storage(bytes)
}

/// The address to bind to for a group: IPv6 groups of link scope need the interface.
pub(super) fn scoped(address: SocketAddr, interface: Option<u32>) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) => {
            v6.set_scope_id(interface.unwrap_or(v6.scope_id()));
            v6.into()
        }
        v4 => v4,
    }
}
