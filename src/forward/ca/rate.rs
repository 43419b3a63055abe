//! The control law: from updates to a rate. The module above says why it is as it is.

use core::time::Duration;

use crate::base::time::Instant;

/// At the start of a flow, bytes per second.
pub(super) const INITIAL: f64 = 1e6;
/// The bounds of the rate, bytes per second.
const MIN: f64 = 2e3;
const MAX: f64 = 100e9;
/// The rate that is taken for neither fast nor slow, bytes per second: octaves are counted from here.
const PIVOT: f64 = 12.5e6;

/// Growth before the first update, per second: twofold every 44 ms, and after a third of a second (and a gigabit per
/// second) as a power of the time, because updates may be late: on a slow path a queue takes seconds to come through.
const SLOW_START: f64 = 16.0;
const SLOW_START_SECONDS: f64 = 0.3;
const SLOW_START_POWER: f64 = 2.0;
/// Growth while there is no queue, per second: at the pivot, what is added per octave below it, and the least.
const GROWTH: f64 = 2.0;
const GROWTH_PER_OCTAVE: f64 = 0.5;
const GROWTH_LEAST: f64 = 0.5;
/// And so many times more for each second that there has been none.
const GROWTH_PER_SECOND: f64 = 6.0;
/// Growth while nothing is heard after a queue was, per second: its end was told and the update lost, or else they are
/// stuck in it.
const SILENT_GROWTH: f64 = 0.5;
/// The longest time for which it grows at once.
const LONGEST_STEP: Duration = Duration::from_millis(100);
/// The rate halves with each second in which nothing is sent, down to [`INITIAL`].
const FORGETTING: Duration = Duration::from_secs(1);

/// A round lasts at least this long, and until an update.
const ROUND: Duration = Duration::from_millis(10);
/// The time constant with which the rate follows its aim, seconds.
const INERTIA: f64 = 0.015;
/// The aim of a flow at the pivot that meets no queue, as a share of what is delivered.
const LIFT: f64 = 1.165;
/// What is added per octave below the pivot, and taken away per mark.
const PER_OCTAVE: f64 = 0.09;
const PER_MARK: f64 = 0.04;
/// The bounds of the aim: as deep as [`DEEP`] for the fast, who make room for the others, and for the very slow.
const MOST: f64 = 1.3;
const LEAST: f64 = 0.9;
const DEEP: f64 = 0.84;
const FAST: f64 = 2.5;
const SLOW: f64 = 6.0;
const SLOW_PER_OCTAVE: f64 = 0.06;
/// The bounds of one step: a lost update makes the delivered rate look like half of what it is.
const STEP: core::ops::RangeInclusive<f64> = 0.8..=1.4;

/// What slow start left too high comes down faster, but not at once: it may be a lost update.
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
/// What a round is taken to last before there was one.
const FIRST_ROUND: Duration = Duration::from_millis(125);

/// How fast a flow may send, and what it has heard of the queues.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    bytes_per_second: f64,
    stage: Stage,
    level: u16,
    heard_at: Instant,
    advanced_at: Instant,
    /// The flow would have sent more, since the rate was last decided about.
    limited: bool,
    /// How long the last round was.
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

/// What has been heard in a round.
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
                self.growth(clear)
            }
            Stage::Silent => SILENT_GROWTH,
            Stage::Marked(_) => return,
        };
        self.set(self.bytes_per_second * (1.0 + growth * seconds));
    }

    /// Growth after so many seconds without a queue, per second.
    fn growth(&self, clear: f64) -> f64 {
        let base = (GROWTH + GROWTH_PER_OCTAVE * octaves(self.bytes_per_second)).max(GROWTH_LEAST);
        (base * (1.0 + clear * GROWTH_PER_SECOND)).min(SLOW_START)
    }

    /// What was heard and made use of long ago says nothing about now.
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
        let aim = delivered * aim(octaves(self.bytes_per_second), round.marks / f64::from(round.packets));
        if round.after_slow_start {
            self.set(aim.clamp(self.bytes_per_second * AFTER_SLOW_START, self.bytes_per_second));
        } else if self.limited || aim < self.bytes_per_second {
            let step = (aim / self.bytes_per_second).clamp(*STEP.start(), *STEP.end());
            let weight = seconds / (INERTIA + seconds);
            self.set(self.bytes_per_second * (1.0 + weight * (step - 1.0)));
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
        let unmarked = (0..packets).fold(before, |level, _| level - (level >> 5));
        let mark = f64::from(level.saturating_sub(unmarked)) / gain;
        self.packets += packets;
        self.marks += mark * f64::from(packets);
    }
}

/// What a flow should send, as a share of what it gets delivered: less the longer the queue is, more the slower it is.
fn aim(octaves: f64, mark: f64) -> f64 {
    let fast = LEAST - PER_OCTAVE * (FAST - octaves).max(0.0);
    let slow = LEAST - SLOW_PER_OCTAVE * (octaves - SLOW).max(0.0);
    let least = fast.max(DEEP).min(slow.max(DEEP / 2.0));
    (LIFT + PER_OCTAVE * octaves - PER_MARK * mark).clamp(least, MOST)
}

/// How many octaves a rate is below the pivot, about: the logarithm is drawn straight between powers of two.
fn octaves(rate: f64) -> f64 {
    log2(PIVOT) - log2(rate)
}

fn log2(x: f64) -> f64 {
    const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
    (x.to_bits() as f64) / (1_u64 << MANTISSA) as f64
}
