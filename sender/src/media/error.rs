//! Why a file cannot be looped.

use std::io;

/// A media file that was refused: which, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// It cannot be opened or mapped.
    #[error("cannot open the media file {name}: {source}; check the path and that it may be read")]
    Open {
        /// The file.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// It is not an MPEG transport stream that can be looped.
    #[error("the media file {name} cannot be looped: {reason}")]
    Refused {
        /// The file.
        name: String,
        /// What is wrong, where, and the remedy.
        reason: Reason,
    },
}

/// What is wrong with a media file. Offsets are bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A directory, a device, …
    #[error("it is not a regular file")]
    NotAFile,
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// Not MPEG-TS at all.
    #[error(
        "it is not an MPEG transport stream (no sync byte 0x47 every 188 bytes); convert it: \
         ffmpeg -i INPUT -c copy -f mpegts OUTPUT.ts"
    )]
    NotTs,
    /// Blu-ray or camcorder packets with a time code in front.
    #[error(
        "it has packets of 192 bytes (M2TS, time codes in front of the packets), not 188; convert it: \
         ffmpeg -i INPUT -c copy -f mpegts OUTPUT.ts"
    )]
    M2ts,
    /// Packets with error correction behind.
    #[error(
        "it has packets of 204 bytes (error correction behind the packets), not 188; convert it: \
         ffmpeg -i INPUT -c copy -f mpegts OUTPUT.ts"
    )]
    Packets204,
    /// The last packet is cut off.
    #[error(
        "its size is not a multiple of 188: the last packet, at offset {offset}, has only {have} bytes; \
         cut it off: truncate -s {offset} FILE"
    )]
    Truncated {
        /// Where the last whole packet ends.
        offset: u64,
        /// Bytes after that.
        have: u64,
    },
    /// Sync lost.
    #[error("no sync byte 0x47 at offset {offset}: bytes are missing or damaged before it; {REMUX}")]
    NoSync {
        /// Where it should be.
        offset: u64,
    },
    /// Transport error indicator, or an adaptation field that cannot be.
    #[error("the packet at offset {offset} is damaged ({what}); {REMUX}")]
    Damaged {
        /// The packet.
        offset: u64,
        /// What shows it.
        what: &'static str,
    },
    /// Encrypted.
    #[error("the packet at offset {offset} is scrambled (PID {pid:#06x}): only clear streams can be looped")]
    Scrambled {
        /// The packet.
        offset: u64,
        /// Its PID.
        pid: u16,
    },
    /// No PAT or PMT.
    #[error("it has no programme: {what} was not found; {REMUX}")]
    NoProgramme {
        /// PAT or PMT.
        what: &'static str,
    },
    /// No clock.
    #[error("its programme (PMT on PID {pmt:#06x}) has no PCR: without a clock it cannot be paced; {REMUX}")]
    NoPcr {
        /// PID of the PMT.
        pmt: u16,
    },
    /// Less than two PCRs.
    #[error("it has only one PCR (PID {pid:#06x}): its rate cannot be told; it is too short, or {REMUX}")]
    OnePcr {
        /// PID of the PCR.
        pid: u16,
    },
    /// The clock changes its PID.
    #[error("the PCR moves to PID {pid:#06x} at offset {offset}: two programmes were joined; {REMUX}")]
    PcrPidChanges {
        /// The packet of the PMT.
        offset: u64,
        /// The new PID.
        pid: u16,
    },
    /// The clock runs backwards.
    #[error("the PCR runs backwards at offset {offset} (by {by_ms} ms): files were joined without restamping; {REMUX}")]
    PcrBackwards {
        /// The packet with the lower PCR.
        offset: u64,
        /// How far.
        by_ms: u64,
    },
    /// The clock jumps.
    #[error(
        "the PCR jumps by {by_ms} ms at offset {offset}: parts are missing, or files were joined without restamping; {REMUX}"
    )]
    PcrJump {
        /// The packet with the PCR after the jump.
        offset: u64,
        /// How far.
        by_ms: u64,
    },
    /// A PES header over two packets.
    #[error("the time stamps of the PES packet at offset {offset} are cut over two TS packets; {REMUX}")]
    SplitPes {
        /// The TS packet in which it begins.
        offset: u64,
    },
}

const REMUX: &str = "let ffmpeg write it anew: ffmpeg -fflags +genpts -i INPUT -map 0 -c copy -f mpegts OUTPUT.ts";
