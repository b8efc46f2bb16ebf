//! The pinned toolchain and its components; the source of `core`, which the XDP program's target has no build of.

use super::{Goal, Step, Todo};
use crate::{place::Place, privilege::on_path, step};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The compiler that builds this workspace.
pub(super) struct Toolchain {
    /// Its version, which is also the toolchain's name.
    pub(super) version: String,
    /// What tells one build of it from another.
    pub(super) commit: String,
    /// The major version of the LLVM it ships.
    pub(super) llvm: String,
    /// Where it is installed.
    pub(super) sysroot: PathBuf,
}

impl Toolchain {
    /// Asks rustc. Fails, with the remedy, if the pinned one isn't there.
    pub(super) fn find(place: &Place) -> Result<Self> {
        let pinned = place.pinned()?;
        let remedy = format!("the pinned toolchain {pinned} is needed: run `rustup toolchain install {pinned}`");
        let about = step::output(place.tool("rustc").arg("-vV")).with_context(|| remedy.clone())?;
        let field = |name: &str| {
            let line = about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned).with_context(|| format!("`rustc -vV` says no {name}"))
        };
        let version = field("release")?;
        ensure!(version == pinned, "rustc here is {version}; {remedy}");
        let sysroot = step::output(place.tool("rustc").args(["--print", "sysroot"]))?;
        Ok(Self {
            version,
            commit: field("commit-hash")?,
            llvm: field("LLVM version")?.split('.').next().unwrap_or_default().to_owned(),
            sysroot: sysroot.trim().into(),
        })
    }

    fn library(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust/library")
    }
}

pub(super) fn step<'a>(place: &'a Place, toolchain: &Toolchain, goal: Goal) -> Step<'a> {
    let binary = |name: &str| toolchain.sysroot.join("bin").join(name).is_file();
    let mut missing = Vec::new();
    if !toolchain.library().join("core/src/lib.rs").is_file() {
        missing.push("rust-src");
    }
    // A toolchain of rustup's minimal profile has neither.
    let checkers = [("rustfmt", "rustfmt"), ("clippy", "cargo-clippy")];
    if goal == Goal::Everything {
        missing.extend(checkers.iter().filter(|part| !binary(part.1)).map(|part| part.0));
    }

    let (version, library) = (toolchain.version.clone(), toolchain.library());
    let todo = (!missing.is_empty())
        .then(|| Todo { missing: missing.join(" "), get: Box::new(move || get(place, &missing, &version, &library)) });
    Step { name: "Rust components", why: "the XDP program's core library is built from source", todo }
}

fn get(place: &Place, missing: &[&str], version: &str, library: &Path) -> Result<()> {
    let by_rustup = if on_path("rustup") {
        step::run(place.tool("rustup").args(["component", "add", "--toolchain", version]).args(missing))
    } else {
        Err(anyhow::anyhow!("there is no rustup"))
    };
    let Err(error) = by_rustup else { return Ok(()) };
    eprintln!("    rustup could not: {error:#}");
    if missing != ["rust-src"] {
        let names = missing.join(" ");
        bail!(
            "only rustup has {names}: run `rustup component add --toolchain {version} {names}` when its server can be reached"
        );
    }
    eprintln!("    trying Debian's package rust-src of the same version (unpacked, not installed)");
    from_debian(place, version, library)
}

/// Unpacks Debian's rust-src of exactly this version into the toolchain.
fn from_debian(place: &Place, version: &str, library: &Path) -> Result<()> {
    let offered =
        step::output(Command::new("apt-cache").args(["madison", "rust-src"])).context("asking apt for rust-src")?;
    let exact = offered
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|offer| offer.strip_prefix(version).is_some_and(|rest| rest.starts_with(['+', '-', '~'])));
    let Some(exact) = exact else {
        bail!(
            "apt's sources have no rust-src {version}: add the Debian suite that has it (trixie-backports had 1.95.0) and \
             run `apt-get update`, or run `rustup component add rust-src` where rustup's server can be reached"
        );
    };
    let folder = place.target.join("tools/rust-src");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    step::run(Command::new("apt-get").args(["download", &format!("rust-src={exact}")]).current_dir(&folder))?;
    let package = fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    step::run(Command::new("dpkg").arg("-x").arg(&package).arg(folder.join("unpacked")))?;
    let unpacked = fs::read_dir(folder.join("unpacked/usr/src"))?
        .flatten()
        .map(|entry| entry.path().join("library"))
        .find(|path| path.join("core/src/lib.rs").is_file())
        .context("Debian's rust-src has no library/core in usr/src")?;

    // Copied beside its place, then renamed: half a copy never counts as there.
    let parent = library.parent().expect("the library lies in the sysroot");
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let part = parent.join("library.part");
    let _ = fs::remove_dir_all(&part);
    step::run(Command::new("cp").arg("-r").arg(&unpacked).arg(&part))?;
    let _ = fs::remove_dir_all(library);
    fs::rename(&part, library).with_context(|| format!("placing {}", library.display()))?;
    fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))
}
