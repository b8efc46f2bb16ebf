//! RTCP sender reports (RFC 3550 sections 6.4.1, 6.5.1 and 6.6).

/// One copy's report: a compound packet of SR, SDES with the CNAME, and BYE when the copy ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderReport<'a> {
    /// The layer's SSRC.
    pub ssrc: u32,
    /// NTP time of the report: seconds since 1900 in the upper, fraction in the lower 32 bits.
    pub ntp: u64,
    /// The RTP timestamp of this copy at the same instant.
    pub rtp_timestamp: u32,
    /// RTP packets this copy has sent, modulo 2^32.
    pub packets: u32,
    /// Payload bytes in them, modulo 2^32.
    pub octets: u32,
    /// Canonical name: 1 to 255 bytes.
    pub cname: &'a str,
    /// Whether this is the last report.
    pub bye: bool,
}

const SR_LEN: usize = 28;
const BYE_LEN: usize = 8;
/// Header, SSRC, item type and length.
const SDES_FIXED: usize = 4 + 4 + 2;

impl SenderReport<'_> {
    /// Length of the longest report.
    pub const MAX_LEN: usize = SR_LEN + (SDES_FIXED + 255 + 4) / 4 * 4 + BYE_LEN;

    /// Length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a report is never empty")]
    pub fn len(&self) -> usize {
        SR_LEN + self.sdes_len() + if self.bye { BYE_LEN } else { 0 }
    }

    /// The item list ends with at least one zero octet, then goes on to a multiple of four.
    fn sdes_len(&self) -> usize {
        (SDES_FIXED + self.cname().len() + 1).next_multiple_of(4)
    }

    /// The CNAME's bytes, cut where the format ends.
    fn cname(&self) -> &[u8] {
        let bytes = self.cname.as_bytes();
        &bytes[..bytes.len().min(255)]
    }

    /// Writes the compound packet and returns its length.
    ///
    /// # Panics
    /// If `out` is shorter than [`len`](Self::len).
    pub fn write(&self, out: &mut [u8]) -> usize {
        let out = &mut out[..self.len()];
        out.fill(0);
        let (report, rest) = out.split_at_mut(SR_LEN);
        let (sdes, bye) = rest.split_at_mut(self.sdes_len());

        header(report, 0, 200);
        report[4..8].copy_from_slice(&self.ssrc.to_be_bytes());
        report[8..16].copy_from_slice(&self.ntp.to_be_bytes());
        report[16..20].copy_from_slice(&self.rtp_timestamp.to_be_bytes());
        report[20..24].copy_from_slice(&self.packets.to_be_bytes());
        report[24..28].copy_from_slice(&self.octets.to_be_bytes());

        header(sdes, 1, 202);
        sdes[4..8].copy_from_slice(&self.ssrc.to_be_bytes());
        sdes[8] = 1; // CNAME
        sdes[9] = self.cname().len() as u8;
        sdes[SDES_FIXED..SDES_FIXED + self.cname().len()].copy_from_slice(self.cname());

        if self.bye {
            header(bye, 1, 203);
            bye[4..8].copy_from_slice(&self.ssrc.to_be_bytes());
        }
        self.len()
    }
}

/// Version 2, the count, the packet type, and the length in words less one.
fn header(packet: &mut [u8], count: u8, packet_type: u8) {
    packet[0] = 0x80 | count;
    packet[1] = packet_type;
    let words = (packet.len() / 4 - 1) as u16;
    packet[2..4].copy_from_slice(&words.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cname: &str, bye: bool) -> SenderReport<'_> {
        SenderReport {
            ssrc: 0x0102_0304,
            ntp: 0x1122_3344_5566_7788,
            rtp_timestamp: 9,
            packets: 10,
            octets: 11,
            cname,
            bye,
        }
    }

    fn written(report: &SenderReport<'_>) -> Vec<u8> {
        let mut out = vec![0xee; SenderReport::MAX_LEN];
        let len = report.write(&mut out);
        out.truncate(len);
        out
    }

    /// Packet types and lengths in bytes, by walking the compound.
    fn walk(mut compound: &[u8]) -> Vec<(u8, usize)> {
        let mut found = Vec::new();
        while let [first, packet_type, high, low, ..] = compound {
            assert_eq!(first >> 6, 2);
            let len = 4 * (usize::from(u16::from_be_bytes([*high, *low])) + 1);
            found.push((*packet_type, len));
            compound = &compound[len..];
        }
        assert!(compound.is_empty());
        found
    }

    #[test]
    fn a_report_is_sr_then_sdes_then_bye() {
        assert_eq!(walk(&written(&report("box", false))), [(200, 28), (202, 16)]);
        assert_eq!(walk(&written(&report("box", true))), [(200, 28), (202, 16), (203, 8)]);
    }

    #[test]
    fn the_fields_stand_where_rfc_3550_puts_them() {
        let bytes = written(&report("box", false));
        assert_eq!(bytes[..8], [0x80, 200, 0, 6, 1, 2, 3, 4]);
        assert_eq!(bytes[8..16], [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
        assert_eq!(bytes[16..28], [0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 11]);
        assert_eq!(bytes[28..44], [0x81, 202, 0, 3, 1, 2, 3, 4, 1, 3, b'b', b'o', b'x', 0, 0, 0]);
    }

    #[test]
    fn every_length_of_name_ends_with_a_zero_octet_on_a_word() {
        for len in 1..=300 {
            let name = "n".repeat(len);
            let bytes = written(&report(&name, true));
            assert!(bytes.len() <= SenderReport::MAX_LEN);
            let [_, (202, sdes), _] = walk(&bytes)[..] else { panic!("no SDES") };
            assert_eq!(bytes[28 + sdes - 1], 0);
            assert_eq!(usize::from(bytes[37]), len.min(255));
        }
    }
}
