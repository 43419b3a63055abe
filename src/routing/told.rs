//! What a neighbour was told and has not confirmed.

use hashbrown::HashTable;

use crate::base::time::Instant;

/// A link that the neighbour was told of.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When to tell it again; never, if that is due already.
    again: Instant,
    link: u32,
    times: u32,
}

/// Moments are rounded up to this many nanoseconds, a power of two, so that many are due together.
const TICK: u64 = 1 << 24;

/// So few keep their memory while there are fewer still.
const KEPT: usize = 14;

/// Links that a neighbour was told of and has not confirmed. Nothing is in order of time: the next moment is known, or an
/// earlier one, and when it has come all are looked at, which are few as long as the neighbour confirms.
#[derive(Debug, Default)]
pub(super) struct Told {
    entries: HashTable<Entry>,
    /// None is due before.
    next: Option<Instant>,
}

fn hash(link: u32) -> u64 {
    let product = u64::from(link).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

impl Told {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// It is told of a link once more, and again at a moment that depends on how often that was so before, or a little later.
    pub(super) fn insert(&mut self, link: u32, again: impl FnOnce(u32) -> Instant) {
        let entry = self.entries.entry(hash(link), |entry| entry.link == link, |entry| hash(entry.link));
        let mut entry = entry.or_insert(Entry { again: Instant::FAR_FUTURE, link, times: 0 });
        let entry = entry.get_mut();
        let again = Instant::from_nanos(again(entry.times).as_nanos().saturating_add(TICK - 1) & !(TICK - 1));
        (entry.again, entry.times) = (again, entry.times.saturating_add(1));
        self.next = Some(self.next.map_or(again, |next| next.min(again)));
    }

    /// Whether it was told of a link, and is not to be told again.
    pub(super) fn remove(&mut self, link: u32) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let Ok(entry) = self.entries.find_entry(hash(link), |entry| entry.link == link) else { return false };
        entry.remove();
        if self.entries.is_empty() {
            self.next = None;
            if self.entries.capacity() > 4 * KEPT {
                self.shrink();
            }
        }
        true
    }

    /// When something is due, or a moment before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Gives `due` every link that is due to be told again. It still waits for a confirmation if `keep`.
    pub(super) fn take_due(&mut self, now: Instant, keep: bool, mut due: impl FnMut(u32)) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        let mut next = Instant::FAR_FUTURE;
        self.entries.retain(|entry| {
            if entry.again <= now {
                due(entry.link);
                entry.again = Instant::FAR_FUTURE;
                return keep;
            }
            next = next.min(entry.again);
            true
        });
        self.next = Some(next).filter(|next| *next != Instant::FAR_FUTURE);
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.entries.capacity() > KEPT.max(8 * self.entries.len()) {
            self.entries.shrink_to(KEPT.max(2 * self.entries.len()), |entry| hash(entry.link));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_with_deadlines(
            ops in proptest::collection::vec((0u32..200, 0u64..40, 0..4u8), 0..400),
            keep: bool,
        ) {
            let (mut told, mut model) = (Told::default(), BTreeMap::<u32, (u32, Option<u64>)>::new());
            let mut now = 0;
            for (link, ticks, op) in ops {
                match op {
                    0 | 1 => {
                        let entry = model.entry(link).or_default();
                        let mut times = 0;
                        told.insert(link, |before| {
                            times = before;
                            Instant::from_nanos((now + ticks) * TICK)
                        });
                        prop_assert_eq!(times, entry.0);
                        *entry = (entry.0 + 1, Some(now + ticks));
                    }
                    2 => prop_assert_eq!(told.remove(link), model.remove(&link).is_some()),
                    _ => {
                        now += ticks;
                        let mut due = BTreeSet::new();
                        told.take_due(Instant::from_nanos(now * TICK), keep, |link| {
                            due.insert(link);
                        });
                        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
                        let expected: BTreeSet<_> =
                            model.iter().filter(|(_, entry)| is_due(entry.1)).map(|(link, _)| *link).collect();
                        prop_assert_eq!(due, expected);
                        model.retain(|_, entry| {
                            let due = is_due(entry.1);
                            entry.1 = entry.1.filter(|_| !due);
                            keep || !due
                        });
                    }
                }
                prop_assert_eq!(told.len(), model.len());
                let next = model.values().filter_map(|entry| entry.1).min();
                let said = told.next().map(|at| at.as_nanos() / TICK);
                prop_assert!(next.is_none_or(|next| said.is_some_and(|said| said <= next)));
            }
        }
    }

    #[test]
    fn memory_is_given_back() {
        let mut told = Told::default();
        (0..10_000).for_each(|link| told.insert(link, |_| Instant::from_nanos(1)));
        (0..9_995).for_each(|link| assert!(told.remove(link)));
        told.take_due(Instant::from_nanos(TICK), true, |_| {});
        assert!(told.entries.capacity() < 100, "{}", told.entries.capacity());
    }
}
