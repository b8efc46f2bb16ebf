//! The peer's book: every frame that came out of the guest's NIC, and whether it was what should have come.
//!
//! A packet is a pure function of its index, so the peer makes each one itself and compares all of it.

use std::{collections::HashMap, fmt, net::Ipv4Addr};

use anyhow::Result;
use sender::{
    packet::{Stream, multicast_mac, ones_complement_sum},
    srtp::PacketIndex,
};

use super::title::{self, COPIES, PRODUCT_GROUP, RTP_PORT, STREAMS};

/// Ethernet, IPv4 without options, UDP.
const HEADERS: usize = 14 + 20 + 8;
/// Where datagrams of plain sockets go, in IPv6.
pub(crate) const PLAIN_PORT: u16 = 5999;

/// What came, in figures. `Display` and `parse` are the line the guest gets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Figures {
    /// RTP packets, bad ones included.
    pub(crate) packets: u64,
    /// Of these, those that were not what they should have been: a header, a checksum or a byte of content.
    pub(crate) corrupt: u64,
    /// Came more than once.
    pub(crate) doubled: u64,
    /// Came behind a later one.
    pub(crate) disordered: u64,
    /// Did not come though a later one did.
    pub(crate) missing: u64,
    /// RTCP packets.
    pub(crate) reports: u64,
    /// RTP packets of the program `sender`.
    pub(crate) product: u64,
    /// Datagrams of plain sockets.
    pub(crate) plain: u64,
    /// What else the guest's kernel sent (neighbour discovery and such).
    pub(crate) other: u64,
}

impl Figures {
    /// Nothing wrong with any of them.
    pub(crate) fn flawless(&self) -> bool {
        self.corrupt + self.doubled + self.disordered + self.missing == 0
    }

    fn fields(&mut self) -> [(&'static str, &mut u64); 9] {
        [
            ("packets", &mut self.packets),
            ("corrupt", &mut self.corrupt),
            ("doubled", &mut self.doubled),
            ("disordered", &mut self.disordered),
            ("missing", &mut self.missing),
            ("reports", &mut self.reports),
            ("product", &mut self.product),
            ("plain", &mut self.plain),
            ("other", &mut self.other),
        ]
    }

    /// Reads what `Display` wrote.
    pub(crate) fn parse(line: &str) -> Option<Figures> {
        let mut figures = Figures::default();
        for word in line.split_whitespace() {
            let (name, value) = word.split_once('=')?;
            let value = value.parse().ok()?;
            figures.fields().into_iter().filter(|(field, _)| *field == name).for_each(|(_, field)| *field = value);
        }
        Some(figures)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copy = *self;
        let words: Vec<_> = copy.fields().iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&words.join(" "))
    }
}

/// The book.
pub(crate) struct Ledger {
    streams: Vec<Stream>,
    copies: Vec<Copy>,
    figures: Figures,
    expected: Vec<u8>,
    /// The last sequence number of each of the program's groups.
    product: HashMap<Ipv4Addr, u16>,
}

/// One copy's packets, by how far they are from its first.
#[derive(Clone, Default)]
struct Copy {
    seen: Vec<bool>,
}

impl Ledger {
    pub(crate) fn new() -> Result<Ledger> {
        let media = title::media()?;
        let streams: Vec<Stream> = (0..STREAMS).map(|number| title::stream(number, media.clone())).collect();
        let expected = vec![0; streams.iter().map(Stream::max_len).max().unwrap_or_default()];
        let copies = vec![Copy::default(); usize::from(STREAMS) * usize::from(COPIES)];
        Ok(Ledger { streams, copies, figures: Figures::default(), expected, product: HashMap::new() })
    }

    /// Begins anew: all copies start at their first packet again.
    pub(crate) fn reset(&mut self) {
        self.figures = Figures::default();
        self.copies.fill(Copy::default());
        self.product.clear();
    }

    /// What came so far.
    pub(crate) fn figures(&self) -> Figures {
        let missing = |copy: &Copy| copy.seen.iter().filter(|seen| !**seen).count() as u64;
        Figures { missing: self.copies.iter().map(missing).sum(), ..self.figures }
    }

