//! The parser's access to the packet: the only place that reads it, each read behind a check that the verifier can follow.

use core::{arch::asm, marker::PhantomData};

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use sender_common::Packet;

/// Offsets stay below this, so that the verifier sees them stay below 64 KiB. No driver gives an XDP program without
/// multi-buffer support a longer packet.
pub const REACH: usize = 0x3fff;

/// A received frame.
#[derive(Clone, Copy)]
pub struct Frame<'p> {
    data: usize,
    end: usize,
    packet: PhantomData<&'p [u8]>,
}

impl<'p> Frame<'p> {
    /// The frame that the program was called for.
    #[inline(always)]
    pub fn of(ctx: *mut xdp_md) -> Self {
        let ctx = XdpContext::new(ctx);
        Self { data: ctx.data(), end: ctx.data_end(), packet: PhantomData }
    }
}

impl<'p> Packet<'p> for Frame<'p> {
    #[inline(always)]
    fn window<const N: usize>(self, at: usize) -> Option<&'p [u8; N]> {
        if at > REACH {
            return None;
        }
        let mut start = self.data;
        // The sum is made out of the compiler's sight: it would otherwise add `N` first, or check one copy of the
        // pointer and read through another, and the verifier couldn't tell that the two are the same.
        // SAFETY: the two instructions touch nothing but their registers.
        unsafe {
            asm!("{at} &= 0x3fff", "{start} += {at}", at = inout(reg) at => _, start = inout(reg) start, options(pure, nomem, nostack));
        }
        if start + N > self.end {
            return None;
        }
        // SAFETY: `start` lies within the frame, and so do the N octets from there on; octets have no alignment. The frame
        // outlives the program's run, and nobody writes to it meanwhile.
        Some(unsafe { &*(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn length(self) -> usize {
        self.end - self.data
    }
}
