//! Keys and values of the maps. `repr(C)`, no padding that isn't named, the same in the kernel and in user space.

use crate::reason::Reason;

/// An IP address as the maps keep it: 16 octets in network order, IPv4 as IPv4-mapped IPv6 (`::ffff:a.b.c.d`). Two words, so that
/// the program moves it in two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(C)]
pub struct Address {
    high: u64,
    low: u64,
}

impl Address {
    /// `::`, which also stands for "none".
    pub const UNSPECIFIED: Self = Self { high: 0, low: 0 };
    /// `0.0.0.0`.
    pub const UNSPECIFIED_V4: Self = Self::v4([0; 4]);

    /// The IPv4-mapped form.
    #[inline(always)]
    pub const fn v4(octets: [u8; 4]) -> Self {
        Self { high: 0, low: (0xffff_0000_0000 | u32::from_be_bytes(octets) as u64).to_be() }
    }

    /// From 16 octets.
    #[inline(always)]
    pub const fn v6(o: [u8; 16]) -> Self {
        Self {
            high: u64::from_ne_bytes([o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7]]),
            low: u64::from_ne_bytes([o[8], o[9], o[10], o[11], o[12], o[13], o[14], o[15]]),
        }
    }

    /// The 16 octets.
    #[inline(always)]
    pub const fn octets(self) -> [u8; 16] {
        let bits = (u64::from_be(self.high) as u128) << 64 | u64::from_be(self.low) as u128;
        bits.to_be_bytes()
    }

    /// The two halves, as they lie in memory.
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        [self.high, self.low]
    }

    /// From the two halves.
    #[inline(always)]
    pub const fn from_words(high: u64, low: u64) -> Self {
        Self { high, low }
    }

    /// Whether it is a multicast group: 224.0.0.0/4 or ff00::/8.
    #[inline(always)]
    pub const fn is_group(self) -> bool {
        u64::from_be(self.high) >> 56 == 0xff || (self.high == 0 && u64::from_be(self.low) >> 28 == 0xf_fffe)
    }

    /// As `std` and `core` know it; an IPv4-mapped one as IPv4.
    pub fn ip(self) -> core::net::IpAddr {
        core::net::Ipv6Addr::from_octets(self.octets()).to_canonical()
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(ip: core::net::IpAddr) -> Self {
        match ip {
            core::net::IpAddr::V4(ip) => Self::v4(ip.octets()),
            core::net::IpAddr::V6(ip) => Self::v6(ip.octets()),
        }
    }
}

/// A title's number: the index of its statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TitleId(pub u16);

/// What a port or a group stands for: a title and how its reports are taken. Zero: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct TitleEntry(pub u32);

impl TitleEntry {
    const PRESENT: u32 = 1 << 31;
    const PROTECTED: u32 = 1 << 30;
    const OPEN: u32 = 1 << 29;

    /// An entry for a title. `protected`: its RTCP is SRTCP, so only the first 8 octets of a compound are in clear.
    /// `open`: everybody's reports count, nobody needs to be announced first.
    pub const fn new(title: TitleId, protected: bool, open: bool) -> Self {
        let protected = if protected { Self::PROTECTED } else { 0 };
        let open = if open { Self::OPEN } else { 0 };
        Self(Self::PRESENT | protected | open | title.0 as u32)
    }

    /// Whether there is a title at all.
    #[inline(always)]
    pub const fn is_present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// Whether the title's RTCP is SRTCP.
    #[inline(always)]
    pub const fn is_protected(self) -> bool {
        self.0 & Self::PROTECTED != 0
    }

    /// Whether receivers count without having been announced.
    #[inline(always)]
    pub const fn is_open(self) -> bool {
        self.0 & Self::OPEN != 0
    }

    /// The title.
    #[inline(always)]
    pub const fn title(self) -> TitleId {
        TitleId(self.0 as u16)
    }
}

/// A distance in routers, from the TTL or hop limit of what came by unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Hops(pub u8);

impl Hops {
    /// Not known: the packet came by multicast.
    pub const UNKNOWN: Self = Self(255);

    /// Senders begin with 32, 64, 128 or 255: the next of them minus what is left.
    #[inline(always)]
    pub const fn from_ttl(ttl: u8) -> Self {
        Self(match ttl {
            0..=32 => 32 - ttl,
            33..=64 => 64 - ttl,
            65..=128 => 128 - ttl,
            _ => 255 - ttl,
        })
    }

    /// The distance, if it is known.
    pub fn known(self) -> Option<u8> {
        (self != Self::UNKNOWN).then_some(self.0)
    }
}

