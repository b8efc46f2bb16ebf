//! The far end of the guest's wire, outside: books every frame, injects membership reports, pulls the cable.
//!
//! It answers each line of the guest's control line with one line: `reset`, `figures`, `collect PACKETS MILLISECONDS`,
//! `inject COUNT`, `link up`, `link down`.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use sender::packet::ones_complement_sum;

use super::{
    ledger::Ledger,
    wire::{Outgoing, Waiting},
};

/// When all that was expected has come, so long without another frame shows that nothing comes twice.
const QUIET: Duration = Duration::from_millis(100);
/// No answer of QEMU's monitor takes longer.
const MONITOR_LIMIT: Duration = Duration::from_secs(5);

/// The book, and when something was last entered.
struct Book {
    ledger: Ledger,
    last: Instant,
}

/// Serves one guest until its QEMU ends. `wire` is the path of a Unix socket, or `tap:NAME`, an interface to be made in
/// this network namespace.
pub(crate) fn run(wire: &str, control: &Path, monitor: &Path) -> Result<()> {
    let book = Arc::new(Mutex::new(Book { ledger: Ledger::new()?, last: Instant::now() }));
    let wire = Waiting::new(wire)?;
    let listener = UnixListener::bind(control).with_context(|| format!("cannot listen on {}", control.display()))?;
    // QEMU connects its character devices before its network devices.
    let (control, _) = listener.accept()?;
    let (mut incoming, mut outgoing) = wire.connect()?;
    let entries = book.clone();
    thread::spawn(move || {
        let mut frame = Vec::new();
        while incoming.receive(&mut frame).is_ok() {
            let mut book = lock(&entries);
            book.ledger.enter(&frame);
            book.last = Instant::now();
        }
    });
    let mut answers = control.try_clone()?;
    for line in BufReader::new(control).lines() {
        let answer =
            obey(line?.trim(), &book, &mut outgoing, monitor).unwrap_or_else(|error| format!("failed {error:#}"));
        answers.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn obey(line: &str, book: &Mutex<Book>, wire: &mut Outgoing, monitor: &Path) -> Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["reset"] => lock(book).ledger.reset(),
        ["figures"] => return Ok(lock(book).ledger.figures().to_string()),
        ["collect", packets, limit] => {
            return Ok(collect(book, packets.parse()?, Duration::from_millis(limit.parse()?)));
        }
        ["inject", count] => inject(wire, count.parse()?)?,
        ["link", state @ ("up" | "down")] => set_link(monitor, state == "up")?,
        _ => bail!("no such request: {line:?}"),
    }
    Ok("done".to_owned())
}

/// Waits until `packets` have come and then nothing for a while, or nothing for `limit`.
fn collect(book: &Mutex<Book>, packets: u64, limit: Duration) -> String {
    let asked = Instant::now();
    loop {
        let (figures, last) = {
            let book = lock(book);
            (book.ledger.figures(), book.last.max(asked))
        };
        let patience = if figures.packets >= packets { QUIET } else { limit };
        if last.elapsed() >= patience {
            return figures.to_string();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// IGMPv3 reports (RFC 3376 section 4.2), each from a host of its own.
fn inject(wire: &mut Outgoing, count: u16) -> Result<()> {
    (0..count).try_for_each(|host| wire.send(&igmp_report(host)))
}

fn igmp_report(host: u16) -> Vec<u8> {
    let [high, low] = host.to_be_bytes();
    let mut ip = [0x46, 0xc0, 0, 40, 0, 0, 0x40, 0, 1, 2, 0, 0, 10, 9, high, low, 224, 0, 0, 22, 0x94, 4, 0, 0];
    // One record: CHANGE_TO_EXCLUDE_MODE, no sources, 239.192.0.1.
    let mut igmp = [0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 239, 192, 0, 1];
    let sum = (!ones_complement_sum(&ip)).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    let sum = (!ones_complement_sum(&igmp)).to_be_bytes();
    igmp[2..4].copy_from_slice(&sum);
    let mut frame = vec![0x01, 0x00, 0x5e, 0, 0, 22, 2, 0, 10, 9, high, low, 0x08, 0x00];
    frame.extend_from_slice(&ip);
    frame.extend_from_slice(&igmp);
    frame.resize(60, 0);
    frame
}

/// Plugs or pulls the cable, by QEMU's monitor (QMP).
fn set_link(monitor: &Path, up: bool) -> Result<()> {
    let stream = UnixStream::connect(monitor).context("cannot reach QEMU's monitor")?;
    stream.set_read_timeout(Some(MONITOR_LIMIT))?;
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    let mut stream = stream;
    let link = format!(r#"{{"execute":"set_link","arguments":{{"name":"nic","up":{up}}}}}"#);
    let mut greeting = answers.next().context("no greeting")??;
    for command in [r#"{"execute":"qmp_capabilities"}"#, &link] {
        stream.write_all(command.as_bytes())?;
        // Events come in between.
        greeting.clear();
        while !greeting.contains("\"return\"") {
            greeting = answers.next().context("no answer")??;
            ensure!(!greeting.contains("\"error\""), "QEMU says {greeting}");
        }
    }
    Ok(())
}
