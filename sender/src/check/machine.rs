//! Facts about this machine and this process that a configuration is held against.

use std::fs;

use nix::{
    sched::{CpuSet, sched_getaffinity},
    sys::resource::{Resource, getrlimit},
    unistd::Pid,
};

use crate::{
    config::Config,
    netif::{Interface, NetifError},
};

/// What was found. A fact that couldn't be found out is left open and nothing is held against it.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) interface: Result<Interface, NetifError>,
    pub(super) capabilities: Capabilities,
    pub(super) memory: Option<Memory>,
    /// Bytes this process may lock (RLIMIT_MEMLOCK).
    pub(super) memlock: Option<u64>,
    /// CPUs this process may run on.
    pub(super) cpus: Option<Vec<usize>>,
    /// The program itself, for `setcap`.
    pub(super) program: String,
}

impl Machine {
    pub(super) fn look(config: &Config) -> Machine {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        Machine {
            interface: Interface::read(config.network.interface.as_str()),
            capabilities: Capabilities::parse(&read("/proc/self/status")),
            memory: Memory::parse(&read("/proc/meminfo")),
            memlock: getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft),
            cpus: allowed_cpus(),
            program: std::env::current_exe().map_or_else(|_| "sender".to_owned(), |path| path.display().to_string()),
        }
    }
}

fn allowed_cpus() -> Option<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
    Some((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// A set of capabilities (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities(u64);

/// One capability: its name and its number (include/uapi/linux/capability.h).
pub(super) type Capability = (&'static str, u32);

pub(super) const NET_ADMIN: Capability = ("CAP_NET_ADMIN", 12);
pub(super) const NET_RAW: Capability = ("CAP_NET_RAW", 13);
pub(super) const IPC_LOCK: Capability = ("CAP_IPC_LOCK", 14);
const SYS_ADMIN: Capability = ("CAP_SYS_ADMIN", 21);
pub(super) const PERFMON: Capability = ("CAP_PERFMON", 38);
pub(super) const BPF: Capability = ("CAP_BPF", 39);

impl Capabilities {
    #[cfg(test)]
    pub(super) const ALL: Capabilities = Capabilities(u64::MAX);
    #[cfg(test)]
    pub(super) const NONE: Capabilities = Capabilities(0);
    #[cfg(test)]
    pub(super) const ONLY_NET_RAW: Capabilities = Capabilities(1 << NET_RAW.1);

    /// From `/proc/self/status`. All of them if the file doesn't say: the kernel will.
    fn parse(status: &str) -> Capabilities {
        let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Capabilities(hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX))
    }

    pub(super) fn has(self, capability: Capability) -> bool {
        let bit = |(_, number): Capability| self.0 & (1 << number) != 0;
        // CAP_SYS_ADMIN has stood for these two since before they existed (bpf_capable, perfmon_capable).
        bit(capability) || (matches!(capability, BPF | PERFMON) && bit(SYS_ADMIN))
    }

    /// The names of those that are missing.
    pub(super) fn missing(self, needed: &[Capability]) -> Vec<&'static str> {
        needed.iter().filter(|capability| !self.has(**capability)).map(|(name, _)| *name).collect()
    }
}

/// Memory that can be had, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) available: u64,
    pub(super) huge_free: u64,
    pub(super) huge_page: u64,
}

impl Memory {
    /// From `/proc/meminfo`.
    fn parse(meminfo: &str) -> Option<Memory> {
        let number = |name: &str| {
            let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split_whitespace().next()?.parse::<u64>().ok()
        };
        let huge_page = number("Hugepagesize:").unwrap_or(0) * 1024;
        Some(Memory {
            available: number("MemAvailable:")? * 1024,
            huge_free: number("HugePages_Free:").unwrap_or(0) * huge_page,
            huge_page,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        let some = Capabilities::parse("Name:\tsender\nCapEff:\t0000000000003000\n");
        assert_eq!(some.missing(&[NET_RAW, NET_ADMIN, BPF, PERFMON]), ["CAP_BPF", "CAP_PERFMON"]);
        let admin = Capabilities::parse("CapEff:\t0000000000200000");
        assert_eq!(admin.missing(&[NET_RAW, NET_ADMIN, BPF, PERFMON]), ["CAP_NET_RAW", "CAP_NET_ADMIN"]);
        assert!(Capabilities::parse("").missing(&[NET_RAW]).is_empty());
    }

    #[test]
    fn memory_is_read_with_its_free_huge_pages() {
        let text = "MemTotal: 100 kB\nMemAvailable:   2048 kB\nHugePages_Free:        3\nHugepagesize:       2048 kB\n";
        let memory = Memory { available: 2 << 20, huge_free: 6 << 20, huge_page: 2 << 20 };
        assert_eq!(Memory::parse(text), Some(memory));
        assert_eq!(Memory::parse("nothing"), None);
    }
}
