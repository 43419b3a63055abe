//! Moments on the stack's own monotonic time line.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::sync::atomic::Ordering;
use core::time::Duration;

// Not the model checker's, of which there are no constants: this clock is not checked.
use super::sync::plain::AtomicU64;

/// A moment, in nanoseconds since an epoch of the stack's own.
///
/// The epoch is when the stack was built (threaded), whatever the application says (polled), or the beginning of the
/// simulated world. There is deliberately no `now()`: the driver of a state machine hands the moment in, so that the
/// same code runs under threads, under `poll` and in virtual time. Arithmetic saturates: 2⁶⁴ ns are 584 years.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The epoch.
    pub const ZERO: Self = Self(0);
    /// Later than any moment that will be reached; the deadline of something that has none.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time since `earlier`; zero if it lies in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// As [`since`](Self::since), in nanoseconds: for machines that reckon in them, where a division per packet counts.
    #[inline]
    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `nanos` nanoseconds later.
    #[inline]
    pub(crate) const fn plus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// An `Option<Instant>` in 8 bytes. [`Instant::FAR_FUTURE`] becomes the nanosecond before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MaybeInstant(u64);

impl MaybeInstant {
    /// Some moment.
    #[inline]
    pub(crate) const fn at(moment: Instant) -> Self {
        Self(moment.0.saturating_add(1))
    }

    /// The moment, if there is one.
    #[inline]
    pub(crate) const fn get(self) -> Option<Instant> {
        match self.0 {
            0 => None,
            nanos => Some(Instant(nanos - 1)),
        }
    }
}

/// As [`Duration::as_nanos`], without its 128 bits.
#[inline]
const fn nanos(d: Duration) -> u64 {
    d.as_secs().saturating_mul(1_000_000_000).saturating_add(d.subsec_nanos() as u64)
}

impl Add<Duration> for Instant {
    type Output = Self;

    #[inline]
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(nanos(d)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(d)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::FAR_FUTURE {
            return f.write_str("never");
        }
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Source of time: the operating system's clocks, or one that is set by hand.
///
/// Only the outermost rooms hold one; protocol code takes the [`Instant`] as an argument.
pub trait Clock: Send + Sync {
    /// The current moment. Never earlier than what an earlier call returned.
    fn now(&self) -> Instant;

    /// Nanoseconds since 1970-01-01 UTC on the real-time clock, which may jump.
    fn unix_nanos(&self) -> u64;

    /// Returns `true` in a process that was forked from the one that the clock was made in. It has the keys of all flows a
    /// second time, and must not use them. A clock that does not know says `false`.
    fn is_forked(&self) -> bool {
        false
    }
}

/// A clock that is set by hand: that of polled and simulated stacks.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
    unix_epoch: u64,
}

impl ManualClock {
    /// A clock at the epoch, which is `unix_epoch` nanoseconds after 1970-01-01 UTC.
    pub const fn new(unix_epoch: u64) -> Self {
        Self { now: AtomicU64::new(0), unix_epoch }
    }

    /// Sets the time, unless it is later already.
    pub fn advance_to(&self, now: Instant) {
        self.now.fetch_max(now.as_nanos(), Ordering::AcqRel);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::Acquire))
    }

    fn unix_nanos(&self) -> u64 {
        self.unix_epoch.saturating_add(self.now.load(Ordering::Acquire))
    }
}
