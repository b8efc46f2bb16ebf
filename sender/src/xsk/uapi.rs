//! What the kernel's AF_XDP, ethtool and IP interfaces look like: structs and constants, each with the kernel file that
//! defines it.
//!
//! `Default` is all zeroes for every struct, and none has padding: new kernels give meaning to bytes that used to be
//! padding, so every byte is one of ours. Constants that `libc` knows are taken from there.

use std::mem::{offset_of, size_of};

/// `struct sockaddr_xdp`, include/uapi/linux/if_xdp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SockaddrXdp {
    pub(super) family: u16,
    pub(super) flags: u16,
    pub(super) ifindex: u32,
    pub(super) queue_id: u32,
    pub(super) shared_umem_fd: u32,
}

/// `struct xdp_ring_offset`, include/uapi/linux/if_xdp.h (Linux 5.4 and newer: with `flags`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RingOffset {
    pub(super) producer: u64,
    pub(super) consumer: u64,
    pub(super) desc: u64,
    pub(super) flags: u64,
}

/// `struct xdp_mmap_offsets`, include/uapi/linux/if_xdp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MmapOffsets {
    pub(super) rx: RingOffset,
    pub(super) tx: RingOffset,
    pub(super) fill: RingOffset,
    pub(super) completion: RingOffset,
}

/// `struct xdp_umem_reg`, include/uapi/linux/if_xdp.h (Linux 6.8 and newer: with `tx_metadata_len`; older ones ignore
/// the last four bytes).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UmemReg {
    pub(super) addr: u64,
    pub(super) len: u64,
    pub(super) chunk_size: u32,
    pub(super) headroom: u32,
    pub(super) flags: u32,
    pub(super) tx_metadata_len: u32,
}

/// `struct xdp_statistics`, include/uapi/linux/if_xdp.h (Linux 5.9 and newer: all six).
///
/// The counts of one socket since it was opened.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Packets dropped at reception for other reasons than the following.
    pub rx_dropped: u64,
    /// Fill ring entries that were no valid frame.
    pub rx_invalid_descs: u64,
    /// TX descriptors that were no valid frame.
    pub tx_invalid_descs: u64,
    /// Packets dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// How often the fill ring was found empty.
    pub rx_fill_ring_empty_descs: u64,
    /// How often the TX ring was found empty.
    pub tx_ring_empty_descs: u64,
}

/// `struct xdp_options`, include/uapi/linux/if_xdp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) flags: u32,
}

/// `struct xdp_desc`, include/uapi/linux/if_xdp.h: an entry of the TX ring.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpDesc {
    /// Where the packet starts, from the start of the umem.
    pub addr: u64,
    /// Its length in bytes.
    pub len: u32,
    /// Flags; 0 for a whole packet without metadata.
    pub options: u32,
}

/// `struct ethtool_channels`, include/uapi/linux/ethtool.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EthtoolChannels {
    pub(super) cmd: u32,
    pub(super) max_rx: u32,
    pub(super) max_tx: u32,
    pub(super) max_other: u32,
    pub(super) max_combined: u32,
    pub(super) rx: u32,
    pub(super) tx: u32,
    pub(super) other: u32,
    pub(super) combined: u32,
}

/// `struct ip_mreqn`, include/uapi/linux/in.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IpMreqn {
    pub(super) multiaddr: [u8; 4],
    pub(super) address: [u8; 4],
    pub(super) ifindex: i32,
}

/// `ETHTOOL_GCHANNELS`, include/uapi/linux/ethtool.h.
pub(super) const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// `XDP_MAX_TX_SKB_BUDGET`, include/uapi/linux/if_xdp.h (Linux 6.18): descriptors handled by one `sendto` in copy mode.
pub(super) const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
/// How many descriptors one `sendto` handles in copy mode otherwise: `TX_BATCH_SIZE`, net/xdp/xsk.c.
pub(super) const TX_BATCH_SIZE: u32 = 32;
/// `XDP_UMEM_PGOFF_FILL_RING`, include/uapi/linux/if_xdp.h.
pub(super) const PGOFF_FILL_RING: i64 = libc::XDP_UMEM_PGOFF_FILL_RING as i64;
/// `XDP_UMEM_PGOFF_COMPLETION_RING`, include/uapi/linux/if_xdp.h.
pub(super) const PGOFF_COMPLETION_RING: i64 = libc::XDP_UMEM_PGOFF_COMPLETION_RING as i64;
/// `XDP_PGOFF_TX_RING`, include/uapi/linux/if_xdp.h.
pub(super) const PGOFF_TX_RING: i64 = libc::XDP_PGOFF_TX_RING;

// The kernel's layouts, checked when this is compiled.
const _: () = {
    assert!(size_of::<SockaddrXdp>() == 16);
    assert!(size_of::<MmapOffsets>() == 128);
    assert!(size_of::<UmemReg>() == 32 && offset_of!(UmemReg, tx_metadata_len) == 28);
    assert!(size_of::<Statistics>() == 48);
    assert!(size_of::<XdpDesc>() == 16 && offset_of!(XdpDesc, len) == 8);
    assert!(size_of::<EthtoolChannels>() == 36);
    assert!(size_of::<IpMreqn>() == 12);
};
