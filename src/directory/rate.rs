//! Rates of requests, by member.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::base::bucket::Bucket;
use crate::base::time::Instant;
use crate::types::id::Address;

/// So many units a second, and twice as many at once after a pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// `None`: nothing at all.
    bucket: Option<Bucket>,
}

impl Rate {
    /// `per_second` units a second, 0 for none.
    pub(super) fn new(now: Instant, per_second: u32) -> Self {
        // A bucket lets the last one pass on credit.
        let burst = (2 * u64::from(per_second)).saturating_sub(1);
        Self { bucket: (per_second > 0).then(|| Bucket::new(now, per_second.into(), burst)) }
    }

    /// Returns `true` if there is a unit.
    pub(super) fn has(&self, now: Instant) -> bool {
        self.bucket.is_some_and(|bucket| bucket.is_ready(now))
    }

    /// Time of the next unit.
    pub(super) fn next(&self) -> Instant {
        self.bucket.map_or(Instant::FAR_FUTURE, |bucket| bucket.ready_at())
    }

    /// The time from which on it is as good as new.
    fn rested(&self) -> Instant {
        self.bucket.map_or(Instant::ZERO, |bucket| bucket.full_at())
    }

    /// The same rate, as good as new from `rested` on.
    fn rested_at(self, rested: Instant) -> Self {
        Self { bucket: self.bucket.map(|bucket| bucket.filled_at(rested)) }
    }

    /// Takes a unit, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let Some(bucket) = self.bucket.as_mut().filter(|bucket| bucket.is_ready(now)) else { return false };
        bucket.take(now, 1);
        true
    }
}

/// The rates of many members, each by its address. Whose rate is as good as new is forgotten, for a layer has many members
/// that ask once; those for whom there is no room share one rate.
#[derive(Debug)]
pub(super) struct Meter {
    /// All rates are the same, but for the time at which they are as good as new.
    fresh: Rate,
    rested: BTreeMap<Address, Instant>,
    /// The same, by time.
    next: BTreeSet<(Instant, Address)>,
    others: Rate,
    limit: usize,
}

impl Meter {
    pub(super) fn new(now: Instant, per_second: u32, limit: usize) -> Self {
        let fresh = Rate::new(now, per_second);
        Self { fresh, rested: BTreeMap::new(), next: BTreeSet::new(), others: fresh, limit }
    }

    /// Takes a unit of `source`'s, if there is one.
    pub(super) fn take(&mut self, now: Instant, source: Address) -> bool {
        self.forget_rested(now);
        let known = self.rested.get(&source).copied();
        if known.is_none() && self.rested.len() >= self.limit {
            return self.others.take(now);
        }
        let mut rate = self.fresh.rested_at(known.unwrap_or(now));
        let taken = rate.take(now);
        if taken {
            known.map(|before| self.next.remove(&(before, source)));
            self.rested.insert(source, rate.rested());
            self.next.insert((rate.rested(), source));
        }
        taken
    }

    /// Forgets those that are as good as new.
    fn forget_rested(&mut self, now: Instant) {
        while let Some((_, source)) = self.next.first().filter(|(rested, _)| *rested <= now).copied() {
            self.next.pop_first();
            self.rested.remove(&source);
        }
    }

    /// Members whose rates are known.
    pub(super) fn len(&self) -> usize {
        self.rested.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_members_are_forgotten() {
        let mut meter = Meter::new(Instant::ZERO, 2, 10_000);
        let at = |n: u64| Instant::from_millis(10 * n);
        for n in 0..1000 {
            assert!(meter.take(at(n), Address(n)), "the first of each");
            assert!(meter.len() <= 51, "{} are known after {n}", meter.len());
        }
        let now = at(1000);
        assert!(meter.take(now, Address(7)), "it is as good as new");
        assert_eq!((0..10).filter(|_| meter.take(now, Address(7))).count(), 3, "four at once, then two a second");
        meter.take(at(1199), Address(8));
        assert_eq!(meter.len(), 2, "four units are earned in two seconds");
        meter.take(at(1200), Address(9));
        assert_eq!(meter.len(), 2, "and the eighth's in half a one");
        assert!(!Meter::new(now, 0, 10).take(now, Address(1)));
    }
}
