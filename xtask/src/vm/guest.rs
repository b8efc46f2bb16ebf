//! One run of the guest: the peer of its NIC, QEMU, and what its console says.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

use super::{Nic, initrd, machine::Machine, verdict::Verdict};

/// A run that takes longer has failed; on a quiet machine it takes a tenth of that.
const LIMIT: Duration = Duration::from_secs(180);
/// So long without a line on the console: the guest hangs. Its slowest step is the check of the XDP program by the
/// kernel's verifier.
const SILENCE: Duration = Duration::from_secs(60);
/// The peer only binds its sockets before QEMU may start.
const PEER_LIMIT: Duration = Duration::from_secs(10);

/// The tap interface, in a namespace where it is alone.
const TAP: &str = "wire0";

/// What all runs have in common.
pub(super) struct Guest<'a> {
    /// QEMU and the kernel.
    pub(super) machine: &'a Machine,
    /// The program that is process 1 in the guest and the peer out here.
    pub(super) program: &'a Path,
    /// The product.
    pub(super) sender: &'a Path,
    /// Where logs go.
    pub(super) logs: &'a Path,
    /// Only the checks whose names contain this.
    pub(super) only: Option<&'a str>,
}

impl Guest<'_> {
    /// Boots a guest with this NIC, waits for its end and returns what it found.
    pub(super) fn run(&self, nic: Nic) -> Result<Verdict> {
        let sockets = Sockets::new(nic)?;
        let disk = sockets.folder.join("initrd");
        initrd::write(&disk, &[("init", self.program), ("sender", self.sender)], self.machine.modules())?;
        let on_tap = nic == Nic::Virtio && tap_is_possible();
        let peer = self.start_peer(on_tap, &sockets)?;
        let start = Instant::now();
        let mut log = Vec::new();
        let qemu = Process::spawn(&mut self.qemu(nic, &sockets, &disk, on_tap.then_some(peer.child.id())))?;
        let verdict = listen(qemu, start, &mut log)?;
        fs::create_dir_all(self.logs)?;
        fs::write(self.log(nic), &log)?;
        Ok(verdict)
    }

    /// The console's log of the last run with this NIC.
    pub(super) fn log(&self, nic: Nic) -> PathBuf {
        self.logs.join(format!("{nic}.log"))
    }

    fn start_peer(&self, on_tap: bool, sockets: &Sockets) -> Result<Process> {
        let mut command = Command::new(if on_tap { "unshare" } else { "timeout" });
        if on_tap {
            command.args(["--net", "timeout"]);
        }
        command.arg((LIMIT.as_secs() + 10).to_string()).arg(self.program).arg("peer");
        match on_tap {
            true => command.arg(format!("tap:{TAP}")),
            false => command.arg(&sockets.nic),
        };
        command.args([&sockets.control, &sockets.monitor]);
        let peer = Process::spawn(&mut command)?;
        let deadline = Instant::now() + PEER_LIMIT;
        while !sockets.control.exists() {
            ensure!(Instant::now() < deadline, "the peer of the guest's NIC did not get ready");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(peer)
    }

    fn qemu(&self, nic: Nic, sockets: &Sockets, disk: &Path, network_of: Option<u32>) -> Command {
        let mut command = self.machine.command(LIMIT.as_secs() + 5, network_of);
        let only = self.only.map(|name| format!(" vm.only={name}")).unwrap_or_default();
        let append = format!(
            "console=ttyS0 quiet loglevel=4 panic=-1 nokaslr mitigations=off cryptomgr.notests audit=0 vm.nic={nic}{only}"
        );
        let (control, monitor) = (sockets.control.display(), sockets.monitor.display());
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-M",
            "q35",
            "-accel",
            "tcg",
        ]);
        command.args(["-smp", "2", "-m", "512", "-append", &append, "-initrd"]).arg(disk);
        command.args(["-serial", "stdio", "-chardev", &format!("socket,id=control,path={control},server=off")]);
        command.args(["-serial", "chardev:control", "-qmp", &format!("unix:{monitor},server=on,wait=off")]);
        let (wire, queues) = match network_of {
            Some(_) => {
                (format!("tap,id=wire,ifname={TAP},queues=2,script=no,downscript=no,vhost=off"), ",mq=on,vectors=6")
            }
            None => (format!("stream,id=wire,server=off,addr.type=unix,addr.path={}", sockets.nic.display()), ""),
        };
        command.args(["-netdev", &wire, "-device", &format!("{}{queues}", nic.device())]);
        // A NIC without zero-copy beside it, on a hub that swallows everything.
        command.args([
            "-netdev",
            "hubport,id=hub,hubid=0",
            "-device",
            "e1000e,netdev=hub,mac=52:54:00:12:34:99,romfile=",
        ]);
        command
    }
}

/// Whether a tap interface, which has several queues, can be had in a network namespace of our own.
fn tap_is_possible() -> bool {
    let possible = Path::new("/dev/net/tun").exists()
        && geteuid().is_root()
        && Command::new("unshare")
            .args(["--net", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    if !possible {
        println!("  skip two queues: a tap interface in a network namespace of its own needs root");
    }
    possible
}

/// Reads the console to its end, or to the limit.
fn listen(mut qemu: Process, start: Instant, log: &mut Vec<u8>) -> Result<Verdict> {
    let console = qemu.child.stdout.take().context("QEMU's output is not there")?;
    let complaints = qemu.child.stderr.take().context("QEMU's error output is not there")?;
    let (lines, received) = mpsc::channel();
    let complaints = thread::spawn(move || {
        let mut text = String::new();
        let _ = BufReader::new(complaints).read_to_string(&mut text);
        text
    });
    thread::spawn(move || {
        let mut console = BufReader::new(console);
        let mut line = Vec::new();
        while console.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) && lines.send(std::mem::take(&mut line)).is_ok()
        {
        }
    });
    let mut verdict = Verdict::default();
    loop {
        match received.recv_timeout((start + LIMIT).saturating_duration_since(Instant::now()).min(SILENCE)) {
            Ok(line) => {
                let text = String::from_utf8_lossy(&line);
                verdict.read(text.trim_end());
                log.extend_from_slice(format!("{:7.3} {text}", start.elapsed().as_secs_f64()).as_bytes());
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                verdict.fail(
                    "guest ends",
                    &format!("still running after {} s, and silent: ended", start.elapsed().as_secs()),
                );
                break;
            }
        }
    }
    drop(qemu);
    let complaints = complaints.join().unwrap_or_default();
    log.extend_from_slice(complaints.as_bytes());
    println!("  {:.1} s", start.elapsed().as_secs_f64());
    verdict.close(complaints.lines().next().unwrap_or("its console says why"));
    Ok(verdict)
}

/// A child that is ended, by its own id, when it goes out of scope. It runs under `timeout`, which passes the signal on.
struct Process {
    child: Child,
}

impl Process {
    fn spawn(command: &mut Command) -> Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Ok(Process { child: child.with_context(|| format!("cannot run {name}"))? })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

/// The Unix sockets of one run, in a folder of its own (their paths must be short) that goes with it.
struct Sockets {
    folder: PathBuf,
    nic: PathBuf,
    control: PathBuf,
    monitor: PathBuf,
}

impl Sockets {
    fn new(nic: Nic) -> Result<Sockets> {
        let folder = std::env::temp_dir().join(format!("sender-vm-{}-{nic}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let [nic, control, monitor] = ["nic", "control", "monitor"].map(|name| folder.join(name));
        Ok(Sockets { folder, nic, control, monitor })
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
