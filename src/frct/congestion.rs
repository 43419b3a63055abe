//! How much may be in flight: a window that answers to loss and delay together.
//!
//! The rule is TCP-Illinois' (Liu, Başar, Srikant 2006). Loss decides *when* the window shrinks, delay decides *how
//! far* and how fast it grows: while no queue shows in the round-trip times, the window grows by ten packets a round
//! and gives up an eighth on loss; with a queue standing it grows by a third of a packet and gives up half. So the
//! random loss of a radio link, with an empty queue, costs little, and the loss that the flow makes itself is
//! answered fully. A floor of [`FLOOR`] packets keeps a flow alive where every round loses something.

/// The window at the start of a flow and after a pause, packets: what the reference sends blindly.
pub(super) const INITIAL: u32 = 64;
/// The window never falls below this, packets.
pub(super) const FLOOR: u32 = 16;

/// Growth per round with an empty queue and with a full one, 1/256 packets.
const GROW_MOST: u64 = 10 * 256;
const GROW_LEAST: u64 = 256 * 3 / 10;
/// Shares of the window given up on loss with an empty queue and with a full one, 1/256.
const CUT_LEAST: u64 = 256 / 8;
const CUT_MOST: u64 = 256 / 2;
/// The least range of queueing delays taken as the full scale, nanoseconds: below, differences are noise.
const SCALE_MIN: u64 = 1_000_000;
/// Slow start ends when the queueing delay passes an eighth of the round-trip time, within these bounds, nanoseconds.
const EXIT_DELAY: core::ops::RangeInclusive<u64> = 4_000_000..=16_000_000;

/// The congestion window of one sender.
#[derive(Debug)]
pub(super) struct Congestion {
    /// `false`: the layer below avoids congestion, the window is unbounded.
    enabled: bool,
    window: u32,
    threshold: u32,
    max: u32,
    /// Growth not yet worth a packet, 1/256 packets times the window.
    credit: u64,
    grow: u64,
    cut: u64,
    rtt_sum: u64,
    rtt_count: u32,
    rtt_max: u64,
    /// The window, not the application, held packets back in this round.
    limited: bool,
}

impl Congestion {
    pub(super) fn new(enabled: bool, max: u32) -> Self {
        Self {
            enabled,
            window: INITIAL,
            threshold: u32::MAX,
            max: max.max(INITIAL),
            credit: 0,
            grow: GROW_MOST,
            cut: CUT_MOST,
            rtt_sum: 0,
            rtt_count: 0,
            rtt_max: 0,
            limited: false,
        }
    }

    /// Packets that may be in flight.
    pub(super) fn window(&self) -> u32 {
        if self.enabled { self.window } else { u32::MAX }
    }

    /// The sender has packets that the window holds back.
    pub(super) fn limited(&mut self) {
        self.limited = true;
    }

    /// A round-trip time was measured.
    pub(super) fn on_rtt(&mut self, nanos: u64) {
        self.rtt_sum = self.rtt_sum.saturating_add(nanos);
        self.rtt_count += 1;
        self.rtt_max = self.rtt_max.max(nanos);
    }

    /// `delivered` more packets have arrived.
    pub(super) fn on_delivered(&mut self, delivered: u32) {
        if !self.enabled || !self.limited {
            return;
        }
        if self.window < self.threshold {
            self.window = self.window.saturating_add(delivered).min(self.max);
            return;
        }
        self.credit += u64::from(delivered) * self.grow;
        let price = u64::from(self.window) * 256;
        if self.credit >= price {
            self.credit -= price;
            self.window = (self.window + 1).min(self.max);
        }
    }

    /// A round trip has passed; `base` is the shortest round-trip time known, nanoseconds.
    pub(super) fn on_round(&mut self, base: u64) {
        self.limited = false;
        if self.rtt_count == 0 {
            return;
        }
        let delay = (self.rtt_sum / u64::from(self.rtt_count)).saturating_sub(base);
        self.rtt_sum = 0;
        self.rtt_count = 0;
        if self.window < self.threshold && delay > (base / 8).clamp(*EXIT_DELAY.start(), *EXIT_DELAY.end()) {
            self.threshold = self.window;
        }
        let scale = self.rtt_max.saturating_sub(base).max(base / 4).max(SCALE_MIN);
        self.grow = interpolate(delay, scale / 100, scale, GROW_MOST, GROW_LEAST);
        self.cut = interpolate(delay, scale / 10, scale / 10 * 8, CUT_LEAST, CUT_MOST);
        // The scale shrinks slowly, so that one outlier does not hide a queue for ever.
        self.rtt_max = base + (self.rtt_max.saturating_sub(base)) / 64 * 63;
    }

    /// Packets of one flight were lost: called once a round trip at most.
    pub(super) fn on_loss(&mut self) {
        let cut = u64::from(self.window) * self.cut / 256;
        self.shrink_to(self.window.saturating_sub(cut as u32));
    }

    /// Nothing came back for several timeouts.
    pub(super) fn on_silence(&mut self) {
        let half = self.window / 2;
        self.shrink_to(FLOOR);
        self.threshold = half.max(FLOOR);
    }

    /// The sender was idle: what it knew about the path is old.
    pub(super) fn on_idle(&mut self) {
        self.threshold = self.threshold.max(self.window);
        self.window = self.window.min(INITIAL);
    }

    fn shrink_to(&mut self, window: u32) {
        self.window = window.max(FLOOR);
        self.threshold = self.window;
        self.credit = 0;
    }
}

/// `at_low` up to `low`, `at_high` from `high` on, in proportion between.
fn interpolate(x: u64, low: u64, high: u64, at_low: u64, at_high: u64) -> u64 {
    if x <= low {
        return at_low;
    }
    if x >= high {
        return at_high;
    }
    let (part, whole) = (x - low, high - low);
    if at_high >= at_low {
        at_low + (at_high - at_low) * part / whole
    } else {
        at_low - (at_low - at_high) * part / whole
    }
}
