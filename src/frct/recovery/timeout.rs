//! The retransmission timer, and the packets that are sent only to provoke an answer.

use super::losses::Found;
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::Params;
use crate::frct::counters::Counters;
use crate::frct::segment::State;
use crate::frct::tx::Sender;

/// Packets that count as lost with the first timeout towards a peer that does not say what is missing.
const BLIND_BURST: u32 = 16;
/// Packets that count as lost with each further timeout when no congestion window holds them back.
const TIMEOUT_BURST: u32 = 64;
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

/// The retransmission timer.
pub(in crate::frct) struct Timer {
    /// When it expires.
    pub(in crate::frct) at: Instant,
    /// Doublings of the timeout: kept until a round trip has been measured.
    pub(in crate::frct) backoff: u8,
    /// Timeouts since something arrived.
    pub(in crate::frct) silent: u8,
    /// The peer takes something again and was sent a packet for it, and nothing has arrived since.
    pub(in crate::frct) tried: bool,
    /// When it last expired, or a change of the path counted as that.
    pub(in crate::frct) expired_at: Instant,
    /// When something last arrived that the peer had not confirmed before.
    pub(in crate::frct) progress_at: Instant,
}

impl Default for Timer {
    fn default() -> Self {
        Self {
            at: Instant::FAR_FUTURE,
            backoff: 0,
            silent: 0,
            tried: false,
            expired_at: Instant::ZERO,
            progress_at: Instant::ZERO,
        }
    }
}

/// What is to be sent only to provoke an acknowledgement.
#[derive(Default)]
pub(in crate::frct) struct TimeoutProbe {
    /// A packet that is out, once more.
    pub(in crate::frct) oldest: Option<Seq>,
    /// Then, for the same, a new one or the last.
    pub(in crate::frct) beyond: bool,
}

impl TimeoutProbe {
    /// Returns `true` if a packet is to be sent only to provoke an acknowledgement.
    #[inline]
    pub(in crate::frct) const fn is_due(&self) -> bool {
        self.oldest.is_some() || self.beyond
    }
}

impl Sender {
    /// Timeout of the oldest packet, nanoseconds, before backing off.
    pub(in crate::frct) fn rto(&self, p: &Params) -> u64 {
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
        oldest.first.max(self.timer.progress_at).plus_nanos(p.r.max(attempts).saturating_add(1))
    }

    /// Starts the timer of the oldest packet.
    pub(in crate::frct) fn arm_rto(&mut self, now: Instant, p: &Params) {
        let rto = self.rto(p);
        let doubles = self.timer.backoff.min(if self.rtt.known() { DOUBLES } else { DOUBLES_UNKNOWN });
        // R is to hold a few attempts.
        let most = rto.max(p.rto_max.min(p.r / ATTEMPTS));
        let wait = rto.saturating_mul(1 << doubles).min(most);
        // Never sleep over the end of the flow.
        self.timer.at = now.plus_nanos(wait).min(self.ends_at(p).max(now.plus_nanos(1)));
    }

    /// Starts the timer if it does not run.
    #[inline]
    pub(in crate::frct) fn start_rto(&mut self, now: Instant, p: &Params) {
        if self.timer.at == Instant::FAR_FUTURE {
            self.arm_rto(now, p);
        }
    }

    /// Returns `true` if the peer has said that it takes nothing of what is out. The timer runs then: the oldest is
    /// sent again and again, and as long as the peer says the same, the flow is not dead.
    #[inline]
    pub(in crate::frct) fn is_shut(&self) -> bool {
        self.shut && self.outstanding() > 0
    }

    /// The peer, of our own kind, takes what is before `told`.
    pub(in crate::frct) fn on_told(&mut self, now: Instant, told: Seq) {
        if told == self.edge && self.outstanding() > 0 {
            // It has come, and was refused: that is an answer, and no loss.
            self.shut = true;
            self.timer.progress_at = now;
            self.timer.silent = 0;
            self.trust_path();
        } else if self.shut && told.after(self.edge) {
            self.shut = false;
            // Only once: a peer that says both in turn would get a packet of full size for each two small ones. After that
            // the timer tries, ever more seldom.
            if !core::mem::replace(&mut self.timer.tried, true) {
                self.timer.backoff = 0;
                self.probe.oldest = (self.outstanding() > 0).then_some(self.edge);
            }
        }
    }

