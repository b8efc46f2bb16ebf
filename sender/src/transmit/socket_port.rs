//! A [`Port`] over plain sockets: where AF_XDP cannot be had, the same engine sends through the kernel's network stack.
//!
//! The frame's own headers say where its payload goes and from where; the kernel writes headers of its own, which come
//! out the same but for the IPv4 identification and the flow label. Needs no capability. What it cannot do: write VLAN
//! tags (name the VLAN interface instead) and choose the next hop (the kernel routes unicast).
//!
//! The first packet of a [`Flow`] opens its socket: [`SocketPort::prepare`] does that beforehand and says what is wrong.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockFilter, Socket, Type};

use super::{
    flow::{self, Flow, FlowError},
    port::{Desc, FRAME_SIZE, Port, PortMode, PortStats, RebuildError},
};
use crate::xsk::{
    XskError,
    mmap::{HugePages, Mapping},
    syscall::{self, Batch, Datagram},
};

/// Packets handed to the kernel by one call.
const BATCH: usize = 64;
/// Sockets kept: one for each source address, source port, TTL and traffic class in use.
const MAX_FLOWS: usize = 64;
/// How long one `submit` may wait in all for room in the send buffers before it drops.
const WAIT_LIMIT: Duration = Duration::from_millis(5);

/// A port could not be opened, or a flow cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SocketPortError {
    /// The packet memory could not be had.
    #[error(transparent)]
    Memory(#[from] XskError),
    /// No interface of that name.
    #[error("interface {0}: no such interface here; `ip link` lists those there are (check network.interface)")]
    NoInterface(String),
    /// A frame that a socket cannot send.
    #[error("mode = \"socket\": {0}")]
    Frame(#[from] FlowError),
    /// More different flows than sockets are kept.
    #[error("mode = \"socket\": more than {MAX_FLOWS} combinations of source port, TTL and DSCP: use fewer")]
    TooManyFlows,
    /// A flow's socket could not be set up.
    #[error("interface {interface}: {step} for packets from {source_address} failed: {error}; {remedy}")]
    Setup {
        /// The interface.
        interface: String,
        /// The flow's source.
        source_address: SocketAddr,
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        error: io::Error,
        /// What to do.
        remedy: &'static str,
    },
}

/// Where a port sends and how much it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketPortConfig {
    /// Name of the interface, in the calling thread's network namespace.
    pub interface: String,
    /// Frames of packet memory.
    pub frames: usize,
    /// How many of them can be outstanding.
    pub ring: usize,
    /// Whether the memory is to lie on huge pages.
    pub huge_pages: HugePages,
}

impl Default for SocketPortConfig {
    fn default() -> SocketPortConfig {
        SocketPortConfig { interface: String::new(), frames: 8192, ring: 2048, huge_pages: HugePages::Auto }
    }
}

/// A port that sends through plain UDP sockets.
#[derive(Debug)]
pub struct SocketPort {
    memory: Mapping,
    interface: String,
    ifindex: u32,
    ring: usize,
    sockets: Vec<(Flow, Socket)>,
    posted: VecDeque<Desc>,
    done: VecDeque<u64>,
    queue: Vec<Datagram>,
    batch: Batch,
    stats: PortStats,
}

impl SocketPort {
    /// Maps packet memory for sending on an interface.
    ///
    /// # Errors
    /// When there is no such interface, or less memory.
    pub fn open(config: SocketPortConfig) -> Result<SocketPort, SocketPortError> {
        let SocketPortConfig { interface, frames, ring, huge_pages } = config;
        let ifindex = nix::net::if_::if_nametoindex(interface.as_str())
            .map_err(|_| SocketPortError::NoInterface(interface.clone()))?;
        Ok(SocketPort {
            memory: Mapping::anonymous(frames.saturating_mul(FRAME_SIZE), huge_pages)?,
            interface,
            ifindex,
            ring,
            sockets: Vec::with_capacity(MAX_FLOWS),
            posted: VecDeque::with_capacity(ring),
            done: VecDeque::with_capacity(ring),
            queue: Vec::with_capacity(BATCH),
            batch: Batch::new(BATCH),
            stats: PortStats { mode: PortMode::Socket, ..PortStats::default() },
        })
    }

