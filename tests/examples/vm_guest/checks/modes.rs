//! Which way of sending is had, and what is said where it cannot be.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sender::xsk::socket::Mode;

use super::{
    super::{
        machine,
        sending::{self, Sending},
    },
    Bench,
};

pub(super) const WITHOUT_ZERO_COPY: &str = "e1000e";

/// The kernel itself says that the socket does not copy.
pub(super) fn zero_copy(bench: &mut Bench) -> Result<String> {
    let port = sending::open(&bench.interface, 0, Mode::ZeroCopy)?;
    ensure!(port.socket().zero_copy() == Some(true), "bound, but XDP_OPTIONS does not say zero-copy");
    Ok(port.socket().to_string())
}

/// `mode = "zero-copy"` is a demand.
pub(super) fn refusal(_: &mut Bench) -> Result<String> {
    let interface = machine::interface_of(WITHOUT_ZERO_COPY)?;
    machine::set_up(&interface)?;
    let error =
        sending::open(&interface, 0, Mode::ZeroCopy).err().context("e1000e has no zero-copy, yet it was bound")?;
    let said = error.to_string();
    let useful = said.contains(&interface) && said.contains("no zero-copy") && said.contains("mode = \"auto\"");
    ensure!(useful, "the message does not say why, or what to do: {said}");
    Ok(said)
}

/// `mode = "auto"` takes what there is, says which, and sends.
pub(super) fn automatic(bench: &mut Bench) -> Result<String> {
    let interface = machine::interface_of(WITHOUT_ZERO_COPY)?;
    machine::set_up(&interface)?;
    let port = sending::open(&interface, 0, Mode::Auto)?;
    let said = port.socket().to_string();
    ensure!(port.socket().zero_copy() == Some(false) && said.contains(": copy"), "it says {said:?}");
    let mut sending = Sending::start(port, &bench.media, 0, 1, Duration::ZERO)?;
    sending.send(500, Duration::from_millis(40))?;
    sending.drain()?;
    Ok(format!("{said}; {} sent", sending.stats().completed))
}
