//! From the configured mode to a worker per queue: AF_XDP, or plain sockets where that is asked for or all that is left.

use std::time::Duration;

use anyhow::Context;
use tracing::{info, warn};

use crate::{
    config::{Config, Cpus, HugePages, XskMode},
    netif::Interface,
    transmit::{
        FRAME_SIZE, Limits, Settings, Worker, afxdp_port::AfXdpPort, nanos,
        socket_port::{SocketPort, SocketPortConfig},
    },
    xsk,
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
pub(super) fn spawn(config: &Config, interface: &Interface, at: usize, demand: Demand) -> anyhow::Result<Worker> {
    let queue = config.network.queues[at];
    let settings = settings(config, at, demand)?;
    let worker = match config.network.mode {
        XskMode::Socket => socket_worker(config, interface, settings)?,
        XskMode::Auto => match afxdp_worker(config, queue, settings.clone()) {
            Ok(worker) => worker,
            Err(error) => {
                warn!("{error:#}; mode = \"auto\": plain sockets do the job instead");
                socket_worker(config, interface, settings)?
            }
        },
        XskMode::ZeroCopy | XskMode::Copy => afxdp_worker(config, queue, settings)?,
    };
    info!("queue {queue} of {}: {} mode, {} packets resident at most", interface.name, worker.mode, worker.resident_frames);
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
