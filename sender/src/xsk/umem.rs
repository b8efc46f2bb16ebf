//! Packet memory of one socket: the frames that are sent, and behind them those that wait in the fill ring.
//!
//! ```text
//! frame 0 … tx_frames - 1      the engine's: `tx_area`, descriptor addresses are offsets into it
//! frame tx_frames … + rx_frames  the fill ring's: the kernel writes them, nobody here looks at them
//! ```
#![expect(unsafe_code, reason = "hands out the TX area of memory that the kernel reads")]

use super::{
    error::XskError,
    limits,
    mmap::{HugePages, Mapping, Pages},
};

/// Size of a frame: aligned mode, no headroom. Every driver takes 2048, and the packets are at most 1500 bytes and headers.
pub const FRAME_SIZE: usize = 2048;

/// How large the memory of one socket is, and on what pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UmemConfig {
    /// Frames for sending.
    pub tx_frames: usize,
    /// Frames for the fill ring, a power of two. Nothing is received here, but without them RX of the queue stops in
    /// zero-copy mode, for the kernel's own traffic too.
    pub rx_frames: u32,
    /// Whether to lie on huge pages.
    pub huge_pages: HugePages,
}

impl Default for UmemConfig {
    fn default() -> UmemConfig {
        UmemConfig { tx_frames: 8192, rx_frames: 2048, huge_pages: HugePages::Auto }
    }
}

/// Packet memory of one socket.
#[derive(Debug)]
pub struct Umem {
    mapping: Mapping,
    tx_frames: usize,
    rx_frames: u32,
}

impl Umem {
    /// Maps and touches the memory. Call it on the thread, pinned, that will use it.
    ///
    /// # Errors
    /// When a size makes no sense, or the memory is more than the machine, the control group or RLIMIT_MEMLOCK allows.
    pub fn new(config: UmemConfig) -> Result<Umem, XskError> {
        let UmemConfig { tx_frames, rx_frames, huge_pages } = config;
        if tx_frames == 0 {
            return Err(XskError::Config { what: "umem", value: "0 frames".into(), remedy: "give it at least one" });
        }
        if !rx_frames.is_power_of_two() {
            return Err(XskError::Config {
                what: "rx_frames",
                value: rx_frames.to_string(),
                remedy: "the fill ring's size is a power of two, 2048 by default",
            });
        }
        let Some(len) = tx_frames.checked_add(rx_frames as usize).and_then(|frames| frames.checked_mul(FRAME_SIZE))
        else {
            let remedy = "more than an address can say: make transmit.umem smaller";
            return Err(XskError::Config { what: "umem", value: format!("{tx_frames} frames"), remedy });
        };
        limits::check_memlock(len as u64)?;
        Ok(Umem { mapping: Mapping::anonymous(len, huge_pages)?, tx_frames, rx_frames })
    }

    /// The frames for sending: frame `i` at `i * FRAME_SIZE`.
    #[inline]
    pub fn tx_area(&mut self) -> &mut [u8] {
        let len = self.tx_frames * FRAME_SIZE;
        // SAFETY: the mapping is anonymous memory. What the kernel (or the NIC) writes lies behind `len`: only the fill
        // ring's frames, by address, are given to it for writing, and it checks TX and fill addresses apart. Frames
        // before `len` it only reads, and only while posted; that reader is outside this program, so a write of ours
        // meanwhile is a packet garbled, not a data race of the language. What is written through this slice is ordered
        // before the descriptor by the ring's release store.
        unsafe { self.mapping.prefix_mut(len) }
    }

    /// Length of [`Umem::tx_area`] in bytes.
    #[inline]
    #[must_use]
    pub fn tx_len(&self) -> usize {
        self.tx_frames * FRAME_SIZE
    }

    /// Number of frames kept for the fill ring.
    #[must_use]
    pub fn rx_frames(&self) -> u32 {
        self.rx_frames
    }

    /// What the memory lies on.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.mapping.pages()
    }

    /// Address and length for `XDP_UMEM_REG`.
    pub(super) fn registration(&self) -> (u64, u64) {
        (self.mapping.start().as_ptr() as u64, self.mapping.len() as u64)
    }

    /// Addresses of the fill ring's frames.
    pub(super) fn rx_addresses(&self) -> impl Iterator<Item = u64> + use<> {
        let first = self.tx_len() as u64;
        (0..u64::from(self.rx_frames)).map(move |i| first + i * FRAME_SIZE as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_cannot_reach_the_fill_rings_frames() {
        let config = UmemConfig { tx_frames: 3, rx_frames: 4, huge_pages: HugePages::Auto };
        let mut umem = Umem::new(config).expect("seven frames");
        assert_eq!(umem.tx_area().len(), 3 * 2048);
        assert_eq!(umem.rx_addresses().collect::<Vec<_>>(), [3, 4, 5, 6].map(|i| i * 2048));
        assert_eq!(umem.registration().1, 7 * 2048);
        umem.tx_area()[3 * 2048 - 1] = 1;
    }

    #[test]
    fn sizes_that_make_no_sense_are_refused() {
        let new = |tx_frames, rx_frames| Umem::new(UmemConfig { tx_frames, rx_frames, huge_pages: HugePages::Off });
        assert!(matches!(new(0, 4), Err(XskError::Config { what: "umem", .. })));
        assert!(matches!(new(8, 3), Err(XskError::Config { what: "rx_frames", .. })));
        assert!(matches!(new(8, 0), Err(XskError::Config { .. })));
        assert!(matches!(new(usize::MAX, 4), Err(XskError::Config { .. })));
        assert!(matches!(new(1 << 40, 4), Err(XskError::Memory { .. })));
    }
}
