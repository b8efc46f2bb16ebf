//! What passes on a wire, as frames in memory with the time the kernel saw them.

use super::{Namespace, nanos};
use anyhow::{Context, Result};
use nix::{
    cmsg_space,
    errno::Errno,
    ifaddrs::getifaddrs,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    setsockopt_impl, sockopt_impl,
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, UnknownCmsg,
            bind, recvmsg, setsockopt, socket, sockopt,
        },
        time::TimeSpec,
    },
    time::ClockId,
};
use std::{
    io::IoSliceMut,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

/// Room for what arrives while the test looks away.
const BUFFER: usize = 64 << 20;

/// No frame is longer, even before segmentation.
const LONGEST: usize = 1 << 16;

sockopt_impl!(
    /// Asks for `struct tpacket_auxdata` with each frame.
    Auxiliary, SetOnly, libc::SOL_PACKET, libc::PACKET_AUXDATA, bool);

/// Which way a frame went, seen from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It arrived.
    In,
    /// The node's kernel sent it. (Frames sent through AF_XDP are not seen here: capture at the other end.)
    Out,
}

/// One frame of a capture.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When the kernel saw it: CLOCK_MONOTONIC in nanoseconds.
    pub at: u64,
    /// Which way it went.
    pub direction: Direction,
    /// From the Ethernet header on, with the VLAN tags it had on the wire.
    pub bytes: Vec<u8>,
}

/// A running capture. The kernel keeps up to 64 MiB until the frames are taken, and drops what comes beyond that.
#[derive(Debug)]
pub struct Capture {
    socket: OwnedFd,
    /// CLOCK_REALTIME − CLOCK_MONOTONIC when it began; the kernel stamps with the former.
    epoch: u64,
}

impl Capture {
    pub(super) fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace
            .within(|| {
                let socket =
                    socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
                setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
                setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
                setsockopt(&socket, Auxiliary, &true)?;
                bind(socket.as_raw_fd(), &link_address(interface)?)?;
                let epoch = nanos(ClockId::CLOCK_REALTIME)? - nanos(ClockId::CLOCK_MONOTONIC)?;
                let capture = Self { socket, epoch };
                // Between making and binding, the socket took frames of every interface.
                capture.take()?;
                Ok(capture)
            })
            .with_context(|| format!("capturing on {interface} of {}", namespace.name()))
    }

    /// The frames so far, oldest first; doesn't wait.
    pub fn take(&self) -> Result<Vec<Captured>> {
        let (mut frames, mut buffer) = (Vec::new(), vec![0; LONGEST]);
        while let Some(frame) = self.next(&mut buffer)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// The first frame that `wanted` accepts; those before it are dropped. `None` if none came within `timeout`.
    pub fn wait_for(&self, timeout: Duration, mut wanted: impl FnMut(&Captured) -> bool) -> Result<Option<Captured>> {
        let end = Instant::now() + timeout;
        let mut buffer = vec![0; LONGEST];
        loop {
            while let Some(frame) = self.next(&mut buffer)? {
                if wanted(&frame) {
                    return Ok(Some(frame));
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let wait = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("waiting for a frame"),
            }
        }
    }

    fn next(&self, buffer: &mut [u8]) -> Result<Option<Captured>> {
        const OUTGOING: u8 = 4; // PACKET_OUTGOING, linux/if_packet.h
        let mut control = cmsg_space!(TimeSpec, [u8; size_of::<libc::tpacket_auxdata>()]);
        let mut slices = [IoSliceMut::new(buffer)];
        let received =
            recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT);
        let message = match received {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error).context("reading a captured frame"),
        };
        let (mut stamp, mut tag) = (None, None);
        for control in message.cmsgs().context("reading what comes with a captured frame")? {
            match control {
                ControlMessageOwned::ScmTimestampns(time) => stamp = Some(Duration::from(time)),
                ControlMessageOwned::Unknown(unknown) => tag = vlan_tag(&unknown),
                _ => {}
            }
        }
        let stamp = stamp.context("a captured frame without its time")?;
        let at =
            u64::try_from(stamp.as_nanos()).expect("nanoseconds since 1970 fit 64 bits").saturating_sub(self.epoch);
        let outgoing = message.address.is_some_and(|address| address.pkttype() == OUTGOING);
        let (direction, length) = (if outgoing { Direction::Out } else { Direction::In }, message.bytes);
        let mut bytes = buffer[..length].to_vec();
        if let Some(tag) = tag {
            // Behind the two MAC addresses.
            bytes.splice(12..12, tag);
        }
        Ok(Some(Captured { at, direction, bytes }))
    }
}

/// The outermost VLAN tag, which the kernel has taken off the frame (`struct tpacket_auxdata`, linux/if_packet.h).
fn vlan_tag(control: &UnknownCmsg) -> Option<[u8; 4]> {
    const VALID: u32 = libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID;
    if (control.cmsg_header.cmsg_level, control.cmsg_header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    let status = u32::from_ne_bytes(*control.data_bytes.first_chunk()?);
    let [a, b, c, d]: [u8; 4] = *control.data_bytes.get(16..)?.first_chunk()?;
    let (tci, tpid) = (u16::from_ne_bytes([a, b]).to_be_bytes(), u16::from_ne_bytes([c, d]).to_be_bytes());
    (status & VALID == VALID).then_some([tpid[0], tpid[1], tci[0], tci[1]])
}

/// A socket that sends frames by `interface` as they are.
pub(super) fn sending_socket(namespace: &Namespace, interface: &str) -> Result<OwnedFd> {
    namespace.within(|| {
        // A protocol that nothing arrives with: this socket only sends.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthLoop)?;
        bind(socket.as_raw_fd(), &link_address(interface)?)?;
        Ok(socket)
    })
}

/// The link-layer address of `interface` in the calling thread's namespace.
fn link_address(interface: &str) -> Result<LinkAddr> {
    getifaddrs()
        .context("listing interfaces")?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .with_context(|| format!("no interface {interface} here"))
}
