//! Serial-number arithmetic: 32-bit sequence numbers that wrap, and the 24-bit windows that abbreviate them.
//!
//! Sequence numbers live on a circle. Of two numbers less than 2³¹ apart the one from which the other is reached by
//! counting up comes *before* it (RFC 1982, section 3). That relation is not an order, so [`Seq`] has no `Ord`: a
//! sorted map of sequence numbers would break at the wrap.
//!
//! ```
//! use o7s::base::seq::{Seq, decode24};
//!
//! let last = Seq(u32::MAX);
//! assert!(last.before(last + 1));
//! assert_eq!((last + 3) - last, 3);
//! // FRCT sends the lower 24 bits of its right window edge; the full number is the one nearest to the last edge.
//! assert_eq!(decode24(Seq(0x00ff_fffc), 0x00_0010), Seq(0x0100_0010));
//! ```

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A 32-bit sequence number that wraps from 2³² − 1 to 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u32);

impl Seq {
    /// Returns `true` if `self` comes before `other`: counting up from `self` reaches `other` within 2³¹ − 1 steps.
    ///
    /// Numbers exactly 2³¹ apart each come before the other (RFC 1982 leaves that pair undefined).
    pub const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Returns `true` if `self` comes after `other`.
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// The one of the two that comes after the other.
    #[inline]
    pub(crate) const fn later(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The lower 24 bits: what an FRCT header carries of a window edge. [`decode24`] is the inverse.
    pub const fn low24(self) -> u32 {
        self.0 & 0x00ff_ffff
    }
}

impl Add<u32> for Seq {
    type Output = Self;

    fn add(self, n: u32) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

impl AddAssign<u32> for Seq {
    fn add_assign(&mut self, n: u32) {
        *self = *self + n;
    }
}

impl Sub<u32> for Seq {
    type Output = Self;

    fn sub(self, n: u32) -> Self {
        Self(self.0.wrapping_sub(n))
    }
}

impl Sub for Seq {
    type Output = i32;

    /// The signed distance: how far to count up from `other` to reach `self`, negative if `self` comes first.
    fn sub(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seq({:#x})", self.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number with the lower 24 bits `low24` that is nearest to `reference`: at most 2²³ before it and at most
/// 2²³ − 1 after it. Upper bits of `low24` are ignored.
///
/// The difference of the lower 24 bits is taken as a signed 24-bit number. So an edge from before a rollover decodes
/// to where it was, not to 2²⁴ further on.
pub const fn decode24(reference: Seq, low24: u32) -> Seq {
    // Shifted up, bit 23 is the sign; the arithmetic shift down extends it.
    let distance = ((low24.wrapping_sub(reference.0) << 8) as i32) >> 8;
    Seq(reference.0.wrapping_add_signed(distance))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_of_the_specification() {
        assert_eq!(decode24(Seq(0x00ff_fffc), 0x00_0010), Seq(0x0100_0010));
        assert_eq!(decode24(Seq(0x0100_0101), 0x00_0100), Seq(0x0100_0100));
        // From before the rollover: behind the reference, where the C implementation jumps 2²⁴ ahead.
        assert_eq!(decode24(Seq(0x0100_0001), 0xff_ffff), Seq(0x00ff_ffff));
        assert_eq!(decode24(Seq(u32::MAX), 0), Seq(0));
    }

    #[test]
    fn opposite_numbers_are_before_each_other() {
        let (a, b) = (Seq(5), Seq(5 + (1 << 31)));
        assert!(a.before(b) && b.before(a));
    }

    proptest! {
        #[test]
        fn counting_up_comes_after(a: u32, n in 1..=i32::MAX as u32) {
            let a = Seq(a);
            prop_assert!(a.before(a + n) && (a + n).after(a));
            prop_assert!(!a.after(a + n) && !(a + n).before(a));
            prop_assert_eq!((a + n) - a, n as i32);
            prop_assert_eq!((a + n) - n, a);
        }

        #[test]
        fn a_window_decodes_from_any_reference_near_it(edge: u32, ahead in -(1i32 << 23) + 1..=1i32 << 23) {
            let reference = Seq(edge.wrapping_add_signed(ahead));
            prop_assert_eq!(decode24(reference, Seq(edge).low24()), Seq(edge));
        }

        #[test]
        fn decoding_keeps_the_lower_bits_and_stays_near(reference: u32, low: u32) {
            let got = decode24(Seq(reference), low);
            prop_assert_eq!(got.low24(), low & 0x00ff_ffff);
            prop_assert!((-(1 << 23)..1 << 23).contains(&(got - Seq(reference))));
        }
    }
}
