//! How much one member may ask for.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::base::time::Instant;
use crate::types::id::Address;

/// A rate with bursts of two seconds, by the generic cell rate algorithm: one moment says it all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    interval: Duration,
    tolerance: Duration,
}

/// When the next unit would be due if all came evenly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level(Instant);

impl Level {
    /// Nothing used.
    pub(super) const FRESH: Self = Self(Instant::ZERO);
}

impl Rate {
    /// `per_second` units a second, 0 for none.
    pub(super) fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second).unwrap_or(Duration::MAX);
        Self { interval, tolerance: Duration::from_secs(2) }
    }

    /// When a unit will be there.
    pub(super) fn next(self, level: Level) -> Instant {
        level.0 + self.interval - self.tolerance
    }

    /// Takes a unit, if there is one.
    pub(super) fn take(self, now: Instant, level: &mut Level) -> bool {
        let due = level.0.max(now) + self.interval;
        let allowed = due.since(now) <= self.tolerance;
        if allowed {
            level.0 = due;
        }
        allowed
    }
}

/// The rates of many members. Those that find no room share one.
#[derive(Debug)]
pub(super) struct Meter {
    rate: Rate,
    levels: BTreeMap<Address, Level>,
    others: Level,
    limit: usize,
}

impl Meter {
    pub(super) fn new(per_second: u32, limit: usize) -> Self {
        Self { rate: Rate::new(per_second), levels: BTreeMap::new(), others: Level::FRESH, limit }
    }

    /// Takes a unit of `source`'s, if there is one.
    pub(super) fn take(&mut self, now: Instant, source: Address) -> bool {
        if self.levels.len() >= self.limit && !self.levels.contains_key(&source) {
            // Whoever has used nothing of late is as good as forgotten.
            self.levels.retain(|_, level| level.0 > now);
        }
        let full = self.levels.len() >= self.limit;
        let level = match self.levels.get_mut(&source) {
            Some(level) => level,
            None if full => &mut self.others,
            None => self.levels.entry(source).or_insert(Level::FRESH),
        };
        self.rate.take(now, level)
    }

    /// Members whose rates are known.
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }
}
