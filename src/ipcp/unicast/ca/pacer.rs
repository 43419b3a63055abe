//! The end of a flow that sends.

use core::time::Duration;

use crate::base::time::Instant;
use crate::ipcp::unicast::shape::Bucket;
use crate::wire::enroll::CongestionAvoidance;

/// Between two adjustments of the rate.
const TICK: Duration = Duration::from_millis(4);
/// An update is believed for this long.
const FRESH: Duration = Duration::from_millis(500);

/// What the pacer is doing, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It does not limit the flow.
    Off,
    /// No queue was heard of yet: the rate doubles while it is made use of.
    SlowStart,
    /// No queue at the moment: the rate grows.
    Increase,
    /// There is a queue: the rate shrinks.
    Decrease,
}

/// Decides when the next packet of a flow may be sent.
#[derive(Clone, Debug)]
pub struct Pacer {
    bucket: Bucket,
    next_tick: Instant,
    rate: u64,
    level: u16,
    updated_at: Instant,
    phase: Phase,
    /// The flow was made to wait since the last tick.
    limited: bool,
}

impl Pacer {
    /// At the start of a flow, bytes per second.
    pub const INITIAL_RATE: u64 = 4_000_000;
    /// The rate is never less, bytes per second.
    pub const MIN_RATE: u64 = 2_000;
    /// The rate is never more, bytes per second.
    pub const MAX_RATE: u64 = 100_000_000_000;
    /// What may be sent at once after a pause, bytes.
    pub const BURST: u64 = 16_384;

    /// The pacer of a flow that has just begun.
    pub fn new(now: Instant, policy: CongestionAvoidance) -> Self {
        let (bucket, next_tick, phase) = match policy {
            CongestionAvoidance::None => (Bucket::UNLIMITED, Instant::FAR_FUTURE, Phase::Off),
            CongestionAvoidance::MbEcn => {
                (Bucket::new(now, Self::INITIAL_RATE, Self::BURST), now + TICK, Phase::SlowStart)
            }
        };
        Self { bucket, next_tick, rate: Self::INITIAL_RATE, level: 0, updated_at: now, phase, limited: false }
    }

    /// From when on the next packet may be sent; in the past if it may be sent now.
    pub const fn next_send(&self) -> Instant {
        self.bucket.ready_at()
    }

    /// Sends a packet of `len` bytes if it may be sent now.
    ///
    /// # Errors
    /// From when on it may be.
    pub fn may_send(&mut self, now: Instant, len: usize) -> Result<(), Instant> {
        if now >= self.next_tick {
            self.tick(now);
        }
        if !self.bucket.is_ready(now) {
            self.limited = true;
            return Err(self.bucket.ready_at());
        }
        self.bucket.take(now, len);
        Ok(())
    }

    /// A packet of `len` bytes is sent, whether it may be or not.
    pub fn sent(&mut self, now: Instant, len: usize) {
        if now >= self.next_tick {
            self.tick(now);
        }
        self.bucket.take(now, len);
    }

    /// An update has come: the level of the receiver at the other end.
    pub fn update(&mut self, now: Instant, level: u16) {
        if self.phase == Phase::Off {
            return;
        }
        self.level = level.min(8160);
        self.updated_at = now;
        self.phase = if level == 0 { Phase::Increase } else { Phase::Decrease };
        self.tick(now);
    }

    /// Bytes per second that the flow may send.
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// What it is doing.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The level of the last update, 0 once that is old.
    pub const fn level(&self) -> u16 {
        self.level
    }

    fn tick(&mut self, now: Instant) {
        self.next_tick = now + TICK;
        if self.level != 0 && now.since(self.updated_at) > FRESH {
            self.level = 0;
            self.phase = Phase::Increase;
        }
        let rate = match self.phase {
            Phase::Off => return,
            Phase::Decrease => self.rate - self.rate / 8192 * u64::from(self.level),
            _ if !self.limited => self.rate,
            Phase::SlowStart => self.rate + self.rate / 4,
            Phase::Increase => self.rate + 100_000,
        };
        self.limited = false;
        self.rate = rate.clamp(Self::MIN_RATE, Self::MAX_RATE);
        self.bucket.set(self.rate, Self::BURST);
    }
}
