//! Finding and repairing loss: acknowledgements, selective and cumulative, time and the retransmission timer.
//!
//! A packet counts as lost when one that was sent later has arrived and either three have arrived beyond it or it has
//! had its time (RACK, RFC 8985), so a lost retransmission is noticed too. The work is amortised: first transmissions
//! are looked at once, in the order of their numbers, behind a pointer that only moves forward; retransmissions wait
//! in a queue of their own, in the order of time. Without loss neither is touched.

use super::rtt::{after, nanos_since};
use super::tx::{Segment, Sender, State};
use super::{Params, Stats};
use crate::base::buf::BufCache;
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::wire::frct::Sack;

/// Packets that arrived beyond a missing one, or repeated acknowledgements, that prove it lost.
const EVIDENCE: u32 = 3;
/// Packets that count as lost with the first timeout towards a peer that does not say what is missing.
const BLIND_BURST: u32 = 16;
/// Packets that count as lost with each further timeout when no congestion window holds them back.
const TIMEOUT_BURST: u32 = 64;
/// Acknowledgements may be this late without a packet being lost, nanoseconds: delayed acknowledgements of our own
/// kind, and those of a reference.
const GRACE: u64 = 5_000_000;
const GRACE_REFERENCE: u64 = 16_000_000;
/// Largest tolerance for reordering, quarters of the round-trip time.
const PATIENCE_MAX: u8 = 8;
/// Loss episodes after which the tolerance for reordering is halved, in case the path has become better.
const PATIENCE_LIFE: u64 = 16;

/// What an acknowledgement brought.
#[derive(Default)]
struct News {
    delivered: u32,
    /// Transmission time and number of the highest packet that arrived for the first time and was sent once.
    sample: Option<(Instant, Seq)>,
    resent: bool,
    /// The peer holds more than this told.
    partial: bool,
}

impl Sender {
    /// Timeout of the oldest packet, nanoseconds, before backing off.
    pub(super) fn rto(&self, p: &Params) -> u64 {
        if !self.rtt.known() {
            return p.rto_initial;
        }
        let grace = if self.peer_is_o7s { GRACE } else { GRACE_REFERENCE };
        // However much the round trips vary, whoever waits twice as long has waited enough.
        let most = p.rto_max.max(self.rtt.smoothed().saturating_mul(2));
        self.rtt.timeout().saturating_add(grace).min(most).max(p.rto_min)
    }

    /// Starts the timer of the oldest packet.
    pub(super) fn arm_rto(&mut self, now: Instant, p: &Params) {
        let rto = self.rto(p);
        let wait = rto.saturating_mul(1 << self.backoff.min(20)).min(rto.max(p.rto_max));
        // Never sleep over the end of the flow.
        let end = self.queue.front().map_or(Instant::FAR_FUTURE, |s| after(s.first, p.r.saturating_add(1)));
        self.rto_at = after(now, wait).min(end.max(after(now, 1)));
    }

