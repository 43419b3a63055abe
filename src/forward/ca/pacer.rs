//! The end of a flow that sends.

use core::time::Duration;

use super::Feedback;
use super::rate::{self, Rate, Stage};
use super::window::Window;
use crate::base::bucket::Bucket;
use crate::base::time::Instant;
use crate::types::layer::CongestionAvoidance;

/// Between two looks at whether the rate may grow.
const TICK: Duration = Duration::from_millis(4);
/// Bytes that may be sent at once, on top of the amount earned in [`LATENESS`].
const BURST: u64 = 6000;
/// The same before anything was heard.
const FIRST_BURST: u64 = 16_384;
/// Lateness of timers that costs no throughput.
const LATENESS: Duration = Duration::from_micros(250);
/// Packets whose lengths are averaged, as a power of two.
const LENGTHS_SHIFT: u32 = 5;

/// Phase of a [`Pacer`], for statistics.
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
/// It never blocks and drops nothing. A packet costs a few comparisons and a multiplication; the law behind it runs
/// with what the receiver tells.
#[derive(Clone, Debug)]
pub struct Pacer {
    bucket: Bucket,
    next_tick: Instant,
    /// The mean length of packets, bytes times 2⁵.
    length: u32,
    /// The flow was made to wait since the last tick.
    limited: bool,
    law: Law,
}

/// Controller in use.
#[derive(Clone, Debug)]
enum Law {
    /// Nothing is limited.
    Off,
    /// The receiver tells levels only.
    Rate(Rate),
    /// The receiver reports what has arrived.
    Window(Window),
}

impl Pacer {
    /// Bytes per second at the start of a flow.
    pub const INITIAL_RATE: u64 = rate::INITIAL as u64;

    /// The pacer of a flow that has just begun, to a receiver that gives this feedback.
    pub fn new(now: Instant, policy: CongestionAvoidance, feedback: Feedback) -> Self {
        let (bucket, next_tick) = match policy {
            CongestionAvoidance::None => (Bucket::UNLIMITED, Instant::FAR_FUTURE),
            CongestionAvoidance::MbEcn => (Bucket::new(now, Self::INITIAL_RATE, FIRST_BURST), now + TICK),
        };
        let law = match (policy, feedback) {
            (CongestionAvoidance::None, _) => Law::Off,
            (CongestionAvoidance::MbEcn, Feedback::Levels) => Law::Rate(Rate::new(now)),
            (CongestionAvoidance::MbEcn, Feedback::Reports) => Law::Window(Window::new(now)),
        };
        Self { bucket, next_tick, length: 1000 << LENGTHS_SHIFT, limited: false, law }
    }

    /// Returns `Ok` if a packet may be sent now; then call [`sent`](Self::sent). Otherwise the time to ask again.
    ///
    /// # Errors
    /// When to ask again, if nothing is heard before; then the receiver may have to be [asked](Self::ask), too. The pacer
    /// takes it that the flow would have sent the packet now: who asks needs more.
    pub fn may_send(&mut self, now: Instant) -> Result<(), Instant> {
        // With the packets instead of by a timer: a rate that is not used up need not grow.
        if now >= self.next_tick {
            self.tick(now);
        }
        if let Law::Window(window) = &mut self.law {
            window.room(now)?;
        }
        if self.bucket.is_ready(now) {
            return Ok(());
        }
        self.limited = true;
        if let Law::Window(window) = &mut self.law {
            window.limit();
        }
        Err(self.bucket.ready_at())
    }

    /// A packet of `len` bytes is sent, whether it may be or not.
    pub fn sent(&mut self, now: Instant, len: usize) {
        if now >= self.next_tick {
            self.tick(now);
        }
        self.bucket.take(now, len);
        // Bounded, so that the sum of 32 of them fits.
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(1 << 20);
        self.length = self.length - (self.length >> LENGTHS_SHIFT) + len;
        if let Law::Window(window) = &mut self.law {
            window.sent(now);
        }
    }

