//! Master keys, and the session keys derived from them (RFC 3711 section 4.3, key derivation rate 0).

use std::fmt;

use aes::Aes128;
use ctr::cipher::{KeyIvInit, StreamCipher};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Names a master key in the packets made with it (RFC 3711 section 3.1). Not secret.
pub type Mki = [u8; super::MKI_LEN];

/// An SRTP master key and master salt. Wiped when dropped; never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    key: [u8; 16],
    salt: [u8; 14],
}

impl MasterKey {
    /// Length of key and salt together.
    pub const LEN: usize = 30;

    /// From its two parts.
    pub const fn new(key: [u8; 16], salt: [u8; 14]) -> MasterKey {
        MasterKey { key, salt }
    }

    /// From key ‖ salt, the order in which SDES, MIKEY and key files carry them.
    pub fn from_bytes(bytes: &[u8; MasterKey::LEN]) -> MasterKey {
        let mut master = MasterKey { key: [0; 16], salt: [0; 14] };
        master.key.copy_from_slice(&bytes[..16]);
        master.salt.copy_from_slice(&bytes[16..]);
        master
    }

    /// A fresh one from the system's random source.
    ///
    /// # Errors
    /// Only if the system has no random source.
    pub fn generate() -> Result<MasterKey, getrandom::Error> {
        let mut master = MasterKey { key: [0; 16], salt: [0; 14] };
        getrandom::fill(&mut master.key)?;
        getrandom::fill(&mut master.salt)?;
        Ok(master)
    }

    /// The 16 key bytes: secret.
    pub const fn key(&self) -> &[u8; 16] {
        &self.key
    }

    /// The 14 salt bytes.
    pub const fn salt(&self) -> &[u8; 14] {
        &self.salt
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.key.ct_eq(&other.key) & self.salt.ct_eq(&other.salt))
    }
}

impl Eq for MasterKey {}

/// What a session key is for (RFC 3711 section 4.3.1 and 4.3.2).
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpCipher = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpCipher = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// Fills `out` with the session key for `label`: AES-CM keystream under the master key, at the IV
/// (master salt ⊕ label at bit 48) × 2^16.
pub(super) fn derive(master: &MasterKey, label: Label, out: &mut [u8]) {
    let mut iv = [0u8; 16];
    iv[..14].copy_from_slice(&master.salt);
    iv[7] ^= label as u8;
    out.fill(0);
    ctr::Ctr128BE::<Aes128>::new(&master.key.into(), &iv.into()).apply_keystream(out);
    iv.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc_master() -> MasterKey {
        MasterKey::new(
            0xE1F9_7A0D_3E01_8BE0_D64F_A32C_06DE_4139_u128.to_be_bytes(),
            [0x0E, 0xC6, 0x75, 0xAD, 0x49, 0x8A, 0xFE, 0xEB, 0xB6, 0x96, 0x0B, 0x3A, 0xAB, 0xE6],
        )
    }

    #[test]
    fn session_keys_are_those_of_rfc_3711_b_3() {
        let mut key = [0; 16];
        derive(&rfc_master(), Label::RtpCipher, &mut key);
        assert_eq!(u128::from_be_bytes(key), 0xC61E_7A93_744F_39EE_1073_4AFE_3FF7_A087);

        let mut salt = [0; 14];
        derive(&rfc_master(), Label::RtpSalt, &mut salt);
        assert_eq!(salt, [0x30, 0xCB, 0xBC, 0x08, 0x86, 0x3D, 0x8C, 0x85, 0xD4, 0x9D, 0xB3, 0x4A, 0x9A, 0xE1]);

        let mut auth = [0; 94];
        derive(&rfc_master(), Label::RtpAuth, &mut auth);
        let expected: [u128; 5] = [
            0xCEBE_321F_6FF7_716B_6FD4_AB49_AF25_6A15,
            0x6D38_BAA4_8F0A_0ACF_3C34_E235_9E6C_DBCE,
            0xE049_646C_43D9_327A_D175_578E_F722_7098,
            0x6371_C10C_9A36_9AC2_F94A_8C5F_BCDD_DC25,
            0x6D6E_919A_48B6_10EF_17C2_041E_4740_3576,
        ];
        for (block, expected) in auth.chunks_exact(16).zip(expected) {
            assert_eq!(block, expected.to_be_bytes());
        }
        assert_eq!(auth[80..], [0x6B, 0x68, 0x64, 0x2C, 0x59, 0xBB, 0xFC, 0x2F, 0x34, 0xDB, 0x60, 0xDB, 0xDF, 0xB2]);
    }

    #[test]
    fn a_master_key_is_never_printed() {
        let shown = format!("{:?}", rfc_master()).to_lowercase();
        assert!(!shown.contains("e1") && !shown.contains("225"), "{shown}");
    }

    #[test]
    fn master_keys_compare_by_key_and_salt() {
        let master = rfc_master();
        assert_eq!(master, master.clone());
        assert_ne!(master, MasterKey::new(*master.key(), [0; 14]));
        assert_ne!(master, MasterKey::new([0; 16], *master.salt()));
        assert_ne!(MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
    }
}
