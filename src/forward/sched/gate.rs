//! Bound of a device's own queue.

use core::time::Duration;

use crate::base::time::Instant;

/// Limit of packets *in* the device, in the manner of Linux' byte queue limits (Herbert 2011): as few as keep it busy
/// from one sample of its queue to the next.
///
/// While nothing is held back and fewer than [`limit`](Self::limit) wait in the device, that is all there is to it. From then
/// on packets are kept in the queue, and [`look`](Self::look) says every [`PERIOD`](Self::PERIOD) how many to hand over. A
/// device that ran dry although packets were kept gets twice as much; one that never came down to half of what it was given,
/// over [`PATIENCE`](Self::PATIENCE) looks, gets that much less.
///
/// A device that stands still is looked at ever more seldom: the next look is no further away than the last movement that was
/// seen, so that it is at most as late again as the device was, and no further than [`LONGEST`](Self::LONGEST).
#[derive(Clone, Debug)]
pub struct Gate {
    limit: usize,
    /// The least that was left in the device at a look, since the limit was last changed.
    least: usize,
    looks: u32,
    next_look: Instant,
    /// What waited in the device at the last look, and since when it was as much.
    seen: usize,
    since: Instant,
    /// Time between the last look that was due and the next.
    pause: Duration,
}

impl Gate {
    /// Between two looks at a device that holds as much as it may.
    pub const PERIOD: Duration = Duration::from_micros(500);
    /// The longest time between two looks at a device that stands still.
    pub const LONGEST: Duration = Duration::from_millis(64);
    /// Looks after which a limit that is too large is made smaller.
    pub const PATIENCE: u32 = 64;
    /// The limit is never less than this, packets.
    pub const LEAST: usize = 8;
    /// The limit is never more than this, packets: 10 Gbit/s of 1000-byte packets for half a millisecond, with room.
    pub const MOST: usize = 1024;

    /// A gate in front of a device about which nothing is known yet.
    pub const fn new() -> Self {
        Self {
            limit: 16,
            least: usize::MAX,
            looks: 0,
            next_look: Instant::FAR_FUTURE,
            seen: 0,
            since: Instant::ZERO,
            pause: Self::PERIOD,
        }
    }

    /// Packets that may wait in the device.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Time to [`look`](Self::look) again, while packets are held back. Looking sooner does no harm.
    pub const fn deadline(&self) -> Instant {
        self.next_look
    }

    /// Looks at a device in which `queued` packets wait, while packets are held back, and says how many it may have.
    pub fn look(&mut self, now: Instant, queued: usize) -> usize {
        // A look too early, or the first one after a time without need of any, does not say how long the device lasts.
        if now >= self.next_look && now.since(self.next_look) < Self::PERIOD {
            self.learn(queued);
        }
        let moves = queued != self.seen || queued < self.limit;
        if moves {
            (self.seen, self.since) = (queued, now);
        }
        if now >= self.next_look || self.next_look == Instant::FAR_FUTURE || moves {
            self.pause = now.since(self.since).clamp(Self::PERIOD, Self::LONGEST);
            let next = now + self.pause;
            // A movement that is seen early does not put the next look off.
            self.next_look = if now < self.next_look { self.next_look.min(next) } else { next };
        }
        self.limit.saturating_sub(queued)
    }

    fn learn(&mut self, queued: usize) {
        // A device that was left alone for longer may have run dry without a fault of its limit.
        if queued == 0 && self.pause == Self::PERIOD {
            // It stood still while packets were kept from it, which is the worse mistake: made good at once, and by much.
            self.change(self.limit.saturating_mul(2));
            return;
        }
        self.least = self.least.min(queued);
        self.looks += 1;
        if self.looks >= Self::PATIENCE {
            // Half is left as a reserve: looks come late.
            let spare = self.least.saturating_sub(self.limit / 2);
            self.change(self.limit.saturating_sub(spare));
        }
    }

    fn change(&mut self, limit: usize) {
        self.limit = limit.clamp(Self::LEAST, Self::MOST);
        self.least = usize::MAX;
        self.looks = 0;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
