//! What every scene needs: a lab, a folder for files, `sender run` and `sender receive` in their namespaces.

use anyhow::{Context, Result, bail, ensure};
use sender::srtp::KeyFile;
use sender_tests::lab::{self, Lab, Options, Process, Signal};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The RTP port of all titles here.
pub(crate) const PORT: u16 = 5004;
/// The first title's feedback port; the others have the ones that follow.
pub(crate) const FEEDBACK: u16 = 6001;
/// Longer than anything that works takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// The committed title: 12.8 s.
pub(crate) const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/media/sample.ts");

/// A lab and a folder. Programs started on it are ended when their guards are dropped, before it.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    folder: TempDir,
    binary: PathBuf,
}

impl Stage {
    pub(crate) fn build(options: &Options) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder")?;
        Ok(Self { lab: Lab::build(options)?, folder, binary: lab::sender_binary()? })
    }

    /// A lab with so many receivers.
    pub(crate) fn with_receivers(receivers: usize) -> Result<Self> {
        Self::build(&Options { receivers, ..Options::default() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new key, with an identifier (MKI).
    pub(crate) fn key(&self) -> Result<PathBuf> {
        self.key_named("title.key")
    }

    /// The same, for tests that need several.
    pub(crate) fn key_named(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        KeyFile::generate()?.write(&path)?;
        Ok(path)
    }

    /// `sender run` as a command in the sender's namespace, `prefix` before it (`setpriv …`).
    pub(crate) fn run_command(&self, prefix: &[&str], name: &str, config: &str) -> Result<Command> {
        let file = self.path(&format!("{name}.toml"));
        fs::write(&file, config)?;
        // A status of an earlier run must not be taken for this one's.
        let status = self.path(&format!("{name}.json"));
        let _ = fs::remove_file(&status);
        let mut words = prefix.iter().map(AsRef::as_ref).chain([self.binary.as_os_str()]);
        let mut command = self.lab.sender().command(words.next().expect("the binary at least"));
        command.args(words).arg("run").arg("-c").arg(file).arg("--status").arg(status);
        Ok(command)
    }

    /// Starts `sender run` and waits until it runs.
    pub(crate) fn run(&self, config: &str) -> Result<Sender> {
        self.run_with(&[], "sender", config)
    }

    /// As [`Stage::run`], with words before the command, and a name for its files.
    pub(crate) fn run_with(&self, prefix: &[&str], name: &str, config: &str) -> Result<Sender> {
        let mut sender = self.start(prefix, name, config)?;
        sender.wait_for("its first status", |_| true)?;
        Ok(sender)
    }

    /// Starts `sender run` and doesn't wait.
    pub(crate) fn start(&self, prefix: &[&str], name: &str, config: &str) -> Result<Sender> {
        let process = Process::spawn(self.run_command(prefix, name, config)?)?;
        Ok(Sender { process, status: self.path(&format!("{name}.json")) })
    }

    /// Starts `sender run` and waits until it ends by itself; returns its exit code and what it said.
    pub(crate) fn run_to_end(&self, prefix: &[&str], name: &str, config: &str) -> Result<(Option<i32>, String)> {
        let mut process = Process::spawn(self.run_command(prefix, name, config)?)?;
        let status = process.wait(LONG)?;
        Ok((status.code(), process.stderr()))
    }

    /// Starts `sender receive` at receiver `number` for the copy at `group`, source-specifically.
    pub(crate) fn receive(&self, number: usize, group: &str, arguments: &[&str]) -> Result<Receiver> {
        let node = self.lab.receiver(number);
        let group: SocketAddr = group.parse().with_context(|| format!("the group {group}"))?;
        let source = match group.ip() {
            IpAddr::V4(_) => IpAddr::V4(self.lab.sender().v4()),
            IpAddr::V6(_) => IpAddr::V6(self.lab.sender().v6()),
        };
        let file = |kind: &str| self.path(&format!("r{number}.{kind}"));
        let _ = fs::remove_file(file("json"));
        let mut command = node.command(&self.binary);
        command
            .args(["receive", "--quiet", "--interface", node.interface(), "--report-minimum", "500ms"])
            .args(["--group", &group.to_string(), "--source", &source.to_string()])
            .arg("--output")
            .arg(file("ts"))
            .arg("--status")
            .arg(file("json"))
            .arg("--summary")
            .arg(file("end.json"));
        if !arguments.contains(&"--feedback") {
            command.args(["--feedback", &SocketAddr::new(source, FEEDBACK).to_string()]);
        }
        command.args(arguments);
        let process = Process::spawn(command)?;
        Ok(Receiver { process, media: file("ts"), status: file("json"), summary: file("end.json") })
    }
}

/// A running `sender run`.
pub(crate) struct Sender {
    pub(crate) process: Process,
    status: PathBuf,
}

impl Sender {
    /// What it last wrote about itself.
    pub(crate) fn status(&self) -> Result<Value> {
        read(&self.status)
    }

    /// Waits, for [`LONG`] at most, for a status that `wanted` accepts.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_for(&mut self.process, &self.status, what, wanted)
    }

    /// Asks it to end and returns its last status.
    pub(crate) fn end(mut self) -> Result<Value> {
        let status = self.process.stop(LONG)?;
        ensure!(status.success(), "sender ended with {status}: {}", self.process.tail());
        self.status()
    }
}

/// A running `sender receive`.
pub(crate) struct Receiver {
    pub(crate) process: Process,
    media: PathBuf,
    status: PathBuf,
    summary: PathBuf,
}

impl Receiver {
    /// Waits for a status that `wanted` accepts.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait_for(&mut self.process, &self.status, what, wanted)
    }

    /// Waits until so many packets are there.
    pub(crate) fn wait_for_packets(&mut self, packets: u64) -> Result<Value> {
        self.wait_for(&format!("{packets} packets"), |status| number(&status["received"]) >= packets)
    }

    /// Asks it to end; returns its summary and what it wrote.
    pub(crate) fn end(mut self) -> Result<(Value, Vec<u8>)> {
        self.process.signal(Signal::SIGTERM)?;
        self.ended()
    }

    /// Waits until it has ended by itself or by a signal; returns its summary and what it wrote.
    pub(crate) fn ended(mut self) -> Result<(Value, Vec<u8>)> {
        let status: ExitStatus = self.process.wait(LONG)?;
        ensure!(status.success(), "{} ended with {status}: {}", self.process.shown(), self.process.tail());
        Ok((read(&self.summary)?, fs::read(&self.media)?))
    }
}

