//! RTCP compound packets: walked packet by packet and checked as RFC 3550 A.2 asks, before anything of them counts.

use crate::{
    inspect::Sink,
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
    /// The highest sequence number received, with its wraps in the upper half.
    pub highest: u32,
    /// The interarrival jitter in units of the RTP clock.
    pub jitter: u32,
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
    /// There are packets of unknown type in it.
    pub unknown: bool,
}

/// Reads and checks a compound. Of a `protected` one (SRTCP) only the first 8 octets are in clear: it is right if they are
/// and if the first packet leaves room for the SRTCP trailer; loss and BYE stay unread.
#[inline(always)]
pub fn parse<'p, P: Packet<'p>, S: Sink>(
    packet: P,
    span: Span,
    protected: bool,
    sink: &mut S,
) -> Result<Compound, Reason> {
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
        Compound { ssrc: be32(first, 4), sender, loss: None, bye: false, bye_other: false, unknown: false };
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
    if !is_usual(packet, span, first) {
        sink.walk(packet, span, compound.ssrc).into_compound(&mut compound)?;
    }
    if count > 0 {
        let block = span.window::<16, P>(packet, blocks).ok_or(Reason::RtcpCount)?;
        compound.loss = Some(Loss {
            fraction: block[4],
            // 24 bits with a sign.
            cumulative: (be32(block, 4) << 8) as i32 >> 8,
            highest: be32(block, 8),
            jitter: be32(block, 12),
        });
    }
    Ok(compound)
}

/// Whether the compound is what nearly all are: a report, an SDES, nothing else, no padding, all lengths right. Says no when
/// in doubt: the walk decides then.
#[inline(always)]
fn is_usual<'p, P: Packet<'p>>(packet: P, span: Span, first: &[u8; 8]) -> bool {
    let report = length(be16(first, 2));
    let Some(second) = span.window::<4, P>(packet, report) else { return false };
    let description = length(be16(second, 2));
    first[0] & 0x20 == 0
        && report >= least(first[0], first[1])
        && second[0] >> 5 == 4
        && second[1] == kind::SDES
        && description >= least(second[0], kind::SDES)
        && span.at + report + description == span.end
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

/// What a walk through a compound has found: an error, or a set of `BYE`, `BYE_OTHER` and `UNKNOWN`. One number, so that
/// it can be the answer of a BPF function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked(pub u32);

const BYE: u32 = 1;
const BYE_OTHER: u32 = 2;
const UNKNOWN: u32 = 4;
const WRONG: u32 = 0x100;

impl Walked {
    /// The compound is wrong.
    #[inline(always)]
    pub const fn wrong(reason: Reason) -> Self {
        Self(WRONG | reason as u32)
    }

    #[inline(always)]
    fn into_compound(self, compound: &mut Compound) -> Result<(), Reason> {
        if self.0 & WRONG != 0 {
            return Err(Reason::from_number(self.0 & 0xff));
        }
        compound.bye = self.0 & BYE != 0;
        compound.bye_other = self.0 & BYE_OTHER != 0;
        compound.unknown = self.0 & UNKNOWN != 0;
        Ok(())
    }
}

/// Walks the whole compound of the reporter `ssrc`, packet by packet.
#[inline(always)]
pub fn walk<'p, P: Packet<'p>>(packet: P, span: Span, ssrc: u32) -> Walked {
    let mut rest = span;
    let mut found = 0;
    for _ in 0..MAX_PACKETS {
        let (header, declared) = match step(packet, span, rest) {
            Ok(step) => step,
            Err(reason) => return Walked::wrong(reason),
        };
        match header[1] {
            kind::BYE if header[0] & 31 > 0 => {
                let Some(leaves) = rest.window::<4, P>(packet, 4) else { return Walked::wrong(Reason::RtcpCount) };
                found |= if be32(leaves, 0) == ssrc { BYE } else { BYE_OTHER };
            }
            kind::SR..=kind::XR => {}
            _ => found |= UNKNOWN,
        }
        rest.at += declared;
        if rest.at == rest.end {
            return Walked(found);
        }
    }
    Walked::wrong(Reason::RtcpPackets)
}

/// Checks the packet at the beginning of `rest`: its header and its declared length.
#[inline(always)]
fn step<'p, P: Packet<'p>>(packet: P, span: Span, rest: Span) -> Result<(&'p [u8; 4], usize), Reason> {
    let header = rest.window::<4, P>(packet, 0).ok_or(Reason::RtcpLength)?;
    if header[0] >> 6 != 2 {
        return Err(Reason::RtcpVersion);
    }
    let declared = length(be16(header, 2));
    let end = rest.at + declared;
    if end > rest.end {
        return Err(Reason::RtcpLength);
    }
    let mut content = declared;
    if header[0] & 0x20 != 0 {
        // Only the last packet may be padded; and not the first, even if it is the last too (RFC 3550 A.2).
        if end != rest.end || rest.at == span.at {
            return Err(Reason::RtcpPadding);
        }
        let last = packet.window::<1>(end - 1).ok_or(Reason::RtcpLength)?;
        let padding = usize::from(last[0]);
        if padding == 0 || padding % 4 != 0 || padding > declared - 4 {
            return Err(Reason::RtcpPadding);
        }
        content -= padding;
    }
    if content < least(header[0], header[1]) { Err(Reason::RtcpCount) } else { Ok((header, declared)) }
}
