//! The program `sender` itself, from its configuration to its end by SIGTERM.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    super::{
        machine,
        title::{self, PRODUCT_GROUP},
    },
    Bench,
    modes::WITHOUT_ZERO_COPY,
};

const PROGRAM: &str = "/sender";
const CONFIGURATION: &str = "/sender.toml";
const LOG: &str = "/sender.log";
/// The kernel's verifier takes long on an emulated machine.
const READY: Duration = Duration::from_secs(60);
/// BYE, drain, detach.
const END: Duration = Duration::from_secs(10);
/// A stall must be reported within this; the watchdog sees it after a fifth of a second.
const ENDURED: Duration = Duration::from_secs(15);
/// What the peer must have before the program is told to end.
const PACKETS: u64 = 300;

/// `mode = "zero-copy"` with the native program: attaches, binds, sends, ends.
pub(super) fn zero_copy(bench: &mut Bench) -> Result<String> {
    let mut sender = Sender::start(&bench.interface, "zero-copy", "native")?;
    let began = Instant::now();
    while bench.control.figures()?.product < PACKETS {
        ensure!(began.elapsed() < READY && sender.runs()?, "it does not send: {}", sender.log());
        thread::sleep(Duration::from_millis(100));
    }
    sender.end()?;
    let log = sender.log();
    ensure!(log.contains("zero-copy mode"), "it does not say that it sends zero-copy: {log}");
    machine::wait_for_carrier(&bench.interface, true)?;
    let figures = bench.control.figures()?;
    ensure!(figures.corrupt + figures.disordered == 0, "{figures}");
    Ok(format!("{} packets, in order, headers right; ended by SIGTERM", figures.product))
}

/// `mode = "auto"` on a NIC without zero-copy starts, and says that it copies.
pub(super) fn automatic(_: &mut Bench) -> Result<String> {
    let interface = machine::interface_of(WITHOUT_ZERO_COPY)?;
    machine::set_up(&interface)?;
    let mut sender = Sender::start(&interface, "auto", "off")?;
    let began = Instant::now();
    while !sender.log().contains("copies from") {
        ensure!(began.elapsed() < READY && sender.runs()?, "it does not start: {}", sender.log());
        thread::sleep(Duration::from_millis(50));
    }
    sender.end()?;
    said(&sender.log(), "copy mode")
}

/// `mode = "auto"` without a program, on a driver that then binds zero-copy and never sends: it must send all the same, or
/// say what is wrong.
pub(super) fn without_program(bench: &mut Bench) -> Result<String> {
    let mut sender = Sender::start(&bench.interface, "auto", "off")?;
    let began = Instant::now();
    loop {
        let (log, sent) = (sender.log(), bench.control.figures()?.product);
        let reported = log.lines().find(|line| line.contains("native") && line.contains("attach"));
        if sent >= PACKETS || reported.is_some() {
            sender.end()?;
            return Ok(reported.map_or_else(|| format!("it sends: {sent} packets"), str::to_owned));
        }
        ensure!(began.elapsed() < ENDURED && sender.runs()?, "{sent} packets, and not a word about why: {log}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// `mode = "zero-copy"` there does not start, and says why.
pub(super) fn refusal(_: &mut Bench) -> Result<String> {
    let interface = machine::interface_of(WITHOUT_ZERO_COPY)?;
    machine::set_up(&interface)?;
    let mut sender = Sender::start(&interface, "zero-copy", "native")?;
    let began = Instant::now();
    while sender.runs()? {
        ensure!(began.elapsed() < READY, "it neither starts nor ends: {}", sender.log());
        thread::sleep(Duration::from_millis(50));
    }
    ensure!(!sender.child.wait()?.success(), "it ended as if all were well");
    let log = sender.log();
    // Behind the warnings, if any, stands why it did not start.
    let why: Vec<&str> = log.lines().skip_while(|line| line.contains("WARN") || line.starts_with(' ')).collect();
    let why = why.join(" / ");
    let useful = why.contains(&interface) && (why.contains("native") || why.contains("zero-copy"));
    ensure!(useful && why.contains(" = "), "it does not say why, or what to change: {log}");
    Ok(why)
}

/// The line of the log with these words.
fn said(log: &str, words: &str) -> Result<String> {
    log.lines().find(|line| line.contains(words)).map(str::to_owned).with_context(|| format!("it says {log:?}"))
}

/// A running `sender`.
struct Sender {
    child: Child,
}

impl Sender {
    fn start(interface: &str, mode: &str, xdp: &str) -> Result<Sender> {
        fs::write("/sample.ts", title::SAMPLE)?;
        let configuration = format!(
            "[network]\ninterface = \"{interface}\"\nmode = \"{mode}\"\nxdp = \"{xdp}\"\nquerier = \"off\"\n\
             source_v4 = \"10.0.0.1\"\n[transmit]\numem = \"16MiB\"\n[[title]]\nname = \"sample\"\nfile = \"/sample.ts\"\n\
             group = \"{PRODUCT_GROUP}\"\nfeedback_port = 6001\n"
        );
        fs::write(CONFIGURATION, configuration)?;
        let log = File::create(LOG)?;
        let child = Command::new(PROGRAM)
            .args(["run", "-c", CONFIGURATION])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting sender")?;
        Ok(Sender { child })
    }

    fn log(&self) -> String {
        fs::read_to_string(LOG).unwrap_or_default()
    }

    fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// SIGTERM, and the end that must follow.
    fn end(&mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        let deadline = Instant::now() + END;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "it ended with {status}: {}", self.log());
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it does not end: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
