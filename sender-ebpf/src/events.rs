//! The rare things, out of the hot path's line: receivers seen for the first time, and events, rate-limited by source.

use sender_common::{Address, Event, Receiver, ReceiverKey, TitleEntry, Tokens};

use crate::maps;

/// What became of an event.
pub type Told = u32;
/// It is in the ring.
pub const TOLD: Told = 0;
/// Its source has made too many.
pub const HELD: Told = 1;
/// The ring is full.
pub const LOST: Told = 2;

/// Puts an event into the ring, if its source may make one.
#[unsafe(no_mangle)]
pub extern "C" fn tell(event: &Event) -> Told {
    if !may_tell(&event.source, event.time) {
        return HELD;
    }
    match maps::EVENTS.output::<Event>(event, 0) {
        Ok(()) => TOLD,
        Err(_) => LOST,
    }
}

/// A token bucket for each source.
#[inline(always)]
fn may_tell(source: &Address, now: u64) -> bool {
    let Some(tokens) = maps::SOURCES.get_ptr_mut(source) else {
        let _ = maps::SOURCES.insert(source, &Tokens { filled: now, left: Tokens::BURST - 1, reserved: 0 }, 0);
        return true;
    };
    // SAFETY: a value of the map, alive until this run ends; two CPUs at once may let one event more through.
    let tokens = unsafe { &mut *tokens };
    let due = now.saturating_sub(tokens.filled) / Tokens::REFILL;
    if due > 0 {
        tokens.left = (u64::from(tokens.left) + due).min(u64::from(Tokens::BURST)) as u32;
        tokens.filled = now;
    }
    if tokens.left == 0 {
        return false;
    }
    tokens.left -= 1;
    true
}

/// Notes a receiver that isn't in the table: known, if it was announced or its title is open.
#[unsafe(no_mangle)]
pub extern "C" fn first_seen(key: &ReceiverKey, title: u32, ssrc: u32, now: u64) -> u32 {
    let mut flags = if TitleEntry(title).is_open() { Receiver::KNOWN } else { 0 };
    let mut receiver = Receiver { first: now, ssrc, ..Receiver::default() };
    // SAFETY: entries are removed by user space only, and then reused no sooner than this run has ended (RCU).
    let expected = unsafe { maps::EXPECTED.get(key) }.or_else(|| {
        let any_port = ReceiverKey { port: 0, ..*key };
        // SAFETY: as above.
        unsafe { maps::EXPECTED.get(&any_port) }
    });
    if let Some(expected) = expected {
        if expected.any_ssrc != 0 {
            flags |= Receiver::KNOWN;
        } else {
            receiver.ssrc = expected.ssrc;
            flags |= Receiver::KNOWN | Receiver::AGREED;
        }
    }
    receiver.flags = flags;
    maps::RECEIVERS.insert(key, &receiver, 0).is_ok() as u32
}
