//! Whole files: what is right becomes a `Config`, what is wrong is named with line, key, value, reason and remedy.

use std::path::Path;

use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"
[network]
interface = "eth1"
[[title]]
name = "news"
file = "media/news.ts"
group = "239.192.1.1"
feedback_port = 6001
"#;

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(Path::new("/etc/sender/sender.toml"), text)
}

/// `GOOD` with a line put below a section's header.
fn with(section: &str, line: &str) -> String {
    if GOOD.contains(section) {
        GOOD.replace(section, &format!("{section}\n{line}"))
    } else {
        format!("{GOOD}\n{section}\n{line}")
    }
}

/// `GOOD` with a second title.
fn with_second(lines: &str) -> String {
    format!("{GOOD}\n[[title]]\nname = \"film\"\nfile = \"film.ts\"\n{lines}")
}

#[test]
fn a_short_file_gets_the_defaults() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.network.queues, [0]);
    assert_eq!(config.network.mode, XskMode::Auto);
    assert_eq!(config.network.xdp, XdpAttach::Native);
    assert_eq!(config.network.ttl.get(), 8);
    assert_eq!(config.network.dscp.get(), 34);
    assert_eq!(config.transmit.umem.bytes(), 256 << 20);
    assert_eq!(config.transmit.frames(), 131_072);
    assert_eq!(config.rtcp.interval.nanos(), 5_000_000_000);
    let [title] = &config.titles[..] else { panic!("one title") };
    let groups: Vec<String> = title.groups.iter().map(ToString::to_string).collect();
    assert_eq!(groups, ["239.192.1.1", "239.192.1.2", "239.192.1.3", "239.192.1.4"]);
    assert_eq!(title.stagger, Stagger::Auto);
    assert_eq!((title.port.rtp(), title.port.rtcp()), (5004, 5005));
    assert_eq!((title.key_file.as_deref(), title.mki), (None, true));
    assert!(config.warnings.is_empty());
}

#[test]
fn relative_paths_are_relative_to_the_file_and_absolute_ones_stay() {
    let config = parse(&with("[[title]]", "key_file = \"/keys/news.key\"")).unwrap();
    assert_eq!(config.titles[0].file, Path::new("/etc/sender/media/news.ts"));
    assert_eq!(config.titles[0].key_file.as_deref(), Some(Path::new("/keys/news.key")));
}

#[test]
fn a_titles_ttl_goes_before_the_networks() {
    let text = with("[network]", "ttl = 3").replace("[[title]]", "[[title]]\nttl = 5");
    assert_eq!(parse(&text).unwrap().titles[0].ttl.get(), 5);
    assert_eq!(parse(&with("[network]", "ttl = 3")).unwrap().titles[0].ttl.get(), 3);
}

#[test]
fn vlan_tags_stand_as_802_1q_or_as_qinq() {
    let one = parse(&with("[network]", "vlan = [100]\nvlan_priority = 5")).unwrap().network;
    assert_eq!(one.vlan.tags(one.vlan_priority), [(0x8100, 0xa064)]);
    let two = parse(&with("[network]", "vlan = [100, 200]")).unwrap().network;
    assert_eq!(two.vlan.tags(two.vlan_priority), [(0x88a8, 100), (0x8100, 200)]);
}

#[test]
fn ipv6_source_specific_and_admin_scoped_groups_are_taken() {
    for group in
        ["ff15::8000:1", "ff3e::8000:1", "ff08::8000:1", "232.1.2.3", "239.255.1.1", "224.0.1.200", "233.252.0.1"]
    {
        assert!(parse(&GOOD.replace("239.192.1.1", group)).is_ok(), "{group}");
    }
}

