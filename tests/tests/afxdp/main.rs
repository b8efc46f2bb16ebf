//! The back ends of `transmit::port::Port` on a veth pair: what is posted arrives, once, in order, unchanged; and what
//! cannot be had is refused with its reason and remedy.

mod pair;
mod wire;

use std::time::{Duration, Instant};

use pair::{Pair, ip};
use sender::{
    transmit::{
        afxdp_port::AfXdpPort,
        port::{Desc, FRAME_SIZE, Port, PortMode},
        socket_port::{SocketPort, SocketPortConfig, SocketPortError},
    },
    xsk::{
        XskError,
        mmap::HugePages,
        socket::{Mode, SocketConfig},
        umem::UmemConfig,
    },
};
use wire::{Capture, PAYLOAD, addresses, packet, payload, send};

/// The receiving veth queues at most 1000 packets (net.core.netdev_max_backlog) and drops the rest. A ring of 256 keeps
/// at most 512 outstanding, so nothing is lost by construction.
const RING: u32 = 256;
const MEMORY: UmemConfig = UmemConfig { tx_frames: 1024, rx_frames: 256, huge_pages: HugePages::Auto };

fn config() -> SocketConfig {
    SocketConfig { interface: "tx0".into(), ring: RING, mode: Mode::Copy, ..SocketConfig::default() }
}

fn open(config: SocketConfig) -> Result<AfXdpPort, XskError> {
    AfXdpPort::open(config, MEMORY)
}

fn open_sockets(frames: usize, ring: usize) -> Result<SocketPort, SocketPortError> {
    SocketPort::open(SocketPortConfig { interface: "tx0".into(), frames, ring, ..SocketPortConfig::default() })
}

/// A pair, or a line that says why the test is skipped.
fn pair_or_skip(test: &str) -> Option<Pair> {
    Pair::new().map_err(|reason| println!("SKIPPED {test}: {reason}")).ok()
}

fn v4(number: u32) -> Vec<u8> {
    let (source, group) = addresses()[0];
    packet(source, group, number)
}

/// What arrived is exactly packets `numbers` of IPv4, headers included.
fn assert_arrived(capture: &mut Capture, numbers: std::ops::Range<u32>) {
    let arrived = capture.packets(numbers.len());
    assert_eq!(arrived.len(), numbers.len(), "packets arrived");
    for (number, packet) in numbers.zip(&arrived) {
        assert_eq!(*packet, v4(number), "packet {number}");
    }
}

#[test]
fn ten_thousand_frames_arrive_once_in_order_and_unchanged() {
    let Some(pair) = pair_or_skip("ten_thousand_frames_arrive_once_in_order_and_unchanged") else { return };
    for (need_wakeup, copy_budget) in [(true, Some(u32::MAX)), (true, None), (false, Some(64)), (false, None)] {
        let mut capture = pair.in_receiver(Capture::new);
        let mut port = pair.in_sender(|| open(SocketConfig { need_wakeup, copy_budget, ..config() })).unwrap();
        assert_eq!(port.room(), RING as usize);
        pair.in_sender(|| send(&mut port, 0..10_000, v4));
        assert_arrived(&mut capture, 0..10_000);
        let stats = port.stats();
        assert_eq!(
            (stats.mode, stats.submitted, stats.taken, stats.completed),
            (PortMode::Copy, 10_000, 10_000, 10_000)
        );
        assert_eq!((stats.refused, stats.invalid_descs, stats.dropped, stats.rebuilds), (0, 0, 0, 0));
        assert!(stats.kicks > 0 && stats.kicks < 10_000, "{stats:?}");
        assert_eq!(stats.kick_errors.other, 0, "{stats:?}");
    }
}

#[test]
fn the_socket_port_delivers_the_same_payloads_from_the_same_source() {
    let Some(pair) = pair_or_skip("the_socket_port_delivers_the_same_payloads_from_the_same_source") else { return };
    for (source, group) in addresses() {
        let mut capture = pair.in_receiver(Capture::new);
        pair.in_sender(|| {
            let mut port = open_sockets(256, 64).unwrap();
            port.prepare(&packet(source, group, 0)).unwrap();
            send(&mut port, 0..10_000, |number| packet(source, group, number));
            let stats = port.stats();
            assert_eq!((stats.mode, stats.submitted, stats.completed), (PortMode::Socket, 10_000, 10_000));
            assert_eq!((stats.refused, stats.dropped, stats.kick_errors.total()), (0, 0, 0), "{stats:?}");
        });
        let arrived = capture.packets(10_000);
        assert_eq!(arrived.len(), 10_000);
        for (number, arrived) in arrived.iter().enumerate() {
            let expected = packet(source, group, number as u32);
            assert_eq!(arrived[arrived.len() - PAYLOAD..], payload(number as u32), "payload {number}");
            assert_eq!((arrived.len(), &arrived[12..14]), (expected.len(), &expected[12..14]));
            let same = if source.is_ipv4() { &[15..18, 20..24, 26..40][..] } else { &[14..15, 18..60] };
            for range in same {
                assert_eq!(arrived[range.clone()], expected[range.clone()], "{number}: header bytes {range:?}");
            }
        }
    }
}

