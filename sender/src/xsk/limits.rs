//! How much memory may be taken: the machine's, the control group's, and what may be locked.
//!
//! The kernel's texts come in as strings, so that the arithmetic is tested without a machine to match.

use std::{fs, path::Path};

use nix::sys::resource::{Resource, getrlimit};

use super::error::XskError;

/// CAP_IPC_LOCK, include/uapi/linux/capability.h: who has it may lock any amount.
const CAP_IPC_LOCK: u32 = 14;

/// Refuses memory that the machine or the control group cannot give.
///
/// `hugetlb` bytes come from the pool of huge pages, which is already taken from what is available.
pub(super) fn check_memory(bytes: u64) -> Result<(), XskError> {
    let refuse = |limit: String, available, remedy| Err(XskError::Memory { bytes, limit, available, remedy });
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let Some(available) = meminfo_bytes(&meminfo, "MemAvailable")
        && available < bytes
    {
        return refuse("free memory (MemAvailable)".into(), available, "make transmit.umem smaller or add memory");
    }
    if let Some((path, available)) = control_group_room()
        && available < bytes
    {
        return refuse(format!("control group {path}"), available, "make transmit.umem smaller or raise MemoryMax");
    }
    Ok(())
}

/// Refuses a umem that may not be locked: the kernel pins it, against RLIMIT_MEMLOCK unless one has CAP_IPC_LOCK.
pub(super) fn check_memlock(bytes: u64) -> Result<(), XskError> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    if has_capability(&status, CAP_IPC_LOCK) {
        return Ok(());
    }
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((soft, _)) if soft < bytes => Err(XskError::Memory {
            bytes,
            limit: "RLIMIT_MEMLOCK".into(),
            available: soft,
            remedy: "set LimitMEMLOCK=infinity (ulimit -l unlimited), or grant CAP_IPC_LOCK",
        }),
        _ => Ok(()),
    }
}

/// A line of /proc/meminfo in bytes.
pub(super) fn meminfo_bytes(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether `CapEff` of /proc/self/status has a capability.
fn has_capability(status: &str, capability: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|set| set >> capability & 1 == 1)
}

/// The tightest memory limit of our control group (version 2) and its parents: path and bytes left.
fn control_group_room() -> Option<(String, u64)> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let root = Path::new("/sys/fs/cgroup");
    Path::new(&path)
        .ancestors()
        .filter_map(|group| {
            let read = |file| fs::read_to_string(root.join(group).join(file)).ok();
            let room = group_room(&read("memory.max")?, &read("memory.current")?)?;
            Some((format!("/{}", group.display()), room))
        })
        .min_by_key(|(_, room)| *room)
}

/// What is left of one group's limit; `None` when it has none.
fn group_room(max: &str, current: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    Some(max.saturating_sub(current.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       24640000 kB\nMemAvailable:   23949052 kB\nHugePages_Free:        7\n";

    #[test]
    fn meminfo_is_read_in_bytes() {
        assert_eq!(meminfo_bytes(MEMINFO, "MemAvailable"), Some(23_949_052 * 1024));
        assert_eq!(meminfo_bytes(MEMINFO, "Mem"), None);
        assert_eq!(meminfo_bytes(MEMINFO, "HugePages_Free"), None);
        assert_eq!(meminfo_bytes("", "MemAvailable"), None);
    }

    #[test]
    fn a_group_without_a_limit_limits_nothing() {
        assert_eq!(group_room("max\n", "4096\n"), None);
        assert_eq!(group_room("8192\n", "4096\n"), Some(4096));
        assert_eq!(group_room("4096\n", "8192\n"), Some(0));
    }

    #[test]
    fn capabilities_are_bits_of_cap_eff() {
        assert!(has_capability("Name:\tx\nCapEff:\t0000000000004000\n", CAP_IPC_LOCK));
        assert!(!has_capability("CapEff:\t0000000000002000\n", CAP_IPC_LOCK));
        assert!(!has_capability("", CAP_IPC_LOCK));
    }

    #[test]
    fn more_memory_than_the_machine_has_is_refused_with_the_remedy() {
        let error = check_memory(1 << 50).expect_err("a petabyte");
        assert!(error.to_string().contains("transmit.umem"), "{error}");
        assert!(check_memory(4096).is_ok());
    }
}
