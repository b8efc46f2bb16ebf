//! The types a valid value becomes. None of them can hold an invalid one.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU8,
    str::FromStr,
};

use super::{problem::Fault, units::Nanos};

/// Defines an enum that is written as one of a few words in the configuration.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            const WORDS: &'static [(&'static str, $name)] = &[$(($word, $name::$variant)),+];

            /// As written in the configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = Fault;
            fn from_str(text: &str) -> Result<$name, Fault> {
                word(text, $name::WORDS)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    let near = nearest(text, words.iter().map(|(word, _)| *word));
    let near = near.map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
    Err(Fault::new(format!("this word is not known here{near}"), format!("use one of {}", known.join(", "))))
}

/// The known word that is spelt most like `text`, if one is near.
pub(super) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    known
        .filter(|word| strsim::jaro_winkler(&text, word) > 0.8 || strsim::osa_distance(&text, word) == 1)
        .max_by(|a, b| strsim::jaro_winkler(&text, a).total_cmp(&strsim::jaro_winkler(&text, b)))
}

words! {
    /// How packets get to the NIC.
    XskMode {
        /// AF_XDP, zero-copy where the driver can, else copy, else plain sockets; says which.
        Auto = "auto",
        /// AF_XDP zero-copy or nothing.
        ZeroCopy = "zero-copy",
        /// AF_XDP in copy mode.
        Copy = "copy",
        /// Plain UDP sockets with sendmmsg.
        Socket = "socket",
    }
}

words! {
    /// How the counting XDP program is attached to the interface.
    XdpAttach {
        /// By the driver.
        Native = "native",
        /// By the kernel, after an skb was made: works everywhere, slower.
        Generic = "generic",
        /// Not at all: nothing is counted.
        Off = "off",
    }
}

words! {
    /// When this box is the network's IGMP and MLD querier.
    Querier {
        /// If no other was heard for 255 s.
        Auto = "auto",
        /// From the start, until one with a lower address is heard.
        On = "on",
        /// Never.
        Off = "off",
    }
}

words! {
    /// Whether packet memory is backed by huge pages.
    HugePages {
        /// Where there are free ones.
        Auto = "auto",
        /// Or not start.
        On = "on",
        /// Never.
        Off = "off",
    }
}

words! {
    /// The least important messages that are logged.
    LogLevel {
        /// What stops the box from doing its work.
        Error = "error",
        /// What an operator should look at.
        Warn = "warn",
        /// Changes of state.
        Info = "info",
        /// Why things are as they are.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

/// A network interface's name: 1 to 15 bytes, no slash, no blank (`dev_valid_name` in net/core/dev.c).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The longest name the kernel takes (IFNAMSIZ without its end mark).
    pub const MAX_LEN: usize = 15;

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = Fault;
    fn from_str(text: &str) -> Result<InterfaceName, Fault> {
        let remedy = "give the name as `ip link` shows it, like \"eth1\"";
        if text.len() > InterfaceName::MAX_LEN {
            return Err(Fault::new(
                format!("{} bytes are too long, an interface name has at most 15", text.len()),
                remedy,
            ));
        }
        if text.is_empty()
            || text == "."
            || text == ".."
            || text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0')
        {
            return Err(Fault::new("this can't be the name of an interface", remedy));
        }
        Ok(InterfaceName(text.to_owned()))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A title's name: part of URLs, file names and metrics, so 1 to 64 of `A–Z a–z 0–9 . _ -`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TitleName(String);

impl TitleName {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TitleName {
    type Err = Fault;
    fn from_str(text: &str) -> Result<TitleName, Fault> {
        let fine = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if fine {
            Ok(TitleName(text.to_owned()))
        } else {
            Err(Fault::new(
                "this can't be a title's name",
                "use 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit",
            ))
        }
    }
}

impl fmt::Display for TitleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A multicast address that routers forward: what a copy can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupAddress(IpAddr);

/// What an Ethernet switch sees of a group: two groups with the same one can't be told apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupMac {
    /// Low 23 bits of an IPv4 group (RFC 1112 §6.4).
    V4(u32),
    /// Low 32 bits of an IPv6 group (RFC 2464 §7).
    V6(u32),
}

impl GroupAddress {
    /// Refuses what isn't multicast and what no router forwards, with the reason.
    pub fn new(address: IpAddr) -> Result<GroupAddress, Fault> {
        const REMEDY: &str = "take one from 239.192.0.0/14 (or 232.0.0.0/8 source-specific), or ff15::8000:0/97 (or ff3e::8000:0/97 source-specific)";
        let refuse = |what: String| Err(Fault::new(what, REMEDY));
        match address {
            _ if !address.is_multicast() => {
                refuse(format!("{address} is outside the multicast range (224.0.0.0/4, ff00::/8)"))
            }
            IpAddr::V4(v4) if v4.octets()[..3] == [224, 0, 0] => refuse(format!(
                "{address} is in 224.0.0.0/24, kept for protocols of the local link: routers never forward it"
            )),
            IpAddr::V6(v6) => match v6.octets()[1] & 0x0f {
                0x1 => refuse(format!("{address} is interface-local (ff01::/16): it never leaves the box")),
                0x2 => refuse(format!("{address} is link-local (ff02::/16): routers never forward it")),
                0x0 | 0xf => refuse(format!("{address} has a reserved scope (RFC 4291 §2.7)")),
                _ => Ok(GroupAddress(address)),
            },
            IpAddr::V4(_) => Ok(GroupAddress(address)),
        }
    }

    /// As an address.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// What an Ethernet switch sees of it.
    #[must_use]
    pub fn mac(self) -> GroupMac {
        match self.0 {
            IpAddr::V4(v4) => GroupMac::V4(v4.to_bits() & 0x7f_ffff),
            IpAddr::V6(v6) => GroupMac::V6((v6.to_bits() & 0xffff_ffff) as u32),
        }
    }

    /// The address `n` further on, where that is a group too.
    #[must_use]
    pub fn following(self, n: u32) -> Option<GroupAddress> {
        let next = match self.0 {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().checked_add(n)?)),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().checked_add(u128::from(n))?)),
        };
        GroupAddress::new(next).ok()
    }
}

