//! The engine without the kernel: what a packet costs, resident or encrypted, beside the bare work on the same bytes.

use std::{
    fs::File,
    hint::black_box,
    io::{self, BufWriter, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use aes::Aes128Enc;
use ctr::{
    CtrCore,
    cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper},
    flavors::Ctr128BE,
};
use hmac::{Hmac, Mac};
use sender::{
    media::{DueHint, Loop},
    packet::{Destination, HeaderTemplate, Place, RTP_OFFSET, Stream},
    srtp::{MasterKey, PacketIndex},
    transmit::{
        Cursor, Desc, Engine, Extent, FRAME_SIZE, Limits, Owner, Port, StreamSlot, Time, memory_port::MemoryPort,
    },
};
use sha1::Sha1;

use super::report::Report;

/// Frames that are resident: 2 GiB.
const RESIDENT: u64 = 1_000_000;
const RING: usize = 2048;
const SCRATCH: u32 = 4096;
/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 42;
const CURSORS: [u32; 3] = [1, 100, 10_000];

pub(crate) fn run(report: &mut Report) {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return report.skip("engine", &format!("no temporary folder: {error}")),
    };
    let path = match long_title(folder.path(), RESIDENT) {
        Ok(path) => path,
        Err(error) => return report.skip("engine", &format!("a title of a million packets can't be written: {error}")),
    };
    let media = match Loop::open(&path) {
        Ok(media) => Arc::new(media),
        Err(error) => return report.skip("engine", &error.to_string()),
    };
    for cursors in CURSORS {
        let (engine, bare) = resident(&media, cursors);
        let yardstick = "12 bytes patched, descriptor written";
        report.add(&format!("engine.resident.{cursors}"), engine, "ns/pkt", yardstick, bare, "≤ 100 ns");
    }
    for cursors in CURSORS {
        let (engine, bare) = encrypt(&media, cursors);
        let yardstick = "AES-CTR + HMAC-SHA1 of the same bytes";
        report.add(&format!("engine.encrypt.{cursors}"), engine, "ns/pkt", yardstick, bare, "≤ 1.15 ×");
    }
}

/// The sample title of the repository.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("media/sample.ts")
}

