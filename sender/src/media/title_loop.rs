//! A title's packets of one pass.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use memmap2::Mmap;

use super::ts::{self, PACKET_LEN, Segment, Shift};
use super::{MediaError, Reason, Ticks};

/// Transport packets in an RTP packet: as many as fit in an Ethernet frame (RFC 2250 section 2).
const PER_RTP: u64 = 7;

/// One pass of a layer, immutable: share it by `Arc`. Memory beside the mapped file is about 16 bytes a PCR.
pub struct Loop {
    name: String,
    source: Source,
    pass: ts::Pass,
    packets_per_pass: u64,
}

enum Source {
    Mapped(Mmap, Origin),
    Memory(Vec<u8>),
}

impl Source {
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Mapped(map, _) => map,
            Source::Memory(bytes) => bytes,
        }
    }
}

/// The file behind a map, and what it was when it was mapped.
struct Origin {
    file: File,
    len: u64,
    modified: Option<SystemTime>,
}

/// Remembers where in the loop a reader is, so that the due time of the next packet costs no search. Any value is right for
/// any packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct DueHint(Segment);

impl Loop {
    /// Maps a file and goes over it once.
    ///
    /// The file must not be cut short while it is looped: reading a mapped page that is gone kills the process (SIGBUS).
    /// Replace a title by renaming a new file over it, never by writing into it.
    ///
    /// # Errors
    /// The file cannot be read, or cannot be looped: the error names file, offset, reason and remedy.
    pub fn open(path: &Path) -> Result<Loop, MediaError> {
        let name = path.display().to_string();
        let failed = |source| MediaError::Open { name: name.clone(), source };
        let refused = |reason| MediaError::Refused { name: name.clone(), reason };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(refused(Reason::NotAFile));
        }
        if metadata.len() == 0 {
            return Err(refused(Reason::Empty));
        }
        let map = map(&file).map_err(failed)?;
        let origin = Origin { file, len: metadata.len(), modified: metadata.modified().ok() };
        Loop::new(name, Source::Mapped(map, origin))
    }

    /// From memory: for tests and benchmarks.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Loop, MediaError> {
        Loop::new(name.into(), Source::Memory(bytes))
    }

    fn new(name: String, source: Source) -> Result<Loop, MediaError> {
        match ts::scan(source.bytes()) {
            Ok(pass) => Ok(Loop { name, source, packets_per_pass: pass.packets.div_ceil(PER_RTP), pass }),
            Err(reason) => Err(MediaError::Refused { name, reason }),
        }
    }

    /// Whether the file was written into since it was opened. Then an index that was sent before could meet other bytes:
    /// under a key, that gives both away. A new file renamed over it is no change, the old one is still what is mapped.
    pub fn is_changed(&self) -> bool {
        match &self.source {
            Source::Mapped(_, Origin { file, len, modified }) => {
                file.metadata().is_ok_and(|now| now.len() != *len || now.modified().ok() != *modified)
            }
            Source::Memory(_) => false,
        }
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// RTP packets in one pass: seven transport packets each, the last may have fewer.
    pub fn packets_per_pass(&self) -> u64 {
        self.packets_per_pass
    }

    /// L, the time from the beginning of one pass to that of the next. A multiple of 300 ticks, so that clocks of 90 kHz and
    /// of 27 MHz move on by exactly the same.
    pub fn duration(&self) -> Ticks {
        Ticks(self.pass.duration)
    }

    /// Bytes of media in one pass.
    pub fn bytes_per_pass(&self) -> u64 {
        self.source.bytes().len() as u64
    }

    /// When packet `n` is due within its pass: 0 ≤ due < L, never less than that of the packet before.
    ///
    /// # Panics
    /// If there is no packet `n`.
    #[inline]
    pub fn due(&self, n: u64, hint: &mut DueHint) -> Ticks {
        assert!(n < self.packets_per_pass, "packet {n} of {}", self.packets_per_pass);
        let due = self.pass.timeline.due_near(n * PER_RTP, &mut hint.0);
        Ticks(due.min(self.pass.duration - 1))
    }

    /// The same without a hint.
    #[inline]
    pub(crate) fn due_at(&self, n: u64) -> Ticks {
        Ticks(self.pass.timeline.due(n * PER_RTP).min(self.pass.duration - 1))
    }

    /// Length of packet `n`'s payload in bytes.
    #[inline]
    pub fn payload_len(&self, n: u64) -> usize {
        ((self.pass.packets - n * PER_RTP).min(PER_RTP)) as usize * PACKET_LEN
    }

    /// The longest of all payloads.
    pub fn max_payload_len(&self) -> usize {
        self.pass.packets.min(PER_RTP) as usize * PACKET_LEN
    }

    /// The file's bytes that packet `n`'s payload is made of.
    ///
    /// # Panics
    /// If there is no packet `n`.
    #[inline]
    pub fn payload(&self, n: u64) -> &[u8] {
        let start = (n * PER_RTP) as usize * PACKET_LEN;
        &self.source.bytes()[start..start + self.payload_len(n)]
    }

    /// Writes the payload of packet `n` of pass `pass` and returns its length: the file's bytes with PCR, OPCR, PTS and DTS
    /// moved by pass × L, and continuity counters running on. A function of its arguments alone; pass 0 is the file itself.
    ///
    /// # Panics
    /// If there is no packet `n`, or `out` is shorter than its payload.
    #[inline]
    pub fn write_payload(&self, pass: u64, n: u64, out: &mut [u8]) -> usize {
        let payload = self.payload(n);
        let len = payload.len();
        let out = &mut out[..len];
        out.copy_from_slice(payload);
        if pass != 0 {
            self.shift(out, Shift::to_pass(pass, self.pass.duration / Ticks::PER_90KHZ));
        }
        len
    }

    /// Undoes in place what [`write_payload`](Self::write_payload) did for `pass`: gives the file's bytes back.
    pub fn unstamp(&self, pass: u64, payload: &mut [u8]) {
        self.shift(payload, Shift::to_pass(pass, self.pass.duration / Ticks::PER_90KHZ).back());
    }

    #[inline]
    fn shift(&self, payload: &mut [u8], shift: Shift) {
        for packet in payload.as_chunks_mut().0 {
            ts::restamp(packet, &self.pass.pids, shift);
        }
    }

    /// RTP payload type: 33, MPEG-2 transport stream (RFC 3551 section 6).
    pub fn payload_type(&self) -> u8 {
        33
    }

    /// Rate of the RTP clock in hertz (RFC 2250 section 2).
    pub fn clock_rate(&self) -> u32 {
        90_000
    }
}

impl fmt::Debug for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loop")
            .field("name", &self.name)
            .field("packets_per_pass", &self.packets_per_pass)
            .field("seconds", &self.duration().as_secs_f64())
            .finish_non_exhaustive()
    }
}

#[expect(unsafe_code, reason = "mapping a file cannot be made safe: others may change it")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is only read. That nobody changes or cuts the file meanwhile cannot be enforced; `Loop::open` says what
    // then happens. Every value read from it is checked or harmless wherever it is used: changed bytes give a changed
    // stream, not undefined behaviour of ours beyond what the data race on bytes is.
    unsafe { Mmap::map(file) }
}
