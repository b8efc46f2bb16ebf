//! From the configured mode to a worker per queue: AF_XDP, or plain sockets where that is asked for or all that is left.

use std::time::Duration;

use anyhow::Context;
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};
use tracing::{info, warn};

use crate::{
    check::Ready,
    config::{Config, Cpus, HugePages, XskMode},
    transmit::{
        Limits, Settings, Worker,
        afxdp_port::AfXdpPort,
        nanos,
        socket_port::{SocketPort, SocketPortConfig},
    },
    xsk::{
        mmap,
        socket::{Mode, SocketConfig},
        umem::UmemConfig,
    },
};

/// Departures within so much time share a wake-up: a fifth of the pacing goal, and 4000 wake-ups a second at most.
const COALESCE: Duration = Duration::from_micros(200);

/// What all the workers together must hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// Streams of the worker with the most.
    pub(super) streams: u32,
    /// Copies of the worker with the most.
    pub(super) cursors: u32,
}

/// Starts the worker of one queue.
///
/// # Errors
/// What failed, where, and what to do about it.
pub(super) fn spawn(ready: &Ready, at: usize, demand: Demand) -> anyhow::Result<Worker> {
    let config = &ready.config;
    let queue = config.network.queues[at];
    let settings = settings(config, at, demand)?;
    let worker = match (config.network.mode, ready.mode) {
        (_, XskMode::Socket) => socket_worker(config, settings)?,
        (XskMode::Auto, mode) => match afxdp_worker(config, mode, queue, settings.clone()) {
            Ok(worker) => worker,
            Err(error) => {
                warn!("{error:#}; mode = \"auto\": plain sockets do the job instead");
                socket_worker(config, settings)?
            }
        },
        (_, mode) => afxdp_worker(config, mode, queue, settings)?,
    };
    info!(
        "queue {queue} of {}: {} mode, {} packets resident at most",
        config.network.interface, worker.mode, worker.resident_frames
    );
    Ok(worker)
}

fn settings(config: &Config, at: usize, demand: Demand) -> anyhow::Result<Settings> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).context("the kernel gives no random numbers")?;
    let limits = Limits {
        streams: demand.streams,
        cursors: demand.cursors,
        // Everything the ring can hold may be scratch, and as much again wait for completion.
        scratch_frames: config.transmit.ring * 2,
        burst: config.transmit.burst as usize,
        max_lateness: nanos(config.transmit.max_lateness.duration()),
    };
    Ok(Settings {
        name: format!("tx-q{}", config.network.queues[at]),
        cpu: cpu(&config.transmit.cpus, at),
        limits,
        coalesce: COALESCE,
        seed: u64::from_ne_bytes(seed),
    })
}

fn afxdp_worker(config: &Config, mode: XskMode, queue: u32, settings: Settings) -> anyhow::Result<Worker> {
    let ring = config.transmit.ring;
    let frames = config.transmit.frames();
    let rx_frames = ring.min(2048);
    let memory =
        UmemConfig { tx_frames: (frames - u64::from(rx_frames)) as usize, rx_frames, huge_pages: huge_pages(config) };
    let mode = match mode {
        XskMode::ZeroCopy => Mode::ZeroCopy,
        XskMode::Copy => Mode::Copy,
        XskMode::Auto | XskMode::Socket => Mode::Auto,
    };
    let socket =
        SocketConfig { interface: config.network.interface.to_string(), queue, ring, mode, ..Default::default() };
    Ok(Worker::spawn(settings, move || AfXdpPort::open(socket, memory))?)
}

fn socket_worker(config: &Config, settings: Settings) -> anyhow::Result<Worker> {
    let port = SocketPortConfig {
        interface: config.network.interface.to_string(),
        frames: config.transmit.frames() as usize,
        ring: config.transmit.ring as usize,
        huge_pages: huge_pages(config),
    };
    Ok(Worker::spawn(settings, move || SocketPort::open(port))?)
}

fn huge_pages(config: &Config) -> mmap::HugePages {
    match config.transmit.hugepages {
        HugePages::Auto => mmap::HugePages::Auto,
        HugePages::On => mmap::HugePages::On,
        HugePages::Off => mmap::HugePages::Off,
    }
}

/// The CPU of the worker `at`: as configured, or counted down from the last one this process may use.
fn cpu(cpus: &Cpus, at: usize) -> Option<usize> {
    match cpus {
        Cpus::Off => None,
        Cpus::Pinned(cpus) => cpus.get(at).copied(),
        Cpus::Auto => {
            let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
            let usable: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect();
            usable.len().checked_sub(1 + at % usable.len()).map(|last| usable[last])
        }
    }
}
