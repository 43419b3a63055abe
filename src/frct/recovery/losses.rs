//! Finding loss: what arrivals prove about packets that were sent earlier.

use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::Params;
use crate::frct::congestion::Loss;
use crate::frct::counters::Counters;
use crate::frct::rtt::Rtt;
use crate::frct::segment::State;
use crate::frct::tx::Sender;

/// Packets that arrived beyond a missing one, or repeated acknowledgements, that prove it lost.
const EVIDENCE: u32 = 3;
/// Loss episodes after which the tolerance for reordering is halved, in case the path has become better.
const PATIENCE_LIFE: u64 = 16;

/// What has been seen of the order in which packets arrive.
pub(in crate::frct) struct Evidence {
    /// Everything before was looked at for loss since its first transmission.
    pub(in crate::frct) scan: Seq,
    /// One behind the highest number known to have arrived.
    pub(in crate::frct) highest: Seq,
    /// Transmission time and number of the latest-sent packet that has arrived, and how long it took.
    pub(in crate::frct) newest: (Instant, Seq),
    pub(in crate::frct) newest_rtt: u64,
    /// Answers in a row that came sooner after a retransmission than any round trip of late.
    pub(in crate::frct) hasty: u8,
    /// Tolerance for reordering, quarters of the round-trip time; 0 while none was ever seen.
    pub(in crate::frct) patience: u8,
    pub(in crate::frct) repeated_acks: u8,
    /// When a packet that may still come counts as lost.
    pub(in crate::frct) reorder_at: Instant,
}

impl Evidence {
    pub(in crate::frct) fn new(isn: Seq) -> Self {
        Self {
            scan: isn,
            highest: isn,
            newest: (Instant::ZERO, isn),
            newest_rtt: 0,
            hasty: 0,
            patience: 0,
            repeated_acks: 0,
            reorder_at: Instant::FAR_FUTURE,
        }
    }

    /// Whether a packet was sent before the newest arrival, and if so, until when it may still come.
    fn overdue_at(&self, seq: Seq, sent: Instant, tolerance: u64) -> Option<Instant> {
        // The order of transmission, not of numbers, also finds lost retransmissions. Packets of one moment have left
        // in the order of their numbers.
        let earlier = sent < self.newest.0 || (sent == self.newest.0 && seq.before(self.newest.1));
        earlier.then(|| sent.plus_nanos(self.newest_rtt.saturating_add(tolerance)))
    }
}

/// What has happened since the window was last made smaller, bytes.
#[derive(Debug, Default)]
pub(in crate::frct) struct Reduction {
    pub(in crate::frct) flight: u64,
    pub(in crate::frct) arrived: u64,
    pub(in crate::frct) sent: u64,
}

impl Reduction {
    /// Returns `true` if less was sent than has arrived, times the share of the old flight that `window` is.
    pub(in crate::frct) fn allows(&self, window: u64) -> bool {
        let due = u128::from(self.arrived) * u128::from(window);
        u128::from(self.sent) * u128::from(self.flight.max(1)) < due
    }
}

/// Losses that count as one, because they say one thing about the path.
#[derive(Default)]
pub(in crate::frct) struct Episode {
    /// Losses up to here belong to the current one.
    pub(in crate::frct) until: Option<Seq>,
    /// When loss last made the congestion window smaller.
    pub(in crate::frct) shrunk_at: Instant,
    /// Packets declared lost since then, and those of them that had not been.
    pub(in crate::frct) declared: (u32, u32),
    /// Since then: bytes under way at that moment, bytes that have arrived and bytes sent.
    pub(in crate::frct) reduction: Reduction,
}

/// Packets declared lost together.
#[derive(Default)]
pub(in crate::frct) struct Found {
    pub(in crate::frct) packets: u32,
    pub(super) bytes: u64,
    /// When the last of them was sent for the first time.
    pub(super) first: Instant,
}

impl Sender {
    /// Returns `true` while an episode of losses is open: those found now belong to it.
    pub(in crate::frct) fn has_open_episode(&self) -> bool {
        self.episode.as_ref().is_some_and(|episode| episode.until.is_some())
    }

    /// When loss last made the congestion window smaller.
    pub(super) fn shrunk_at(&self) -> Instant {
        self.episode.as_ref().map_or(Instant::ZERO, |episode| episode.shrunk_at)
    }

    /// A peer that reports no ranges repeated its acknowledgement while packets are out.
    pub(in crate::frct) fn on_repeated_ack(&mut self, now: Instant, stats: &mut Counters) {
        self.evidence.repeated_acks = self.evidence.repeated_acks.saturating_add(1);
        // Once for each loss: those that follow tell of the same one (RFC 5681, 3.2).
        if u32::from(self.evidence.repeated_acks) == EVIDENCE && !self.has_open_episode() {
            self.suspect_oldest(now, stats);
        }
    }

    /// The oldest packet is missing at the peer, unless it was sent within the last round trip.
    pub(super) fn suspect_oldest(&mut self, now: Instant, stats: &mut Counters) {
        let srtt = self.rtt.smoothed();
        let Some(segment) = self.queue.front() else { return };
        // Sent within the last round trip, its acknowledgement cannot have come yet.
        if !segment.state.has(State::LOST) && now.nanos_since(segment.sent) >= srtt {
            let flight = self.flight;
            let mut found = Found::default();
            self.lose(self.edge, &mut found);
            self.enter_recovery(now, flight, &found, false, stats);
        }
    }

