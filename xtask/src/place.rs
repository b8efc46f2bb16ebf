//! Where things are: the workspace, its target folder, the pinned toolchain.

use anyhow::{Context, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The workspace and its target folder.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Place {
    /// The workspace that this xtask belongs to.
    pub(crate) fn find() -> Self {
        // Cargo sets it when it runs us; sudo may have dropped it.
        let package =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = package.parent().expect("the package xtask lies in the workspace's root").to_owned();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(told) if !told.is_empty() => root.join(told),
            _ => root.join("target"),
        };
        Self { root, target }
    }

    /// A file of the workspace.
    pub(crate) fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// `cargo` in the workspace, of the pinned toolchain even if this xtask was started with another.
    pub(crate) fn cargo(&self) -> Command {
        self.tool("cargo")
    }

    /// A tool of the pinned toolchain.
    pub(crate) fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.current_dir(&self.root).env_remove("RUSTUP_TOOLCHAIN");
        // What cargo told us about our own package is none of its children's business.
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&variable);
            }
        }
        command
    }

    /// The toolchain that rust-toolchain.toml pins.
    pub(crate) fn pinned(&self) -> Result<String> {
        let path = self.file("rust-toolchain.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        text.lines()
            .find_map(|line| {
                line.strip_prefix("channel")?.trim().strip_prefix('=')?.trim().strip_prefix('"')?.strip_suffix('"')
            })
            .map(str::to_owned)
            .with_context(|| format!("{} has no line channel = \"…\"", path.display()))
    }

    /// `path` as one would type it: relative to the workspace if it lies there.
    pub(crate) fn short(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}
