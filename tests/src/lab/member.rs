//! Membership of a group, by the kernel's own IGMPv3 and MLDv2.

use super::Node;
use anyhow::{Context, Result, bail};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

/// A socket that is a member of a group and gets only that group's packets. Dropping it leaves the group.
#[derive(Debug)]
pub struct Membership {
    socket: UdpSocket,
}

impl Membership {
    pub(super) fn join(node: &Node, group: IpAddr, port: u16, source: Option<IpAddr>) -> Result<Self> {
        node.within(|| {
            let socket = Socket::new(Domain::for_address((group, port).into()), Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(group, port).into())?;
            match (group, source) {
                (IpAddr::V4(group), None) => socket.join_multicast_v4(&group, &node.v4())?,
                (IpAddr::V4(group), Some(IpAddr::V4(source))) => socket.join_ssm_v4(&source, &group, &node.v4())?,
                (IpAddr::V6(group), None) => socket.join_multicast_v6(&group, if_nametoindex(node.interface())?)?,
                (IpAddr::V6(_), Some(_)) => bail!("the lab joins IPv6 groups of any source only: use `sender receive`"),
                (IpAddr::V4(_), Some(IpAddr::V6(_))) => bail!("the group is IPv4 and the source IPv6"),
            }
            Ok(Self { socket: socket.into() })
        })
        .with_context(|| format!("joining {group} port {port} in {}", node.name()))
    }

    /// The socket, to receive from.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The next packet's payload, or `None` if none came within `timeout`.
    pub fn receive(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        self.socket.set_read_timeout(Some(timeout))?;
        let mut buffer = vec![0; 65536];
        let received = loop {
            match self.socket.recv(&mut buffer) {
                // A receive with a time limit isn't restarted by the kernel.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match received {
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error).context("receiving from the group"),
        }
    }
}