    /// An update has come: the level at the other end.
    pub fn update(&mut self, now: Instant, level: u16) {
        self.tick(now);
        let length = self.length();
        if let Law::Rate(rate) = &mut self.law {
            rate.update(now, level, length);
            self.refill(now);
        }
    }

    /// A report has come: the other end has had so many packets with marks of this sum, modulo 2³². If it answers a
    /// question, `answer` is what [`ask`](Self::ask) returned.
    pub fn report(&mut self, now: Instant, delivered: u32, marks: u32, answer: Option<u32>) {
        let length = self.length();
        if let Law::Window(window) = &mut self.law {
            window.report(now, delivered, marks, answer, length);
            self.refill(now);
        }
    }

    /// What was sent of late went a way that is gone, and what follows goes another: nothing is waited for that was in flight there,
    /// and the window is what it would be after the wait. A rate waits for nothing, and stays.
    pub fn handle_path_change(&mut self, now: Instant) {
        if let Law::Window(window) = &mut self.law {
            window.handle_path_change(now);
            self.refill(now);
        }
    }

    /// Returns the number of packets sent, modulo 2³², if the receiver is to be asked for a report. The question has to
    /// go the way of the packets, after them.
    pub fn ask(&mut self, now: Instant) -> Option<u32> {
        match &mut self.law {
            Law::Window(window) => window.ask(now).then(|| window.sent_packets()),
            Law::Rate(_) | Law::Off => None,
        }
    }

    /// Bytes per second that the flow may send; `u64::MAX` without congestion avoidance.
    pub fn rate(&self) -> u64 {
        match &self.law {
            Law::Off => u64::MAX,
            Law::Rate(rate) => rate.bytes_per_second(),
            Law::Window(window) => {
                window.rate().map_or(Self::INITIAL_RATE, |rate| ((rate * self.length()) as u64).max(1))
            }
        }
    }

    /// Current phase.
    pub fn phase(&self) -> Phase {
        match &self.law {
            Law::Off => Phase::Off,
            Law::Rate(rate) => match rate.stage() {
                Stage::SlowStart(_) => Phase::SlowStart,
                Stage::Clear(_) | Stage::Silent => Phase::Increase,
                Stage::Marked(_) => Phase::Decrease,
            },
            Law::Window(window) if window.is_slow_start() => Phase::SlowStart,
            Law::Window(window) if window.mark() > 0.0 => Phase::Decrease,
            Law::Window(_) => Phase::Increase,
        }
    }

    /// About the sum of the marks of 32 packets, as far as is known; 0 once that is old.
    pub fn level(&self) -> u16 {
        match &self.law {
            Law::Off => 0,
            Law::Rate(rate) => rate.level(),
            Law::Window(window) => (32.0 * window.mark()) as u16,
        }
    }

    /// The mean length of packets, bytes.
    fn length(&self) -> f64 {
        f64::from(self.length.max(1)) / f64::from(1 << LENGTHS_SHIFT)
    }

    fn tick(&mut self, now: Instant) {
        self.next_tick = now + TICK;
        let limited = core::mem::take(&mut self.limited);
        match &mut self.law {
            Law::Off => self.next_tick = Instant::FAR_FUTURE,
            Law::Window(_) => {}
            Law::Rate(rate) => {
                rate.advance(now, limited);
                self.refill(now);
            }
        }
    }

    /// The bucket fills at the rate.
    fn refill(&mut self, now: Instant) {
        let rate = match &self.law {
            Law::Window(window) => window.pace().map_or(Self::INITIAL_RATE, |pace| (pace * self.length()) as u64),
            Law::Rate(_) | Law::Off => self.rate(),
        };
        // What was earned before a late timer came may go at once.
        self.bucket.set(now, rate, BURST + rate / 1_000_000 * LATENESS.as_micros() as u64);
    }
}
