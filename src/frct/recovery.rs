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
//! # Another path
//!
//! Timeouts double because silence may be congestion. A layer that has lost the way to the peer, and has another, knows better
//! (RFC 6069): the oldest packet goes out at once and the timeout is undoubled. Nothing else that is known of the path changes, and
//! the window is that of any other probe after a timeout. Neither comes sooner after the last attempt than an undoubled timeout, so a way that comes and goes
//! makes the flow send what it would with timeouts that do not double, at most.
//!
//! # What an acknowledgement of something sent twice proves
//!
//! It may be for either transmission, so it is no round-trip time (Karn), and a timeout that was doubled stays so until
//! there is one (RFC 6298, 5.5 to 5.7), or an answer at least took no longer than one should. A packet that was sent for the
//! first time after the timeout, and once, is one. But the packet *has* arrived: if not as sent last, then as sent first. An
//! answer sooner than any round trip of late is taken for one to the first transmission; three in a row, each to what was
//! sent again after the one before had come, mean that the path has become shorter, and correct the minimum, which no sample
//! could while everything is sent twice.

mod losses;
mod repairs;
mod timeout;

pub(super) use self::losses::{Episode, Evidence, Found};
pub(super) use self::repairs::Repairs;
pub(super) use self::timeout::{TimeoutProbe, Timer};
use super::Params;
use super::congestion::Ack;
use super::counters::Counters;
use super::pacing::{Mark, Sample};
use super::segment::{Segment, State};
use super::tx::Sender;
use crate::base::buf::BufCache;
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::wire::frct::Sack;

/// Timeouts in a row without a sign of life that are silence: loss found after them begins anew.
const SILENCE: u8 = 2;
/// Largest tolerance for reordering, quarters of the round-trip time.
const PATIENCE_MAX: u8 = 8;
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

