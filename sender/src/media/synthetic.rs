//! Transport streams built by code, for tests: a programme whose every clock and counter is known.

pub(crate) const PMT_PID: u16 = 0x1000;
pub(crate) const VIDEO_PID: u16 = 0x100;
pub(crate) const AUDIO_PID: u16 = 0x101;
const CLOCK: u64 = 1 << 33;

/// What a stream is to look like.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// Pictures of 40 ms.
    pub(crate) pictures: u64,
    /// Transport packets a picture takes, all PIDs and stuffing together.
    pub(crate) packets_per_picture: u64,
    /// First DTS, in ticks of 90 kHz; the PCR begins half a second before.
    pub(crate) first_dts: u64,
    /// Null packets after the last picture.
    pub(crate) tail: u64,
    /// Whether PCRs come in packets with nothing else in them, and with an OPCR.
    pub(crate) bare_pcr: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe { pictures: 50, packets_per_picture: 20, first_dts: 126_000, tail: 0, bare_pcr: false }
    }
}

impl Recipe {
    /// Ticks of 90 kHz that the pictures last.
    pub(crate) fn span(&self) -> u64 {
        self.pictures * 3600
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        for picture in 0..self.pictures {
            let begin = writer.count();
            if picture % 5 == 0 {
                writer.tables();
            }
            let dts = (self.first_dts + picture * 3600) % CLOCK;
            let pcr = (self.first_dts + CLOCK - 45_000 + picture * 3600) % CLOCK * 300 + 299;
            if self.bare_pcr {
                writer.packet(VIDEO_PID, false, Some(Adaptation { pcr, opcr: Some(pcr / 7) }), &[]);
            }
            let adaptation = (!self.bare_pcr).then_some(Adaptation { pcr, opcr: None });
            writer.packet(VIDEO_PID, true, adaptation, &pes(0xe0, (dts + 7200) % CLOCK, Some(dts)));
            writer.packet(VIDEO_PID, false, None, &[picture as u8; 184]);
            writer.packet(AUDIO_PID, true, None, &pes(0xc0, dts, None));
            while writer.count() < begin + self.packets_per_picture {
                writer.null();
            }
        }
        (0..self.tail).for_each(|_| writer.null());
        writer.bytes
    }
}

pub(crate) struct Adaptation {
    pub(crate) pcr: u64,
    pub(crate) opcr: Option<u64>,
}

/// Appends packets, counting on.
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) counters: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        // Not from zero: a real recording begins anywhere.
        Writer { bytes: Vec::new(), counters: (0..0x2000).map(|pid| (pid % 16) as u8).collect() }
    }
}

impl Writer {
    pub(crate) fn count(&self) -> u64 {
        self.bytes.len() as u64 / 188
    }

    /// PAT and PMT.
    pub(crate) fn tables(&mut self) {
        self.pat();
        self.pmt(VIDEO_PID);
    }

    pub(crate) fn pat(&mut self) {
        let [high, low] = PMT_PID.to_be_bytes();
        let network = [0, 0, 0xe0, 0x10];
        let pat = [0, 0x00, 0xb0, 17, 0, 1, 0xc1, 0, 0];
        self.packet(0, true, None, &[&pat[..], &network, &[0, 1, 0xe0 | high, low], &[0; 4]].concat());
    }

    pub(crate) fn pmt(&mut self, pcr_pid: u16) {
        let entry = |kind: u8, pid: u16| [kind, 0xe0 | (pid >> 8) as u8, pid as u8, 0xf0, 0];
        let head = [0, 0x02, 0xb0, 23, 0, 1, 0xc1, 0, 0, 0xe0 | (pcr_pid >> 8) as u8, pcr_pid as u8, 0xf0, 0];
        let body = [&head[..], &entry(0x1b, VIDEO_PID), &entry(0x0f, AUDIO_PID), &[0; 4]].concat();
        self.packet(PMT_PID, true, None, &body);
    }

    pub(crate) fn null(&mut self) {
        self.bytes.extend([0x47, 0x1f, 0xff, 0x10]);
        self.bytes.extend([0xff; 184]);
    }

