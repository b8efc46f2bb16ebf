//! Two network namespaces joined by a veth pair, removed when dropped: the smallest network there is.
//!
//! ```text
//! <name>-a: tx0 10.78.0.1 fd78::1  <- veth, two queues ->  <name>-b: rx0 10.78.0.2 fd78::2
//! ```

use std::{
    fs::File,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::{
    sched::{CloneFlags, CpuSet, sched_setaffinity, setns},
    unistd::{Pid, geteuid},
};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A pair of namespaces.
#[derive(Debug)]
pub(crate) struct Pair {
    name: String,
}

impl Pair {
    /// Makes the pair.
    ///
    /// # Errors
    /// Why this machine cannot: for the line that says so when a test is skipped.
    pub(crate) fn new() -> Result<Pair, String> {
        if !geteuid().is_root() {
            return Err("needs root for network namespaces".into());
        }
        let pair = Pair { name: format!("sp{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)) };
        let (a, b) = (pair.sender(), pair.receiver());
        ip(&format!("netns add {a}"))?;
        ip(&format!("netns add {b}"))?;
        let queues = "numtxqueues 2 numrxqueues 2";
        ip(&format!("link add tx0 netns {a} {queues} type veth peer name rx0 netns {b} {queues}"))?;
        for (namespace, device, host) in [(&a, "tx0", 1), (&b, "rx0", 2)] {
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set {device} up"))?;
            ip(&format!("-n {namespace} addr add 10.78.0.{host}/24 dev {device}"))?;
            ip(&format!("-n {namespace} addr add fd78::{host}/64 dev {device} nodad"))?;
        }
        Ok(pair)
    }

    /// Name of the namespace with `tx0`.
    pub(crate) fn sender(&self) -> String {
        format!("{}-a", self.name)
    }

    /// Name of the namespace with `rx0`.
    pub(crate) fn receiver(&self) -> String {
        format!("{}-b", self.name)
    }

    /// Runs `work` on a thread in the sender's namespace, pinned to one CPU: packets that leave from several CPUs may
    /// overtake each other in the receiver's backlogs.
    pub(crate) fn in_sender<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.sender(), work)
    }

    /// Runs `work` on a thread in the receiver's namespace.
    pub(crate) fn in_receiver<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.receiver(), work)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [self.sender(), self.receiver()] {
            ip(&format!("netns del {namespace}")).ok();
        }
    }
}

fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{namespace}")).expect("made by Pair::new");
    let joined = thread::scope(|scope| {
        scope
            .spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).expect("root may enter namespaces");
                let mut cpus = CpuSet::new();
                cpus.set(0).expect("CPU 0 is within a CpuSet");
                sched_setaffinity(Pid::from_raw(0), &cpus).ok();
                work()
            })
            .join()
    });
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs `ip` with these arguments.
///
/// # Errors
/// What it said.
pub(crate) fn ip(arguments: &str) -> Result<(), String> {
    run(Command::new("ip").args(arguments.split(' ')))
}

/// Runs a command.
///
/// # Errors
/// What it said.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
