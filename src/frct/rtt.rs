//! Round-trip time and the retransmission timeout.

use super::filter::Filter;
use crate::base::time::Instant;

/// How long a measured minimum is believed: afterwards the path may have become longer. Nanoseconds, and round trips
/// where those are long.
const MIN_RTT_LIFE: u64 = 10_000_000_000;
const MIN_RTT_ROUNDS: u64 = 16;

/// Smoothed round-trip time in the arithmetic of the reference: signed nanoseconds, shifts.
///
/// A variance that shrinks is followed eight times slower than one that grows, so that a burst of prompt answers does
/// not pull the timeout down onto the round-trip time.
#[derive(Debug, Default)]
pub(super) struct Rtt {
    srtt: i64,
    mdev: i64,
    min: Filter,
}

impl Rtt {
    /// Takes the sample `nanos`, whatever it is: an estimate that only follows what it expects never learns.
    pub(super) fn sample(&mut self, now: Instant, nanos: u64) {
        // Bounded so that no sum or shift below overflows, whatever the clock does.
        let m = i64::try_from(nanos).unwrap_or(i64::MAX / 16).clamp(1, i64::MAX / 16);
        let var = if self.srtt == 0 {
            self.srtt = m;
            m >> 1
        } else {
            let d = m - self.srtt;
            self.srtt += d >> 3;
            let mut e = (d.abs() - self.mdev) >> 2;
            if e < 0 {
                e >>= 3;
            }
            self.mdev + e
        };
        self.srtt = self.srtt.max(1000);
        self.mdev = var.max(100);
        let life = MIN_RTT_LIFE.max(self.smoothed().saturating_mul(MIN_RTT_ROUNDS));
        self.min.update(now.as_nanos(), nanos.max(1), life, |a, b| a <= b);
    }

    /// The path has shown itself to be shorter than any sample of late.
    pub(super) fn correct_min(&mut self, now: Instant, nanos: u64) {
        self.min.reset(now.as_nanos(), nanos.max(1));
    }

    /// Returns `true` if there was a sample.
    pub(super) fn known(&self) -> bool {
        self.srtt != 0
    }

    /// Smoothed round-trip time, nanoseconds; 0 before the first sample.
    pub(super) fn smoothed(&self) -> u64 {
        self.srtt.unsigned_abs()
    }

    /// Shortest round-trip time of about the last ten seconds, nanoseconds; 0 before the first sample.
    pub(super) fn min(&self) -> u64 {
        self.min.get()
    }

    /// `srtt + 4 mdev`, nanoseconds: the timeout of the reference without its floor.
    pub(super) fn timeout(&self) -> u64 {
        self.srtt.saturating_add(self.mdev << 2).unsigned_abs()
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (i64, i64) {
        (self.srtt, self.mdev)
    }
}
