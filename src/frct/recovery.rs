//! Finding and repairing loss: acknowledgements, selective and cumulative, time and the retransmission timer.
//!
//! A packet counts as lost when one that was sent later has arrived and either three have arrived beyond it or it has
//! had its time (RACK, RFC 8985), so a lost retransmission is noticed too. The work is amortised: first transmissions
//! are looked at once, in the order of their numbers, behind a pointer that only moves forward; retransmissions wait
//! in a queue of their own, in the order of time. Without loss neither is touched.
//!
//! Whenever the timer expires, the oldest packet goes out, whatever window, rate and other losses say (RFC 6298, 5.4).
//! Only the first time, towards a peer that says what it holds and while nothing waits for its repair, it is one beyond,
//! which proves the most (RFC 8985, 7): a new one, which besides can be timed, or the last one. From the second timeout on
//! both go, because each further one is twice as long in coming (RFC 9002, 6.2.4), unless the link is so thin that they
//! would burden it. Towards such a peer the timer declares
//! nothing lost: what the answer proves lost is lost (RFC 9002, 6.2). So a timeout that was too early costs a packet or
//! two, and repairs nothing that need not be repaired. Loss after several probes without an answer is *silence*, and the
//! congestion window begins anew. A peer without selective acknowledgement is resent the oldest, and with the second
//! timeout everything.
//!
//! # What an acknowledgement of something sent twice proves
//!
//! It may be for either transmission, so it is no round-trip time (Karn), and a timeout that was doubled stays so until
//! there is one (RFC 6298, 5.5 to 5.7), or an answer at least took no longer than one should. A packet that was sent for
//! the first time after the timeout, and once, is one. But the packet *has* arrived: if not as sent last, then as sent
//! first. An answer sooner than any round trip of late is taken for one to the first transmission; three in a row mean
//! that the path has become shorter, and correct the minimum, which no sample could while everything is sent twice.

use super::rtt::{after, nanos_since};
use super::tx::{Reduction, Segment, Sender, State};
use super::{Params, Stats};
use crate::base::buf::BufCache;
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::congestion::{Ack, Loss};
use crate::frct::pacing::{Mark, Sample};
use crate::wire::frct::Sack;

/// Packets that arrived beyond a missing one, or repeated acknowledgements, that prove it lost.
const EVIDENCE: u32 = 3;
/// Packets that count as lost with the first timeout towards a peer that does not say what is missing.
const BLIND_BURST: u32 = 16;
/// Packets that count as lost with each further timeout when no congestion window holds them back.
const TIMEOUT_BURST: u32 = 64;
/// Timeouts in a row without a sign of life that are silence: loss found after them begins anew.
const SILENCE: u8 = 2;
/// A timeout shorter than this, before backing off, is no thin link: two packets burden nobody, nanoseconds.
const HURRY: u64 = 1_000_000_000;
/// Acknowledgements may be this late without a packet being lost, nanoseconds: delayed acknowledgements of our own
/// kind, and those of a reference.
const GRACE: u64 = 5_000_000;
const GRACE_REFERENCE: u64 = 16_000_000;
/// How often the timeout of a known round-trip time doubles: one packet in 64 timeouts burdens nobody, and a path that
/// was broken for long is used again soon after it heals. Before a round trip was measured the timeout is a second and
/// more already, and a queue that is always full lets a newcomer in only now and then.
const DOUBLES: u8 = 6;
const DOUBLES_UNKNOWN: u8 = 2;
/// So many attempts R is to hold.
const ATTEMPTS: u64 = 8;
/// Largest tolerance for reordering, quarters of the round-trip time.
const PATIENCE_MAX: u8 = 8;
/// Loss episodes after which the tolerance for reordering is halved, in case the path has become better.
const PATIENCE_LIFE: u64 = 16;
/// Answers in a row that are sooner than any round trip that mean a shorter path.
const HASTY: u8 = 3;

