//! The sockets: RTP and RTCP joined to the group, and one with a port of its own for the reports that go out.

use super::cli::{Feedback, Options};
use super::error::ReceiveError;
use super::membership::{Membership, drops, scoped, send_on_v4};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, recvmmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Datagrams taken by one call.
const BATCH: usize = 64;
/// Longer datagrams are cut; RTP over Ethernet has at most 1472 bytes, jumbo frames 8972.
const DATAGRAM: usize = 9216;
/// A kernel timestamp older than this is not believed: the wall clock was set meanwhile.
const OLDEST: u64 = 2_000_000_000;

/// CLOCK_MONOTONIC in ns.
pub(super) fn monotonic() -> u64 {
    clock(ClockId::CLOCK_MONOTONIC)
}

fn clock(id: ClockId) -> u64 {
    let time = clock_gettime(id).expect("Linux has both clocks, and the pointer is nix's own");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// A socket that is read in batches, with the kernel's arrival times.
pub(super) struct Inlet {
    socket: Socket,
    buffers: Vec<u8>,
    headers: MultiHeaders<()>,
}

impl Inlet {
    fn new(socket: Socket) -> Inlet {
        let control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let headers = MultiHeaders::preallocate(BATCH, Some(control));
        Inlet { socket, buffers: vec![0; BATCH * DATAGRAM], headers }
    }

    /// Takes what is there, at most one batch, and hands over each datagram with its arrival time (CLOCK_MONOTONIC, ns)
    /// until `take` says no. Returns how many were read; fewer than [`Inlet::BATCH`] means that no more is there.
    pub(super) fn receive(&mut self, mut take: impl FnMut(u64, &[u8]) -> bool) -> io::Result<usize> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.buffers.chunks_exact_mut(DATAGRAM).map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let fd = self.socket.as_raw_fd();
        let messages = match recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(messages) => messages,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let (now, wall) = (monotonic(), clock(ClockId::CLOCK_REALTIME));
        let (mut count, mut wanted) = (0, true);
        for message in messages {
            count += 1;
            let age = kernel_time(&message).map_or(0, |at| wall.saturating_sub(at));
            let arrival = now - if age > OLDEST { 0 } else { age.min(now) };
            let bytes = message.iovs().next().unwrap_or(&[]);
            wanted = wanted && take(arrival, bytes);
        }
        Ok(count)
    }

    pub(super) const BATCH: usize = BATCH;

    /// Datagrams that the kernel dropped since the socket was opened.
    pub(super) fn drops(&self) -> u64 {
        drops(&self.socket)
    }
}

impl AsFd for Inlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// SO_TIMESTAMPNS: when the datagram came up from the driver, CLOCK_REALTIME in ns.
fn kernel_time(message: &RecvMsg<'_, '_, ()>) -> Option<u64> {
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64),
        _ => None,
    })
}

/// All sockets of one receiver.
pub(super) struct Sockets {
    pub(super) rtp: Inlet,
    pub(super) rtcp: Inlet,
    /// Sends the reports; takes what the sender answers to them.
    pub(super) feedback: Option<Inlet>,
    to: Option<SocketAddr>,
    membership: Option<Membership>,
    pub(super) joins: u64,
    pub(super) leaves: u64,
    pub(super) failed_sends: u64,
}

impl Sockets {
    /// Opens and joins; half-open sockets close themselves on error.
    pub(super) fn open(options: &Options) -> Result<Sockets, ReceiveError> {
        let index = options.interface.as_ref().map(|(_, index)| *index);
        let rtp_address = scoped(options.group, index);
        let rtcp_address = scoped(SocketAddr::new(options.group.ip(), options.group.port() + 1), index);
        let rtp = bound(rtp_address, options.receive_buffer)?;
        let rtcp = bound(rtcp_address, options.receive_buffer / 8)?;
        let membership = index.filter(|_| options.group.ip().is_multicast()).map(|interface| Membership {
            interface,
            group: options.group.ip(),
            source: options.source,
        });
        if let Some(membership) = &membership {
            for socket in [&rtp, &rtcp] {
                membership.join(socket).map_err(|error| join_error(options, error))?;
            }
        }
        let to = match options.feedback {
            Feedback::None => None,
            Feedback::Unicast(address) => Some(address),
            Feedback::Group => Some(rtcp_address),
        };
        let feedback = to.map(|to| feedback_socket(to, index, options.ttl)).transpose()?;
        Ok(Sockets {
            rtp: Inlet::new(rtp),
            rtcp: Inlet::new(rtcp),
            feedback: feedback.map(Inlet::new),
            to,
            // The kernel reports a membership once, however many sockets share it.
            joins: u64::from(membership.is_some()),
            membership,
            leaves: 0,
            failed_sends: 0,
        })
    }

    /// Sends a compound packet to the feedback address. A report that can't be sent is counted, the next may go.
    pub(super) fn send(&mut self, packet: &[u8]) {
        let (Some(feedback), Some(to)) = (&self.feedback, self.to) else { return };
        self.failed_sends += u64::from(feedback.socket.send_to(packet, &to.into()).is_err());
    }

    /// Leaves the group.
    pub(super) fn leave(&mut self) {
        if let Some(membership) = self.membership.take() {
            let left = [&self.rtp, &self.rtcp].map(|inlet| membership.leave(inlet));
            self.leaves += u64::from(left.iter().all(Result::is_ok));
        }
    }

    /// Datagrams that the kernel dropped on the RTP socket.
    pub(super) fn kernel_drops(&self) -> u64 {
        self.rtp.drops()
    }
}

fn join_error(options: &Options, error: Errno) -> ReceiveError {
    let group = match options.source {
        Some(source) => format!("{} from {source}", options.group.ip()),
        None => options.group.ip().to_string(),
    };
    let interface = options.interface.as_ref().map_or_else(|| "-".to_owned(), |(name, _)| name.clone());
    ReceiveError::Join { group, interface, source: error.into() }
}

/// A socket for one port of the group (or of an own address).
fn bound(address: SocketAddr, buffer: usize) -> Result<Socket, ReceiveError> {
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        // Only what this socket itself has joined, not what any program on the host has.
        if address.is_ipv4() {
            socket.set_multicast_all_v4(false)?;
        } else {
            socket.set_only_v6(true)?;
            socket.set_multicast_all_v6(false)?;
        }
        // Beyond net.core.rmem_max only with the capability; otherwise as much as there is.
        if setsockopt(&socket, sockopt::RcvBufForce, &buffer).is_err() {
            socket.set_recv_buffer_size(buffer)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    open().map_err(|source| ReceiveError::Socket { address, source })
}

/// A socket with a port of its own: receivers on one host are told apart by it.
fn feedback_socket(to: SocketAddr, interface: Option<u32>, ttl: u8) -> Result<Socket, ReceiveError> {
    let own: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        let ttl = u32::from(ttl);
        if to.is_ipv4() {
            socket.set_ttl_v4(ttl)?;
            socket.set_multicast_ttl_v4(ttl)?;
            interface.map(|interface| send_on_v4(&socket, interface)).transpose()?;
        } else {
            socket.set_unicast_hops_v6(ttl)?;
            socket.set_multicast_hops_v6(ttl)?;
            interface.map(|interface| socket.set_multicast_if_v6(interface)).transpose()?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.bind(&own.into())?;
        Ok(socket)
    };
    open().map_err(|source| ReceiveError::Socket { address: own, source })
}
