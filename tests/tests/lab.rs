//! The lab itself: what the end-to-end tests rely on.

use anyhow::Result;
use sender_tests::{
    lab::{Captured, Direction, Hook, Lab, Loss, Node, Options, Process, now, purge},
    skip::require_root,
};
use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const PORT: u16 = 5004;
/// Far longer than anything takes here; reached only by a failure.
const LONG: Duration = Duration::from_secs(10);
/// As long as a test looks for what must not come.
const A_WHILE: Duration = Duration::from_millis(300);

/// A socket of `node` that sends multicast by its lab interface.
fn source(node: &Node) -> UdpSocket {
    node.within(|| {
        let socket = UdpSocket::bind(SocketAddr::new(node.v4().into(), 0))?;
        socket.set_multicast_ttl_v4(8)?;
        Ok(socket)
    })
    .expect("a socket in the sender's namespace")
}

fn source_v6(node: &Node) -> UdpSocket {
    node.within(|| Ok(UdpSocket::bind(SocketAddr::new(node.v6().into(), 0))?))
        .expect("a socket in the sender's namespace")
}

/// Sends `probe` until `arrived` says so: membership takes effect at the bridge a moment after the join.
fn send_until(socket: &UdpSocket, to: SocketAddr, mut arrived: impl FnMut() -> bool) {
    for _ in 0..200 {
        socket.send_to(b"probe", to).expect("sending a probe");
        if arrived() {
            return;
        }
    }
    panic!("nothing arrived at {to}");
}

fn carries(frame: &Captured, payload: &[u8]) -> bool {
    frame.direction == Direction::In && frame.bytes.ends_with(payload)
}

fn only_members_get_a_group(group: &str, source: fn(&Node) -> UdpSocket) -> Result<()> {
    let group: IpAddr = group.parse()?;
    let lab = Lab::build(&Options { receivers: 2, ..Options::default() })?;
    let socket = source(lab.sender());
    let member = lab.receiver(1).join(group, PORT, None)?;
    send_until(&socket, (group, PORT).into(), || {
        member.receive(Duration::from_millis(20)).expect("receiving").is_some()
    });

    let wire = lab.receiver(2).capture()?;
    socket.send_to(b"members only", (group, PORT))?;
    while member.receive(LONG)?.expect("a member gets the group's packets") != b"members only" {}
    let stray = wire.wait_for(A_WHILE, |frame| carries(frame, b"members only"))?;
    assert!(stray.is_none(), "the group's packet was flooded to a host that is no member");

    // And once the member has left, it gets nothing more either.
    drop(member);
    let wire = lab.receiver(1).capture()?;
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        socket.send_to(b"anyone left?", (group, PORT))?;
        if wire.wait_for(Duration::from_millis(50), |frame| carries(frame, b"anyone left?"))?.is_none() {
            return Ok(());
        }
    }
    panic!("the group still flows to a host that left it");
}

#[test]
fn an_ipv4_group_reaches_its_members_only() -> Result<()> {
    if !require_root("an_ipv4_group_reaches_its_members_only") {
        return Ok(());
    }
    only_members_get_a_group("239.192.77.1", source)
}

#[test]
fn an_ipv6_group_reaches_its_members_only() -> Result<()> {
    if !require_root("an_ipv6_group_reaches_its_members_only") {
        return Ok(());
    }
    only_members_get_a_group("ff15::77:1", source_v6)
}

#[test]
fn a_source_specific_member_gets_that_source_only() -> Result<()> {
    if !require_root("a_source_specific_member_gets_that_source_only") {
        return Ok(());
    }
    let group: IpAddr = "232.77.0.1".parse()?;
    let lab = Lab::build(&Options { receivers: 2, ..Options::default() })?;
    let (wanted, unwanted) = (source(lab.sender()), source(lab.receiver(2)));
    let member = lab.receiver(1).join(group, PORT, Some(lab.sender().v4().into()))?;
    send_until(&wanted, (group, PORT).into(), || {
        member.receive(Duration::from_millis(20)).expect("receiving").is_some()
    });
    unwanted.send_to(b"unwanted", (group, PORT))?;
    wanted.send_to(b"last", (group, PORT))?;
    while let Some(payload) = member.receive(LONG)? {
        assert_ne!(payload, b"unwanted");
        if payload == b"last" {
            return Ok(());
        }
    }
    panic!("the wanted source's last packet never came");
}

#[test]
fn reports_reach_the_sender_without_any_querier() -> Result<()> {
    if !require_root("reports_reach_the_sender_without_any_querier") {
        return Ok(());
    }
    let lab = Lab::build(&Options { receivers: 1, querier: false, ..Options::default() })?;
    let wire = lab.sender().capture()?;
    let sent = lab.receiver(1).count(Hook::Output, "meta l4proto igmp")?;
    let before = now()?;
    let _member = lab.receiver(1).join("239.192.77.2".parse()?, PORT, None)?;
    // IPv4 with Router Alert, IGMPv3 report.
    let report = wire
        .wait_for(LONG, |frame| {
            frame.bytes.get(12..15) == Some(&[0x08, 0, 0x46]) && frame.bytes.get(38) == Some(&0x22)
        })?
        .expect("the report reaches the sender's interface");
    assert!((before..=now()?).contains(&report.at), "a capture's times are of the monotonic clock");
    assert!(sent.packets()? >= 1, "what a host reports is counted where it leaves");
    Ok(())
}

