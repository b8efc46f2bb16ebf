//! SRTP: RFC 3711 section 3.1 and 3.3.

use std::fmt;

use super::key::{Label, MasterKey, Mki};
use super::session::{Labels, Session};
use super::{MKI_LEN, PacketIndex, SrtpError, TAG_LEN};

/// The SRTP transform for the packets of one SSRC under one master key.
#[derive(Clone)]
pub struct Rtp {
    session: Session,
    ssrc: u32,
    iv_base: u128,
    mki: Option<Mki>,
}

/// Where the parts of a protected packet are.
struct Parts {
    /// End of the RTP header: start of the ciphertext.
    header: usize,
    /// End of the ciphertext: start of MKI or tag.
    body: usize,
}

impl Rtp {
    /// Derives the session keys.
    pub fn new(master: &MasterKey, ssrc: u32, mki: Option<Mki>) -> Rtp {
        let labels = Labels { cipher: Label::RtpCipher, auth: Label::RtpAuth, salt: Label::RtpSalt };
        let session = Session::new(master, &labels);
        let iv_base = session.iv_base(ssrc);
        Rtp { session, ssrc, iv_base, mki }
    }

    /// By how many bytes a protected packet is longer.
    pub fn overhead(&self) -> usize {
        TAG_LEN + if self.mki.is_some() { MKI_LEN } else { 0 }
    }

    /// The SSRC that the keys are bound to.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Protects in place the RTP packet `packet[..len]`, whose first `header_len` bytes stay in clear, and returns its new
    /// length. The packet's own sequence number must be the index's.
    ///
    /// # Panics
    /// If `header_len > len`, or the buffer has no room for [`overhead`](Self::overhead) bytes more.
    #[inline]
    pub fn protect(&self, index: PacketIndex, packet: &mut [u8], header_len: usize, len: usize) -> usize {
        debug_assert_eq!(packet[2..4], index.seq().to_be_bytes(), "index and sequence number disagree");
        self.session.apply_keystream(self.iv_base, index.get(), &mut packet[header_len..len]);
        let tag = self.session.tag(&packet[..len], &index.roc().to_be_bytes());
        let mut end = len;
        if let Some(mki) = self.mki {
            packet[end..end + MKI_LEN].copy_from_slice(&mki);
            end += MKI_LEN;
        }
        packet[end..end + TAG_LEN].copy_from_slice(&tag);
        end + TAG_LEN
    }

    /// Checks the packet's tag and decrypts it in place; returns the length of the plain RTP packet. On error nothing was
    /// changed. The caller keeps the replay list (see [`super::IndexGuess`]).
    ///
    /// # Errors
    /// [`SrtpError`] says what does not fit.
    pub fn unprotect(&self, index: PacketIndex, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let parts = self.check(packet)?;
        let found = u16::from_be_bytes([packet[2], packet[3]]);
        if found != index.seq() {
            return Err(SrtpError::WrongSequence { expected: index.seq(), found });
        }
        self.authenticate(&parts, index.roc(), packet)?;
        self.session.apply_keystream(self.iv_base, index.get(), &mut packet[parts.header..parts.body]);
        Ok(parts.body)
    }

    /// Whether the packet's tag fits with this rollover counter: how a late joiner finds the ROC.
    pub fn verify(&self, roc: u32, packet: &[u8]) -> bool {
        self.check(packet).and_then(|parts| self.authenticate(&parts, roc, packet)).is_ok()
    }

    fn check(&self, packet: &[u8]) -> Result<Parts, SrtpError> {
        let header = header_len(packet)?;
        let least = header + self.overhead();
        if packet.len() < least {
            return Err(SrtpError::TooShort { len: packet.len(), least });
        }
        let body = packet.len() - self.overhead();
        let found = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        if found != self.ssrc {
            return Err(SrtpError::WrongSsrc { expected: self.ssrc, found });
        }
        if self.mki.is_some_and(|mki| packet[body..body + MKI_LEN] != mki) {
            return Err(SrtpError::WrongMki);
        }
        Ok(Parts { header, body })
    }

    fn authenticate(&self, parts: &Parts, roc: u32, packet: &[u8]) -> Result<(), SrtpError> {
        let tag = &packet[packet.len() - TAG_LEN..];
        let fits = self.session.tag_fits(&packet[..parts.body], &roc.to_be_bytes(), tag);
        if fits { Ok(()) } else { Err(SrtpError::Authentication) }
    }
}

impl fmt::Debug for Rtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rtp").field("ssrc", &self.ssrc).field("mki", &self.mki).finish_non_exhaustive()
    }
}