/// Section, line put into it, what the message must contain.
const BAD_LINES: &[(&str, &str, &[&str])] = &[
    ("[network]", "tll = 3", &["sender.toml:3: [network] tll: there is no such key", "did you mean ttl?"]),
    ("[network]", "zebra = 3", &["there is no such key", "the keys here are interface, queues"]),
    (
        "[network]",
        "queues = [0, 1, 0]",
        &["[network] queues = [0, 1, 0]: queue 0 is listed twice", "list each queue once"],
    ),
    ("[network]", "queues = []", &["no queue is listed", "like [0]"]),
    ("[network]", "queues = 0", &["a list is expected here, not a whole number", "[0, 1]"]),
    ("[network]", "queues = [0, \"1\"]", &["item 2: a whole number is expected here, not a string"]),
    ("[network]", "queues = [-1]", &["item 1: this is out of range", "use 0 to 4095"]),
    (
        "[network]",
        "mode = \"zerocopy\"",
        &["did you mean \"zero-copy\"?", "use one of \"auto\", \"zero-copy\", \"copy\", \"socket\""],
    ),
    ("[network]", "xdp = \"skb\"", &["this word is not known here", "\"native\", \"generic\", \"off\""]),
    (
        "[network]",
        "mode = \"zero-copy\"\nxdp = \"off\"",
        &["[network] xdp = \"off\": zero-copy is only safe", "xdp = \"native\""],
    ),
    ("[network]", "mode = \"socket\"\nvlan = [7]", &["[network] vlan = [7]: plain sockets can't", "eth1.7"]),
    ("[network]", "vlan = [1, 2, 3]", &["3 tags are more than Ethernet's two", "QinQ"]),
    ("[network]", "vlan = [4095]", &["4095 is no VLAN identifier (1 to 4094)"]),
    ("[network]", "vlan_priority = 8", &["use 0 to 7"]),
    (
        "[network]",
        "ttl = 0",
        &["[network] ttl = 0: a packet with TTL 0 never leaves the box", "use 1 (this network only) to 255"],
    ),
    ("[network]", "ttl = 256", &["this is no TTL"]),
    ("[network]", "dscp = 64", &["a DSCP has 6 bits", "use 0 to 63"]),
    ("[network]", "source_v4 = \"239.1.2.3\"", &["no address of a single box"]),
    ("[network]", "source_v4 = \"fd00::1\"", &["this is no IPv4 address", "192.0.2.10"]),
    ("[network]", "source_v6 = \"10.0.0.1\"", &["this is no IPv6 address"]),
    ("[network]", "rate = \"10Gbps\"", &["did you mean \"Gb/s\"?", "8Mb/s"]),
    ("[network]", "rate = 10", &["a string is expected here, not a whole number", "\"10Gb/s\""]),
    ("[transmit]", "ring = 1000", &["[transmit] ring = 1000: a ring's size is a power of two", "use 512 or 1024"]),
    ("[transmit]", "ring = 32", &["use 64 to 32768"]),
    ("[transmit]", "umem = \"256\"", &["[transmit] umem = \"256\": a size needs a unit", "256MiB"]),
    ("[transmit]", "umem = 256", &["a string is expected here", "\"256MiB\""]),
    ("[transmit]", "umem = \"3MiB\"", &["pages of 2 MiB", "\"4MiB\""]),
    ("[transmit]", "umem = \"2MiB\"", &["1024 packets fit, but ring = 2048 needs 8192", "\"16MiB\""]),
    ("[transmit]", "burst = 512\nring = 256", &["[transmit] burst = 512: the ring holds only 256"]),
    ("[transmit]", "cpus = [1, 2]", &["2 CPUs for 1 queues", "one CPU for each queue"]),
    ("[transmit]", "cpus = \"all\"", &["\"auto\", \"off\" or [2, 3]"]),
    ("[transmit]", "max_lateness = \"1h\"", &["use \"1ms\" to \"10s\""]),
    ("[rtcp]", "interval = \"5 seconds\"", &["\"seconds\" is not a unit of a time"]),
    ("[rtcp]", "report_timeout = \"6s\"", &["would be taken for gone", "\"25s\""]),
    ("[rtcp]", "cname = \"\"", &["a CNAME has 1 to 255 bytes"]),
    ("[log]", "level = \"verbose\"", &["\"error\", \"warn\", \"info\", \"debug\", \"trace\""]),
    ("[[title]]", "copies = 0", &["title \"news\": copies = 0: this is out of range", "use 1 to 1024"]),
    ("[[title]]", "copies = 2000", &["use 1 to 1024"]),
    ("[[title]]", "copies = 99999999999999999999", &["this number is too large"]),
    ("[[title]]", "stagger = 3", &["a time needs a unit", "\"2.5s\", or 0"]),
    ("[[title]]", "stagger = \"fast\"", &["must begin with a number", "\"auto\" (duration of the loop / copies)"]),
    ("[[title]]", "port = 5005", &["title \"news\": port = 5005: 5005 is odd", "use 5004"]),
    ("[[title]]", "port = 80", &["use 1024 to 65535"]),
    (
        "[[title]]",
        "port = 6000",
        &["feedback_port = 6001: this is the RTCP port (port + 1) of title \"news\"", "(line 5)"],
    ),
    ("[[title]]", "mki = 1", &["true or false is expected here, not a whole number"]),
    ("[[title]]", "groups = [\"239.192.7.1\"]", &["groups = [\"239.192.7.1\"]: group is given too"]),
    ("[[title]]", "feedback = 1", &["did you mean feedback_port?"]),
    ("[titles]", "x = 1", &["titles: there is no such key", "did you mean title?"]),
];