impl FromStr for GroupAddress {
    type Err = Fault;
    fn from_str(text: &str) -> Result<GroupAddress, Fault> {
        let address = text.parse().map_err(|_| {
            Fault::new("this is no IP address", "write a group like \"239.192.0.1\" or \"ff15::8000:1\"")
        })?;
        GroupAddress::new(address)
    }
}

impl fmt::Display for GroupAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Time between neighbouring copies of a title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stagger {
    /// The loop's duration divided by the number of copies.
    Auto,
    /// This much; zero sends all copies at the same time.
    Every(Nanos),
}

impl FromStr for Stagger {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Stagger, Fault> {
        if text == "auto" {
            return Ok(Stagger::Auto);
        }
        text.parse().map(Stagger::Every).map_err(|Fault { what, .. }| {
            Fault::new(what, "write \"auto\" (duration of the loop / copies), a time like \"2.5s\", or 0")
        })
    }
}

impl fmt::Display for Stagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stagger::Auto => f.pad("auto"),
            Stagger::Every(time) => time.fmt(f),
        }
    }
}

/// IPv4 TTL / IPv6 hop limit of what is sent: 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl(NonZeroU8);

impl Ttl {
    /// From a number.
    pub fn new(ttl: i64) -> Result<Ttl, Fault> {
        let fits = u8::try_from(ttl).ok().and_then(NonZeroU8::new);
        let what = if ttl == 0 { "a packet with TTL 0 never leaves the box" } else { "this is no TTL" };
        fits.map(Ttl).ok_or_else(|| Fault::new(what, "use 1 (this network only) to 255; each router takes one off"))
    }

    /// As the header's byte.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0.get()
    }
}

/// Differentiated services code point, 0 to 63 (RFC 2474).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dscp(u8);

impl Dscp {
    /// From a number.
    pub fn new(dscp: i64) -> Result<Dscp, Fault> {
        u8::try_from(dscp)
            .ok()
            .filter(|dscp| *dscp < 64)
            .map(Dscp)
            .ok_or_else(|| Fault::new("a DSCP has 6 bits", "use 0 to 63, like 34 (AF41, video) or 0 (best effort)"))
    }

    /// The code point.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Up to two VLAN identifiers, the outer one first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Vlans(Vec<u16>);

impl Vlans {
    /// From a list of numbers.
    pub fn new(ids: &[i64]) -> Result<Vlans, Fault> {
        const REMEDY: &str =
            "write [] for none, [100] for one 802.1Q tag, [100, 200] for QinQ with the outer tag first";
        if ids.len() > 2 {
            return Err(Fault::new(format!("{} tags are more than Ethernet's two", ids.len()), REMEDY));
        }
        let ids = ids.iter().map(|&id| match u16::try_from(id) {
            Ok(small @ 1..=4094) => Ok(small),
            _ => Err(Fault::new(format!("{id} is no VLAN identifier (1 to 4094)"), REMEDY)),
        });
        ids.collect::<Result<_, _>>().map(Vlans)
    }

    /// The identifiers, the outer one first.
    #[must_use]
    pub fn ids(&self) -> &[u16] {
        &self.0
    }

    /// The tags as they stand in the frame: (TPID, TCI) with the given priority. The outer of two is an 802.1ad one.
    #[must_use]
    pub fn tags(&self, priority: u8) -> Vec<(u16, u16)> {
        let outer = if self.0.len() == 2 { 0x88a8 } else { 0x8100 };
        let tpids = [outer, 0x8100];
        self.0.iter().zip(tpids).map(|(&id, tpid)| (tpid, u16::from(priority & 7) << 13 | id)).collect()
    }
}

/// The media port of a title, even: RTCP is the port after it (RFC 3550 §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RtpPort(u16);

impl RtpPort {
    /// From a number.
    pub fn new(port: i64) -> Result<RtpPort, Fault> {
        let number = port_number(port)?;
        if number.is_multiple_of(2) {
            return Ok(RtpPort(number));
        }
        Err(Fault::new(
            format!("{number} is odd, but RTP takes the even port and RTCP the next one"),
            format!("use {} or another even port", number - 1),
        ))
    }

    /// RTP's port.
    #[must_use]
    pub fn rtp(self) -> u16 {
        self.0
    }

    /// RTCP's port.
    #[must_use]
    pub fn rtcp(self) -> u16 {
        self.0 + 1
    }
}

/// A UDP port that an ordinary service can have: 1024 to 65535.
pub(super) fn port_number(port: i64) -> Result<u16, Fault> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port >= 1024)
        .ok_or_else(|| Fault::new("this is no port for media or reports", "use 1024 to 65535"))
}

/// RTCP canonical name (RFC 3550 §6.5.1): 1 to 255 bytes of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cname(String);

impl Cname {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cname {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Cname, Fault> {
        if (1..=255).contains(&text.len()) && !text.contains(char::is_control) {
            Ok(Cname(text.to_owned()))
        } else {
            Err(Fault::new(
                "a CNAME has 1 to 255 bytes and no control characters",
                "write one like \"sender@box1.example\"",
            ))
        }
    }
}

/// Where the sending threads run, one per queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cpus {
    /// The last CPUs the process may use, one per queue.
    Auto,
    /// Not pinned.
    Off,
    /// One for each queue, in the same order.
    Pinned(Vec<usize>),
}
