//! Freshness of requests: the time window, and the memory of what has been seen in it.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::OapError;
use crate::base::counter::counts;
use crate::wire::oap::ID_LEN;

/// Longest time that a timestamp may lie in the future, ms, unless set otherwise: the clocks of two hosts differ.
pub const MAX_AHEAD_MS: i64 = 100;
/// Greatest age of a request, ms, unless set otherwise.
pub const MAX_AGE_MS: i64 = 20_000;
/// The most that a timestamp may be set to be in the future: after a start, one from before it may be served once more for as
/// long.
pub const LONGEST_AHEAD: Duration = Duration::from_secs(5);
/// The greatest age that may be set: requests are remembered for as long.
pub const LONGEST_AGE: Duration = Duration::from_secs(600);
/// Requests remembered, unless configured otherwise: those of 20 s at 3 276 a second, in about 3 MiB.
pub const DEFAULT_REPLAY_LIMIT: usize = 65_536;

const NANOS_PER_MS: u64 = 1_000_000;
/// Old entries dropped with each new one at most, so that a pause is not paid for by one caller.
const DROPS: usize = 4;

/// Remembers the requests of the last 20 s, so that a recorded one is not served twice.
///
/// Its size is bounded. When it is full, the oldest entries are forgotten, and with them the right of others as old to
/// be taken for new: *the window shrinks* for as long as the flood lasts, instead of letting replays through or
/// refusing fresh requests. At ten times the rate that fits, requests may still be 2 s old.
///
/// It is in memory only. One that [was started](Self::started) refuses what was sent before: an earlier one may have served
/// that. A client whose clock is behind gets no flow for as long as it is behind, after a start of the server. One whose clock
/// is ahead can have said a time after the start: who starts again faster than the clocks may differ, 100 ms, may serve
/// its recorded request twice.
///
/// A clock that is set back by less than the window lets no replay through. One that is set back by more may serve once more what
/// was older than the window by then, for as long as it takes to catch up.
///
/// One cache serves all names of a stack; a request is remembered whether or not it is accepted afterwards.
///
/// ```
/// use o7s::oap::replay::ReplayCache;
///
/// const SECOND: u64 = 1_000_000_000;
/// let now = 1_760_000_000 * SECOND;
/// let mut cache = ReplayCache::default();
/// assert!(cache.admit(now, [1; 16], now - SECOND).is_ok());
/// assert!(cache.admit(now, [1; 16], now - SECOND).is_err(), "a replay");
/// assert!(cache.admit(now, [2; 16], now - 21 * SECOND).is_err(), "too old");
/// ```
#[derive(Clone, Debug)]
pub struct ReplayCache {
    /// Ordered by time, so that the oldest is at hand and requesters cannot choose ids that collide.
    seen: BTreeSet<(u64, [u8; ID_LEN])>,
    limit: usize,
    /// Timestamp up to which some requests were forgotten, for want of room or because the window had left them behind.
    forgotten: Option<u64>,
    /// The least timestamp of requests that no earlier cache has seen.
    start: u64,
    /// The window: the greatest age of a request, and how far ahead of this clock its own may be, ms.
    age_ms: u64,
    ahead_ms: u64,
    counters: Counters,
}

counts! {
    /// Counters of the cache.
    pub struct Counters {
        /// Requests forgotten for want of room while they could still be replayed or not.
        evictions => "replay_forgotten_early",
    }
}

impl Default for ReplayCache {
    fn default() -> Self {
        Self::new(DEFAULT_REPLAY_LIMIT)
    }
}

impl ReplayCache {
    /// An empty cache for `limit` requests.
    pub const fn new(limit: usize) -> Self {
        Self {
            seen: BTreeSet::new(),
            limit,
            forgotten: None,
            start: 0,
            age_ms: MAX_AGE_MS as u64,
            ahead_ms: MAX_AHEAD_MS as u64,
            counters: Counters { evictions: 0 },
        }
    }

    /// The same with another window: requests may be of this `age`, 1 ms to 600 s, and of a clock that is so far `ahead`, up to
    /// 5 s.
    pub const fn with_window(mut self, age: Duration, ahead: Duration) -> Self {
        (self.age_ms, self.ahead_ms) = (millis(age), millis(ahead));
        if self.age_ms > millis(LONGEST_AGE) {
            self.age_ms = millis(LONGEST_AGE);
        }
        if self.age_ms == 0 {
            self.age_ms = 1;
        }
        if self.ahead_ms > millis(LONGEST_AHEAD) {
            self.ahead_ms = millis(LONGEST_AHEAD);
        }
        self
    }

    /// The same, of a process that was started at `unix_nanos`: refuses what was sent before.
    pub const fn started(mut self, unix_nanos: u64) -> Self {
        self.start = unix_nanos;
        self
    }

