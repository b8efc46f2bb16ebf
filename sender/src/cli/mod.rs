//! The command line: words in, calls of the library, messages and an exit code out. No decision is taken here.

mod log;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use sender::{
    check,
    config::{Config, Problems},
    receive::{self, ReceiveArgs, ReceiveError},
    run::{self, NotStarted, RunOptions},
    srtp::KeyFile,
};

/// A failure while running.
const FAILED: u8 = 1;
/// A wrong command line or configuration: nothing was started.
const REFUSED: u8 = 2;

const AFTER_HELP: &str = "\
Examples:
  sender check -c sender.toml          what would run, and all that is wrong with it
  sender run -c sender.toml            run it, until Ctrl-C or SIGTERM
  sender key new news.key              a key file for a protected title
  sender receive --help                the reference client
  sender run -c sender.toml --log debug,sender::xdp=trace

To begin: copy deploy/sender.example.toml to sender.toml, name your interface and
a file in it, and let `sender check` tell what is missing.

Exit codes:
  0  done
  1  failed while running
  2  the command line or the configuration is wrong, or this machine can't run it:
     nothing was started";

/// Sends titles to one viewer or a hundred thousand: looped, staggered and encrypted once, past the kernel's network stack.
#[derive(Debug, Parser)]
#[command(name = "sender", version, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Cli {
    /// What is logged to standard error: a level (error, warn, info, debug, trace) or a list of module=level.
    /// Goes before RUST_LOG, which goes before the configuration's [log] level.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a configuration until told to end.
    #[command(after_help = "\
Ends with Ctrl-C or SIGTERM: says BYE to the groups, empties the rings, detaches the XDP program.
Needs root, or once:
  setcap cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon,cap_ipc_lock=ep $(command -v sender)

Examples:
  sender run -c /etc/sender/sender.toml
  sender run -c sender.toml --status /run/sender/status.json")]
    Run(RunArgs),
    /// Hold a configuration against this machine, its media and its keys; start nothing.
    #[command(after_help = "\
Prints what would run to standard output and everything that is wrong to standard error.
Exit code 0 if it would run, 2 if not.

Example:
  sender check -c sender.toml && systemctl restart sender")]
    Check(CheckArgs),
    /// Receive one copy of a title: join, report, decrypt, put in order, write.
    #[command(after_help = "\
Examples:
  sender receive -i eth0 --group 239.192.1.1:5004 --source 10.0.0.1 --feedback 10.0.0.1:6001 -o title.ts
  sender receive -i eth0 --group 239.192.1.1:5004 --key-file news.key -o - | ffplay -
  sender receive -i eth0 --group [ff3e::8001:1]:5004 --source fd77::1 -o udp://127.0.0.1:1234")]
    Receive(Box<ReceiveArgs>),
    /// Make keys.
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The configuration; deploy/sender.example.toml documents every key.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Write the state to this file as JSON, again and again.
    #[arg(long, value_name = "FILE.json")]
    status: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The configuration; deploy/sender.example.toml documents every key.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Write a new random master key to a file that only its owner can read (mode 0600); never overwrites one.
    #[command(
        visible_alias = "generate",
        after_help = "\
Name it in the configuration with key_file = \"FILE\", and give the receivers a copy by a safe way.

Example:
  sender key new news.key"
    )]
    New {
        /// The file to make.
        file: PathBuf,
    },
}

/// Reads the command line, does what it says, and turns errors into messages and an exit code.
pub(crate) fn main() -> ExitCode {
    // A usage error prints itself and ends with clap's exit code, which is 2 too.
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run(args, cli.log.as_deref()),
        Command::Check(args) => check(&args, cli.log.as_deref()),
        Command::Receive(args) => receive(&args, cli.log.as_deref()),
        Command::Key(KeyCommand::New { file }) => new_key(&file),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Prints an error and finds its exit code: problems of a configuration are refusals, everything else is a failure.
fn report(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Problems>() {
        Some(problems) => {
            for problem in problems.iter() {
                eprintln!("{} {problem}", paint("error:", "31;1"));
            }
            let things =
                if problems.len() == 1 { "1 thing is".to_owned() } else { format!("{} things are", problems.len()) };
            eprintln!("{things} wrong with the configuration; nothing was started");
            ExitCode::from(REFUSED)
        }
        None => {
            eprintln!("{} {}", paint("error:", "31;1"), with_causes(error));
            let refused = error.is::<log::BadFilter>() || error.is::<NotStarted>();
            let failed = error.downcast_ref().map_or(FAILED, ReceiveError::exit_code);
            ExitCode::from(if refused { REFUSED } else { failed })
        }
    }
}

/// An error and its causes in one line. Many errors quote their cause themselves: it is not said twice.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        so_far if so_far.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}

/// Colour, if standard error is a terminal.
fn paint(text: &str, colour: &str) -> String {
    if log::coloured() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

fn run(args: RunArgs, filter: Option<&str>) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    log::start(filter, Some(config.log.level))?;
    run::run(config, RunOptions { status: args.status })
}

fn check(args: &CheckArgs, filter: Option<&str>) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    log::start(filter, Some(config.log.level))?;
    let survey = check::survey(config);
    let mut out = io::stdout().lock();
    let ready = if survey.problems().is_empty() { "\nReady to run.\n" } else { "" };
    match write!(out, "{survey}{ready}").and_then(|()| out.flush()) {
        // `sender check | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other.context("writing to standard output")?,
    }
    for warning in survey.warnings() {
        eprintln!("{} {warning}", paint("warning:", "33;1"));
    }
    survey.ready()?;
    Ok(())
}

fn receive(args: &ReceiveArgs, filter: Option<&str>) -> anyhow::Result<()> {
    log::start(filter, None)?;
    receive::run(args)?;
    Ok(())
}

fn new_key(file: &Path) -> anyhow::Result<()> {
    KeyFile::generate()?.write(file)?;
    if io::stdout().is_terminal() {
        println!("wrote {}; name it with key_file = \"…\" in the configuration", file.display());
    }
    Ok(())
}
