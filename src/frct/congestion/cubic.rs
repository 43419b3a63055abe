//! CUBIC.

use alloc::boxed::Box;

use super::{Ack, Controller, Loss, MIN_SEGMENT, initial_window, rate_of};
use crate::base::time::Instant;

/// The window never falls below so many segments.
const FLOOR: u64 = 2;
/// What is left of the window on loss, 1/1024: of a large one (RFC 9438), of one of no size, with those between in
/// proportion, and where there is no queue.
const BETA: u64 = 717;
const BETA_LEAST: u64 = 256;
const BETA_RANDOM: u64 = 870;
/// From so many segments on a window is large.
const LARGE: u64 = 384;
/// What a flow whose window is not large lets go of for good with each loss, and one that lost below its last plateau:
/// the new plateau is this part of the window that was too much, 1/1024.
const LET_GO: u64 = 792;
const LET_GO_LARGE: u64 = (1024 + BETA) / 2;
/// Growth of the Reno-friendly window, segments a round trip, thousandths: 3 (1 - beta) / (1 + beta).
const ALPHA: u64 = 529;
/// Below so many segments the Reno-friendly window grows more slowly, in proportion to the window; below so many the
/// curve is flatter, likewise.
const FRIENDLY: u64 = 8;
const SMALL: u64 = 16;
/// A round must have so many samples before its delay counts (RFC 9406).
const SAMPLES: u32 = 8;
/// The delay that ends slow start lies within, nanoseconds (RFC 9406).
const DELAY_MIN: u64 = 4_000_000;
const DELAY_MAX: u64 = 16_000_000;
/// Less than this is no queue, nanoseconds.
const DELAY_NONE: u64 = 1_000_000;
/// So many samples show a queue that is as long as the path.
const SURE: u32 = 3;
/// Packets of one burst that arrive so far apart, nanoseconds, came through a slow link.
const SLOW_LINK: u64 = 500_000_000;
/// How much slower than slow start conservative slow start is, and for how many rounds (RFC 9406).
const CSS_DIVISOR: u64 = 4;
const CSS_ROUNDS: u32 = 5;
/// The window grows by this part of itself and a segment a round trip at most: where a round trip takes seconds, the
/// curve would pass what the path holds by half before the first loss is heard of.
const STEEPEST: u64 = 20;
/// A time in milliseconds since the last event beyond which the curve is not followed.
const HORIZON: i64 = 60_000;

/// What a spurious event is undone to.
#[derive(Clone, Copy, Debug)]
struct Curve {
    window: u64,
    threshold: u64,
    w_max: u64,
    w_est: u64,
    /// When the present curve began; `None`: with the next acknowledgement.
    epoch: Option<Instant>,
    /// Milliseconds from then to the plateau.
    k: i64,
    /// How steep it is, of [`SMALL`].
    steepness: u64,
}

/// HyStart++: the delay of this and of the last round.
#[derive(Clone, Copy, Debug)]
struct Start {
    last_min: u64,
    this_min: u64,
    samples: u32,
    /// Conservative slow start: the delay that began it, and rounds since.
    conservative: Option<(u64, u32)>,
}

