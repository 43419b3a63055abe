//! The numbers of a machine while it runs.

use alloc::boxed::Box;

use super::Stats;

/// What a machine has counted: what every flow counts, and the rest, which takes memory once there is something to count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: u64,
    pub(super) control_sent: u64,
    pub(super) received: u64,
    pub(super) control_received: u64,
    rare: Option<Box<Stats>>,
}

impl Counters {
    /// The other counters. The first call allocates them, so it is for callers that have something to add.
    pub(super) fn rare(&mut self) -> &mut Stats {
        self.rare.get_or_insert_default()
    }

    /// So many user packets were dropped because the rest of their message is missing.
    #[inline]
    pub(super) fn note_incomplete(&mut self, packets: u64) {
        if packets > 0 {
            self.rare().incomplete += packets;
        }
    }

    /// All that was counted.
    pub(super) fn all(&self) -> Stats {
        let Self { sent, control_sent, received, control_received, rare } = self;
        Stats {
            sent: *sent,
            control_sent: *control_sent,
            received: *received,
            control_received: *control_received,
            ..rare.as_deref().copied().unwrap_or_default()
        }
    }
}
