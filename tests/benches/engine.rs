//! The engine without the kernel: what a packet costs, resident or encrypted, beside the bare work of the same bytes.

use std::{
    fs::File,
    hint::black_box,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use sender::{
    media::Loop,
    packet::{Destination, HeaderTemplate, RTP_OFFSET, Stream},
    srtp::{MasterKey, PacketIndex},
    transmit::{
        Cursor, Desc, Engine, Extent, FRAME_SIZE, Limits, Owner, Port, StreamSlot, Time, memory_port::MemoryPort,
    },
};

/// Frames that are resident: 2 GiB.
const RESIDENT: u64 = 1_000_000;
const RING: usize = 2048;
const SCRATCH: u32 = 4096;
/// Packets a figure is taken over.
const PACKETS: u64 = 2_000_000;

/// Nanoseconds per packet, and those of the yardstick.
pub(crate) struct Figure {
    /// Of the engine.
    pub engine: f64,
    /// Of the bare work.
    pub bare: f64,
}

/// A title of a million packets: passes of the sample, written one behind the other.
pub(crate) fn long_title(directory: &Path, packets: u64) -> std::io::Result<PathBuf> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("media/sample.ts");
    let media = Loop::open(&sample).map_err(std::io::Error::other)?;
    let path = directory.join("long.ts");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let mut payload = vec![0; media.max_payload_len()];
    for pass in 0..packets.div_ceil(media.packets_per_pass()) {
        for n in 0..media.packets_per_pass() {
            let len = media.write_payload(pass, n, &mut payload);
            file.write_all(&payload[..len])?;
        }
    }
    file.flush()?;
    Ok(path)
}

/// A title on an engine with so many copies, evenly staggered over the loop.
struct Rig {
    engine: Engine<MemoryPort>,
    now: Time,
    step: u64,
}

impl Rig {
    fn new(media: &Arc<Loop>, cursors: u32, resident: u32) -> Self {
        let frames = resident + SCRATCH;
        let start = Time::from_nanos(1 << 40);
        let limits = Limits { streams: 1, cursors, scratch_frames: SCRATCH, burst: 64, max_lateness: u64::MAX };
        let mut engine = Engine::new(MemoryPort::new(frames as usize, RING), limits, start, 1);
        let key = MasterKey::new([1; 16], [2; 14]);
        let stream = Arc::new(Stream::new(media.clone(), 1, PacketIndex::new(0), 0, Some((&key, None))));
        let slot = StreamSlot::new(stream.clone(), Extent { first: 0, count: resident }, Owner(1));
        engine.put_stream(0, Some(Box::new(slot)));
        let pass = media.duration().to_nanos();
        for number in 0..cursors {
            let group = std::net::SocketAddr::from(([239, 192, (number >> 8) as u8, number as u8], 5004));
            let source = std::net::SocketAddr::from(([10, 0, 0, 1], 5004));
            let destination =
                Destination::multicast([2, 0, 0, 0, 0, 1], &[], source, group, 8, 0).expect("both are IPv4");
            // The copy that started first is furthest ahead.
            let at = start.plus_nanos(pass / u64::from(cursors) * u64::from(number));
            let cursor = Cursor::new(0, &stream, at, HeaderTemplate::new(&destination), None);
            assert!(engine.start(number, Box::new(cursor), start).is_ok(), "the number is free");
        }
        // A step in which about four batches fall due.
        let step = pass / media.packets_per_pass() * 256 / u64::from(cursors);
        Self { engine, now: start, step: step.max(1) }
    }

    /// Turns until so much virtual time has passed.
    fn skip(&mut self, nanos: u64) {
        let until = self.now.plus_nanos(nanos);
        while self.now < until {
            self.now = self.now.plus_nanos(self.step);
            self.engine.turn(self.now);
        }
    }

    /// Turns until so many packets have left; nanoseconds per packet.
    fn time(&mut self, packets: u64) -> f64 {
        let from = self.engine.counters().sent;
        let start = Instant::now();
        while self.engine.counters().sent - from < packets {
            self.now = self.now.plus_nanos(self.step);
            self.engine.turn(self.now);
        }
        start.elapsed().as_nanos() as f64 / (self.engine.counters().sent - from) as f64
    }
}

