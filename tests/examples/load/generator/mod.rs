//! Packets as an audience sends them, and its enemies: up to ten million simulated clients.
//!
//! In: [`Options`]. Out: packets through AF_XDP, a line a second, and an [`Outcome`]: what was sent, by what the product's
//! own parser says of each packet, beside what the XDP program counted, and where anything got lost between them.
//! Not done here: answering. A client that is asked something stays silent; TCP connections are begun, never made.

mod account;
mod hostile;
mod lab;
mod live;
mod options;
mod pace;
mod target;
mod traffic;

pub(crate) use account::Outcome;
pub(crate) use options::Options;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sender::{
    netif::Interface,
    xsk::{
        mmap::HugePages,
        socket::{KickFailures, Mode, Socket, SocketConfig},
        umem::{FRAME_SIZE, Umem, UmemConfig},
    },
};

use account::Account;
use lab::Lab;
use live::Live;
use pace::Pace;
use target::{Counter, Target};
use traffic::Traffic;

const FRAMES: usize = 8192;
const RING: u32 = 2048;
const BATCH: usize = 64;
/// As long as nothing is due.
const NAP: Duration = Duration::from_micros(50);
/// What was sent last may take so long to be sent.
const DRAIN: Duration = Duration::from_secs(2);

/// Does what the options say.
pub(crate) fn run(options: &Options) -> Result<Outcome> {
    options.check()?;
    let Some(interface) = &options.interface else {
        let lab = Lab::new(options)?;
        let target = lab.target(options);
        println!("lab: {} -> {}, XDP native", lab::SENDER, lab::RECEIVER);
        let _inside = lab.enter()?;
        return send(options, &target, Counter::Lab(&lab));
    };
    target::refuse_default_route(interface, options.really)?;
    let target = Target::of(options)?;
    let counter = options.status.as_deref().map_or(Counter::None, Counter::Status);
    send(options, &target, counter)
}

fn send(options: &Options, target: &Target, counter: Counter<'_>) -> Result<Outcome> {
    let facts = Interface::read(&target.interface)?;
    let mut traffic = Traffic::new(options, target, facts.mac)?;
    let mut out = Out::open(&target.interface, options.queue)?;
    let mut live = if options.live { Some(Live::open(facts.index)?) } else { None };
    let way = if options.live { "live frames".to_owned() } else { out.socket.to_string() };
    println!("{way}; {} clients, {}", options.clients, options.mix);
    let mut account = Account::begin(counter, &target.interface)?;

    let start = Instant::now();
    let mut pace = Pace::new(options.rates(), options.time());
    let mut next_line = Duration::from_secs(1);
    loop {
        let now = start.elapsed();
        let Some(due) = pace.due(now) else { break };
        let left = options.packets.map_or(u64::MAX, |packets| packets - traffic.sent());
        if left == 0 {
            break;
        }
        let sent = match &mut live {
            Some(live) => live.send(&mut traffic, left)?,
            None => out.send(&mut traffic, due.min(left).min(BATCH as u64) as usize) as u64,
        };
        pace.sent(sent);
        if now >= next_line {
            next_line += Duration::from_secs(1);
            account.line(now, traffic.sent(), out.failures.total())?;
        }
        if due == 0 {
            std::thread::sleep(NAP);
        }
    }
    let (time, behind) = (start.elapsed(), pace.behind());
    out.socket.drain(DRAIN);
    let outcome = account.end(&traffic, time, behind, &out)?;
    outcome.print();
    if traffic.sent() == 0 {
        bail!("nothing was sent: is {} up (`ip link set {0} up`)?", target.interface);
    }
    Ok(outcome)
}

/// The socket, and which of its frames are free.
struct Out {
    socket: Socket,
    free: Vec<u64>,
    done: Vec<u64>,
    failures: Failures,
}

impl Out {
    fn open(interface: &str, queue: u32) -> Result<Self> {
        let config = SocketConfig {
            interface: interface.to_owned(),
            queue,
            ring: RING,
            mode: Mode::Auto,
            ..SocketConfig::default()
        };
        let memory = UmemConfig { tx_frames: FRAMES, rx_frames: RING, huge_pages: HugePages::Auto };
        let socket = Socket::open(config, Umem::new(memory)?).context("opening the AF_XDP socket to send from")?;
        let free = (0..FRAMES).map(|frame| (frame * FRAME_SIZE) as u64).collect();
        Ok(Self { socket, free, done: vec![0; BATCH * 2], failures: Failures::default() })
    }

    /// Sends up to `count` packets, and says how many there was room for.
    fn send(&mut self, traffic: &mut Traffic, count: usize) -> usize {
        let reaped = self.socket.reap(&mut self.done);
        self.free.extend(&self.done[..reaped]);
        let mut sent = 0;
        for _ in 0..count.min(self.socket.room() as usize) {
            let Some(frame) = self.free.pop() else { break };
            let at = frame as usize;
            let length = traffic.write(&mut self.socket.umem().tx_area()[at..at + FRAME_SIZE]);
            assert!(self.socket.push(frame, length as u32), "there is room, and packets are shorter than a frame");
            sent += 1;
        }
        self.socket.submit(&mut self.failures);
        sent
    }
}

/// Wake-ups that failed, by errno.
#[derive(Default)]
struct Failures(std::collections::BTreeMap<i32, u64>);

impl Failures {
    fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl KickFailures for Failures {
    fn count(&mut self, errno: i32) {
        *self.0.entry(errno).or_default() += 1;
    }
}
