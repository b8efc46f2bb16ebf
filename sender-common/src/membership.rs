//! IGMPv1 to v3 and MLDv1 and v2: who joins and leaves which group. A message is checked to its end before any record counts.

use crate::{
    inspect::Sink,
    layout::Address,
    network::{Header, Ip, fold},
    packet::{Packet, Span, be16, be32},
    reason::Reason,
};

/// As many records of one report are looked at; what lies beyond is counted as excess and not checked.
pub const MAX_RECORDS: usize = 64;

/// Checksums are checked of messages up to this length in octets. A longer one is taken as it is, and counted so: the
/// checksum guards against accidents, not against forgers, and nothing but IGMP and MLD itself gets worse by it.
pub const MAX_CHECKED: usize = 512;

/// The protocols and versions, with the numbers that the maps and events use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 1112.
    Igmp1 = 1,
    /// RFC 2236.
    Igmp2 = 2,
    /// RFC 3376.
    Igmp3 = 3,
    /// RFC 2710.
    Mld1 = 4,
    /// RFC 3810.
    Mld2 = 5,
}

impl Protocol {
    /// The protocol with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Igmp1,
            2 => Self::Igmp2,
            3 => Self::Igmp3,
            4 => Self::Mld1,
            5 => Self::Mld2,
            _ => return None,
        })
    }
}

/// What a record means for its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Meaning {
    /// The host wants the group now: a change.
    Join = 1,
    /// The host doesn't want it any more (or blocks a source: with source-specific groups that is the same).
    Leave = 2,
    /// The host wants it still: the answer to a query.
    Present = 3,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who says so; may be the unspecified address (a proxy, a switch).
    pub source: Address,
    /// Of which group.
    pub group: Address,
    /// In which protocol.
    pub protocol: Protocol,
    /// What.
    pub meaning: Meaning,
}

/// A query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The querier; 0.0.0.0 is none (a switch that asks without being one).
    pub source: Address,
    /// In which protocol.
    pub protocol: Protocol,
    /// The longest time left to answer, as on the wire.
    pub max_response: u16,
}

/// Reads an IGMP message.
#[inline(always)]
pub fn igmp<'p, P: Packet<'p>, S: Sink>(packet: P, ip: &Ip<'p>, sink: &mut S) -> Reason {
    let span = ip.payload;
    let Some(head) = span.window::<8, P>(packet, 0) else { return Reason::IgmpShort };
    if !matches!(head[0], 0x11 | 0x12 | 0x16 | 0x17 | 0x22) {
        return Reason::IgmpOther;
    }
    if ip.ttl != 1 {
        return Reason::IgmpOffLink;
    }
    if !ip.checksum_holds(packet) {
        return Reason::IpChecksum;
    }
    if !checksum_holds(packet, span, 0, sink) {
        return Reason::IgmpChecksum;
    }
    let source = ip.source();
    let group = Address::v4([head[4], head[5], head[6], head[7]]);
    let (protocol, meaning, reason) = match head[0] {
        0x11 => return igmp_query(span, head, source, sink),
        0x12 => (Protocol::Igmp1, Meaning::Join, Reason::IgmpV1Report),
        0x16 => (Protocol::Igmp2, Meaning::Join, Reason::IgmpV2Report),
        0x17 => (Protocol::Igmp2, Meaning::Leave, Reason::IgmpV2Leave),
        _ => {
            let list = List { span: Span { at: span.at + 8, end: span.end }, count: be16(head, 6), source };
            return match list.count {
                1 => one_record::<4, P, S>(packet, &list, sink),
                _ => sink.records::<4, P>(packet, &list),
            };
        }
    };
    if !group.is_group() {
        return Reason::IgmpAddress;
    }
    sink.change(&Change { source, group, protocol, meaning });
    reason
}

#[inline(always)]
fn igmp_query<S: Sink>(span: Span, head: &[u8; 8], source: Address, sink: &mut S) -> Reason {
    let protocol = match (span.len(), head[1]) {
        (8, 0) => Protocol::Igmp1,
        (8, _) => Protocol::Igmp2,
        (12.., _) => Protocol::Igmp3,
        // RFC 3376 7.1: of any other length, to be ignored.
        _ => return Reason::IgmpShort,
    };
    sink.query(&Query { source, protocol, max_response: u16::from(head[1]) });
    Reason::IgmpQuery
}

