//! Unconfirmed updates of one neighbour.

use alloc::vec;
use alloc::vec::Vec;

use crate::base::time::Instant;

/// Moments are rounded up to this many nanoseconds, a power of two, so that many are due together.
const TICK: u64 = 1 << 24;

/// A place of a link that the neighbour was told of, in eight bytes: a layer has many neighbours, and while they come to
/// know each other many links wait with each.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Number of the link, or [`NO_LINK`] in a free place.
    link: u32,
    /// Time of the next repetition, in ticks, wrapping; in the low bits whether it is over, and the number of
    /// repetitions.
    due: u32,
}

const NO_LINK: u32 = u32::MAX;
const FREE: Entry = Entry { link: NO_LINK, due: 0 };

/// Flag in [`Entry::due`]: the time is over.
const OVER: u32 = 8;
/// Field in [`Entry::due`]: the number of repetitions, saturating.
const TIMES: u32 = 7;
const SHIFT: u32 = 4;

impl Entry {
    const fn times(self) -> u32 {
        self.due & TIMES
    }

    fn told(&mut self, tick: u64) {
        let times = (self.times() + 1).min(TIMES);
        self.due = (tick as u32) << SHIFT | times;
    }

    /// Ticks until it is due, 0 if the moment has come; `None` if that has been noted. Moments that are months away are
    /// told from those that have passed only if they are checked in between.
    const fn ticks_left(self, tick: u64) -> Option<u64> {
        if self.due & OVER != 0 {
            return None;
        }
        let left = (self.due & !(OVER | TIMES)).wrapping_sub((tick as u32) << SHIFT);
        Some(if left >> 31 == 1 { 0 } else { (left >> SHIFT) as u64 })
    }
}

/// Places that are kept, a power of two as all numbers of places.
const KEPT: usize = 16;

/// Links that a neighbour was told of and has not confirmed. Nothing is in order of time: the next moment is known, or an
/// earlier one, and when it has come all are looked at, which are few as long as the neighbour confirms.
///
/// A link is in the first free place from where its hash says, and when one goes those behind it move up, so places are
/// free again at once: links come and go as fast as the neighbour confirms.
#[derive(Debug, Default)]
pub(super) struct Told {
    places: Vec<Entry>,
    len: usize,
    /// None is due before.
    next: Option<Instant>,
}

impl Told {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Preferred place of a link, if there are places.
    fn home(&self, link: u32) -> usize {
        let product = u64::from(link).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (product >> 32) as usize & self.mask()
    }

    fn mask(&self) -> usize {
        self.places.len().saturating_sub(1)
    }

    /// The place where a link is, or the free one where it would be; `None` if there are no places.
    fn place(&self, link: u32) -> Option<(usize, Entry)> {
        let mut at = self.home(link);
        loop {
            let entry = *self.places.get(at)?;
            if entry.link == link || entry.link == NO_LINK {
                return Some((at, entry));
            }
            at = (at + 1) & self.mask();
        }
    }

    fn put(&mut self, entry: Entry) {
        if let Some((at, _)) = self.place(entry.link)
            && let Some(place) = self.places.get_mut(at)
        {
            *place = entry;
        }
    }

    /// Takes as many places as are asked for, a power of two that is more than there are links.
    fn resize(&mut self, places: usize) {
        let before = core::mem::replace(&mut self.places, vec![FREE; places]);
        before.into_iter().filter(|entry| entry.link != NO_LINK).for_each(|entry| self.put(entry));
    }

    /// It is told of a link once more, and again at a moment that depends on how often that was so before, or a little later.
    pub(super) fn insert(&mut self, link: u32, again: impl FnOnce(u32) -> Instant) {
        if (self.len + 1) * 8 > self.places.len() * 7 {
            self.resize((2 * self.places.len()).max(KEPT));
        }
        let Some((at, before)) = self.place(link) else { return };
        let mut entry = Entry { link, ..before };
        let tick = again(entry.times()).as_nanos().div_ceil(TICK);
        entry.told(tick);
        self.len += usize::from(before.link == NO_LINK);
        if let Some(place) = self.places.get_mut(at) {
            *place = entry;
        }
        let again = Instant::from_nanos(tick.saturating_mul(TICK));
        self.next = Some(self.next.map_or(again, |next| next.min(again)));
    }

    /// Removes a link, which will not be repeated. Returns `true` if the neighbour had been told of it.
    pub(super) fn remove(&mut self, link: u32) -> bool {
        if self.len == 0 || !self.take(link) {
            return false;
        }
        if self.len == 0 {
            self.next = None;
            if self.places.len() > 4 * KEPT {
                self.shrink();
            }
        }
        true
    }

    fn take(&mut self, link: u32) -> bool {
        let Some((mut hole, entry)) = self.place(link) else { return false };
        if entry.link != link || link == NO_LINK {
            return false;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask();
            let Some(entry) = self.places.get(at).copied().filter(|entry| entry.link != NO_LINK) else { break };
            // It may move up unless it would come to be in front of where it should be.
            let (from_home, from_hole) = (at.wrapping_sub(self.home(entry.link)), at.wrapping_sub(hole));
            if from_home & self.mask() >= from_hole & self.mask() {
                self.set(hole, entry);
                hole = at;
            }
        }
        self.set(hole, FREE);
        self.len -= 1;
        true
    }

    fn set(&mut self, at: usize, entry: Entry) {
        if let Some(place) = self.places.get_mut(at) {
            *place = entry;
        }
    }

    /// Time at which an update is due, or a moment before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Gives `due` every link that is due to be told again. It still waits for a confirmation if `keep`.
    pub(super) fn take_due(&mut self, now: Instant, keep: bool, mut due: impl FnMut(u32)) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        let tick = now.as_nanos() / TICK;
        let (mut next, mut gone) = (None::<u64>, Vec::new());
        for entry in self.places.iter_mut().filter(|entry| entry.link != NO_LINK) {
            match entry.ticks_left(tick) {
                None => {}
                Some(0) => {
                    due(entry.link);
                    entry.due |= OVER;
                    if !keep {
                        gone.push(entry.link);
                    }
                }
                Some(left) => next = Some(next.map_or(left, |next| next.min(left))),
            }
        }
        for link in gone {
            self.take(link);
        }
        self.next = next.map(|left| Instant::from_nanos((tick + left).saturating_mul(TICK)));
        self.shrink();
    }

    fn shrink(&mut self) {
        let needed = (2 * self.len).next_power_of_two().max(KEPT);
        if self.places.len() > 4 * needed {
            self.resize(needed);
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
        fn the_table_agrees_with_a_map_of_deadlines(
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
                        prop_assert_eq!(times, entry.0.min(TIMES));
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

    /// As many links as a neighbour is told before it confirms, replaced by others again and again: memory is bounded
    /// by the number.
    #[test]
    fn churning_links_leave_no_garbage() {
        let mut told = Told::default();
        for link in 0..100_000 {
            told.insert(link, |_| Instant::from_nanos(1));
            assert!(link < 440 || told.remove(link - 440));
        }
        assert_eq!((told.len(), told.places.len() * size_of::<Entry>()), (440, 4096));
    }

    #[test]
    fn memory_is_freed() {
        let mut told = Told::default();
        (0..10_000).for_each(|link| told.insert(link, |_| Instant::from_nanos(1)));
        (0..9_995).for_each(|link| assert!(told.remove(link)));
        told.take_due(Instant::from_nanos(TICK), true, |_| {});
        assert!(told.places.len() < 100, "{}", told.places.len());
    }
}
