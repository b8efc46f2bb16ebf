//! The whole receiver over the loopback interface: real sockets, a sender made of a few lines, no privileges.

use super::rtcp::tests::sender_compound;
use super::rtcp::{Item, SenderReport, is_compound, items};
use super::rtp::tests::packet;
use super::*;
use crate::srtp::{KeyFile, PacketIndex, Rtp};
use clap::Parser;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SSRC: u32 = 0xfeed_0001;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: ReceiveArgs,
}

/// A receiver in a thread of its own, and what stops it.
struct Running {
    thread: JoinHandle<Result<Document, ReceiveError>>,
    stop: UnixStream,
}

impl Running {
    fn start(line: &str) -> Running {
        let words = std::iter::once("receive").chain(line.split_whitespace());
        let options = Command::try_parse_from(words).expect("a good line").args.check().expect("good options");
        let (stop, read) = UnixStream::pair().expect("a socket pair");
        let thread = std::thread::spawn(move || receive(&options, read.as_fd()));
        Running { thread, stop }
    }

    fn end(self) -> Result<Document, ReceiveError> {
        drop(self.stop);
        self.thread.join().expect("the receiver does not panic")
    }
}

/// A free pair of ports: RTP and the one above.
fn ports(ip: &str) -> SocketAddr {
    for _ in 0..100 {
        let socket = UdpSocket::bind((ip, 0)).expect("loopback");
        let address = socket.local_addr().expect("bound");
        if address.port() < u16::MAX && UdpSocket::bind((ip, address.port() + 1)).is_ok() {
            return address;
        }
    }
    panic!("no two free ports in a row");
}

fn payload(index: u64) -> Vec<u8> {
    let mut payload = vec![0x47; 7 * 188];
    payload[1..9].copy_from_slice(&index.to_be_bytes());
    payload
}

fn media(index: u64, key: Option<&KeyFile>) -> Vec<u8> {
    let mut bytes = packet(index as u16, index as u32 * 90, SSRC, &payload(index));
    if let Some(key) = key {
        let rtp = Rtp::new(&key.master, SSRC, key.mki);
        let len = bytes.len();
        bytes.resize(len + rtp.overhead(), 0);
        rtp.protect(PacketIndex::new(index), &mut bytes, 12, len);
    }
    bytes
}

/// Waits until the status file says so.
fn wait_for(status: &Path, what: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let start = Instant::now();
    loop {
        let value = std::fs::read(status).ok().and_then(|text| serde_json::from_slice(&text).ok());
        match value {
            Some(value) if what(&value) => return value,
            value => assert!(start.elapsed() < PATIENCE, "still {value:?}"),
        }
        std::thread::yield_now();
    }
}

/// Sends to a receiver until its status shows that it has heard: then it is there.
fn sender(family_of: SocketAddr) -> UdpSocket {
    let ip = if family_of.is_ipv4() { "127.0.0.1" } else { "::1" };
    UdpSocket::bind((ip, 0)).expect("loopback")
}

