//! What goes over the wire in these tests, and how it is caught at the other end.

use std::{
    io::Read,
    net::IpAddr,
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};
use sender::transmit::port::{Desc, FRAME_SIZE, Port};
use socket2::{Domain, Protocol, Socket, Type};

/// Payload of a packet: its number, then bytes that depend on it.
pub(crate) const PAYLOAD: usize = 1328;
/// Port of the packets that a [`Capture`] keeps.
pub(crate) const UDP_PORT: u16 = 5004;
/// Where packets start in their frames.
const OFFSET: usize = 58;

/// Packet `number` of a test, with headers.
pub(crate) fn packet(source: IpAddr, group: IpAddr, number: u32) -> Vec<u8> {
    let udp_len = (8 + PAYLOAD) as u16;
    let mut packet = vec![0x01, 0, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 1];
    match (source, group) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x08, 0x00, 0x45, 0x88]);
            packet.extend((20 + udp_len).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 8, 17, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet.extend([0x86, 0xdd, 0x68, 0x80, 0, 0]);
            packet.extend(udp_len.to_be_bytes());
            packet.extend([17, 8]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        _ => panic!("families differ"),
    }
    for port in [4000, UDP_PORT] {
        packet.extend(port.to_be_bytes());
    }
    packet.extend(udp_len.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload(number));
    packet
}

/// Payload `number`.
pub(crate) fn payload(number: u32) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend((4..PAYLOAD as u32).map(|i| (number.wrapping_mul(31).wrapping_add(i)) as u8));
    payload
}

/// Sends packets `numbers` through `port`, each in a frame that is free, as many at a time as there is room for, and waits
/// until all came back. Panics when that takes long, or when a frame comes back that was not out.
pub(crate) fn send(port: &mut impl Port, numbers: std::ops::Range<u32>, make: impl Fn(u32) -> Vec<u8>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let frames = port.memory().len() / FRAME_SIZE;
    let mut free: Vec<u64> = (0..frames).map(|i| (i * FRAME_SIZE) as u64).collect();
    let mut out = vec![false; frames];
    let mut done = [0; 64];
    let mut next = numbers.start;
    while next < numbers.end || port.outstanding() > 0 {
        let n = port.reap(&mut done);
        for frame in &done[..n] {
            let was_out = std::mem::replace(&mut out[*frame as usize / FRAME_SIZE], false);
            assert!(was_out, "frame {frame} came back without being out");
            free.push(*frame);
        }
        let room = port.room().min(free.len()).min((numbers.end - next) as usize);
        for _ in 0..room {
            let frame = free.pop().expect("room is at most what is free");
            out[frame as usize / FRAME_SIZE] = true;
            let bytes = make(next);
            let at = frame as usize + OFFSET;
            port.memory()[at..at + bytes.len()].copy_from_slice(&bytes);
            port.post(Desc { addr: at as u64, len: bytes.len() as u32 });
            next += 1;
        }
        port.submit();
        assert!(Instant::now() < deadline, "stalled at {next} with {} out: {:?}", port.outstanding(), port.stats());
        if n == 0 {
            std::thread::yield_now();
        }
    }
    assert!(out.iter().all(|out| !out), "every frame came back");
}

/// Catches every packet to [`UDP_PORT`] that arrives in the namespace where it was made.
#[derive(Debug)]
pub(crate) struct Capture(Socket);

impl Capture {
    /// Starts catching.
    pub(crate) fn new() -> Capture {
        let every_protocol = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(every_protocol)).expect("packet socket, as root");
        setsockopt(&socket, sockopt::RcvBufForce, &(256 << 20)).expect("as root");
        Capture(socket)
    }

    /// The first `n` packets, and whatever comes within a tenth of a second after them; fewer if they do not come.
    pub(crate) fn packets(&mut self, n: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::with_capacity(n);
        let mut buffer = [0; 4096];
        loop {
            let patience = if packets.len() < n { Duration::from_secs(3) } else { Duration::from_millis(100) };
            self.0.set_read_timeout(Some(patience)).expect("a timeout that is not zero");
            let Ok(len) = self.0.read(&mut buffer) else { return packets };
            if is_ours(&buffer[..len]) {
                packets.push(buffer[..len].to_vec());
            }
        }
    }
}

fn is_ours(frame: &[u8]) -> bool {
    let udp = match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.get(23) == Some(&17) => 34,
        Some([0x86, 0xdd]) if frame.get(20) == Some(&17) => 54,
        _ => return false,
    };
    frame.get(udp + 2..udp + 4) == Some(&UDP_PORT.to_be_bytes()[..])
}

/// Source and group of both families.
pub(crate) fn addresses() -> [(IpAddr, IpAddr); 2] {
    let pair = |from: &str, to: &str| (from.parse().expect("an address"), to.parse().expect("an address"));
    [pair("10.78.0.1", "239.192.0.1"), pair("fd78::1", "ff3e::8000:1")]
}