    /// Opens the socket that frames like this one need, so that what is wrong is said before anything is sent.
    ///
    /// # Errors
    /// When such frames cannot be sent (VLAN tags) or the socket cannot be set up (no such source address …).
    pub fn prepare(&mut self, frame: &[u8]) -> Result<(), SocketPortError> {
        let parsed = flow::parse(frame)?;
        self.socket_for(parsed.flow).map(drop)
    }

    /// Index of a flow's socket, opened if need be.
    #[inline]
    fn socket_for(&mut self, flow: Flow) -> Result<usize, SocketPortError> {
        match self.sockets.iter().position(|(known, _)| *known == flow) {
            Some(index) => Ok(index),
            None => self.open_socket(flow),
        }
    }

    #[cold]
    #[inline(never)]
    fn open_socket(&mut self, flow: Flow) -> Result<usize, SocketPortError> {
        if self.sockets.len() == MAX_FLOWS {
            return Err(SocketPortError::TooManyFlows);
        }
        let socket = open_flow(flow, &self.interface, self.ifindex).map_err(|(step, error)| {
            let remedy = match error.raw_os_error() {
                Some(libc::EADDRNOTAVAIL) => "the address is not one of this host's: check network.source_v4/source_v6",
                Some(libc::EADDRINUSE) => "another program has this port: use another, or end it",
                Some(libc::EACCES | libc::EPERM) => "ports below 1024 need CAP_NET_BIND_SERVICE: use a higher one",
                _ => "not expected here; `strace -e network` shows the call",
            };
            let interface = self.interface.clone();
            SocketPortError::Setup { interface, source_address: flow.source, step, error, remedy }
        })?;
        self.sockets.push((flow, socket));
        Ok(self.sockets.len() - 1)
    }

    /// Sends what is queued for one socket; what cannot be sent until `deadline` is dropped and counted.
    fn flush(&mut self, index: usize, deadline: &mut Option<Instant>) {
        let mut sent = 0;
        let socket = &self.sockets[index].1;
        while sent < self.queue.len() {
            self.stats.kicks += 1;
            match self.batch.send(socket, self.memory.bytes_mut(), &self.queue[sent..]) {
                Ok(n) => sent += n,
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    self.stats.kick_errors.count(errno);
                    let full = matches!(errno, libc::EAGAIN | libc::ENOBUFS);
                    if errno == libc::EINTR || (full && wait_writable(socket, deadline)) {
                        continue;
                    }
                    // This packet is lost; the next may go elsewhere.
                    self.stats.dropped += 1;
                    sent += 1;
                }
            }
        }
        self.queue.clear();
    }

    #[cold]
    #[inline(never)]
    fn refuse(&mut self, desc: Desc) {
        debug_assert!(false, "descriptor beyond room or out of its frame: {desc:?}");
        self.stats.refused += 1;
    }
}

/// Waits for room in the send buffer; false when the time for waiting is used up. The clock starts with the first wait.
#[cold]
#[inline(never)]
fn wait_writable(socket: &Socket, deadline: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let deadline = *deadline.get_or_insert(now + WAIT_LIMIT);
    if now >= deadline {
        return false;
    }
    let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    // An ENOBUFS socket can be writable at once: the deadline then ends the retries.
    poll(&mut ready, PollTimeout::from(1u8)).is_ok()
}