/// Reads an ICMPv6 message, as far as it is MLD.
#[inline(always)]
pub fn mld<'p, P: Packet<'p>, S: Sink>(packet: P, ip: &Ip<'p>, sink: &mut S) -> Reason {
    let span = ip.payload;
    let Some(head) = span.window::<8, P>(packet, 0) else { return Reason::Icmp6Short };
    if !matches!(head[0], 130..=132 | 143) {
        return Reason::Icmp6Other;
    }
    let Header::V6(header) = ip.header else { return Reason::Icmp6Other };
    // RFC 3810 5.1.14, 5.2.13: fe80::/10 or, while an address is still being chosen, ::.
    let source = ip.source();
    let link_local = header[8] == 0xfe && header[9] & 0xc0 == 0x80;
    if ip.ttl != 1 || !(link_local || source == Address::UNSPECIFIED) {
        return Reason::MldOffLink;
    }
    if !checksum_holds(packet, span, pseudo_header(header, span.len()), sink) {
        return Reason::MldChecksum;
    }
    if head[0] == 143 {
        let list = List { span: Span { at: span.at + 8, end: span.end }, count: be16(head, 6), source };
        return match list.count {
            1 => one_record::<16, P, S>(packet, &list, sink),
            _ => sink.records::<16, P>(packet, &list),
        };
    }
    let Some(group) = span.window::<16, P>(packet, 8) else { return Reason::Icmp6Short };
    let group = Address::v6(*group);
    let (meaning, reason) = match head[0] {
        130 => {
            let protocol = if span.len() >= 28 { Protocol::Mld2 } else { Protocol::Mld1 };
            sink.query(&Query { source, protocol, max_response: be16(head, 4) });
            return Reason::MldQuery;
        }
        131 => (Meaning::Join, Reason::MldV1Report),
        _ => (Meaning::Leave, Reason::MldV1Done),
    };
    if !group.is_group() {
        return Reason::MldAddress;
    }
    sink.change(&Change { source, group, protocol: Protocol::Mld1, meaning });
    reason
}

/// The records of an IGMPv3 or MLDv2 report, and whose they are.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// Where they lie.
    pub span: Span,
    /// How many there are said to be.
    pub count: u16,
    /// Who sent them.
    pub source: Address,
}

/// Set in the answer of [`step`] when the record is wrong: the reason's number is below it.
const WRONG: u32 = 1 << 31;

/// Walks the list twice: once to see that all of it is right, once to tell. `N` is the length of an address.
#[inline(always)]
pub fn records<'p, const N: usize, P: Packet<'p>, S: Sink>(packet: P, list: &List, sink: &mut S) -> Reason {
    let count = usize::from(list.count);
    for tell in [false, true] {
        let mut rest = list.span;
        for n in 0..MAX_RECORDS {
            if n >= count {
                break;
            }
            let next = sink.step::<N, P>(packet, rest, list.source, tell);
            if next & WRONG != 0 {
                return Reason::from_number(next & 0xff);
            }
            rest.at = next as usize;
        }
    }
    if count > MAX_RECORDS {
        sink.detail(Reason::RecordsExcess, (count - MAX_RECORDS) as u64);
    }
    if N == 4 { Reason::IgmpV3Report } else { Reason::MldV2Report }
}

/// Takes the first record of `rest`, checks it and, if asked to, tells it. Answers where the next one begins. One number, so
/// that it can be the answer of a BPF function.
#[inline(always)]
pub fn step<'p, const N: usize, P: Packet<'p>, S: Sink>(
    packet: P,
    mut rest: Span,
    source: Address,
    tell: bool,
    sink: &mut S,
) -> u32 {
    let is_igmp = N == 4;
    let wrong = |igmp: Reason, mld: Reason| WRONG | if is_igmp { igmp as u32 } else { mld as u32 };
    let Some(record) = record::<N, P>(packet, &mut rest) else { return wrong(Reason::IgmpShort, Reason::Icmp6Short) };
    if !matches!(record.kind, 1..=6) {
        return wrong(Reason::IgmpRecord, Reason::MldRecord);
    }
    if !record.group.is_group() {
        return wrong(Reason::IgmpAddress, Reason::MldAddress);
    }
    if tell && let Some(meaning) = meaning(record.kind, record.sources) {
        let protocol = if is_igmp { Protocol::Igmp3 } else { Protocol::Mld2 };
        sink.change(&Change { source, group: record.group, protocol, meaning });
    }
    rest.at as u32
}