    /// The peer expects `ackno` next and holds what `sack` says beyond. `false` if it acknowledges what was never sent.
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        p: &Params,
        ackno: Seq,
        sack: Option<&Sack>,
        stats: &mut Stats,
        cache: &mut BufCache,
    ) -> bool {
        if ackno.after(self.next) {
            return false;
        }
        let mut news = News::default();
        let advanced = ackno.after(self.edge);
        while self.edge.before(ackno) {
            let seq = self.edge;
            let Some(mut segment) = self.queue.pop_front() else { break };
            self.edge = seq + 1;
            self.arrived(now, seq, &mut segment, &mut news, cache);
            if segment.state.has(State::SACKED) {
                self.sacked_count -= 1;
            }
        }
        // What waited for the repair of a gap looks like a long round trip.
        if news.resent || self.recovery.is_some() {
            news.sample = None;
        }
        if advanced {
            self.sacked.remove_below(self.edge);
            self.scan = later(self.scan, self.edge);
        }
        for (first, end) in sack.iter().flat_map(|s| s.blocks()) {
            self.on_block(now, first, end, &mut news, cache);
        }
        news.partial = sack.is_some_and(|s| s.encoded_len() == Sack::MAX_LEN);
        if news.delivered > 0 || advanced {
            self.on_progress(now, p, advanced, &news, stats);
        }
        true
    }

    /// The peer holds `[first, end)`. The oldest packet is never among them: it would have been acknowledged.
    fn on_block(&mut self, now: Instant, first: Seq, end: Seq, news: &mut News, cache: &mut BufCache) {
        let first = later(first, self.edge + 1);
        if end.after(self.next) || !first.before(end) {
            return;
        }
        let mut sacked = core::mem::take(&mut self.sacked);
        sacked.insert(first, end, |seq| {
            let Some(segment) = self.segment(seq) else { return };
            // Taken out and put back, so that the books can be written meanwhile.
            let blank = Segment { packet: None, sent: segment.sent, first: segment.first, state: State::default() };
            let mut segment = core::mem::replace(segment, blank);
            self.arrived(now, seq, &mut segment, news, cache);
            segment.state.set(State::SACKED);
            self.sacked_count += 1;
            if let Some(place) = self.segment(seq) {
                *place = segment;
            }
        });
        self.sacked = sacked;
    }

    /// A packet is known to have arrived, perhaps for the second time.
    fn arrived(&mut self, now: Instant, seq: Seq, segment: &mut Segment, news: &mut News, cache: &mut BufCache) {
        if let Some(packet) = segment.packet.take() {
            cache.put(packet);
        }
        if segment.state.has(State::SACKED) {
            return;
        }
        news.delivered += 1;
        if segment.state.has(State::LOST) {
            segment.state.clear(State::LOST);
            self.lost_count -= 1;
        }
        let took = nanos_since(now, segment.sent);
        if segment.state.has(State::RESENT) {
            news.resent = true;
            if took < self.rtt.min() / 2 {
                // That fast it was the first transmission: losses were declared too early.
                self.patience = (self.patience + 1).min(PATIENCE_MAX);
                return;
            }
        } else {
            news.sample = Some((segment.sent, seq));
            if self.patience == 0 && seq.before(self.highest) && took > self.rtt.min() {
                self.patience = 1;
            }
        }
        self.highest = later(self.highest, seq + 1);
        if (segment.sent, seq - self.edge) >= (self.newest.0, self.newest.1 - self.edge) {
            self.newest = (segment.sent, seq);
            self.newest_rtt = took;
        }
    }

    /// Something arrived: measure, look for losses, let the window grow.
    fn on_progress(&mut self, now: Instant, p: &Params, advanced: bool, news: &News, stats: &mut Stats) {
        self.backoff = 0;
        self.repeated_acks = 0;
        if let Some((sent, seq)) = news.sample {
            let mut took = nanos_since(now, sent);
            if self.rtt.known() && (news.resent || (sent, seq) != self.newest) {
                // Late, or its acknowledgement was: it may raise the estimate, but not blow it up.
                took = took.min(self.rtt.timeout());
            }
            self.rtt.sample(now, took);
            self.congestion.on_rtt(took);
        }
        let in_recovery = self.recovery.is_some_and(|end| self.edge.before(end));
        if !in_recovery {
            self.recovery = None;
        }
        self.congestion.on_delivered(news.delivered);
        if !self.edge.before(self.round) {
            self.round = self.next;
            self.congestion.on_round(self.rtt.min());
        }
        if self.outstanding() == 0 {
            self.rto_at = Instant::FAR_FUTURE;
            self.reorder_at = Instant::FAR_FUTURE;
            self.lost.clear();
            self.resent.clear();
            return;
        }
        self.arm_rto(now, p);
        if news.partial {
            // The rest of the report comes at once, unless it is lost.
            self.reorder_at = self.reorder_at.min(after(now, self.rtt.smoothed() / 8));
        } else if self.sacked_count > 0 || !self.resent.is_empty() {
            self.detect_losses(now, stats);
        }
        if in_recovery && advanced && !self.peer_is_o7s {
            self.suspect_oldest(now, stats);
        }
    }

    /// A peer that reports no ranges repeated its acknowledgement while packets are out.
    pub(super) fn on_repeated_ack(&mut self, now: Instant, stats: &mut Stats) {
        self.repeated_acks = self.repeated_acks.saturating_add(1);
        if u32::from(self.repeated_acks) == EVIDENCE && self.recovery.is_none() {
            self.suspect_oldest(now, stats);
        }
    }

    /// The oldest packet is missing at the peer, unless it was sent within the last round trip.
    fn suspect_oldest(&mut self, now: Instant, stats: &mut Stats) {
        let srtt = self.rtt.smoothed();
        let Some(segment) = self.queue.front() else { return };
        if !segment.state.has(State::LOST) && nanos_since(now, segment.sent) >= srtt {
            let sent = segment.sent;
            self.lose(self.edge);
            self.enter_recovery(now, sent, stats);
        }
    }

    /// How much later than the newest arrival a packet may still come, nanoseconds.
    fn tolerance(&self) -> u64 {
        if self.patience == 0 {
            let certain = self.sacked_count >= EVIDENCE || self.recovery.is_some();
            return if certain { 0 } else { self.rtt.min() / 4 };
        }
        (self.rtt.smoothed() / 4).saturating_mul(u64::from(self.patience))
    }

    /// Whether a packet was sent before the newest arrival, and if so, until when it may still come.
    fn overdue_at(&self, seq: Seq, sent: Instant, tolerance: u64) -> Option<Instant> {
        let earlier = sent < self.newest.0 || (sent == self.newest.0 && seq.before(self.newest.1));
        earlier.then(|| after(sent, self.newest_rtt.saturating_add(tolerance)))
    }

    /// Declares lost what is overdue, and sets the timer for what will be.
    fn detect_losses(&mut self, now: Instant, stats: &mut Stats) {
        let tolerance = self.tolerance();
        let mut lost = None;
        self.reorder_at = Instant::FAR_FUTURE;
        while self.scan.before(self.highest) {
            let seq = self.scan;
            let Some(segment) = self.segment(seq) else { break };
            let (sent, state) = (segment.sent, segment.state);
            if !state.has(State::SACKED | State::LOST | State::RESENT) {
                match self.overdue_at(seq, sent, tolerance) {
                    Some(at) if at <= now => lost = lost.max(self.lose(seq)),
                    Some(at) => {
                        self.reorder_at = at;
                        break;
                    }
                    None => break,
                }
            }
            self.scan = seq + 1;
        }
        while let Some(&(seq, at)) = self.resent.front() {
            let current = !seq.before(self.edge)
                && self.segment(seq).is_some_and(|s| s.sent == at && !s.state.has(State::SACKED | State::LOST));
            if current {
                // Not before a round trip, or packets that race each other are sent again and again.
                match self.overdue_at(seq, at, tolerance).map(|due| due.max(after(at, self.rtt.smoothed()))) {
                    Some(due) if due <= now => lost = lost.max(self.lose(seq)),
                    Some(due) => {
                        self.reorder_at = self.reorder_at.min(due);
                        break;
                    }
                    None => break,
                }
            }
            self.resent.pop_front();
        }
        if let Some(sent) = lost {
            self.enter_recovery(now, sent, stats);
        }
    }

    /// Queues a packet for retransmission. The transmission time of what was lost.
    fn lose(&mut self, seq: Seq) -> Option<Instant> {
        let segment = self.segment(seq)?;
        if segment.state.has(State::LOST | State::SACKED) {
            return None;
        }
        segment.state.set(State::LOST);
        let sent = segment.sent;
        self.lost_count += 1;
        if self.lost.back().is_none_or(|last| last.before(seq)) {
            self.lost.push_back(seq);
        } else {
            // A lost retransmission: what the peer waits for goes first.
            let place = self.lost.partition_point(|s| s.before(seq));
            self.lost.insert(place, seq);
        }
        Some(sent)
    }

    /// Packets were found lost, the last one sent at `sent`. Losses among what was sent before the window last
    /// shrank say nothing new about it.
    fn enter_recovery(&mut self, now: Instant, sent: Instant, stats: &mut Stats) {
        self.forced = self.forced.max(1);
        if self.recovery.is_none() || sent > self.shrunk_at {
            self.shrunk_at = now;
            self.congestion.on_loss();
            stats.loss_episodes += 1;
            if stats.loss_episodes.is_multiple_of(PATIENCE_LIFE) {
                self.patience = self.patience.div_ceil(2);
            }
        }
        self.recovery.get_or_insert(self.next);
    }

    /// The next packet to retransmit, if the congestion window lets it go.
    pub(super) fn pick_lost(&mut self, now: Instant, p: &Params) -> Option<Seq> {
        while let Some(&seq) = self.lost.front() {
            let waits = !seq.before(self.edge) && self.segment(seq).is_some_and(|s| s.state.has(State::LOST));
            if !waits {
                self.lost.pop_front();
                continue;
            }
            if self.forced > 0 {
                self.forced -= 1;
            } else if self.in_flight() >= self.congestion.window() {
                return None;
            }
            self.lost.pop_front();
            self.lost_count -= 1;
            if let Some(segment) = self.segment(seq) {
                segment.state.clear(State::LOST);
                segment.state.set(State::RESENT);
                segment.sent = now;
            }
            self.resent.push_back((seq, now));
            if self.rto_at == Instant::FAR_FUTURE {
                self.arm_rto(now, p);
            }
            return Some(seq);
        }
        None
    }

    /// The loss part of a timeout. `false` when the oldest packet has waited longer than R: the flow is down.
    pub(super) fn check_losses(&mut self, now: Instant, p: &Params, stats: &mut Stats) -> bool {
        if now >= self.reorder_at {
            self.detect_losses(now, stats);
        }
        if now < self.rto_at {
            return true;
        }
        if self.outstanding() == 0 {
            self.rto_at = Instant::FAR_FUTURE;
            return true;
        }
        let Some(oldest) = self.queue.front() else { return true };
        if nanos_since(now, oldest.first) > p.r {
            return false;
        }
        stats.timeouts += 1;
        self.on_timeout(stats);
        self.backoff = self.backoff.saturating_add(1);
        self.arm_rto(now, p);
        true
    }

    /// Nothing came back in time. The first time this may be a lost tail or a lost acknowledgement, so two packets
    /// ask for one; after that everything counts as lost.
    fn on_timeout(&mut self, stats: &mut Stats) {
        self.repeated_acks = 0;
        if !self.rtt.known() {
            // Perhaps the peer has never heard of the run.
            self.ask();
        }
        if self.backoff == 0 && self.peer_is_o7s {
            let tail = Seq(self.next.0.wrapping_sub(1));
            self.lose(self.edge);
            self.lose(tail);
            self.forced = 2;
            return;
        }
        let burst = match self.backoff {
            0 => BLIND_BURST,
            _ if self.congestion.window() == u32::MAX => TIMEOUT_BURST,
            _ => u32::MAX,
        };
        self.resent.clear();
        let (mut seq, mut marked) = (self.edge, 0);
        while seq.before(self.next) && marked < burst {
            if self.segment(seq).is_some_and(|s| !s.state.has(State::SACKED)) {
                marked += 1;
            }
            self.lose(seq);
            seq += 1;
        }
        self.forced = 2;
        self.recovery = Some(self.next);
        if self.backoff == 1 {
            self.congestion.on_silence();
        }
        stats.loss_episodes += 1;
    }
}

fn later(a: Seq, b: Seq) -> Seq {
    if a.before(b) { b } else { a }
}
