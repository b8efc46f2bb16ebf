//! What the load generator and its BPF program must agree on.

/// What of a frame is the client's own, beside its address.
pub mod own {
    /// Nothing, not even the address.
    pub const NOTHING: u16 = 0;
    /// Nothing more.
    pub const ADDRESS: u16 = 1;
    /// The port and the SSRC of an RTCP compound.
    pub const REPORT: u16 = 2;
    /// The port of a TCP segment.
    pub const SEGMENT: u16 = 3;
}

/// What the program is told, and how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Plan {
    /// The number of the client that sent last.
    pub state: u64,
    /// The number of clients, a power of two, less one.
    pub mask: u64,
    /// The first client's address.
    pub first: u32,
    /// The port of all clients.
    pub port: u16,
    /// One of [`own`].
    pub own: u16,
}

impl Plan {
    /// The client after this one, to be taken modulo a power of two: a linear congruence, which comes to all of them.
    #[inline(always)]
    pub const fn after(state: u64) -> u64 {
        state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)
    }
}
