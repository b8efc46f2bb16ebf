//! Joins and leaves of our groups.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::bindings::xdp_md;
use sender_common::{
    Address, Event, EventKind, Hops, Meaning, Reason, Sink,
    membership::{self, List},
    network::{Ip, protocol},
    packet::Span,
};

use crate::{
    access::{Frame, REACH},
    count::Count,
    events, maps,
};

/// Reads an IGMP message whose IP header begins at `at`, and whose payload has been found. A global function: the verifier
/// looks at it once, with whatever offsets, and not once for each way that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn igmp(ctx: *mut xdp_md, at: usize, payload: usize, end: usize) -> u32 {
    let Some(mut count) = Count::begin(ctx) else { return 0 };
    let frame = Frame::of(ctx);
    match Ip::v4_again(frame, at & REACH, Span { at: payload & REACH, end: end & REACH }) {
        Some(ip) => membership::igmp(frame, &ip, &mut count) as u32,
        None => Reason::IpShort as u32,
    }
}

/// Reads an ICMPv6 message, as [`igmp`] does.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mld(ctx: *mut xdp_md, at: usize, payload: usize, end: usize) -> u32 {
    let Some(mut count) = Count::begin(ctx) else { return 0 };
    let frame = Frame::of(ctx);
    match Ip::v6_again(frame, at & REACH, Span { at: payload & REACH, end: end & REACH }, protocol::ICMP6) {
        Some(ip) => membership::mld(frame, &ip, &mut count) as u32,
        None => Reason::IpShort as u32,
    }
}

/// Sums a message up for its checksum.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn checksum(ctx: *mut xdp_md, at: usize, end: usize, seed: u64) -> u64 {
    membership::checksum(Frame::of(ctx), Span { at: at & REACH, end: end & REACH }, seed)
}

/// Walks the records of an IGMPv3 report. `place`: where they begin, where they end and how many they are, 16 bits each.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn igmp_records(ctx: *mut xdp_md, place: usize, high: u64, low: u64) -> u32 {
    records::<4>(ctx, place, Address::from_words(high, low))
}

/// As [`igmp_records`], for MLDv2.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mld_records(ctx: *mut xdp_md, place: usize, high: u64, low: u64) -> u32 {
    records::<16>(ctx, place, Address::from_words(high, low))
}

#[inline(always)]
fn records<const N: usize>(ctx: *mut xdp_md, place: usize, source: Address) -> u32 {
    let Some(mut count) = Count::begin(ctx) else { return 0 };
    let span = Span { at: place & REACH, end: place >> 16 & REACH };
    let list = List { span, count: (place >> 32) as u16, source };
    membership::records::<N, _, _>(Frame::of(ctx), &list, &mut count) as u32
}

/// Takes one record of an IGMPv3 report. `place`: where it begins, where the list ends, and whether to tell it, 16 bits each.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn igmp_step(ctx: *mut xdp_md, place: usize, high: u64, low: u64) -> u32 {
    step::<4>(ctx, place, Address::from_words(high, low))
}

/// As [`igmp_step`], for MLDv2.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mld_step(ctx: *mut xdp_md, place: usize, high: u64, low: u64) -> u32 {
    step::<16>(ctx, place, Address::from_words(high, low))
}

#[inline(always)]
fn step<const N: usize>(ctx: *mut xdp_md, place: usize, source: Address) -> u32 {
    let Some(mut count) = Count::begin(ctx) else { return 0 };
    let span = Span { at: place & REACH, end: place >> 16 & REACH };
    membership::step::<N, _, _>(Frame::of(ctx), span, source, place >> 32 != 0, &mut count)
}

/// Counts one record. A global function with plain numbers as arguments: the verifier looks at it once, not once for
/// each of the records that a report may have. `what`: the protocol, and the meaning in the next octet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn group_changed(group_high: u64, group_low: u64, high: u64, low: u64, what: u32) -> u32 {
    let Some(mut count) = Count::begin(core::ptr::null_mut()) else { return 0 };
    let group = Address::from_words(group_high, group_low);
    let Some(state) = maps::GROUPS.get_ptr_mut(&group) else {
        count.detail(Reason::GroupForeign, 1);
        return 0;
    };
    // SAFETY: a value of the map, alive until this run ends; counted atomically, since all CPUs share it.
    let state = unsafe { &mut *state };
    let now = count.now();
    let (counter, reason, kind) = match what >> 8 {
        1 => (&mut state.joins, Reason::GroupJoin, EventKind::Join as u32),
        2 => (&mut state.leaves, Reason::GroupLeave, EventKind::Leave as u32),
        _ => (&mut state.presents, Reason::GroupPresent, 0),
    };
    // SAFETY: aligned and within the value.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, 1) };
    if what >> 8 != Meaning::Leave as u32 {
        state.last = now;
    }
    state.versions |= 1 << (what & 15);
    count.detail(reason, 1);
    if kind != 0 && events::may_tell(high, low, now) == 0 {
        count.told(events::HELD);
    } else if kind != 0 {
        let told = events::tell(Event {
            time: now,
            kind,
            title: state.title.0,
            ssrc: 0,
            port: 0,
            hops: Hops::UNKNOWN.0,
            detail: what as u8,
            source: Address::from_words(high, low),
            group,
        });
        count.told(told);
    }
    0
}
