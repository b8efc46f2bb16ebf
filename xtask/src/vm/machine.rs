//! What a guest is made of: QEMU, a kernel and its NIC modules, fetched once into the cache and taken from there after.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::debian::{self, Apt};

/// Modules of the guest's NICs in the order they load; what they need beside them is built into Debian's kernel.
pub(super) const MODULES: [&str; 7] =
    ["dca", "i2c-algo-bit", "igb", "failover", "net_failover", "virtio_net", "e1000e"];
const KERNEL: &str = "linux-image-amd64";
const QEMU: &str = "qemu-system-x86";
const QEMU_PROGRAM: &str = "qemu-system-x86_64";
/// First bytes of a zstd frame: where the kernel proper begins inside vmlinuz.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// QEMU and a kernel, ready to run.
pub(super) struct Machine {
    /// Where QEMU's own files are; `None` if the system's QEMU is used.
    qemu_root: Option<PathBuf>,
    kernel: PathBuf,
    /// Loadable modules, decompressed, in the order of [`MODULES`].
    modules: Vec<PathBuf>,
    version: String,
}

impl Machine {
    /// Takes the machine from `cache`, or fetches it there: about 140 MB, 10 to 20 seconds.
    ///
    /// # Errors
    /// QEMU or the kernel cannot be had here, and why: a reason to skip, not a failed test.
    pub(super) fn get(cache: &Path) -> Result<Machine> {
        let ready = cache.join("machine");
        if !ready.join("version").exists() {
            let (making, apt) = (cache.join("machine.part"), cache.join("apt"));
            for old in [&ready, &making, &apt] {
                remove(old)?;
            }
            println!("vm-test: fetching QEMU and a kernel into {} (once) …", cache.display());
            fetch(&making, &apt)?;
            fs::rename(&making, &ready)?;
            remove(&apt)?;
        }
        Machine::open(&ready)
    }

    fn open(root: &Path) -> Result<Machine> {
        let version = fs::read_to_string(root.join("version"))?;
        let qemu_root = Some(root.join("qemu")).filter(|qemu| qemu.join("usr/bin").join(QEMU_PROGRAM).exists());
        let kernel = ["vmlinux", "vmlinuz"].map(|name| root.join(name)).into_iter().find(|file| file.exists());
        let modules = MODULES.iter().map(|name| root.join(format!("{name}.ko")));
        Ok(Machine {
            qemu_root,
            kernel: kernel.context("the cached machine has no kernel: remove target/vm")?,
            modules: modules.filter(|file| file.exists()).collect(),
            version: version.trim().to_owned(),
        })
    }

    /// The kernel's version, as its package says it.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The NIC modules that are not built into the kernel.
    pub(super) fn modules(&self) -> &[PathBuf] {
        &self.modules
    }

    /// A command that runs QEMU with this kernel, under `timeout`: whatever becomes of us, it ends after `seconds`.
    /// With `network_of` it runs in the network namespace of that process.
    pub(super) fn command(&self, seconds: u64, network_of: Option<u32>) -> Command {
        let mut command = Command::new(if network_of.is_some() { "nsenter" } else { "timeout" });
        if let Some(process) = network_of {
            command.arg(format!("--net=/proc/{process}/ns/net")).arg("timeout");
        }
        command.arg("--kill-after=2").arg(seconds.to_string()).args(["nice", "-n", "5"]);
        match &self.qemu_root {
            None => {
                command.arg(QEMU_PROGRAM);
            }
            Some(root) => {
                let libraries = root.join("usr/lib/x86_64-linux-gnu");
                command.env("LD_LIBRARY_PATH", libraries).arg(root.join("usr/bin").join(QEMU_PROGRAM));
                for share in ["usr/share/qemu", "usr/share/seabios"] {
                    command.arg("-L").arg(root.join(share));
                }
            }
        }
        command.arg("-kernel").arg(&self.kernel);
        command
    }
}