/// `engine.resident`: patched and posted, nothing encrypted, with so many cursors over a million resident frames.
///
/// The first pass fills the frames; then every copy but the leading one finds them resident. With one cursor alone there
/// is nothing to find: its frames are marked by a second cursor that runs right behind the leading one.
pub(crate) fn resident(media: &Arc<Loop>, cursors: u32) -> Figure {
    let resident = media.packets_per_pass().min(RESIDENT) as u32;
    let pass = media.duration().to_nanos();
    let mut rig = Rig::new(media, cursors.max(2), resident);
    // Until the leading copy is at the end of its first pass, all others find what it has left behind.
    rig.skip(pass / 2 + pass / 2 / u64::from(cursors.max(2)));
    if cursors == 1 {
        rig.engine.stop(0, rig.now);
    } else {
        rig.skip(pass / 2 - pass / u64::from(cursors));
        rig.engine.stop(0, rig.now);
    }
    let before = *rig.engine.counters();
    let packets = PACKETS.min(u64::from(resident) / 4 * u64::from(cursors.max(2) - 1));
    let engine = rig.time(packets);
    let after = rig.engine.counters();
    let made = (after.encrypted - before.encrypted) as f64 / (after.sent - before.sent) as f64;
    assert!(made < 0.001, "{:.2} % of the packets were not resident", made * 100.0);
    let bare = bare_patch(rig.engine.port_mut().memory(), u64::from(resident), u64::from(cursors), packets);
    Figure { engine, bare }
}

/// The yardstick: 12 bytes of the headers patched and a descriptor written, in the order that so many cursors go.
fn bare_patch(memory: &mut [u8], frames: u64, cursors: u64, packets: u64) -> f64 {
    let mut ring = vec![Desc::default(); RING];
    let apart = frames / cursors;
    let mut places: Vec<u64> = (0..cursors).map(|cursor| cursor * apart).collect();
    let start = Instant::now();
    for n in 0..packets {
        let place = &mut places[(n % cursors) as usize];
        let frame = *place as usize * FRAME_SIZE;
        *place = if *place + 1 == frames { 0 } else { *place + 1 };
        let patch = &mut memory[frame + RTP_OFFSET - 42..frame + RTP_OFFSET];
        patch[0..6].copy_from_slice(&[1, 0, 0x5e, 1, 2, n as u8]);
        patch[30..34].copy_from_slice(&(n as u32).to_be_bytes());
        patch[36..38].copy_from_slice(&[19, n as u8]);
        ring[n as usize % RING] = Desc { addr: (frame + RTP_OFFSET - 42) as u64, len: 1384 };
    }
    black_box(&ring);
    start.elapsed().as_nanos() as f64 / packets as f64
}

/// `engine.encrypt`: one copy alone, every packet is made; beside AES-CTR and HMAC-SHA1 of the same bytes in one frame.
pub(crate) fn encrypt(media: &Arc<Loop>, cursors: u32) -> Figure {
    // No resident frames: every copy makes every packet.
    let mut rig = Rig::new(media, cursors, 0);
    rig.skip(rig.step * 8);
    let packets = PACKETS / 8;
    let engine = rig.time(packets);
    let counters = rig.engine.counters();
    assert_eq!(counters.sent, counters.encrypted);
    Figure { engine, bare: bare_crypto(media.max_payload_len(), packets) }
}

fn bare_crypto(len: usize, packets: u64) -> f64 {
    use aes::cipher::{KeyIvInit, StreamCipher};
    use hmac::{KeyInit, Mac};
    let key = [3u8; 16];
    let mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(&[5; 20]).expect("HMAC takes keys of any length");
    let mut packet = vec![0u8; len + 16];
    let start = Instant::now();
    for n in 0..packets {
        let mut iv = [0u8; 16];
        iv[6..14].copy_from_slice(&n.to_be_bytes());
        let mut cipher = ctr::Ctr128BE::<aes::Aes128>::new(&key.into(), &iv.into());
        cipher.apply_keystream(&mut packet[12..12 + len]);
        let mut mac = mac.clone();
        mac.update(&packet[..16 + len]);
        black_box(mac.finalize().into_bytes());
    }
    start.elapsed().as_nanos() as f64 / packets as f64
}
