//! An initial RAM disk: a cpio archive in the "newc" format (the kernel's Documentation/driver-api/early-userspace/
//! buffer-format.rst), uncompressed, because compressing costs more than it saves here.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::debian::capture;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// Device number of `/dev/console`.
const CONSOLE: (u32, u32) = (5, 1);

/// Writes an archive to `path` that holds `programs` under their names with the libraries they are linked to, the folders
/// that process 1 mounts things on, and `modules` by their file names.
pub(super) fn write(path: &Path, programs: &[(&str, &Path)], modules: &[impl AsRef<Path>]) -> Result<()> {
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "modules"] {
        archive.add(folder, FOLDER, (0, 0), &[]);
    }
    archive.add("dev/console", CHARACTER_DEVICE, CONSOLE, &[]);
    let mut libraries = BTreeSet::new();
    for (name, program) in programs {
        archive.add_file(name, program)?;
        libraries.extend(libraries_of(program)?);
    }
    for folder in folders(&libraries) {
        archive.add(&inside(&folder), FOLDER, (0, 0), &[]);
    }
    for library in &libraries {
        archive.add_file(&inside(library), library)?;
    }
    for module in modules {
        let name = module.as_ref().file_name().unwrap_or_default().to_string_lossy();
        archive.add_file(&format!("modules/{name}"), module.as_ref())?;
    }
    fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}

/// The loader and the shared libraries of a program, where the loader will look for them.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let text = capture(Command::new("ldd").arg(program))?;
    let libraries: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect();
    ensure!(!libraries.is_empty(), "ldd names no library of {}: {text}", program.display());
    Ok(libraries)
}

/// All folders above these files, the outer ones first.
fn folders(files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let root = Path::new("/");
    files.iter().flat_map(|file| file.ancestors().skip(1)).filter(|folder| *folder != root).map(PathBuf::from).collect()
}

/// A path as a name in the archive.
fn inside(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.inode += 1;
        let (inode, size, name_size) = (self.inode, content.len(), name.len() + 1);
        let (major, minor) = device;
        // magic, inode, mode, uid, gid, links, mtime, size, device of the file, device it is, length of name, checksum
        write!(
            self.bytes,
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}{major:08x}{minor:08x}{name_size:08x}{0:08x}",
            0, 1
        )
        .expect("writing to memory cannot fail");
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn add_file(&mut self, name: &str, file: &Path) -> Result<()> {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        self.add(name, PROGRAM, (0, 0), &content);
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_brings_its_folders_from_the_outside_in() {
        let folders = folders(&["/lib/x/libc.so", "/lib64/ld.so"].map(PathBuf::from).into());
        assert_eq!(folders.iter().map(|folder| inside(folder)).collect::<Vec<_>>(), ["lib", "lib/x", "lib64"]);
    }

    #[test]
    fn entries_start_at_multiples_of_four_and_say_their_sizes() {
        let mut archive = Archive::default();
        archive.add("init", PROGRAM, (0, 0), b"hello");
        archive.add("dev/console", CHARACTER_DEVICE, CONSOLE, &[]);
        let bytes = archive.finish();
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[54..62], b"00000005");
        assert_eq!(&bytes[110..115], b"init\0");
        let second = (110_usize + 5).next_multiple_of(4) + 8;
        assert_eq!(&bytes[second..second + 6], b"070701");
        assert_eq!(&bytes[second + 78..second + 94], b"0000000500000001");
        assert!(bytes.len().is_multiple_of(4));
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }
}