    /// One packet; a payload shorter than the packet is stuffed in the adaptation field (PES) or behind it (tables).
    pub(crate) fn packet(&mut self, pid: u16, unit_start: bool, adaptation: Option<Adaptation>, payload: &[u8]) {
        let mut field = Vec::new();
        if let Some(Adaptation { pcr, opcr }) = adaptation {
            field.push(0x10 | if opcr.is_some() { 0x08 } else { 0 });
            field.extend(clock_field(pcr));
            field.extend(opcr.map(clock_field).into_iter().flatten());
        }
        let is_table = pid == 0 || pid == PMT_PID;
        let room = if field.is_empty() { 184 } else { 183 - field.len() };
        let payload = &payload[..payload.len().min(room)];
        let counter = &mut self.counters[usize::from(pid)];
        let mut control = 0;
        if !payload.is_empty() {
            *counter = (*counter + 1) % 16;
            control |= 0x10;
        }
        if !field.is_empty() || (!is_table && payload.len() < 184) {
            control |= 0x20;
        }
        let start = if unit_start { 0x40 } else { 0 };
        self.bytes.extend([0x47, start | (pid >> 8) as u8, pid as u8, control | *counter]);
        if control & 0x20 != 0 {
            let len = 183 - payload.len();
            if field.is_empty() && len > 0 {
                field.push(0);
            }
            field.resize(len, 0xff);
            self.bytes.push(len as u8);
            self.bytes.extend(field);
        }
        self.bytes.extend(payload);
        let stuffing = self.bytes.len().next_multiple_of(188);
        self.bytes.resize(stuffing, 0xff);
    }
}

/// A PES header with its stamps and some bytes of payload.
pub(crate) fn pes(stream_id: u8, pts: u64, dts: Option<u64>) -> Vec<u8> {
    let mut out = vec![0, 0, 1, stream_id, 0, 0, 0x80];
    match dts {
        Some(dts) => {
            out.extend([0xc0, 10]);
            out.extend(stamp_field(3, pts));
            out.extend(stamp_field(1, dts));
        }
        None => {
            out.extend([0x80, 5]);
            out.extend(stamp_field(2, pts));
        }
    }
    out.extend([0x5a; 40]);
    out
}

fn stamp_field(prefix: u8, value: u64) -> [u8; 5] {
    let bits = u64::from(prefix) << 36
        | (value >> 30 & 7) << 33
        | 1 << 32
        | (value >> 15 & 0x7fff) << 17
        | 1 << 16
        | (value & 0x7fff) << 1
        | 1;
    let [.., a, b, c, d, e] = bits.to_be_bytes();
    [a, b, c, d, e]
}

fn clock_field(ticks: u64) -> [u8; 6] {
    let bits = (ticks / 300 % CLOCK) << 15 | 0x3f << 9 | (ticks % 300);
    let [_, _, field @ ..] = bits.to_be_bytes();
    field
}

/// Everything that restamping may touch in a stream, read in the plainest way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reading {
    /// PID, continuity counter, whether it has payload.
    pub(crate) counters: Vec<(u16, u8, bool)>,
    /// Position and 27 MHz value.
    pub(crate) pcrs: Vec<(u64, u64)>,
    pub(crate) opcrs: Vec<u64>,
    /// PID and 90 kHz value.
    pub(crate) pts: Vec<(u16, u64)>,
    pub(crate) dts: Vec<(u16, u64)>,
}

pub(crate) fn read(bytes: &[u8]) -> Reading {
    let mut reading = Reading::default();
    for (number, packet) in (0u64..).zip(bytes.chunks(188)) {
        assert_eq!(packet[0], 0x47);
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        reading.counters.push((pid, packet[3] & 0x0f, packet[3] & 0x10 != 0));
        let clock = |at: usize| {
            let bits = packet[at..at + 6].iter().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
            (bits >> 15) * 300 + (bits & 0x1ff)
        };
        let mut payload = 4;
        if packet[3] & 0x20 != 0 {
            payload = 5 + usize::from(packet[4]);
            let flags = if packet[4] > 0 { packet[5] } else { 0 };
            if flags & 0x10 != 0 {
                reading.pcrs.push((number, clock(6)));
            }
            if flags & 0x08 != 0 {
                reading.opcrs.push(clock(if flags & 0x10 != 0 { 12 } else { 6 }));
            }
        }
        if packet[1] & 0x40 != 0 && packet[3] & 0x10 != 0 && packet[payload..].starts_with(&[0, 0, 1]) {
            let header = &packet[payload..];
            let stamp = |at: usize| {
                let bits = header[at..at + 5].iter().fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
                (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7fff) << 15 | bits >> 1 & 0x7fff
            };
            if header[7] & 0x80 != 0 {
                reading.pts.push((pid, stamp(9)));
                reading.dts.push((pid, stamp(if header[7] & 0x40 != 0 { 14 } else { 9 })));
            }
        }
    }
    reading
}
