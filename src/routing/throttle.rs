//! Time of route computations: at once after a quiet time, then no more often than is worthwhile.

use core::time::Duration;

use crate::base::time::Instant;

/// Looking at one member or link takes about so long.
const STEP: Duration = Duration::from_nanos(20);
/// Greatest part of the time that may go into computing routes, as its inverse.
const SHARE: u32 = 1000;

/// Schedules route computations. While news keep coming in, the time between two computations doubles from the least to
/// the most.
#[derive(Debug)]
pub(super) struct Throttle {
    due: Option<Instant>,
    last: Option<Instant>,
    /// The computation under way follows soon after the one before.
    busy: bool,
    hold: Duration,
    least: Duration,
    most: Duration,
}

impl Throttle {
    pub(super) const fn new(least: Duration, most: Duration) -> Self {
        Self { due: None, last: None, busy: false, hold: least, least, most }
    }

    /// Time at which routes are due to be computed.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// News from afar.
    pub(super) fn changed(&mut self, now: Instant) {
        let at = self.last.map_or(now, |last| now.max(last + self.hold));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// News of the member's own links: those do not wait.
    pub(super) const fn changed_here(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// Something about the member's own links has changed that may have to do with news from afar that are waiting.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// Returns `true` if routes have to be computed now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Routes are being computed. Another computation is due if something changes from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.busy = self.last.is_some_and(|last| now - last < 2 * self.hold);
        self.last = Some(now);
        self.due = None;
    }

    /// Routes were computed, which took `work` steps.
    pub(super) fn computed(&mut self, work: usize) {
        let worth = STEP * SHARE * u32::try_from(work).unwrap_or(u32::MAX);
        let most = worth.min(self.most).max(self.least);
        self.hold = if self.busy { (2 * self.hold).min(most) } else { self.least };
    }
}