#[test]
fn loss_is_exactly_what_its_counter_says() -> Result<()> {
    if !require_root("loss_is_exactly_what_its_counter_says") {
        return Ok(());
    }
    const PACKETS: u64 = 1000;
    let group: IpAddr = "239.192.77.3".parse()?;
    let lab = Lab::build(&Options { receivers: 2, ..Options::default() })?;
    let socket = source(lab.sender());
    for (loss, expected) in [(Loss::EveryNth(7), Some(PACKETS.div_ceil(7))), (Loss::PerMille(200), None)] {
        let member = lab.receiver(1).join(group, PORT, None)?;
        send_until(&socket, (group, PORT).into(), || {
            member.receive(Duration::from_millis(20)).expect("receiving").is_some()
        });
        let rule = lab.receiver(1).lose(&format!("udp dport {PORT}"), loss)?;
        // All from here on say their number; read as they come, so that no buffer overflows.
        let mut received = 0;
        for number in 0..PACKETS {
            socket.send_to(&number.to_be_bytes(), (group, PORT))?;
            if number % 50 == 49 {
                while member.receive(Duration::from_millis(20))?.is_some_and(|payload| payload.len() == 8) {
                    received += 1;
                }
            }
        }
        let lost = rule.packets()?;
        assert_eq!(received + lost, PACKETS, "{loss:?}");
        if let Some(expected) = expected {
            assert_eq!(lost, expected, "{loss:?}");
        }
        drop(rule);
        socket.send_to(b"after", (group, PORT))?;
        assert_eq!(member.receive(LONG)?.as_deref(), Some(&b"after"[..]), "a dropped rule loses nothing");
    }
    Ok(())
}

#[test]
fn a_dropped_lab_leaves_nothing_even_after_a_panic() -> Result<()> {
    if !require_root("a_dropped_lab_leaves_nothing_even_after_a_panic") {
        return Ok(());
    }
    let (names, pid) = {
        let (tell, told) = std::sync::mpsc::channel();
        let failed = std::thread::spawn(move || {
            let lab = Lab::new().expect("a lab");
            let process = lab.receiver(4).spawn("sleep", &["1000"]).expect("sleep runs");
            // Runs on without a guard: the lab ends it, too.
            let stray = lab.receiver(3).command("sleep").arg("1000").spawn().expect("sleep runs");
            assert!(Path::new(&format!("/run/netns/{}-r4", lab.prefix())).exists());
            tell.send((lab.prefix().to_owned(), process.pid(), stray)).expect("the test listens");
            panic!("as a failing test would");
        })
        .join();
        assert!(failed.is_err());
        let (prefix, pid, mut stray) = told.recv()?;
        assert!(!stray.wait()?.success(), "killed");
        (["snd", "br", "r1", "r2", "r3", "r4"].map(|role| format!("/run/netns/{prefix}-{role}")), pid)
    };
    for name in names {
        assert!(!Path::new(&name).exists(), "{name} is left over");
    }
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "a process is left over");
    Ok(())
}

#[test]
fn a_lab_left_up_is_found_and_purged() -> Result<()> {
    if !require_root("a_lab_left_up_is_found_and_purged") {
        return Ok(());
    }
    let lab = Lab::build(&Options { receivers: 1, sender_queues: 2, ..Options::default() })?;
    let prefix = lab.prefix().to_owned();
    let queues = lab.sender().run("ls", &["/sys/class/net/tx0/queues"])?;
    assert_eq!(queues.split_whitespace().collect::<Vec<_>>(), ["rx-0", "rx-1", "tx-0", "tx-1"]);
    assert_eq!(lab.leave_up().len(), 3);
    assert!(Path::new(&format!("/run/netns/{prefix}-snd")).exists());
    assert_eq!(purge(&prefix)?.len(), 3);
    assert!(!Path::new(&format!("/run/netns/{prefix}-snd")).exists());
    Ok(())
}

#[test]
fn link_counters_move_with_the_packets() -> Result<()> {
    if !require_root("link_counters_move_with_the_packets") {
        return Ok(());
    }
    let lab = Lab::build(&Options { receivers: 1, ..Options::default() })?;
    let before = lab.receiver(1).link_stats()?;
    let member = lab.receiver(1).join("239.192.77.4".parse()?, PORT, None)?;
    let socket = source(lab.sender());
    send_until(&socket, "239.192.77.4:5004".parse()?, || {
        member.receive(Duration::from_millis(20)).expect("receiving").is_some()
    });
    assert!(lab.receiver(1).link_stats()?.rx_packets > before.rx_packets);
    Ok(())
}

#[test]
fn a_process_is_waited_for_with_a_bound_and_says_why_not() -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo out; echo ready >&2; exec sleep 1000"]);
    let mut process = Process::spawn(shell)?;
    assert_eq!(process.wait_for("rea", LONG)?, "ready");
    assert_eq!(process.wait_for("out", LONG)?, "out");
    assert_eq!(process.stdout(), b"out\n");
    let error = process.wait_for("never said", Duration::from_millis(20)).expect_err("it says nothing more");
    assert!(error.to_string().contains("ready"), "{error:#}");
    assert!(process.wait(Duration::from_millis(20)).is_err());
    assert!(!process.stop(LONG)?.success());
    let error = process.wait_for("never said", LONG).expect_err("it has ended");
    assert!(error.to_string().contains("before it ended"), "{error:#}");
    Ok(())
}
