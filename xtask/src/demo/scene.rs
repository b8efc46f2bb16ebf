//! What runs in the demo: the lab, the sender, the receivers, and independent counts of what the receivers send.

use super::{
    CHOSEN, COPIES,
    figures::{self, SenderStatus, Summary},
};
use crate::{build, place::Place};
use anyhow::{Context, Result, bail};
use sender_tests::lab::{Hook, Lab, Process, Rule, Signal};
use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

const GROUP: &str = "239.192.77.1";
const PORT: u16 = 5004;
const FEEDBACK_PORT: u16 = 6001;

/// Everything that is ended and removed when the demo is over. Fields are dropped in this order.
pub(super) struct Scene {
    receivers: Vec<Process>,
    sender: Option<Process>,
    counts: Vec<Counts>,
    lab: Lab,
    folder: Folder,
    binary: PathBuf,
    media: PathBuf,
}

/// A receiver's wire, counted by nft.
struct Counts {
    media: Rule,
    memberships: Rule,
    reports: Rule,
}

/// What nft counted at the receivers.
#[derive(Clone, Default)]
pub(super) struct Traffic {
    /// Media packets that arrived at each.
    pub(super) media: Vec<u64>,
    /// IGMP packets they sent.
    pub(super) memberships_sent: u64,
    /// RTCP packets they sent to the feedback port.
    pub(super) reports_sent: u64,
}

/// The demo's folder in target, emptied at the end unless it is to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Scene {
    pub(super) fn build(place: &Place, media: &Path, keep: bool) -> Result<Self> {
        let folder = Folder::make(place.target.join("demo"), keep)?;
        let lab = Lab::new()?;
        let counts = lab.receivers()[..CHOSEN.len()]
            .iter()
            .map(|node| {
                Ok(Counts {
                    media: node.count(Hook::Input, &format!("udp dport {PORT}"))?,
                    memberships: node.count(Hook::Output, "meta l4proto igmp")?,
                    reports: node.count(Hook::Output, &format!("udp dport {FEEDBACK_PORT}"))?,
                })
            })
            .collect::<Result<_>>()?;
        let (binary, media) = (build::sender_path(place, true), media.to_owned());
        Ok(Self { receivers: Vec::new(), sender: None, counts, lab, folder, binary, media })
    }

    pub(super) fn start_sender(&mut self) -> Result<()> {
        write_key(&self.folder.file("sample.key"))?;
        let configuration = self.folder.file("sender.toml");
        let text = format!(
            "[network]\ninterface = \"{}\"\nmode = \"copy\" # veth has no zero-copy\nxdp = \"native\"\n\n\
             [[title]]\nname = \"sample\"\nfile = {:?}\ncopies = {COPIES}\nstagger = \"auto\"\ngroup = \"{GROUP}\"\n\
             port = {PORT}\nfeedback_port = {FEEDBACK_PORT}\nkey_file = \"sample.key\"\n",
            self.lab.sender().interface(),
            self.media,
        );
        fs::write(&configuration, text).with_context(|| format!("writing {}", configuration.display()))?;
        let mut command = self.lab.sender().command(&self.binary);
        command.arg("run").arg("-c").arg(&configuration).arg("--status").arg(self.folder.file("status.json"));
        self.sender = Some(Process::spawn(command)?);
        Ok(())
    }

    /// What the sender last wrote.
    pub(super) fn status(&self) -> Result<SenderStatus> {
        figures::read(&self.folder.file("status.json"))
    }

    pub(super) fn start_receivers(&mut self, status: &SenderStatus) -> Result<()> {
        let source = self.lab.sender().v4();
        for (node, copy) in self.lab.receivers().iter().zip(CHOSEN) {
            let name = format!("r{}", self.receivers.len() + 1);
            let mut command = node.command(&self.binary);
            command
                .args(["receive", "--quiet", "--interface", node.interface(), "--source", &source.to_string()])
                .args(["--group", &status.copy(copy)?.group, "--feedback", &format!("{source}:{FEEDBACK_PORT}")])
                .arg("--key-file")
                .arg(self.folder.file("sample.key"))
                .arg("--output")
                .arg(self.folder.file(&format!("{name}.ts")))
                .arg("--summary")
                .arg(self.folder.file(&format!("{name}.json")));
            self.receivers.push(Process::spawn(command)?);
        }
        Ok(())
    }

    /// Fails, with its last words, if a program has ended by itself.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        for process in self.sender.iter_mut().chain(&mut self.receivers) {
            if let Some(status) = process.try_wait()? {
                bail!("`{}` ended by itself ({status})", process.shown());
            }
        }
        Ok(())
    }

    /// What nft counted so far.
    pub(super) fn traffic(&self) -> Result<Traffic> {
        let mut traffic = Traffic::default();
        for counts in &self.counts {
            traffic.media.push(counts.media.packets()?);
            traffic.memberships_sent += counts.memberships.packets()?;
            traffic.reports_sent += counts.reports.packets()?;
        }
        Ok(traffic)
    }

    /// Asks the receivers to end (BYE, leave) and reads their summaries.
    pub(super) fn stop_receivers(&mut self) -> Result<Vec<Summary>> {
        for receiver in &mut self.receivers {
            receiver.signal(Signal::SIGTERM)?;
        }
        let mut summaries = Vec::new();
        for (number, receiver) in (1..).zip(&mut self.receivers) {
            let status = receiver.wait(Duration::from_secs(10))?;
            if !status.success() {
                bail!("receiver r{number} failed ({status}):\n{}", receiver.tail());
            }
            summaries.push(figures::read(&self.folder.file(&format!("r{number}.json")))?);
        }
        self.receivers.clear();
        Ok(summaries)
    }

    pub(super) fn stop_sender(&mut self) -> Result<()> {
        let Some(mut sender) = self.sender.take() else { return Ok(()) };
        let status = sender.stop(Duration::from_secs(10))?;
        if !status.success() {
            bail!("sender did not end well ({status}):\n{}", sender.tail());
        }
        Ok(())
    }

    /// Shows what the programs said last, for a failure.
    pub(super) fn show_last_words(&self) {
        for process in self.sender.iter().chain(&self.receivers) {
            let words = process.tail();
            if !words.is_empty() {
                eprintln!("--- {}\n{words}", process.shown());
            }
        }
    }
}

impl Folder {
    fn make(path: PathBuf, keep: bool) -> Result<Self> {
        // A status of an earlier run must not be taken for one of this.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path, keep })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("kept: {}", self.path.display());
        } else {
            // Only room on disk: the next demo empties it anyway.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A fresh key that only root can read.
fn write_key(path: &Path) -> Result<()> {
    let mut secret = [0; 30];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut secret)).context("drawing a random key")?;
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "AES_CM_128_HMAC_SHA1_80 {digits}"))
        .with_context(|| format!("writing {}", path.display()))
}