    /// Admits a request of this id and timestamp if it is fresh, by a clock that shows `unix_nanos`, and remembers it.
    ///
    /// # Errors
    /// [`OapError::Stale`] outside the window, [`OapError::BeforeStart`] before the [start](Self::started),
    /// [`OapError::Replayed`] for a pair seen before.
    pub fn admit(&mut self, unix_nanos: u64, id: [u8; ID_LEN], timestamp: u64) -> Result<(), OapError> {
        self.check_time(unix_nanos, timestamp)?;
        self.drop_outdated(unix_nanos);
        self.check_memory(unix_nanos, timestamp)?;
        if !self.seen.insert((timestamp, id)) {
            return Err(OapError::Replayed);
        }
        if self.seen.len() > self.limit {
            self.make_room(self.newest(unix_nanos));
        }
        Ok(())
    }

    /// The least timestamp that is too far ahead.
    const fn newest(&self, unix_nanos: u64) -> u64 {
        unix_nanos.saturating_add((self.ahead_ms + 1) * NANOS_PER_MS)
    }

    /// Forgets one request, for want of room.
    fn make_room(&mut self, newest: u64) {
        self.counters.evictions += 1;
        // What was admitted before the clock was set back is kept for when it catches up, but not at the cost of the present.
        if self.seen.last().is_some_and(|(timestamp, _)| *timestamp >= newest) {
            self.seen.pop_last();
        } else if let Some((oldest, _)) = self.seen.pop_first() {
            // It may be the one that has just come: that is admitted all the same, and refused as stale when it comes again.
            // `forgotten` only grows, for nothing as old is let in.
            self.forgotten = Some(oldest);
        }
    }

    /// What [`admit`](Self::admit) says of the time alone, for a request that is not to be remembered.
    ///
    /// # Errors
    /// [`OapError::Stale`], [`OapError::BeforeStart`].
    pub fn check(&self, unix_nanos: u64, timestamp: u64) -> Result<(), OapError> {
        self.check_time(unix_nanos, timestamp)?;
        self.check_memory(unix_nanos, timestamp)
    }

    /// Fails outside of the window.
    fn check_time(&self, unix_nanos: u64, timestamp: u64) -> Result<(), OapError> {
        let age_ms = age_ms(unix_nanos, timestamp);
        let is_timely = match age_ms {
            0.. => age_ms.unsigned_abs() <= self.age_ms,
            _ => age_ms.unsigned_abs() <= self.ahead_ms,
        };
        if is_timely { Ok(()) } else { Err(OapError::Stale { age_ms }) }
    }

    /// Fails for a time of which it is not remembered what was seen. What lies in the future does not count: it is of a clock
    /// that was set back by more than the window, and would have everything refused until that catches up.
    fn check_memory(&self, unix_nanos: u64, timestamp: u64) -> Result<(), OapError> {
        let (age_ms, newest) = (age_ms(unix_nanos, timestamp), self.newest(unix_nanos));
        if self.forgotten.is_some_and(|forgotten| timestamp <= forgotten && forgotten < newest) {
            return Err(OapError::Stale { age_ms });
        }
        if timestamp < self.start && self.start < newest { Err(OapError::BeforeStart { age_ms }) } else { Ok(()) }
    }

    /// Drops what the window refuses anyway, a few entries at a time.
    fn drop_outdated(&mut self, unix_nanos: u64) {
        // None yet by a clock that has just begun with its epoch.
        let oldest = unix_nanos.checked_sub((self.age_ms + 1) * NANOS_PER_MS);
        for _ in 0..DROPS {
            if let Some((timestamp, _)) = self.seen.first().copied().filter(|(timestamp, _)| Some(*timestamp) <= oldest)
            {
                self.seen.pop_first();
                // Nothing is refused for it, unless the clock is set back and finds it in the window again.
                self.forgotten = self.forgotten.max(Some(timestamp));
            }
        }
        // Set back by more than the window, or the one or the other would refuse everything until the clock catches up.
        let newest = self.newest(unix_nanos);
        self.forgotten = self.forgotten.filter(|forgotten| *forgotten < newest);
        if self.start >= newest {
            self.start = 0;
        }
    }

    /// Requests remembered, some of them perhaps outdated.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Returns `true` if no request is remembered.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Requests forgotten for want of room while they could still be replayed or not, since the beginning.
    pub const fn evictions(&self) -> u64 {
        self.counters.evictions
    }

    /// Counters of the cache.
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}

/// Whole milliseconds; there are fewer than fit.
const fn millis(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1000).saturating_add(duration.subsec_millis() as u64)
}

/// As the reference does: truncated towards zero, so either limit of the window is open by almost one millisecond.
fn age_ms(unix_nanos: u64, timestamp: u64) -> i64 {
    let age = (i128::from(unix_nanos) - i128::from(timestamp)) / i128::from(NANOS_PER_MS);
    i64::try_from(age).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
