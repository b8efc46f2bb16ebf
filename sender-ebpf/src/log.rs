//! Lines for the operator, at most one of a kind in a second, however many packets ask for it.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use aya_log_ebpf::{info, warn};

use sender_common::Address;

use crate::maps;

const MALFORMED: u32 = 0;
const QUERIER: u32 = 1;
const EVENTS_LOST: u32 = 2;

const PAUSE: u64 = 1_000_000_000;

#[inline(always)]
fn is_due(kind: u32) -> bool {
    let Some(last) = maps::LOGGED.get_ptr_mut(kind) else { return false };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    // SAFETY: the entry of an array map; two CPUs at once may write one line more.
    let last = unsafe { &mut *last };
    if now.wrapping_sub(*last) < PAUSE {
        return false;
    }
    *last = now;
    true
}

/// A packet was malformed. User space puts the reason's name for its number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn log_malformed(reason: u32) -> u32 {
    if is_due(MALFORMED) {
        warn!((), "malformed packet passed on, reason {}", reason);
    }
    0
}

/// Another querier than before.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn log_querier(high: u64, low: u64) -> u32 {
    if is_due(QUERIER) {
        let address = Address::from_words(high, low).octets();
        info!((), "multicast querier: {:i}", address);
    }
    0
}

/// The event ring is full.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn log_events_lost() -> u32 {
    if is_due(EVENTS_LOST) {
        warn!((), "events lost: nobody empties the ring");
    }
    0
}
