//! RTCP compound packets: the reports a receiver sends, and what it takes from those it hears (RFC 3550 section 6).

use super::sequence::Figures;

/// RTCP packet types (RFC 3550 12.1).
mod kind {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SOURCE_DESCRIPTION: u8 = 202;
    pub(super) const BYE: u8 = 203;
}

/// SDES item type CNAME.
const CNAME: u8 = 1;

/// One packet of a compound, as far as a receiver needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A sender report: RTP time and wall clock of the same moment.
    SenderReport(SenderReport),
    /// A receiver report by this SSRC.
    ReceiverReport(u32),
    /// A source description chunk that has a CNAME.
    Cname(u32, &'a [u8]),
    /// This SSRC leaves.
    Bye(u32),
}

/// The sender information of an SR (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// Who sends.
    pub ssrc: u32,
    /// Wall clock when it was sent, NTP format.
    pub ntp: u64,
    /// The same moment in RTP timestamp units.
    pub rtp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload octets sent so far.
    pub octets: u32,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// Whether the bytes are a valid compound packet (RFC 3550 A.2): version 2 everywhere, a report first, no padding but in
/// the last, lengths that add up.
pub fn is_compound(bytes: &[u8]) -> bool {
    let first_is_report = matches!(bytes, [b0, kind::SENDER_REPORT | kind::RECEIVER_REPORT, ..] if b0 & 0xe0 == 0x80);
    let mut rest = bytes;
    while let Some(len) = packet_len(rest) {
        if len < rest.len() && rest[0] & 0x20 != 0 {
            return false;
        }
        rest = &rest[len..];
    }
    first_is_report && rest.is_empty()
}

/// Length of the RTCP packet in front, if it is all there.
fn packet_len(bytes: &[u8]) -> Option<usize> {
    let words = u16_at(bytes, 2)?;
    let len = 4 * (usize::from(words) + 1);
    (bytes[0] >> 6 == 2 && len <= bytes.len()).then_some(len)
}

/// The items of a compound packet that [`is_compound`] accepts; what is inconsistent inside a packet is left out.
pub fn items(compound: &[u8]) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut rest = compound;
    while let Some(len) = packet_len(rest) {
        let (packet, behind) = rest.split_at(len);
        let count = usize::from(packet[0] & 0x1f);
        match packet[1] {
            kind::SENDER_REPORT => items.extend(sender_report(packet).map(Item::SenderReport)),
            kind::RECEIVER_REPORT => items.extend(u32_at(packet, 4).map(Item::ReceiverReport)),
            kind::SOURCE_DESCRIPTION => cnames(&packet[4..], count, &mut items),
            kind::BYE => items.extend((0..count).map_while(|i| u32_at(packet, 4 + 4 * i)).map(Item::Bye)),
            _ => {}
        }
        rest = behind;
    }
    items
}

fn sender_report(packet: &[u8]) -> Option<SenderReport> {
    Some(SenderReport {
        ssrc: u32_at(packet, 4)?,
        ntp: u64::from(u32_at(packet, 8)?) << 32 | u64::from(u32_at(packet, 12)?),
        rtp: u32_at(packet, 16)?,
        packets: u32_at(packet, 20)?,
        octets: u32_at(packet, 24)?,
    })
}

fn cnames<'a>(mut chunks: &'a [u8], count: usize, items: &mut Vec<Item<'a>>) {
    for _ in 0..count {
        let Some(ssrc) = u32_at(chunks, 0) else { return };
        let mut at = 4;
        loop {
            match chunks.get(at) {
                None => return,
                Some(0) => break,
                Some(&item) => {
                    let Some(&len) = chunks.get(at + 1) else { return };
                    let Some(value) = chunks.get(at + 2..at + 2 + usize::from(len)) else { return };
                    if item == CNAME {
                        items.push(Item::Cname(ssrc, value));
                    }
                    at += 2 + usize::from(len);
                }
            }
        }
        // The list ends with at least one null octet, up to the next 32-bit boundary.
        let Some(next) = chunks.get((at / 4 + 1) * 4..) else { return };
        chunks = next;
    }
}

/// A reception report block (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The source reported on.
    pub ssrc: u32,
    /// Loss, highest sequence number, jitter.
    pub figures: Figures,
    /// Middle 32 bits of the NTP time of the last SR, 0 if there was none.
    pub last_sr: u32,
    /// Time since that SR came, in 1/65536 s.
    pub delay: u32,
}

