//! Sharing with senders that follow another law.

use core::time::Duration;

use super::window::LONGEST;
use crate::base::time::Instant;

/// The shortest round of the last half a minute to a minute, which is about one without a queue: the queue is let down more
/// often than that. A path may have become longer, and nobody says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shortest {
    /// Of the interval that began then, and of the one before, seconds.
    newest: f64,
    before: f64,
    began_at: Instant,
}

impl Shortest {
    const INTERVAL: Duration = Duration::from_secs(30);

    pub(super) fn new(now: Instant) -> Self {
        Self { newest: LONGEST, before: LONGEST, began_at: now }
    }

    /// One in which a single packet was delivered may have ended by an answer to what was sent before it.
    pub(super) fn add(&mut self, now: Instant, seconds: f64, delivered: f64) {
        if now.since(self.began_at) >= Self::INTERVAL {
            (self.before, self.newest, self.began_at) = (self.newest, LONGEST, now);
        }
        if delivered > 1.0 {
            self.newest = self.newest.min(seconds);
        }
    }

    pub(super) fn get(&self) -> f64 {
        self.newest.min(self.before)
    }
}

/// Senders that follow another law: a reference fills the queue to the brim within milliseconds and shrinks for as long
/// as there is any mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rivals {
    /// Time at which a queue was met that senders of this library do not make.
    seen_at: Option<Instant>,
    /// The window before it, less a little.
    high: f64,
    /// While the queue is kept from making marks, and the part of the window with which it is.
    dip_until: Instant,
    dip_to: f64,
    next_dip: Instant,
    /// The next one on a thin link.
    turn: Instant,
    /// Dips on a thin link since a rival was met last.
    dips: u32,
}

impl Rivals {
    /// A mean mark that our own kind hardly makes, and for how long it is competed with after it was met last.
    const MARK: f64 = 12.0;
    const COMPETE: Duration = Duration::from_secs(1);
    /// Meanwhile the window shrinks no faster than this, and what it comes back to fades so fast, per second.
    const DECREASE: f64 = 1.0;
    const FADE: f64 = 0.5;
    /// Growth while the window is restored, per round.
    const RESTORE: f64 = 1.25;
    /// Length of a dip beyond a round trip; on thin links it is doubled with each that no rival has made use of, so often at
    /// most.
    const DIP: Duration = Duration::from_millis(50);
    const DOUBLED: u32 = 2;
    /// Turns from one dip on a thin link to the next, as long as no rival is known.
    const RARE: u64 = 8;
    /// The interval between dips on thin links: the 2³⁰ ns of a slow reference's slot, times the golden section, so that dips
    /// soon meet the beginning of a slot, when all of it is sent, whichever power of two of that it lasts.
    const TURN: Duration = Duration::from_nanos(663_608_942);
    /// On others, while a rival is remembered and later.
    const OFTEN: Duration = Duration::from_secs(1);
    const SELDOM: Duration = Duration::from_secs(5);
    const REMEMBERED: Duration = Duration::from_secs(60);

    pub(super) fn new(now: Instant) -> Self {
        Self {
            seen_at: None,
            high: 0.0,
            dip_until: now,
            dip_to: 1.0,
            next_dip: now + Self::SELDOM,
            turn: Self::turn_after(now, Self::RARE),
            dips: 0,
        }
    }

    fn seen_within(&self, now: Instant, time: Duration) -> bool {
        self.seen_at.is_some_and(|at| now.since(at) < time)
    }

    pub(super) fn is_dip(&self, now: Instant) -> bool {
        now < self.dip_until
    }

    /// Usable part of a window.
    pub(super) fn limit(&self, now: Instant, packets: f64) -> f64 {
        if self.is_dip(now) { packets * self.dip_to } else { packets }
    }

    /// Takes note of a rival, if the mean mark is that of one. It has had its turn.
    pub(super) fn meet(&mut self, now: Instant, mark: f64) {
        if mark >= Self::MARK {
            self.seen_at = Some(now);
            self.end_dip(now);
            self.turn = Self::turn_after(now, 1);
            self.dips = 0;
        }
    }

    /// The packets of one that was planned went another way.
    pub(super) fn end_dip(&mut self, now: Instant) {
        self.dip_until = self.dip_until.min(now);
    }

    pub(super) fn step(&self, now: Instant, step: f64, seconds: f64) -> f64 {
        if self.seen_within(now, Self::COMPETE) { step.max(-Self::DECREASE * seconds) } else { step }
    }

    /// Comes back soon to what there was before a rival came, once it has gone.
    pub(super) fn restore(&mut self, now: Instant, packets: f64, mark: f64, seconds: f64) -> f64 {
        if !self.seen_within(now, Self::COMPETE) {
            self.high = packets;
            return packets;
        }
        self.high *= 1.0 - (Self::FADE * seconds).min(0.3);
        let back = mark == 0.0 && packets < self.high;
        let packets = if back { (packets * Self::RESTORE).min(self.high) } else { packets };
        self.high = self.high.max(packets);
        packets
    }

    /// Now and then the queue is let down to where it makes no mark, without letting it run dry: a sender that waits for
    /// that has its turn. `shortest` is the round-trip time without a queue, about.
    pub(super) fn plan(&mut self, now: Instant, packets: f64, mark: f64, shortest: f64, rtt: f64) {
        let often = self.seen_within(now, Self::REMEMBERED);
        let (queue, wires) = (mark * super::PACKETS_PER_MARK as f64, shortest / rtt);
        let wide = packets / 2.0 > queue;
        // The queue is most of what is in flight, or of a few flows: what one of them could hold back is not all of it. Where a
        // dip would last about as long as a turn, there would be hardly anything else.
        let is_short = rtt * 2.0 <= Self::TURN.as_secs_f64();
        let thin = is_short && !wide && wires <= 0.5 && packets * 2.0 > queue;
        if now < if thin { self.turn } else { self.next_dip } {
            return;
        }
        if thin {
            self.turn = Self::turn_after(now, if often { 1 } else { Self::RARE });
        } else {
            self.next_dip = now + if often { Self::OFTEN } else { Self::SELDOM };
        }
        if mark == 0.0 || !(wide || thin) {
            return;
        }
        let length;
        (self.dip_to, length) = if thin {
            let doubled = self.dips.min(Self::DOUBLED);
            self.dips = self.dips.saturating_add(1);
            // Who has seen no rival may have begun beside one, and not know what the wires hold: these dips are deeper, and short.
            let (wires, length) = if often { (wires, Self::DIP * (1 << doubled)) } else { (0.0, Self::DIP / 2) };
            // Of the queue, which is half a mark more than it says, a quarter of a mark is left: a link is not to run dry.
            (wires + (1.0 - wires) * 0.25 / (mark + 0.5), length)
        } else {
            (1.0 - queue / packets, Self::DIP)
        };
        self.dip_until = now + length + Duration::from_nanos((rtt.min(1.0) * 1e9) as u64);
    }

    /// The flows of a stack dip together: what one of them holds back, another would fill up. Every so many turns.
    fn turn_after(now: Instant, every: u64) -> Instant {
        let every = Self::TURN.as_nanos() as u64 * every;
        Instant::from_nanos((now.as_nanos() / every).saturating_add(1).saturating_mul(every))
    }
}
