//! Settings of a member.

use core::time::Duration;

use crate::base::bucket::Bucket;
use crate::base::settings::settings;
use crate::base::time::Instant;

settings! {
    /// Settings of a member of a [broadcast layer](crate::Stack::broadcast).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Config {
        /// Sets how many neighbours and applications there may be; more are refused. Default: 256.
        max_ports: usize = 256,
        /// Sets whether copies of packets are dropped. Default: `true`; without, a loop is a storm.
        suppress: bool = true,
        /// Sets how long a packet is remembered after it was last passed on: longer than any way around a loop takes.
        /// Default: 1 s.
        window: Duration = Duration::from_secs(1),
        /// Sets how many packets are remembered, some 150 bytes each; beyond it the oldest are forgotten. Default: 16 384.
        memory: usize = 16_384,
        /// Sets how many of the same packet are passed on for neighbours, once a copy of it has shown that there is a loop,
        /// before it must pause for a [`window`](Self::window). Default: 128.
        in_loops: u32 = 128,
    }
    inside {
        /// Limit of packets from one neighbour.
        packets: Rate = Rate { per_second: 100_000, burst: 10_000 },
        /// Limit of packets from one neighbour that were passed on within the window already.
        repetitions: Rate = Rate { per_second: 1000, burst: 1000 },
    }
}

impl Config {
    /// Sets how many packets a second a neighbour may send, at least 1, and how many at once after a pause; more are
    /// dropped. Default: 100 000, and 10 000 at once.
    #[must_use]
    pub fn packet_rate(mut self, per_second: u64, burst: u64) -> Self {
        self.packets = Rate { per_second, burst };
        self
    }

    /// Sets how much of what was passed on within the [`window`](Self::window) already a neighbour may send again, packets
    /// a second, at least 1, and at once after a pause; more are dropped. Default: 1000, and 1000 at once.
    #[must_use]
    pub fn repetition_rate(mut self, per_second: u64, burst: u64) -> Self {
        self.repetitions = Rate { per_second, burst };
        self
    }
}

/// A rate of packets, with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Packets per second, at least 1.
    pub per_second: u64,
    /// Packets that may come at once after a pause.
    pub burst: u64,
}

impl Rate {
    /// A full bucket that gets as much.
    pub(super) fn bucket(self, now: Instant) -> Bucket {
        Bucket::new(now, self.per_second, self.burst)
    }
}