#[test]
fn a_queue_can_be_bound_again_as_soon_as_its_port_is_dropped() {
    let Some(pair) = pair_or_skip("a_queue_can_be_bound_again_as_soon_as_its_port_is_dropped") else { return };
    let mut capture = pair.in_receiver(Capture::new);
    pair.in_sender(|| {
        for round in 0..30 {
            let mut port = open(config()).unwrap_or_else(|error| panic!("round {round}: {error}"));
            send(&mut port, round * 50..round * 50 + 50, v4);
        }
    });
    assert_arrived(&mut capture, 0..1500);
}

#[test]
fn dropping_a_port_sends_what_was_submitted() {
    let Some(pair) = pair_or_skip("dropping_a_port_sends_what_was_submitted") else { return };
    let mut capture = pair.in_receiver(Capture::new);
    pair.in_sender(|| {
        let mut port = open(SocketConfig { copy_budget: None, ..config() }).unwrap();
        post(&mut port, 0..200);
        port.submit();
    });
    assert_arrived(&mut capture, 0..200);
}

/// Posts packets in frames of their number.
fn post(port: &mut impl Port, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let (bytes, at) = (v4(number), number as usize * FRAME_SIZE);
        port.memory()[at..at + bytes.len()].copy_from_slice(&bytes);
        port.post(Desc { addr: at as u64, len: bytes.len() as u32 });
    }
}

#[test]
fn zero_copy_that_the_driver_lacks_is_refused_with_the_remedy_and_auto_falls_back() {
    let test = "zero_copy_that_the_driver_lacks_is_refused_with_the_remedy_and_auto_falls_back";
    let Some(pair) = pair_or_skip(test) else { return };
    pair.in_sender(|| {
        let error = open(SocketConfig { mode: Mode::ZeroCopy, ..config() }).expect_err("veth has no zero-copy");
        assert_eq!(error.errno(), Some(libc::EOPNOTSUPP), "{error}");
        for words in ["tx0", "queue 0", "bind(XDP_ZEROCOPY)", "no zero-copy", "mode = \"auto\" or \"copy\""] {
            assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
        }
        let port = open(SocketConfig { mode: Mode::Auto, ..config() }).unwrap();
        assert_eq!((port.socket().zero_copy(), port.stats().mode), (Some(false), PortMode::Copy));
        assert!(port.socket().to_string().starts_with("tx0 queue 0: copy, ring 256"), "{}", port.socket());
    });
}

#[test]
fn a_queue_that_is_not_there_or_taken_is_refused_with_the_remedy() {
    let Some(pair) = pair_or_skip("a_queue_that_is_not_there_or_taken_is_refused_with_the_remedy") else { return };
    pair.in_sender(|| {
        for mode in [Mode::Copy, Mode::Auto, Mode::ZeroCopy] {
            let error = open(SocketConfig { queue: 2, mode, ..config() }).expect_err("there are two").to_string();
            assert!(error.contains("queue 2") && error.contains("has 2 queue(s): use one of 0 to 1"), "{error}");
        }
        let _holder = open(config()).unwrap();
        let started = Instant::now();
        let error = open(config()).expect_err("it is taken");
        assert_eq!(error.errno(), Some(libc::EBUSY));
        assert!(error.to_string().contains("another AF_XDP socket holds this queue"), "{error}");
        let waited = started.elapsed();
        assert!(waited > Duration::from_secs(1) && waited < Duration::from_secs(4), "{waited:?}");
    });
}

#[test]
fn two_queues_send_side_by_side() {
    let Some(pair) = pair_or_skip("two_queues_send_side_by_side") else { return };
    let mut capture = pair.in_receiver(Capture::new);
    pair.in_sender(|| {
        let mut ports = [0, 1].map(|queue| open(SocketConfig { queue, ..config() }).unwrap());
        for round in 0..10 {
            for (port, start) in ports.iter_mut().zip([0, 100_000]) {
                send(port, start + round * 100..start + round * 100 + 100, v4);
            }
        }
    });
    let arrived = capture.packets(2000);
    for start in [0, 100_000] {
        let of_queue: Vec<_> = (start..start + 1000).map(v4).collect();
        let found: Vec<_> = arrived.iter().filter(|packet| of_queue.contains(packet)).cloned().collect();
        assert_eq!(found, of_queue, "queue with packets from {start}");
    }
    assert_eq!(arrived.len(), 2000);
}

