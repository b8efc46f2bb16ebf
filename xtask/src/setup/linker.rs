//! bpf-linker: built once into the target folder, against the LLVM that rustc itself ships, so that the two always agree
//! and no LLVM packages are needed.

use super::{Step, Todo, toolchain::Toolchain};
use crate::{place::Place, step};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// Goes with the pinned compiler's LLVM: change them together.
const VERSION: &str = "0.13.0";

pub(super) fn step(place: &Place, toolchain: Toolchain) -> Step<'_> {
    let there = is_current(place, &toolchain);
    let todo = (!there).then(|| Todo {
        missing: format!("bpf-linker {VERSION} into {}", place.short(&place.target.join("tools"))),
        get: Box::new(move || build(place, &toolchain)),
    });
    Step { name: "bpf-linker", why: "links the XDP program; built from source, takes a minute or two", todo }
}

/// What the linker was built from. Another compiler, another LLVM: it is built again then.
fn stamp(toolchain: &Toolchain) -> String {
    format!("bpf-linker {VERSION} rustc {} {} llvm {}\n", toolchain.version, toolchain.commit, toolchain.llvm)
}

fn stamp_file(place: &Place) -> PathBuf {
    place.target.join("tools/bpf-linker.stamp")
}

fn is_current(place: &Place, toolchain: &Toolchain) -> bool {
    place.target.join("tools/bin/bpf-linker").is_file()
        && fs::read_to_string(stamp_file(place)).is_ok_and(|text| text == stamp(toolchain))
}

fn build(place: &Place, toolchain: &Toolchain) -> Result<()> {
    let tools = place.target.join("tools");
    let libraries = tools.join("llvm/lib");
    fs::create_dir_all(&libraries).with_context(|| format!("making {}", libraries.display()))?;
    let lock = File::create(tools.join("lock")).context("making the lock of the tools folder")?;
    lock.lock().context("waiting for another set-up of this workspace")?;
    if is_current(place, toolchain) {
        return Ok(());
    }

    let link = libraries.join("libLLVM.so");
    let _ = fs::remove_file(&link);
    let llvm = shipped_llvm(&toolchain.sysroot.join("lib"))?;
    symlink(&llvm, &link).with_context(|| format!("linking {} to {}", link.display(), llvm.display()))?;

    let mut cargo = place.cargo();
    cargo
        .args(["install", "--locked", "--force", "bpf-linker", "--version", VERSION, "--no-default-features"])
        .args(["--features", &format!("llvm-{}", toolchain.llvm)])
        .arg("--root")
        .arg(&tools)
        // Kept until it succeeded, so that an interrupted build is gone on with.
        .arg("--target-dir")
        .arg(tools.join("build"))
        .env("LLVM_PREFIX", tools.join("llvm"))
        .env("RUSTFLAGS", format!("-C link-arg=-Wl,-rpath,{}", toolchain.sysroot.join("lib").display()))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    step::run(&mut cargo)
        .context("building bpf-linker (it comes from cargo's configured registry: is the network there?)")?;
    step::output(std::process::Command::new(tools.join("bin/bpf-linker")).arg("--version"))
        .context("bpf-linker was built but does not run")?;
    fs::write(stamp_file(place), stamp(toolchain)).context("noting that bpf-linker is built")?;
    // Only room: a failure here costs nothing.
    let _ = fs::remove_dir_all(tools.join("build"));
    Ok(())
}

/// The LLVM library of the toolchain: libLLVM… that is a real library and no linker script.
fn shipped_llvm(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("looking for libLLVM in {}", folder.display()))?;
    let found = entries.flatten().map(|entry| entry.path()).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libLLVM")) && is_elf(path)
    });
    match found {
        Some(path) => Ok(path),
        None => bail!(
            "{} has no libLLVM: this rustc is linked against an LLVM elsewhere; use rustup's toolchain, or put a \
             bpf-linker {VERSION} on the search path and build with cargo directly",
            folder.display()
        ),
    }
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}
