//! A stream on several copies, sent by the real engine over any port, with the clock in the check's hand.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use sender::{
    media::Loop,
    packet::{Destination, HeaderTemplate},
    transmit::{
        Counters, Cursor, Engine, FrameBudget, Limits, Owner, Port, PortStats, StreamSlot, Time, afxdp_port::AfXdpPort,
        now,
    },
    xsk::{
        XskError,
        mmap::HugePages,
        socket::{Mode, SocketConfig},
        umem::UmemConfig,
    },
};

use super::title;

/// Fewer than the title has packets: the rest is made in scratch frames, every time.
const RESIDENT_FRAMES: usize = 1024;
const SCRATCH_FRAMES: u32 = 2048;
/// As many as the driver's receive ring wants, and some.
const FILL_FRAMES: u32 = 1024;
/// Nothing here takes so long unless it hangs.
const LIMIT: Duration = Duration::from_secs(15);
const SOURCE: &str = "10.0.0.1:5004";

/// Memory of a socket of these checks.
pub(crate) fn memory() -> UmemConfig {
    let tx_frames = RESIDENT_FRAMES + SCRATCH_FRAMES as usize;
    UmemConfig { tx_frames, rx_frames: FILL_FRAMES, huge_pages: HugePages::Off }
}

/// Where a socket of these checks binds.
pub(crate) fn binding(interface: &str, queue: u32, mode: Mode) -> SocketConfig {
    SocketConfig { interface: interface.to_owned(), queue, ring: 1024, mode, ..SocketConfig::default() }
}

/// The product's own port.
pub(crate) fn open(interface: &str, queue: u32, mode: Mode) -> Result<AfXdpPort, XskError> {
    AfXdpPort::open(binding(interface, queue, mode), memory())
}

/// Copies under way.
pub(crate) struct Sending<P> {
    engine: Engine<P>,
    /// The title's clock, which runs as fast as packets leave.
    clock: Time,
}

impl<P: Port> Sending<P> {
    /// `copies` of stream `number`, each `stagger` behind the one before.
    pub(crate) fn start(port: P, media: &Arc<Loop>, number: u8, copies: u8, stagger: Duration) -> Result<Self> {
        let clock = now();
        let limits = Limits {
            streams: 1,
            cursors: u32::from(title::COPIES),
            scratch_frames: SCRATCH_FRAMES,
            burst: 64,
            max_lateness: u64::MAX,
        };
        let mut engine = Engine::new(port, limits, clock, u64::from(number));
        let stream = Arc::new(title::stream(number, media.clone()));
        let extent = FrameBudget::new(engine.resident_frames()).take(engine.resident_frames());
        engine.put_stream(0, Some(Box::new(StreamSlot::new(stream.clone(), extent, Owner(1)))));
        for copy in 0..copies {
            let group = (title::group(number, copy), title::RTP_PORT).into();
            let to = Destination::multicast([2, 0, 0, 0, 0, 1], &[], SOURCE.parse()?, group, 8, 34)?;
            let cursor = Cursor::new(0, &stream, clock + stagger * u32::from(copy), HeaderTemplate::new(&to), None);
            ensure!(engine.start(u32::from(copy), Box::new(cursor), clock).is_ok(), "copy {copy} cannot be started");
        }
        Ok(Sending { engine, clock })
    }

    /// Sends as fast as the ring takes it until `packets` are posted, the title's clock moving on by `step` a turn.
    pub(crate) fn send(&mut self, packets: u64, step: Duration) -> Result<()> {
        let (mut seen, mut deadline) = (0, Instant::now() + LIMIT);
        while self.counters().sent < packets {
            // Slow is no failure on an emulated, shared processor; standing still is.
            if self.counters().sent > seen {
                (seen, deadline) = (self.counters().sent, Instant::now() + LIMIT);
            }
            // With a full ring the title waits: how fast this machine is, is not the question.
            if self.engine.port().outstanding() < 512 {
                self.clock = self.clock + step;
            }
            self.engine.turn(self.clock);
            if Instant::now() >= deadline {
                bail!("stuck after {} packets: {}", self.counters().sent, self.stats().stall_cause());
            }
        }
        Ok(())
    }

    /// Sends in real time, or slower: a processor that doesn't keep up must not fall behind for ever.
    pub(crate) fn send_for(&mut self, time: Duration) {
        let end = now() + time;
        loop {
            let at = now();
            self.clock = self.clock.max(at.min(self.clock + Duration::from_millis(20)));
            let next = self.engine.turn(self.clock);
            if at >= end {
                return;
            }
            let pause = next.map_or(Duration::from_millis(5), |next| next - at);
            std::thread::sleep(pause.clamp(Duration::from_micros(200), Duration::from_millis(5)));
        }
    }

    /// Posts no more and waits for the completions; an error if they don't come.
    pub(crate) fn drain(&mut self) -> Result<()> {
        self.engine.silence(self.clock);
        let deadline = Instant::now() + LIMIT;
        while self.engine.port().outstanding() > 0 {
            self.engine.drain();
            if Instant::now() >= deadline {
                let left = self.engine.port().outstanding();
                bail!("{left} frames do not come back: {}", self.stats().stall_cause());
            }
        }
        Ok(())
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.engine.counters()
    }

    pub(crate) fn stats(&self) -> PortStats {
        self.engine.port().stats()
    }
}
