//! A master key in a file: one line of text, `AES_CM_128_HMAC_SHA1_80 <key ‖ salt: 60 hex digits> [mki=<8 hex digits>]`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

use super::key::{MasterKey, Mki};

/// The one suite there is, by its SDES name (RFC 4568 section 6.2).
const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";
/// No key file is longer.
const MAX_LEN: usize = 1024;

/// What a key file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFile {
    /// Master key and salt.
    pub master: MasterKey,
    /// The key's name in the packets; `None`: packets carry no MKI.
    pub mki: Option<Mki>,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be opened or read.
    #[error("cannot read the key file {path}: {source}; make one with `sender key generate`, or check `key_file`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the key file {path}: {source}; an existing key file is never overwritten")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others could read the key.
    #[error(
        "the key file {path} is open to other users (mode {mode:04o}): run `chmod 600 {path}`, and make a new key if it may have been read"
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a key file.
    #[error(
        "the key file {path} is broken: {reason}; it must be one line `{SUITE} <60 hex digits> [mki=<8 hex digits>]`"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong. Never quotes the file.
        reason: Malformed,
    },
    /// The system has no random source.
    #[error("the system's random source failed: {0}")]
    Random(#[from] getrandom::Error),
}

/// What is wrong with a key file's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// A second line.
    #[error("it has more than one line")]
    Lines,
    /// Too long or not text.
    #[error("it is not a short text file")]
    NotText,
    /// Another suite.
    #[error("it does not begin with the suite's name")]
    Suite,
    /// No key or one of the wrong length.
    #[error("the key has {0} digits, not 60 (16 bytes of key, 14 bytes of salt)")]
    KeyLength(usize),
    /// Not hexadecimal.
    #[error("there is a character that is no hexadecimal digit")]
    Digit,
    /// Something after the key that is not `mki=`.
    #[error("after the key there may only be mki=<8 hex digits>")]
    Mki,
}

impl KeyFile {
    /// A new key, named by a random MKI.
    ///
    /// # Errors
    /// Only if the system has no random source.
    pub fn generate() -> Result<KeyFile, KeyFileError> {
        let mut mki = [0; 4];
        getrandom::fill(&mut mki)?;
        Ok(KeyFile { master: MasterKey::generate()?, mki: Some(mki) })
    }

    /// Reads a key file, and insists that only its owner can.
    ///
    /// # Errors
    /// Unreadable, open to others, or not a key file.
    pub fn read(path: &Path) -> Result<KeyFile, KeyFileError> {
        let failed = |source| KeyFileError::Read { path: path.into(), source };
        let file = File::open(path).map_err(failed)?;
        // Asked of the open file, so that nobody can swap it in between.
        let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::TooOpen { path: path.into(), mode });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
        file.take(MAX_LEN as u64 + 1).read_to_end(&mut text).map_err(failed)?;
        Self::parse(&text).map_err(|reason| KeyFileError::Malformed { path: path.into(), reason })
    }

    /// Writes a new file that only its owner can read. Never overwrites one.
    ///
    /// # Errors
    /// There is such a file already, or it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeyFileError> {
        let text = Zeroizing::new(self.to_string_secret());
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .map_err(|source| KeyFileError::Write { path: path.into(), source })
    }

    fn parse(text: &[u8]) -> Result<KeyFile, Malformed> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= MAX_LEN).ok_or(Malformed::NotText)?;
        let mut lines = text.trim().lines();
        let mut words = lines.next().ok_or(Malformed::Empty)?.split_ascii_whitespace();
        if lines.next().is_some() {
            return Err(Malformed::Lines);
        }
        if words.next() != Some(SUITE) {
            return Err(Malformed::Suite);
        }
        let digits = words.next().unwrap_or("");
        let mut bytes = [0; MasterKey::LEN];
        if digits.len() != 2 * MasterKey::LEN {
            return Err(Malformed::KeyLength(digits.len()));
        }
        decode_hex(digits, &mut bytes)?;
        let master = MasterKey::from_bytes(&bytes);
        bytes.zeroize();
        let mki = words.next().map(Self::parse_mki).transpose()?;
        if words.next().is_some() {
            return Err(Malformed::Mki);
        }
        Ok(KeyFile { master, mki })
    }

    fn parse_mki(word: &str) -> Result<Mki, Malformed> {
        let digits = word.strip_prefix("mki=").filter(|digits| digits.len() == 8).ok_or(Malformed::Mki)?;
        let mut mki = [0; 4];
        decode_hex(digits, &mut mki)?;
        Ok(mki)
    }

    /// The file's line. Secret: the caller wipes it.
    fn to_string_secret(&self) -> String {
        use fmt::Write;
        // Room for all of it, so that no half-written copy is left behind by growing.
        let mut line = String::with_capacity(128);
        let infallible = "writing to a String cannot fail";
        write!(line, "{SUITE} ").expect(infallible);
        for byte in self.master.key().iter().chain(self.master.salt()) {
            write!(line, "{byte:02x}").expect(infallible);
        }
        if let Some(mki) = self.mki {
            write!(line, " mki={:08x}", u32::from_be_bytes(mki)).expect(infallible);
        }
        line.push('\n');
        line
    }
}