    /// The packet that is to provoke an acknowledgement, whatever window and rate say: the oldest, or one beyond.
    pub(in crate::frct) fn pick_probe(&mut self, now: Instant, p: &Params) -> Option<Seq> {
        let seq = match self.probe.oldest.take() {
            Some(oldest) => oldest,
            None if core::mem::take(&mut self.probe.beyond) => self.last_out(now)?,
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

    /// Returns `true` if something is out and the last timeout brought no answer.
    pub(in crate::frct) fn backs_off(&self) -> bool {
        self.timer.silent > 0 && self.outstanding() > 0
    }

    /// When a timeout that did not double would expire after the last one.
    fn retry_at(&self, p: &Params) -> Instant {
        self.timer.expired_at.plus_nanos(self.rto(p))
    }

    /// Returns `true` if the last attempt is so long ago that a change of the path may cause another.
    pub(in crate::frct) fn may_retry(&self, now: Instant, p: &Params) -> bool {
        now >= self.retry_at(p)
    }

    /// What is out went a way that is gone, and goes another from now on. A sender that has backed off sends the oldest packet at
    /// once and undoubles its timeout (RFC 6069, 4); if the last attempt is not that long ago, the rest of the time is waited for.
    /// Returns `false` then, whether it has backed off or not: nothing is to be sent for this again.
    pub(in crate::frct) fn retry(&mut self, now: Instant, p: &Params) -> bool {
        let may = self.may_retry(now, p);
        if self.backs_off() {
            self.timer.backoff = 0;
            if may {
                self.probe.oldest = Some(self.edge);
                self.arm_rto(now, p);
            } else {
                self.timer.at = self.timer.at.min(self.retry_at(p));
            }
        }
        if may {
            self.timer.expired_at = now;
        }
        may
    }

    /// The loss part of a timeout. `false` when nothing has arrived for R: the flow is down.
    pub(in crate::frct) fn check_losses(&mut self, now: Instant, p: &Params, stats: &mut Counters) -> bool {
        if now >= self.evidence.reorder_at {
            self.detect_losses(now, false, stats);
        }
        if now < self.timer.at {
            return true;
        }
        if self.outstanding() == 0 {
            self.timer.at = Instant::FAR_FUTURE;
            return true;
        }
        if now >= self.ends_at(p) {
            return false;
        }
        stats.rare().timeouts += 1;
        self.on_timeout(now, p, stats);
        // Counted afterwards: `on_timeout` has to know whether this is the first.
        self.timer.silent = self.timer.silent.saturating_add(1);
        self.timer.backoff = self.timer.backoff.saturating_add(1);
        self.arm_rto(now, p);
        true
    }

    /// Nothing came back in time: a lost tail, a lost acknowledgement, or a path that has become longer. Something is
    /// sent, whatever the window and the rate say and whatever else waits: without that no answer would ever come.
    fn on_timeout(&mut self, now: Instant, p: &Params, stats: &mut Counters) {
        self.evidence.repeated_acks = 0;
        if !self.rtt.known() {
            // Perhaps the peer has never heard of the run.
            self.asking.ask();
        }
        self.timer.expired_at = now;
        // Alone once only: what lies beyond may be more than the peer takes.
        let shut = self.is_shut();
        let first = !shut && self.timer.silent == 0 && self.repairs.lost_count == 0;
        let both = !shut && self.timer.silent > 0 && self.rto(p) < HURRY;
        self.probe.beyond = self.peer_is_o7s && (first || both);
        // What the peer waits for (RFC 6298, 5.4).
        self.probe.oldest = (!self.probe.beyond || !first).then_some(self.edge);
        if self.peer_is_o7s || !self.rtt.known() {
            return;
        }
        let burst = match self.timer.silent {
            0 => BLIND_BURST,
            _ if self.rate.congestion.is_none() => TIMEOUT_BURST,
            _ => u32::MAX,
        };
        self.repairs.resent.clear();
        let (flight, mut found) = (self.flight, Found::default());
        let (mut seq, mut marked) = (self.edge, 0);
        while seq.before(self.next) && marked < burst {
            marked += u32::from(self.segment(seq).is_some_and(|s| !s.state.has(State::SACKED)));
            self.lose(seq, &mut found);
            seq += 1;
        }
        self.enter_recovery(now, flight, &found, self.timer.silent > 0, stats);
        // The oldest goes first, as the probe.
        self.repairs.forced = false;
    }
}
