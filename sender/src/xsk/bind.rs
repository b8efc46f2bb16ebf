//! Opening one AF_XDP socket: the steps, in the order the kernel wants them, and what to say when one fails.
#![expect(unsafe_code, reason = "makes ring ends over memory just mapped from the socket")]

use std::{
    io,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use super::{
    error::XskError,
    mmap::Mapping,
    ring::{Consumer, Producer},
    socket::{Mode, SocketConfig},
    syscall,
    uapi::{self, MmapOffsets, SockaddrXdp, UmemReg, XdpDesc},
    umem::{FRAME_SIZE, Umem},
};

/// How long a bind is tried again while the kernel still takes the last socket of the queue down (EBUSY).
const BUSY_LIMIT: Duration = Duration::from_secs(2);

/// A bound socket and its rings. Dropped in this order: the socket is closed before its rings are unmapped.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) fd: OwnedFd,
    pub(super) tx: Producer<XdpDesc>,
    pub(super) completion: Consumer<u64>,
    /// Filled once: without an RX ring nothing takes frames out for good. Kept for its mapping.
    _fill: Producer<u64>,
    /// Whether the kernel copies or not, as it says itself.
    pub(super) zero_copy: bool,
}

/// Opens a socket in one of the modes that `config` allows.
pub(super) fn open(config: &SocketConfig, umem: &Umem) -> Result<Link, XskError> {
    let interface = &config.interface;
    let ifindex = nix::net::if_::if_nametoindex(interface.as_str())
        .map_err(|_| XskError::NoInterface { interface: interface.clone() })?;
    let flags: &[u16] = match config.mode {
        Mode::ZeroCopy => &[libc::XDP_ZEROCOPY],
        Mode::Copy => &[libc::XDP_COPY],
        Mode::Auto => &[libc::XDP_ZEROCOPY, libc::XDP_COPY],
    };
    let deadline = Instant::now() + BUSY_LIMIT;
    let mut pause = Duration::from_millis(1);
    let mut attempt = 0;
    loop {
        match open_once(config, umem, ifindex, flags[attempt]) {
            Ok(link) => return Ok(link),
            Err(Failure { source, .. }) if source.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
                pause *= 2;
            }
            Err(Failure { step: BIND, source }) if attempt + 1 < flags.len() && no_zero_copy(&source) => attempt += 1,
            Err(failure) => return Err(failure.explain(config, flags[attempt])),
        }
    }
}

/// Whether this answer to a zero-copy bind may mean that the driver cannot: then copy is worth a try.
fn no_zero_copy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOMEM))
}

const BIND: &str = "bind";

/// A step that failed.
struct Failure {
    step: &'static str,
    source: io::Error,
}

fn step<T>(step: &'static str, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|source| Failure { step, source })
}

fn open_once(config: &SocketConfig, umem: &Umem, ifindex: u32, mode: u16) -> Result<Link, Failure> {
    let fd = step("socket(AF_XDP)", syscall::xdp_socket())?;
    let (addr, len) = umem.registration();
    let registration = UmemReg { addr, len, chunk_size: FRAME_SIZE as u32, ..Default::default() };
    let set = |name, option, value: u32| step(name, syscall::set_option(&fd, libc::SOL_XDP, option, value));
    step("setsockopt(XDP_UMEM_REG)", syscall::set_option(&fd, libc::SOL_XDP, libc::XDP_UMEM_REG, registration))?;
    set("setsockopt(XDP_UMEM_FILL_RING)", libc::XDP_UMEM_FILL_RING, umem.rx_frames())?;
    set("setsockopt(XDP_UMEM_COMPLETION_RING)", libc::XDP_UMEM_COMPLETION_RING, config.completion_size())?;
    set("setsockopt(XDP_TX_RING)", libc::XDP_TX_RING, config.ring)?;
    let offsets: MmapOffsets =
        step("getsockopt(XDP_MMAP_OFFSETS)", syscall::get_option(&fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS))?;

    let map = |name, offset: u64, entry: usize, size: u32, page| {
        step(name, Mapping::of_socket(&fd, offset as usize + size as usize * entry, page))
    };
    let tx = map("mmap(TX ring)", offsets.tx.desc, size_of::<XdpDesc>(), config.ring, uapi::PGOFF_TX_RING)?;
    let fill = map("mmap(fill ring)", offsets.fill.desc, 8, umem.rx_frames(), uapi::PGOFF_FILL_RING)?;
    let completion = map(
        "mmap(completion ring)",
        offsets.completion.desc,
        8,
        config.completion_size(),
        uapi::PGOFF_COMPLETION_RING,
    )?;
    // SAFETY: a TX ring of this socket with as many descriptors as was set, laid out as the kernel just said.
    let tx = unsafe { Producer::in_mapping(tx, &offsets.tx, config.ring) };
    // SAFETY: as above; fill ring entries are u64.
    let mut fill: Producer<u64> = unsafe { Producer::in_mapping(fill, &offsets.fill, umem.rx_frames()) };
    // SAFETY: as above; completion ring entries are u64.
    let completion = unsafe { Consumer::in_mapping(completion, &offsets.completion, config.completion_size()) };

    // Before bind: a zero-copy driver takes its receive buffers from here as soon as it is bound.
    for address in umem.rx_addresses() {
        let pushed = fill.push(address);
        debug_assert!(pushed, "as many frames as entries");
    }
    fill.submit();

    let wakeup = if config.need_wakeup { libc::XDP_USE_NEED_WAKEUP } else { 0 };
    let address = SockaddrXdp {
        family: libc::AF_XDP as u16,
        flags: mode | wakeup,
        ifindex,
        queue_id: config.queue,
        shared_umem_fd: 0,
    };
    step(BIND, syscall::bind_xdp(&fd, address))?;
    let options: uapi::Options =
        step("getsockopt(XDP_OPTIONS)", syscall::get_option(&fd, libc::SOL_XDP, libc::XDP_OPTIONS))?;
    let zero_copy = options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0;
    if mode == libc::XDP_ZEROCOPY && !zero_copy {
        return Err(Failure { step: BIND, source: io::Error::from_raw_os_error(libc::EOPNOTSUPP) });
    }
    if !zero_copy {
        widen_copy_mode(&fd, config);
    }
    Ok(Link { fd, tx, completion, _fill: fill, zero_copy })
}