/// A socket whose packets leave as the flow says; the step that failed otherwise.
fn open_flow(flow: Flow, interface: &str, ifindex: u32) -> Result<Socket, (&'static str, io::Error)> {
    let at = |step: &'static str| move |error| (step, error);
    let socket =
        Socket::new(Domain::for_address(flow.source), Type::DGRAM.nonblocking(), None).map_err(at("socket(UDP)"))?;
    // Nothing is received here: what comes to this port is for others, and must not fill a buffer nobody reads.
    socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]).map_err(at("setsockopt(SO_ATTACH_FILTER)"))?;
    socket.set_reuse_address(true).map_err(at("setsockopt(SO_REUSEADDR)"))?;
    // Without the permission (before Linux 5.7) routing decides for unicast, and IP_MULTICAST_IF for multicast.
    socket.bind_device(Some(interface.as_bytes())).ok();
    socket.set_send_buffer_size(4 << 20).map_err(at("setsockopt(SO_SNDBUF)"))?;
    let (ttl, class) = (u32::from(flow.ttl), u32::from(flow.traffic_class));
    let mut source = flow.source;
    match &mut source {
        SocketAddr::V4(_) => {
            syscall::set_multicast_interface_v4(&socket, ifindex).map_err(at("setsockopt(IP_MULTICAST_IF)"))?;
            socket.set_multicast_loop_v4(false).map_err(at("setsockopt(IP_MULTICAST_LOOP)"))?;
            socket.set_multicast_ttl_v4(ttl).map_err(at("setsockopt(IP_MULTICAST_TTL)"))?;
            socket.set_ttl_v4(ttl.max(1)).map_err(at("setsockopt(IP_TTL)"))?;
            socket.set_tos_v4(class).map_err(at("setsockopt(IP_TOS)"))?;
        }
        SocketAddr::V6(v6) => {
            socket.set_multicast_if_v6(ifindex).map_err(at("setsockopt(IPV6_MULTICAST_IF)"))?;
            socket.set_multicast_loop_v6(false).map_err(at("setsockopt(IPV6_MULTICAST_LOOP)"))?;
            socket.set_multicast_hops_v6(ttl).map_err(at("setsockopt(IPV6_MULTICAST_HOPS)"))?;
            socket.set_unicast_hops_v6(ttl).map_err(at("setsockopt(IPV6_UNICAST_HOPS)"))?;
            socket.set_tclass_v6(class).map_err(at("setsockopt(IPV6_TCLASS)"))?;
            if v6.ip().is_unicast_link_local() {
                v6.set_scope_id(ifindex);
            }
        }
    }
    socket.bind(&source.into()).map_err(at("bind"))?;
    Ok(socket)
}

impl Port for SocketPort {
    #[inline]
    fn memory(&mut self) -> &mut [u8] {
        self.memory.bytes_mut()
    }

    #[inline]
    fn room(&mut self) -> usize {
        let room = self.ring - self.outstanding();
        self.stats.ring_full += u64::from(room == 0);
        room
    }

    #[inline]
    fn post(&mut self, desc: Desc) {
        if self.outstanding() == self.ring || !desc.is_valid(self.memory.len()) {
            return self.refuse(desc);
        }
        self.posted.push_back(desc);
    }

    /// Sends everything posted; waits for full send buffers, milliseconds at most. Packets that follow each other and
    /// have the same flow go in one call.
    fn submit(&mut self) {
        let mut deadline = None;
        let mut current = None;
        while let Some(desc) = self.posted.pop_front() {
            self.stats.submitted += 1;
            self.stats.taken += 1;
            self.done.push_back(desc.frame());
            let addr = desc.addr as usize;
            let parsed = flow::parse(&self.memory.bytes_mut()[addr..addr + desc.len as usize]);
            let Some((parsed, index)) =
                parsed.ok().and_then(|parsed| Some((parsed, self.socket_for(parsed.flow).ok()?)))
            else {
                self.stats.dropped += 1;
                continue;
            };
            if current != Some(index) || self.queue.len() == BATCH {
                if let Some(current) = current {
                    self.flush(current, &mut deadline);
                }
                current = Some(index);
            }
            let mut to = parsed.destination;
            if let (IpAddr::V6(ip), SocketAddr::V6(v6)) = (parsed.destination.ip(), &mut to)
                && ip.is_unicast_link_local()
            {
                v6.set_scope_id(self.ifindex);
            }
            self.queue.push(Datagram { start: addr + parsed.start, len: parsed.len, to });
        }
        if let Some(current) = current {
            self.flush(current, &mut deadline);
        }
    }

