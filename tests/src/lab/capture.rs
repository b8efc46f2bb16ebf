//! What passes on a wire, as frames in memory with the time the kernel saw them.

use super::{Namespace, nanos};
use anyhow::{Context, Result};
use nix::{
    cmsg_space,
    errno::Errno,
    ifaddrs::getifaddrs,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg,
            setsockopt, socket, sockopt,
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

/// Which way a frame went, seen from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It arrived.
    In,
    /// The node's kernel sent it. (Frames sent through AF_XDP are not seen here: capture at the other end.)
    Out,
}

/// One frame of a capture. A VLAN tag is taken off by the kernel before it gets here.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When the kernel saw it: CLOCK_MONOTONIC in nanoseconds.
    pub at: u64,
    /// Which way it went.
    pub direction: Direction,
    /// From the Ethernet header on.
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
        let mut control = cmsg_space!(TimeSpec);
        let mut slices = [IoSliceMut::new(buffer)];
        let received =
            recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT);
        let message = match received {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error).context("reading a captured frame"),
        };
        let stamp = message.cmsgs().context("reading a captured frame's time")?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        let stamp = stamp.context("a captured frame without its time")?;
        let at =
            u64::try_from(stamp.as_nanos()).expect("nanoseconds since 1970 fit 64 bits").saturating_sub(self.epoch);
        let outgoing = message.address.is_some_and(|address| address.pkttype() == OUTGOING);
        let (direction, length) = (if outgoing { Direction::Out } else { Direction::In }, message.bytes);
        Ok(Some(Captured { at, direction, bytes: buffer[..length].to_vec() }))
    }
}

/// The link-layer address of `interface` in the calling thread's namespace.
pub(super) fn link_address(interface: &str) -> Result<LinkAddr> {
    getifaddrs()
        .context("listing interfaces")?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .with_context(|| format!("no interface {interface} here"))
}