/// A compound packet: RR, SDES with CNAME and, if `bye`, BYE. `cname` is cut at 255 octets.
pub fn write_report(ssrc: u32, block: Option<&Block>, cname: &str, bye: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + cname.len());
    let words = if block.is_some() { 7 } else { 1 };
    out.extend([0x80 | u8::from(block.is_some()), kind::RECEIVER_REPORT, 0, words]);
    out.extend(ssrc.to_be_bytes());
    if let Some(block) = block {
        let [_, lost @ ..] = block.figures.cumulative_lost.to_be_bytes();
        out.extend(block.ssrc.to_be_bytes());
        out.push(block.figures.fraction_lost);
        out.extend(lost);
        for word in [block.figures.highest, block.figures.jitter, block.last_sr, block.delay] {
            out.extend(word.to_be_bytes());
        }
    }
    let cname = &cname.as_bytes()[..cname.len().min(255)];
    // Chunk: SSRC, type, length, text, then one to four null octets up to the boundary.
    let chunk = (4 + 2 + cname.len()) / 4 * 4 + 4;
    let start = out.len();
    out.extend([0x81, kind::SOURCE_DESCRIPTION, 0, (chunk / 4) as u8]);
    out.extend(ssrc.to_be_bytes());
    out.extend([CNAME, cname.len() as u8]);
    out.extend(cname);
    out.resize(start + 4 + chunk, 0);
    if bye {
        out.extend([0x81, kind::BYE, 0, 1]);
        out.extend(ssrc.to_be_bytes());
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A compound SR + SDES as a sender writes it.
    pub(crate) fn sender_compound(report: SenderReport, bye: bool) -> Vec<u8> {
        let mut out = vec![0x80, 200, 0, 6];
        out.extend(report.ssrc.to_be_bytes());
        out.extend(report.ntp.to_be_bytes());
        for word in [report.rtp, report.packets, report.octets] {
            out.extend(word.to_be_bytes());
        }
        let rest = write_report(report.ssrc, None, "sender@box", bye);
        out.extend(&rest[8..]);
        out
    }

    const BLOCK: Block = Block {
        ssrc: 0x0102_0304,
        figures: Figures { fraction_lost: 64, cumulative_lost: -2, highest: 0x1_0005, jitter: 7 },
        last_sr: 0x1111_2222,
        delay: 0x0001_8000,
    };

    #[test]
    fn a_report_has_the_octets_of_the_rfc() {
        let report = write_report(0xaabb_ccdd, Some(&BLOCK), "ab", true);
        let expected: &[&[u8]] = &[
            &[0x81, 201, 0, 7, 0xaa, 0xbb, 0xcc, 0xdd],
            &[1, 2, 3, 4, 64, 0xff, 0xff, 0xfe, 0, 1, 0, 5, 0, 0, 0, 7, 0x11, 0x11, 0x22, 0x22, 0, 1, 0x80, 0],
            &[0x81, 202, 0, 3, 0xaa, 0xbb, 0xcc, 0xdd, 1, 2, b'a', b'b', 0, 0, 0, 0],
            &[0x81, 203, 0, 1, 0xaa, 0xbb, 0xcc, 0xdd],
        ];
        assert_eq!(report, expected.concat());
    }

    #[test]
    fn every_length_of_cname_gives_a_valid_compound_that_names_it() {
        for len in 0..300 {
            let cname = "x".repeat(len);
            for block in [None, Some(&BLOCK)] {
                let report = write_report(7, block, &cname, true);
                assert!(is_compound(&report), "length {len}");
                let cut = &cname.as_bytes()[..len.min(255)];
                assert_eq!(items(&report), [Item::ReceiverReport(7), Item::Cname(7, cut), Item::Bye(7)]);
            }
        }
    }

    #[test]
    fn a_sender_report_gives_both_clocks() {
        let report = SenderReport { ssrc: 9, ntp: 0x1122_3344_5566_7788, rtp: 90_000, packets: 3, octets: 4000 };
        let compound = sender_compound(report, true);
        assert!(is_compound(&compound));
        let expected = [Item::SenderReport(report), Item::Cname(9, b"sender@box"), Item::Bye(9)];
        assert_eq!(items(&compound), expected);
    }

    #[test]
    fn wrong_versions_types_lengths_and_padding_are_no_compound() {
        let good = write_report(1, Some(&BLOCK), "cname", false);
        assert!(is_compound(&good));
        assert!(!is_compound(&[]));
        for cut in 1..good.len() {
            let at_a_boundary = cut == 32;
            assert_eq!(is_compound(&good[..cut]), at_a_boundary, "cut at {cut}");
        }
        for (at, value) in [(0, 0x41), (0, 0xa1), (1, 202), (3, 200), (32, 0x01)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(!is_compound(&bad), "octet {at} = {value:#x}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_walk_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            kind in 198u8..206, words in 0u8..40,
        ) {
            let mut bytes = bytes;
            is_compound(&bytes);
            items(&bytes);
            if bytes.len() > 4 {
                let head = [0x80 | bytes[0] & 0x1f, kind, 0, words];
                bytes[..4].copy_from_slice(&head);
                is_compound(&bytes);
                items(&bytes);
            }
        }
    }
}
