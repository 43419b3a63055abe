//! A set of small numbers.

use alloc::vec::Vec;

/// A set of indices into a table, one bit each. Grows to the greatest that was ever in it.
#[derive(Debug, Default)]
pub(super) struct IndexSet {
    words: Vec<u64>,
    len: usize,
    /// The word to look into next.
    cursor: usize,
}

fn place(index: u32) -> (usize, u64) {
    (index as usize / 64, 1 << (index % 64))
}

impl IndexSet {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        let (word, bit) = place(index);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    pub(super) fn insert(&mut self, index: u32) {
        let (word, bit) = place(index);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(w) = self.words.get_mut(word) {
            self.len += usize::from(*w & bit == 0);
            *w |= bit;
        }
    }

    /// Whether it was in the set.
    pub(super) fn remove(&mut self, index: u32) -> bool {
        let (word, bit) = place(index);
        let Some(w) = self.words.get_mut(word) else { return false };
        let was_in = *w & bit != 0;
        *w &= !bit;
        self.len -= usize::from(was_in);
        was_in
    }

    /// Takes one out: the next after the last that was taken, and from the beginning again after the greatest.
    pub(super) fn pop(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        for _ in 0..=self.words.len() {
            if self.cursor >= self.words.len() {
                self.cursor = 0;
            }
            if let Some(w) = self.words.get_mut(self.cursor)
                && *w != 0
            {
                let index = self.cursor as u32 * 64 + w.trailing_zeros();
                *w &= *w - 1;
                self.len -= 1;
                return Some(index);
            }
            self.cursor += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(ops in proptest::collection::vec((0u32..300, 0..4u8), 0..300)) {
            let (mut set, mut model) = (IndexSet::default(), BTreeSet::new());
            for (index, op) in ops {
                match op {
                    0 | 1 => {
                        set.insert(index);
                        model.insert(index);
                    }
                    2 => prop_assert_eq!(set.remove(index), model.remove(&index)),
                    _ => {
                        let popped = set.pop();
                        prop_assert_eq!(popped.is_some(), !model.is_empty());
                        prop_assert!(popped.is_none_or(|index| model.remove(&index)));
                    }
                }
                prop_assert_eq!(set.len(), model.len());
                prop_assert_eq!(set.contains(index), model.contains(&index));
            }
            let rest: BTreeSet<_> = core::iter::from_fn(|| set.pop()).collect();
            prop_assert_eq!(rest, model);
        }
    }
}