fn fetch(into: &Path, apt: &Path) -> Result<()> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the guest is an x86-64 machine with a program built here: run this on x86-64"
    );
    fs::create_dir_all(into)?;
    let apt = Apt::new(apt)?;
    apt.update()?;
    fetch_qemu(&apt, into)?;
    let version = fetch_kernel(&apt, into)?;
    fs::write(into.join("version"), version)?;
    Ok(())
}

fn fetch_qemu(apt: &Apt, into: &Path) -> Result<()> {
    let root = into.join("qemu");
    for package in apt.download_with_dependencies(QEMU).context("cannot fetch QEMU")? {
        debian::unpack(&package, &root)?;
    }
    let here = root.join("usr/bin").join(QEMU_PROGRAM).exists();
    let installed = || Command::new(QEMU_PROGRAM).arg("--version").output().is_ok();
    ensure!(here || installed(), "the package {QEMU} has no {QEMU_PROGRAM}, and none is installed");
    Ok(())
}

/// The newest kernel: its package is a chain of packages, some of which hold the image or the modules.
fn fetch_kernel(apt: &Apt, into: &Path) -> Result<String> {
    let version = apt.newest(KERNEL).context("cannot fetch a kernel")?;
    let unpacked = into.join("kernel");
    let mut names = apt.depends(KERNEL, &version)?;
    for at in 0..2 {
        if at < names.len() {
            let more = apt.depends(&names[at].clone(), &version)?;
            names.extend(more);
        }
    }
    names.retain(|name| ["linux-image-", "linux-binary-", "linux-modules-"].iter().any(|kind| name.starts_with(kind)));
    names.dedup();
    for name in &names {
        let package = apt.download(name, &version)?;
        debian::unpack(&package, &unpacked)?;
        fs::remove_file(package)?;
    }
    let image =
        find(&unpacked, &|name| name.starts_with("vmlinuz")).context("the kernel's packages have no vmlinuz")?;
    fs::copy(&image, into.join("vmlinuz"))?;
    extract_elf(&image, &into.join("vmlinux"))?;
    for module in MODULES {
        let prefix = format!("{module}.ko");
        if let Some(file) = find(&unpacked, &|name| name.starts_with(&prefix)) {
            decompress_module(&file, &into.join(prefix))?;
        }
    }
    remove(&unpacked)?;
    Ok(version)
}

/// Takes the ELF kernel out of a vmlinuz: QEMU starts it directly, two seconds sooner. Without the `zstd` program, or
/// for a kernel packed otherwise, vmlinuz itself will do.
fn extract_elf(image: &Path, elf: &Path) -> Result<()> {
    let bytes = fs::read(image)?;
    let Some(at) = bytes.windows(4).position(|window| window == ZSTD_MAGIC) else { return Ok(()) };
    let packed = elf.with_extension("zst");
    fs::write(&packed, &bytes[at..])?;
    // It complains about the bytes behind the frame and exits with 1, having written all of it.
    let mut command = Command::new("zstd");
    command.args(["-q", "-d", "-c", "--long=27"]).arg(&packed).stderr(Stdio::null());
    let unpacked = command.output().map(|output| output.stdout).unwrap_or_default();
    if unpacked.starts_with(b"\x7fELF") {
        fs::write(elf, unpacked)?;
    }
    Ok(fs::remove_file(packed)?)
}

fn decompress_module(file: &Path, into: &Path) -> Result<()> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return Ok(fs::copy(file, into).map(|_| ())?),
    };
    let output = Command::new(program).args(["-d", "-c"]).arg(file).output();
    let output = output.with_context(|| format!("the program {program} is needed to unpack the kernel's modules"))?;
    ensure!(output.status.success(), "{program} cannot unpack {}", file.display());
    Ok(fs::write(into, output.stdout)?)
}

/// The first file below `folder` with a name that is `wanted`.
fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let entries: Vec<_> = fs::read_dir(folder).ok()?.flatten().collect();
    let file = |path: &Path| path.file_name().and_then(|name| name.to_str()).is_some_and(wanted) && path.is_file();
    let here = entries.iter().map(fs::DirEntry::path).find(|path| file(path));
    here.or_else(|| {
        entries
            .iter()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .find_map(|entry| find(&entry.path(), wanted))
    })
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
