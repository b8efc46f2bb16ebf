//! SRTCP: RFC 3711 section 3.4.

use std::fmt;

use super::key::{Label, MasterKey, Mki};
use super::session::{Labels, Session};
use super::{MKI_LEN, SrtpError, TAG_LEN};

/// The largest SRTCP index: it has 31 bits.
pub const MAX_RTCP_INDEX: u32 = 0x7fff_ffff;

/// The first RTCP header and its SSRC stay in clear.
const CLEAR: usize = 8;
/// The E flag ‖ the index.
const INDEX_LEN: usize = 4;
const E_FLAG: u32 = 1 << 31;

/// The SRTCP transform under one master key. The SSRC is taken from each packet, so one value serves a session's sender
/// and all its receivers. Each sender of RTCP with the same SSRC must use indices that no other one uses.
#[derive(Clone)]
pub struct Rtcp {
    session: Session,
    mki: Option<Mki>,
}

impl Rtcp {
    /// Derives the session keys.
    pub fn new(master: &MasterKey, mki: Option<Mki>) -> Rtcp {
        let labels = Labels { cipher: Label::RtcpCipher, auth: Label::RtcpAuth, salt: Label::RtcpSalt };
        Rtcp { session: Session::new(master, &labels), mki }
    }

    /// By how many bytes a protected packet is longer.
    pub fn overhead(&self) -> usize {
        INDEX_LEN + TAG_LEN + if self.mki.is_some() { MKI_LEN } else { 0 }
    }

    /// Encrypts and authenticates in place the compound packet `packet[..len]`; returns its new length.
    ///
    /// # Panics
    /// If `index` has more than 31 bits, `len < 8`, or the buffer has no room for [`overhead`](Self::overhead) bytes more.
    pub fn protect(&self, index: u32, packet: &mut [u8], len: usize) -> usize {
        assert!(index <= MAX_RTCP_INDEX, "an SRTCP index has 31 bits: this master key is used up");
        let iv_base = self.session.iv_base(ssrc(packet));
        self.session.apply_keystream(iv_base, u64::from(index), &mut packet[CLEAR..len]);
        let mut end = len + INDEX_LEN;
        packet[len..end].copy_from_slice(&(E_FLAG | index).to_be_bytes());
        let tag = self.session.tag(&packet[..end], &[]);
        if let Some(mki) = self.mki {
            packet[end..end + MKI_LEN].copy_from_slice(&mki);
            end += MKI_LEN;
        }
        packet[end..end + TAG_LEN].copy_from_slice(&tag);
        end + TAG_LEN
    }

    /// Checks and decrypts in place; returns the length of the plain compound packet and its index, which the caller holds
    /// against a [`super::ReplayWindow`]. On error nothing was changed.
    ///
    /// # Errors
    /// [`SrtpError`] says what does not fit.
    pub fn unprotect(&self, packet: &mut [u8]) -> Result<(usize, u32), SrtpError> {
        let least = CLEAR + self.overhead();
        if packet.len() < least {
            return Err(SrtpError::TooShort { len: packet.len(), least });
        }
        if packet[0] >> 6 != 2 {
            return Err(SrtpError::Version);
        }
        let body = packet.len() - self.overhead();
        let authenticated = body + INDEX_LEN;
        if self.mki.is_some_and(|mki| packet[authenticated..authenticated + MKI_LEN] != mki) {
            return Err(SrtpError::WrongMki);
        }
        let (head, tag) = packet.split_at(packet.len() - TAG_LEN);
        if !self.session.tag_fits(&head[..authenticated], &[], tag) {
            return Err(SrtpError::Authentication);
        }
        let word = u32::from_be_bytes([packet[body], packet[body + 1], packet[body + 2], packet[body + 3]]);
        let index = word & MAX_RTCP_INDEX;
        if word & E_FLAG != 0 {
            let iv_base = self.session.iv_base(ssrc(packet));
            self.session.apply_keystream(iv_base, u64::from(index), &mut packet[CLEAR..body]);
        }
        Ok((body, index))
    }
}

impl fmt::Debug for Rtcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rtcp").field("mki", &self.mki).finish_non_exhaustive()
    }
}

/// The SSRC of the first RTCP packet of a compound.
fn ssrc(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An empty receiver report and a BYE.
    const REPORT: [u8; 16] = [0x80, 201, 0, 1, 1, 2, 3, 4, 0x81, 203, 0, 1, 1, 2, 3, 4];

    fn master() -> MasterKey {
        MasterKey::new(*b"0123456789abcdef", *b"salt of 14 oct")
    }

    fn protected(rtcp: &Rtcp, index: u32) -> Vec<u8> {
        let mut packet = REPORT.to_vec();
        packet.resize(REPORT.len() + rtcp.overhead(), 0);
        assert_eq!(rtcp.protect(index, &mut packet, REPORT.len()), packet.len());
        packet
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let rtcp = Rtcp::new(&master(), Some([9; 4]));
        let good = protected(&rtcp, 3);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let before = bad.clone();
            assert!(rtcp.unprotect(&mut bad).is_err(), "bit {bit}");
            assert_eq!(bad, before);
        }
    }

    #[test]
    fn the_first_eight_octets_stay_in_clear_and_the_rest_does_not() {
        let packet = protected(&Rtcp::new(&master(), None), 1);
        assert_eq!(packet[..8], REPORT[..8]);
        assert_ne!(packet[8..16], REPORT[8..]);
        assert_eq!(packet[16..20], [0x80, 0, 0, 1]);
    }

    #[test]
    fn a_packet_that_is_only_authenticated_is_read_too() {
        let rtcp = Rtcp::new(&master(), None);
        let mut packet = REPORT.to_vec();
        packet.extend(7u32.to_be_bytes());
        let tag = rtcp.session.tag(&packet, &[]);
        packet.extend(tag);
        assert_eq!(rtcp.unprotect(&mut packet), Ok((16, 7)));
        assert_eq!(packet[..16], REPORT);
    }

    #[test]
    #[should_panic(expected = "31 bits")]
    fn an_index_beyond_31_bits_is_refused() {
        protected(&Rtcp::new(&master(), None), MAX_RTCP_INDEX + 1);
    }

    proptest! {
        #[test]
        fn what_was_protected_comes_back(index in 0..=MAX_RTCP_INDEX, mki in any::<Option<[u8; 4]>>()) {
            let rtcp = Rtcp::new(&master(), mki);
            let mut packet = protected(&rtcp, index);
            prop_assert_eq!(rtcp.unprotect(&mut packet), Ok((REPORT.len(), index)));
            prop_assert_eq!(&packet[..REPORT.len()], REPORT);
        }

        #[test]
        fn no_bytes_make_unprotect_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = bytes;
            prop_assert!(Rtcp::new(&master(), None).unprotect(&mut bytes).is_err());
        }
    }
}
