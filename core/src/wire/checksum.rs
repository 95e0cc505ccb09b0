//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Packets are corrected incrementally wherever that is possible: it costs nothing per payload byte,
//! it works where a snap length cut the payload off, and a checksum that was wrong stays wrong.

use std::ops::{Add, Sub};

/// A one's complement sum in progress: 16-bit words added up with deferred carries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// An empty sum.
    pub const ZERO: Sum = Sum(0);

    /// Adds a 16-bit word.
    #[inline(always)]
    #[must_use]
    pub fn add16(self, word: u16) -> Sum {
        Sum(self.0 + u64::from(word))
    }

    /// Adds a 32-bit word: both of its halves, since 2^16 = 1 in one's complement.
    #[inline(always)]
    #[must_use]
    pub fn add32(self, word: u32) -> Sum {
        Sum(self.0 + u64::from(word))
    }

    /// Takes a 16-bit word out again.
    #[inline(always)]
    #[must_use]
    pub fn sub16(self, word: u16) -> Sum {
        self.add16(!word)
    }

    /// Takes a 32-bit word out again.
    #[inline(always)]
    #[must_use]
    pub fn sub32(self, word: u32) -> Sum {
        self.add32(!word)
    }

    /// The sum of the same bytes, begun at an odd position instead of an even one or the reverse:
    /// swapping the bytes of a one's complement sum swaps the bytes of all its words (RFC 1071 2(B)).
    #[inline(always)]
    #[must_use]
    pub fn swapped(self) -> Sum {
        Sum(u64::from(self.fold().swap_bytes()))
    }

    /// Folds the carries in: the 16-bit one's complement sum.
    #[inline(always)]
    #[must_use]
    pub fn fold(self) -> u16 {
        let mut sum = self.0;
        sum = (sum & 0xffff_ffff) + (sum >> 32);
        sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }

    /// The value of a checksum field: the complement of the folded sum.
    #[inline(always)]
    #[must_use]
    pub fn field(self) -> u16 {
        !self.fold()
    }
}

impl Add for Sum {
    type Output = Sum;

    #[inline(always)]
    fn add(self, other: Sum) -> Sum {
        Sum(self.0 + u64::from(other.fold()))
    }
}

impl Sub for Sum {
    type Output = Sum;

    #[inline(always)]
    fn sub(self, other: Sum) -> Sum {
        self.add16(!other.fold())
    }
}

/// Sums bytes as big-endian 16-bit words; an odd last byte is padded with a zero on its right.
#[must_use]
pub fn sum(bytes: &[u8]) -> Sum {
    // Added in native order, eight bytes at a time, and swapped at the end if need be: the sum of
    // byte-swapped words is the byte-swapped sum.
    let mut total: u64 = 0;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().expect("eight bytes"));
        total += (word & 0xffff_ffff) + (word >> 32);
    }
    let mut rest = [0u8; 8];
    let tail = chunks.remainder();
    rest[..tail.len()].copy_from_slice(tail);
    let word = u64::from_ne_bytes(rest);
    total += (word & 0xffff_ffff) + (word >> 32);
    let native = Sum(total).fold();
    Sum(u64::from(u16::from_be(native)))
}

/// A checksum field after the data below it changed by `delta` = new words - old words (RFC 1624
/// equation 3).
#[inline(always)]
#[must_use]
pub fn update(field: u16, delta: Sum) -> u16 {
    delta.add16(!field).field()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    /// 0 and 0xffff are the same number in one's complement.
    fn same(a: u16, b: u16) -> bool {
        a == b || (a ^ b == 0xffff && (a == 0 || b == 0))
    }

    #[test]
    fn rfc1071_example() {
        // RFC 1071 section 3: words 0001 f203 f4f5 f6f7 add up to ddf2.
        assert_eq!(
            sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(),
            0xddf2
        );
    }

    #[test]
    fn rfc1624_example() {
        // RFC 1624 section 4: field dd2f, word 5555 becomes 3285, the field becomes 0000.
        assert_eq!(
            update(0xdd2f, Sum::ZERO.sub16(0x5555).add16(0x3285)),
            0x0000
        );
    }

    proptest! {
        #[test]
        fn equals_the_plain_sum(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(same(sum(&bytes).fold(), slow(&bytes)));
        }

        #[test]
        fn a_part_taken_out_leaves_the_sum_of_the_rest(
            bytes in proptest::collection::vec(any::<u8>(), 1..200), cut in 0usize..200,
        ) {
            let cut = cut % (bytes.len() + 1);
            let rest = sum(&bytes) - sum(&bytes[..cut]);
            let rest = if cut % 2 == 1 { rest.swapped() } else { rest };
            prop_assert!(same(rest.fold(), slow(&bytes[cut..])));
        }

        #[test]
        fn incremental_equals_recomputed(
            mut bytes in proptest::collection::vec(any::<u8>(), 8..64), word in any::<u32>(),
        ) {
            let field = sum(&bytes).field();
            let old = u32::from_be_bytes(bytes[4..8].try_into().unwrap());
            bytes[4..8].copy_from_slice(&word.to_be_bytes());
            let new = update(field, Sum::ZERO.sub32(old).add32(word));
            prop_assert!(same(new, sum(&bytes).field()));
        }
    }
}
