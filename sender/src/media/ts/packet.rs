//! A view of one 188-byte transport packet, and the clock fields in it.

use std::ops::Range;

/// Length of a transport packet.
pub(in crate::media) const PACKET_LEN: usize = 188;
pub(super) const SYNC: u8 = 0x47;
/// PID of null packets.
pub(super) const NULL_PID: u16 = 0x1fff;
/// PCR, PTS and DTS count 90 kHz in 33 bits.
pub(super) const CLOCK_MASK: u64 = (1 << 33) - 1;

/// One transport packet.
#[derive(Clone, Copy)]
pub(super) struct TsPacket<'a>(pub(super) &'a [u8; PACKET_LEN]);

impl<'a> TsPacket<'a> {
    pub(super) fn synced(self) -> bool {
        self.0[0] == SYNC
    }

    pub(super) fn error_indicator(self) -> bool {
        self.0[1] & 0x80 != 0
    }

    pub(super) fn unit_start(self) -> bool {
        self.0[1] & 0x40 != 0
    }

    pub(super) fn pid(self) -> u16 {
        u16::from_be_bytes([self.0[1] & 0x1f, self.0[2]])
    }

    pub(super) fn scrambled(self) -> bool {
        self.0[3] & 0xc0 != 0
    }

    pub(super) fn continuity(self) -> u8 {
        self.0[3] & 0x0f
    }

    pub(super) fn has_adaptation(self) -> bool {
        self.0[3] & 0x20 != 0
    }

    pub(super) fn has_payload(self) -> bool {
        self.0[3] & 0x10 != 0
    }

    /// Whether the adaptation field keeps within the packet.
    pub(super) fn adaptation_fits(self) -> bool {
        let most = if self.has_payload() { 182 } else { 183 };
        !self.has_adaptation() || self.0[4] <= most
    }

    /// Where the payload starts; 188 if there is none.
    pub(super) fn payload_start(self) -> usize {
        match (self.has_payload(), self.has_adaptation()) {
            (false, _) => PACKET_LEN,
            (true, false) => 4,
            (true, true) => (5 + usize::from(self.0[4])).min(PACKET_LEN),
        }
    }

    pub(super) fn payload(self) -> &'a [u8] {
        &self.0[self.payload_start()..]
    }

    /// The PCR and the OPCR, where there are.
    pub(super) fn clocks(self) -> [Option<usize>; 2] {
        if !self.has_adaptation() || self.0[4] == 0 {
            return [None, None];
        }
        let (len, flags) = (usize::from(self.0[4]), self.0[5]);
        let (pcr, opcr) = (flags & 0x10 != 0, flags & 0x08 != 0);
        let opcr_at = if pcr { 12 } else { 6 };
        // A field that does not fit in the adaptation field is not there.
        let fits = |at: usize| at + 6 <= (5 + len).min(PACKET_LEN);
        [(pcr && fits(6)).then_some(6), (opcr && fits(opcr_at)).then_some(opcr_at)]
    }

    /// The programme clock reference in ticks of 27 MHz.
    pub(super) fn pcr(self) -> Option<u64> {
        let at = self.clocks()[0]?;
        let field = self.0[at..].first_chunk()?;
        let extension = u64::from(u16::from_be_bytes([field[4] & 1, field[5]]));
        Some(clock_base(field) * 300 + extension)
    }

    /// Where PTS and DTS are, if a PES packet with them begins here.
    pub(super) fn stamps(self) -> Stamps {
        let start = self.payload_start();
        if !self.unit_start() || start + 9 > PACKET_LEN {
            return Stamps::default();
        }
        let header = &self.0[start..];
        if header[..3] != [0, 0, 1] || !has_pes_header(header[3]) || header[6] & 0xc0 != 0x80 {
            return Stamps::default();
        }
        let pts = header[7] & 0x80 != 0;
        let dts = header[7] & 0xc0 == 0xc0;
        let field = |there: bool, offset: usize| {
            let range = start + offset..start + offset + 5;
            (there && range.end <= PACKET_LEN && usize::from(header[8]) + 9 >= offset + 5).then_some(range)
        };
        Stamps { pts: field(pts, 9), dts: field(dts, 14) }
    }
}

/// Where the stamps of a PES packet are in the transport packet in which it begins.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub(super) struct Stamps {
    pub(super) pts: Option<Range<usize>>,
    pub(super) dts: Option<Range<usize>>,
}

/// Whether PES packets with this stream_id have the optional header (ISO/IEC 13818-1 section 2.4.3.7).
pub(super) fn has_pes_header(stream_id: u8) -> bool {
    !matches!(stream_id, 0xbc | 0xbe | 0xbf | 0xf0 | 0xf1 | 0xf2 | 0xf8 | 0xff)
}

/// The 33-bit base of a PCR or OPCR.
pub(super) fn clock_base(field: &[u8; 6]) -> u64 {
    u64::from(u32::from_be_bytes([field[0], field[1], field[2], field[3]])) << 1 | u64::from(field[4] >> 7)
}

/// Replaces the 33-bit base of a PCR or OPCR; extension and reserved bits stay.
pub(super) fn set_clock_base(field: &mut [u8; 6], base: u64) {
    field[..4].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
    field[4] = field[4] & 0x7f | ((base & 1) as u8) << 7;
}

/// The 33 bits of a PTS or DTS.
pub(super) fn stamp(field: &[u8; 5]) -> u64 {
    let [a, b, c, d, e] = field.map(u64::from);
    (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1
}

/// Replaces the 33 bits of a PTS or DTS; prefix and marker bits stay.
pub(super) fn set_stamp(field: &mut [u8; 5], value: u64) {
    field[0] = field[0] & 0xf1 | ((value >> 30 & 7) as u8) << 1;
    field[1] = (value >> 22) as u8;
    field[2] = field[2] & 1 | ((value >> 15) as u8) << 1;
    field[3] = (value >> 7) as u8;
    field[4] = field[4] & 1 | (value as u8) << 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stamp_that_was_set_is_read_back_and_the_other_bits_stay(
            before in any::<[u8; 5]>(), clock in any::<[u8; 6]>(), value in 0..=CLOCK_MASK,
        ) {
            let mut field = before;
            set_stamp(&mut field, value);
            prop_assert_eq!(stamp(&field), value);
            set_stamp(&mut field, stamp(&before));
            prop_assert_eq!(field, before);
            let mut field = clock;
            set_clock_base(&mut field, value);
            prop_assert_eq!(clock_base(&field), value);
            set_clock_base(&mut field, clock_base(&clock));
            prop_assert_eq!(field, clock);
        }

        #[test]
        fn no_packet_makes_the_view_panic(bytes in any::<[[u8; 47]; 4]>(), start in 0u8..=188) {
            let mut packet = [0; PACKET_LEN];
            packet.copy_from_slice(bytes.as_flattened());
            packet[1] |= 0x40;
            packet[3] |= 0x30;
            packet[4] = start;
            let begin = TsPacket(&packet).payload_start();
            if begin + 3 <= PACKET_LEN {
                packet[begin..begin + 3].copy_from_slice(&[0, 0, 1]);
            }
            let view = TsPacket(&packet);
            let stamps = view.stamps();
            for range in [stamps.pts, stamps.dts].into_iter().flatten() {
                prop_assert!(range.end <= PACKET_LEN);
            }
            let _ = (view.pcr(), view.payload());
        }
    }
}
