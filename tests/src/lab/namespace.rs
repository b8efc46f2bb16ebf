//! Network namespaces: made, entered, run in, removed.

use super::capture::sending_socket;
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        signal::{Signal, kill},
        socket::{MsgFlags, send},
    },
    unistd::Pid,
};
use std::{
    fs::{self, File},
    io::Write,
    marker::PhantomData,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const FOLDER: &str = "/run/netns";

/// A network namespace of the lab's own. Dropping it ends the processes inside and removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    kept: bool,
}

impl Namespace {
    /// Makes the namespace `name`, with loopback up and addresses usable at once.
    pub fn create(name: &str) -> Result<Self> {
        run(ip().args(["netns", "add", name]), "").with_context(|| format!("making the network namespace {name}"))?;
        let namespace = Self { name: name.to_owned(), kept: false };
        namespace.ip("link set lo up\n")?;
        namespace.within(|| {
            const SETTINGS: &[(&str, &str)] = &[
                // A multicast packet may come from any source.
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                // No waiting for duplicate address detection, and nothing on the wire that the test did not cause.
                ("ipv6/conf/all/accept_dad", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv6/conf/default/dad_transmits", "0"),
                ("ipv6/conf/default/router_solicitations", "0"),
                ("ipv6/conf/default/accept_ra", "0"),
                // A test may join many groups.
                ("ipv4/igmp_max_memberships", "1000"),
            ];
            SETTINGS.iter().try_for_each(|(key, value)| {
                fs::write(Path::new("/proc/sys/net").join(key), value).with_context(|| format!("setting net/{key}"))
            })
        })?;
        Ok(namespace)
    }

    /// Takes a namespace that exists (of a lab left up); it is not removed when dropped.
    pub fn existing(name: &str) -> Result<Self> {
        ensure!(path(name).exists(), "there is no network namespace {name}: is the lab up? (`cargo xtask lab`)");
        Ok(Self { name: name.to_owned(), kept: true })
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `program`, to be run inside. Its process id is that of the child, and it sees the namespace's own /sys.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = ip();
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `program` inside to its end; returns what it wrote to standard output.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, program: &str, arguments: &[S]) -> Result<String> {
        run(self.command(program).args(arguments), "")
    }

    /// Runs `ip` commands inside, one a line.
    pub fn ip(&self, lines: &str) -> Result<String> {
        run(ip().args(["-n", &self.name, "-batch", "-"]), lines)
            .with_context(|| format!("in namespace {}:\n{lines}", self.name))
    }

    /// Puts `frames` on the wire of `interface` as they are, Ethernet header first.
    pub fn put(&self, interface: &str, frames: &[Vec<u8>]) -> Result<()> {
        let socket = sending_socket(self, interface)?;
        frames
            .iter()
            .try_for_each(|frame| send(socket.as_raw_fd(), frame, MsgFlags::empty()).map(drop))
            .with_context(|| format!("sending a frame by {interface} of {}", self.name))
    }

    /// Feeds `rules` to nft inside.
    pub(super) fn nft(&self, arguments: &[&str], rules: &str) -> Result<String> {
        run(self.command("nft").args(arguments), rules)
            .with_context(|| format!("nft in namespace {} {arguments:?}\n{rules}", self.name))
    }

    /// Moves the calling thread inside, until the guard is dropped.
    pub fn enter(&self) -> Result<Entered> {
        let thread = "/proc/thread-self/ns/net";
        let before = File::open(thread).with_context(|| format!("opening {thread}"))?;
        let path = path(&self.name);
        let inside = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        setns(&inside, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering the namespace {}", self.name))?;
        Ok(Entered { before, thread: PhantomData })
    }

    /// Runs `work` on a helper thread inside. Sockets made there stay inside wherever they are used.
    pub fn within<R: Send>(&self, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
        std::thread::scope(|scope| {
            let helper = scope.spawn(|| {
                let _entered = self.enter()?;
                work()
            });
            helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Keeps the namespace when dropped; returns its name.
    pub fn keep(mut self) -> String {
        self.kept = true;
        std::mem::take(&mut self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = remove(&self.name)
        {
            eprintln!("the namespace {} is left over: {error:#}", self.name);
        }
    }
}

/// Puts the thread back where it was when dropped. Belongs to the thread that entered.
#[derive(Debug)]
pub struct Entered {
    before: File,
    thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Going on in the wrong network would touch the machine's own interfaces, or test nothing.
        setns(&self.before, CloneFlags::CLONE_NEWNET).expect("a namespace once entered can be gone back to");
    }
}

/// Removes what is left of labs with this prefix (`<prefix>-snd`, `-br`, `-r1` …), ending what runs inside.
/// Returns the names of what it removed.
pub fn purge(prefix: &str) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in names() {
        let ours = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_role);
        if ours {
            remove(&name)?;
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Removes labs whose process is gone (killed, or interrupted before it could clean up). Returns what it removed.
pub fn sweep() -> Vec<String> {
    let dead = |name: &str| {
        let (lab, role) = name.rsplit_once('-')?;
        let (pid, counter) = lab.strip_prefix("lab")?.split_once('c')?;
        let (pid, _) = (pid.parse::<u32>().ok()?, counter.parse::<u32>().ok()?);
        (is_role(role) && !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    };
    // Another process may sweep at the same moment: what it took first is no error.
    names().into_iter().filter(|name| dead(name).is_some() && remove(name).is_ok()).collect()
}

fn is_role(role: &str) -> bool {
    matches!(role, "snd" | "br" | "r1" | "r2" | "r3" | "r4")
}

fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(FOLDER) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Ends the processes inside `name` and removes it.
fn remove(name: &str) -> Result<()> {
    if let Ok(pids) = run(ip().args(["netns", "pids", name]), "") {
        let own = std::process::id();
        for pid in pids.lines().filter_map(|line| line.trim().parse::<u32>().ok()).filter(|pid| *pid != own) {
            // Already gone is fine.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
    run(ip().args(["netns", "del", name]), "").map(drop)
}

/// `ip`, found, like what it runs in a namespace, also where a shell's search path leaves out root's programs.
pub(super) fn ip() -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push("/usr/local/sbin:/usr/sbin:/sbin");
    let mut command = Command::new("ip");
    command.env("PATH", path);
    command
}

/// Runs a tool to its end with `input`; its standard output, or an error that says what it said.
pub(super) fn run(command: &mut Command, input: &str) -> Result<String> {
    let shown = format!("{command:?}").replace('"', "");
    let spawned = command
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("`{shown}`: no such program; `cargo xtask setup` installs what the lab needs")
        }
        Err(error) => return Err(error).with_context(|| format!("starting `{shown}`")),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that ends before it has read everything says why on standard error: shown below.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("waiting for `{shown}`"))?;
    ensure!(
        output.status.success(),
        "`{shown}` failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