    /// How much later than the newest arrival a packet may still come, nanoseconds.
    fn tolerance(&self) -> u64 {
        if self.evidence.patience == 0 {
            // On a path that has never reordered three later arrivals prove a loss (RFC 5681, 3.2). With fewer, a
            // quarter of the shortest round trip is waited for (RFC 8985, 6.2).
            let certain = self.sacked_count >= EVIDENCE || self.has_open_episode();
            return if certain { 0 } else { self.rtt.min() / 4 };
        }
        (self.rtt.smoothed() / 4).saturating_mul(u64::from(self.evidence.patience))
    }

    /// Everything that is out went another way than what is sent from now on.
    pub(in crate::frct) fn note_new_path(&mut self, now: Instant, p: &Params, stats: &mut Counters) {
        self.forget_path();
        self.rtt = Rtt::default();
        (self.timer.backoff, self.timer.silent) = (0, 0);
        self.repairs.resent.clear();
        let (flight, mut found, mut seq) = (self.flight, Found::default(), self.edge);
        while seq.before(self.next) {
            self.lose(seq, &mut found);
            seq += 1;
        }
        if found.packets > 0 {
            // As after a silence: the window begins anew.
            self.enter_recovery(now, flight, &found, true, stats);
        }
        if self.outstanding() > 0 {
            self.arm_rto(now, p);
        }
    }

    /// Declares lost what is overdue, and sets the timer for what will be. `silence`: nothing had arrived for long.
    pub(super) fn detect_losses(&mut self, now: Instant, silence: bool, stats: &mut Counters) {
        let tolerance = self.tolerance();
        let flight = self.flight;
        let mut found = Found::default();
        self.evidence.reorder_at = Instant::FAR_FUTURE;
        // Numbers are in the order of first transmission: when one has time left, so have all behind it.
        while self.evidence.scan.before(self.next) {
            let seq = self.evidence.scan;
            let Some(segment) = self.segment(seq) else { break };
            let (sent, state) = (segment.sent, segment.state);
            if !state.has(State::SACKED | State::LOST | State::RESENT) {
                match self.evidence.overdue_at(seq, sent, tolerance) {
                    Some(at) if at <= now => self.lose(seq, &mut found),
                    Some(at) => {
                        self.evidence.reorder_at = at;
                        break;
                    }
                    None => break,
                }
            }
            self.evidence.scan = seq + 1;
        }
        while let Some(&(seq, at)) = self.repairs.resent.front() {
            // Nothing is taken out of this queue when a packet arrives or is sent once more: such entries are passed
            // over here.
            let current = !seq.before(self.edge)
                && self.segment(seq).is_some_and(|s| s.sent == at && !s.state.has(State::SACKED | State::LOST));
            if current {
                // Not before a round trip, or packets that race each other are sent again and again.
                match self.evidence.overdue_at(seq, at, tolerance).map(|due| due.max(at.plus_nanos(self.rtt.min()))) {
                    Some(due) if due <= now => self.lose(seq, &mut found),
                    Some(due) => {
                        self.evidence.reorder_at = self.evidence.reorder_at.min(due);
                        break;
                    }
                    None => break,
                }
            }
            self.repairs.resent.pop_front();
        }
        if found.packets > 0 {
            self.enter_recovery(now, flight, &found, silence, stats);
        }
    }

    /// Queues a packet for retransmission.
    pub(in crate::frct) fn lose(&mut self, seq: Seq, found: &mut Found) {
        let Some(segment) = self.segment(seq) else { return };
        if segment.state.has(State::LOST | State::SACKED) {
            return;
        }
        segment.state.set(State::LOST);
        let cost = u64::from(segment.cost);
        found.first = found.first.max(segment.first);
        found.packets += 1;
        found.bytes += cost;
        self.flight = self.flight.saturating_sub(cost);
        self.repairs.lost_count += 1;
        if self.repairs.lost.back().is_none_or(|last| last.before(seq)) {
            self.repairs.lost.push_back(seq);
        } else {
            // A lost retransmission: what the peer waits for goes first.
            let place = self.repairs.lost.partition_point(|s| s.before(seq));
            self.repairs.lost.get_or_make().insert(place, seq);
        }
    }

    /// Packets were found lost, when `flight` bytes were under way. Those that were first sent before the window last
    /// shrank say nothing new about it.
    pub(super) fn enter_recovery(
        &mut self,
        now: Instant,
        flight: u64,
        found: &Found,
        silence: bool,
        stats: &mut Counters,
    ) {
        // The first retransmission does not wait for room in the window: the hole is what the peer waits for.
        self.repairs.forced = true;
        // One reduction for each window of data (RFC 5681, 4.3): packets from before the last one met the same queue.
        let event = silence || found.first > self.shrunk_at();
        let episode = self.episode.get_or_insert_default();
        if event {
            episode.shrunk_at = now;
            episode.declared = (0, 0);
            episode.reduction = Reduction { flight, ..Reduction::default() };
            episode.until = Some(self.next);
            let stats = stats.rare();
            stats.loss_episodes += 1;
            if stats.loss_episodes.is_multiple_of(PATIENCE_LIFE) {
                self.evidence.patience = self.evidence.patience.div_ceil(2);
            }
        }
        episode.declared.0 += found.packets;
        episode.until.get_or_insert(self.next);
        if let Some(congestion) = &mut self.rate.congestion {
            congestion.on_loss(&Loss { now, bytes: found.bytes, in_flight: self.flight, event, silence });
            self.update_rate();
        }
    }
}
