//! One pair of session keys at work: AES-CM keystream (RFC 3711 section 4.1.1) and the truncated HMAC-SHA1 tag (4.2.1).

use aes::Aes128Enc;
use ctr::CtrCore;
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::flavors::Ctr128BE;
use hmac::Hmac;
use hmac::digest::{FixedOutput, Update};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::TAG_LEN;
use super::key::{Label, MasterKey, derive};

/// Labels of one direction's three session keys.
pub(super) struct Labels {
    pub(super) cipher: Label,
    pub(super) auth: Label,
    pub(super) salt: Label,
}

/// Session keys, expanded once: AES round keys, and the HMAC state after its inner and outer key blocks, which is cloned
/// for each packet. Every part wipes itself when dropped.
#[derive(Clone)]
pub(super) struct Session {
    aes: Aes128Enc,
    hmac: Hmac<Sha1>,
    /// Session salt × 2^16: the IV before SSRC and index are mixed in.
    salt: SaltBlock,
}

#[derive(Clone, Zeroize, zeroize::ZeroizeOnDrop)]
struct SaltBlock(u128);

impl Session {
    pub(super) fn new(master: &MasterKey, labels: &Labels) -> Session {
        let mut key = [0; 16];
        derive(master, labels.cipher, &mut key);
        let mut auth = [0; 20];
        derive(master, labels.auth, &mut auth);
        let mut salt = [0; 16];
        derive(master, labels.salt, &mut salt[..14]);
        let session = Session {
            aes: Aes128Enc::new(&key.into()),
            hmac: Hmac::new_from_slice(&auth).expect("HMAC takes keys of any length"),
            salt: SaltBlock(u128::from_be_bytes(salt)),
        };
        key.zeroize();
        auth.zeroize();
        salt.zeroize();
        session
    }

    /// The part of the IV that is the same for all packets of an SSRC: (salt × 2^16) ⊕ (SSRC × 2^64).
    pub(super) fn iv_base(&self, ssrc: u32) -> u128 {
        self.salt.0 ^ u128::from(ssrc) << 64
    }

    /// Encrypts or decrypts `data` in place at the IV `iv_base ⊕ (index × 2^16)`.
    #[inline]
    pub(super) fn apply_keystream(&self, iv_base: u128, index: u64, data: &mut [u8]) {
        let iv = iv_base ^ u128::from(index) << 16;
        let core = CtrCore::<&Aes128Enc, Ctr128BE>::inner_iv_init(&self.aes, &iv.to_be_bytes().into());
        StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
    }

    /// The tag over `authenticated ‖ trailer`, cut to its first 80 bits.
    #[inline]
    pub(super) fn tag(&self, authenticated: &[u8], trailer: &[u8]) -> [u8; TAG_LEN] {
        let mut hmac = self.hmac.clone();
        hmac.update(authenticated);
        hmac.update(trailer);
        let full = hmac.finalize_fixed();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&full[..TAG_LEN]);
        tag
    }

    /// Whether `tag` is right, compared in constant time.
    #[inline]
    pub(super) fn tag_fits(&self, authenticated: &[u8], trailer: &[u8], tag: &[u8]) -> bool {
        bool::from(self.tag(authenticated, trailer).ct_eq(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(key: u128, auth: &[u8], salt: u128) -> Session {
        Session {
            aes: Aes128Enc::new(&key.to_be_bytes().into()),
            hmac: Hmac::new_from_slice(auth).unwrap(),
            salt: SaltBlock(salt),
        }
    }

    #[test]
    fn the_keystream_is_that_of_rfc_3711_b_2() {
        let salt = 0xF0F1_F2F3_F4F5_F6F7_F8F9_FAFB_FCFD_0000;
        let session = session(0x2B7E_1516_28AE_D2A6_ABF7_1588_09CF_4F3C, b"", salt);
        let mut stream = vec![0; 1_044_512];
        session.apply_keystream(session.iv_base(0), 0, &mut stream);
        let block = |number: usize| u128::from_be_bytes(stream[number * 16..][..16].try_into().unwrap());
        assert_eq!(block(0), 0xE03E_AD09_35C9_5E80_E166_B16D_D92B_4EB4);
        assert_eq!(block(1), 0xD235_1316_2B02_D0F7_2A43_A2FE_4A5F_97AB);
        assert_eq!(block(2), 0x41E9_5B3B_B0A2_E8DD_4779_01E4_FCA8_94C0);
        assert_eq!(block(0xFEFF), 0xEC8C_DF73_9860_7CB0_F2D2_1675_EA9E_A1E4);
        assert_eq!(block(0xFF00), 0x362B_7C3C_6773_5163_18A0_77D7_FC50_73AE);
        assert_eq!(block(0xFF01), 0x6A2C_C378_7889_374F_BEB4_C81B_17BA_6C44);
    }

    #[test]
    fn the_tag_is_the_truncated_hmac_of_rfc_2202() {
        let session = session(0, &[0x0b; 20], 0);
        let expected = [0xb6, 0x17, 0x31, 0x86, 0x55, 0x05, 0x72, 0x64, 0xe2, 0x8b];
        assert_eq!(session.tag(b"Hi ", b"There"), expected);
        assert!(session.tag_fits(b"Hi There", b"", &expected));
        assert!(!session.tag_fits(b"Hi there", b"", &expected));
        assert!(!session.tag_fits(b"Hi There", b"", &expected[..9]));
    }

    #[test]
    fn ssrc_and_index_enter_the_iv_at_bits_64_and_16() {
        let session = session(0, b"", 0);
        let mut one = [0; 16];
        session.apply_keystream(session.iv_base(0x0102_0304), 0x0005_0607_0809, &mut one);
        let mut two = [0; 16];
        session.apply_keystream(0x0000_0000_0102_0304_0005_0607_0809_0000, 0, &mut two);
        assert_eq!(one, two);
    }
}
