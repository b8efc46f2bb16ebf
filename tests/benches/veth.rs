//! Yardsticks of `veth.engine`: how many packets a second leave through a veth pair when nothing but the sending is done.
//!
//! The peer drops everything in its ingress hook, before its network stack. All figures of one comparison are taken on one
//! [`Veth`], in [`Veth::in_sender`], pinned to the same CPU: the receiving side's work is done there too, by the kernel.

#[path = "../tests/afxdp/pair.rs"]
mod pair;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use sender::media::Loop;
use sender::transmit::afxdp_port::AfXdpPort;
use sender::xsk::{
    mmap::{HugePages, Mapping},
    socket::{KickFailures, Mode, Socket, SocketConfig},
    syscall::{Batch, Datagram},
    umem::{FRAME_SIZE, Umem, UmemConfig},
};

use pair::Pair;

use super::{
    engine::{Rig, sample},
    report::Report,
};

/// Address of `tx0`, the sending end.
pub(crate) const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
/// A group to send to.
pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 0, 1);
/// Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 42;
/// A frame of the sample title: headers, RTP header, seven TS packets, tag.
const FRAME: usize = HEADERS + 12 + 7 * 188 + 10;
const RING: u32 = 1024;
const BATCH: usize = 64;
const COPIES: u32 = 100;
/// Each loop runs so long, three times.
const TIME: Duration = Duration::from_millis(1500);

pub(crate) fn run(report: &mut Report) {
    if let Err(reason) = Veth::new().and_then(|veth| measure(&veth, report)) {
        report.skip("veth.engine", &reason);
    }
}

/// The engine and the bare loops take turns, so that a noisy neighbour disturbs all of them; the best of each counts.
fn measure(veth: &Veth, report: &mut Report) -> Result<(), String> {
    const ROUNDS: usize = 3;
    let (mut engine, mut afxdp, mut sendmmsg) = (0f64, 0f64, 0f64);
    for _ in 0..ROUNDS {
        afxdp = afxdp.max(veth.bare_afxdp(FRAME, RING, BATCH, TIME)?);
        engine = engine.max(veth.engine()?);
        sendmmsg = sendmmsg.max(veth.bare_sendmmsg(FRAME, BATCH, TIME)?);
    }
    report.add("veth.engine", engine, "pkt/s", "bare AF_XDP loop, copy mode", afxdp, "≥ 0.9 ×");
    report.add("veth.engine.sendmmsg", engine, "pkt/s", "bare sendmmsg loop", sendmmsg, "");
    Ok(())
}

/// A veth pair whose far end drops everything. The near end is `tx0`, in a namespace of its own.
#[derive(Debug)]
pub(crate) struct Veth {
    pair: Pair,
}

impl Veth {
    /// Makes the pair.
    ///
    /// # Errors
    /// Why it cannot be made here: the benchmark is then skipped with this reason.
    pub(crate) fn new() -> Result<Veth, String> {
        let pair = Pair::new()?;
        let rules =
            "add table netdev t; add chain netdev t c { type filter hook ingress device rx0 priority 0; policy drop; }";
        pair::run(Command::new("ip").args(["netns", "exec", &pair.receiver(), "nft", rules]))?;
        Ok(Veth { pair })
    }

