//! The Internet checksum's sum (RFC 1071).

/// The 16-bit ones'-complement sum of `bytes`, taken as big-endian 16-bit words from an even offset; an odd last byte is
/// padded with zero. Not inverted.
pub fn ones_complement_sum(bytes: &[u8]) -> u16 {
    // Ones'-complement addition does not care for byte order (RFC 1071 section 2(B)): words are added as this machine reads
    // them, 32 bits at a time into 64-bit lanes, which cannot overflow below 16 GiB, and the result is swapped once.
    let mut lanes = [0u64; 8];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let (words, rest) = rest.as_chunks::<2>();
    let mut sum: u64 = lanes.iter().sum();
    sum += words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum::<u64>();
    if let [last] = rest {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    u16::from_be_bytes(fold(sum as u32).to_ne_bytes())
}

/// Folds the carries of a sum of 16-bit words back in.
#[inline]
pub(super) const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slowly(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |&byte| u32::from(byte));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        assert_eq!(ones_complement_sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn ones_are_summed_without_losing_a_carry() {
        for len in 0..200 {
            assert_eq!(ones_complement_sum(&vec![0xff; len]), slowly(&vec![0xff; len]), "{len}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(ones_complement_sum(&bytes), slowly(&bytes));
        }
    }
}