/// What an acknowledgement brought.
#[derive(Default)]
struct News {
    /// Bytes that arrived.
    bytes: u64,
    /// Transmission time and number of the highest packet that arrived for the first time and was sent once.
    sample: Option<(Instant, Seq)>,
    resent: bool,
    /// Something sent twice was answered as soon after the second time as anything is.
    prompt: bool,
    /// When the packet was sent that was sent last.
    newest: Instant,
    rate: Sample,
    /// The peer holds more than this told.
    partial: bool,
}

/// Packets declared lost together.
#[derive(Default)]
struct Found {
    packets: u32,
    bytes: u64,
    /// When the last of them was sent for the first time.
    first: Instant,
}

impl Sender {
    /// Timeout of the oldest packet, nanoseconds, before backing off.
    pub(super) fn rto(&self, p: &Params) -> u64 {
        if !self.rtt.known() {
            return p.rto_initial;
        }
        let grace = if self.peer_is_o7s { GRACE } else { GRACE_REFERENCE };
        // A path that was steady for long may change by more than its variance says.
        let srtt = self.rtt.smoothed();
        let rto = self.rtt.timeout().max(srtt.saturating_add(srtt / 4)).saturating_add(grace);
        // However much the round trips vary, whoever waits twice as long has waited enough.
        rto.min(p.rto_max.max(srtt.saturating_mul(2))).max(p.rto_min)
    }

    /// When the flow is down if nothing arrives: R after the first transmission of the oldest packet, or after the last
    /// progress, because a flow that gets on, however slowly, is not dead. The peer's receiver, which forgets its run
    /// after R and more without data, has heard from us since; one of our own kind never does, so that where answers take
    /// long R lasts as many attempts as elsewhere.
    fn ends_at(&self, p: &Params) -> Instant {
        let Some(oldest) = self.queue.front() else { return Instant::FAR_FUTURE };
        let attempts = if self.peer_is_o7s { self.rto(p).saturating_mul(ATTEMPTS) } else { 0 };
        after(oldest.first.max(self.progress_at), p.r.max(attempts).saturating_add(1))
    }

    /// Starts the timer of the oldest packet.
    pub(super) fn arm_rto(&mut self, now: Instant, p: &Params) {
        let rto = self.rto(p);
        let doubles = self.backoff.min(if self.rtt.known() { DOUBLES } else { DOUBLES_UNKNOWN });
        // R is to hold a few attempts.
        let most = rto.max(p.rto_max.min(p.r / ATTEMPTS));
        let wait = rto.saturating_mul(1 << doubles).min(most);
        // Never sleep over the end of the flow.
        self.rto_at = after(now, wait).min(self.ends_at(p).max(after(now, 1)));
    }

