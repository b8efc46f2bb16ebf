//! Every key of the configuration file with its default: the one table that reading, the example file and the tests share.

/// One key of a section.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// As written in the file.
    pub name: &'static str,
    /// What holds when it isn't written.
    pub absent: Absent,
}

/// What holds when a key isn't written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It must be written.
    Refused,
    /// This TOML value.
    Is(&'static str),
    /// Found out otherwise; in words.
    Derived(&'static str),
}

const fn required(name: &'static str) -> KeySpec {
    KeySpec { name, absent: Absent::Refused }
}

const fn is(name: &'static str, default: &'static str) -> KeySpec {
    KeySpec { name, absent: Absent::Is(default) }
}

const fn derived(name: &'static str, words: &'static str) -> KeySpec {
    KeySpec { name, absent: Absent::Derived(words) }
}

pub(super) const NETWORK: &[KeySpec] = &[
    required("interface"),
    is("queues", "[0]"),
    is("mode", "\"auto\""),
    is("xdp", "\"native\""),
    is("querier", "\"auto\""),
    derived("source_v4", "the interface's first IPv4 address"),
    derived("source_v6", "the interface's first IPv6 address that isn't link-local"),
    is("vlan", "[]"),
    is("vlan_priority", "0"),
    is("ttl", "8"),
    is("dscp", "34"),
    derived("rate", "the link's speed"),
];

pub(super) const TRANSMIT: &[KeySpec] = &[
    is("umem", "\"256MiB\""),
    is("ring", "2048"),
    is("hugepages", "\"auto\""),
    is("cpus", "\"auto\""),
    is("burst", "64"),
    is("max_lateness", "\"200ms\""),
];

pub(super) const RTCP: &[KeySpec] =
    &[is("interval", "\"5s\""), is("report_timeout", "\"30s\""), derived("cname", "sender@ and the source address")];

pub(super) const LOG: &[KeySpec] = &[is("level", "\"info\"")];

pub(super) const TITLE: &[KeySpec] = &[
    required("name"),
    required("file"),
    is("copies", "4"),
    is("stagger", "\"auto\""),
    derived("group", "groups"),
    derived("groups", "group and the addresses that follow it"),
    is("port", "5004"),
    required("feedback_port"),
    derived("ttl", "[network] ttl"),
    derived("key_file", "no encryption"),
    is("mki", "true"),
];

/// All sections: name in the file and keys. `title` is the one that is written as `[[title]]`, once for each title.
pub const SECTIONS: &[(&str, &[KeySpec])] =
    &[("network", NETWORK), ("transmit", TRANSMIT), ("rtcp", RTCP), ("log", LOG), ("title", TITLE)];
