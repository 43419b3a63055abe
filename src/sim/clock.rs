//! The clock of the simulated world.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::time::{Clock, Instant};

/// The wall clock at virtual time zero, nanoseconds since 1970: 2026-01-01 00:00:00 UTC.
pub const EPOCH_UNIX_NANOS: u64 = 1_767_225_600_000_000_000;

/// Virtual time: moves only when the [`Network`](super::Network) moves it.
#[derive(Debug, Default)]
pub(super) struct VirtualClock(AtomicU64);

impl VirtualClock {
    /// Moves time on to `to`; a moment already passed has no effect.
    pub(super) fn advance(&self, to: Instant) {
        self.0.fetch_max(to.as_nanos(), Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn unix_nanos(&self) -> u64 {
        EPOCH_UNIX_NANOS.saturating_add(self.now().as_nanos())
    }
}