#[test]
fn a_wrong_line_is_named_with_what_would_be_right() {
    for (section, line, fragments) in BAD_LINES {
        let problems = parse(&with(section, line)).expect_err(line).to_string();
        for fragment in *fragments {
            assert!(problems.contains(fragment), "{section} {line}: no {fragment:?} in:\n{problems}");
        }
    }
}

/// What of the good file is replaced by what, and what the message must contain.
const BAD_EDITS: &[(&str, &str, &[&str])] = &[
    ("interface = \"eth1\"", "", &["sender.toml:2: [network] interface: this key is missing", "write interface"]),
    ("eth1", "an-interface-too-long", &["21 bytes are too long", "at most 15"]),
    ("eth1", "eth/1", &["can't be the name of an interface"]),
    (
        "239.192.1.1",
        "10.0.0.1",
        &["sender.toml:7: title \"news\": group = \"10.0.0.1\"", "outside the multicast range", "239.192.0.0/14"],
    ),
    ("239.192.1.1", "224.0.0.251", &["224.0.0.0/24", "routers never forward it"]),
    ("239.192.1.1", "ff02::fb", &["link-local (ff02::/16): routers never forward it"]),
    ("239.192.1.1", "ff01::1", &["never leaves the box"]),
    ("239.192.1.1", "ff00::1", &["reserved scope"]),
    ("239.192.1.1", "239.192.1", &["this is no IP address"]),
    ("239.192.1.1", "239.255.255.254", &["4 copies take 4 addresses from here on", "lower address"]),
    ("group = \"239.192.1.1\"", "", &["title \"news\": group: this key is missing"]),
    ("group = \"239.192.1.1\"", "groups = []", &["0 groups", "list 1 to 1024"]),
    (
        "group = \"239.192.1.1\"",
        "groups = [\"239.192.1.1\", \"ff15::8000:1\"]",
        &["IPv4 and IPv6 are mixed", "second [[title]]"],
    ),
    ("group = \"239.192.1.1\"", "groups = [\"239.192.1.1\"]\ncopies = 3", &["copies = 3: groups lists 1 groups"]),
    (
        "group = \"239.192.1.1\"",
        "groups = [\"239.192.1.1\", \"239.192.1.1\"]",
        &["239.192.1.1 is a group of this title already"],
    ),
    (
        "group = \"239.192.1.1\"",
        "groups = [\"239.192.1.1\", \"239.64.1.1\"]",
        &["one Ethernet address: their low 23 bits"],
    ),
    ("name = \"news\"", "name = \"the news\"", &["can't be a title's name", "A-Z a-z 0-9"]),
    ("name = \"news\"", "", &["[[title]] number 1: name: this key is missing"]),
    ("file = \"media/news.ts\"", "file = \"\"", &["this names no file"]),
    ("feedback_port = 6001", "", &["feedback_port: this key is missing"]),
    ("[[title]]", "[title]", &["write its header with two brackets: [[title]]"]),
    ("[[title]]", "[[titel]]", &["titel: there is no such key", "did you mean title?", "there is no [[title]]"]),
    ("[network]", "network = 3\n[rtcp]", &["[network]: this is no section"]),
    ("\"eth1\"", "eth1", &["sender.toml:3: this is not TOML", "strings stand in quotes"]),
    ("feedback_port = 6001", "port = 5004\nport = 5006", &["sender.toml:9: this is not TOML: duplicate key"]),
];

#[test]
fn a_wrong_value_is_named_with_what_would_be_right() {
    for (from, to, fragments) in BAD_EDITS {
        let problems = parse(&GOOD.replace(from, to)).expect_err(to).to_string();
        for fragment in *fragments {
            assert!(problems.contains(fragment), "{from} -> {to}: no {fragment:?} in:\n{problems}");
        }
    }
}

/// Lines of a second title, and what the message must contain.
const BAD_SECONDS: &[(&str, &[&str])] = &[
    (
        "group = \"239.192.1.4\"\nfeedback_port = 6002",
        &["title \"film\": group", "239.192.1.4 is a group of title \"news\" already"],
    ),
    (
        "group = \"239.64.1.2\"\nfeedback_port = 6002",
        &["239.64.1.2 and 239.192.1.2 of title \"news\" are one Ethernet address"],
    ),
    (
        "group = \"239.192.2.1\"\nfeedback_port = 6001",
        &["this is the feedback port of title \"news\" already (line 8)"],
    ),
    ("group = \"239.192.2.1\"\nfeedback_port = 5004", &["this is the RTP port of title \"news\" already"]),
    ("group = \"239.192.2.1\"\nfeedback_port = 5005", &["this is the RTCP port (port + 1) of title \"news\" already"]),
];

