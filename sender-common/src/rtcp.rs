//! RTCP compound packets: walked packet by packet and checked as RFC 3550 A.2 asks, before anything of them counts.

use crate::{
    packet::{Packet, Span, be16, be32},
    reason::Reason,
};

/// As many packets of one compound are followed. A report, SDES, BYE and a few feedback messages are usual.
pub const MAX_PACKETS: usize = 16;

/// What comes behind the packets of an SRTCP compound at least: E flag and index, and an 80-bit tag (RFC 3711 3.4).
const SRTCP_TRAILER: usize = 4 + 10;

mod kind {
    pub(super) const SR: u8 = 200;
    pub(super) const RR: u8 = 201;
    pub(super) const SDES: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const APP: u8 = 204;
    pub(super) const RTPFB: u8 = 205;
    pub(super) const PSFB: u8 = 206;
    pub(super) const XR: u8 = 207;
    /// RFC 5760 and RFC 6284 name types up to here; beyond and below RTCP has none (RFC 5761 4 keeps 192–223 free of RTP).
    pub(super) const FIRST: u8 = 192;
    pub(super) const LAST: u8 = 223;
}

/// Loss as a report's first block tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The fraction lost since the report before, in 1/256.
    pub fraction: u8,
    /// Packets lost since the beginning; negative if there were duplicates.
    pub cumulative: i32,
}

/// A compound that has been found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compound {
    /// Who reports.
    pub ssrc: u32,
    /// It begins with a sender report.
    pub sender: bool,
    /// What the first report block says; `None` if there is none, or if it can't be read.
    pub loss: Option<Loss>,
    /// It says BYE for the reporter.
    pub bye: bool,
    /// It says BYE for somebody else.
    pub bye_other: bool,
    /// Packets of unknown type in it.
    pub unknown: u8,
}

/// Reads and checks a compound. Of a `protected` one (SRTCP) only the first 8 octets are in clear: it is right if they are
/// and if the first packet leaves room for the SRTCP trailer; loss and BYE stay unread.
#[inline(always)]
pub fn parse<'p, P: Packet<'p>>(packet: P, span: Span, protected: bool) -> Result<Compound, Reason> {
    let first = span.window::<8, P>(packet, 0).ok_or(Reason::RtcpShort)?;
    if first[0] >> 6 != 2 {
        return Err(Reason::RtcpVersion);
    }
    match first[1] {
        kind::SR | kind::RR => {}
        kind::FIRST..=kind::LAST => return Err(Reason::RtcpReduced),
        _ => return Err(Reason::RtcpType),
    }
    let sender = first[1] == kind::SR;
    let mut compound =
        Compound { ssrc: be32(first, 4), sender, loss: None, bye: false, bye_other: false, unknown: 0 };
    if protected {
        let declared = length(be16(first, 2));
        return match declared {
            _ if declared + SRTCP_TRAILER > span.len() => Err(Reason::RtcpLength),
            _ if declared < least(first[0], first[1]) => Err(Reason::RtcpCount),
            _ => Ok(compound),
        };
    }
    let count = first[0] & 31;
    let blocks = if sender { 28 } else { 8 };
    walk(packet, span, &mut compound)?;
    if count > 0 {
        let block = span.window::<8, P>(packet, blocks).ok_or(Reason::RtcpCount)?;
        // 24 bits with a sign.
        compound.loss = Some(Loss { fraction: block[4], cumulative: (be32(block, 4) << 8) as i32 >> 8 });
    }
    Ok(compound)
}

#[inline(always)]
fn length(words_less_one: u16) -> usize {
    (usize::from(words_less_one) + 1) * 4
}

/// The length that a packet of this type and count has at least.
#[inline(always)]
fn least(first: u8, kind: u8) -> usize {
    let count = usize::from(first & 31);
    match kind {
        kind::SR => 28 + count * 24,
        kind::RR => 8 + count * 24,
        // Each chunk: an SSRC and at least the zero that ends its items, filled up to 32 bits.
        kind::SDES => 4 + count * 8,
        kind::BYE => 4 + count * 4,
        kind::APP | kind::RTPFB | kind::PSFB => 12,
        kind::XR => 8,
        _ => 4,
    }
}

#[inline(always)]
fn walk<'p, P: Packet<'p>>(packet: P, span: Span, compound: &mut Compound) -> Result<(), Reason> {
    let mut rest = span;
    for _ in 0..MAX_PACKETS {
        let header = rest.window::<4, P>(packet, 0).ok_or(Reason::RtcpLength)?;
        if header[0] >> 6 != 2 {
            return Err(Reason::RtcpVersion);
        }
        let declared = length(be16(header, 2));
        let mut end = rest.at + declared;
        if end > rest.end {
            return Err(Reason::RtcpLength);
        }
        if header[0] & 0x20 != 0 {
            // Only the last packet may be padded, and the first one never is unless it is the last one too… which it
            // can't be: a compound has at least an SDES behind its report, or is one report without padding.
            if end != rest.end || rest.at == span.at {
                return Err(Reason::RtcpPadding);
            }
            let last = packet.window::<1>(end - 1).ok_or(Reason::RtcpLength)?;
            let padding = usize::from(last[0]);
            if padding == 0 || padding % 4 != 0 || padding > declared - 4 {
                return Err(Reason::RtcpPadding);
            }
            end -= padding;
        }
        if end - rest.at < least(header[0], header[1]) {
            return Err(Reason::RtcpCount);
        }
        match header[1] {
            kind::BYE if header[0] & 31 > 0 => {
                let ssrc = rest.window::<4, P>(packet, 4).ok_or(Reason::RtcpCount)?;
                if be32(ssrc, 0) == compound.ssrc {
                    compound.bye = true;
                } else {
                    compound.bye_other = true;
                }
            }
            kind::SR..=kind::XR => {}
            _ => compound.unknown = compound.unknown.wrapping_add(1),
        }
        rest.at += declared;
        if rest.at == rest.end {
            return Ok(());
        }
    }
    Err(Reason::RtcpPackets)
}
