//! What happens when the cable is pulled.

use std::time::Duration;

use anyhow::{Result, ensure};
use sender::xsk::socket::Mode;

use super::{
    super::{
        machine,
        sending::{self, Sending},
    },
    Bench,
};

const MOMENT: Duration = Duration::from_millis(300);
/// Long enough for the watchdog to see it and to rebuild the socket.
const DOWN: Duration = Duration::from_millis(2500);

/// The link goes down under way and comes back: sending goes on by itself, and nothing is left in the ring.
pub(super) fn down_and_up(bench: &mut Bench) -> Result<String> {
    let port = sending::open(&bench.interface, 0, Mode::ZeroCopy)?;
    let mut sending = Sending::start(port, &bench.media, 0, 4, Duration::from_millis(25))?;
    sending.send_for(MOMENT);
    let before = bench.control.collect(u64::MAX, Duration::from_millis(50))?;
    ensure!(before.packets > 0 && before.flawless(), "before: {before}");
    bench.control.link(false)?;
    sending.send_for(DOWN);
    bench.control.link(true)?;
    machine::wait_for_carrier(&bench.interface, true)?;
    // What was left from before may leave now; only then does the count of what is new begin.
    sending.send_for(MOMENT);
    let (up, posted) = (bench.control.collect(0, MOMENT)?, sending.counters().sent);
    sending.send_for(MOMENT * 3);
    let fresh = sending.counters().sent - posted;
    sending.drain()?;
    let after = bench.control.collect(up.packets + fresh, Duration::from_secs(1))?;
    let arrived = after.packets - up.packets;
    let (counters, stats) = (*sending.counters(), sending.stats());
    ensure!(fresh > 0 && arrived >= fresh, "of {fresh} packets posted after the link came back, {arrived} arrived");
    ensure!(after.corrupt + after.doubled == 0, "after: {after}");
    Ok(format!(
        "{arrived} of {fresh} after it came back; stalls seen {}, rebuilds {}, lost meanwhile {}",
        counters.stalls, stats.rebuilds, after.missing
    ))
}