#[test]
fn a_protected_stream_over_loopback_is_written_bit_for_bit_reported_and_left_with_a_bye() {
    for ip in ["127.0.0.1", "::1"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let key = KeyFile::generate().expect("random");
        key.write(&at("key")).expect("writable");
        let (group, sender) = (ports(ip), sender(ports(ip)));
        let feedback = UdpSocket::bind((ip, 0)).expect("loopback");
        feedback.set_read_timeout(Some(PATIENCE)).expect("a time");
        let dir = folder.path().display();
        let running = Running::start(&format!(
            "--group {group} --feedback {} --key-file {dir}/key --output {dir}/out --summary {dir}/summary \
             --status {dir}/status --report-minimum 100ms --quiet",
            feedback.local_addr().expect("bound")
        ));
        let mut buffer = [0; 1500];
        // An empty report shows that the receiver is there.
        let (len, from) = feedback.recv_from(&mut buffer).expect("a first report");
        assert!(is_compound(&buffer[..len]));
        assert_eq!(buffer[..2], [0x80, 201]);
        let first = 5 << 16 | 0xffd0;
        let order = (0..100u64).filter(|i| ![20, 21, 60].contains(i)).flat_map(|i| match i {
            30 => vec![31, 30],
            31 => vec![],
            40 => vec![40, 40],
            i => vec![i],
        });
        for index in order {
            sender.send_to(&media(first + index, Some(&key)), group).expect("loopback");
        }
        let status = wait_for(&at("status"), |status| status["received"] == 97);
        assert_eq!((&status["ended"], &status["state"]), (&"running".into(), &"receiving".into()));
        let rtcp = SocketAddr::new(group.ip(), group.port() + 1);
        let sr = SenderReport { ssrc: SSRC, ntp: 1 << 40, rtp: 5, packets: 6, octets: 7 };
        sender.send_to(&sender_compound(sr, false), rtcp).expect("loopback");
        wait_for(&at("status"), |status| status["rtcp_refused"] == 1);
        // A report with a block, and BYE at the end, from the same port.
        let with_block = loop {
            let (len, again) = feedback.recv_from(&mut buffer).expect("another report");
            assert_eq!(again, from);
            if buffer[0] == 0x81 {
                break buffer[..len].to_vec();
            }
        };
        assert_eq!(with_block[8..12], SSRC.to_be_bytes());
        let document = running.end().expect("it ends well");
        let bye = loop {
            let (len, _) = feedback.recv_from(&mut buffer).expect("the BYE");
            if matches!(items(&buffer[..len]).last(), Some(Item::Bye(_))) {
                break buffer[..len].to_vec();
            }
        };
        assert_eq!(items(&bye)[0], Item::ReceiverReport(document.snapshot.own_ssrc));

        let counts = document.snapshot.counts;
        assert_eq!((counts.received, counts.lost, counts.duplicate, counts.reordered), (97, 3, 1, 1));
        assert_eq!((counts.late, counts.auth_failed, counts.malformed, counts.bytes), (0, 0, 0, 97 * 1316));
        assert_eq!((document.snapshot.first_index, document.snapshot.last_index), (Some(first), Some(first + 99)));
        // In clear, beside a key: not believed.
        assert_eq!((document.snapshot.sr_received, document.snapshot.rtcp_refused), (0, 1));
        assert_eq!((document.ended, document.joins_sent, document.kernel_drops), (Ended::Signal, 0, 0));
        assert_eq!(document.snapshot.byes_sent, 1);
        let expected: Vec<u8> =
            (0..100).filter(|i| ![20, 21, 60].contains(i)).flat_map(|i| payload(first + i)).collect();
        assert!(std::fs::read(at("out")).expect("written") == expected, "the file is what was sent, in order");
        let summary: serde_json::Value =
            serde_json::from_slice(&std::fs::read(at("summary")).expect("written")).expect("JSON");
        assert_eq!(summary, serde_json::to_value(&document).expect("plain data"));
    }
}

/// Where the group tests run: an interface and its addresses.
struct Network {
    interface: &'static str,
    v4: &'static str,
    v6: Option<&'static str>,
}

/// Moves this thread into a network namespace of its own with one end of a veth pair, which has multicast of both
/// families. Without the privilege for that it says so; IPv4 multicast works over the host's `lo` too.
fn own_network() -> Network {
    let host = Network { interface: "lo", v4: "127.0.0.1", v6: None };
    if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
        eprintln!("skipped for IPv6: a network namespace needs CAP_SYS_ADMIN: {error}");
        return host;
    }
    for line in [
        "link set lo up",
        "link add rx0 type veth peer name tx0",
        "link set rx0 up",
        "link set tx0 up",
        "addr add 10.77.9.1/24 dev rx0",
        "-6 addr add fd77:9::1/64 dev rx0 nodad",
    ] {
        let status = std::process::Command::new("ip").args(line.split(' ')).status();
        assert!(status.is_ok_and(|status| status.success()), "`ip {line}` works in a namespace of one's own");
    }
    Network { interface: "rx0", v4: "10.77.9.1", v6: Some("fd77:9::1") }
}

