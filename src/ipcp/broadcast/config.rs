//! The bounds of a member.

use core::time::Duration;

use crate::base::bucket::Bucket;
use crate::base::time::Instant;

/// How much of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Neighbours and applications. Default 256.
    pub max_ports: usize,
    /// Whether copies are dropped. Default `true`; without, a loop is a storm.
    pub suppress: bool,
    /// How long a packet is remembered after it was last passed on: longer than any way around a loop takes. Default
    /// 1 s.
    pub window: Duration,
    /// Packets remembered, some 150 bytes each. Default 16 384.
    pub memory: usize,
    /// What a neighbour may send. Default 100 000 a second, and 10 000 at once.
    pub packets: Rate,
    /// How many of the same packet are passed on for neighbours, once a copy of it has shown that there is a loop,
    /// before it must pause for a [`window`](Self::window). Default 128.
    pub in_loops: u32,
    /// What a neighbour may send of what was passed on within the window already. Default 1000 a second, and 1000 at
    /// once.
    pub repetitions: Rate,
}

/// So many packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In a second, at least 1.
    pub per_second: u64,
    /// At once, after a pause.
    pub burst: u64,
}

impl Rate {
    /// A full bucket that gets as much.
    pub(super) fn bucket(self, now: Instant) -> Bucket {
        Bucket::new(now, self.per_second, self.burst)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_ports: 256,
            suppress: true,
            window: Duration::from_secs(1),
            memory: 16_384,
            packets: Rate { per_second: 100_000, burst: 10_000 },
            in_loops: 128,
            repetitions: Rate { per_second: 1000, burst: 1000 },
        }
    }
}
