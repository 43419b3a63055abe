//! Shaping: what becomes of the bandwidth in a flow's quality of service.
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
//! use o7s::forward::shape::{Admission, Shaper};
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

use crate::base::bucket::{Bucket, LONGEST_WAIT};
use crate::base::time::Instant;
use crate::types::qos::QosSpec;

#[cfg(test)]
mod tests;

/// Decision about a packet.
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
    /// The longest in all, behind others that wait; `None` if what is dropped would be sent again.
    delay: Option<Duration>,
}

impl Shaper {
    /// Burst that may pass after a pause, as the time in which it is earned.
    pub const BURST: Duration = Duration::from_millis(100);
    /// The least that may pass at once after a pause, bytes: two large packets.
    pub const MIN_BURST: u64 = 3000;

    /// A shaper for a flow with this specification. A bandwidth of 0 (nothing particular) and of 2⁶⁴ − 1 (as much as
    /// there is) limit nothing.
    pub fn new(now: Instant, qos: &QosSpec) -> Self {
        let delay = Duration::from_millis(qos.delay.into());
        let (patience, delay) = (delay.min(LONGEST_WAIT), (!qos.is_reliable()).then_some(delay));
        if matches!(qos.bandwidth, 0 | u64::MAX) {
            return Self { bucket: Bucket::UNLIMITED, patience, delay };
        }
        // From bits to bytes, rounded up so that the least bandwidth is not none.
        let rate = qos.bandwidth.div_ceil(8);
        let burst = (rate / 1000).saturating_mul(Self::BURST.as_millis() as u64).max(Self::MIN_BURST);
        Self { bucket: Bucket::new(now, rate, burst), patience, delay }
    }

    /// Returns `true` if the flow's bandwidth is limited.
    pub const fn is_limited(&self) -> bool {
        self.bucket.is_limited()
    }

    /// Returns how long a packet may wait in all, behind others that wait for their turns as well; `None` for as long as it
    /// takes: of a flow without a limit, or one that would send it again.
    pub fn patience(&self) -> Option<Duration> {
        self.delay.filter(|_| self.is_limited())
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