    /// Enters one frame.
    pub(crate) fn enter(&mut self, frame: &[u8]) {
        match udp(frame) {
            Some((group, RTP_PORT)) if group.octets()[1] == PRODUCT_GROUP.octets()[1] => {
                self.enter_product(frame, group)
            }
            Some((group, RTP_PORT)) => {
                self.figures.packets += 1;
                match self.recognise(frame, group) {
                    Some((copy, at)) => self.book(copy, at),
                    None => self.figures.corrupt += 1,
                }
            }
            Some((_, port)) if port == RTP_PORT + 1 => self.figures.reports += 1,
            _ if is_plain(frame) => self.figures.plain += 1,
            _ => self.figures.other += 1,
        }
    }

    /// A packet of the program `sender`: its headers must be right, and it must follow the last one of its group.
    fn enter_product(&mut self, frame: &[u8], group: Ipv4Addr) {
        self.figures.product += 1;
        self.figures.corrupt += u64::from(!headers_are_right(frame, group) || frame.len() < HEADERS + 12);
        let sequence = frame.get(HEADERS + 2..HEADERS + 4).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        let last = self.product.insert(group, sequence);
        self.figures.disordered += u64::from(last.is_some_and(|last| sequence != last.wrapping_add(1)));
    }

    /// Which packet of which copy this is, if every bit of it is right.
    fn recognise(&mut self, frame: &[u8], group: Ipv4Addr) -> Option<(usize, usize)> {
        let (number, copy) = title::copy_of(group)?;
        let stream = &self.streams[usize::from(number)];
        let copy = usize::from(number) * usize::from(COPIES) + usize::from(copy);
        if !headers_are_right(frame, group) {
            return None;
        }
        let packet = &frame[HEADERS..];
        let sequence = u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]);
        let first = stream.first_index().get();
        let next = first + self.copies[copy].seen.len() as u64;
        let distance = sequence.wrapping_sub(next as u16).cast_signed();
        let index = next.checked_add_signed(i64::from(distance)).filter(|index| *index >= first)?;
        let place = stream.locate(PacketIndex::new(index))?;
        let len = stream.write(PacketIndex::new(index), place, &mut self.expected);
        (packet == &self.expected[..len]).then_some((copy, (index - first) as usize))
    }

    fn book(&mut self, copy: usize, at: usize) {
        let seen = &mut self.copies[copy].seen;
        if at >= seen.len() {
            seen.resize(at + 1, false);
        } else if seen[at] {
            self.figures.doubled += 1;
        } else {
            self.figures.disordered += 1;
        }
        seen[at] = true;
    }
}

/// Destination of an IPv4 UDP packet.
fn udp(frame: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let is_udp = frame.len() >= HEADERS && frame[12..15] == [0x08, 0x00, 0x45] && frame[23] == 17;
    let group = Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(30..34)?).ok()?);
    is_udp.then(|| (group, u16::from_be_bytes([frame[36], frame[37]])))
}

/// Whether this is a datagram of a plain socket: IPv6, UDP, the port.
fn is_plain(frame: &[u8]) -> bool {
    frame.len() >= 62 && frame[12..14] == [0x86, 0xdd] && frame[20] == 17 && frame[56..58] == PLAIN_PORT.to_be_bytes()
}

/// Lengths, checksums and the Ethernet address of the group.
fn headers_are_right(frame: &[u8], group: Ipv4Addr) -> bool {
    let be16 = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let mac = multicast_mac(group.into()).is_some_and(|mac| frame[..6] == mac.0);
    let lengths = usize::from(be16(16)) == frame.len() - 14 && usize::from(be16(38)) == frame.len() - 34;
    let header = ones_complement_sum(&frame[14..34]) == 0xffff;
    let pseudo = u32::from(ones_complement_sum(&frame[26..34])) + 17 + u32::from(be16(38));
    let sum = pseudo + u32::from(ones_complement_sum(&frame[34..]));
    let folded = (sum & 0xffff) + (sum >> 16);
    mac && lengths && header && folded % 0xffff == 0 && be16(40) != 0
}
