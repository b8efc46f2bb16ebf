//! The load generator's program: sends the frame it is run on out of the interface it is run for, each time from another client.
//! It is only ever run by `BPF_PROG_TEST_RUN` with live frames, never attached.
#![no_std]
#![no_main]
#![allow(missing_docs, unreachable_pub, reason = "the macros make items of their own")]

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};
use sender_common::flood::{Plan, own};

const SOURCE: usize = 14 + 12;
const IP_CHECKSUM: usize = 14 + 10;
const PORT: usize = 14 + 20;
const TCP_CHECKSUM: usize = PORT + 16;
const SSRCS: [usize; 2] = [PORT + 8 + 4, PORT + 8 + 32 + 4];

#[map]
static PLAN: Array<Plan> = Array::with_max_entries(1, 0);

#[xdp]
pub fn flood(ctx: XdpContext) -> u32 {
    let Some(plan) = PLAN.get_ptr_mut(0) else { return xdp_action::XDP_DROP };
    // SAFETY: the entry of an array map; one run at a time.
    let plan = unsafe { &mut *plan };
    plan.state = Plan::after(plan.state) & plan.mask;
    let (start, end) = (ctx.data(), ctx.data_end());
    let done = match plan.own {
        own::NOTHING => Some(()),
        own::ADDRESS => address(start, end, plan).map(drop),
        own::REPORT => report(start, end, plan),
        _ => segment(start, end, plan),
    };
    if done.is_some() { xdp_action::XDP_TX } else { xdp_action::XDP_DROP }
}

/// Puts the client's address in and answers what that adds to a checksum. The frame may be one that went out before, and have
/// another client's address still.
#[inline(always)]
fn address(start: usize, end: usize, plan: &Plan) -> Option<u32> {
    let now = plan.first + plan.state as u32;
    let before = swap::<4>(start, end, SOURCE, now.to_be_bytes())?;
    let before = !u32::from_be_bytes(before);
    let change = (before >> 16) + (before & 0xffff) + (now >> 16) + (now & 0xffff);
    add(start, end, IP_CHECKSUM, change)?;
    Some(change)
}

#[inline(always)]
fn report(start: usize, end: usize, plan: &Plan) -> Option<()> {
    address(start, end, plan)?;
    swap::<2>(start, end, PORT, plan.port.to_be_bytes())?;
    let ssrc = (plan.state as u32).wrapping_mul(0x9e37_79b1) ^ 0x5eed;
    for at in SSRCS {
        swap::<4>(start, end, at, ssrc.to_be_bytes())?;
    }
    Some(())
}

#[inline(always)]
fn segment(start: usize, end: usize, plan: &Plan) -> Option<()> {
    let change = address(start, end, plan)?;
    let before = swap::<2>(start, end, PORT, plan.port.to_be_bytes())?;
    let port = u32::from(!u16::from_be_bytes(before)) + u32::from(plan.port);
    add(start, end, TCP_CHECKSUM, change + port)
}

/// Changes a checksum by the sum of old words' complements and new words (RFC 1624).
#[inline(always)]
fn add(start: usize, end: usize, at: usize, change: u32) -> Option<()> {
    if start + at + 2 > end {
        return None;
    }
    let checksum = (start + at) as *mut [u8; 2];
    // SAFETY: within the frame, by the check above.
    let sum = u32::from(!u16::from_be_bytes(unsafe { checksum.read() })) + change;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    // SAFETY: as above.
    unsafe { checksum.write((!(sum as u16)).to_be_bytes()) };
    Some(())
}

#[inline(always)]
fn swap<const N: usize>(start: usize, end: usize, at: usize, new: [u8; N]) -> Option<[u8; N]> {
    if start + at + N > end {
        return None;
    }
    let place = (start + at) as *mut [u8; N];
    // SAFETY: within the frame, by the check above.
    let old = unsafe { place.read() };
    // SAFETY: as above.
    unsafe { place.write(new) };
    Some(old)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