impl Sender {
    /// The peer expects `ackno` next and holds what `sack` says beyond. `false` if it acknowledges what was never sent.
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        p: &Params,
        ackno: Seq,
        sack: Option<&Sack>,
        stats: &mut Counters,
        cache: &mut BufCache,
    ) -> bool {
        // Forged, or of another run: believing it would move the edge past packets that are still to be sent.
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
        if !self.peer_is_o7s && (news.resent || self.has_open_episode()) {
            news.sample = None;
        }
        // The pointer and the ranges are relative to numbers that are out: below the edge they mean nothing.
        if advanced {
            self.sacked.remove_below(self.edge);
            self.evidence.scan = self.evidence.scan.later(self.edge);
        }
        for (first, end) in sack.iter().flat_map(|s| s.blocks()) {
            self.on_block(now, first, end, &mut news, cache);
        }
        // A full report is cut at its limit of blocks, so a number that is missing in it may have arrived all the same.
        news.partial = sack.is_some_and(|s| s.encoded_len() == Sack::MAX_LEN);
        if news.bytes > 0 || advanced {
            self.on_progress(now, p, advanced, &news, stats);
        }
        true
    }

    /// The peer holds `[first, end)`. The oldest packet is never among them: it would have been acknowledged.
    fn on_block(&mut self, now: Instant, first: Seq, end: Seq, news: &mut News, cache: &mut BufCache) {
        let first = first.later(self.edge + 1);
        // A block beyond what was sent is implausible like such an acknowledgement, one below the edge is old.
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
                resent: 0,
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
        if let Some(episode) = &mut self.episode {
            episode.reduction.arrived += cost;
        }
        self.note_passed(segment.size(), segment.state);
        self.rate.meter.arrived(now, segment, cost, &mut news.rate);
        // A lost packet was taken out of the flight when it was declared lost. That it arrives now says that the
        // declaration was too early, unless it was sent again: `declared` counts both for the undo.
        let was_lost = segment.state.has(State::LOST);
        if was_lost {
            segment.state.clear(State::LOST);
            self.repairs.lost_count -= 1;
            self.note_mistake();
        } else {
            self.flight = self.flight.saturating_sub(cost);
        }
        let sent = self.judge(now, seq, segment, was_lost, news);
        self.evidence.highest = self.evidence.highest.later(seq + 1);
        if (sent, seq - self.edge) >= (self.evidence.newest.0, self.evidence.newest.1 - self.edge) {
            self.evidence.newest = (sent, seq);
            self.evidence.newest_rtt = now.nanos_since(sent);
        }
    }

    /// What it says of the path that a packet has arrived at this time, perhaps sent again. Returns when the transmission
    /// that arrived was sent.
    fn judge(&mut self, now: Instant, seq: Seq, segment: &Segment, was_lost: bool, news: &mut News) -> Instant {
        let mut sent = segment.sent;
        let took = now.nanos_since(sent);
        if segment.state.has(State::RESENT) {
            // Answers of one mistake, to have sent again what was only late, come together, and count once.
            let another = !core::mem::replace(&mut news.resent, true) && sent > self.timer.progress_at;
            let hasty = took.saturating_add(took / 8) < self.rtt.min();
            self.evidence.hasty = if hasty { self.evidence.hasty + u8::from(another) } else { 0 };
            if self.evidence.hasty >= HASTY {
                self.evidence.hasty = 0;
                self.rtt.correct_min(now, took);
            } else if !self.rtt.known() {
                // The timeout was a guess.
                sent = segment.first;
            } else if hasty || was_lost {
                // That fast it was the first transmission: losses were declared too early.
                sent = segment.first;
                if hasty && !was_lost {
                    self.note_mistake();
                }
                self.evidence.patience = (self.evidence.patience + 1).min(PATIENCE_MAX);
            } else {
                news.prompt |= took <= self.rtt.timeout();
            }
        } else {
            self.evidence.hasty = 0;
            news.sample = Some((sent, seq));
            // Arrived behind a later one and sent once: the path reorders, which from now on costs time instead of
            // retransmissions (RFC 8985, 6.2).
            if self.evidence.patience == 0 && seq.before(self.evidence.highest) && took > self.rtt.min() {
                self.evidence.patience = 1;
            }
        }
        sent
    }

    /// Something arrived: measure, look for losses, let the window grow.
    fn on_progress(&mut self, now: Instant, p: &Params, advanced: bool, news: &News, stats: &mut Counters) {
        let silent = core::mem::take(&mut self.timer.silent);
        self.timer.tried = false;
        let silence = silent >= SILENCE;
        self.timer.progress_at = now;
        self.evidence.repeated_acks = 0;
        // After a timeout it may be the probe that was answered, and what it tells of what was sent before old news.
        let timely = news.sample.filter(|(sent, _)| silent == 0 || *sent >= self.timer.expired_at);
        let sample = timely.map(|(sent, _)| now.nanos_since(sent));
        if news.prompt {
            // No sample, but no reason to think that the timeout was too short either.
            self.timer.backoff = 0;
        }
        if let Some(took) = sample {
            self.timer.backoff = 0;
            self.rtt.sample(now, took);
        }
        let in_recovery = self.leave_episode(stats);
        self.tell_arrival(now, news, sample);
        if self.outstanding() == 0 {
            self.timer.at = Instant::FAR_FUTURE;
            self.evidence.reorder_at = Instant::FAR_FUTURE;
            self.probe = TimeoutProbe::default();
            self.repairs.lost.clear();
            self.repairs.resent.clear();
            return;
        }
        if news.partial {
            // The rest of the report comes at once, unless it is lost.
            self.evidence.reorder_at = self.evidence.reorder_at.min(now.plus_nanos(self.rtt.smoothed() / 8));
        } else if self.sacked_count > 0 || !self.repairs.resent.is_empty() {
            self.detect_losses(now, silence, stats);
        }
        // A partial acknowledgement: it stops at the next hole, which is retransmitted at once (NewReno, RFC 6582,
        // 3.2).
        if in_recovery && advanced && !self.peer_is_o7s {
            self.suspect_oldest(now, stats);
        }
        self.arm_rto(now, p);
    }

    /// A packet that was declared lost was not.
    fn note_mistake(&mut self) {
        if let Some(episode) = &mut self.episode {
            episode.declared.1 += 1;
        }
    }

    /// Ends the episode that is over, and takes it back if it was a mistake. Returns `true` if some of what was out when it
    /// began has not been acknowledged yet.
    fn leave_episode(&mut self, stats: &mut Counters) -> bool {
        let Some(episode) = &mut self.episode else { return false };
        let in_recovery = episode.until.is_some_and(|end| self.edge.before(end));
        if !in_recovery {
            episode.until = None;
        }
        // All packets declared lost in this episode have arrived as first sent: the window was reduced for nothing, and
        // is restored (the idea of Eifel, RFC 4015).
        if episode.declared.0 > 0 && episode.declared.1 >= episode.declared.0 {
            stats.rare().spurious += u64::from(episode.declared.0);
            episode.declared = (0, 0);
            episode.until = None;
            if let Some(congestion) = &mut self.rate.congestion {
                congestion.on_spurious();
            }
        }
        in_recovery
    }

    /// Tells the controller what arrived.
    fn tell_arrival(&mut self, now: Instant, news: &News, rtt: Option<u64>) {
        let round = !self.edge.before(self.rate.round);
        // Asked before `next_round`, which forgets the older of the two rounds.
        let limited = self.is_limited();
        if round {
            self.next_round();
        }
        let rate = self.rate.meter.rate(now, &news.rate, self.rtt.min());
        let current = news.newest > self.shrunk_at();
        let Some(congestion) = &mut self.rate.congestion else { return };
        // `current`: what was sent before the window last shrank has met the old one, and is no reason for the new one to
        // grow.
        congestion.on_ack(&Ack {
            now,
            bytes: news.bytes,
            delivered: self.rate.meter.delivered,
            prior_delivered: news.rate.mark.map_or(0, |(mark, _)| mark.delivered),
            in_flight: self.flight,
            limited,
            current,
            round,
            rtt,
            min_rtt: self.rtt.min(),
            rate,
        });
        self.update_rate();
    }
}
