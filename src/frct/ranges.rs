//! Sets of sequence numbers as disjoint ranges: what a receiver holds beyond a gap, what a sender knows to be held.

use crate::base::lazy_queue::LazyQueue;
use crate::base::seq::Seq;

/// Disjoint half-open ranges `[first, end)`, ascending, never touching each other.
///
/// All numbers ever inside must lie within 2³¹ of each other, which a window guarantees. A range costs eight bytes and
/// an empty set no memory; the bound on ranges is the caller's window divided by two.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    list: LazyQueue<(Seq, Seq)>,
}

impl Ranges {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<(Seq, Seq)> {
        self.list.at(index).copied()
    }

    /// Index of the range with `seq` inside or directly behind it, otherwise of the first range above.
    pub(super) fn position(&self, seq: Seq) -> usize {
        self.list.partition_point(|r| r.1.before(seq))
    }

    /// Adds `[first, end)` and calls `added` with every number that was not in the set yet, ascending. Whether that
    /// opened a new range, rather than extending or joining old ones.
    pub(super) fn insert(&mut self, first: Seq, end: Seq, mut added: impl FnMut(Seq)) -> bool {
        if !first.before(end) {
            return false;
        }
        // Includes a range that ends where this one begins: ranges that touch are joined.
        let from = self.position(first);
        let list = self.list.get_or_make();
        let (mut low, mut high, mut cursor, mut to) = (first, end, first, from);
        while let Some(&(f, e)) = list.get(to) {
            if f.after(end) {
                break;
            }
            // The hole in front of a known range. What lies in the range was added before.
            each(cursor, f, &mut added);
            if f.before(low) {
                low = f;
            }
            if e.after(high) {
                high = e;
            }
            if e.after(cursor) {
                cursor = e;
            }
            to += 1;
        }
        each(cursor, end, &mut added);
        match list.get_mut(from) {
            Some(range) if to > from => {
                *range = (low, high);
                list.drain(from + 1..to);
                false
            }
            _ => {
                list.insert(from, (low, high));
                true
            }
        }
    }

    /// Forgets every number before `edge`.
    pub(super) fn remove_below(&mut self, edge: Seq) {
        let Some(list) = self.list.get_mut() else { return };
        while let Some(range) = list.front_mut() {
            if range.1.after(edge) {
                if range.0.before(edge) {
                    range.0 = edge;
                }
                return;
            }
            list.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// Gives back the memory of an empty set.
    pub(super) fn shrink(&mut self) {
        self.list.shrink();
    }
}

fn each(from: Seq, to: Seq, f: &mut impl FnMut(Seq)) {
    let mut seq = from;
    while seq.before(to) {
        f(seq);
        seq += 1;
    }
}
