//! `cargo xtask`: set-up, demo, lab, tests, benchmarks. The command line; each command is a file or folder beside this one.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod lab;
mod load;
mod place;
mod privilege;
mod setup;
mod step;
mod test;
mod vm;

use clap::{Parser, Subcommand};
use place::Place;
use std::process::ExitCode;

/// Everything a developer of sender does beside `cargo build`.
///
/// Start with `cargo xtask demo`: it sets up what is missing, builds, and shows the whole path from media file to
/// receivers on a test network of its own. `cargo xtask test` runs all tests. No command touches the machine's own
/// network interfaces; root (through sudo, if you are not root) is needed for network namespaces and the XDP program.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring this machine to where everything builds and runs
    ///
    /// Checks, and gets if missing: Debian packages (with apt, the only step that asks for sudo), the rust-src component
    /// of the pinned toolchain, and bpf-linker in the target folder. Quick when there is nothing to do; after a failure
    /// run it again, it goes on where it stopped. demo, test, lab and bench do this by themselves.
    Setup,
    /// Show it all: one title on four staggered copies, three receivers, every figure checked
    ///
    /// Builds sender, makes the lab, sends the sample title through AF_XDP on veth, encrypted, on four copies 3.2 s apart,
    /// receives three of them for more than two passes and compares what was sent, counted and received. Takes under 90
    /// seconds after the build. Exits with 0 only if every figure is right. Ctrl-C ends it cleanly.
    Demo(demo::Arguments),
    /// Build the test network and leave it up, to try things by hand
    ///
    /// One sender and four receivers in network namespaces (lab-snd, lab-r1 … lab-r4) around a bridge with IGMP and MLD
    /// snooping (lab-br). Prints a drawing and commands that run as they are, with a configuration and a key in target/lab.
    /// `cargo xtask lab down` removes it.
    Lab(lab::Arguments),
    /// Run all tests: unit tests, end-to-end tests in network namespaces, and vm-test
    ///
    /// Prints at the end how many passed, failed and were skipped, with the reason of each skip. Without root, the test
    /// programs are run with sudo if there is one; otherwise what needs root is skipped.
    Test(test::Arguments),
    /// Run the sender in a QEMU guest, zero-copy on emulated NICs
    ///
    /// A current kernel and QEMU come from Debian's mirror, once, into target/vm; nothing is installed. Prints a table of
    /// checks. Exits with 0 if all passed, 1 if not, 3 if QEMU or a kernel can't be had. The run with two queues needs root.
    VmTest(vm::Args),
    /// Measure: one table, each figure beside its yardstick of the same run
    Bench(bench::Arguments),
    /// Send what an audience of millions sends, and its enemies, and compare with what XDP counts
    ///
    /// Without --interface: on a veth pair of its own. With it: against a real box, see deploy/LOAD.md.
    Load(load::Arguments),
}

fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    let place = Place::find();
    let outcome = match command {
        Command::Setup => setup::explicit(&place),
        Command::Demo(arguments) => demo::main(&place, &arguments),
        Command::Lab(arguments) => lab::main(&place, &arguments),
        Command::Test(arguments) => test::main(&place, &arguments),
        Command::VmTest(arguments) => vm::main(&place, &arguments),
        Command::Bench(arguments) => bench::main(&place, &arguments),
        Command::Load(arguments) => load::main(&place, &arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
