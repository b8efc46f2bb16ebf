//! Facts of made-up machines against configurations: each missing thing is named with its remedy.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    machine::{Capabilities, Memory},
    *,
};
use crate::{netif::NetifError, srtp::KeyFile};

const GOOD: &str = r#"
[network]
interface = "eth1"
[transmit]
umem = "64MiB"
[[title]]
name = "news"
file = "nonexistent.ts"
group = "239.192.1.1"
feedback_port = 6001
"#;

fn eth1() -> Interface {
    Interface {
        name: "eth1".to_owned(),
        index: 3,
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        up: true,
        carrier: true,
        ipv4: vec![Ipv4Addr::new(10, 0, 0, 1)],
        ipv6: Vec::new(),
        link_local: None,
        rx_queues: 2,
        tx_queues: 2,
        driver: Some("igb".to_owned()),
        speed: Some(1_000_000_000),
    }
}

fn good_machine() -> Machine {
    Machine {
        interface: Ok(eth1()),
        capabilities: Capabilities::ALL,
        memory: Some(Memory { available: 1 << 30, huge_free: 0, huge_page: 2 << 20 }),
        memlock: Some(8 << 20),
        cpus: Some(vec![0, 1]),
        program: "/usr/bin/sender".to_owned(),
    }
}

fn surveyed(text: &str, machine: Machine) -> Survey {
    Survey::new(Config::parse(Path::new("sender.toml"), text).unwrap(), machine)
}

/// All that is wrong but the media that isn't there.
fn problems(text: &str, machine: Machine) -> Vec<String> {
    let survey = surveyed(text, machine);
    survey.problems().iter().filter(|problem| !problem.key.ends_with(" file")).map(ToString::to_string).collect()
}

fn with(line: &str) -> String {
    let section =
        if ["cpus", "hugepages"].iter().any(|key| line.starts_with(key)) { "[transmit]" } else { "[network]" };
    GOOD.replace(section, &format!("{section}\n{line}"))
}

fn names(problems: &[String], fragments: &[&str]) {
    assert_eq!(problems.len(), 1, "{problems:?}");
    for fragment in fragments {
        assert!(problems[0].contains(fragment), "no {fragment:?} in {}", problems[0]);
    }
}

#[test]
fn a_machine_that_has_everything_has_no_problems() {
    assert_eq!(problems(GOOD, good_machine()), [""; 0]);
    assert!(surveyed(GOOD, good_machine()).warnings().is_empty());
}

#[test]
fn a_missing_interface_is_named_with_those_there_are() {
    let missing = NetifError::Missing { name: "eth1".to_owned(), present: vec!["lo".to_owned(), "tx0".to_owned()] };
    let found = problems(GOOD, Machine { interface: Err(missing), ..good_machine() });
    names(
        &found,
        &["sender.toml:3: [network] interface = \"eth1\": there is no interface \"eth1\"", "exist", "lo, tx0"],
    );
}

#[test]
fn an_interface_that_is_down_is_refused_and_one_without_link_is_warned_of() {
    let down = Interface { up: false, carrier: false, ..eth1() };
    names(
        &problems(GOOD, Machine { interface: Ok(down), ..good_machine() }),
        &["eth1 is down", "ip link set dev eth1 up"],
    );
    let dark = Interface { carrier: false, ..eth1() };
    let survey = surveyed(GOOD, Machine { interface: Ok(dark), ..good_machine() });
    assert!(survey.warnings()[0].to_string().contains("eth1 has no link"));
}

#[test]
fn a_queue_beyond_the_nics_is_named_with_those_it_has() {
    let found = problems(&with("queues = [1, 2, 7]"), good_machine());
    names(&found, &["[network] queues = [1, 2, 7]: there is no queue 2, 7: eth1 has queues 0 to 1", "ethtool -L eth1"]);
    assert_eq!(problems(&with("mode = \"socket\"\nqueues = [0, 7]"), good_machine()), [""; 0]);
}

