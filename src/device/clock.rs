//! The operating system's clocks: the one place that reads them.

use std::sync::Arc;
use std::time::SystemTime;

use super::process::Process;
use crate::base::time::{Clock, Instant, ManualClock};

/// The monotonic clock, counted from the creation of this value, and the real-time clock.
#[derive(Clone, Copy, Debug)]
pub struct OsClock {
    epoch: std::time::Instant,
    process: Process,
}

impl OsClock {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn new() -> Self {
        Self { epoch: std::time::Instant::now(), process: Process::current() }
    }
}

impl Default for OsClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for OsClock {
    fn now(&self) -> Instant {
        // A nanosecond later than it is, so that no moment is mistaken for the epoch.
        Instant::from_nanos(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the real-time clock")]
    fn unix_nanos(&self) -> u64 {
        // A clock before 1970 is as wrong as one can be; OAP then refuses every request, which says so.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }

    fn is_forked(&self) -> bool {
        !self.process.is_current()
    }
}

/// A clock that is set by hand, and knows the process it was made in: that of polled stacks.
#[derive(Debug)]
pub(crate) struct PolledClock {
    clock: Arc<ManualClock>,
    process: Process,
}

impl PolledClock {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self { clock, process: Process::current() }
    }
}

impl Clock for PolledClock {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn unix_nanos(&self) -> u64 {
        self.clock.unix_nanos()
    }

    fn is_forked(&self) -> bool {
        !self.process.is_current()
    }
}
