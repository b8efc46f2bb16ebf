//! Debian packages without installing them: apt with a configuration, state and cache of its own.
//!
//! The mirror is the one that the machine's own apt uses; only the suite's name is replaced.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// The suite that has a kernel new enough for zero-copy on emulated NICs (7.3 has it, 6.12 does not).
const KERNEL_SUITE: &str = "trixie-backports";
/// Debian's archive keys, as its own package places them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt that knows nothing of the system but what is installed and where the mirror is.
pub(super) struct Apt {
    dir: PathBuf,
    /// The machine's release and its backports, as suites.
    host_suites: Vec<String>,
}

impl Apt {
    /// Writes the private configuration into `dir`; everything apt does happens below it.
    ///
    /// # Errors
    /// This is no Debian machine, or none of its sources is Debian's own archive.
    pub(super) fn new(dir: &Path) -> Result<Apt> {
        let sources = debian_sources()?;
        let releases: BTreeSet<&str> = sources.iter().map(|source| source.suite.as_str()).collect();
        let Some(base) = sources.iter().find(|source| !source.suite.contains(['-', '/'])) else {
            bail!("apt's sources name no Debian release: add one to /etc/apt/sources.list.d");
        };
        let backports = format!("{}-backports", base.suite);
        let mut lines: Vec<String> = sources.iter().map(|source| source.line(&source.suite)).collect();
        for suite in BTreeSet::from([backports.as_str(), KERNEL_SUITE]) {
            if !releases.contains(suite) {
                lines.push(base.line(suite));
            }
        }
        for sub in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        fs::write(dir.join("sources.list"), lines.concat())?;
        fs::write(dir.join("apt.conf"), configuration(dir))?;
        Ok(Apt { dir: dir.to_owned(), host_suites: vec![backports, base.suite.clone()] })
    }

    /// Fetches the index. A suite that the mirror lacks (a release without backports) is passed over.
    pub(super) fn update(&self) -> Result<()> {
        let output = self.command("apt-get").args(["-qq", "update"]).output().context("cannot run apt-get")?;
        let suites = self.madison("linux-image-amd64")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or_default();
        ensure!(!suites.is_empty(), "apt-get update got no index from the mirror: {first}");
        Ok(())
    }

    /// The newest version of `package` that any suite has.
    pub(super) fn newest(&self, package: &str) -> Result<String> {
        let mut newest: Option<String> = None;
        for version in self.madison(package)? {
            let newer = newest.as_ref().is_none_or(|old| is_newer(&version, old));
            newest = if newer { Some(version) } else { newest };
        }
        newest.with_context(|| format!("the mirror has no package {package}"))
    }

    /// Names of the packages that `package` of this `version` depends on.
    pub(super) fn depends(&self, package: &str, version: &str) -> Result<Vec<String>> {
        let target = format!("{package}={version}");
        let text = capture(self.command("apt-cache").args(["show", "--no-all-versions", &target]))?;
        let field = text.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
        Ok(field.split(',').filter_map(|entry| entry.split_whitespace().next()).map(str::to_owned).collect())
    }

    /// Downloads one package file and says where it is.
    pub(super) fn download(&self, package: &str, version: &str) -> Result<PathBuf> {
        let folder = self.dir.join("download");
        fs::create_dir_all(&folder)?;
        let target = format!("{package}={version}");
        capture(self.command("apt-get").current_dir(&folder).args(["-qq", "download", &target]))?;
        let prefix = format!("{package}_");
        files(&folder)?
            .into_iter()
            .find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .with_context(|| format!("apt-get download {target} left no file in {}", folder.display()))
    }

    /// Downloads `package` for this machine's release with all it needs that is not installed here.
    pub(super) fn download_with_dependencies(&self, package: &str) -> Result<Vec<PathBuf>> {
        let mut last = None;
        for suite in &self.host_suites {
            let mut command = self.command("apt-get");
            command.args(["-qq", "-y", "--no-install-recommends", "--download-only", "-t", suite, "install", package]);
            match capture(&mut command) {
                Ok(_) => {
                    let mut archives = files(&self.dir.join("cache/archives"))?;
                    archives.retain(|file| file.extension().is_some_and(|extension| extension == "deb"));
                    return Ok(archives);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no suite to take {package} from")))
    }

    fn madison(&self, package: &str) -> Result<Vec<String>> {
        let text = capture(self.command("apt-cache").args(["madison", package]))?;
        Ok(text.lines().filter_map(|line| line.split('|').nth(1)).map(|version| version.trim().to_owned()).collect())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.dir.join("apt.conf")).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        command
    }
}

/// Unpacks a package file into `into`; nothing of it is run.
pub(super) fn unpack(package: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    capture(Command::new("dpkg-deb").arg("-x").arg(package).arg(into)).map(|_| ())
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// It could not be run, or failed: with the end of what it said.
pub(super) fn capture(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}: is it installed?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        bail!("{name} ended with {}: {}", output.status, last.join(" / "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One of the machine's own sources of Debian's main component.
struct Source {
    uri: String,
    suite: String,
}

impl Source {
    fn line(&self, suite: &str) -> String {
        let signed = if Path::new(KEYRING).exists() { format!(" signed-by={KEYRING}") } else { String::new() };
        format!("deb [arch=amd64{signed}] {} {suite} main\n", self.uri)
    }
}

fn debian_sources() -> Result<Vec<Source>> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"]);
    let targets = capture(&mut command).context("Debian's apt is needed to fetch QEMU and a kernel")?;
    Ok(targets.lines().filter_map(parse_target).collect())
}

/// A line `URI|suite|component`; other archives than Debian's own (by the path's end) are left out.
fn parse_target(line: &str) -> Option<Source> {
    let mut fields = line.split('|');
    let (uri, suite, component) = (fields.next()?, fields.next()?, fields.next()?);
    let archive = uri.trim_end_matches('/').rsplit('/').next()?;
    (component == "main" && archive.starts_with("debian"))
        .then(|| Source { uri: uri.to_owned(), suite: suite.to_owned() })
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    // The machine's own settings (proxies, keys) stay; its hooks must not run: they would touch its own cache.
    format!(
        "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Pre-Invoke;\n#clear DPkg::Post-Invoke;\n#clear DPkg::Pre-Install-Pkgs;\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
         Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::State \"{dir}/state\";\nDir::State::status \"/var/lib/dpkg/status\";\nDir::Cache \"{dir}/cache\";\n\
         APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\nAcquire::Retries \"2\";\nDebug::NoLocking \"true\";\n"
    )
}

fn is_newer(version: &str, than: &str) -> bool {
    Command::new("dpkg").args(["--compare-versions", version, "gt", than]).status().is_ok_and(|status| status.success())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debians_own_main_component_is_a_source() {
        let source = parse_target("http://mirror.example/debian/|bookworm|main").expect("a source");
        assert_eq!((source.uri.as_str(), source.suite.as_str()), ("http://mirror.example/debian/", "bookworm"));
        assert!(parse_target("http://mirror.example/debian-security/|bookworm-security|main").is_some());
        assert!(parse_target("http://mirror.example/debian/|bookworm|contrib").is_none());
        assert!(parse_target("http://other.example/node/|nodistro|main").is_none());
        assert!(parse_target("").is_none());
    }
}
