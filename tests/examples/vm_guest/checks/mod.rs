//! The checks, in the order they run. Each returns what it saw in one line, or why it failed.

mod buffers;
mod link;
mod modes;
mod product;
pub(crate) mod program;
mod wire;

use std::sync::Arc;

use anyhow::Result;
use sender::{media::Loop, xdp::Xdp};

use super::{
    control::Control,
    machine::{self, Parameters},
    title,
};

/// What the checks work with.
pub(crate) struct Bench {
    /// The NIC under test.
    interface: String,
    control: Control,
    media: Arc<Loop>,
    /// Attached to the NIC, from its check on.
    program: Option<Xdp>,
}

struct Check {
    name: &'static str,
    /// Only with this driver.
    driver: Option<&'static str>,
    /// Needs a NIC with several queues.
    queues: bool,
    /// The others rely on it: it cannot be left out.
    always: bool,
    run: fn(&mut Bench) -> Result<String>,
}

impl Check {
    const fn new(name: &'static str, run: fn(&mut Bench) -> Result<String>) -> Check {
        Check { name, driver: None, queues: false, always: false, run }
    }

    const fn only_with(self, driver: &'static str) -> Check {
        Check { driver: Some(driver), ..self }
    }

    const fn on_queues(self) -> Check {
        Check { queues: true, ..self }
    }

    const fn always(self) -> Check {
        Check { always: true, ..self }
    }
}

const CHECKS: &[Check] = &[
    Check::new("a missing XDP program is reported", program::missing).only_with("igb"),
    Check::new("sender run, auto, no program", product::without_program).only_with("igb"),
    Check::new("the XDP program attaches natively", program::attach).always(),
    Check::new("zero-copy by XDP_OPTIONS", modes::zero_copy),
    Check::new("10,000 packets on the wire", wire::ten_thousand),
    Check::new("reuse before completion is seen", wire::hasty_reuse_is_seen).only_with("virtio_net"),
    Check::new("reports are counted while bound", program::reports),
    Check::new("two queues at once", wire::two_queues).on_queues(),
    Check::new("reports on two queues", program::reports_on_all_queues).on_queues(),
    Check::new("copy mode sends the same", wire::copy_mode),
    Check::new("link down and up", link::down_and_up),
    Check::new("kill -9 leaves the NIC working", program::killed),
    Check::new("detaching leaves the NIC working", program::detach),
    Check::new("sender run, zero-copy", product::zero_copy).only_with("igb"),
    Check::new("sender run without zero-copy", product::refusal).only_with("virtio_net"),
    Check::new("sender run, auto", product::automatic),
    Check::new("a NIC without zero-copy", modes::refusal),
    Check::new("auto takes copy and says so", modes::automatic),
];

/// Runs all checks for this driver and prints a line for each.
pub(crate) fn run(parameters: &Parameters) -> Result<()> {
    let interface = machine::interface_of(parameters.driver)?;
    machine::set_up(&interface)?;
    let mut bench = Bench { interface, control: Control::open()?, media: title::media()?, program: None };
    let several = machine::queues_of(&bench.interface)? > 1;
    let wanted = |check: &&Check| {
        check.driver.is_none_or(|driver| driver == parameters.driver)
            && (several || !check.queues)
            && (check.always || parameters.only.as_ref().is_none_or(|only| check.name.contains(only.as_str())))
    };
    for check in CHECKS.iter().filter(wanted) {
        bench.control.reset()?;
        let outcome = (check.run)(&mut bench);
        match outcome {
            Ok(seen) => println!("VM| check {}: ok {seen}", check.name),
            Err(error) => println!("VM| check {}: FAIL {error:#}", check.name),
        }
    }
    Ok(())
}
