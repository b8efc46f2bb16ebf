//! Builds the XDP program for `bpfel-unknown-none` with a nested cargo and hands its object to the library, which embeds it.
//!
//! Without `bpf-linker` (or with `SENDER_BPF_SKIP=1`) an empty object is embedded and a warning says so: `cargo check`
//! and `clippy` work on a bare machine, and attaching then fails with the remedy. With the linker there, an error
//! in the program is an error of the build.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The objects: the product's program, the yardsticks that the benchmark measures beside it, the load generator's program.
const OBJECTS: [&str; 3] = ["sender", "yardstick", "flood"];
const TARGET: &str = "bpfel-unknown-none";

fn main() {
    let out_dir = path_of("OUT_DIR");
    let manifest_dir = path_of("CARGO_MANIFEST_DIR");
    let workspace = manifest_dir.parent().expect("the package lies in the workspace's root").to_owned();
    let target_dir = target_dir(&workspace, &out_dir);

    for watched in
        ["sender-ebpf/Cargo.toml", "sender-ebpf/src", "sender-common/Cargo.toml", "sender-common/src", "Cargo.toml"]
    {
        println!("cargo:rerun-if-changed={}", workspace.join(watched).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    for variable in ["SENDER_BPF_SKIP", "SENDER_BPF_LINKER"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    // A path that isn't there yet makes cargo run this script each time: that is how a fresh `cargo xtask setup` is noticed.
    println!("cargo:rerun-if-changed={}", target_dir.join("tools/bin/bpf-linker").display());

    let skip = env::var_os("SENDER_BPF_SKIP").is_some_and(|value| value == "1");
    match linker(&target_dir).filter(|_| !skip) {
        Some(linker) => build(&workspace, &target_dir, &out_dir, &linker),
        None => {
            let why = if skip { "SENDER_BPF_SKIP=1" } else { "no bpf-linker; `cargo xtask setup` gets it" };
            println!("cargo:warning=the XDP program is left out ({why}): this build can't attach it");
            for object in OBJECTS {
                write(&out_dir.join(object), &[]);
            }
        }
    }
}

fn build(workspace: &Path, target_dir: &Path, out_dir: &Path, linker: &Path) {
    let bpf_dir = target_dir.join("bpf");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH for build scripts");
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".into(),
        // Loads of 2, 4 and 8 octets wherever a header lies: what a packet needs, and the kernels we run on have no trouble with.
        "-Ctarget-cpu=v3".into(),
        "-Ctarget-feature=+allows-misaligned-mem-access".into(),
        "-Clink-arg=--btf".into(),
        format!("-Clinker={}", linker.display()),
    ];
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace)
        .args(["build", "--package", "sender-ebpf", "--bins", "--release", "--target", TARGET, "-Z", "build-std=core"])
        // Its own target directory, shared by all profiles: the outer cargo holds the lock of the other one.
        .arg("--target-dir")
        .arg(&bpf_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .envs([
            ("CARGO_PROFILE_RELEASE_LTO", "fat"),
            ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
            ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
        ]);
    for inherited in
        ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"]
    {
        cargo.env_remove(inherited);
    }
    let output = cargo.output().unwrap_or_else(|error| panic!("can't start {cargo:?}: {error}"));
    if !output.status.success() {
        panic!("the XDP program does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let built = bpf_dir.join(TARGET).join("release");
    for object in OBJECTS {
        let bytes =
            fs::read(built.join(object)).unwrap_or_else(|error| panic!("no object {object} in {built:?}: {error}"));
        write(&out_dir.join(object), &bytes);
    }
}

/// Where bpf-linker is: the variable, what `cargo xtask setup` installed, the search path.
fn linker(target_dir: &Path) -> Option<PathBuf> {
    let named = env::var_os("SENDER_BPF_LINKER").filter(|name| !name.is_empty()).map(PathBuf::from);
    if let Some(named) = &named {
        assert!(named.is_file(), "SENDER_BPF_LINKER names {}, which is no file", named.display());
    }
    let searched = env::var_os("PATH").unwrap_or_default();
    let searched: Vec<_> = env::split_paths(&searched).map(|folder| folder.join("bpf-linker")).collect();
    named.into_iter().chain([target_dir.join("tools/bin/bpf-linker")]).chain(searched).find(|path| path.is_file())
}

/// The workspace's target directory: as cargo was told, else the ancestor of OUT_DIR that cargo tagged, else `target`.
fn target_dir(workspace: &Path, out_dir: &Path) -> PathBuf {
    if let Some(told) = env::var_os("CARGO_TARGET_DIR").filter(|told| !told.is_empty()) {
        return workspace.join(told);
    }
    // <target>[/<triple>]/<profile>/build/<package>/out: the outermost tagged folder is the target directory.
    let tagged = out_dir.ancestors().filter(|folder| folder.join("CACHEDIR.TAG").is_file()).last();
    tagged.map_or_else(|| workspace.join("target"), Path::to_owned)
}

fn path_of(variable: &str) -> PathBuf {
    env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| panic!("cargo sets {variable} for build scripts"))
}

/// Writes only what changed, so that the library isn't rebuilt for nothing.
fn write(path: &Path, bytes: &[u8]) {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return;
    }
    fs::write(path, bytes).unwrap_or_else(|error| panic!("can't write {}: {error}", path.display()));
}