/// Length of an RTP header with its CSRCs and its extension (RFC 3550 section 5.1).
fn header_len(packet: &[u8]) -> Result<usize, SrtpError> {
    let too_short = |least| SrtpError::TooShort { len: packet.len(), least };
    let &first = packet.first().ok_or(too_short(12))?;
    if first >> 6 != 2 {
        return Err(SrtpError::Version);
    }
    let fixed = 12 + 4 * usize::from(first & 0x0f);
    let whole = match first & 0x10 {
        0 => fixed,
        _ => {
            let words = packet.get(fixed + 2..fixed + 4).ok_or(too_short(fixed + 4))?;
            fixed + 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]))
        }
    };
    if packet.len() < whole { Err(too_short(whole)) } else { Ok(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SSRC: u32 = 0xcafe_babe;

    fn master() -> MasterKey {
        MasterKey::new(*b"0123456789abcdef", *b"salt of 14 oct")
    }

    fn plain(seq: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, 33];
        packet.extend(seq.to_be_bytes());
        packet.extend(0x1234_5678_u32.to_be_bytes());
        packet.extend(SSRC.to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn protected(rtp: &Rtp, index: PacketIndex, payload: &[u8]) -> Vec<u8> {
        let mut packet = plain(index.seq(), payload);
        let len = packet.len();
        packet.resize(len + rtp.overhead(), 0);
        assert_eq!(rtp.protect(index, &mut packet, 12, len), packet.len());
        packet
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let rtp = Rtp::new(&master(), SSRC, Some(*b"ep 1"));
        let index = PacketIndex::from_parts(9, 77);
        let good = protected(&rtp, index, b"some payload");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let before = bad.clone();
            assert!(rtp.unprotect(index, &mut bad).is_err(), "bit {bit}");
            assert_eq!(bad, before, "a refused packet is left alone");
        }
    }

    #[test]
    fn the_wrong_rollover_counter_key_or_stream_is_refused() {
        let rtp = Rtp::new(&master(), SSRC, None);
        let index = PacketIndex::from_parts(9, 77);
        let mut packet = protected(&rtp, index, b"some payload");
        assert!(rtp.verify(9, &packet) && !rtp.verify(8, &packet));
        let wrong = PacketIndex::from_parts(10, 77);
        assert_eq!(rtp.unprotect(wrong, &mut packet), Err(SrtpError::Authentication));
        let wrong = PacketIndex::from_parts(9, 78);
        assert_eq!(rtp.unprotect(wrong, &mut packet), Err(SrtpError::WrongSequence { expected: 78, found: 77 }));
        let other = Rtp::new(&MasterKey::new([1; 16], [2; 14]), SSRC, None);
        assert_eq!(other.unprotect(index, &mut packet), Err(SrtpError::Authentication));
        let other = Rtp::new(&master(), 1, None);
        assert_eq!(other.unprotect(index, &mut packet), Err(SrtpError::WrongSsrc { expected: 1, found: SSRC }));
    }

    #[test]
    fn an_mki_stands_before_the_tag_and_changes_nothing_else() {
        let index = PacketIndex::from_parts(1, 2);
        let without = protected(&Rtp::new(&master(), SSRC, None), index, b"payload");
        let with = protected(&Rtp::new(&master(), SSRC, Some([1, 2, 3, 4])), index, b"payload");
        let body = without.len() - TAG_LEN;
        assert_eq!(with[..body], without[..body]);
        assert_eq!(with[body..body + 4], [1, 2, 3, 4]);
        assert_eq!(with[body + 4..], without[body..]);
        let mut other = with.clone();
        let other_key = Rtp::new(&master(), SSRC, Some([1, 2, 3, 5]));
        assert_eq!(other_key.unprotect(index, &mut other), Err(SrtpError::WrongMki));
    }

    #[test]
    fn csrcs_and_header_extensions_stay_in_clear() {
        let rtp = Rtp::new(&master(), SSRC, None);
        let mut packet = plain(5, &[]);
        packet[0] = 0x92; // extension, two CSRCs
        packet.extend([0; 8]);
        packet.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        let header = packet.len();
        packet.extend(b"body");
        let (len, clear) = (packet.len(), packet.clone());
        packet.resize(len + rtp.overhead(), 0);
        rtp.protect(PacketIndex::new(5), &mut packet, header, len);
        assert_eq!(packet[..header], clear[..header]);
        assert_ne!(packet[header..len], clear[header..]);
        assert_eq!(rtp.unprotect(PacketIndex::new(5), &mut packet), Ok(len));
        assert_eq!(packet[..len], clear);
    }

    #[test]
    fn a_debug_print_shows_no_key() {
        let shown = format!("{:?}", Rtp::new(&master(), SSRC, None));
        assert_eq!(shown, format!("Rtp {{ ssrc: {SSRC}, mki: None, .. }}"));
    }

    proptest! {
        #[test]
        fn what_was_protected_comes_back(
            value in 0..=PacketIndex::MAX.get(),
            payload in proptest::collection::vec(any::<u8>(), 0..1500),
            mki in any::<Option<[u8; 4]>>(),
        ) {
            let rtp = Rtp::new(&master(), SSRC, mki);
            let index = PacketIndex::new(value);
            let mut packet = protected(&rtp, index, &payload);
            let len = rtp.unprotect(index, &mut packet).unwrap();
            prop_assert_eq!(&packet[..len], plain(index.seq(), &payload));
        }

        #[test]
        fn no_bytes_make_unprotect_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), mki in any::<bool>()) {
            let rtp = Rtp::new(&master(), SSRC, mki.then_some([0; 4]));
            let mut bytes = bytes;
            prop_assert!(rtp.unprotect(PacketIndex::new(0), &mut bytes).is_err());
            prop_assert!(!rtp.verify(0, &bytes));
        }
    }
}