/// CUBIC (RFC 9438) with HyStart++ (RFC 9406), paced, in bytes, and gentler than the RFC where windows are small.
///
/// # Why it is stable
///
/// A large window is CUBIC's: it is given up to 0.7 on loss and follows a curve in time, not in round trips, whose
/// stability and fairness are those of RFC 9438 (Ha, Rhee, Xu 2008). What is added:
///
/// - *Small windows.* A flow with the window `w` that grows by `a` segments a round trip and keeps the share `b` on loss
///   settles where one packet in `2 (1 - b) w² / (a (1 + b))` is lost. With the `a` and `b` of TCP that is one in five
///   at three segments: many flows on a thin link would lose a fifth of everything. So below 8 segments `a` shrinks in
///   proportion to the window, below 16 the curve flattens likewise, and `b` falls from 0.7 at 384 segments towards 0.25.
///   All three only take less than the RFC allows, so a set of such flows is bounded by what it proves; and because
///   windows still grow by a part of a segment and shrink in proportion, they still converge to equal shares.
/// - *Room.* A flow that gives up more than half of a small window leaves places in the queue, so that a newcomer, or a
///   flow whose only packet was lost, finds one. With 0.7 the queue is full at any moment and shuts them out.
/// - *Convergence.* Paced packets take the places of those that left, so a full queue refuses what windows have grown by: it
///   hits a flow in proportion to its growth, not to its share. And with a plateau where it lost last a flow regrows by
///   what it lost, so that any two shares would persist. Below 384 segments each loss therefore lowers the plateau by a
///   fifth, not only a second one in a row: a flow keeps its share no longer than a few losses.
/// - *Yielding to bursts.* Paced packets hardly ever find the last place taken, those of a TCP that acknowledges every
///   second packet do. Windows from 16 segments on open by two packets, too.
/// - *No queue, no congestion.* If the shortest round trips of the last two rounds show no queue, 0.85 is kept, and the
///   growth is not reduced: twice what TCP would take of a path that loses by chance, no more, because a short queue
///   that overflows looks the same. Who wants all of such a path chooses [`Bbr`](super::Bbr).
/// - *Slow start* ends, besides as RFC 9406 has it, when a queue is as long as the path, and when the first packets queue
///   behind each other for half a second: the link is slow. A round trip adds at most a twentieth to the window
///   afterwards, because the curve knows time only, and where a round trip takes seconds it would add half.
///
/// What it achieves is the table of the test target `congestion`.
#[derive(Debug)]
pub struct Cubic {
    segment: u64,
    curve: Curve,
    /// Present since the first loss, until that was spurious.
    before: Option<Box<Curve>>,
    start: Start,
    /// Something has arrived: the window is no longer the initial one.
    begun: bool,
    /// Growth not yet worth a byte.
    credit: u64,
    /// The shortest round-trip time of this and of the last round, and of the last seconds.
    round: (u64, u64),
    least: u64,
}

impl Cubic {
    /// A controller for a new flow.
    pub fn new() -> Self {
        let window = initial_window(MIN_SEGMENT);
        Self {
            segment: MIN_SEGMENT,
            curve: Curve { window, threshold: u64::MAX, w_max: 0, w_est: 0, epoch: None, k: 0, steepness: SMALL },
            before: None,
            start: Start { last_min: u64::MAX, this_min: u64::MAX, samples: 0, conservative: None },
            begun: false,
            credit: 0,
            round: (u64::MAX, 0),
            least: 0,
        }
    }

    /// Returns `true` if there is no queue that could overflow, unless it is so short that it hardly delays anybody:
    /// the shortest round trips of the last two rounds are the shortest of all. For small windows that has to be
    /// clearer, because among many of them the queue is always full, and its delay nearly the same.
    fn is_idle(&self) -> bool {
        let this = if self.round.0 == u64::MAX { 0 } else { self.round.0 };
        let delay = this.max(self.round.1).saturating_sub(self.least);
        let most = match self.curve.window >= SMALL * self.segment {
            true => (self.least / 16).max(DELAY_NONE),
            false => (self.least / 64).max(DELAY_NONE / 4),
        };
        delay < most
    }

    /// 1/1024 of the window that are left after a loss.
    fn beta(&self) -> u64 {
        let segments = self.curve.window / self.segment;
        match () {
            () if self.is_idle() => BETA_RANDOM,
            () if segments < LARGE => BETA_LEAST + (BETA - BETA_LEAST) * segments / LARGE,
            () => BETA,
        }
    }

    fn floor(&self) -> u64 {
        FLOOR * self.segment
    }

    fn in_slow_start(&self) -> bool {
        self.curve.window < self.curve.threshold
    }

