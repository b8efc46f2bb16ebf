//! Room `srtp`: RFC 3711 with the suite AES_CM_128_HMAC_SHA1_80 and an optional 4-byte MKI.
//!
//! Enters: a [`MasterKey`] (from a [`KeyFile`] or from the key room), an SSRC, an explicit packet index, a packet.
//! Leaves: the same packet protected or laid open, in place; no state is kept between two packets.
//! Not done here: choosing keys and epochs, choosing indices, key derivation rates other than 0, other suites.
//! [`IndexGuess`] and [`ReplayWindow`] are the receiver's memory; a sender has none, its index is a function of the place
//! in the loop.

mod index;
mod key;
mod key_file;
mod replay;
mod rtcp;
mod rtp;
mod session;

#[cfg(test)]
mod interop;

pub use index::PacketIndex;
pub use key::{MasterKey, Mki};
pub use key_file::{KeyFile, KeyFileError};
pub use replay::{IndexGuess, ReplayWindow, Verdict};
pub use rtcp::{MAX_RTCP_INDEX, Rtcp};
pub use rtp::Rtp;

/// Length of the authentication tag in bytes: the `80` in the suite's name.
pub const TAG_LEN: usize = 10;
/// Length of the master key identifier in bytes, where one is used.
pub const MKI_LEN: usize = 4;

/// Why a protected packet was refused. Nothing of a refused packet may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Shorter than its headers and tag.
    #[error("packet of {len} bytes is too short: at least {least} are needed")]
    TooShort {
        /// What came.
        len: usize,
        /// What the headers that are there ask for.
        least: usize,
    },
    /// Version field is not 2.
    #[error("not RTP version 2")]
    Version,
    /// The packet belongs to another stream than these keys.
    #[error("packet of SSRC {found:#010x} met the keys of SSRC {expected:#010x}")]
    WrongSsrc {
        /// The SSRC of the keys.
        expected: u32,
        /// The SSRC in the packet.
        found: u32,
    },
    /// The given index and the packet's sequence number disagree.
    #[error("packet has sequence number {found}, its index says {expected}")]
    WrongSequence {
        /// The low 16 bits of the index given.
        expected: u16,
        /// What the packet says.
        found: u16,
    },
    /// The MKI names another key.
    #[error("packet was made with another master key (its MKI differs)")]
    WrongMki,
    /// The tag does not fit: a forged or damaged packet, a wrong key or a wrong ROC.
    #[error("authentication failed: the packet was altered, or the key or the rollover counter is wrong")]
    Authentication,
}
