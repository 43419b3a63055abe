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

    /// Takes a unit, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let Some(bucket) = self.bucket.as_mut().filter(|bucket| bucket.is_ready(now)) else { return false };
        bucket.take(now, 1);
        true
    }
}

/// The rates of many members, each by its address. Who has used nothing for two seconds is forgotten, for a layer has many
/// members that ask once; those for whom there is no room share one rate.
#[derive(Debug)]
pub(super) struct Meter {
    fresh: u32,
    rates: BTreeMap<Address, (Rate, Instant)>,
    /// Times at which each is as good as new.
    rested: BTreeSet<(Instant, Address)>,
    others: Rate,
    limit: usize,
}

/// After this time a rate is as good as new, whatever was taken.
const REST: core::time::Duration = core::time::Duration::from_secs(2);

impl Meter {
    pub(super) fn new(now: Instant, per_second: u32, limit: usize) -> Self {
        let others = Rate::new(now, per_second);
        Self { fresh: per_second, rates: BTreeMap::new(), rested: BTreeSet::new(), others, limit }
    }

    /// Takes a unit of `source`'s, if there is one.
    pub(super) fn take(&mut self, now: Instant, source: Address) -> bool {
        self.forget_rested(now);
        if self.rates.len() >= self.limit && !self.rates.contains_key(&source) {
            return self.others.take(now);
        }
        let fresh = self.fresh;
        let (rate, rested) = self.rates.entry(source).or_insert_with(|| (Rate::new(now, fresh), now));
        self.rested.remove(&(*rested, source));
        *rested = now + REST;
        self.rested.insert((*rested, source));
        rate.take(now)
    }

    /// Forgets those that are as good as new.
    fn forget_rested(&mut self, now: Instant) {
        while let Some((_, source)) = self.rested.first().filter(|(rested, _)| *rested <= now).copied() {
            self.rested.pop_first();
            self.rates.remove(&source);
        }
    }

    /// Members whose rates are known.
    pub(super) fn len(&self) -> usize {
        self.rates.len()
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
            assert!(meter.len() <= 201, "{} are known after {n}", meter.len());
        }
        let now = at(1000);
        assert!(meter.take(now, Address(7)), "it is as good as new");
        assert_eq!((0..10).filter(|_| meter.take(now, Address(7))).count(), 3, "four at once, then two a second");
        meter.take(now + 2 * REST, Address(8));
        assert_eq!(meter.len(), 1);
    }
}
