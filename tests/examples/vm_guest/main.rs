//! Both ends of `cargo xtask vm-test`. As process 1 it is all there is in the guest: it loads the NIC's modules, runs the
//! checks over the real engine, says on the console what it found and powers the machine off. As `vm_guest peer WIRE
//! CONTROL MONITOR` it is what the guest's NIC is wired to: it checks every frame that comes out, and does what the guest
//! asks for over a serial line. One program, so that both mean the same packets.

mod checks;
mod control;
mod hasty;
mod ledger;
mod machine;
mod peer;
mod sending;
mod title;
mod wire;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> Result<ExitCode> {
    if std::process::id() == 1 {
        machine::run();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["peer", wire, control, monitor] => peer::run(wire, control.as_ref(), monitor.as_ref()),
        ["send", interface] => checks::program::send_until_killed(interface),
        _ => {
            bail!("this is started by `cargo xtask vm-test`, as process 1 of a guest or as `peer WIRE CONTROL MONITOR`")
        }
    }?;
    Ok(ExitCode::SUCCESS)
}