/// A title of a configuration.
pub(crate) struct Title<'a> {
    pub(crate) name: &'a str,
    pub(crate) file: &'a Path,
    pub(crate) group: &'a str,
    pub(crate) copies: usize,
    pub(crate) feedback: u16,
    pub(crate) key: Option<&'a Path>,
}

impl<'a> Title<'a> {
    /// One copy of `file` in clear.
    pub(crate) fn clear(file: &'a Path, group: &'a str) -> Self {
        Self { name: "title", file, group, copies: 1, feedback: FEEDBACK, key: None }
    }
}

/// A configuration with these lines in `[network]` beside the interface, and these titles.
pub(crate) fn config(network: &str, titles: &[Title<'_>]) -> String {
    // Without a querier of its own unless the test says otherwise: the lab has one.
    let querier = if network.contains("querier") { "" } else { "querier = \"off\"\n" };
    // Where others take the CPU for a while, packets come late rather than not at all: what is lost here is lost by mistake.
    let mut text = format!(
        "[network]\ninterface = \"{}\"\n{network}\n{querier}[transmit]\n{}max_lateness = \"2s\"\n[rtcp]\ninterval = \"1s\"\n",
        lab::SENDER_INTERFACE,
        if network.contains("umem") { "" } else { "umem = \"32MiB\"\n" },
    );
    for title in titles {
        let Title { name, file, group, copies, feedback, key } = title;
        let key = key.map(|key| format!("key_file = {key:?}\n")).unwrap_or_default();
        write!(
            text,
            "[[title]]\nname = \"{name}\"\nfile = {file:?}\ngroup = \"{group}\"\ncopies = {copies}\nport = {PORT}\n\
             feedback_port = {feedback}\n{key}"
        )
        .expect("a string takes everything");
    }
    text
}

/// A count of a status or summary.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// A counter of the XDP program.
pub(crate) fn xdp(status: &Value, name: &str) -> u64 {
    number(&status["xdp"]["counters"][name])
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
}

fn wait_for(process: &mut Process, path: &Path, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let end = Instant::now() + LONG;
    loop {
        let status = if path.exists() { Some(read(path)?) } else { None };
        if let Some(status) = status.as_ref().filter(|status| wanted(status)) {
            return Ok(status.clone());
        }
        if let Some(code) = process.try_wait()? {
            bail!("`{}` ended ({code}) before {what}. It said:\n{}", process.shown(), process.tail());
        }
        ensure!(Instant::now() < end, "`{}`: no {what} within {LONG:?}; now {status:#?}", process.shown());
        // The file is rewritten once a second.
        std::thread::sleep(Duration::from_millis(20));
    }
}