    /// Starts the timer if it does not run.
    pub(super) fn start_rto(&mut self, now: Instant, p: &Params) {
        if self.rto_at == Instant::FAR_FUTURE {
            self.arm_rto(now, p);
        }
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
        // Of a peer that does not say what it holds: what waited for the repair of a gap looks like a long round trip.
        if !self.peer_is_o7s && (news.resent || self.recovery.is_some()) {
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
        if news.bytes > 0 || advanced {
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
            let blank = Segment {
                packet: None,
                sent: segment.sent,
                first: segment.first,
                cost: segment.cost,
                state: State::default(),
                mark: Mark::default(),
            };
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
            self.left(&packet);
            cache.put(packet);
        }
        if segment.state.has(State::SACKED) {
            return;
        }
        let cost = u64::from(segment.cost);
        news.bytes += cost;
        news.newest = news.newest.max(segment.sent);
        self.reduction.arrived += cost;
        self.meter.arrived(now, segment, cost, &mut news.rate);
        let was_lost = segment.state.has(State::LOST);
        if was_lost {
            segment.state.clear(State::LOST);
            self.lost_count -= 1;
            self.declared.1 += 1;
        } else {
            self.flight = self.flight.saturating_sub(cost);
        }
        let mut sent = segment.sent;
        let took = nanos_since(now, sent);
        if segment.state.has(State::RESENT) {
            news.resent = true;
            let unknown = !self.rtt.known();
            let hasty = took.saturating_add(took / 8) < self.rtt.min();
            self.hasty = if hasty { self.hasty + 1 } else { 0 };
            if self.hasty >= HASTY {
                self.hasty = 0;
                self.rtt.correct_min(now, took);
            } else if unknown {
                // The timeout was a guess.
                sent = segment.first;
            } else if hasty || was_lost {
                // That fast it was the first transmission: losses were declared too early.
                sent = segment.first;
                self.declared.1 += u32::from(hasty && !was_lost);
                self.patience = (self.patience + 1).min(PATIENCE_MAX);
            } else {
                news.prompt |= took <= self.rtt.timeout();
            }
        } else {
            self.hasty = 0;
            news.sample = Some((sent, seq));
            if self.patience == 0 && seq.before(self.highest) && took > self.rtt.min() {
                self.patience = 1;
            }
        }
        self.highest = later(self.highest, seq + 1);
        if (sent, seq - self.edge) >= (self.newest.0, self.newest.1 - self.edge) {
            self.newest = (sent, seq);
            self.newest_rtt = nanos_since(now, sent);
        }
    }

    /// Something arrived: measure, look for losses, let the window grow.
    fn on_progress(&mut self, now: Instant, p: &Params, advanced: bool, news: &News, stats: &mut Stats) {
        let silent = core::mem::take(&mut self.silent);
        let silence = silent >= SILENCE;
        self.progress_at = now;
        self.repeated_acks = 0;
        // After a timeout it may be the probe that was answered, and what it tells of what was sent before old news.
        let timely = news.sample.filter(|(sent, _)| silent == 0 || *sent >= self.expired_at);
        let sample = timely.map(|(sent, _)| nanos_since(now, sent));
        if news.prompt {
            // No sample, but no reason to think that the timeout was too short either.
            self.backoff = 0;
        }
        if let Some(took) = sample {
            self.backoff = 0;
            self.rtt.sample(now, took);
        }
        let in_recovery = self.recovery.is_some_and(|end| self.edge.before(end));
        if !in_recovery {
            self.recovery = None;
        }
        if self.declared.0 > 0 && self.declared.1 >= self.declared.0 {
            stats.spurious += u64::from(self.declared.0);
            self.declared = (0, 0);
            self.recovery = None;
            if let Some(congestion) = &mut self.congestion {
                congestion.on_spurious();
            }
        }
        self.tell_arrival(now, news, sample);
        if self.outstanding() == 0 {
            self.rto_at = Instant::FAR_FUTURE;
            self.reorder_at = Instant::FAR_FUTURE;
            self.probe = None;
            self.probe_beyond = false;
            self.lost.clear();
            self.resent.clear();
            return;
        }
        if news.partial {
            // The rest of the report comes at once, unless it is lost.
            self.reorder_at = self.reorder_at.min(after(now, self.rtt.smoothed() / 8));
        } else if self.sacked_count > 0 || !self.resent.is_empty() {
            self.detect_losses(now, silence, stats);
        }
        if in_recovery && advanced && !self.peer_is_o7s {
            self.suspect_oldest(now, stats);
        }
        self.arm_rto(now, p);
    }

    /// Tells the controller what arrived.
    fn tell_arrival(&mut self, now: Instant, news: &News, rtt: Option<u64>) {
        let round = !self.edge.before(self.round);
        let limited = self.is_limited();
        if round {
            self.next_round();
        }
        let rate = self.meter.rate(now, &news.rate, self.rtt.min());
        let Some(congestion) = &mut self.congestion else { return };
        congestion.on_ack(&Ack {
            now,
            bytes: news.bytes,
            delivered: self.meter.delivered,
            prior_delivered: news.rate.mark.map_or(0, |(mark, _)| mark.delivered),
            in_flight: self.flight,
            limited,
            current: news.newest > self.shrunk_at,
            round,
            rtt,
            min_rtt: self.rtt.min(),
            rate,
        });
        self.update_rate();
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
            let flight = self.flight;
            let mut found = Found::default();
            self.lose(self.edge, &mut found);
            self.enter_recovery(now, flight, &found, false, stats);
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

    /// Declares lost what is overdue, and sets the timer for what will be. `silence`: nothing had arrived for long.
    fn detect_losses(&mut self, now: Instant, silence: bool, stats: &mut Stats) {
        let tolerance = self.tolerance();
        let flight = self.flight;
        let mut found = Found::default();
        self.reorder_at = Instant::FAR_FUTURE;
        while self.scan.before(self.next) {
            let seq = self.scan;
            let Some(segment) = self.segment(seq) else { break };
            let (sent, state) = (segment.sent, segment.state);
            if !state.has(State::SACKED | State::LOST | State::RESENT) {
                match self.overdue_at(seq, sent, tolerance) {
                    Some(at) if at <= now => self.lose(seq, &mut found),
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
                match self.overdue_at(seq, at, tolerance).map(|due| due.max(after(at, self.rtt.min()))) {
                    Some(due) if due <= now => self.lose(seq, &mut found),
                    Some(due) => {
                        self.reorder_at = self.reorder_at.min(due);
                        break;
                    }
                    None => break,
                }
            }
            self.resent.pop_front();
        }
        if found.packets > 0 {
            self.enter_recovery(now, flight, &found, silence, stats);
        }
    }

    /// Queues a packet for retransmission.
    fn lose(&mut self, seq: Seq, found: &mut Found) {
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
        self.lost_count += 1;
        if self.lost.back().is_none_or(|last| last.before(seq)) {
            self.lost.push_back(seq);
        } else {
            // A lost retransmission: what the peer waits for goes first.
            let place = self.lost.partition_point(|s| s.before(seq));
            self.lost.insert(place, seq);
        }
    }

    /// Packets were found lost, when `flight` bytes were under way. Those that were first sent before the window last
    /// shrank say nothing new about it.
    fn enter_recovery(&mut self, now: Instant, flight: u64, found: &Found, silence: bool, stats: &mut Stats) {
        self.forced = true;
        let event = silence || found.first > self.shrunk_at;
        if event {
            self.shrunk_at = now;
            self.declared = (0, 0);
            self.reduction = Reduction { flight, ..Reduction::default() };
            self.recovery = Some(self.next);
            stats.loss_episodes += 1;
            if stats.loss_episodes.is_multiple_of(PATIENCE_LIFE) {
                self.patience = self.patience.div_ceil(2);
            }
        }
        self.declared.0 += found.packets;
        self.recovery.get_or_insert(self.next);
        if let Some(congestion) = &mut self.congestion {
            congestion.on_loss(&Loss { now, bytes: found.bytes, in_flight: self.flight, event, silence });
            self.update_rate();
        }
    }

    /// The packet that is to provoke an acknowledgement, whatever window and rate say: the oldest, or one beyond.
    pub(super) fn pick_probe(&mut self, now: Instant, p: &Params) -> Option<Seq> {
        let seq = match self.probe.take() {
            Some(oldest) => oldest,
            None if core::mem::take(&mut self.probe_beyond) => self.last_out(now)?,
            None => return None,
        };
        let state = self.segment(seq)?.state;
        if seq.before(self.edge) || state.has(State::SACKED) {
            return None;
        }
        if !state.has(State::LOST) {
            // Still believed to be under way, and counted once.
            let cost = u64::from(self.segment(seq)?.cost);
            self.flight = self.flight.saturating_sub(cost);
        }
        self.send_again(now, p, seq);
        Some(seq)
    }

    /// The last packet that is out and not known to have arrived, unless it goes out at this moment.
    fn last_out(&self, now: Instant) -> Option<Seq> {
        let mut out = self.queue.iter().take(self.outstanding() as usize);
        let last = out.rposition(|s| !s.state.has(State::SACKED))?;
        self.queue.get(last).filter(|s| s.sent != now).map(|_| self.edge + last as u32)
    }

    /// The next packet to retransmit, if window and rate let it go.
    pub(super) fn pick_lost(&mut self, now: Instant, p: &Params) -> Option<Seq> {
        while let Some(&seq) = self.lost.front() {
            let waits = !seq.before(self.edge) && self.segment(seq).is_some_and(|s| s.state.has(State::LOST));
            if !waits {
                self.lost.pop_front();
                continue;
            }
            if !core::mem::take(&mut self.forced) && !self.may_send(now, seq) {
                return None;
            }
            self.lost.pop_front();
            self.send_again(now, p, seq);
            return Some(seq);
        }
        None
    }

    fn send_again(&mut self, now: Instant, p: &Params, seq: Seq) {
        if let Some(segment) = self.segment(seq) {
            let was_lost = segment.state.has(State::LOST);
            segment.state.clear(State::LOST);
            segment.state.set(State::RESENT);
            self.lost_count -= u32::from(was_lost);
        }
        self.launch(now, seq);
        self.resent.push_back((seq, now));
        self.start_rto(now, p);
    }

    /// The loss part of a timeout. `false` when nothing has arrived for R: the flow is down.
    pub(super) fn check_losses(&mut self, now: Instant, p: &Params, stats: &mut Stats) -> bool {
        if now >= self.reorder_at {
            self.detect_losses(now, false, stats);
        }
        if now < self.rto_at {
            return true;
        }
        if self.outstanding() == 0 {
            self.rto_at = Instant::FAR_FUTURE;
            return true;
        }
        if now >= self.ends_at(p) {
            return false;
        }
        stats.timeouts += 1;
        self.on_timeout(now, p, stats);
        self.silent = self.silent.saturating_add(1);
        self.backoff = self.backoff.saturating_add(1);
        self.arm_rto(now, p);
        true
    }

    /// Nothing came back in time: a lost tail, a lost acknowledgement, or a path that has become longer. Something is
    /// sent, whatever the window and the rate say and whatever else waits: without that no answer would ever come.
    fn on_timeout(&mut self, now: Instant, p: &Params, stats: &mut Stats) {
        self.repeated_acks = 0;
        if !self.rtt.known() {
            // Perhaps the peer has never heard of the run.
            self.ask();
        }
        self.expired_at = now;
        // Alone once only: what lies beyond may be more than the peer takes.
        let first = self.silent == 0 && self.lost_count == 0;
        let both = self.silent > 0 && self.rto(p) < HURRY;
        self.probe_beyond = self.peer_is_o7s && (first || both);
        // What the peer waits for (RFC 6298, 5.4).
        self.probe = (!self.probe_beyond || !first).then_some(self.edge);
        if self.peer_is_o7s || !self.rtt.known() {
            return;
        }
        let burst = match self.silent {
            0 => BLIND_BURST,
            _ if self.congestion.is_none() => TIMEOUT_BURST,
            _ => u32::MAX,
        };
        self.resent.clear();
        let (flight, mut found) = (self.flight, Found::default());
        let (mut seq, mut marked) = (self.edge, 0);
        while seq.before(self.next) && marked < burst {
            marked += u32::from(self.segment(seq).is_some_and(|s| !s.state.has(State::SACKED)));
            self.lose(seq, &mut found);
            seq += 1;
        }
        self.enter_recovery(now, flight, &found, self.silent > 0, stats);
        // The oldest goes first, as the probe.
        self.forced = false;
    }
}

pub(super) fn later(a: Seq, b: Seq) -> Seq {
    if a.before(b) { b } else { a }
}
