//! A sender whose receiver tells only of marks, as a reference does: a rate.

use core::time::Duration;

use super::law::{self, FORGETTING};
use crate::base::time::Instant;

/// At the start of a flow, bytes per second.
pub(super) const INITIAL: f64 = 1e6;
/// The bounds of the rate, bytes per second.
const MIN: f64 = 2e3;
const MAX: f64 = 100e9;
/// Growth before the first update, per second: twofold every 44 ms, and after a third of a second (and a gigabit per
/// second) as a power of the time, because updates may be late: on a slow path a queue takes seconds to come through.
const SLOW_START: f64 = 16.0;
const SLOW_START_SECONDS: f64 = 0.3;
const SLOW_START_POWER: f64 = 2.0;
/// Growth while there is no queue, per second, and so many times more for each second that there has been none.
const GROWTH: f64 = 2.0;
const GROWTH_PER_SECOND: f64 = 6.0;
/// Growth while nothing is heard after a queue was, per second: its end was told and the update lost, or else they are
/// stuck in it.
const SILENT_GROWTH: f64 = 0.5;
/// The longest time for which it grows at once.
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// A round lasts at least this long, and until an update.
const ROUND: Duration = Duration::from_millis(10);
/// Reduction for each mark above the target, as a part of the delivered rate: the capacity of the path is not known
/// here.
const PER_MARK: f64 = 0.06;
/// The bounds of the aim, as a share of what is delivered; a lost update makes it look like half of what it is.
const AIM: core::ops::RangeInclusive<f64> = 0.85..=1.15;

/// Reduction after slow start: faster than usual, but not at once, because it may be a lost update.
const AFTER_SLOW_START: f64 = 0.25;

/// Marked packets from one update to the next, and what a mark of 1 on each of them adds to the level.
const PERIOD: u32 = 8;
const PERIOD_GAIN: f64 = 7.18;
/// The same from the first update of an episode to the second.
const SECOND: u32 = 2;
const SECOND_GAIN: f64 = 1.97;
/// The level that the largest marks lead to.
const MAX_LEVEL: u16 = 8160;

/// An update is believed for so many rounds, and at least for [`STALE`].
const STALE_ROUNDS: u32 = 8;
const STALE: Duration = Duration::from_millis(250);
/// Assumed length of a round before the first one.
const FIRST_ROUND: Duration = Duration::from_millis(125);

/// Sending rate of a flow, and its history of marks.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    bytes_per_second: f64,
    stage: Stage,
    level: u16,
    heard_at: Instant,
    advanced_at: Instant,
    /// The flow would have sent more, since the rate was last decided about.
    limited: bool,
    /// Length of the last round.
    round: Duration,
}

#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Nothing was ever heard; the rate has grown for so many seconds.
    SlowStart(f64),
    /// There is no queue, since then.
    Clear(Instant),
    /// The last word was of a queue, but that was long ago.
    Silent,
    /// Packets arrive marked.
    Marked(Round),
}

/// Feedback of one round.
#[derive(Clone, Debug)]
pub(super) struct Round {
    began_at: Instant,
    /// Packets that have arrived.
    packets: u32,
    /// The sum of their marks.
    marks: f64,
    /// Updates since packets began to be marked.
    updates: u32,
    /// The rate is that of slow start, and may be far off.
    after_slow_start: bool,
}

