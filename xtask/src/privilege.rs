//! Root: had, got through sudo, or not to be had.

use crate::step;
use anyhow::{Context, Result, bail};
use std::{
    env,
    ffi::OsStr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

/// How something runs as root here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// We are root.
    Root,
    /// By sudo, which may ask for a password.
    Sudo,
    /// Not at all.
    None,
}

impl Privilege {
    pub(crate) fn find() -> Self {
        if nix::unistd::geteuid().is_root() {
            Self::Root
        } else if on_path("sudo") {
            Self::Sudo
        } else {
            Self::None
        }
    }

    /// `program`, run as root if that can be.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Root | Self::None => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                // The environment says where the workspace is and what a test needs.
                command.args(["--preserve-env", "--"]).arg(program);
                command
            }
        }
    }
}

/// Goes on as root with the same command line: returns at once when we are root, replaces this process by itself under
/// sudo otherwise. Building is done before, as the user.
pub(crate) fn become_root(why: &str) -> Result<Option<ExitCode>> {
    match Privilege::find() {
        Privilege::Root => Ok(None),
        _ if built_before() => bail!("{why} needs root, and sudo did not make us root"),
        Privilege::None => {
            bail!(
                "{why} needs root and there is no sudo: become root (`su -`), go to this folder and run the command again"
            )
        }
        privilege @ Privilege::Sudo => {
            step::say(format!("{why} needs root: going on with sudo"));
            let own = env::current_exe().context("finding the path of xtask")?;
            let error = privilege.command(own).args(env::args_os().skip(1)).env(BUILT, "1").exec();
            Err(error).context("starting sudo")
        }
    }
}

/// Set for our second start, under sudo: set-up and build were done by the first.
const BUILT: &str = "SENDER_XTASK_BUILT";

/// Whether set-up and build were done before we became root.
pub(crate) fn built_before() -> bool {
    env::var_os(BUILT).is_some()
}

/// Whether a program is there; also looks where Debian keeps root's programs.
pub(crate) fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).any(|file| is_program(&file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
