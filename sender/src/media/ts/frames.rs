//! How long the last PES packet of a stream lasts: what must lie between its DTS and the first DTS of the next pass.

use super::packet::{PACKET_LEN, TsPacket};

/// No picture and no audio packet lasts longer: a longer estimate comes from subtitles or from damage.
const MAX_90KHZ: u64 = 90_000;
/// The same for private streams, where audio (AC-3) cannot be told from subtitles.
const MAX_PRIVATE_90KHZ: u64 = 22_500;
/// A PES packet of audio is far shorter.
const MAX_AUDIO_BYTES: usize = 1 << 18;

/// What the estimate is made from.
pub(super) struct LastUnit {
    pub(super) pid: u16,
    pub(super) stream_id: u8,
    /// Transport packet in which the last PES packet begins.
    pub(super) packet: u64,
    /// Elementary stream bytes in it, and in all before it.
    pub(super) bytes: u64,
    pub(super) bytes_before: u64,
    /// From the lowest to the highest DTS, and the last step.
    pub(super) span: u64,
    pub(super) step: u64,
}

impl LastUnit {
    /// Its duration in ticks of 90 kHz, at least 1.
    pub(super) fn duration(&self, packets: &[[u8; PACKET_LEN]]) -> u64 {
        let by_bytes = if self.bytes_before == 0 { 0 } else { (self.span * self.bytes).div_ceil(self.bytes_before) };
        let estimate = match self.stream_id {
            // Audio: several frames to a PES packet, and the last one may hold fewer.
            0xc0..=0xdf => adts_duration(&self.collect(packets)).unwrap_or(by_bytes).min(MAX_90KHZ),
            0xe0..=0xef => self.step.min(MAX_90KHZ),
            0xbd => by_bytes.min(MAX_PRIVATE_90KHZ),
            _ => self.step.min(MAX_PRIVATE_90KHZ),
        };
        estimate.max(1)
    }

    /// The elementary stream bytes of the last PES packet.
    fn collect(&self, packets: &[[u8; PACKET_LEN]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for packet in packets[self.packet as usize..].iter().map(TsPacket).filter(|packet| packet.pid() == self.pid) {
            bytes.extend(packet.payload());
            if bytes.len() > MAX_AUDIO_BYTES {
                break;
            }
        }
        let header = bytes.get(8).map_or(0, |&len| 9 + usize::from(len));
        bytes.drain(..header.min(bytes.len()));
        bytes
    }
}

/// Duration in ticks of 90 kHz of all ADTS frames (ISO/IEC 13818-7 section 6.2) that begin in these bytes, the first of which
/// begins one. `None` if they are not ADTS.
fn adts_duration(mut bytes: &[u8]) -> Option<u64> {
    const RATES: [u64; 13] = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];
    let mut samples = 0;
    let mut rate = None;
    while let [0xff, b, c, d, e, f, g, ..] = bytes {
        if b & 0xf6 != 0xf0 {
            break;
        }
        let len = usize::from(d & 3) << 11 | usize::from(*e) << 3 | usize::from(f >> 5);
        rate = RATES.get(usize::from(c >> 2 & 0x0f)).or(rate);
        samples += 1024 * (u64::from(g & 3) + 1);
        bytes = bytes.get(len.max(7)..).unwrap_or(&[]);
    }
    rate.map(|rate| (samples * 90_000).div_ceil(*rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adts(frames: usize) -> Vec<u8> {
        // AAC LC, 48 kHz, stereo, frames of 10 bytes.
        [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x5f, 0xfc, 1, 2, 3].repeat(frames)
    }

    #[test]
    fn aac_frames_are_counted() {
        assert_eq!(adts_duration(&adts(1)), Some(1920));
        assert_eq!(adts_duration(&adts(7)), Some(7 * 1920));
        assert_eq!(adts_duration(b"no audio"), None);
        assert_eq!(adts_duration(&[]), None);
    }

    #[test]
    fn audio_of_other_kinds_is_judged_by_its_bytes_and_pictures_by_their_step() {
        let unit = |stream_id| LastUnit {
            pid: 256,
            stream_id,
            packet: 0,
            bytes: 100,
            bytes_before: 900,
            span: 9000,
            step: 3600,
        };
        assert_eq!(unit(0xc0).duration(&[]), 1000);
        assert_eq!(unit(0xbd).duration(&[]), 1000);
        assert_eq!(unit(0xe0).duration(&[]), 3600);
    }
}