/// Room for counters: a power of two, so that a masked index is always within.
pub const COUNTERS: usize = 128;

/// The one value of the per-CPU counter map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// The counters, by number of [`Reason`].
    pub counts: [u64; COUNTERS],
    /// The tick of the kernel in which `now` was asked for.
    pub tick: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC` in that tick.
    pub now: u64,
}

const _: () = assert!(Reason::COUNT <= COUNTERS);

/// What user space tells the program: one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Settings {
    /// The number of the interval that runs now. From 1 on; user space advances it.
    pub interval: u32,
    /// 1: swallow valid reports to feedback ports once they are counted.
    pub absorb: u32,
    /// The front door's TCP port: SYNs to it tell distances. 0: none.
    pub front_door: u32,
    /// Always zero.
    pub reserved: u32,
}

/// A receiver: who, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ReceiverKey {
    /// Where its reports come from.
    pub address: Address,
    /// The title it reports on.
    pub title: u32,
    /// The UDP port its reports come from.
    pub port: u16,
    /// Always zero.
    pub reserved: u16,
}

impl ReceiverKey {
    /// The key of a receiver.
    #[inline(always)]
    pub const fn new(title: TitleId, address: Address, port: u16) -> Self {
        Self { address, title: title.0 as u32, port, reserved: 0 }
    }
}

/// What is known of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Receiver {
    /// When its first report came, in nanoseconds of `CLOCK_MONOTONIC` (to a tick of the kernel).
    pub first: u64,
    /// When its last report came.
    pub last: u64,
    /// Its SSRC, by its last report; for a known receiver the one agreed on.
    pub ssrc: u32,
    /// How many reports came.
    pub reports: u32,
    /// The interval it was last counted in.
    pub interval: u32,
    /// Packets lost since it began (24 bits, signed, RFC 3550 6.4.1), if `flags` has `LOSS`.
    pub cumulative_lost: i32,
    /// The fraction lost, in 1/256, since its report before, if `flags` has `LOSS`.
    pub fraction_lost: u8,
    /// Its distance; [`Hops::UNKNOWN`] if it reports by multicast.
    pub hops: u8,
    /// `KNOWN`, `LOSS`, `LEFT`.
    pub flags: u8,
    /// Always zero.
    pub reserved: u8,
    /// The interarrival jitter in units of the RTP clock, if `flags` has `LOSS`.
    pub jitter: u32,
    /// The highest sequence number received, with its wraps in the upper half, if `flags` has `LOSS`.
    pub highest: u32,
    /// Always zero. With it, the kernel's entry is two cache lines and not a part of three.
    pub filler: [u32; 3],
}

impl Receiver {
    /// It was announced (or its title is open): it counts as a member.
    pub const KNOWN: u8 = 1;
    /// Its last report carried figures of loss that could be read.
    pub const LOSS: u8 = 2;
    /// It said BYE.
    pub const LEFT: u8 = 4;
    /// It was announced with an SSRC of its own, which its reports must carry.
    pub const AGREED: u8 = 8;
}

/// A receiver that user space has announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Expected {
    /// The SSRC its reports must carry, if `any_ssrc` is 0.
    pub ssrc: u32,
    /// 1: any SSRC will do (a stock player chooses its own).
    pub any_ssrc: u32,
}

/// How many intervals' statistics are kept: the running one, the one being read, and room for a late reader.
pub const INTERVAL_SLOTS: u32 = 4;

/// Distances that are counted one by one; the last one also counts all that lie farther.
pub const HOPS_BUCKETS: usize = 32;

/// One title's statistics for one interval, on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct TitleStats {
    /// The interval these figures belong to; another one than asked for: nothing was counted in that one.
    pub interval: u32,
    /// Distinct known receivers that reported.
    pub reporters: u32,
    /// Distinct others that reported.
    pub unsolicited: u32,
    /// Reports of known receivers.
    pub reports: u32,
    /// Reports of others.
    pub unsolicited_reports: u32,
    /// Known receivers that said BYE.
    pub byes: u32,
    /// Known reporters whose distance is not known (they report by multicast).
    pub hops_unknown: u32,
    /// Always zero.
    pub reserved: u32,
    /// Known reporters by distance.
    pub hops: [u32; HOPS_BUCKETS],
}

/// A group of ours: which title, and who joins and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct GroupState {
    /// The title that is sent to the group.
    pub title: TitleEntry,
    /// The group's RTCP port.
    pub rtcp_port: u16,
    /// The protocol versions seen: bit n for [`Protocol`](crate::membership::Protocol) n.
    pub versions: u16,
    /// Records that joined.
    pub joins: u64,
    /// Records that left.
    pub leaves: u64,
    /// Records that answered a query.
    pub presents: u64,
    /// When the last record that joined or answered came, in nanoseconds of `CLOCK_MONOTONIC`.
    pub last: u64,
}

/// A client's distance, by the TCP SYN of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Distance {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub last: u64,
    /// How far, in routers.
    pub hops: u32,
    /// Always zero.
    pub reserved: u32,
}

/// The querier last heard, one for IGMP (index 0) and one for MLD (index 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Querier {
    /// When its last query came, in nanoseconds of `CLOCK_MONOTONIC`. 0: never.
    pub last: u64,
    /// How many queries came.
    pub queries: u64,
    /// Its address.
    pub address: Address,
    /// The protocol and version it speaks, by number of [`Protocol`](crate::membership::Protocol).
    pub protocol: u32,
    /// The longest time it leaves hosts to answer: the code as it is on the wire.
    pub max_response: u32,
}

/// How many events a source may still make: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Tokens {
    /// When it was last filled, in nanoseconds of `CLOCK_MONOTONIC`.
    pub filled: u64,
    /// How many are left.
    pub left: u32,
    /// Always zero.
    pub reserved: u32,
}

impl Tokens {
    /// A source's burst.
    pub const BURST: u32 = 16;
    /// Time for one more, in nanoseconds.
    pub const REFILL: u64 = 250_000_000;
}

/// The names of the maps in the object.
pub mod maps {
    /// Per-CPU array of one [`Counters`](super::Counters).
    pub const COUNTERS: &str = "COUNTERS";
    /// Array of one [`Settings`](super::Settings).
    pub const SETTINGS: &str = "SETTINGS";
    /// Bitmap of UDP ports with anything of ours on them: array of 1024 `u64`.
    pub const PORTS: &str = "PORTS";
    /// Array of 65,536 [`TitleEntry`](super::TitleEntry) by feedback port.
    pub const FEEDBACK: &str = "FEEDBACK";
    /// Hash of [`GroupState`](super::GroupState) by group [`Address`](super::Address).
    pub const GROUPS: &str = "GROUPS";
    /// Least-recently-used hash of [`Receiver`](super::Receiver) by [`ReceiverKey`](super::ReceiverKey).
    pub const RECEIVERS: &str = "RECEIVERS";
    /// Hash of [`Expected`](super::Expected) by [`ReceiverKey`](super::ReceiverKey); port 0: any port.
    pub const EXPECTED: &str = "EXPECTED";
    /// Least-recently-used hash of [`Distance`](super::Distance) by [`Address`](super::Address).
    pub const DISTANCES: &str = "DISTANCES";
    /// Per-CPU array of [`TitleStats`](super::TitleStats): title × [`INTERVAL_SLOTS`](super::INTERVAL_SLOTS) + interval mod slots.
    pub const TITLE_STATS: &str = "TITLE_STATS";
    /// Array of two [`Querier`](super::Querier).
    pub const QUERIERS: &str = "QUERIERS";
    /// Ring buffer of [`Event`](crate::event::Event).
    pub const EVENTS: &str = "EVENTS";
    /// Least-recently-used hash of [`Tokens`](super::Tokens) by source [`Address`](super::Address).
    pub const SOURCES: &str = "SOURCES";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_the_next_usual_start_minus_what_is_left() {
        for (ttl, hops) in
            [(64, 0), (63, 1), (33, 31), (32, 0), (1, 31), (128, 0), (117, 11), (65, 63), (255, 0), (250, 5)]
        {
            assert_eq!(Hops::from_ttl(ttl), Hops(hops), "TTL {ttl}");
        }
    }

    #[test]
    fn an_address_survives_its_way_through_the_maps() {
        for text in ["10.77.0.1", "239.192.0.1", "fd77::1", "ff3e::8000:1"] {
            let ip: core::net::IpAddr = text.parse().expect("a literal");
            assert_eq!(Address::from(ip).ip(), ip);
            assert_eq!(Address::from(ip).is_group(), ip.is_multicast());
        }
    }

    #[test]
    fn an_entry_keeps_its_title_and_flags() {
        let entry = TitleEntry::new(TitleId(513), true, false);
        assert!(entry.is_present() && entry.is_protected() && !entry.is_open());
        assert_eq!(entry.title(), TitleId(513));
        assert!(!TitleEntry::default().is_present());
    }
}