#[test]
fn what_waits_while_the_link_is_down_goes_out_without_posting_anything_new() {
    let test = "what_waits_while_the_link_is_down_goes_out_without_posting_anything_new";
    let Some(pair) = pair_or_skip(test) else { return };
    let mut capture = pair.in_receiver(Capture::new);
    let mut port = pair.in_sender(|| open(config())).unwrap();
    let link = |state| ip(&format!("-n {} link set tx0 {state}", pair.sender())).unwrap();
    link("down");
    post(&mut port, 0..100);
    port.submit();
    let stats = port.stats();
    assert_eq!((port.outstanding(), port.reap(&mut [0; 8]), stats.taken), (100, 0, 0), "{stats:?}");
    assert!(stats.kick_errors.net_down >= 1 && stats.stall_cause().contains("down"), "{stats:?}");
    link("up");
    pair.in_sender(|| finish(&mut port));
    assert_arrived(&mut capture, 0..100);
}

/// Passes of an engine that has nothing to send, until nothing is outstanding; bounded.
fn finish(port: &mut impl Port) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while port.outstanding() > 0 {
        port.submit();
        if port.reap(&mut [0; 64]) == 0 {
            assert!(Instant::now() < deadline, "stalled: {:?}", port.stats());
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_rebuild_hands_back_what_was_out_and_the_port_sends_again() {
    let Some(pair) = pair_or_skip("a_rebuild_hands_back_what_was_out_and_the_port_sends_again") else { return };
    let mut capture = pair.in_receiver(Capture::new);
    pair.in_sender(|| {
        let mut port = open(config()).unwrap();
        let link = |state| ip(&format!("-n {} link set tx0 {state}", pair.sender())).unwrap();
        for round in 0..3 {
            link("down");
            post(&mut port, 0..100);
            port.submit();
            post(&mut port, 100..150);
            link("up");
            port.rebuild().unwrap();
            let mut done = [0; 256];
            assert_eq!((port.outstanding(), port.reap(&mut done), port.outstanding()), (150, 150, 0), "round {round}");
            done[..150].sort_unstable();
            assert!(done[..150].iter().enumerate().all(|(i, frame)| *frame == (i * FRAME_SIZE) as u64));
            send(&mut port, round * 500..round * 500 + 500, v4);
        }
        let stats = port.stats();
        assert_eq!((stats.rebuilds, stats.dropped, stats.completed), (3, 450, 1950), "{stats:?}");
    });
    assert_arrived(&mut capture, 0..1500);
}

#[test]
fn a_rebuild_that_fails_leaves_a_port_without_room_that_can_be_rebuilt() {
    let Some(pair) = pair_or_skip("a_rebuild_that_fails_leaves_a_port_without_room_that_can_be_rebuilt") else {
        return;
    };
    pair.in_sender(|| {
        let mut port = open(config()).unwrap();
        post(&mut port, 0..10);
        ip(&format!("-n {} link set tx0 name tx1", pair.sender())).unwrap();
        let error = port.rebuild().expect_err("the interface is gone").to_string();
        assert!(error.contains("tx0") && error.contains("no such interface"), "{error}");
        port.submit();
        assert_eq!((port.room(), port.outstanding(), port.reap(&mut [0; 64])), (0, 10, 10));
        ip(&format!("-n {} link set tx1 name tx0", pair.sender())).unwrap();
        port.rebuild().unwrap();
        assert_eq!((port.room(), port.outstanding()), (RING as usize, 0));
        send(&mut port, 0..1000, v4);
    });
}

#[test]
fn without_capabilities_af_xdp_says_what_it_needs_and_sockets_send() {
    let Some(pair) = pair_or_skip("without_capabilities_af_xdp_says_what_it_needs_and_sockets_send") else { return };
    let mut capture = pair.in_receiver(Capture::new);
    let (source, group) = addresses()[0];
    pair.in_sender(|| {
        // SAFETY: the bare system call changes the ids of this thread only, which ends with this closure; without uid 0 the
        // thread has no effective capabilities.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(result, 0, "root may become nobody");
        let error = open(config()).expect_err("needs CAP_NET_RAW");
        assert_eq!(error.errno(), Some(libc::EPERM), "{error}");
        assert!(
            error.to_string().contains("CAP_NET_RAW") && error.to_string().contains("mode = \"socket\""),
            "{error}"
        );
        let large = UmemConfig { tx_frames: 1 << 20, ..MEMORY };
        let error = AfXdpPort::open(config(), large).expect_err("2 GiB may not be locked").to_string();
        assert!(error.contains("RLIMIT_MEMLOCK") && error.contains("LimitMEMLOCK=infinity"), "{error}");
        let mut port = open_sockets(64, 64).unwrap();
        send(&mut port, 0..100, |number| packet(source, group, number));
    });
    assert_eq!(capture.packets(100).len(), 100);
}
