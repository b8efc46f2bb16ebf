//! What runs in the demo: the lab, the sender, the receivers, and independent counts on the receivers' wires.

use super::{
    CHOSEN, COPIES,
    figures::{self, SenderStatus, Summary},
};
use crate::place::Place;
use anyhow::{Context, Result, bail};
use sender_tests::lab::{Hook, Lab, Node, Options, Process, Rule, Signal};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The first copy's group; the other copies take those after it.
const GROUP: [u8; 4] = [239, 192, 77, 1];
const PORT: u16 = 5004;
const FEEDBACK_PORT: u16 = 6001;

/// Everything that is ended and removed when the demo is over. Fields are dropped in this order.
pub(super) struct Scene {
    receivers: Vec<Process>,
    sender: Option<Process>,
    wires: Vec<Wire>,
    lab: Lab,
    folder: Folder,
    binary: PathBuf,
    media: PathBuf,
}

/// A receiver's wire, counted by nft.
struct Wire {
    unwanted: Rule,
    memberships: Rule,
    reports: Rule,
}

/// What nft counted on the receivers' wires.
#[derive(Clone, Copy, Default)]
pub(super) struct Traffic {
    /// Media packets of copies that the receiver had not joined.
    pub(super) unwanted: u64,
    /// IGMP packets they sent.
    pub(super) memberships: u64,
    /// RTCP packets they sent to the feedback port.
    pub(super) reports: u64,
}

/// The demo's folder in target, emptied at the end unless it is to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Scene {
    pub(super) fn build(place: &Place, binary: PathBuf, media: &Path, keep: bool) -> Result<Self> {
        let folder = Folder::make(place.target.join("demo"), keep)?;
        // No querier but the sender's own: the bridge learns from it who wants what.
        let lab = Lab::build(&Options { querier: false, ..Options::default() })?;
        let wires = lab.receivers().iter().zip(CHOSEN).map(|(node, copy)| Wire::new(node, copy));
        let wires = wires.collect::<Result<_>>()?;
        Ok(Self { receivers: Vec::new(), sender: None, wires, lab, folder, binary, media: media.to_owned() })
    }

    pub(super) fn start_sender(&mut self) -> Result<()> {
        let key = self.folder.file("sample.key");
        self.lab.sender().run(&self.binary.display().to_string(), &["key", "new", &key.display().to_string()])?;
        let file = self.folder.file("sender.toml");
        let text = configuration(self.lab.sender().interface(), &self.media, "sample.key", "on");
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        let mut command = self.lab.sender().command(&self.binary);
        command.arg("run").arg("-c").arg(&file).arg("--status").arg(self.folder.file("status.json"));
        self.sender = Some(Process::spawn(command)?);
        Ok(())
    }

    /// What the sender last wrote.
    pub(super) fn status(&self) -> Result<SenderStatus> {
        figures::read(&self.folder.file("status.json"))
    }

    pub(super) fn start_receivers(&mut self, status: &SenderStatus) -> Result<()> {
        let source = self.lab.sender().v4();
        for (number, (node, copy)) in (1..).zip(self.lab.receivers().iter().zip(CHOSEN)) {
            let mut command = node.command(&self.binary);
            command
                .args(["receive", "--quiet", "--interface", node.interface(), "--source", &source.to_string()])
                .args(["--group", &status.copy(copy)?.group, "--feedback", &format!("{source}:{FEEDBACK_PORT}")])
                // The last copy begins with the last stagger: nobody gives up before.
                .args(["--timeout", "0s", "--key-file"])
                .arg(self.folder.file("sample.key"));
            for (option, ending) in [("--output", "ts"), ("--status", "status.json"), ("--summary", "json")] {
                command.arg(option).arg(self.folder.file(&format!("r{number}.{ending}")));
            }
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

    /// What the receivers last wrote; nothing yet counts as zeros.
    pub(super) fn receptions(&self) -> Vec<Summary> {
        let files = (1..=CHOSEN.len()).map(|number| self.folder.file(&format!("r{number}.status.json")));
        files.map(|file| figures::read(&file).unwrap_or_default()).collect()
    }

    /// What nft counted so far.
    pub(super) fn traffic(&self) -> Result<Traffic> {
        let mut traffic = Traffic::default();
        for wire in &self.wires {
            traffic.unwanted += wire.unwanted.packets()?;
            traffic.memberships += wire.memberships.packets()?;
            traffic.reports += wire.reports.packets()?;
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

impl Wire {
    fn new(node: &Node, copy: u64) -> Result<Self> {
        let [a, b, c, d] = GROUP;
        let group = format!("{a}.{b}.{c}.{}", u64::from(d) + copy);
        Ok(Self {
            unwanted: node.count(Hook::Prerouting, &format!("udp dport {PORT} ip daddr != {group}"))?,
            memberships: node.count(Hook::Output, "meta l4proto igmp")?,
            reports: node.count(Hook::Output, &format!("udp dport {FEEDBACK_PORT}"))?,
        })
    }
}

/// A sender.toml for the lab: the sample title on staggered copies.
pub(crate) fn configuration(interface: &str, media: &Path, key: &str, querier: &str) -> String {
    let [a, b, c, d] = GROUP;
    format!(
        "[network]\ninterface = \"{interface}\"\nmode = \"copy\" # veth has no zero-copy\nquerier = \"{querier}\"\n\n\
         [[title]]\nname = \"sample\"\nfile = {media:?}\ncopies = {COPIES}\ngroup = \"{a}.{b}.{c}.{d}\"\nport = {PORT}\n\
         feedback_port = {FEEDBACK_PORT}\nkey_file = \"{key}\"\n"
    )
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
