//! The peer's side of the wire: a stream of frames from QEMU, or a tap interface, which has several queues.

use std::{
    fs,
    io::{BufReader, Read, Write},
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::{
    ifaddrs::getifaddrs,
    libc,
    sys::socket::{LinkAddr, MsgFlags, sendto, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Room for all frames of a check, should we be slow.
const RECEIVE_BUFFER: usize = 64 << 20;
/// The longest frame without jumbo frames and offloads, and a lot to spare.
const LONGEST: usize = 4096;

/// A wire that QEMU has not been connected to yet.
pub(crate) enum Waiting {
    Stream(UnixListener),
    Tap(Socket, LinkAddr),
}

/// Frames from the guest.
pub(crate) enum Incoming {
    Stream(BufReader<UnixStream>),
    Tap(Socket),
}

/// Frames to the guest.
pub(crate) enum Outgoing {
    Stream(UnixStream),
    Tap(Socket, LinkAddr),
}

impl Waiting {
    pub(crate) fn new(wire: &str) -> Result<Waiting> {
        match wire.strip_prefix("tap:") {
            None => Ok(Waiting::Stream(UnixListener::bind(wire).with_context(|| format!("cannot listen on {wire}"))?)),
            Some(name) => make_tap(name),
        }
    }

    /// Waits for QEMU.
    pub(crate) fn connect(self) -> Result<(Incoming, Outgoing)> {
        match self {
            Waiting::Stream(listener) => {
                let (stream, _) = listener.accept()?;
                let incoming = BufReader::with_capacity(1 << 20, stream.try_clone()?);
                Ok((Incoming::Stream(incoming), Outgoing::Stream(stream)))
            }
            Waiting::Tap(socket, address) => Ok((Incoming::Tap(socket.try_clone()?), Outgoing::Tap(socket, address))),
        }
    }
}

/// Makes a tap interface with several queues. This namespace has no other interface that is up, so a packet socket for
/// all of them hears just this one.
fn make_tap(name: &str) -> Result<Waiting> {
    let ip = |arguments: &str| -> Result<()> {
        let status = Command::new("ip").args(arguments.split(' ')).status().context("cannot run ip")?;
        ensure!(status.success(), "ip {arguments} failed ({status})");
        Ok(())
    };
    ip(&format!("tuntap add {name} mode tap multi_queue"))?;
    // The kernel on this side keeps quiet.
    fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1")?;
    ip(&format!("link set {name} up"))?;
    let all = i32::from(u16::to_be(libc::ETH_P_ALL as u16));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(all)))?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    let address = getifaddrs()?
        .filter(|interface| interface.interface_name == name)
        .find_map(|interface| interface.address.as_ref().and_then(|address| address.as_link_addr().copied()));
    Ok(Waiting::Tap(socket, address.with_context(|| format!("{name} has no link address"))?))
}

impl Incoming {
    /// The next frame.
    pub(crate) fn receive(&mut self, frame: &mut Vec<u8>) -> Result<()> {
        match self {
            // QEMU's stream format: the length in four bytes, then the frame.
            Incoming::Stream(stream) => {
                let mut length = [0; 4];
                stream.read_exact(&mut length)?;
                frame.resize(u32::from_be_bytes(length) as usize, 0);
                stream.read_exact(frame)?;
            }
            Incoming::Tap(socket) => {
                frame.resize(LONGEST, 0);
                let length = socket.read(frame)?;
                frame.truncate(length);
            }
        }
        Ok(())
    }
}

impl Outgoing {
    /// Sends one frame.
    pub(crate) fn send(&mut self, frame: &[u8]) -> Result<()> {
        match self {
            Outgoing::Stream(stream) => {
                let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
                bytes.extend_from_slice(frame);
                stream.write_all(&bytes)?;
            }
            Outgoing::Tap(socket, address) => {
                sendto(socket.as_raw_fd(), frame, address, MsgFlags::empty())?;
            }
        }
        Ok(())
    }
}