    /// Looks whether a queue builds up in slow start.
    fn watch_delay(&mut self, ack: &Ack) {
        let start = &mut self.start;
        if ack.round {
            if start.samples > 0 {
                start.last_min = start.this_min;
            }
            start.this_min = u64::MAX;
            start.samples = 0;
            if let Some((_, rounds)) = &mut start.conservative {
                *rounds += 1;
                if *rounds > CSS_ROUNDS {
                    self.curve.threshold = self.curve.window;
                    return;
                }
            }
        }
        let Some(rtt) = ack.rtt else { return };
        start.this_min = start.this_min.min(rtt);
        start.samples += 1;
        // The first packets queue behind each other for long: the link is slow, and they were more than it holds.
        if start.last_min == u64::MAX {
            if rtt > self.least.saturating_mul(4) && rtt - self.least > SLOW_LINK {
                let held = self.curve.window.saturating_mul(2).saturating_mul(self.least / 1_000_000);
                self.curve.window = (held / (rtt / 1_000_000)).max(self.floor());
                self.curve.threshold = self.curve.window;
            }
            return;
        }
        // A queue that is as long as the path is none to be taken for chance, nor one of a quarter that lasts.
        let queue = start.this_min.saturating_sub(self.least);
        let long = if start.samples < SAMPLES { self.least } else { self.least / 4 };
        if queue >= long.max(DELAY_MAX) && start.samples >= SURE {
            self.curve.threshold = self.curve.window;
            return;
        }
        if start.samples < SAMPLES {
            return;
        }
        match start.conservative {
            None => {
                let bound = (start.last_min / 8).clamp(DELAY_MIN, DELAY_MAX);
                if start.this_min >= start.last_min.saturating_add(bound) {
                    start.conservative = Some((start.this_min, 0));
                }
            }
            // The delay was no queue.
            Some((baseline, _)) if start.this_min < baseline => start.conservative = None,
            Some(_) => {}
        }
    }

    /// The window the curve has a round trip from now.
    fn cubic(&self, now: Instant, rtt: u64) -> u64 {
        let curve = &self.curve;
        let elapsed = curve.epoch.map_or(0, |at| now.nanos_since(at)).saturating_add(rtt);
        let t = i64::try_from(elapsed / 1_000_000).unwrap_or(HORIZON).min(HORIZON) - curve.k;
        // 0.4 segments a second cubed.
        let cube = t.unsigned_abs().pow(3) / 1000 * self.segment * 2 / 5_000_000 * self.curve.steepness / SMALL;
        if t < 0 { curve.w_max.saturating_sub(cube) } else { curve.w_max.saturating_add(cube) }
    }

    fn avoid(&mut self, ack: &Ack) {
        if self.curve.epoch.is_none() {
            let behind = self.curve.w_max.saturating_sub(self.curve.window);
            self.curve.epoch = Some(ack.now);
            // Milliseconds: 1000 * cbrt(segments / 0.4) = cbrt(segments * 2.5e9).
            self.curve.w_max = self.curve.w_max.max(self.curve.window);
            let segments = self.curve.w_max / self.segment;
            self.curve.steepness = if self.is_idle() { SMALL } else { segments.clamp(1, SMALL) };
            self.curve.k =
                cube_root(behind.saturating_mul(2_500_000_000) / self.segment * SMALL / self.curve.steepness) as i64;
            self.curve.w_est = self.curve.window;
        }
        let window = self.curve.window.max(1);
        let target = self.cubic(ack.now, ack.min_rtt).clamp(window, window + window / STEEPEST + self.segment);
        self.grow_estimate(ack.bytes);
        if self.curve.w_est > target {
            self.curve.window = self.curve.w_est.max(window);
            return;
        }
        // In bytes times the window, so that growth by less than a byte is not lost.
        self.credit += (target - window).saturating_mul(ack.bytes);
        self.curve.window += self.credit / window;
        self.credit %= window;
    }

    /// The window that a Reno sender with the same mean would have.
    fn grow_estimate(&mut self, bytes: u64) {
        let idle = self.is_idle();
        let curve = &mut self.curve;
        let alpha = if curve.w_est >= curve.w_max { 1000 } else { ALPHA };
        let full = FRIENDLY * self.segment;
        let alpha = if idle || curve.w_est >= full { alpha } else { alpha * curve.w_est / full };
        curve.w_est += alpha * bytes / 1000 * self.segment / curve.w_est.max(1);
    }
}

