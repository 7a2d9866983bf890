//! Sequence numbers (RFC 9293 3.4): a circle of 2^32, compared by distance.
//!
//! There is no `Ord` and no operator here on purpose: `a < b` on a circle has no meaning until
//! one says which way round, and `a - b` that panics on a wrap would be a peer's gift. The names
//! below say what is meant.

use core::fmt;

/// A position in the sequence space of one direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// The position `count` further on.
    #[must_use]
    pub const fn plus(self, count: u32) -> Seq {
        Seq(self.0.wrapping_add(count))
    }

    /// The position `count` further back.
    #[must_use]
    pub const fn minus(self, count: u32) -> Seq {
        Seq(self.0.wrapping_sub(count))
    }

    /// How far this position lies after `earlier`, walking forward round the circle.
    ///
    /// A result of 2^31 or more means that `earlier` is really the later one.
    #[must_use]
    pub const fn distance_from(self, earlier: Seq) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Strictly earlier: the shorter way round leads forward from here to `other`.
    #[must_use]
    pub const fn is_before(self, other: Seq) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Earlier or the same.
    #[must_use]
    pub const fn is_at_or_before(self, other: Seq) -> bool {
        !other.is_before(self)
    }

    /// Strictly later.
    #[must_use]
    pub const fn is_after(self, other: Seq) -> bool {
        other.is_before(self)
    }

    /// Later or the same.
    #[must_use]
    pub const fn is_at_or_after(self, other: Seq) -> bool {
        !self.is_before(other)
    }

    /// Whether this position is one of the `length` ones that begin at `start`.
    #[must_use]
    pub const fn is_within(self, start: Seq, length: u32) -> bool {
        self.0.wrapping_sub(start.0) < length
    }

    /// The later of the two.
    #[must_use]
    pub const fn later_of(self, other: Seq) -> Seq {
        if self.is_before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[must_use]
    pub const fn earlier_of(self, other: Seq) -> Seq {
        if self.is_before(other) { self } else { other }
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn comparisons_hold_across_the_wrap() {
        let before = Seq(u32::MAX - 1);
        let after = Seq(3);
        assert!(before.is_before(after) && after.is_after(before));
        assert_eq!(after.distance_from(before), 5);
        assert!(after.is_within(before, 6) && !after.is_within(before, 5));
    }

    proptest! {
        #[test]
        fn a_step_of_less_than_half_the_circle_is_forward(start: u32, step in 1..0x8000_0000_u32) {
            let (a, b) = (Seq(start), Seq(start).plus(step));
            prop_assert!(a.is_before(b) && !b.is_before(a) && b.is_at_or_after(a));
            prop_assert_eq!(b.distance_from(a), step);
            prop_assert_eq!(b.minus(step), a);
            prop_assert_eq!(a.later_of(b), b);
            prop_assert_eq!(a.earlier_of(b), a);
        }
    }
}
