//! Marks of links for one neighbour: a few bits for every link.

use alloc::vec::Vec;

/// Reason for telling a neighbour of a link. A link may have several of these marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    News,
    Replica,
    Refresh,
    Echo,
}

const MARKS: usize = 4;

/// A bit for each mark of 64 links next to each other.
type Words = [u64; MARKS];

/// For every mark the set of the links that have it. Grows to the greatest that ever had one.
#[derive(Debug, Default)]
pub(super) struct Marks {
    words: Vec<Words>,
    /// A bit for each of the words that is not 0.
    summary: Vec<Words>,
    len: [u32; MARKS],
    /// The link behind the last that was taken.
    cursor: [u32; MARKS],
}

const fn place(index: u32) -> (usize, u64) {
    (index as usize / 64, 1 << (index % 64))
}

#[inline]
fn of<T>(all: &[T; MARKS], mark: Mark) -> &T {
    let [news, replica, refresh, echo] = all;
    match mark {
        Mark::News => news,
        Mark::Replica => replica,
        Mark::Refresh => refresh,
        Mark::Echo => echo,
    }
}

#[inline]
fn of_mut<T>(all: &mut [T; MARKS], mark: Mark) -> &mut T {
    let [news, replica, refresh, echo] = all;
    match mark {
        Mark::News => news,
        Mark::Replica => replica,
        Mark::Refresh => refresh,
        Mark::Echo => echo,
    }
}

impl Marks {
    pub(super) fn is_empty(&self, mark: Mark) -> bool {
        *of(&self.len, mark) == 0
    }

    #[inline]
    pub(super) fn contains(&self, mark: Mark, link: u32) -> bool {
        let (word, bit) = place(link);
        self.words.get(word).is_some_and(|words| of(words, mark) & bit != 0)
    }

    #[inline]
    pub(super) fn insert(&mut self, mark: Mark, link: u32) {
        let (at, bit) = place(link);
        if at >= self.words.len() {
            self.grow(at);
        }
        let Some(word) = self.words.get_mut(at).map(|words| of_mut(words, mark)) else { return };
        if *word & bit != 0 {
            return;
        }
        *of_mut(&mut self.len, mark) += 1;
        let first = *word == 0;
        *word |= bit;
        if first {
            let (at, bit) = place(at as u32);
            if let Some(summary) = self.summary.get_mut(at) {
                *of_mut(summary, mark) |= bit;
            }
        }
    }

    #[cold]
    fn grow(&mut self, word: usize) {
        let words = word + 1 - self.words.len();
        self.words.reserve_exact(words.max(self.words.len() / 8));
        self.words.resize(word + 1, Words::default());
        self.summary.resize(word / 64 + 1, Words::default());
    }

    /// Removes the mark. Returns `true` if the link had it.
    #[inline]
    pub(super) fn remove(&mut self, mark: Mark, link: u32) -> bool {
        let (at, bit) = place(link);
        let Some(word) = self.words.get_mut(at).map(|words| of_mut(words, mark)) else { return false };
        if *word & bit == 0 {
            return false;
        }
        *word &= !bit;
        let last = *word == 0;
        *of_mut(&mut self.len, mark) -= 1;
        if last {
            self.note_empty(mark, at);
        }
        true
    }

    fn note_empty(&mut self, mark: Mark, word: usize) {
        let (at, bit) = place(word as u32);
        if let Some(summary) = self.summary.get_mut(at) {
            *of_mut(summary, mark) &= !bit;
        }
    }

    /// Takes a link out of the set: the next after the last that was taken, and from the beginning again after the greatest.
    /// So one that is marked again and again does not keep others from their turn.
    #[inline]
    pub(super) fn pop(&mut self, mark: Mark) -> Option<u32> {
        if self.is_empty(mark) {
            return None;
        }
        let cursor = *of(&self.cursor, mark);
        let here =
            self.words.get(cursor as usize / 64).map_or(0, |words| of(words, mark) & (u64::MAX << (cursor % 64)));
        let link = if here != 0 {
            cursor / 64 * 64 + here.trailing_zeros()
        } else {
            let at = self.next_word(mark, cursor / 64 + 1)?;
            64 * at + self.words.get(at as usize).map_or(0, |words| of(words, mark).trailing_zeros())
        };
        *of_mut(&mut self.cursor, mark) = link + 1;
        self.remove(mark, link);
        Some(link)
    }

    /// The first word from this one on that is not 0; after the last one, from the beginning.
    #[inline]
    fn next_word(&self, mark: Mark, word: u32) -> Option<u32> {
        let from = word / 64;
        let here = self.summary.get(from as usize).map_or(0, |s| of(s, mark) & (u64::MAX << (word % 64)));
        if here != 0 {
            return Some(64 * from + here.trailing_zeros());
        }
        let later = (from + 1..).zip(self.summary.get(from as usize + 1..).unwrap_or_default());
        let (at, summary) = later.chain((0..).zip(&self.summary)).find(|(_, s)| *of(s, mark) != 0)?;
        Some(64 * at + of(summary, mark).trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const ALL: [Mark; MARKS] = [Mark::News, Mark::Replica, Mark::Refresh, Mark::Echo];

    proptest! {
        #[test]
        fn marks_agree_with_sets(ops in proptest::collection::vec((0u32..20_000, 0usize..4, 0..5u8), 0..400)) {
            let (mut marks, mut model) = (Marks::default(), [const { BTreeSet::new() }; MARKS]);
            for (link, which, op) in ops {
                // Some next to each other, some far apart.
                let link = if link % 2 == 0 { link % 300 } else { link };
                let (mark, set) = (ALL[which], &mut model[which]);
                match op {
                    0..=2 => {
                        marks.insert(mark, link);
                        set.insert(link);
                    }
                    3 => prop_assert_eq!(marks.remove(mark, link), set.remove(&link)),
                    _ => {
                        let popped = marks.pop(mark);
                        prop_assert_eq!(popped.is_some(), !set.is_empty());
                        prop_assert!(popped.is_none_or(|link| set.remove(&link)));
                    }
                }
                for (mark, set) in ALL.iter().zip(&model) {
                    prop_assert_eq!(*of(&marks.len, *mark) as usize, set.len());
                    prop_assert_eq!(marks.contains(*mark, link), set.contains(&link));
                }
            }
            for (mark, set) in ALL.iter().zip(&model) {
                let rest: BTreeSet<_> = core::iter::from_fn(|| marks.pop(*mark)).collect();
                prop_assert_eq!(&rest, set);
            }
        }
    }

    #[test]
    fn every_marked_link_is_served() {
        let mut marks = Marks::default();
        [5, 70, 9000].iter().for_each(|link| marks.insert(Mark::News, *link));
        assert_eq!(marks.pop(Mark::News), Some(5));
        marks.insert(Mark::News, 64);
        let rest: BTreeSet<_> = (0..2).filter_map(|_| marks.pop(Mark::News)).collect();
        assert_eq!(rest, BTreeSet::from([64, 70]));
        marks.insert(Mark::News, 5);
        assert_eq!((marks.pop(Mark::News), marks.pop(Mark::News)), (Some(9000), Some(5)));
        // Also beside one that is marked again whenever it was taken.
        [5, 6].iter().for_each(|link| marks.insert(Mark::News, *link));
        let mut taken = BTreeSet::new();
        for _ in 0..4 {
            taken.extend(marks.pop(Mark::News));
            marks.insert(Mark::News, 5);
        }
        assert!(taken.contains(&6), "{taken:?}");
    }
}
