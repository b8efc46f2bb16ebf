//! Reports: what the verifier should look at once.

use aya_ebpf::bindings::xdp_md;
use sender_common::{
    Reason, TitleStats, inspect,
    network::{Ip, protocol},
    packet::Span,
    rtcp,
};

use crate::{
    access::{Frame, REACH},
    count::Count,
    maps,
};

/// Set in the answer of [`rtcp_v4`] and [`rtcp_v6`] when the packet is to be swallowed.
pub const ABSORB: u32 = 0x100;

/// Reads a datagram to one of our ports whose IPv4 header begins at `at`. Answers a reason's number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rtcp_v4(ctx: *mut xdp_md, at: usize, payload: usize, end: usize) -> u32 {
    let frame = Frame::of(ctx);
    rtcp_of(ctx, Ip::v4_again(frame, at & REACH, Span { at: payload & REACH, end: end & REACH }))
}

/// As [`rtcp_v4`], for IPv6.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rtcp_v6(ctx: *mut xdp_md, at: usize, payload: usize, end: usize) -> u32 {
    let frame = Frame::of(ctx);
    rtcp_of(ctx, Ip::v6_again(frame, at & REACH, Span { at: payload & REACH, end: end & REACH }, protocol::UDP))
}

#[inline(always)]
fn rtcp_of(ctx: *mut xdp_md, ip: Option<Ip<'_>>) -> u32 {
    let (Some(mut count), Some(ip)) = (Count::begin(ctx), ip) else { return Reason::IpShort as u32 };
    let reason = inspect::rtcp(Frame::of(ctx), &ip, &mut count) as u32;
    if count.absorb { reason | ABSORB } else { reason }
}

/// Walks the RTCP compound that lies from `at` to `end`. A global function: see [`groups`](crate::groups::igmp).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rtcp_walk(ctx: *mut xdp_md, at: usize, end: usize, ssrc: u32) -> u32 {
    rtcp::walk(Frame::of(ctx), Span { at: at & REACH, end: end & REACH }, ssrc).0
}

/// Clears this CPU's statistics at `index` for a new interval.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn renew(index: u32, interval: u32) -> u32 {
    let Some(stats) = maps::TITLE_STATS.get_ptr_mut(index) else { return 0 };
    let words = stats.cast::<u64>();
    for word in 0..size_of::<TitleStats>() / 8 {
        // SAFETY: within the value, which is made of whole words; volatile, for the compiler would make it a loop of octets.
        unsafe { words.add(word).write_volatile(0) };
    }
    // SAFETY: this CPU's own value.
    unsafe { (*stats).interval = interval };
    0
}
