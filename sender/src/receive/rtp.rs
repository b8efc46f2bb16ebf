//! The fixed RTP header (RFC 3550 5.1): what can be checked before a packet is decrypted, and what only afterwards.

use std::ops::Range;

/// Length of the fixed header without CSRCs and extension.
pub const FIXED_HEADER: usize = 12;

/// The header of one RTP packet; all of it is in clear in SRTP too (RFC 3711 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker bit; its meaning belongs to the payload format.
    pub marker: bool,
    /// Payload type, 33 for MPEG-TS.
    pub payload_type: u8,
    /// The 16 bits of the sequence number.
    pub sequence: u16,
    /// Timestamp in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Whether the last octet of the (decrypted) packet counts padding.
    pub padding: bool,
    /// Length of the header with CSRCs and extension: the payload begins here.
    pub len: usize,
}

impl Header {
    /// Reads the header and checks it as far as RFC 3550 A.1 asks before a source is known: version, no RTCP packet
    /// type, and a length that holds the CSRCs and the extension. `None` means malformed.
    pub fn parse(packet: &[u8]) -> Option<Header> {
        let fixed: &[u8; FIXED_HEADER] = packet.first_chunk()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        // RTCP types 200…204 look like payload types 72…76 with the marker set (RFC 3550 A.1).
        if (200..=204).contains(&fixed[1]) {
            return None;
        }
        let mut len = FIXED_HEADER + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let words = packet.get(len + 2..len + 4)?;
            len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        if packet.len() < len {
            return None;
        }
        Some(Header {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            padding: fixed[0] & 0x20 != 0,
            len,
        })
    }

    /// Where the payload of the decrypted packet lies, without padding. `None` when the padding count is impossible.
    pub fn payload(&self, plain: &[u8]) -> Option<Range<usize>> {
        let mut end = plain.len();
        if self.padding {
            let count = usize::from(*plain.last()?);
            if count == 0 {
                return None;
            }
            end = end.checked_sub(count)?;
        }
        (self.len <= end).then_some(self.len..end)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A plain RTP packet of payload type 33.
    pub(crate) fn packet(sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0x80, 33];
        out.extend(sequence.to_be_bytes());
        out.extend(timestamp.to_be_bytes());
        out.extend(ssrc.to_be_bytes());
        out.extend(payload);
        out
    }

    #[test]
    fn a_plain_header_is_read_field_by_field() {
        let bytes = packet(0x1234, 0xdead_beef, 0xcafe_f00d, b"xy");
        let header = Header::parse(&bytes).expect("well formed");
        assert_eq!(
            header,
            Header {
                marker: false,
                payload_type: 33,
                sequence: 0x1234,
                timestamp: 0xdead_beef,
                ssrc: 0xcafe_f00d,
                padding: false,
                len: 12
            }
        );
        assert_eq!(header.payload(&bytes), Some(12..14));
    }

    #[test]
    fn csrcs_extension_and_padding_are_stepped_over() {
        let mut bytes = packet(1, 2, 3, &[]);
        bytes[0] |= 0x20 | 0x10 | 2;
        bytes.extend([0; 8]); // two CSRCs
        bytes.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]); // extension of one word
        bytes.extend(b"payload");
        bytes.extend([0, 0, 3]);
        let header = Header::parse(&bytes).expect("well formed");
        assert_eq!(&bytes[header.payload(&bytes).expect("padding fits")], b"payload");
    }

    #[test]
    fn wrong_version_rtcp_types_and_short_packets_are_malformed() {
        let good = packet(1, 2, 3, b"x");
        for cut in 0..12 {
            assert_eq!(Header::parse(&good[..cut]), None);
        }
        let mut version = good.clone();
        version[0] = 0x40;
        assert_eq!(Header::parse(&version), None);
        let mut rtcp = good.clone();
        rtcp[1] = 200;
        assert_eq!(Header::parse(&rtcp), None);
        let mut csrcs = good.clone();
        csrcs[0] |= 15;
        assert_eq!(Header::parse(&csrcs), None);
        let mut padded = good;
        padded[0] |= 0x20;
        let header = Header::parse(&padded).expect("the header is fine");
        *padded.last_mut().expect("not empty") = 0;
        assert_eq!(header.payload(&padded), None);
        *padded.last_mut().expect("not empty") = 200;
        assert_eq!(header.payload(&padded), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(range) = Header::parse(&bytes).and_then(|header| header.payload(&bytes)) {
                prop_assert!(range.end <= bytes.len());
            }
        }
    }
}
