//! A packet, from its first octet to what it means for us.

use crate::{
    layout::{Address, Hops, TitleEntry},
    membership::{self, Change, List, Query},
    network::{self, Ip, protocol},
    packet::{Packet, Span, be16},
    reason::Reason,
    rtcp::{self, Compound, Walked},
};

/// A receiver report that has been found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// On which title.
    pub title: TitleEntry,
    /// Whose.
    pub source: Address,
    /// From which port.
    pub port: u16,
    /// How far away; [`Hops::UNKNOWN`] if it came by multicast.
    pub hops: Hops,
    /// Whether it came to a feedback port (else by multicast, to a group).
    pub unicast: bool,
    /// What it says.
    pub compound: Compound,
}

/// What the parser asks, and whom it tells. The XDP program keeps maps behind it, a test a list.
pub trait Sink {
    /// Whether anything of ours may be on this UDP port. Asked for every UDP packet: must be quick.
    fn wants_port(&mut self, port: u16) -> bool;
    /// The title whose feedback port this is.
    fn feedback(&mut self, port: u16) -> TitleEntry;
    /// The title whose group and RTCP port this is.
    fn group(&mut self, group: &Address, port: u16) -> TitleEntry;
    /// Whether this is the front door's TCP port.
    fn is_front_door(&mut self, port: u16) -> bool;

    /// A valid receiver report came. Answers [`Reason::Report`] or [`Reason::ReportUnsolicited`].
    fn report(&mut self, report: &Report) -> Reason;
    /// A group is joined, left, or still wanted.
    fn change(&mut self, change: &Change);
    /// A querier asks.
    fn query(&mut self, query: &Query);
    /// A client's request shows how far away it is.
    fn distance(&mut self, source: &Address, hops: Hops);
    /// Counts what comes on top of the outcome.
    fn detail(&mut self, reason: Reason, count: u64);

    /// Reads an IGMP message. The XDP program has this done by a function of its own, which the verifier looks at once.
    #[inline(always)]
    fn igmp<'p, P: Packet<'p>>(&mut self, packet: P, ip: &Ip<'p>) -> Reason
    where
        Self: Sized,
    {
        membership::igmp(packet, ip, self)
    }

    /// Reads a UDP datagram to one of our ports, as [`Sink::igmp`] does.
    #[inline(always)]
    fn rtcp<'p, P: Packet<'p>>(&mut self, packet: P, ip: &Ip<'p>) -> Reason
    where
        Self: Sized,
    {
        rtcp(packet, ip, self)
    }

    /// Walks an RTCP compound, as [`Sink::igmp`] does.
    #[inline(always)]
    fn walk<'p, P: Packet<'p>>(&mut self, packet: P, span: Span, ssrc: u32) -> Walked
    where
        Self: Sized,
    {
        rtcp::walk(packet, span, ssrc)
    }

    /// Sums a message up for its checksum, as [`Sink::igmp`] does.
    #[inline(always)]
    fn checksum<'p, P: Packet<'p>>(&mut self, packet: P, span: Span, seed: u64) -> u64
    where
        Self: Sized,
    {
        membership::checksum(packet, span, seed)
    }

    /// Walks the records of a report, as [`Sink::igmp`] does. `N`: the length of an address, which tells IGMP from MLD.
    #[inline(always)]
    fn records<'p, const N: usize, P: Packet<'p>>(&mut self, packet: P, list: &List) -> Reason
    where
        Self: Sized,
    {
        membership::records::<N, P, Self>(packet, list, self)
    }

    /// Takes one record of such a list, as [`Sink::igmp`] does.
    #[inline(always)]
    fn step<'p, const N: usize, P: Packet<'p>>(&mut self, packet: P, rest: Span, source: Address, tell: bool) -> u32
    where
        Self: Sized,
    {
        membership::step::<N, P, Self>(packet, rest, source, tell, self)
    }

    /// Reads an ICMPv6 message, as [`Sink::igmp`] does.
    #[inline(always)]
    fn mld<'p, P: Packet<'p>>(&mut self, packet: P, ip: &Ip<'p>) -> Reason
    where
        Self: Sized,
    {
        membership::mld(packet, ip, self)
    }
}

/// Says what a packet is; exactly one outcome. What it means for us goes to the sink.
#[inline(always)]
pub fn inspect<'p, P: Packet<'p>, S: Sink>(packet: P, sink: &mut S) -> Reason {
    match network::parse(packet) {
        Ok(ip) => match ip.protocol {
            protocol::UDP => udp(packet, &ip, sink),
            protocol::TCP => tcp(packet, &ip, sink),
            protocol::IGMP if matches!(ip.header, network::Header::V4(_)) => sink.igmp(packet, &ip),
            protocol::ICMP6 => sink.mld(packet, &ip),
            _ => Reason::OtherProtocol,
        },
        Err(reason) => reason,
    }
}

#[inline(always)]
fn udp<'p, P: Packet<'p>, S: Sink>(packet: P, ip: &Ip<'p>, sink: &mut S) -> Reason {
    let Some(header) = ip.payload.window::<8, P>(packet, 0) else { return Reason::UdpShort };
    if sink.wants_port(be16(header, 2)) { sink.rtcp(packet, ip) } else { Reason::UdpForeign }
}

/// Reads a UDP datagram to one of our ports.
#[inline(always)]
pub fn rtcp<'p, P: Packet<'p>, S: Sink>(packet: P, ip: &Ip<'p>, sink: &mut S) -> Reason {
    let Some(header) = ip.payload.window::<8, P>(packet, 0) else { return Reason::UdpShort };
    let (port, to) = (be16(header, 0), be16(header, 2));
    let length = usize::from(be16(header, 4));
    if length < 8 || length > ip.payload.len() {
        return Reason::UdpShort;
    }
    let span = Span { at: ip.payload.at + 8, end: ip.payload.at + length };
    let unicast = !ip.is_multicast();
    let title = if unicast { sink.feedback(to) } else { sink.group(&ip.destination(), to) };
    if !title.is_present() {
        return Reason::UdpForeignGroup;
    }
    if !ip.checksum_holds(packet) {
        return Reason::IpChecksum;
    }
    match rtcp::parse(packet, span, title.is_protected(), sink) {
        Ok(compound) => {
            if compound.unknown {
                sink.detail(Reason::RtcpUnknown, 1);
            }
            if compound.bye_other {
                sink.detail(Reason::ByeOther, 1);
            }
            if compound.sender {
                return Reason::SenderReport;
            }
            let hops = if unicast { Hops::from_ttl(ip.ttl) } else { Hops::UNKNOWN };
            sink.report(&Report { title, source: ip.source(), port, hops, unicast, compound })
        }
        Err(reason) => reason,
    }
}

#[inline(always)]
fn tcp<'p, P: Packet<'p>, S: Sink>(packet: P, ip: &Ip<'p>, sink: &mut S) -> Reason {
    let Some(header) = ip.payload.window::<20, P>(packet, 0) else { return Reason::TcpShort };
    // SYN without ACK.
    if header[13] & 0x12 != 0x02 || !sink.is_front_door(be16(header, 2)) {
        return Reason::TcpForeign;
    }
    if ip.is_multicast() || !ip.checksum_holds(packet) {
        return Reason::IpChecksum;
    }
    sink.distance(&ip.source(), Hops::from_ttl(ip.ttl));
    Reason::FrontDoorSyn
}