#[test]
fn missing_capabilities_are_named_with_three_remedies() {
    let none = || Machine { capabilities: Capabilities::NONE, memlock: Some(u64::MAX), ..good_machine() };
    let remedies =
        ["run as root", "setcap cap_net_raw,cap_net_admin", "/usr/bin/sender`", "mode = \"socket\" and xdp = \"off\""];
    for (line, what) in [
        ("mode = \"copy\"\nxdp = \"off\"", "[network] mode = \"copy\": AF_XDP needs CAP_NET_RAW, which this process"),
        (
            "mode = \"socket\"",
            "xdp = \"native\" (the default): the counting program needs CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF",
        ),
    ] {
        let found = problems(&with(line), none());
        names(&found, &[what]);
        names(&found, &remedies);
    }
    assert_eq!(problems(&with("mode = \"socket\"\nxdp = \"off\""), none()), [""; 0]);
    let auto = surveyed(&with("xdp = \"off\""), none());
    assert_eq!(auto.mode, XskMode::Socket);
    assert!(auto.warnings()[0].to_string().contains("plain sockets will be used"));
}

#[test]
fn a_umem_larger_than_memory_is_named_with_both_sizes() {
    let poor = || Machine {
        memory: Some(Memory { available: 100 << 20, huge_free: 0, huge_page: 2 << 20 }),
        ..good_machine()
    };
    assert_eq!(problems(GOOD, poor()), [""; 0]);
    let found = problems(&with("queues = [0, 1]"), poor());
    names(
        &found,
        &["[transmit] umem = \"64MiB\": 64MiB for each of 2 queues, 128MiB in all, but only 100MiB", "smaller umem"],
    );
    let found = problems(&with("hugepages = \"on\""), good_machine());
    names(&found, &["[transmit] hugepages = \"on\"", "only 0B of huge pages are free", "sysctl vm.nr_hugepages=32"]);
}

#[test]
fn memory_that_may_not_be_locked_is_named_with_the_limit() {
    let text = with("mode = \"copy\"\nxdp = \"off\"");
    let found = problems(&text, Machine { capabilities: Capabilities::ONLY_NET_RAW, ..good_machine() });
    names(&found, &["this process may lock only 8MiB", "LimitMEMLOCK=infinity", "CAP_IPC_LOCK"]);
}

#[test]
fn a_cpu_that_is_not_there_is_named_with_those_that_are() {
    names(
        &problems(&with("cpus = [5]"), good_machine()),
        &["[transmit] cpus = [5]: this process can't run on CPU 5", "0, 1"],
    );
}

#[test]
fn a_family_without_a_source_address_is_named_with_the_title_that_needs_it() {
    let found = problems(&GOOD.replace("239.192.1.1", "ff15::8000:1"), good_machine());
    names(&found, &["[network] source_v6: eth1 has no IPv6 address to send title \"news\" from", "ip address add"]);
    let foreign = with("source_v4 = \"10.9.9.9\"");
    assert!(surveyed(&foreign, good_machine()).warnings()[0].to_string().contains("10.9.9.9 is no address of eth1"));
    let socket = foreign.replace("[network]", "[network]\nmode = \"socket\"");
    names(&problems(&socket, good_machine()), &["10.9.9.9 is no address of eth1"]);
}

#[test]
fn missing_media_is_named_with_its_line_and_the_table_is_printed_all_the_same() {
    let survey = surveyed(GOOD, good_machine());
    let text = survey.problems().to_string();
    assert!(text.contains("sender.toml:8: title \"news\": file = \"nonexistent.ts\""), "{text}");
    assert!(text.contains("remedy: check the path"), "{text}");
    let table = survey.to_string();
    assert!(table.contains("eth1 (igb, 1.0 Gb/s, MTU 1500, up), queues 0"), "{table}");
    assert!(table.contains("239.192.1.1 – 239.192.1.4"), "{table}");
    assert!(survey.ready().is_err());
}

/// The sample title that the end-to-end tests loop too.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/sample.ts");

fn good_with_media(line: &str) -> String {
    GOOD.replace("nonexistent.ts", SAMPLE).replace("[[title]]", &format!("[[title]]\n{line}"))
}

