//! BBR.

use super::{Ack, Controller, Loss, MIN_SEGMENT, initial_window, rate_of};
use crate::base::time::Instant;
use crate::frct::filter::Filter;

/// Gains, 1/256: 2/ln 2 to double every round, its inverse, twice the model for acknowledgements that come late.
const HIGH: u64 = 739;
const DRAIN: u64 = 88;
const WINDOW: u64 = 512;
/// One phase to probe for more, one to give it back, six to cruise.
const CYCLE: [u64; 8] = [320, 192, 256, 256, 256, 256, 256, 256];
/// Rounds over which the greatest rate is believed.
const RATE_LIFE: u64 = 10;
/// How long the least round-trip time is believed, and how long the flow holds back to measure it anew, nanoseconds.
const MIN_RTT_LIFE: u64 = 10_000_000_000;
const PROBE_RTT: u64 = 200_000_000;
/// The window never falls below so many segments.
const FLOOR: u64 = 4;
/// Of what arrives and is lost in a round, the share whose loss is congestion, 1/256: one in five where there is a queue,
/// one in three where none is seen.
const HEAVY: u64 = 51;
const HEAVY_IDLE: u64 = 85;
/// Less than this is no queue, nanoseconds.
const DELAY_NONE: u64 = 2_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Doubles until the rate no longer grows.
    Startup,
    /// Empties the queue that made.
    Drain,
    /// In this phase of the cycle since then.
    Cruise(usize, Instant),
    /// Holds back until then, once little is in flight.
    ProbeRtt(Option<Instant>),
}

/// BBR (Cardwell, Cheng, Gunn, Yeganeh, Jacobson 2016), version 1 with what version 2 does gentler: holding back for
/// a new least round-trip time leaves half a path's worth in flight, and loss beyond one in five is answered, one in
/// three where no queue is seen.
///
/// It models the path, by the greatest rate of delivery and the least round-trip time, and sends at that rate with no
/// more than twice their product in flight. Loss that leaves the rate as it is changes nothing: that is its use, on
/// paths that lose for other reasons than congestion, and its price. Beside flows that answer to loss it takes more
/// than its share where queues are short, and several of it keep a standing queue of up to a round trip.
#[derive(Debug)]
pub struct Bbr {
    segment: u64,
    window: u64,
    begun: bool,
    phase: Phase,
    rate: Filter,
    rounds: u64,
    next_round: u64,
    round_start: bool,
    min_rtt: u64,
    min_rtt_at: Instant,
    /// The greatest rate at the last look, and rounds without growth since; `filled`: enough of them.
    full_rate: u64,
    full_rounds: u32,
    filled: bool,
    /// Bytes lost and bytes delivered in this round, and what heavy loss leaves of the window.
    lost: u64,
    arrived: u64,
    cap: u64,
    /// The shortest round-trip time of this round, and what was lost of late while there was no queue, 1/256.
    round_rtt: u64,
    chance: u64,
}

impl Bbr {
    /// A controller for a new flow.
    pub fn new() -> Self {
        Self {
            segment: MIN_SEGMENT,
            window: initial_window(MIN_SEGMENT),
            begun: false,
            phase: Phase::Startup,
            rate: Filter::default(),
            rounds: 0,
            next_round: 0,
            round_start: false,
            min_rtt: 0,
            min_rtt_at: Instant::ZERO,
            full_rate: 0,
            full_rounds: 0,
            filled: false,
            lost: 0,
            arrived: 0,
            cap: u64::MAX,
            round_rtt: u64::MAX,
            chance: 0,
        }
    }

    /// What the path holds, times `gain`.
    fn model(&self, gain: u64) -> u64 {
        // 128 bits: a rate of gigabytes a second times nanoseconds of a long path does not fit into 64.
        let product = u128::from(self.rate.get()) * u128::from(self.min_rtt) / 1_000_000_000 * u128::from(gain) / 256;
        u64::try_from(product).unwrap_or(u64::MAX)
    }

    fn gains(&self) -> (u64, u64) {
        match self.phase {
            Phase::Startup => (HIGH, HIGH),
            Phase::Drain => (DRAIN, HIGH),
            // What is lost by chance does not arrive: without it more arrives only if as much more is sent.
            Phase::Cruise(0, _) => (CYCLE[0] * 256 / (256 - self.chance.min(HEAVY_IDLE)), WINDOW),
            Phase::Cruise(at, _) => (CYCLE.get(at).copied().unwrap_or(256), WINDOW),
            Phase::ProbeRtt(_) => (256, 128),
        }
    }

