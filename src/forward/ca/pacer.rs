//! The end of a flow that sends.

use core::time::Duration;

use super::rate::{self, Rate, Stage};
use crate::base::bucket::Bucket;
use crate::base::time::Instant;
use crate::types::layer::CongestionAvoidance;

/// Between two looks at whether the rate may grow.
const TICK: Duration = Duration::from_millis(4);
/// What may be sent at once, bytes, on top of what is earned in [`LATENESS`].
const BURST: u64 = 16_384;
/// How late timers may be without costing throughput.
const LATENESS: Duration = Duration::from_micros(250);
/// Packets whose lengths are averaged, as a power of two.
const LENGTHS_SHIFT: u32 = 5;

/// What a [`Pacer`] is doing, for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It limits nothing: the layer does not avoid congestion.
    Off,
    /// No queue was ever heard of: the rate doubles as long as it is made use of.
    SlowStart,
    /// There is no queue, as far as is known: the rate grows.
    Increase,
    /// There is a queue: the rate follows what is delivered.
    Decrease,
}

/// Decides when the next packet of a flow may be sent.
///
/// It never blocks and drops nothing. A packet costs a comparison or two and a multiplication; the law behind it runs
/// with the updates, and every 4 ms.
#[derive(Clone, Debug)]
pub struct Pacer {
    bucket: Bucket,
    next_tick: Instant,
    /// The mean length of packets, bytes times 2⁵.
    length: u32,
    /// The flow was made to wait since the last tick.
    limited: bool,
    /// `None` without congestion avoidance.
    rate: Option<Rate>,
}

impl Pacer {
    /// Bytes per second at the start of a flow.
    pub const INITIAL_RATE: u64 = rate::INITIAL as u64;

    /// The pacer of a flow that has just begun.
    pub fn new(now: Instant, policy: CongestionAvoidance) -> Self {
        let (bucket, next_tick, rate) = match policy {
            CongestionAvoidance::None => (Bucket::UNLIMITED, Instant::FAR_FUTURE, None),
            CongestionAvoidance::MbEcn => {
                (Bucket::new(now, Self::INITIAL_RATE, BURST), now + TICK, Some(Rate::new(now)))
            }
        };
        Self { bucket, next_tick, length: 1000 << LENGTHS_SHIFT, limited: false, rate }
    }

    /// From when on the next packet may be sent; in the past if it may be now.
    pub const fn next_send(&self) -> Instant {
        self.bucket.ready_at()
    }

    /// Whether a packet may be sent now; if it is, [`sent`](Self::sent) is to be called.
    ///
    /// # Errors
    /// From when on it may be. The pacer takes it that the flow would have sent it now: who asks needs more.
    pub fn may_send(&mut self, now: Instant) -> Result<(), Instant> {
        if now >= self.next_tick {
            self.tick(now);
        }
        if self.bucket.is_ready(now) {
            return Ok(());
        }
        self.limited = true;
        Err(self.bucket.ready_at())
    }

    /// A packet of `len` bytes is sent, whether it may be or not.
    pub fn sent(&mut self, now: Instant, len: usize) {
        if now >= self.next_tick {
            self.tick(now);
        }
        self.bucket.take(now, len);
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(1 << 20);
        self.length = self.length - (self.length >> LENGTHS_SHIFT) + len;
    }

    /// An update has come: the level at the other end.
    pub fn update(&mut self, now: Instant, level: u16) {
        self.tick(now);
        if let Some(rate) = &mut self.rate {
            rate.update(now, level, f64::from(self.length.max(1)) / f64::from(1 << LENGTHS_SHIFT));
            self.refill(now);
        }
    }

    /// Bytes per second that the flow may send; `u64::MAX` without congestion avoidance.
    pub const fn rate(&self) -> u64 {
        match &self.rate {
            Some(rate) => rate.bytes_per_second(),
            None => u64::MAX,
        }
    }

    /// What it is doing.
    pub const fn phase(&self) -> Phase {
        match &self.rate {
            None => Phase::Off,
            Some(rate) => match rate.stage() {
                Stage::SlowStart(_) => Phase::SlowStart,
                Stage::Clear(_) | Stage::Silent => Phase::Increase,
                Stage::Marked(_) => Phase::Decrease,
            },
        }
    }

    /// The level of the last update; 0 once that is old.
    pub const fn level(&self) -> u16 {
        match &self.rate {
            Some(rate) => rate.level(),
            None => 0,
        }
    }

    fn tick(&mut self, now: Instant) {
        let Some(rate) = &mut self.rate else { return };
        self.next_tick = now + TICK;
        let limited = core::mem::take(&mut self.limited);
        rate.advance(now, limited);
        self.refill(now);
    }

    /// The bucket fills at the rate.
    fn refill(&mut self, now: Instant) {
        let rate = self.rate();
        self.bucket.set(now, rate, BURST + rate / 1_000_000 * LATENESS.as_micros() as u64);
    }
}
