//! Pauses between attempts: each twice as long as the one before, none exactly as long as anybody else's.
//!
//! ```
//! use core::time::Duration;
//! use o7s::base::rng::Rng;
//! use o7s::base::time::Instant;
//! use o7s::ipcp::connect::retry::{Backoff, Schedule};
//!
//! let mut rng = Rng::from_seed([7; 32]);
//! let mut schedule = Schedule::new(Instant::ZERO, Duration::from_secs(20), Backoff::default());
//! let again = schedule.failed(Instant::from_millis(1000), &mut rng).expect("there is time left");
//! assert!(again <= Instant::from_millis(1100));
//! assert_eq!(schedule.failed(Instant::from_millis(20_000), &mut rng), None);
//! ```

use core::time::Duration;

use crate::base::rng::Rng;
use crate::base::time::Instant;

#[cfg(test)]
mod tests;

/// How long to wait after a failure. The default is 100 ms, up to 30 s.
///
/// The pause after failure *n* is chosen evenly between half and all of `first` · 2ⁿ⁻¹, or of `max` if that is less, so
/// that members that lost each other at the same moment do not come back at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Pauses of up to `first`, then doubling, none longer than `max`. Both are at least 1 ms.
    pub fn new(first: Duration, max: Duration) -> Self {
        let least = Duration::from_millis(1);
        Self { first: first.max(least), max: max.max(least), failures: 0 }
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// It failed: how long to wait.
    pub fn failed(&mut self, rng: &mut Rng) -> Duration {
        self.failed_for(rng, self.max)
    }

    /// It failed for a reason for which nobody should wait longer than `most`: how long to wait.
    pub fn failed_for(&mut self, rng: &mut Rng, most: Duration) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(31)).min(self.max).min(most);
        self.failures = self.failures.saturating_add(1);
        let nanos = u64::try_from(full.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos - rng.below(nanos / 2 + 1))
    }

    /// It worked.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// Attempts at something that must succeed within a time limit.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    deadline: Instant,
    backoff: Backoff,
}

impl Schedule {
    /// Attempts from `now` on, for `limit` at most. The first may be made at once.
    pub fn new(now: Instant, limit: Duration, backoff: Backoff) -> Self {
        Self { deadline: now + limit, backoff }
    }

    /// When to give up, even in the middle of an attempt.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Which attempt it is, from 1.
    pub fn attempt(&self) -> u32 {
        self.backoff.failures().saturating_add(1)
    }

    /// An attempt has failed: when to make the next, or `None` if there is no time for one.
    pub fn failed(&mut self, now: Instant, rng: &mut Rng) -> Option<Instant> {
        let again = now + self.backoff.failed(rng);
        (again < self.deadline).then_some(again)
    }
}
