//! Yardsticks for the benchmark: programs that do nothing, or one thing, measured beside the product's in the same run.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::xdp_action,
    macros::xdp,

    programs::XdpContext,
};

#[xdp]
pub fn at_once(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
