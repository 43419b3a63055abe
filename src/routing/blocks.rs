//! Many short lists of numbers in one piece of memory.

use alloc::vec::Vec;

/// No block.
const NIL: u32 = u32::MAX;

/// Place and length of a list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    first: u32,
    len: u32,
}

/// The memory of all the lists. A list has a block of just its length, rounded up to 2ⁿ or 3·2ⁿ; when it outgrows that or
/// needs less, it moves, and others take the block.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    words: Vec<u32>,
    /// The first free block of each size; in it is where the next one is.
    free: Vec<u32>,
}

/// The size of block that a list of so many numbers has: its rank among all sizes.
fn class(len: u32) -> usize {
    if len <= 2 {
        return len as usize;
    }
    // 3, 4, 6, 8, 12, 16, ...
    let log = (len - 1).ilog2();
    let half = len <= 3 << (log - 1);
    2 * log as usize + if half { 1 } else { 2 }
}

/// Numbers that a block of this rank holds.
fn size(class: usize) -> usize {
    match class {
        0..=2 => class,
        odd if odd % 2 == 1 => 3 << ((odd - 3) / 2),
        even => 1 << (even / 2),
    }
}

impl Blocks {
    pub(super) fn get(&self, list: List) -> &[u32] {
        let first = list.first as usize;
        self.words.get(first..first + list.len as usize).unwrap_or_default()
    }

    /// Adds a number at the end of a list.
    pub(super) fn push(&mut self, list: &mut List, number: u32) {
        self.fit(list, list.len + 1);
        if let Some(word) = self.words.get_mut((list.first + list.len) as usize) {
            *word = number;
            list.len += 1;
        }
    }

    /// Takes a number out of a list; the last one takes its place.
    pub(super) fn remove(&mut self, list: &mut List, number: u32) {
        let (first, len) = (list.first as usize, list.len as usize);
        let Some(numbers) = self.words.get_mut(first..first + len) else { return };
        let Some(at) = numbers.iter().position(|n| *n == number) else { return };
        numbers.swap(at, len - 1);
        self.fit(list, list.len - 1);
        list.len -= 1;
    }

    /// Moves a list into a block for `len` numbers, unless it is in one of that size.
    fn fit(&mut self, list: &mut List, len: u32) {
        let (from, to) = (class(list.len), class(len));
        if from == to {
            return;
        }
        let before = list.first;
        let first = if to == 0 { 0 } else { self.allot(to) };
        let kept = len.min(list.len) as usize;
        self.words.copy_within(before as usize..before as usize + kept, first as usize);
        list.first = first;
        if from > 0 {
            self.give_back(from, before);
        }
    }

    fn allot(&mut self, class: usize) -> u32 {
        if let Some(head) = self.free.get_mut(class).filter(|head| **head != NIL) {
            let first = *head;
            *head = self.words.get(first as usize).copied().unwrap_or(NIL);
            return first;
        }
        let first = self.words.len();
        // A little at a time: memory is what this is for.
        if self.words.capacity() - first < size(class) {
            self.words.reserve_exact(size(class).max(first / 8));
        }
        self.words.resize(first + size(class), 0);
        first as u32
    }

    fn give_back(&mut self, class: usize, first: u32) {
        if self.free.len() <= class {
            self.free.resize(class + 1, NIL);
        }
        if let (Some(head), Some(word)) = (self.free.get_mut(class), self.words.get_mut(first as usize)) {
            *word = core::mem::replace(head, first);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_hold_their_lists() {
        for len in 1..10_000 {
            let (this, before) = (size(class(len)), size(class(len) - 1));
            assert!(before < len as usize && len as usize <= this, "{len}: {before} {this}");
            assert!(this * 2 < 3 * len as usize || this <= 4, "{len}: {this}");
        }
    }

    proptest! {
        /// Many lists grow and shrink: each has what a vector of its own would have.
        #[test]
        fn blocks_agree_with_vectors(ops in proptest::collection::vec((0usize..8, 0u32..40, 0..3u8), 0..600)) {
            let (mut blocks, mut lists, mut model) = (Blocks::default(), [List::default(); 8], vec![vec![]; 8]);
            for (which, number, op) in ops {
                if op == 0 {
                    blocks.remove(&mut lists[which], number);
                    if let Some(at) = model[which].iter().position(|n| *n == number) {
                        model[which].swap_remove(at);
                    }
                } else {
                    blocks.push(&mut lists[which], number);
                    model[which].push(number);
                }
                for (list, model) in lists.iter().zip(&model) {
                    prop_assert_eq!(blocks.get(*list), &model[..]);
                }
            }
        }
    }
}
