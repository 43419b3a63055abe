//! The end of a flow that packets come to.

use core::time::Duration;

use super::Feedback;
use crate::base::time::Instant;
use crate::types::layer::CongestionAvoidance;

/// Packets that the level is the sum of, as a power of two.
const WINDOW_SHIFT: u32 = 5;
/// Marked packets from one update to the next.
const PERIOD: u32 = 8;

/// The longest between two reports as long as packets come, and the shortest: beyond a gigabit fewer than one for every
/// eighth packet will do.
const REPORT: Duration = Duration::from_millis(2);
const APART: Duration = Duration::from_micros(60);

/// Sums up the marks of the packets of a flow, and decides when to tell its sender.
///
/// To a sender that makes something of reports, every eighth packet is told of, but not after less than 60 µs, and a packet
/// after which none was told of for 2 ms. Who sends the reports may have one that is not [late](Self::is_late) go behind an
/// answer. To all others, the rule is the reference's, to the packet: at the first marked
/// packet of an episode, at the third, and from then on at every eighth; and once more, with a level of 0, when unmarked
/// packets have ended the episode. A queue that plays about the threshold starts and ends episodes with every packet, and
/// would be told of with every packet; so updates are rationed beyond that to [`BURST`](Self::BURST) and one for every eight
/// packets, and what is held back is told with the next.
#[derive(Clone, Debug)]
pub struct Receiver {
    policy: CongestionAvoidance,
    feedback: Feedback,
    delivered: u32,
    marks: u32,
    /// Packets that no report has told of, and when there was one.
    untold: u32,
    told_at: Instant,
    level: u16,
    marked: u32,
    /// Eighths of updates that may be sent.
    ration: u32,
    /// An update is due and held back.
    owed: bool,
}

impl Receiver {
    /// Updates that may be sent at once.
    pub const BURST: u32 = 8;

    /// The receiver of a flow that has just begun, whose sender is given this feedback.
    pub const fn new(policy: CongestionAvoidance, feedback: Feedback) -> Self {
        Self {
            policy,
            feedback,
            delivered: 0,
            marks: 0,
            untold: 0,
            told_at: Instant::from_nanos(0),
            level: 0,
            marked: 0,
            ration: Self::BURST * PERIOD,
            owed: false,
        }
    }

    /// Packets delivered and the sum of their marks, modulo 2³², for a report that is sent now.
    pub fn report(&mut self, now: Instant) -> (u32, u32) {
        self.told_at = now;
        self.untold = 0;
        (self.delivered, self.marks)
    }

    /// A packet with this ECN byte was delivered. Returns the level for the sender, if it has to be told, with a
    /// [report](Self::report) if that is the feedback.
    pub fn delivered(&mut self, now: Instant, ecn: u8) -> Option<u16> {
        self.delivered = self.delivered.wrapping_add(1);
        self.marks = self.marks.wrapping_add(ecn.into());
        if self.feedback == Feedback::Reports && self.policy == CongestionAvoidance::MbEcn {
            self.untold = self.untold.saturating_add(1);
            self.count(ecn);
            let due = (self.untold >= PERIOD && now.since(self.told_at) >= APART) || self.is_late(now);
            return due.then_some(self.level);
        }
        // An eighth of an update for each packet: beyond a burst, one for every eight.
        self.ration = (self.ration + 1).min(Self::BURST * PERIOD);
        if (self.level == 0 && ecn == 0 && !self.owed) || self.policy == CongestionAvoidance::None {
            return None;
        }
        self.owed |= self.count(ecn);
        if !self.owed || self.ration < PERIOD {
            return None;
        }
        self.owed = false;
        self.ration -= PERIOD;
        Some(self.level)
    }

    /// Returns `true` if so much time has passed since a report that the sender may wait for one: it goes at once. One that
    /// is due for the number of packets may go behind a packet to the sender.
    pub fn is_late(&self, now: Instant) -> bool {
        now.since(self.told_at) >= REPORT
    }

    /// The sum of the marks of about the last 32 packets.
    pub const fn level(&self) -> u16 {
        self.level
    }

    /// Marked packets since the episode began; 0 before the first.
    pub const fn marked(&self) -> u32 {
        self.marked
    }

    /// Adds a packet to the level. Returns `true` if the sender has to be told.
    fn count(&mut self, ecn: u8) -> bool {
        if ecn == 0 {
            let was = self.level;
            // An unmarked packet quarters the level, as at the reference: an episode ends with a few of them.
            self.level >>= 2;
            return was != 0 && self.level == 0;
        }
        if self.level == 0 {
            self.level = ecn.into();
            self.marked = 0;
            return true;
        }
        // At most 8191 - 255 + 255.
        self.level = self.level - (self.level >> WINDOW_SHIFT) + u16::from(ecn);
        // The third packet of an episode, as the first does not count here, and every eighth from then on.
        let due = self.marked % PERIOD == 1;
        self.marked = self.marked.wrapping_add(1);
        due
    }
}
