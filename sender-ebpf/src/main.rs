//! The XDP program: parse, count, note events, pass on.
//!
//! In: every packet the interface receives. Out: the same packet, passed on, unless the settings ask for counted reports
//! to be swallowed. What was seen is left in maps ([`maps`]) and, for changes of state, in a ring buffer ([`events`]).
//! Not done here: deciding anything. The parser is sender-common's; this program gives it the packet ([`access`]) and
//! keeps the maps for it ([`count`]).
#![no_std]
#![no_main]
// `core::sync::atomic` has no read-modify-write for this target, though the machine has it.
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(missing_docs, unreachable_pub, reason = "the macros make public items of their own, and need them")]
#![allow(internal_features, reason = "see above")]

mod access;
mod count;
mod events;
mod groups;
mod log;
mod maps;
mod reports;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use sender_common::{Class, Reason, inspect};

/// Counts one packet and passes it on.
#[xdp]
pub fn sender(ctx: XdpContext) -> u32 {
    let Some(mut count) = count::Count::begin(ctx.ctx) else { return xdp_action::XDP_PASS };
    let reason = inspect(access::Frame::of(ctx.ctx), &mut count);
    count.add(reason, 1);
    if matches!(reason.class(), Class::Malformed) {
        log::log_malformed(reason as u32);
    }
    if count.absorb {
        count.add(Reason::Absorbed, 1);
        return xdp_action::XDP_DROP;
    }
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
