//! Numbering of own announcements: incarnation and count.

/// All announcements of one life of a link: the lower half of a number.
const COUNT: u64 = u32::MAX as u64;

/// The number of an announcement: the incarnation of the link in the upper 32 bits, a count in the lower.
///
/// The last count of an incarnation withdraws the link. Members that count from 0, as references do, never get there; a
/// member that goes on from such a number announces the link again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seqno(pub(super) u64);

impl Seqno {
    /// The first announcement of an incarnation. The first incarnation is 1.
    pub(super) fn first(incarnation: u32) -> Self {
        Self(u64::from(incarnation.max(1)) << 32)
    }

    /// Returns `true` if the number withdraws the link.
    pub(super) const fn withdraws(self) -> bool {
        self.0 & COUNT == COUNT
    }

    /// The announcement after this one, if there is a higher number.
    pub(super) fn next(self) -> Option<Self> {
        let next = Self(self.0.checked_add(1)?);
        if next.withdraws() { next.0.checked_add(1).map(Self) } else { Some(next) }
    }

    /// The number that takes back what this one announced.
    pub(super) const fn withdrawal(self) -> Self {
        Self(self.0 | COUNT)
    }

    /// Returns `true` if no number could overtake it: no honest member announces it.
    pub(super) const fn is_the_end(self) -> bool {
        self.0 == u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_count_withdraws() {
        let last = Seqno((7 << 32) + COUNT - 1);
        assert_eq!(last.next(), Some(Seqno(8 << 32)));
        assert_eq!(last.withdrawal(), Seqno((7 << 32) + COUNT));
        assert_eq!(last.withdrawal().next(), Some(Seqno(8 << 32)));
        assert_eq!(Seqno(u64::MAX - 1).next(), None);
        assert_eq!(Seqno(u64::MAX).next(), None);
        assert_eq!(Seqno::first(0), Seqno(1 << 32));
    }

    proptest! {
        #[test]
        fn numbers_increase(seqno: u64) {
            let seqno = Seqno(seqno);
            prop_assert!(seqno.next().is_none_or(|next| next > seqno && !next.withdraws()));
            prop_assert!(seqno.withdrawal().withdraws() && seqno.withdrawal() >= seqno);
            prop_assert!(seqno.next().is_some() || seqno.withdrawal().is_the_end());
        }
    }
}