#[test]
fn groups_are_joined_from_one_source_or_any_and_only_their_own_packets_come() {
    let network = own_network();
    for (group, from_one, other) in [
        ("239.255.77.1", true, "239.255.77.2"),
        ("232.255.77.1", true, "232.255.77.2"),
        ("239.255.77.3", false, "239.255.77.4"),
        ("ff3e::8000:4d01", true, "ff3e::8000:4d02"),
        ("ff15::4d03", false, "ff15::4d04"),
    ] {
        let Some(own) = (if group.contains(':') { network.v6 } else { Some(network.v4) }) else { continue };
        let port = ports(own).port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let status = folder.path().join("status");
        let address = SocketAddr::new(group.parse().expect("an address"), port);
        let source = if from_one { format!("--source {own}") } else { String::new() };
        let running = Running::start(&format!(
            "--group {address} -i {} {source} --feedback group --status {} --packets 50 --quiet",
            network.interface,
            status.display()
        ));
        let sender = socket2::Socket::from(UdpSocket::bind((own, 0)).expect("an own address"));
        match own.parse() {
            Ok(own) => sender.set_multicast_if_v4(&own),
            Err(_) => {
                sender.set_multicast_if_v6(nix::net::if_::if_nametoindex(network.interface).expect("it is there"))
            }
        }
        .expect("an own interface");
        let sender = UdpSocket::from(sender);
        let stray = SocketAddr::new(other.parse().expect("an address"), port);
        wait_for(&status, |status| status["joins_sent"] == 1);
        for index in 0..50 {
            sender.send_to(&media(index, None), stray).expect("multicast");
            sender.send_to(&media(index, None), address).expect("multicast");
        }
        let document = running.thread.join().expect("no panic").unwrap_or_else(|error| panic!("{group}: {error}"));
        let counts = document.snapshot.counts;
        assert_eq!((document.ended, counts.received, counts.duplicate), (Ended::Packets, 50, 0), "{group}");
        assert_eq!((document.joins_sent, document.leaves_sent), (1, 1), "{group}");
    }
}

#[test]
fn a_source_that_was_not_asked_for_is_not_heard_and_the_error_says_what_to_check() {
    let port = ports("127.0.0.1").port();
    let sender = UdpSocket::from({
        let socket = socket2::Socket::from(UdpSocket::bind(("127.0.0.1", 0)).expect("loopback"));
        socket.set_multicast_if_v4(&std::net::Ipv4Addr::LOCALHOST).expect("lo");
        socket
    });
    let running =
        Running::start(&format!("--group 239.255.77.9:{port} -i lo --source 127.0.0.2 --timeout 1500ms --quiet"));
    while !running.thread.is_finished() {
        let _ = sender.send_to(&media(1, None), ("239.255.77.9", port));
        std::thread::yield_now();
    }
    let error = running.end().expect_err("nothing came");
    assert_eq!(error.exit_code(), 1);
    let text = error.to_string();
    for word in ["239.255.77.9", "127.0.0.2", "on lo", "querier", "1.5 s"] {
        assert!(text.contains(word), "{word} in: {text}");
    }
}

#[test]
fn media_goes_on_to_a_local_port_one_datagram_for_each_packet() {
    let player = UdpSocket::bind(("127.0.0.1", 0)).expect("loopback");
    player.set_read_timeout(Some(PATIENCE)).expect("a time");
    let (group, folder) = (ports("127.0.0.1"), tempfile::tempdir().expect("a temporary folder"));
    let status = folder.path().join("status");
    let running = Running::start(&format!(
        "--group {group} -o udp://{} --status {} --until-bye --quiet",
        player.local_addr().expect("bound"),
        status.display()
    ));
    wait_for(&status, |_| true);
    let sender = sender(group);
    for index in 0..10 {
        sender.send_to(&media(index, None), group).expect("loopback");
    }
    let mut buffer = [0; 2000];
    for index in 0..10 {
        let len = player.recv(&mut buffer).expect("a datagram");
        assert!(buffer[..len] == payload(index));
    }
    let sr = SenderReport { ssrc: SSRC, ntp: 1 << 40, rtp: 5, packets: 10, octets: 7 };
    sender.send_to(&sender_compound(sr, true), (group.ip(), group.port() + 1)).expect("loopback");
    let document = running.thread.join().expect("no panic").expect("it ends well");
    assert_eq!((document.ended, document.snapshot.sr_received), (Ended::Bye, 1));
    assert_eq!(document.snapshot.reports_sent, 0, "without --feedback nothing goes out");
}

#[test]
fn arrival_times_are_those_of_the_monotonic_clock() {
    let (group, folder) = (ports("127.0.0.1"), tempfile::tempdir().expect("a temporary folder"));
    let status = folder.path().join("status");
    let running = Running::start(&format!("--group {group} --status {} --packets 2 --quiet", status.display()));
    wait_for(&status, |_| true);
    let before = super::socket::monotonic();
    let sender = sender(group);
    sender.send_to(&media(0, None), group).expect("loopback");
    sender.send_to(&media(1, None), group).expect("loopback");
    let document = running.thread.join().expect("no panic").expect("it ends well");
    let first = document.snapshot.first_arrival_ns.expect("it came");
    assert!(first + 1_000_000 >= before, "{first} {before}");
    assert!(first < before + PATIENCE.as_nanos() as u64);
    assert!(document.snapshot.min_transit_ns.expect("it came") <= first as i64);
}
