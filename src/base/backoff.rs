//! Pauses between attempts: each twice as long as the one before, none exactly as long as anybody else's.
//!
//! Whatever tries again after a failure takes its pauses from here: connections and enrollment, allocations that are refused
//! by who is busy, the directory while it joins. Windows of a flow that grow and shrink with its round trip are no attempts,
//! and have rules of their own ([`frct`](crate::frct)).
//!
//! ```
//! use core::time::Duration;
//! use o7s::base::rng::Rng;
//! use o7s::base::time::Instant;
//! use o7s::base::backoff::{Backoff, Schedule};
//!
//! let mut rng = Rng::from_seed([7; 32]);
//! let mut schedule = Schedule::new(Instant::ZERO, Duration::from_secs(20), Backoff::default());
//! let again = schedule.failed(Instant::from_millis(1000), &mut rng).expect("there is time left");
//! assert!(again <= Instant::from_millis(1100));
//! assert_eq!(schedule.failed(Instant::from_millis(20_000), &mut rng), None);
//! ```

use core::time::Duration;

use super::rng::Rng;
use super::time::Instant;

#[cfg(test)]
mod tests;

/// Pauses after failures. The default is 100 ms, up to 30 s.
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

    /// Returns the pause after a failure for a reason for which no pause should be longer than `most`.
    pub fn failed_for(&mut self, rng: &mut Rng, most: Duration) -> Duration {
        let nanos = u64::try_from(self.next(most).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos - rng.below(nanos / 2 + 1))
    }

    /// As [`failed_for`](Self::failed_for), but [around] the whole pause: for messages that peers expect at that
    /// interval.
    pub fn failed_around(&mut self, rng: &mut Rng, most: Duration) -> Duration {
        around(rng, self.next(most))
    }

    /// The whole pause after one more failure.
    fn next(&mut self, most: Duration) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(31)).min(self.max).min(most);
        self.failures = self.failures.saturating_add(1);
        whole
    }

    /// It worked.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// A time between seven and nine eighths of `time`, so that those who repeat something do not move in step.
pub fn around(rng: &mut Rng, time: Duration) -> Duration {
    let quarter = u64::try_from(time.as_nanos() / 4).unwrap_or(u64::MAX);
    (time / 8 * 7).saturating_add(Duration::from_nanos(rng.below(quarter)))
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

    /// Returns the time to give up, even in the middle of an attempt.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.backoff.failures().saturating_add(1)
    }

    /// An attempt has failed: when to make the next, or `None` if there is no time for one.
    pub fn failed(&mut self, now: Instant, rng: &mut Rng) -> Option<Instant> {
        let again = now + self.backoff.failed(rng);
        (again < self.deadline).then_some(again)
    }
}
