//! Attaching the XDP program, in a network namespace that the test's thread has for itself.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use sender::xdp::{Mode, Reason, Settings, TitleEntry, TitleId, Xdp, XdpError};
use sender_tests::skip::skip;

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments}");
}

/// Runs on a thread of its own, whose network namespace ends with it.
fn in_own_namespace(test: &'static str, body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => body(),
        Err(error) => skip(test, &format!("no network namespace of its own: {error}")),
    });
    thread.join().expect("the test's thread has not failed");
}

fn small() -> Settings {
    Settings { receivers: 1024, distances: 1024, ..Settings::default() }
}

#[test]
fn it_attaches_natively_lets_go_and_says_what_is_in_the_way() {
    in_own_namespace("it_attaches_natively_lets_go_and_says_what_is_in_the_way", || {
        let refused = |interface: &str, mode| Xdp::attach(interface, mode, &small()).map(drop).expect_err("refused");
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        let first = match Xdp::attach("v0", Mode::Native, &small()) {
            Ok(first) => first,
            Err(error @ (XdpError::NotBuilt | XdpError::NotPermitted { .. })) => {
                return skip("it_attaches_natively_lets_go_and_says_what_is_in_the_way", &error.to_string());
            }
            Err(error) => panic!("{error}"),
        };
        assert!(first.is_attached());
        assert!(matches!(refused("v0", Mode::Native), XdpError::Occupied { .. }));
        assert!(matches!(refused("v0", Mode::Generic), XdpError::Occupied { .. }));
        assert!(matches!(refused("none0", Mode::Native), XdpError::NoInterface { .. }));
        assert!(matches!(refused("lo", Mode::Native), XdpError::NativeNotSupported { .. }));
        drop(first);
        drop(Xdp::attach("v0", Mode::Generic, &small()).expect("it had let go"));
        ip("link set v1 mtu 9000");
        ip("link set v0 mtu 9000");
        let error = refused("v0", Mode::Native);
        assert!(matches!(error, XdpError::MtuTooLarge { .. }), "{error:?}");
    });
}

#[test]
fn joins_of_a_real_host_are_counted() {
    in_own_namespace("joins_of_a_real_host_are_counted", || {
        ip("link add v0 type veth peer name v1");
        ip("addr add 10.9.0.2/24 dev v1");
        ip("link set v0 up");
        ip("link set v1 up");
        let mut xdp = match Xdp::attach("v0", Mode::Native, &small()) {
            Ok(xdp) => xdp,
            Err(error @ (XdpError::NotBuilt | XdpError::NotPermitted { .. })) => {
                return skip("joins_of_a_real_host_are_counted", &error.to_string());
            }
            Err(error) => panic!("{error}"),
        };
        let group: std::net::Ipv4Addr = "239.192.0.1".parse().unwrap();
        xdp.register_group(group.into(), 5005, TitleEntry::new(TitleId(0), false, true)).unwrap();
        let socket = std::net::UdpSocket::bind("0.0.0.0:5005").unwrap();
        socket.join_multicast_v4(&group, &"10.9.0.2".parse().unwrap()).unwrap();
        // The host repeats its report within a second (RFC 3376 8.11); the first is sent at once.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let (mut joins, mut events) = (0, 0);
        while (joins == 0 || events == 0) && std::time::Instant::now() < deadline {
            joins = xdp.group(group.into()).unwrap().unwrap().joins;
            events += xdp.events().count();
            std::thread::yield_now();
        }
        assert!(joins > 0 && events > 0, "{:?}", xdp.counters().unwrap().get(Reason::IgmpV3Report));
    });
}
