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

/// Tells of a reporter. `what`: kind, then known, hops and port in the lower half; `who`: title and SSRC. Packed, so that the
/// caller's stack needn't hold the record: all frames of a call share 512 octets.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_report(now: u64, what: u64, who: u64, high: u64, low: u64) -> Told {
    let source = Address::from_words(high, low);
    if may_tell(high, low, now) == 0 {
        return HELD;
    }
    tell(Event {
        time: now,
        kind: (what >> 32) as u32,
        title: (who >> 32) as u32,
        ssrc: who as u32,
        port: what as u16,
        hops: (what >> 16) as u8,
        detail: (what >> 24) as u8,
        source,
        group: Address::UNSPECIFIED,
    })
}

/// Writes an event into the ring, in place.
#[inline(always)]
pub fn tell(event: Event) -> Told {
    let Some(mut entry) = maps::EVENTS.reserve::<Event>(0) else { return LOST };
    entry.write(event);
    entry.submit(0);
    TOLD
}

/// A token bucket for each source.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn may_tell(high: u64, low: u64, now: u64) -> u32 {
    let source = &Address::from_words(high, low);
    let Some(tokens) = maps::SOURCES.get_ptr_mut(source) else {
        let _ = maps::SOURCES.insert(source, &Tokens { filled: now, left: Tokens::BURST - 1, reserved: 0 }, 0);
        return 1;
    };
    // SAFETY: a value of the map, alive until this run ends; two CPUs at once may let one event more through.
    let tokens = unsafe { &mut *tokens };
    let due = now.saturating_sub(tokens.filled) / Tokens::REFILL;
    if due > 0 {
        tokens.left = (u64::from(tokens.left) + due).min(u64::from(Tokens::BURST)) as u32;
        tokens.filled = now;
    }
    if tokens.left == 0 {
        return 0;
    }
    tokens.left -= 1;
    1
}

/// Notes a receiver that isn't in the table: known, if it was announced or its title is open.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn first_seen(key: *const ReceiverKey, title: u32, ssrc: u32, now: u64) -> u32 {
    // SAFETY: as in `tell`.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
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
