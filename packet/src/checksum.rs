//! The Internet checksum, RFC 1071, and its incremental update, RFC 1624.

use std::net::Ipv4Addr;

/// A one's-complement sum that isn't folded yet: add as many words as fit a 64-bit counter, then [`fold`](Self::fold).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes` as big-endian 16-bit words, a last odd byte padded with zero. 16 bytes or so per ns.
    pub fn of(bytes: &[u8]) -> Self {
        let mut sum = 0_u64;
        let (chunks, rest) = bytes.as_chunks::<4>();
        for &chunk in chunks {
            sum += u64::from(u32::from_be_bytes(chunk));
        }
        let mut tail = [0; 4];
        tail[..rest.len()].copy_from_slice(rest);
        Self(sum + u64::from(u32::from_be_bytes(tail)))
    }

    /// The sum of the pseudo-header of TCP and UDP over IPv4. RFC 9293, 3.1.
    pub fn pseudo_header_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: u16) -> Self {
        Self(u64::from(src.to_bits()) + u64::from(dst.to_bits()) + u64::from(protocol) + u64::from(len))
    }

    /// The sum of the pseudo-header of TCP and UDP over IPv6, addresses in network order. RFC 8200, 8.1.
    pub fn pseudo_header_v6(src: [u8; 16], dst: [u8; 16], protocol: u8, len: u32) -> Self {
        Self::of(&src).add(Self::of(&dst)).add(Self(u64::from(protocol) + u64::from(len)))
    }

    /// The sum of both.
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum and one 16-bit word.
    #[must_use]
    pub const fn add_u16(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// The sum and one 32-bit word.
    #[must_use]
    pub const fn add_u32(self, word: u32) -> Self {
        Self(self.0 + word as u64)
    }

    /// The sum without that 16-bit word: adds its complement.
    #[must_use]
    pub const fn sub_u16(self, word: u16) -> Self {
        Self(self.0 + !word as u64)
    }

    /// The sum without that 32-bit word: adds its complement.
    #[must_use]
    pub const fn sub_u32(self, word: u32) -> Self {
        Self(self.0 + !word as u64)
    }

    /// The 16-bit one's-complement sum.
    #[inline]
    pub const fn fold(self) -> u16 {
        // The two halves, added with the carry that comes from below: what is carried out of the upper half is carried
        // into it from the lower one, because both are the same sum.
        let sum = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
    }

    /// The checksum: the complement of the folded sum.
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The checksum of `bytes`; zero if they already contain a right one.
pub fn of(bytes: &[u8]) -> u16 {
    Sum::of(bytes).checksum()
}

/// A difference between old and new header words, to be applied to each checksum that covers them.
///
/// RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delta(Sum);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(Sum::ZERO);

    /// And this 16-bit word changes from `old` to `new`.
    #[must_use]
    pub const fn u16(self, old: u16, new: u16) -> Self {
        Self(self.0.sub_u16(old).add_u16(new))
    }

    /// And this 32-bit word changes from `old` to `new`.
    #[must_use]
    pub const fn u32(self, old: u32, new: u32) -> Self {
        Self(self.0.sub_u32(old).add_u32(new))
    }

    /// Both changes.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0.add(other.0))
    }

    /// The checksum after the change.
    pub const fn apply(self, checksum: u16) -> u16 {
        self.0.add_u16(!checksum).checksum()
    }

    /// A folded sum (not complemented) after the change: the pseudo-header sum that stands in the checksum field of a
    /// packet whose checksum is still to be completed.
    pub const fn apply_to_sum(self, sum: u16) -> u16 {
        self.0.add_u16(sum).fold()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071's example, section 3.
    #[test]
    fn rfc1071_example() {
        assert_eq!(Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
    }

    proptest! {
        #[test]
        fn incremental_update_equals_the_full_checksum(
            mut bytes in proptest::collection::vec(any::<u8>(), 4..200), at in any::<prop::sample::Index>(), new: u32,
        ) {
            let at = at.index(bytes.len() / 4) * 4;
            // At least one word stays nonzero: no packet is all zero, and the two zeros of one's complement differ.
            bytes.extend_from_slice(&[0x45, 0]);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            let at = at.min(bytes.len() - 6);
            let before = of(&bytes);
            let old = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            bytes[at..at + 4].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(Delta::NONE.u32(old, new).apply(before), of(&bytes));
        }

        #[test]
        fn folding_agrees_with_the_naive_sum(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let mut naive = 0_u32;
            for pair in bytes.chunks(2) {
                naive += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
                naive = (naive & 0xffff) + (naive >> 16);
            }
            prop_assert_eq!(u32::from(Sum::of(&bytes).fold()), naive);
        }
    }
}
