//! A token bucket: so many bytes (or packets, or requests) a second, and some at once after a pause.
//!
//! It is kept as the moment at which the bucket will be full again (the *generic cell rate algorithm* of ITU-T I.371, which
//! is a token bucket without tokens): a packet costs one comparison and one multiplication, and nothing needs to be topped
//! up.
//!
//! ```
//! use core::time::Duration;
//! use o7s::base::bucket::Bucket;
//! use o7s::base::time::Instant;
//!
//! let mut now = Instant::from_millis(1);
//! let mut bucket = Bucket::new(now, 1000, 500);
//! bucket.take(now, 1500);
//! assert!(!bucket.is_ready(now), "a thousand bytes of debt");
//! assert_eq!(bucket.ready_at(), now + Duration::from_secs(1));
//! ```

use core::time::Duration;

use super::time::Instant;

#[cfg(test)]
mod tests;

/// Binary digits behind the point of [`Bucket::cost`].
const FRACTION: u32 = 20;
const SECOND: u64 = 1_000_000_000;
/// The longest that a [`Bucket`] makes a packet wait that comes when it may: a bound for rates near zero.
pub const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A token bucket: so many bytes a second, and some at once after a pause.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Time at which everything taken so far will have been earned, nanoseconds.
    earned_at: u64,
    /// Amount that may be taken in advance, as the time to earn it, nanoseconds.
    credit: u64,
    /// Nanoseconds a byte, times 2²⁰. 0: no limit.
    cost: u64,
}

impl Bucket {
    /// A bucket that lets everything pass.
    pub const UNLIMITED: Self = Self { earned_at: 0, credit: 0, cost: 0 };

    /// A full bucket of `burst` bytes that gets `rate` bytes per second (at least 1).
    pub fn new(now: Instant, rate: u64, burst: u64) -> Self {
        let mut bucket = Self { earned_at: now.as_nanos(), ..Self::UNLIMITED };
        bucket.set(now, rate, burst);
        bucket
    }

    /// Changes the rate, bytes per second (at least 1), and the size, bytes. What was taken in advance is earned at
    /// the new rate.
    pub fn set(&mut self, now: Instant, rate: u64, burst: u64) {
        let before = self.cost;
        self.cost = ((SECOND << FRACTION) / rate.max(1)).max(1);
        self.credit = self.time(burst);
        let debt = self.earned_at.saturating_sub(now.as_nanos());
        if debt > 0 && before > 0 {
            let debt = u128::from(debt) * u128::from(self.cost) / u128::from(before);
            let debt = u64::try_from(debt).unwrap_or(u64::MAX).min(self.longest_debt());
            self.earned_at = now.as_nanos().saturating_add(debt);
        }
    }

    /// Returns `true` if it limits anything.
    pub const fn is_limited(&self) -> bool {
        self.cost != 0
    }

    /// The earliest moment for the next packet.
    pub const fn ready_at(&self) -> Instant {
        Instant::from_nanos(self.earned_at.saturating_sub(self.credit))
    }

    /// The moment from which on the bucket is full: before it, something that was taken has not been earned yet.
    pub const fn full_at(&self) -> Instant {
        Instant::from_nanos(self.earned_at)
    }

    /// A bucket of this rate and size that is full from that moment on.
    pub const fn filled_at(self, full: Instant) -> Self {
        Self { earned_at: full.as_nanos(), ..self }
    }

    /// Returns `true` if a packet may pass, of any size: the bucket may go into debt, which the next one pays for.
    pub const fn is_ready(&self, now: Instant) -> bool {
        now.as_nanos() >= self.earned_at.saturating_sub(self.credit)
    }

    /// A packet of `len` bytes passes.
    pub fn take(&mut self, now: Instant, len: usize) {
        let now = now.as_nanos();
        let longest = now.saturating_add(self.longest_debt());
        self.earned_at = self.earned_at.max(now).saturating_add(self.time(len as u64)).min(longest);
    }

    const fn longest_debt(&self) -> u64 {
        self.credit.saturating_add(LONGEST_WAIT.as_nanos() as u64)
    }

    /// The time in which `bytes` are earned, nanoseconds.
    const fn time(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(self.cost) >> FRACTION
    }
}