    #[inline]
    fn reap(&mut self, done: &mut [u64]) -> usize {
        let n = done.len().min(self.done.len());
        for (slot, frame) in done.iter_mut().zip(self.done.drain(..n)) {
            *slot = frame;
        }
        self.stats.completed += n as u64;
        n
    }

    #[inline]
    fn outstanding(&self) -> usize {
        self.posted.len() + self.done.len()
    }

    fn rebuild(&mut self) -> Result<(), RebuildError> {
        self.stats.dropped += self.posted.len() as u64;
        self.done.extend(self.posted.drain(..).map(Desc::frame));
        let flows: Vec<Flow> = self.sockets.drain(..).map(|(flow, _)| flow).collect();
        for flow in flows {
            let opened = self.open_socket(flow);
            opened.map_err(|error| RebuildError { back_end: "socket", cause: Box::new(error) })?;
        }
        self.stats.rebuilds += 1;
        Ok(())
    }

    fn stats(&self) -> PortStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::{super::flow::tests::frame, *};

    fn open(interface: &str) -> Result<SocketPort, SocketPortError> {
        SocketPort::open(SocketPortConfig {
            interface: interface.into(),
            frames: 8,
            ring: 4,
            huge_pages: HugePages::Off,
        })
    }

    fn post(port: &mut SocketPort, index: usize, packet: &[u8]) {
        let addr = index * FRAME_SIZE + 100;
        port.memory()[addr..addr + packet.len()].copy_from_slice(packet);
        port.post(Desc { addr: addr as u64, len: packet.len() as u32 });
    }

    #[test]
    fn payloads_arrive_from_the_source_that_the_headers_say_without_any_capability() {
        for (local, any) in [("127.0.0.1", "127.0.0.1:0"), ("::1", "[::1]:0")] {
            let receiver = UdpSocket::bind(any).unwrap();
            receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let source = UdpSocket::bind(any).unwrap().local_addr().unwrap();
            assert_eq!(source.ip().to_string(), local);
            let mut port = open("lo").expect("lo is always there");
            let to = receiver.local_addr().unwrap();
            port.prepare(&frame(source, to, b"")).expect("the address is ours");
            for (index, text) in [b"first", b"secnd"].iter().enumerate() {
                post(&mut port, index, &frame(source, to, *text));
            }
            assert_eq!((port.room(), port.outstanding()), (2, 2));
            port.submit();
            let mut buffer = [0; 100];
            for text in [b"first", b"secnd"] {
                let (n, from) = receiver.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..n], from), (&text[..], source));
            }
            let mut done = [0; 8];
            assert_eq!((port.reap(&mut done), done[1], port.outstanding()), (2, 2048, 0));
            let stats = port.stats();
            assert_eq!((stats.submitted, stats.completed, stats.dropped, stats.kicks), (2, 2, 0, 1));
        }
    }

    #[test]
    fn what_cannot_be_sent_is_said_at_setup_and_dropped_afterwards() {
        let mut port = open("lo").expect("lo is always there");
        let to = "127.0.0.1:9".parse().unwrap();
        let foreign = frame("192.0.2.1:4000".parse().unwrap(), to, b"x");
        let error = port.prepare(&foreign).expect_err("not ours").to_string();
        assert!(error.contains("lo") && error.contains("bind") && error.contains("source_v4"), "{error}");
        let mut tagged = frame("127.0.0.1:0".parse().unwrap(), to, b"x");
        tagged.splice(12..12, [0x81, 0x00, 0, 100]);
        assert!(matches!(port.prepare(&tagged), Err(SocketPortError::Frame(FlowError::Vlan))));
        post(&mut port, 0, &foreign);
        post(&mut port, 1, &tagged);
        port.submit();
        let mut done = [0; 8];
        assert_eq!((port.reap(&mut done), port.stats().dropped), (2, 2));
    }

    #[test]
    fn a_missing_interface_is_named() {
        let error = open("nowhere0").expect_err("there is none");
        assert!(error.to_string().contains("nowhere0"));
    }
}