/// Decodes exactly `2 * out.len()` digits.
fn decode_hex(digits: &str, out: &mut [u8]) -> Result<(), Malformed> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8).ok_or(Malformed::Digit);
    for (pair, byte) in digits.as_bytes().chunks_exact(2).zip(out) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    const DIGITS: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d";

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_key_file_gives_key_salt_and_mki() {
        let (_dir, path) = file(&format!("{SUITE} {DIGITS} mki=0000002A\n"), 0o600);
        let read = KeyFile::read(&path).unwrap();
        assert_eq!(read.master.key()[15], 15);
        assert_eq!(read.master.salt()[13], 0x1d);
        assert_eq!(read.mki, Some([0, 0, 0, 42]));
        let (_dir, path) = file(&format!("{SUITE} {DIGITS}"), 0o400);
        assert_eq!(KeyFile::read(&path).unwrap().mki, None);
    }

    #[test]
    fn a_generated_file_is_private_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = KeyFile::generate().unwrap();
        made.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(KeyFile::read(&path).unwrap(), made);
        assert!(matches!(made.write(&path), Err(KeyFileError::Write { .. })), "never overwritten");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        for mode in [0o640, 0o604, 0o644, 0o660] {
            let (_dir, path) = file(&format!("{SUITE} {DIGITS}"), mode);
            let error = KeyFile::read(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains(&format!("{mode:04o}")), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = KeyFile::read(Path::new("/nonexistent/key")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/key") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn broken_lines_are_told_apart_and_never_quoted() {
        let table = [
            (String::new(), Malformed::Empty),
            ("\n\n".into(), Malformed::Empty),
            (format!("{SUITE} {DIGITS}\n{SUITE} {DIGITS}"), Malformed::Lines),
            (format!("AES_CM_128_HMAC_SHA1_32 {DIGITS}"), Malformed::Suite),
            (SUITE.into(), Malformed::KeyLength(0)),
            (format!("{SUITE} {}", &DIGITS[2..]), Malformed::KeyLength(58)),
            (format!("{SUITE} {DIGITS}00"), Malformed::KeyLength(62)),
            (format!("{SUITE} {}zz", &DIGITS[2..]), Malformed::Digit),
            (format!("{SUITE} {DIGITS} mki=123"), Malformed::Mki),
            (format!("{SUITE} {DIGITS} mki=0000000g"), Malformed::Digit),
            (format!("{SUITE} {DIGITS} 00000001"), Malformed::Mki),
            (format!("{SUITE} {DIGITS} mki=00000001 more"), Malformed::Mki),
            ("x".repeat(MAX_LEN + 1), Malformed::NotText),
        ];
        for (text, expected) in table {
            let (_dir, path) = file(&text, 0o600);
            let error = KeyFile::read(&path).unwrap_err();
            assert!(!error.to_string().contains("0708090a"), "{error}");
            assert!(matches!(error, KeyFileError::Malformed { reason, .. } if reason == expected), "{text}: {error}");
        }
    }
}
