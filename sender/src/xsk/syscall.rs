//! The system calls that no safe crate offers, each as one function that cannot be called wrongly.
#![expect(unsafe_code, reason = "system calls with pointers")]

use std::{
    ffi::c_void,
    io,
    mem::{size_of, size_of_val},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

use super::uapi;

/// Plain data that the kernel may read and write: no padding, no pointers, every bit pattern valid.
///
/// # Safety
/// All of the above must hold for the type.
pub(super) unsafe trait Plain: Copy + Default {}

// SAFETY: an integer.
unsafe impl Plain for i32 {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: repr(C), integers only, no padding (sizes are asserted in uapi).
unsafe impl Plain for uapi::MmapOffsets {}
// SAFETY: as above.
unsafe impl Plain for uapi::UmemReg {}
// SAFETY: as above.
unsafe impl Plain for uapi::Statistics {}
// SAFETY: one u32.
unsafe impl Plain for uapi::Options {}
// SAFETY: repr(C), byte arrays and an i32, no padding (size asserted in uapi).
unsafe impl Plain for uapi::IpMreqn {}

/// A negative return value is the errno of this thread.
fn check(returned: impl Into<i64>) -> io::Result<usize> {
    let returned = returned.into();
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// `socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)`.
pub(super) fn xdp_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: `fd` was just opened and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `setsockopt` with a plain value.
pub(super) fn set_option<T: Plain>(fd: impl AsFd, level: i32, option: i32, value: T) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: pointer and length are those of `value`, which is plain and lives over the call.
    check(unsafe { libc::setsockopt(fd, level, option, ptr::from_ref(&value).cast(), len) }).map(drop)
}

/// `getsockopt` of a plain value; what the kernel does not fill stays zero.
pub(super) fn get_option<T: Plain>(fd: impl AsFd, level: i32, option: i32) -> io::Result<T> {
    let fd = fd.as_fd().as_raw_fd();
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: pointer and length are those of `value`; the kernel writes at most `len` bytes, and any bytes are a T.
    check(unsafe { libc::getsockopt(fd, level, option, ptr::from_mut(&mut value).cast(), &mut len) })?;
    Ok(value)
}

/// `bind` of an AF_XDP socket.
pub(super) fn bind_xdp(fd: impl AsFd, address: uapi::SockaddrXdp) -> io::Result<()> {
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: pointer and length are those of `address`, which has the kernel's layout.
    check(unsafe { libc::bind(fd.as_fd().as_raw_fd(), ptr::from_ref(&address).cast(), len) }).map(drop)
}

/// `sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0)`: wakes the kernel's sender. The errno, if any.
#[inline]
pub(super) fn kick(fd: impl AsFd) -> Result<(), i32> {
    // SAFETY: no buffer and no address are passed: lengths are 0.
    let sent = unsafe { libc::sendto(fd.as_fd().as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
    if sent < 0 { Err(last_errno()) } else { Ok(()) }
}

/// `IP_MULTICAST_IF` by interface index, since one address may be on several interfaces.
///
/// # Errors
/// The kernel's answer.
pub fn set_multicast_interface_v4(fd: impl AsFd, ifindex: u32) -> io::Result<()> {
    let request = uapi::IpMreqn { ifindex: ifindex as i32, ..Default::default() };
    set_option(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, request)
}

#[cold]
fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// How many channels (queues) a NIC has now: combined plus the larger of separate RX and TX.
pub(super) fn channels(interface: &str) -> io::Result<u32> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    let mut channels = uapi::EthtoolChannels { cmd: uapi::ETHTOOL_GCHANNELS, ..Default::default() };
    let mut name = [0 as libc::c_char; libc::IFNAMSIZ];
    if interface.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    let mut request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: ptr::from_mut(&mut channels).cast() },
    };
    // SAFETY: SIOCETHTOOL takes an ifreq whose data points at the command's struct; both live over the call, and
    // ETHTOOL_GCHANNELS writes one `struct ethtool_channels`.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, ptr::from_mut(&mut request)) })?;
    Ok(channels.combined + channels.rx.max(channels.tx))
}

/// One packet of a [`Batch`]: payload by its place in memory, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Where the payload starts in the memory given to [`Batch::send`].
    pub start: usize,
    /// Its length.
    pub len: usize,
    /// Where to.
    pub to: std::net::SocketAddr,
}

/// Room for the headers of one `sendmmsg` call, made once.
pub struct Batch {
    addresses: Vec<socket2::SockAddr>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("capacity", &self.messages.capacity()).finish()
    }
}

// SAFETY: the pointers in `vectors` and `messages` are written and used within one call of `send` only; between calls
// both are empty.
unsafe impl Send for Batch {}

impl Batch {
    /// Room for `capacity` packets a call (the kernel takes at most 1024).
    #[must_use]
    pub fn new(capacity: usize) -> Batch {
        Batch {
            addresses: Vec::with_capacity(capacity),
            vectors: Vec::with_capacity(capacity),
            messages: Vec::with_capacity(capacity),
        }
    }

    /// Sends the first packets of `datagrams`, as many as fit one call, without waiting; says how many went.
    ///
    /// # Errors
    /// The kernel's answer for the first packet; when a later one fails, the call ends before it without an error.
    ///
    /// # Panics
    /// When a payload is not within `memory`.
    pub fn send(&mut self, fd: impl AsFd, memory: &[u8], datagrams: &[Datagram]) -> io::Result<usize> {
        let n = datagrams.len().min(self.messages.capacity());
        for datagram in &datagrams[..n] {
            let payload = &memory[datagram.start..datagram.start + datagram.len];
            self.addresses.push(datagram.to.into());
            self.vectors.push(libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() });
        }
        for (address, vector) in self.addresses.iter().zip(&mut self.vectors) {
            // SAFETY: all zeroes is an empty msghdr: null pointers and zero lengths.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = address.as_ptr().cast_mut().cast::<c_void>();
            message.msg_hdr.msg_namelen = address.len();
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            self.messages.push(message);
        }
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: `messages` holds n headers whose addresses and vectors are not moved until they are cleared below;
        // the vectors point into `memory`, borrowed over the call, and sending only reads what they point at.
        let sent = unsafe { libc::sendmmsg(fd, self.messages.as_mut_ptr(), n as u32, libc::MSG_DONTWAIT) };
        let sent = check(sent);
        self.messages.clear();
        self.vectors.clear();
        self.addresses.clear();
        sent
    }
}
