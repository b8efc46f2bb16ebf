//! What was received against the file that was sent.

use super::stage::number;
use anyhow::{Context, Result, ensure};
use sender::media::{DueHint, Loop};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A title's file, as the sender sees it.
pub(crate) struct Media {
    pub(crate) pass: Loop,
    bytes: Vec<u8>,
}

impl Media {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { pass: Loop::open(path)?, bytes: fs::read(path)? })
    }

    /// Holds what a receiver wrote against the file: with the restamping of each pass undone, it is the file again and again,
    /// from the place of the first packet received. Returns how many packets it was.
    ///
    /// `first_index` is the stream's first, as the sender's status tells it.
    pub(crate) fn compare(&self, first_index: u64, summary: &Value, received: &[u8]) -> Result<u64> {
        let packets = self.pass.packets_per_pass();
        let first = number(&summary["first_index"]) - first_index;
        let (mut at, mut rest) = (first, received.to_vec());
        let mut rest = rest.as_mut_slice();
        while !rest.is_empty() {
            let (pass, n) = (at / packets, at % packets);
            let length = self.pass.payload_len(n);
            ensure!(rest.len() >= length, "packet {n} of pass {pass} is cut off");
            let (payload, after) = rest.split_at_mut(length);
            self.pass.unstamp(pass, payload);
            let start = usize::try_from(n)? * self.pass.max_payload_len();
            ensure!(payload == &self.bytes[start..start + length], "packet {n} of pass {pass} differs from the file");
            rest = after;
            at += 1;
        }
        Ok(at - first)
    }

    /// The whole passes within what was received.
    pub(crate) fn whole_passes<'a>(&self, first_index: u64, summary: &Value, received: &'a [u8]) -> &'a [u8] {
        let packets = self.pass.packets_per_pass();
        let first = number(&summary["first_index"]) - first_index;
        let lead: usize = match first % packets {
            0 => 0,
            begin => (begin..packets).map(|n| self.pass.payload_len(n)).sum(),
        };
        let whole = &received[lead..];
        &whole[..whole.len() / self.bytes.len() * self.bytes.len()]
    }

    /// The length of the file.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// When a packet is due, counted from the beginning of pass 0, in ns.
    pub(crate) fn due(&self, packet: u64) -> u64 {
        let (pass, n) = (packet / self.pass.packets_per_pass(), packet % self.pass.packets_per_pass());
        pass * self.pass.duration().to_nanos() + self.pass.due(n, &mut DueHint::default()).to_nanos()
    }
}

/// Makes a title of 3.84 s in `folder`, as the sample is made: 96 pictures last as long as 180 AAC frames.
pub(crate) fn make_short_title(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("short.ts");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25,trim=end_frame=96"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:beep_factor=4:sample_rate=48000,atrim=end_sample=183296"])
        .args(["-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main"])
        .args(["-pix_fmt", "yuv420p", "-g", "24", "-keyint_min", "24", "-sc_threshold", "0", "-bf", "2"])
        .args(["-b:v", "850k", "-maxrate", "850k", "-bufsize", "850k", "-c:a", "aac", "-b:a", "96k", "-ac", "2"])
        .args(["-f", "mpegts", "-muxrate", "1200k", "-pcr_period", "20", "-muxdelay", "0.7", "-muxpreload", "0.5"])
        .arg(&path)
        .status()
        .context("ffmpeg makes the short title: `cargo xtask setup` installs it")?;
    ensure!(made.success(), "ffmpeg made no title: {made}");
    Ok(path)
}
