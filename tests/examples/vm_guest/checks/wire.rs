//! What comes out on the wire.

use std::time::Duration;

use anyhow::{Result, ensure};
use sender::{
    transmit::{Port, PortMode},
    xsk::{
        socket::{Mode, Socket},
        umem::Umem,
    },
};

use super::{
    super::{
        hasty::HastyPort,
        ledger::Figures,
        sending::{self, Sending},
    },
    Bench,
    buffers::BufferCount,
};

/// The peer waits so long for packets that may still come.
const PATIENCE: Duration = Duration::from_secs(2);
/// Fewer socket buffers than this are the kernel's own chatter (neighbour discovery and such).
const OWN_BUFFERS: u64 = 50;
const MEDIA_STEP: Duration = Duration::from_millis(40);
/// Copies close behind one another: they want the same frames while these are in flight.
const STAGGER: Duration = Duration::from_millis(25);

/// The real engine, four copies, more than a pass: content, order and number are right, the ring comes back empty.
pub(super) fn ten_thousand(bench: &mut Bench) -> Result<String> {
    let port = sending::open(&bench.interface, 0, Mode::ZeroCopy)?;
    let mut sending = Sending::start(port, &bench.media, 0, 4, STAGGER)?;
    let buffers = BufferCount::start()?;
    sending.send(10_000, MEDIA_STEP)?;
    compare(bench, std::slice::from_mut(&mut sending))?;
    let copied = buffers.read()?;
    let (counters, stats) = (*sending.counters(), sending.stats());
    ensure!(stats.mode == PortMode::ZeroCopy, "the mode is {}", stats.mode);
    ensure!(copied < OWN_BUFFERS, "the kernel used {copied} socket buffers: it copies");
    Ok(format!(
        "{} sent and right, {copied} socket buffers; made {} ({} resident busy, {} beyond), {} kicks",
        counters.sent, counters.encrypted, counters.scratch_busy, counters.scratch_beyond, stats.kicks
    ))
}

/// Copy mode puts the same packets on the same wire.
pub(super) fn copy_mode(bench: &mut Bench) -> Result<String> {
    let port = sending::open(&bench.interface, 0, Mode::Copy)?;
    let mut sending = Sending::start(port, &bench.media, 0, 4, STAGGER)?;
    let buffers = BufferCount::start()?;
    sending.send(4_000, MEDIA_STEP)?;
    compare(bench, std::slice::from_mut(&mut sending))?;
    let (sent, copied) = (sending.counters().sent, buffers.read()?);
    // The last few may not have been freed yet.
    ensure!(
        copied >= sent * 9 / 10,
        "{copied} socket buffers for {sent} packets: the counter of the zero-copy check is blind"
    );
    let stats = sending.stats();
    ensure!(stats.mode == PortMode::Copy, "the mode is {}", stats.mode);
    Ok(format!("{sent} sent and right, {copied} socket buffers, {} kicks", stats.kicks))
}

/// Two sockets on two queues, a stream each.
pub(super) fn two_queues(bench: &mut Bench) -> Result<String> {
    let mut queues = Vec::new();
    for queue in 0..2 {
        let port = sending::open(&bench.interface, queue, Mode::ZeroCopy)?;
        queues.push(Sending::start(port, &bench.media, queue as u8, 2, STAGGER)?);
    }
    for part in 1..=10 {
        for sending in &mut queues {
            sending.send(part * 250, MEDIA_STEP)?;
        }
    }
    let figures = compare(bench, &mut queues)?;
    Ok(format!("{} sent and right, half on each queue", figures.packets))
}

/// The same engine over a port that hands frames back too early: the peer must see it, or it would not see a mistake of
/// ours either.
pub(super) fn hasty_reuse_is_seen(bench: &mut Bench) -> Result<String> {
    let binding = sending::binding(&bench.interface, 0, Mode::ZeroCopy);
    let port = HastyPort::new(Socket::open(binding, Umem::new(sending::memory())?)?);
    let mut sending = Sending::start(port, &bench.media, 0, 4, Duration::from_millis(10))?;
    sending.send(5_000, Duration::from_millis(9))?;
    let sent = sending.counters().sent;
    let figures = bench.control.collect(sent, PATIENCE)?;
    let wrong = figures.corrupt + figures.doubled + figures.missing;
    ensure!(!figures.flawless(), "the frame store's rule was broken, but of {sent} packets none was wrong");
    Ok(format!("of {sent} packets sent by a port that breaks the rule, {wrong} seen wrong ({figures})"))
}

/// Drains, and holds what arrived against what was sent.
pub(super) fn compare<P: Port>(bench: &mut Bench, queues: &mut [Sending<P>]) -> Result<Figures> {
    let mut sent = 0;
    for sending in queues {
        sending.drain()?;
        sent += sending.counters().sent;
    }
    let figures = bench.control.collect(sent, PATIENCE)?;
    ensure!(figures.packets == sent && figures.flawless(), "sent {sent}, but: {figures}");
    Ok(figures)
}
