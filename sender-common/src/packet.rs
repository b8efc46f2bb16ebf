//! Bounded access to a packet's octets: the one way in which the parser touches them.

/// A packet that the parser can look into. User space implements it for `&[u8]`, the XDP program for its context;
/// neither ever reads beyond the end.
pub trait Packet<'p>: Copy {
    /// The `N` octets from offset `at` on; `None` where the packet ends before.
    fn window<const N: usize>(self, at: usize) -> Option<&'p [u8; N]>;

    /// The packet's length in octets, from the Ethernet header on.
    fn length(self) -> usize;
}

impl<'p> Packet<'p> for &'p [u8] {
    #[inline]
    fn window<const N: usize>(self, at: usize) -> Option<&'p [u8; N]> {
        self.get(at..)?.first_chunk()
    }

    #[inline]
    fn length(self) -> usize {
        self.len()
    }
}

/// A part of a packet: offsets from its first octet. What a header declares and what is there have both been applied to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first octet.
    pub at: usize,
    /// One behind the last octet.
    pub end: usize,
}

impl Span {
    /// The length in octets; 0 when the beginning has been moved to or past the end.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// Whether nothing is left.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.at >= self.end
    }

    /// The `N` octets that begin `offset` octets into the part; `None` where the part or the packet ends before.
    #[inline(always)]
    pub fn window<'p, const N: usize, P: Packet<'p>>(self, packet: P, offset: usize) -> Option<&'p [u8; N]> {
        let at = self.at + offset;
        if at + N > self.end { None } else { packet.window(at) }
    }
}

/// The 16 bits, network order, at octet `at` of a header.
#[inline(always)]
pub(crate) fn be16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

/// The 32 bits, network order, at octet `at` of a header.
#[inline(always)]
pub(crate) fn be32<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