impl Rate {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            bytes_per_second: INITIAL,
            stage: Stage::SlowStart(0.0),
            level: 0,
            heard_at: now,
            advanced_at: now,
            limited: false,
            round: FIRST_ROUND,
        }
    }

    pub(super) const fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second as u64
    }

    pub(super) const fn stage(&self) -> &Stage {
        &self.stage
    }

    pub(super) const fn level(&self) -> u16 {
        self.level
    }

    /// The flow sends, and had to wait for it if `limited`: grows with the time since it last did.
    pub(super) fn advance(&mut self, now: Instant, limited: bool) {
        let elapsed = now.since(self.advanced_at);
        self.advanced_at = now;
        self.limited |= limited;
        self.forget(now, elapsed);
        // A rate that was not used up has not been tested, and does not grow.
        if !limited || elapsed >= FORGETTING {
            return;
        }
        let seconds = elapsed.min(LONGEST_STEP).as_secs_f64();
        let growth = match &mut self.stage {
            Stage::SlowStart(grown) => {
                *grown += seconds;
                if *grown < SLOW_START_SECONDS { SLOW_START } else { SLOW_START_POWER / *grown }
            }
            Stage::Clear(since) => {
                let clear = now.since(*since).as_secs_f64();
                (GROWTH * (1.0 + clear * GROWTH_PER_SECOND)).min(SLOW_START)
            }
            Stage::Silent => SILENT_GROWTH,
            Stage::Marked(_) => return,
        };
        self.set(self.bytes_per_second * (1.0 + growth * seconds));
    }

    /// Forgets a rate that was learnt, or used, long ago.
    fn forget(&mut self, now: Instant, idle: Duration) {
        let silence = now.since(self.heard_at);
        if matches!(self.stage, Stage::Marked(_)) && silence > STALE.max(self.round * STALE_ROUNDS) {
            self.level = 0;
            self.stage = Stage::Silent;
        }
        if idle >= FORGETTING && self.bytes_per_second > INITIAL {
            let halvings = (idle.as_nanos() / FORGETTING.as_nanos()).min(30);
            self.set((self.bytes_per_second / f64::from(1_u32 << halvings)).max(INITIAL));
        }
    }

    /// The receiver says that its level is `level`. `packet` is the mean length of the flow's packets, bytes.
    pub(super) fn update(&mut self, now: Instant, level: u16, packet: f64) {
        let before = core::mem::replace(&mut self.level, level.min(MAX_LEVEL));
        self.heard_at = now;
        match &mut self.stage {
            // Growth is measured from the first word that the queue is gone.
            Stage::Clear(_) if level == 0 => {}
            _ if level == 0 => self.stage = Stage::Clear(now),
            Stage::Marked(round) => {
                round.hear(before, self.level);
                let length = now.since(round.began_at);
                if round.updates >= 2 && length >= ROUND {
                    let next = Round { updates: round.updates, ..Round::new(now, false) };
                    let round = core::mem::replace(round, next);
                    self.decide(round, length, packet);
                }
            }
            stage => {
                let first = matches!(stage, Stage::SlowStart(_));
                *stage = Stage::Marked(Round::new(now, first));
                // The news is a round trip old, and the rate has grown all that time.
                if first {
                    self.set(self.bytes_per_second / 2.0);
                }
            }
        }
    }

    /// A round of this length is over: follows what was delivered in it.
    fn decide(&mut self, round: Round, length: Duration, packet: f64) {
        self.round = length;
        let seconds = length.as_secs_f64();
        let delivered = f64::from(round.packets) * packet / seconds;
        let mark = round.marks / f64::from(round.packets);
        let aim = 1.0 + PER_MARK * (law::target(self.bytes_per_second) - mark);
        let aim = delivered * aim.clamp(*AIM.start(), *AIM.end());
        if round.after_slow_start {
            self.set(aim.clamp(self.bytes_per_second * AFTER_SLOW_START, self.bytes_per_second));
        } else if self.limited || aim < self.bytes_per_second {
            let step = law::bounded(aim / self.bytes_per_second - 1.0, seconds);
            self.set(self.bytes_per_second * (1.0 + step));
        }
        self.limited = false;
    }

    fn set(&mut self, bytes_per_second: f64) {
        self.bytes_per_second = bytes_per_second.clamp(MIN, MAX);
    }
}

impl Round {
    const fn new(now: Instant, after_slow_start: bool) -> Self {
        Self { began_at: now, packets: 0, marks: 0.0, updates: 0, after_slow_start }
    }

    /// Another update: the cadence tells how many packets have arrived, the levels what marks they had.
    fn hear(&mut self, before: u16, level: u16) {
        self.updates = self.updates.saturating_add(1);
        let (packets, gain) = if self.updates == 1 { (SECOND, SECOND_GAIN) } else { (PERIOD, PERIOD_GAIN) };
        // The level that these packets would have led to without marks: what is above it comes from theirs.
        let unmarked = (0..packets).fold(before, |level, _| level - (level >> 5));
        let mark = f64::from(level.saturating_sub(unmarked)) / gain;
        self.packets += packets;
        self.marks += mark * f64::from(packets);
    }
}
