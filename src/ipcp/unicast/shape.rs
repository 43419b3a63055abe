//! Rates: a token bucket, and what it makes of the bandwidth in a flow's quality of service.
//!
//! [`Bucket`] is the arithmetic, kept as the moment at which the bucket will be full again (the *generic cell rate
//! algorithm* of ITU-T I.371, which is a token bucket without tokens): a packet costs one comparison and one
//! multiplication, and nothing needs to be topped up. [`Pacer`](super::ca::Pacer) is built on it, too.
//!
//! [`Shaper`] holds a flow to the bandwidth that it asked for, where it enters the layer, by the number of bytes and
//! the quality of service and nothing else. It *shapes* what can wait and *polices* what cannot: a packet waits for
//! its turn as long as the delay that the flow tolerates allows (the writer is told when, so what waits is with the
//! application and not in a queue of the layer), and one that would have to wait longer is dropped, because it would
//! be of no use when it arrives.
//!
//! ```
//! use core::time::Duration;
//! use o7s::base::time::Instant;
//! use o7s::ipcp::unicast::shape::{Admission, Shaper};
//! use o7s::types::qos::QosSpec;
//!
//! let mut now = Instant::from_millis(1);
//! let mut call = Shaper::new(now, &QosSpec::VOICE);
//! // A telephone call: 160 bytes every 20 ms are 64 kbit/s of the 100 that it may have.
//! for _ in 0..1000 {
//!     assert_eq!(call.admit(now, 160), Admission::Pass);
//!     now += Duration::from_millis(20);
//! }
//! // A file transfer that pretends to be one has to wait.
//! let passed = (0..1000).filter(|_| call.admit(now, 1000) == Admission::Pass).count();
//! assert!(passed < 10);
//! ```

use core::time::Duration;

use crate::base::time::Instant;
use crate::types::qos::QosSpec;

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
    /// When everything taken so far will have been earned, nanoseconds.
    earned_at: u64,
    /// What may be taken in advance, as the time to earn it, nanoseconds.
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

    /// The earliest moment for the next packet.
    pub const fn ready_at(&self) -> Instant {
        Instant::from_nanos(self.earned_at.saturating_sub(self.credit))
    }

    /// Whether a packet may pass, of any size: the bucket may go into debt, which the next one pays for.
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

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It passes.
    Pass,
    /// It may be offered again from this moment on.
    Wait(Instant),
    /// It would arrive too late to be of use.
    Drop,
}

/// Holds a flow to its bandwidth.
#[derive(Clone, Debug)]
pub struct Shaper {
    bucket: Bucket,
    /// The longest that a packet may wait, nanoseconds.
    patience: Duration,
}

impl Shaper {
    /// What may pass at once after a pause, as the time in which it is earned.
    pub const BURST: Duration = Duration::from_millis(100);
    /// The least that may pass at once after a pause, bytes: two large packets.
    pub const MIN_BURST: u64 = 3000;

    /// A shaper for a flow with this specification. A bandwidth of 0 (nothing particular) and of 2⁶⁴ − 1 (as much as
    /// there is) limit nothing.
    pub fn new(now: Instant, qos: &QosSpec) -> Self {
        let patience = Duration::from_millis(qos.delay.into()).min(LONGEST_WAIT);
        if matches!(qos.bandwidth, 0 | u64::MAX) {
            return Self { bucket: Bucket::UNLIMITED, patience };
        }
        let rate = qos.bandwidth.div_ceil(8);
        let burst = (rate / 1000).saturating_mul(Self::BURST.as_millis() as u64).max(Self::MIN_BURST);
        Self { bucket: Bucket::new(now, rate, burst), patience }
    }

    /// Whether the flow's bandwidth is limited at all.
    pub const fn is_limited(&self) -> bool {
        self.bucket.cost != 0
    }

    /// Decides about a packet of `len` bytes; if it passes, it is accounted for.
    pub fn admit(&mut self, now: Instant, len: usize) -> Admission {
        if self.bucket.is_ready(now) {
            self.bucket.take(now, len);
            return Admission::Pass;
        }
        let at = self.bucket.ready_at();
        if at.since(now) > self.patience { Admission::Drop } else { Admission::Wait(at) }
    }
}