/// A title of at least so many packets: passes of the sample, one behind the other.
pub(crate) fn long_title(folder: &Path, packets: u64) -> io::Result<PathBuf> {
    let media = Loop::open(&sample()).map_err(io::Error::other)?;
    let path = folder.join("long.ts");
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

/// A protected stream of `media`.
pub(crate) fn stream(media: &Arc<Loop>) -> Arc<Stream> {
    let key = MasterKey::new([1; 16], [2; 14]);
    Arc::new(Stream::new(media.clone(), 1, PacketIndex::new(0), 0, Some((&key, None))))
}

/// Copy `number` of `all`, evenly spread over the loop, which stands at its place at `now`.
pub(crate) fn spread_cursor(stream: &Stream, number: u32, all: u32, now: Time) -> Cursor {
    let n = stream.media().packets_per_pass() / u64::from(all) * u64::from(number);
    let ahead = stream.media().due(n, &mut DueHint::default()).to_nanos();
    let start = Time::from_nanos(now.nanos() - ahead);
    let cursor = Cursor::new(0, stream, start, template(number), None);
    cursor.from(Place { pass: 0, n }, stream).expect("far from the end of the index space")
}

fn template(number: u32) -> HeaderTemplate {
    let group = SocketAddr::from(([239, 192, (number >> 8) as u8, number as u8], 5004));
    let source = SocketAddr::from(([10, 78, 0, 1], 5004));
    let destination = Destination::multicast([2, 0, 0, 0, 0, 1], &[], source, group, 8, 0);
    HeaderTemplate::new(&destination.expect("both are IPv4"))
}

/// An engine with one stream in a port, driven by virtual time.
pub(crate) struct Rig<P> {
    pub(crate) engine: Engine<P>,
    stream: Arc<Stream>,
    now: Time,
}

impl<P: Port> Rig<P> {
    pub(crate) fn new(port: P, media: &Arc<Loop>, resident: u32, cursors: u32, scratch: u32) -> Self {
        let now = Time::from_nanos(1 << 60);
        let limits = Limits { streams: 1, cursors, scratch_frames: scratch, burst: 64, max_lateness: u64::MAX };
        let mut engine = Engine::new(port, limits, now, 1);
        let stream = stream(media);
        let slot = StreamSlot::new(stream.clone(), Extent { first: 0, count: resident }, Owner(1));
        engine.put_stream(0, Some(Box::new(slot)));
        Self { engine, stream, now }
    }

    /// Lets one copy run through the first pass: every frame is filled.
    fn fill(&mut self) {
        let cursor = Cursor::new(0, &self.stream, self.now, template(0), None);
        assert!(self.engine.start(0, Box::new(cursor), self.now).is_ok(), "the number is free");
        // Not to the very end: the last step could reach into the second pass, and fill the first frames anew.
        self.time(1, self.stream.media().packets_per_pass() - 512);
        self.engine.stop(0, self.now);
        self.engine.turn(self.now);
    }

    pub(crate) fn spread(&mut self, cursors: u32) {
        for number in 0..cursors {
            let cursor = spread_cursor(&self.stream, number, cursors, self.now);
            assert!(self.engine.start(number, Box::new(cursor), self.now).is_ok(), "the number is free");
        }
    }

    /// Turns until so many packets have left, in steps in which about four bursts fall due; nanoseconds per packet.
    pub(crate) fn time(&mut self, cursors: u32, packets: u64) -> f64 {
        let media = self.stream.media();
        let step = (media.duration().to_nanos() / media.packets_per_pass() * 256 / u64::from(cursors)).max(1);
        let from = self.engine.counters().sent;
        let start = Instant::now();
        while self.engine.counters().sent - from < packets {
            self.now = self.now.plus_nanos(step);
            self.engine.turn(self.now);
        }
        start.elapsed().as_nanos() as f64 / (self.engine.counters().sent - from) as f64
    }
}

/// Patched and posted, nothing encrypted: so many cursors, spread over a million frames that one pass has filled.
fn resident(media: &Arc<Loop>, cursors: u32) -> (f64, f64) {
    let frames = media.packets_per_pass() as u32;
    let port = MemoryPort::new((frames + SCRATCH) as usize, RING);
    let mut rig = Rig::new(port, media, frames, cursors, SCRATCH);
    rig.fill();
    rig.spread(cursors);
    let before = rig.engine.counters().encrypted;
    // Each cursor goes on about to where the next one began: hardly one comes to frames that are not filled.
    let packets = u64::from(frames) * 9 / 10;
    let engine = rig.time(cursors, packets);
    let made = rig.engine.counters().encrypted - before;
    assert!(made < packets / 1000, "{made} packets were not resident");
    let bare = bare_patch(rig.engine.port_mut().memory(), u64::from(frames), u64::from(cursors));
    (engine, bare)
}

/// The yardstick: 12 bytes of the headers patched and a descriptor written, in the order in which so many cursors go.
fn bare_patch(memory: &mut [u8], frames: u64, cursors: u64) -> f64 {
    let mut ring = vec![Desc::default(); RING];
    let apart = frames / cursors;
    let mut places: Vec<u64> = (0..cursors).map(|cursor| cursor * apart).collect();
    let packets = frames * 9 / 10;
    let start = Instant::now();
    for n in 0..packets {
        let place = &mut places[(n % cursors) as usize];
        let frame = *place as usize * FRAME_SIZE;
        *place = if *place + 1 == frames { 0 } else { *place + 1 };
        let headers = &mut memory[frame + RTP_OFFSET - HEADERS..frame + RTP_OFFSET];
        headers[0..6].copy_from_slice(&[1, 0, 0x5e, 1, 2, n as u8]);
        headers[30..34].copy_from_slice(&(n as u32).to_be_bytes());
        headers[36..38].copy_from_slice(&[19, n as u8]);
        ring[n as usize % RING] = Desc { addr: (frame + RTP_OFFSET - HEADERS) as u64, len: 1384 };
    }
    black_box(&ring);
    start.elapsed().as_nanos() as f64 / packets as f64
}

/// Every packet made anew: no frame is resident. Turn and turn about with the yardstick, the least of each is taken.
fn encrypt(media: &Arc<Loop>, cursors: u32) -> (f64, f64) {
    const ROUNDS: usize = 5;
    let mut rig = Rig::new(MemoryPort::new(SCRATCH as usize, RING), media, 0, cursors, SCRATCH);
    rig.spread(cursors);
    let packets = 50_000;
    let (mut engine, mut bare) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        engine = engine.min(rig.time(cursors, packets));
        bare = bare.min(bare_crypto(media.max_payload_len(), packets));
    }
    assert_eq!(rig.engine.counters().sent, rig.engine.counters().encrypted);
    (engine, bare)
}

fn bare_crypto(len: usize, packets: u64) -> f64 {
    let aes = Aes128Enc::new(&[3; 16].into());
    let keyed = Hmac::<Sha1>::new_from_slice(&[5; 20]).expect("HMAC takes keys of any length");
    let mut packet = vec![0u8; 12 + len + 4];
    let start = Instant::now();
    for n in 0..packets {
        let iv = u128::from(n) << 16;
        let core = CtrCore::<&Aes128Enc, Ctr128BE>::inner_iv_init(&aes, &iv.to_be_bytes().into());
        StreamCipherCoreWrapper::from_core(core).apply_keystream(&mut packet[12..12 + len]);
        let mut mac = keyed.clone();
        mac.update(&packet);
        black_box(mac.finalize().into_bytes());
    }
    start.elapsed().as_nanos() as f64 / packets as f64
}