#[test]
fn a_title_is_made_ready_with_its_media_and_an_even_stagger() {
    let ready = surveyed(&good_with_media("copies = 4"), good_machine()).ready().unwrap();
    assert_eq!(ready.source(false), Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))));
    let [title] = &ready.titles[..] else { panic!("one title") };
    let duration = title.media.duration().to_nanos();
    assert_eq!(title.stagger.nanos(), duration / 4);
    assert!(title.key.is_none());
}

#[test]
fn titles_of_one_file_share_its_loop() {
    let second =
        format!("[[title]]\nname = \"again\"\nfile = {SAMPLE:?}\ngroup = \"239.192.2.1\"\nfeedback_port = 6002\n");
    let ready = surveyed(&format!("{}{second}", good_with_media("")), good_machine()).ready().unwrap();
    assert!(std::sync::Arc::ptr_eq(&ready.titles[0].media, &ready.titles[1].media));
}

#[test]
fn copies_further_apart_than_the_loop_is_long_are_refused_with_the_most_there_can_be() {
    let found = problems(&good_with_media("copies = 4\nstagger = \"1h\""), good_machine());
    names(
        &found,
        &["title \"news\": stagger = \"1h\": 4 copies 1h apart are longer than the loop of", "use at most", "\"auto\""],
    );
    assert_eq!(problems(&good_with_media("stagger = 0"), good_machine()), [""; 0]);
}

#[test]
fn packets_beyond_the_mtu_are_refused_with_the_mtu_they_need() {
    let of = |mtu, line: &str| {
        let machine = Machine { interface: Ok(Interface { mtu, ..eth1() }), ..good_machine() };
        surveyed(&good_with_media(line), machine).problems().to_string()
    };
    // 20 + 8 + 12 + 7 × 188
    assert_eq!(of(1356, ""), "");
    let text = of(1355, "");
    assert!(text.contains("packets of 1356 bytes (IP 20, UDP 8, RTP 12, media 1316, SRTP 0)"), "{text}");
    assert!(text.contains("MTU 1355 of eth1") && text.contains("ip link set dev eth1 mtu 1356"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("news.key");
    KeyFile::generate().unwrap().write(&key).unwrap();
    let line = format!("key_file = {key:?}");
    assert_eq!(of(1370, &line), "");
    assert!(of(1369, &line).contains("SRTP 14"));
    assert_eq!(of(1366, &format!("{line}\nmki = false")), "");
}

#[test]
fn a_key_file_that_can_not_be_used_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let nameless = format!("AES_CM_128_HMAC_SHA1_80 {}\n", "ab".repeat(30));
    let cases = [
        (folder.path().join("none.key"), "the key file can't be read", "sender key new"),
        (write("open.key", &nameless, 0o644), "open to other users (mode 0644)", "chmod 600"),
        (write("broken.key", "hello\n", 0o600), "is broken", "60 hex digits"),
        (write("nameless.key", &nameless, 0o600), "mki = true (the default): the key in", "mki = false"),
    ];
    for (path, what, remedy) in cases {
        let found = problems(&good_with_media(&format!("key_file = {path:?}")), good_machine());
        names(&found, &["title \"news\"", what, remedy]);
    }
    let unnamed = format!("key_file = {:?}\nmki = false", folder.path().join("nameless.key"));
    let ready = surveyed(&good_with_media(&unnamed), good_machine()).ready().unwrap();
    assert_eq!(ready.titles[0].key.as_ref().map(|key| key.mki), Some(None));
}

#[test]
fn copies_that_are_more_than_the_port_carries_are_warned_of() {
    let text = good_with_media("").replace("[network]", "[network]\nrate = \"1Mb/s\"");
    let survey = surveyed(&text, good_machine());
    assert!(survey.warnings()[0].to_string().contains("the port carries 1.0 Mb/s"), "{:?}", survey.warnings());
}

#[test]
fn the_table_shows_what_would_run() {
    let survey = surveyed(&good_with_media("copies = 2"), good_machine());
    let table = survey.to_string();
    for word in [
        "1 title, 2 copies",
        "source     10.0.0.1",
        "mode       auto, XDP native",
        "umem       64MiB for each of 1 queue",
        "news",
        "(auto)",
        "clear",
        "5004, 5005",
        "6001",
    ] {
        assert!(table.contains(word), "no {word:?} in\n{table}");
    }
}