impl Default for Cubic {
    fn default() -> Self {
        Self::new()
    }
}

impl Controller for Cubic {
    fn on_segment(&mut self, bytes: u64) {
        self.segment = self.segment.max(bytes);
        if self.begun {
            self.curve.window = self.curve.window.max(self.floor());
        } else {
            self.curve.window = initial_window(self.segment);
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.begun = true;
        self.least = ack.min_rtt;
        if ack.round {
            self.round = (u64::MAX, if self.round.0 == u64::MAX { self.round.1 } else { self.round.0 });
        }
        self.round.0 = self.round.0.min(ack.rtt.unwrap_or(u64::MAX));
        if self.in_slow_start() {
            self.watch_delay(ack);
        }
        if !ack.limited {
            // Time in which the window was not used is none in which it may grow.
            self.curve.epoch = None;
            return;
        }
        if !ack.current {
            return;
        }
        if self.in_slow_start() {
            let divisor = if self.start.conservative.is_some() { CSS_DIVISOR } else { 1 };
            self.curve.window = (self.curve.window + ack.bytes / divisor).min(self.curve.threshold);
        } else {
            self.avoid(ack);
        }
    }

    fn on_loss(&mut self, loss: &Loss) {
        if !loss.event && !loss.silence {
            return;
        }
        self.begun = true;
        if self.before.is_none() {
            self.before = Some(Box::new(self.curve));
        }
        if loss.silence && self.curve.threshold != u64::MAX && self.in_slow_start() {
            // Broken again before it was found out what it holds: a window that was small for that reason says nothing.
            self.curve.threshold = (self.curve.threshold / 2).max(self.floor());
        } else if loss.event {
            if let Some(before) = &mut self.before {
                **before = self.curve;
            }
            let (window, w_max) = (self.curve.window, self.curve.w_max);
            // Fast convergence: who has to give way twice in a row leaves room for the others. A path that was broken, or
            // has no queue, has no others to leave it to.
            self.curve.w_max = match () {
                () if window < LARGE * self.segment && !loss.silence && !self.is_idle() => window * LET_GO / 1024,
                () if window < w_max => window * LET_GO_LARGE / 1024,
                () => window,
            };
            self.curve.window = (window * self.beta() / 1024).max(self.floor());
            self.curve.threshold = self.curve.window;
            self.curve.epoch = None;
            self.credit = 0;
        }
        if loss.silence {
            self.curve.window = self.floor();
            self.start = Self::new().start;
        }
    }

    fn on_spurious(&mut self) {
        if let Some(before) = self.before.take()
            && before.window > self.curve.window
        {
            self.curve = *before;
        }
    }

    fn on_idle(&mut self) {
        // The restart window of RFC 5681.
        let curve = &mut self.curve;
        curve.threshold = curve.threshold.max(curve.window);
        curve.window = curve.window.min(initial_window(self.segment));
        curve.epoch = None;
    }

    fn window(&self) -> u64 {
        self.curve.window
    }

    fn pacing_rate(&self, srtt: u64) -> u64 {
        // Slow start has to be able to double within a round trip.
        rate_of(self.curve.window, srtt, if self.in_slow_start() { 8 } else { 5 })
    }
}

/// The integer part of the cube root.
fn cube_root(n: u64) -> u64 {
    let (mut root, mut bit) = (0u64, 1 << 21);
    while bit > 0 {
        let next = root | bit;
        if next.checked_pow(3).is_some_and(|cube| cube <= n) {
            root = next;
        }
        bit >>= 1;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::cube_root;

    #[test]
    fn cube_roots() {
        for n in [0, 1, 7, 8, 26, 27, 63, 64, 1_000_000_000, 2_500_000_000 * 4000, u64::MAX] {
            let r = cube_root(n);
            assert!(r.pow(3) <= n && (r + 1).checked_pow(3).is_none_or(|c| c > n), "{n} {r}");
        }
    }
}