#[test]
fn two_titles_in_each_others_way_are_named_both() {
    for (lines, fragments) in BAD_SECONDS {
        let problems = parse(&with_second(lines)).expect_err(lines).to_string();
        for fragment in *fragments {
            assert!(problems.contains(fragment), "{lines}: no {fragment:?} in:\n{problems}");
        }
    }
    let twice = with_second("group = \"239.192.2.1\"\nfeedback_port = 6002").replace("film\"\n", "news\"\n");
    assert!(parse(&twice).unwrap_err().to_string().contains("there is a title of this name already (line 5)"));
    assert!(parse(&with_second("group = \"ff15::8000:1\"\nfeedback_port = 6002")).is_ok());
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_file() {
    let text = with("[network]", "ttl = 0\nqeues = [0]").replace("6001", "1").replace("239.192.1.1", "1.2.3.4");
    let problems = parse(&text).unwrap_err();
    let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(3), Some(4), Some(9), Some(10)], "{problems}");
}

#[test]
fn what_is_wrong_between_titles_is_reported_beside_what_is_wrong_in_them() {
    let text =
        with_second("group = \"239.192.1.1\"\nfeedback_port = 6001\nmki = 3").replace("eth1", "an-interface-too-long");
    let problems = parse(&text).unwrap_err().to_string();
    for fragment in ["too long", "mki = 3", "is a group of title \"news\"", "the feedback port of title \"news\""] {
        assert!(problems.contains(fragment), "no {fragment:?} in:\n{problems}");
    }
}

#[test]
fn a_catalogue_of_ten_thousand_titles_is_read_and_its_last_line_known() {
    let mut text = GOOD.replace("239.192.1.1", "239.255.255.1\"\ncopies = 1\nfile_ = \"").replace("file_ = \"\"\n", "");
    for n in 0..10_000u32 {
        let group = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(239, 192, 1, 0)) + n);
        text += &format!(
            "[[title]]\nname = \"t{n}\"\nfile = \"x.ts\"\ncopies = 1\ngroup = \"{group}\"\nfeedback_port = {}\n",
            10_000 + n
        );
    }
    assert_eq!(parse(&text).unwrap().titles.len(), 10_001);
    let lines = text.lines().count();
    let problems = parse(&format!("{text}mki = 0")).unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [Some(lines + 1)], "{problems}");
}

#[test]
fn an_empty_list_of_titles_is_refused() {
    let problems = parse("title = []\n[network]\ninterface = \"eth1\"").unwrap_err().to_string();
    assert!(problems.contains("sender.toml:1: title: this list is empty"), "{problems}");
}

#[test]
fn a_group_that_switches_flood_is_warned_of() {
    let config = parse(&GOOD.replace("239.192.1.1", "239.128.0.1")).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].to_string().contains("which switches send to every port"));
}

#[test]
fn a_missing_file_is_said_with_its_name() {
    let problems = Config::load(Path::new("/nonexistent/sender.toml")).unwrap_err().to_string();
    assert!(problems.contains("/nonexistent/sender.toml: the configuration can't be read"), "{problems}");
    assert!(problems.contains("sender.example.toml"), "{problems}");
}

#[test]
fn every_default_of_the_table_is_valid() {
    for (section, keys) in SECTIONS {
        for key in keys.iter().filter(|key| matches!(key.absent, Absent::Is(_))) {
            let Absent::Is(value) = key.absent else { continue };
            let name = if *section == "title" { "[[title]]".to_owned() } else { format!("[{section}]") };
            let written = parse(&with(&name, &format!("{} = {value}", key.name))).unwrap();
            let absent = parse(GOOD).unwrap();
            let all =
                |c: &Config| (c.network.clone(), c.transmit.clone(), c.rtcp.clone(), c.log.clone(), c.titles.clone());
            assert_eq!(all(&written), all(&absent), "[{section}] {}", key.name);
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}", line in "[a-z_]{1,8} = .{0,30}", key in "(queues|umem|ring|ttl|vlan|cpus|rate)", value in ".{0,20}") {
        let _ = parse(&text);
        let _ = parse(&with("[network]", &line));
        let _ = parse(&with("[network]", &format!("{key} = {value}")));
        let _ = parse(&with("[transmit]", &format!("{key} = {value}")));
        let _ = parse(&with("[[title]]", &line));
    }
}