    /// Runs `work` on a pinned thread in the namespace of `tx0`.
    pub(crate) fn in_sender<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pair.in_sender(work)
    }

    /// Packets that `rx0` has received so far.
    pub(crate) fn arrived(&self) -> u64 {
        self.pair.in_receiver(|| {
            let counters = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
            let line = counters.lines().find_map(|line| line.trim().strip_prefix("rx0:"));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
        })
    }

    /// Runs `work`, which says how long it sent, and counts what arrived: packets a second.
    pub(crate) fn measure<E: ToString + Send>(
        &self,
        work: impl FnOnce() -> Result<Duration, E> + Send,
    ) -> Result<f64, String> {
        let before = self.arrived();
        let time = self.in_sender(work).map_err(|error| error.to_string())?;
        Ok((self.arrived() - before) as f64 / time.as_secs_f64())
    }

    /// The engine in copy mode: 100 copies of the sample, in virtual time, as fast as the ring takes them.
    fn engine(&self) -> Result<f64, String> {
        let media = Arc::new(Loop::open(&sample()).map_err(|error| error.to_string())?);
        let frames = media.packets_per_pass() as u32;
        let config = SocketConfig { interface: "tx0".into(), ring: RING, mode: Mode::Copy, ..SocketConfig::default() };
        let memory =
            UmemConfig { tx_frames: (frames + RING * 4) as usize, rx_frames: RING, huge_pages: HugePages::Auto };
        self.measure(|| {
            let port = AfXdpPort::open(config, memory)?;
            let mut rig = Rig::new(port, &media, frames, COPIES, RING * 4);
            rig.spread(COPIES);
            let start = Instant::now();
            while start.elapsed() < TIME {
                rig.time(COPIES, 10_000);
            }
            Ok::<_, sender::xsk::XskError>(start.elapsed())
        })
    }

    /// A bare AF_XDP transmit loop in copy mode: frames of `frame_len` bytes that were written once are posted over and
    /// over, `batch` at a time, in a ring of `ring`.
    ///
    /// # Errors
    /// Why it could not be measured.
    pub(crate) fn bare_afxdp(&self, frame_len: usize, ring: u32, batch: usize, time: Duration) -> Result<f64, String> {
        let config = SocketConfig { interface: "tx0".into(), ring, mode: Mode::Copy, ..SocketConfig::default() };
        let frames = ring as usize * 4;
        let memory = UmemConfig { tx_frames: frames, rx_frames: ring, huge_pages: HugePages::Auto };
        self.measure(|| {
            let mut socket = Socket::open(config, Umem::new(memory)?)?;
            for frame in socket.umem().tx_area().chunks_mut(FRAME_SIZE) {
                write_packet(&mut frame[..frame_len]);
            }
            let mut free: Vec<u64> = (0..frames).map(|i| (i * FRAME_SIZE) as u64).collect();
            let mut done = vec![0; batch];
            let start = Instant::now();
            while start.elapsed() < time {
                let n = socket.reap(&mut done);
                free.extend(&done[..n]);
                for _ in 0..batch.min(socket.room() as usize).min(free.len()) {
                    let Some(addr) = free.pop() else { break };
                    socket.push(addr, frame_len as u32);
                }
                socket.submit(&mut Uncounted);
            }
            Ok::<_, sender::xsk::XskError>(start.elapsed())
        })
    }

    /// A bare `sendmmsg` loop: datagrams that make frames of `frame_len` bytes, `batch` a call.
    ///
    /// # Errors
    /// Why it could not be measured.
    pub(crate) fn bare_sendmmsg(&self, frame_len: usize, batch: usize, time: Duration) -> Result<f64, String> {
        self.measure(|| {
            let socket = UdpSocket::bind((SOURCE, 0))?;
            let to = SocketAddr::from((GROUP, 5004));
            let socket2 = socket2::SockRef::from(&socket);
            socket2.set_multicast_if_v4(&SOURCE)?;
            socket2.set_multicast_loop_v4(false)?;
            socket2.set_send_buffer_size(4 << 20)?;
            let mut memory = Mapping::anonymous(batch * FRAME_SIZE, HugePages::Auto).map_err(std::io::Error::other)?;
            let datagrams: Vec<_> =
                (0..batch).map(|i| Datagram { start: i * FRAME_SIZE, len: frame_len - HEADERS, to }).collect();
            let mut calls = Batch::new(batch);
            let start = Instant::now();
            while start.elapsed() < time {
                match calls.send(&socket, memory.bytes_mut(), &datagrams) {
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
                    Err(error) => return Err(error),
                }
            }
            Ok(start.elapsed())
        })
    }
}

/// A UDP packet to the group, as long as `frame`.
fn write_packet(frame: &mut [u8]) {
    let ip_len = (frame.len() - 14) as u16;
    frame.fill(0x47);
    frame[..14].copy_from_slice(&[0x01, 0, 0x5e, 0x40, 0, 1, 2, 0, 0, 0, 0, 1, 0x08, 0x00]);
    frame[14..26].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 8, 17, 0, 0]);
    frame[16..18].copy_from_slice(&ip_len.to_be_bytes());
    frame[26..30].copy_from_slice(&SOURCE.octets());
    frame[30..34].copy_from_slice(&GROUP.octets());
    frame[34..42].copy_from_slice(&[0x0f, 0xa0, 0x13, 0x8c, 0, 0, 0, 0]);
    frame[38..40].copy_from_slice(&(ip_len - 20).to_be_bytes());
}

/// A bare loop counts nothing.
struct Uncounted;

impl KickFailures for Uncounted {
    fn count(&mut self, _: i32) {}
}
