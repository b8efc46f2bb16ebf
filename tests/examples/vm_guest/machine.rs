//! Process 1: what an operating system does before a program may start, and how it ends.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::reboot::{RebootMode, reboot},
};

use super::checks;

/// Driver load order: what a module needs stands before it.
const MODULES: [&str; 7] = ["dca", "i2c-algo-bit", "igb", "failover", "net_failover", "virtio_net", "e1000e"];

/// Runs the checks and powers off. Never returns: the kernel panics when process 1 ends.
pub(crate) fn run() -> ! {
    std::panic::set_hook(Box::new(|panic| println!("VM| check no panic: FAIL {panic}")));
    let result = std::panic::catch_unwind(|| prepare().and_then(|parameters| checks::run(&parameters)));
    match result {
        Ok(Ok(())) => println!("VM| done"),
        Ok(Err(error)) => println!("VM| check guest runs: FAIL {error:#}"),
        Err(_) => {}
    }
    let _ = reboot(RebootMode::RB_POWER_OFF);
    loop {
        thread::park();
    }
}

/// What the kernel's command line says for us.
pub(crate) struct Parameters {
    /// The driver of the NIC to check.
    pub(crate) driver: &'static str,
    /// Only checks whose names contain this.
    pub(crate) only: Option<String>,
}

fn prepare() -> Result<Parameters> {
    let mounts = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tracefs", "/sys/kernel/tracing")];
    for (kind, at) in mounts {
        mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>).with_context(|| format!("mounting {at}"))?;
    }
    // Link-local addresses are usable at once: nobody else is on this link.
    for scope in ["all", "default"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad"), "0").context("switching DAD off")?;
    }
    for module in MODULES {
        let path = PathBuf::from(format!("/modules/{module}.ko"));
        if path.exists() {
            let file = fs::File::open(&path)?;
            finit_module(&file, c"", ModuleInitFlags::empty()).with_context(|| format!("loading {module}"))?;
        }
    }
    let line = fs::read_to_string("/proc/cmdline")?;
    let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)).map(str::to_owned);
    let driver = match value("vm.nic=").as_deref() {
        Some("igb") => "igb",
        Some("virtio") => "virtio_net",
        other => bail!("vm.nic={other:?} on the kernel's command line"),
    };
    Ok(Parameters { driver, only: value("vm.only=") })
}

/// The interface that this driver serves.
pub(crate) fn interface_of(driver: &str) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        for entry in fs::read_dir("/sys/class/net")?.flatten() {
            let link = fs::read_link(entry.path().join("device/driver")).unwrap_or_default();
            if link.file_name().is_some_and(|name| name == driver) {
                return Ok(entry.file_name().to_string_lossy().into_owned());
            }
        }
        if Instant::now() >= deadline {
            bail!("no interface of the driver {driver} appeared");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// How many queues an interface sends from.
pub(crate) fn queues_of(interface: &str) -> Result<u32> {
    let queues = fs::read_dir(attribute(interface, "queues"))?.flatten();
    Ok(queues.filter(|queue| queue.file_name().to_string_lossy().starts_with("tx-")).count() as u32)
}

/// The kernel's number of an interface.
pub(crate) fn index_of(interface: &str) -> Result<u32> {
    Ok(fs::read_to_string(attribute(interface, "ifindex"))?.trim().parse()?)
}

/// `ip link set … up`, then waits for the carrier.
pub(crate) fn set_up(interface: &str) -> Result<()> {
    // IFF_UP | IFF_MULTICAST | IFF_BROADCAST
    fs::write(attribute(interface, "flags"), "0x1003").with_context(|| format!("setting {interface} up"))?;
    wait_for_carrier(interface, true)
}

/// Waits until the carrier is there, or gone.
pub(crate) fn wait_for_carrier(interface: &str, wanted: bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let expected = if wanted { "1" } else { "0" };
    while fs::read_to_string(attribute(interface, "carrier")).unwrap_or_default().trim() != expected {
        if Instant::now() >= deadline {
            bail!("{interface}: the carrier did not become {expected} within 10 s");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn attribute(interface: &str, name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(interface).join(name)
}
