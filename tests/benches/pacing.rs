//! How well departures keep to their plan: 100 copies of the sample title through AF_XDP on veth, by a real worker.

use std::{sync::Arc, thread, time::Duration};

use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use sender::{
    media::Loop,
    transmit::{
        Command, Event, Extent, Limits, Owner, Pacing, Settings, Snapshot, StreamSlot, Worker, afxdp_port::AfXdpPort,
        now,
    },
    xsk::{
        mmap::HugePages,
        socket::{Mode, SocketConfig},
        umem::UmemConfig,
    },
};

use super::{
    engine::{sample, spread_cursor, stream},
    report::Report,
    veth::Veth,
};

const COPIES: u32 = 100;
const TIME: Duration = Duration::from_secs(8);
const RING: u32 = 1024;

pub(crate) fn run(report: &mut Report) {
    let figures = Veth::new().and_then(|veth| veth.in_sender(|| measure().map_err(|error| format!("{error:#}"))));
    let (pacing, sleeps) = match figures {
        Ok(figures) => figures,
        Err(reason) => return report.skip("pacing", &reason),
    };
    let yardstick = "a bare clock_nanosleep, how late it wakes";
    for (name, q, goal) in [("p50", 0.5, ""), ("p99", 0.99, "≤ 5 ms"), ("p99_9", 0.999, "≤ 5 ms")] {
        let micros = |pacing: &Pacing| pacing.quantile(q) as f64 / 1000.0;
        report.add(&format!("pacing.{name}"), micros(&pacing), "µs", yardstick, micros(&sleeps), goal);
    }
}

fn measure() -> anyhow::Result<(Pacing, Pacing)> {
    let media = Arc::new(Loop::open(&sample())?);
    let frames = media.packets_per_pass() as u32;
    let scratch = RING * 2;
    let settings = Settings {
        name: "tx-bench".into(),
        cpu: None,
        limits: Limits { streams: 1, cursors: COPIES, scratch_frames: scratch, burst: 64, max_lateness: 1_000_000_000 },
        coalesce: Duration::from_micros(200),
        seed: 1,
    };
    let socket = SocketConfig { interface: "tx0".into(), ring: RING, mode: Mode::Copy, ..SocketConfig::default() };
    let memory = UmemConfig { tx_frames: (frames + scratch) as usize, rx_frames: RING, huge_pages: HugePages::Auto };
    let worker = Worker::spawn(settings, move || AfXdpPort::open(socket, memory))?;
    let stream = stream(&media);
    let slot = StreamSlot::new(stream.clone(), Extent { first: 0, count: frames }, Owner(1));
    worker.commands.send(Command::Stream(0, Some(Box::new(slot))))?;
    for number in 0..COPIES {
        let cursor = spread_cursor(&stream, number, COPIES, now() + Duration::from_millis(50));
        worker.commands.send(Command::Start(number, Box::new(cursor)))?;
    }
    // The yardstick runs at the same time, on the same noisy machine.
    let sleeps = thread::spawn(|| bare_sleeps(TIME)).join().map_err(|_| anyhow::anyhow!("the yardstick panicked"))?;
    worker.commands.send(Command::Snapshot(Box::new(Snapshot::with_room_for(COPIES))))?;
    loop {
        if let Event::Snapshot(snapshot) = worker.events.recv_timeout(Duration::from_secs(2))? {
            return Ok((snapshot.pacing, sleeps));
        }
    }
}

fn bare_sleeps(time: Duration) -> Pacing {
    let mut late = Pacing::default();
    // As the worker's thread does: without it, the kernel may let a sleep run 50 µs over.
    let _ = nix::sys::prctl::set_timerslack(1);
    let end = now() + time;
    let mut next = now();
    while next < end {
        next = next + Duration::from_millis(1);
        let at = nix::sys::time::TimeSpec::from_duration(Duration::from_nanos(next.nanos()));
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
        late.record(now().since(next));
    }
    late
}