    fn on_round(&mut self, app_limited: bool) {
        let share = self.lost.saturating_mul(256).checked_div(self.lost + self.arrived).unwrap_or(0);
        let delay = core::mem::replace(&mut self.round_rtt, u64::MAX).saturating_sub(self.min_rtt);
        // The shortest round trip of a round shows the standing queue: without one, loss is not caused by this flow.
        let idle = delay <= (self.min_rtt / 8).max(DELAY_NONE);
        self.chance = if idle { (3 * self.chance + share) / 4 } else { 0 };
        if share > if idle { HEAVY_IDLE } else { HEAVY } && self.lost > 4 * self.segment {
            self.cap = (self.window * 7 / 10).max(FLOOR * self.segment);
            self.filled = true;
        // After heavy loss the cap rises by an eighth a round, and is lifted when it is far above the model: then the
        // model bounds.
        } else if self.cap != u64::MAX {
            self.cap = self.cap.saturating_add((self.cap / 8).max(self.segment));
            if self.cap > self.model(WINDOW).saturating_mul(2) {
                self.cap = u64::MAX;
            }
        }
        (self.lost, self.arrived) = (0, 0);
        // A rate that the application kept low says nothing about the path.
        if self.filled || app_limited {
            return;
        }
        // Growth by a quarter is expected as long as the window doubles and the pipe is not full; three rounds without
        // it are enough (version 1).
        if self.rate.get() >= self.full_rate + self.full_rate / 4 {
            self.full_rate = self.rate.get();
            self.full_rounds = 0;
        } else {
            self.full_rounds += 1;
            self.filled = self.full_rounds >= 3;
        }
    }

    fn advance(&mut self, ack: &Ack, stale: bool) {
        let now = ack.now;
        if self.phase == Phase::Startup && self.filled {
            self.phase = Phase::Drain;
        }
        if self.phase == Phase::Drain && ack.in_flight <= self.model(256) {
            self.phase = Phase::Cruise(2, now);
        }
        if let Phase::Cruise(at, since) = self.phase {
            let over = now.nanos_since(since) > self.min_rtt;
            let next = match at {
                // Probing lasts until its load was in flight for a round trip, or was too much.
                0 => over && (self.lost > 0 || ack.in_flight >= self.model(320)),
                // The queue that probing made is given back: as soon as the flight is what the path holds.
                1 => over || ack.in_flight <= self.model(256),
                _ => over,
            };
            if next {
                self.phase = Phase::Cruise((at + 1) % CYCLE.len(), now);
            }
        }
        match self.phase {
            Phase::ProbeRtt(None) if ack.in_flight <= self.model(128).max(FLOOR * self.segment) => {
                let wait = PROBE_RTT.max(self.min_rtt);
                self.phase = Phase::ProbeRtt(Some(Instant::from_nanos(now.as_nanos().saturating_add(wait))));
            }
            Phase::ProbeRtt(Some(until)) if now >= until => {
                // No shorter one was found while little was in flight: the old minimum stands for another ten seconds.
                self.min_rtt_at = now;
                self.phase = if self.filled { Phase::Cruise(2, now) } else { Phase::Startup };
            }
            Phase::ProbeRtt(_) => {}
            _ if stale => self.phase = Phase::ProbeRtt(None),
            _ => {}
        }
    }
}

impl Default for Bbr {
    fn default() -> Self {
        Self::new()
    }
}

impl Controller for Bbr {
    fn on_segment(&mut self, bytes: u64) {
        self.segment = self.segment.max(bytes);
        if !self.begun {
            self.window = initial_window(self.segment);
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.begun = true;
        self.arrived += ack.bytes;
        self.round_start = ack.prior_delivered >= self.next_round;
        if self.round_start {
            self.next_round = ack.delivered;
            self.rounds += 1;
        }
        self.round_rtt = self.round_rtt.min(ack.rtt.unwrap_or(u64::MAX));
        let mut app_limited = !ack.limited;
        if let Some((rate, held_back)) = ack.rate {
            app_limited = held_back;
            // An application-limited sample is a lower bound of the rate, worth noting only if it raises the maximum.
            if !held_back || rate >= self.rate.get() {
                self.rate.update(self.rounds, rate, RATE_LIFE, |a, b| a >= b);
            }
        }
        // After the rate was updated: whether the pipe is full is judged by what this round has shown, too.
        if self.round_start {
            self.on_round(app_limited);
        }
        let old = ack.now.nanos_since(self.min_rtt_at) > MIN_RTT_LIFE;
        let stale = old && self.min_rtt != 0;
        if let Some(rtt) = ack.rtt
            && (self.min_rtt == 0 || rtt <= self.min_rtt || old)
        {
            self.min_rtt = rtt.max(1);
            self.min_rtt_at = ack.now;
        }
        self.advance(ack, stale);
        let (_, gain) = self.gains();
        let target = self.model(gain).saturating_add(3 * self.segment).min(self.cap);
        let grown = self.window.saturating_add(ack.bytes);
        self.window = match self.phase {
            Phase::ProbeRtt(_) => self.window.min(target),
            _ if self.filled => grown.min(target),
            // Before the pipe is full the window only grows: the model is still too low (version 1).
            _ if self.window < target || ack.delivered < initial_window(self.segment) => grown,
            _ => self.window,
        }
        .max(FLOOR * self.segment);
    }

    fn on_loss(&mut self, loss: &Loss) {
        self.lost += loss.bytes;
        // Other loss is judged once a round. After a silence the window begins anew, but the model stays and lets it grow
        // back.
        if loss.silence {
            self.window = FLOOR * self.segment;
        }
    }

    fn on_spurious(&mut self) {}

    fn on_idle(&mut self) {}

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self, srtt: u64) -> u64 {
        let (gain, _) = self.gains();
        match self.rate.get() {
            0 => rate_of(self.window, srtt, 12),
            rate if self.filled => rate.saturating_mul(gain) / 256,
            rate => (rate.saturating_mul(gain) / 256).max(rate_of(initial_window(self.segment), srtt, 12)),
        }
        // A rate of nothing would never be corrected.
        .max(self.segment)
    }
}