struct Record {
    kind: u8,
    sources: u16,
    group: Address,
}

/// Takes one record off the list; `None` where it is cut off.
#[inline(always)]
fn record<'p, const N: usize, P: Packet<'p>>(packet: P, rest: &mut Span) -> Option<Record> {
    let head = rest.window::<4, P>(packet, 0)?;
    let group = rest.window::<N, P>(packet, 4)?;
    let sources = be16(head, 2);
    rest.at += 4 + N + usize::from(sources) * N + usize::from(head[1]) * 4;
    if rest.at > rest.end {
        return None;
    }
    let group =
        if N == 4 { Address::v4([group[0], group[1], group[2], group[3]]) } else { Address::v6(*group.first_chunk()?) };
    Some(Record { kind: head[0], sources, group })
}

/// RFC 3376 4.2.12, RFC 3810 5.2.12.
#[inline(always)]
fn meaning(kind: u8, sources: u16) -> Option<Meaning> {
    match (kind, sources) {
        // MODE_IS_INCLUDE with sources, MODE_IS_EXCLUDE.
        (1, 1..) | (2, _) => Some(Meaning::Present),
        // CHANGE_TO_INCLUDE nothing; BLOCK_OLD_SOURCES.
        (3, 0) | (6, 1..) => Some(Meaning::Leave),
        // CHANGE_TO_INCLUDE sources, CHANGE_TO_EXCLUDE, ALLOW_NEW_SOURCES.
        (3, _) | (4, _) | (5, 1..) => Some(Meaning::Join),
        _ => None,
    }
}

/// The report of a host that changes one group, as nearly all are.
#[inline(always)]
fn one_record<'p, const N: usize, P: Packet<'p>, S: Sink>(packet: P, list: &List, sink: &mut S) -> Reason {
    match step::<N, P, S>(packet, list.span, list.source, true, sink) {
        wrong if wrong & WRONG != 0 => Reason::from_number(wrong & 0xff),
        _ if N == 4 => Reason::IgmpV3Report,
        _ => Reason::MldV2Report,
    }
}

#[inline(always)]
fn pseudo_header(header: &[u8; 40], length: usize) -> u64 {
    let mut sum = length as u64 + 58;
    for word in 2..10 {
        sum += u64::from(be32(header, word * 4));
    }
    sum
}

/// Whether the message's checksum is right, or the message too long to find out.
#[inline(always)]
fn checksum_holds<'p, P: Packet<'p>, S: Sink>(packet: P, span: Span, seed: u64, sink: &mut S) -> bool {
    if span.len() > MAX_CHECKED {
        sink.detail(Reason::ChecksumUnchecked, 1);
        return true;
    }
    // A message of one record without sources, in one go.
    if span.len() == 16
        && let Some(m) = span.window::<16, P>(packet, 0)
    {
        let sum = u64::from(be32(m, 0)) + u64::from(be32(m, 4)) + u64::from(be32(m, 8)) + u64::from(be32(m, 12));
        return fold(seed + sum) == 0xffff;
    }
    sink.checksum(packet, span, seed) == 0xffff
}

/// The ones'-complement sum of a message of up to [`MAX_CHECKED`] octets, begun with `seed`.
#[inline(always)]
pub fn checksum<'p, P: Packet<'p>>(packet: P, span: Span, seed: u64) -> u64 {
    let mut sum = seed;
    let mut rest = span;
    for _ in 0..MAX_CHECKED / 4 {
        let Some(word) = rest.window::<4, P>(packet, 0) else { break };
        sum += u64::from(be32(word, 0));
        rest.at += 4;
    }
    // Up to three octets are left of an odd length.
    for shift in [24, 16, 8] {
        let Some(octet) = rest.window::<1, P>(packet, 0) else { break };
        sum += u64::from(octet[0]) << shift;
        rest.at += 1;
    }
    fold(sum)
}