/// Copy mode: lets more packets be under way, and more be sent by one call. Both are wishes: without them it is only slower.
fn widen_copy_mode(fd: &OwnedFd, config: &SocketConfig) {
    // A packet under way counts against the send buffer with its bookkeeping: about two frames each.
    let bytes = i32::try_from(config.completion_size() as usize * FRAME_SIZE * 2).unwrap_or(i32::MAX);
    if syscall::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes).is_err() {
        syscall::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes).ok();
    }
    if let Some(budget) = config.copy_budget {
        let budget = budget.clamp(uapi::TX_BATCH_SIZE.min(config.ring), config.ring);
        syscall::set_option(fd, libc::SOL_XDP, uapi::XDP_MAX_TX_SKB_BUDGET, budget).ok();
    }
}

impl Failure {
    fn explain(self, config: &SocketConfig, mode: u16) -> XskError {
        let remedy = remedy(self.step, self.source.raw_os_error().unwrap_or(0), config, mode);
        XskError::Setup {
            interface: config.interface.clone(),
            queue: config.queue,
            step: match (self.step, mode == libc::XDP_ZEROCOPY) {
                (BIND, true) => "bind(XDP_ZEROCOPY)",
                (BIND, false) => "bind(XDP_COPY)",
                (step, _) => step,
            },
            error: self.source,
            remedy,
        }
    }
}

/// What to do about an errno of a step (net/xdp/xsk.c, xdp_umem.c and xsk_buff_pool.c say which step gives which).
fn remedy(step: &str, errno: i32, config: &SocketConfig, mode: u16) -> String {
    let interface = &config.interface;
    if step == BIND {
        let channels = syscall::channels(interface).ok().filter(|n| *n > 0);
        if let (libc::EINVAL, Some(n)) = (errno, channels)
            && config.queue >= n
        {
            return format!("{interface} has {n} queue(s): use one of 0 to {} (network.queues)", n - 1);
        }
    }
    match (step, errno) {
        (_, libc::EPERM | libc::EACCES) => {
            "AF_XDP needs CAP_NET_RAW (and a umem beyond RLIMIT_MEMLOCK CAP_IPC_LOCK): run as root, grant them \
             (AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN), or set mode = \"socket\""
                .into()
        }
        ("socket(AF_XDP)", libc::EAFNOSUPPORT) => {
            "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): set mode = \"socket\"".into()
        }
        ("setsockopt(XDP_UMEM_REG)", libc::ENOBUFS) => {
            "more than RLIMIT_MEMLOCK: set LimitMEMLOCK=infinity (ulimit -l unlimited), or grant CAP_IPC_LOCK".into()
        }
        (BIND, libc::EOPNOTSUPP) if mode == libc::XDP_ZEROCOPY => format!(
            "the driver of {interface} has no zero-copy AF_XDP (or none in this state): set mode = \"auto\" or \"copy\""
        ),
        (BIND, libc::EINVAL) if mode == libc::XDP_ZEROCOPY => format!(
            "the driver of {interface} refuses zero-copy on this queue (is the queue there, the MTU below the driver's XDP \
             limit?): check network.queues, or set mode = \"auto\" or \"copy\""
        ),
        (BIND, libc::EINVAL) => format!("is there such a queue? `ethtool -l {interface}` says (network.queues)"),
        (BIND, libc::EBUSY) => format!(
            "another AF_XDP socket holds this queue and kept it for {} s: end that program or use another queue \
             (network.queues)",
            BUSY_LIMIT.as_secs()
        ),
        (BIND, libc::ENETDOWN) => format!("{interface} is down: `ip link set {interface} up`"),
        (_, libc::ENOMEM) => "out of memory: make transmit.umem or transmit.ring smaller".into(),
        _ => "not expected here; the kernel's log (dmesg) may say more".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_that_users_meet_has_its_remedy() {
        let config = SocketConfig { interface: "nowhere0".into(), ..SocketConfig::default() };
        let zero_copy = libc::XDP_ZEROCOPY;
        let table = [
            ("socket(AF_XDP)", libc::EPERM, "CAP_NET_RAW"),
            ("socket(AF_XDP)", libc::EAFNOSUPPORT, "mode = \"socket\""),
            ("setsockopt(XDP_UMEM_REG)", libc::ENOBUFS, "LimitMEMLOCK"),
            (BIND, libc::EOPNOTSUPP, "mode = \"auto\""),
            (BIND, libc::EINVAL, "network.queues"),
            (BIND, libc::EBUSY, "end that program"),
            (BIND, libc::ENETDOWN, "ip link set nowhere0 up"),
            ("mmap(TX ring)", libc::ENOMEM, "transmit.ring"),
        ];
        for (step, errno, expected) in table {
            let text = remedy(step, errno, &config, zero_copy);
            assert!(text.contains(expected), "{step} {errno}: {text}");
        }
    }
}
