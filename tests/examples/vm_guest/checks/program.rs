//! The XDP program beside zero-copy sending: needed by some drivers, and it must go on hearing reports.

use std::{
    net::{Ipv6Addr, SocketAddrV6, UdpSocket},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aya::programs::loaded_programs;
use sender::{
    xdp::{Mode as Attachment, Reason, Settings, Xdp},
    xsk::socket::Mode,
};

use super::{
    super::{
        ledger::PLAIN_PORT,
        machine,
        sending::{self, Sending},
        title,
    },
    Bench,
};

const STAGGER: Duration = Duration::from_millis(25);
/// More than the fill ring and the NIC's own ring hold: buffers have to come round.
const REPORTS: u16 = 3000;
/// At once: no more than the smallest ring of a NIC takes, or the NIC drops them before anybody can count.
const BURST: u16 = 100;
const DATAGRAMS: u64 = 20;

/// igb binds without a program and then never sends. The watchdog must see that and the message must say what to do.
pub(super) fn missing(bench: &mut Bench) -> Result<String> {
    let port = sending::open(&bench.interface, 0, Mode::ZeroCopy)?;
    let mut sending = Sending::start(port, &bench.media, 0, 4, STAGGER)?;
    sending.send_for(Duration::from_secs(1));
    let (counters, stats) = (*sending.counters(), sending.stats());
    let arrived = bench.control.collect(0, Duration::from_millis(100))?.packets;
    ensure!(arrived == 0 && stats.completed == 0, "{arrived} arrived: this driver does not need a program any more");
    ensure!(counters.stalls > 0, "nothing leaves, and the watchdog did not see it");
    let cause = stats.stall_cause();
    ensure!(cause.contains("native XDP program") && cause.contains("attach"), "it is blamed on {cause:?}");
    Ok(format!("seen {} times: {cause}", counters.stalls))
}

/// The program attaches to the driver, which may take the carrier away for a moment.
pub(super) fn attach(bench: &mut Bench) -> Result<String> {
    let settings = Settings { titles: 16, receivers: 4096, distances: 4096, events: 1 << 16, ..Settings::default() };
    let began = Instant::now();
    bench.program = Some(Xdp::attach(&bench.interface, Attachment::Native, &settings)?);
    machine::wait_for_carrier(&bench.interface, true)?;
    let verified = loaded_programs().flatten().filter_map(|program| program.verified_instruction_count()).max();
    let instructions = verified.unwrap_or_default();
    Ok(format!("with carrier after {:.1} s; {instructions} instructions verified", began.elapsed().as_secs_f64()))
}

/// Zero-copy takes the queue's receive buffers from the fill ring: reports must be heard all the same, every one.
pub(super) fn reports(bench: &mut Bench) -> Result<String> {
    reports_with(bench, 1)
}

/// Reports are spread over the queues by their sources' addresses.
pub(super) fn reports_on_all_queues(bench: &mut Bench) -> Result<String> {
    reports_with(bench, machine::queues_of(&bench.interface)?.min(u32::from(title::STREAMS)))
}

fn reports_with(bench: &mut Bench, queues: u32) -> Result<String> {
    let program = bench.program.as_ref().context("the program is not attached")?;
    let heard = || program.counters().map(|counts| counts.get(Reason::IgmpV3Report));
    let mut bound = Vec::new();
    for queue in 0..queues {
        let port = sending::open(&bench.interface, queue, Mode::ZeroCopy)?;
        // One copy a queue: in real time, an emulated processor must not fall behind for ever.
        bound.push(Sending::start(port, &bench.media, queue as u8, 1, STAGGER)?);
    }
    let mut send = || bound.iter_mut().for_each(|sending| sending.send_for(Duration::from_millis(10)));
    send();
    let before = heard()?;
    let mut injected = 0;
    while injected < REPORTS {
        bench.control.inject(BURST)?;
        injected += BURST;
        let deadline = Instant::now() + Duration::from_secs(1);
        send();
        while heard()? - before < u64::from(injected) && Instant::now() < deadline {
            send();
        }
        let counted = heard()? - before;
        ensure!(counted == u64::from(injected), "{counted} of {injected} IGMPv3 reports counted");
    }
    let outcome = super::wire::compare(bench, &mut bound)?;
    let packets = outcome.packets;
    Ok(format!(
        "{injected} of {REPORTS} IGMPv3 reports counted on {queues} bound queue(s) while {packets} packets were sent"
    ))
}

/// Closed under way and detached: plain sockets send as before.
pub(super) fn detach(bench: &mut Bench) -> Result<String> {
    let port = sending::open(&bench.interface, 0, Mode::ZeroCopy)?;
    let mut sending = Sending::start(port, &bench.media, 0, 4, STAGGER)?;
    sending.send(1_000, Duration::from_millis(40))?;
    drop(sending);
    bench.program = None;
    plain_sockets_work(bench)
}

/// `kill -9` of a process under way: the kernel closes its socket, and the next one binds and sends.
pub(super) fn killed(bench: &mut Bench) -> Result<String> {
    let mut child =
        Doomed(Command::new("/proc/self/exe").args(["send", &bench.interface]).stdin(Stdio::null()).spawn()?);
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut seen = 0;
    while seen < 100 {
        ensure!(Instant::now() < deadline, "the process to be killed does not send");
        thread::sleep(Duration::from_millis(50));
        seen = bench.control.figures()?.packets;
    }
    child.0.kill()?;
    child.0.wait()?;
    let plain = plain_sockets_work(bench)?;
    let port = sending::open(&bench.interface, 0, Mode::ZeroCopy)?;
    let mut sending = [Sending::start(port, &bench.media, 0, 4, STAGGER)?];
    sending[0].send(500, Duration::from_millis(40))?;
    super::wire::compare(bench, &mut sending)?;
    Ok(format!("killed after {seen} packets; {plain}; then bound and sent again"))
}

/// The process that is killed: binds and sends until it dies.
pub(crate) fn send_until_killed(interface: &str) -> Result<()> {
    let port = sending::open(interface, 0, Mode::ZeroCopy)?;
    let mut sending = Sending::start(port, &title::media()?, 0, 4, STAGGER)?;
    loop {
        sending.send_for(Duration::from_secs(1));
    }
}

struct Doomed(Child);

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// UDP by the kernel's own stack, from the link-local address to a group of this link.
fn plain_sockets_work(bench: &mut Bench) -> Result<String> {
    machine::wait_for_carrier(&bench.interface, true)?;
    bench.control.reset()?;
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x7e57, 1);
    let to = SocketAddrV6::new(group, PLAIN_PORT, 0, machine::index_of(&bench.interface)?);
    for number in 0..DATAGRAMS {
        socket.send_to(&number.to_be_bytes(), to).context("a plain socket cannot send")?;
        thread::sleep(Duration::from_millis(2));
    }
    let arrived = bench.control.collect(1, Duration::from_millis(500))?.plain;
    ensure!(arrived == DATAGRAMS, "{arrived} of {DATAGRAMS} datagrams of a plain socket arrived");
    Ok(format!("{arrived} of {DATAGRAMS} datagrams of a plain socket arrived"))
}
