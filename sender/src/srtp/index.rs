//! The 48-bit packet index of RFC 3711 section 3.3.1.

/// Index of an SRTP packet: the rollover counter (32 bits) ‖ the RTP sequence number (16 bits). It only ever grows, and
/// never repeats under one key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PacketIndex(u64);

impl PacketIndex {
    /// The last index that one master key may be used for (RFC 3711 section 9.2: at most 2^48 packets).
    pub const MAX: PacketIndex = PacketIndex((1 << 48) - 1);

    /// The index with this value.
    ///
    /// # Panics
    /// If `value` needs more than 48 bits: going on would repeat the keystream. Use [`PacketIndex::checked`] for values
    /// that come from outside.
    pub const fn new(value: u64) -> PacketIndex {
        assert!(value <= Self::MAX.0, "an SRTP packet index has 48 bits");
        PacketIndex(value)
    }

    /// The index with this value, or `None` if it needs more than 48 bits.
    pub const fn checked(value: u64) -> Option<PacketIndex> {
        if value <= Self::MAX.0 { Some(PacketIndex(value)) } else { None }
    }

    /// The index made of a rollover counter and a sequence number.
    pub const fn from_parts(roc: u32, seq: u16) -> PacketIndex {
        PacketIndex((roc as u64) << 16 | seq as u64)
    }

    /// The rollover counter: how often the sequence number has wrapped.
    pub const fn roc(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The RTP sequence number.
    pub const fn seq(self) -> u16 {
        self.0 as u16
    }

    /// The whole index.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The index after this one; `None` at the end of the key's life.
    pub const fn next(self) -> Option<PacketIndex> {
        Self::checked(self.0 + 1)
    }

    /// The index `distance` packets further on; `None` beyond the end of the key's life.
    pub const fn forward(self, distance: u64) -> Option<PacketIndex> {
        match self.0.checked_add(distance) {
            Some(value) => Self::checked(value),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_roc_then_sequence_number() {
        let index = PacketIndex::new(0x0001_0002_0003);
        assert_eq!((index.roc(), index.seq()), (0x0001_0002, 3));
        assert_eq!(PacketIndex::from_parts(0x0001_0002, 3), index);
    }

    #[test]
    fn the_next_index_carries_into_the_rollover_counter() {
        let next = PacketIndex::from_parts(7, 0xffff).next();
        assert_eq!(next, Some(PacketIndex::from_parts(8, 0)));
        let next = PacketIndex::new(0xffff_ffff).next();
        assert_eq!(next, Some(PacketIndex::from_parts(0x1_0000, 0)));
    }

    #[test]
    fn the_index_space_ends_and_does_not_wrap() {
        assert_eq!(PacketIndex::MAX.next(), None);
        assert_eq!(PacketIndex::checked(1 << 48), None);
        assert_eq!(PacketIndex::new(5).forward(u64::MAX), None);
        assert_eq!(PacketIndex::new(5).forward((1 << 48) - 6), Some(PacketIndex::MAX));
    }

    #[test]
    #[should_panic(expected = "48 bits")]
    fn an_index_beyond_48_bits_is_refused() {
        let _ = PacketIndex::new(1 << 48);
    }
}
