//! Yardsticks for the benchmark: programs that do nothing, or one thing, measured beside the product's in the same run.
#![no_std]
#![no_main]
#![allow(missing_docs, unreachable_pub, reason = "the macros make items of their own")]

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{LruHashMap, PerCpuArray, ProgramArray},
    programs::XdpContext,
};
use sender_common::{Address, Counters, Receiver, ReceiverKey, TitleId};

/// As the product's receivers: the same key, the same value.
#[map]
static LRU: LruHashMap<ReceiverKey, Receiver> = LruHashMap::with_max_entries(131_072, 0);

#[map]
static COUNTS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// The program that `shuffle` goes on to.
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Returns at once.
#[xdp]
pub fn at_once(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// A single look-up in a least-recently-used map, and one counter: what counting a report can't do without.
#[xdp]
pub fn look_up(ctx: XdpContext) -> u32 {
    let data = ctx.data();
    if data + 38 > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: within the frame, by the check above.
    let address = unsafe { ((data + 26) as *const [u8; 4]).read() };
    // SAFETY: as above.
    let port = u16::from_be_bytes(unsafe { ((data + 34) as *const [u8; 2]).read() });
    let key = ReceiverKey::new(TitleId(0), Address::v4(address), port);
    if LRU.get_ptr_mut(&key).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    if let Some(counts) = COUNTS.get_ptr_mut(0) {
        // SAFETY: this CPU's own value.
        unsafe { (*counts).counts[1] += 1 };
    }
    xdp_action::XDP_PASS
}

/// As [`look_up`], among many: an address that isn't there is put in, so that a first round fills the map. It writes to the
/// value it finds, as counting a report must.
#[xdp]
pub fn look_up_or_insert(ctx: XdpContext) -> u32 {
    let data = ctx.data();
    if data + 38 > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: within the frame, by the check above.
    let address = unsafe { ((data + 26) as *const [u8; 4]).read() };
    // SAFETY: as above.
    let port = u16::from_be_bytes(unsafe { ((data + 34) as *const [u8; 2]).read() });
    let key = ReceiverKey::new(TitleId(0), Address::v4(address), port);
    match LRU.get_ptr_mut(&key) {
        // SAFETY: a value of the map, alive until this run ends.
        Some(receiver) => unsafe { (*receiver).reports += 1 },
        None => {
            let _ = LRU.insert(&key, &Receiver::default(), 0);
        }
    }
    if let Some(counts) = COUNTS.get_ptr_mut(0) {
        // SAFETY: this CPU's own value.
        unsafe { (*counts).counts[1] += 1 };
    }
    xdp_action::XDP_PASS
}

/// Gives the frame another source address out of 2^20, in an order without a pattern, and goes on to the program measured.
/// The next is made of the last (a linear congruence of full period), so repeated runs on one frame visit all of them.
#[xdp]
pub fn shuffle(ctx: XdpContext) -> u32 {
    let data = ctx.data();
    if data + 34 > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    let address = (data + 26) as *mut [u8; 4];
    // SAFETY: within the frame, by the check above.
    let before = u32::from_be_bytes(unsafe { address.read() });
    let next = 0x0a00_0000 | before.wrapping_mul(0x0001_9965).wrapping_add(0x3c6e_f35f) & 0x000f_ffff;
    // SAFETY: as above.
    unsafe { address.write(next.to_be_bytes()) };
    let checksum = (data + 24) as *mut [u8; 2];
    // SAFETY: within the frame, by the check above.
    let sum = u32::from(!u16::from_be_bytes(unsafe { checksum.read() }));
    // RFC 1624: the old words out, the new ones in.
    let sum = sum + (!before >> 16) + (!before & 0xffff) + (next >> 16) + (next & 0xffff);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    // SAFETY: as above.
    unsafe { checksum.write((!(sum as u16)).to_be_bytes()) };
    // SAFETY: the context is the one this program was called with.
    let _ = unsafe { NEXT.tail_call(&ctx, 0) };
    xdp_action::XDP_ABORTED
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
