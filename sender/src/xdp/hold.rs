//! All-multicast, held for the life of a socket: without it the NIC's filter hides the reports of groups that nobody on this
//! host has joined. The kernel lets go when the process ends, however it ends.
#![expect(unsafe_code, reason = "PACKET_ADD_MEMBERSHIP has no safe wrapper")]

use std::{io, os::fd::AsRawFd};

use socket2::{Domain, Socket, Type};

/// The hold.
#[derive(Debug)]
pub(super) struct AllMulticast {
    _socket: Socket,
}

impl AllMulticast {
    /// Takes hold of the interface. The socket has no protocol, so it receives nothing.
    pub(super) fn hold(ifindex: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW.cloexec(), None)?;
        let membership = libc::packet_mreq {
            mr_ifindex: i32::try_from(ifindex).map_err(|_| io::ErrorKind::InvalidInput)?,
            mr_type: libc::PACKET_MR_ALLMULTI as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: the descriptor is open; the pointer and length are those of a live `packet_mreq`, which is what
        // PACKET_ADD_MEMBERSHIP reads (packet(7)).
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const membership).cast(),
                size_of::<libc::packet_mreq>() as libc::socklen_t,
            )
        };
        if result == 0 { Ok(Self { _socket: socket }) } else { Err(io::Error::last_os_error()) }
    }
}
