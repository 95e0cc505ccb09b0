//! TCP sequence numbers: 32-bit, wrapping (RFC 9293 section 3.4).

/// A sequence number. Comparisons are made through distances, never on the raw value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seq(pub u32);

impl Seq {
    /// This number moved forward by `bytes`.
    #[inline(always)]
    #[must_use]
    pub fn plus(self, bytes: u32) -> Seq {
        Seq(self.0.wrapping_add(bytes))
    }

    /// This number moved back by `bytes`.
    #[inline(always)]
    #[must_use]
    pub fn minus(self, bytes: u32) -> Seq {
        Seq(self.0.wrapping_sub(bytes))
    }

    /// How far this number lies past `base`; negative when it lies before it. Right for distances
    /// below 2^31.
    #[inline(always)]
    #[must_use]
    pub fn past(self, base: Seq) -> i32 {
        self.0.wrapping_sub(base.0) as i32
    }

    /// Whether this number lies after `other`.
    #[inline(always)]
    #[must_use]
    pub fn after(self, other: Seq) -> bool {
        self.past(other) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::Seq;

    #[test]
    fn distances_and_order_hold_across_the_wrap() {
        // (number, base, distance)
        let table = [
            (0, 0, 0),
            (5, 3, 2),
            (3, 5, -2),
            (0, u32::MAX, 1),
            (u32::MAX, 0, -1),
            (10, u32::MAX - 9, 20),
            (u32::MAX - 9, 10, -20),
            (0x7fff_ffff, 0, i32::MAX),
            (0x8000_0000, 0, i32::MIN),
        ];
        for (number, base, distance) in table {
            assert_eq!(
                Seq(number).past(Seq(base)),
                distance,
                "{number} past {base}"
            );
            assert_eq!(
                Seq(number).after(Seq(base)),
                distance > 0,
                "{number} after {base}"
            );
        }
    }

    #[test]
    fn plus_and_minus_are_inverse_at_the_wrap() {
        for base in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX] {
            for step in [0, 1, 28, 65_535, 0x8000_0000, u32::MAX] {
                assert_eq!(Seq(base).plus(step).minus(step), Seq(base));
            }
        }
    }
}
