//! A sender whose receiver counts: so many packets in flight.

use core::time::Duration;

use super::law::{self, FORGETTING};
use super::rivals::{Rivals, Shortest};
use crate::base::time::Instant;

/// Packets in flight at the start, and the bounds.
const INITIAL: f64 = 16.0;
const MIN: f64 = 0.5;
const MAX: f64 = 1e7;
/// Faster than the window over a round trip, so that the window decides: of the two, in slow start and then.
const PACE_SLOW_START: f64 = 2.0;
const PACE: f64 = 1.2;
/// The share of the newest in the means of round-trip time and speed.
const NEWEST: f64 = 0.25;
/// A packet that was lost counts as one with this mark: at most a full queue, at the least chance.
const LOST_MARK: f64 = 32.0;
/// Packets after which the receiver is asked what became of them.
const ASK_EVERY: u32 = 64;
/// Wait beyond two round-trip times before the receiver is asked for news, before it is asked again for an answer, and
/// before everything in flight counts as lost.
const TAIL: Duration = Duration::from_millis(5);
const ANSWER: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest round-trip time that is believed, seconds.
pub(super) const LONGEST: f64 = 60.0;

/// Delivered packets of those sent.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    delivered: u32,
    marks: u32,
}

/// A round: from one moment until everything that was in flight then has arrived.
#[derive(Clone, Copy, Debug)]
struct Round {
    began_at: Instant,
    /// Packets that are still to come.
    awaited: u32,
    delivered: f64,
    marks: f64,
    lost: f64,
}

/// Window of packets in flight.
#[derive(Clone, Debug)]
pub(super) struct Window {
    packets: f64,
    slow_start: bool,
    sent: u32,
    flight: u32,
    last: Counts,
    /// Time of the last feedback, or at which the wait for it was given up; time of the last packet sent.
    heard_at: Instant,
    sent_at: Instant,
    /// As before, but the end of a wait does not count; the path may have changed then.
    alive_at: Instant,
    /// The wait for feedback was given up, and there has been none since.
    given_up: bool,
    /// Seconds; 0 before the first round.
    rtt: f64,
    shortest: Shortest,
    /// Bytes per second; 0 before the first round.
    speed: f64,
    round: Option<Round>,
    /// The flow would have sent more, in this round, and since the last packet.
    limited: bool,
    waited: bool,
    /// Seconds without a mark.
    clear: f64,
    mark: f64,
    asked: Asked,
    rivals: Rivals,
}

/// Question to the receiver.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// Time of the question, if there was no answer yet.
    pending: Option<Instant>,
    /// Packets sent when it was asked last.
    sent: u32,
    /// Packets that can have been in flight then, at most, and those that were delivered as far as was known.
    flight: u32,
    delivered: u32,
    /// Packets sent before the question that was answered last, and the most that were missing when one was.
    answered: u32,
    missing: u32,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            packets: INITIAL,
            slow_start: true,
            sent: 0,
            flight: 0,
            last: Counts::default(),
            heard_at: now,
            alive_at: now,
            given_up: false,
            sent_at: now,
            rtt: 0.0,
            shortest: Shortest::new(now),
            speed: 0.0,
            round: None,
            limited: false,
            waited: false,
            clear: 0.0,
            mark: 0.0,
            asked: Asked::default(),
            rivals: Rivals::new(now),
        }
    }

    pub(super) const fn is_slow_start(&self) -> bool {
        self.slow_start
    }

    /// The mean mark of the last round.
    pub(super) const fn mark(&self) -> f64 {
        self.mark
    }

    /// Packets sent, modulo 2³².
    pub(super) const fn sent_packets(&self) -> u32 {
        self.sent
    }

    /// Packets per second: what the window makes of the round-trip time. `None` before that is known.
    pub(super) fn rate(&self) -> Option<f64> {
        (self.rtt > 0.0).then(|| self.packets / self.rtt)
    }

    /// Packets per second, at most: spreads the window over the round trip.
    pub(super) fn pace(&self) -> Option<f64> {
        self.rate().map(|rate| rate * if self.slow_start { PACE_SLOW_START } else { PACE })
    }

    /// Returns `Ok` if one more packet may be in flight.
    ///
    /// # Errors
    /// When to ask again, if nothing is heard before.
    pub(super) fn room(&mut self, now: Instant) -> Result<(), Instant> {
        let idle = now.since(self.sent_at);
        // Idle by its own choice, and for longer than an answer takes. A flow that was held back is not idle, however
        // long it waits.
        if !self.waited && idle > self.trips(ANSWER) {
            self.resume(idle);
            self.sent_at = now;
        }
        if f64::from(self.flight) < self.rivals.limit(now, self.packets).max(1.0) {
            return Ok(());
        }
        self.limit();
        let since = self.heard_at.max(self.sent_at);
        let lost_at = self.heard_at + self.trips(PATIENCE);
        if now >= lost_at {
            // Nothing was heard of it.
            self.lose_all(now);
            self.given_up = true;
            return Ok(());
        }
        let tail = since + self.trips(TAIL);
        // When the receiver is to be asked: at the tail, and again if the answer got lost.
        Err(lost_at.min(if now < tail { tail } else { now + self.trips(TAIL) }))
    }

    /// All that is in flight is lost.
    fn lose_all(&mut self, now: Instant) {
        self.flight = 0;
        self.round = None;
        self.packets = (self.packets / 2.0).max(2.0);
        self.heard_at = now;
        self.shortest = Shortest::new(now);
    }

    /// What is in flight went a way that is gone. If something should have been heard of it, it is lost; so that happens no more
    /// than once in that time.
    pub(super) fn handle_path_change(&mut self, now: Instant) {
        self.shortest = Shortest::new(now);
        self.rivals.end_dip(now);
        // What was sent after a wait that was given up has had its time with what was waited for.
        if self.flight > 0 && now >= self.alive_at + self.trips(TAIL) {
            self.lose_all(now);
            (self.alive_at, self.given_up) = (now, false);
            // The answer may have been lost, too.
            self.asked.pending = None;
        }
    }

    /// The flow would have sent more.
    pub(super) fn limit(&mut self) {
        self.limited = true;
        self.waited = true;
    }

    /// Two round-trip times and a little.
    fn trips(&self, more: Duration) -> Duration {
        Duration::from_nanos((self.rtt * 2e9) as u64) + more
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.sent_at = now;
        self.waited = false;
        self.sent = self.sent.wrapping_add(1);
        if self.flight == 0 {
            // The first after a pause: only from now on something can be heard.
            self.heard_at = now;
            if !self.given_up {
                self.alive_at = now;
            }
        }
        self.flight = self.flight.saturating_add(1);
        // Packets have no numbers: a round is over when as many have arrived as are in flight now.
        if self.round.is_none() {
            let awaited = self.flight;
            self.round = Some(Round { began_at: now, awaited, delivered: 0.0, marks: 0.0, lost: 0.0 });
        }
    }

    /// The first packet after a pause: the others have arrived, reported or not, and what was known is getting old.
    fn resume(&mut self, idle: Duration) {
        self.flight = 0;
        self.round = None;
        // Nothing is waited for any more.
        self.given_up = false;
        let halvings = (idle.as_nanos() / FORGETTING.as_nanos()).min(30);
        let less = self.packets / f64::from(1_u32 << halvings);
        self.packets = less.max(self.packets.min(INITIAL));
    }

    /// Returns `true` if the receiver has to be asked for a report: now and then, and after silence.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        if self.asked.pending.is_some_and(|at| now < at + self.trips(ANSWER)) {
            return false;
        }
        let silent = || now >= self.heard_at.max(self.sent_at) + self.trips(TAIL);
        let full = f64::from(self.flight) >= self.rivals.limit(now, self.packets).max(1.0);
        if self.sent.wrapping_sub(self.asked.sent) < ASK_EVERY && !(full && silent()) {
            return false;
        }
        self.asked.pending = Some(now);
        self.asked.sent = self.sent;
        self.asked.flight = self.sent.wrapping_sub(self.asked.answered);
        self.asked.delivered = self.last.delivered;
        true
    }

    /// The receiver has had so many packets with marks of this sum, modulo 2³²; `answer` is how many had been sent when
    /// it was asked, if it was. `length` is the mean length of packets.
    pub(super) fn report(&mut self, now: Instant, delivered: u32, marks: u32, answer: Option<u32>, length: f64) {
        let got = delivered.wrapping_sub(self.last.delivered);
        if got > u32::MAX / 2 {
            // Older than what is known; or that is wrong.
            if !self.is_contradicted(delivered, answer) {
                return;
            }
            (self.last, self.asked.delivered) = (Counts { delivered, marks }, delivered);
        }
        // Never more than was sent, whatever the other end says.
        let got = if got > u32::MAX / 2 { 0 } else { got.min(self.flight) };
        // A mark is a byte, so nothing beyond that is believed either.
        let marks_got = marks.wrapping_sub(self.last.marks).min(got.saturating_mul(255));
        self.last = Counts { delivered, marks };
        self.heard_at = now;
        (self.alive_at, self.given_up) = (now, false);
        self.flight -= got;
        if let Some(sent) = answer {
            self.answered(sent, delivered);
        }
        if self.slow_start && got > 0 {
            self.start(got, f64::from(marks_got) / f64::from(got), length);
        }
        let Some(round) = &mut self.round else { return };
        round.delivered += f64::from(got);
        round.marks += f64::from(marks_got);
        round.awaited = round.awaited.saturating_sub(got);
        if round.awaited == 0 && round.delivered + round.lost > 0.0 {
            let round = *round;
            self.round = None;
            self.decide(now, &round, length);
        }
    }

    /// Returns `true` if the answer to the question that is open says so much less than what is known that this was never
    /// true: somebody who knows the flow has made up a report. Without it every true report would be taken for an old one.
    fn is_contradicted(&self, delivered: u32, answer: Option<u32>) -> bool {
        let behind = self.last.delivered.wrapping_sub(delivered);
        // What can have overtaken the answer, each packet twice.
        let overtook = self.asked.flight.saturating_add(self.sent.wrapping_sub(self.asked.sent));
        self.asked.pending.is_some() && answer == Some(self.asked.sent) && behind > overtook.saturating_mul(2)
    }

    /// Takes an answer: packets sent before the question arrived before it, or not at all.
    fn answered(&mut self, sent: u32, delivered: u32) {
        let after = self.sent.wrapping_sub(sent);
        // An answer to a question before the one that was answered last says nothing new.
        if after > self.sent.wrapping_sub(self.asked.answered) {
            return;
        }
        let most = sent.wrapping_sub(self.asked.answered);
        self.asked.answered = sent;
        if sent == self.asked.sent {
            self.asked.pending = None;
        }
        // What has overtaken the question has been reported: what was since, beyond all that can have been in flight then. Of
        // an earlier question that is not known any more.
        let since = delivered.wrapping_sub(self.asked.delivered);
        let overtook = since.saturating_sub(self.asked.flight);
        let after = if sent == self.asked.sent { after.saturating_sub(overtook) } else { after.min(self.flight) };
        let gone = self.flight.saturating_sub(after);
        self.flight = after;
        // A question that is overtaken by some packets must not make them look lost with the next: only more than ever is.
        let missing = sent.wrapping_sub(delivered);
        let lost = missing.wrapping_sub(self.asked.missing);
        // Nor can more be lost than were sent since the answer before: what made-up answers hid comes with the next ones.
        let lost = if lost < u32::MAX / 2 { lost.min(most) } else { 0 };
        self.asked.missing = self.asked.missing.wrapping_add(lost);
        if let Some(round) = &mut self.round {
            round.lost += f64::from(lost);
            round.awaited = round.awaited.saturating_sub(gone);
        }
    }

    /// Slow start: a packet more for each that has arrived, until marks are more than the flow is willing to pay.
    fn start(&mut self, got: u32, mark: f64, length: f64) {
        let pays = self.rate().map_or(1.0, |rate| law::target(rate * length));
        if mark > pays {
            self.slow_start = false;
        } else if self.limited {
            self.packets = (self.packets + f64::from(got)).min(MAX);
        }
    }

    fn decide(&mut self, now: Instant, round: &Round, length: f64) {
        let seconds = now.since(round.began_at).as_secs_f64().clamp(1e-6, LONGEST);
        // The first value is taken as it is: there is no mean yet that it could move.
        let mean = |was: f64, new: f64| if was == 0.0 { new } else { was + NEWEST * (new - was) };
        self.rtt = mean(self.rtt, seconds);
        self.shortest.add(now, seconds, round.delivered);
        self.speed = mean(self.speed, (round.delivered * length / seconds).max(1.0));
        let mark = (round.marks + LOST_MARK * round.lost) / (round.delivered + round.lost);
        self.mark = mark;
        self.clear = if mark > 0.0 { 0.0 } else { self.clear + seconds };
        let limited = core::mem::take(&mut self.limited);
        if self.slow_start {
            // One lost in 32 weighs as much as a mark of one on all.
            if round.lost * LOST_MARK > round.delivered {
                self.slow_start = false;
            }
            return;
        }
        // Without the losses: what a path that was gone has swallowed is not the queue of a rival.
        self.rivals.meet(now, round.marks / round.delivered.max(1.0));
        // The marks of a dip are those of a smaller window: nothing follows from them for this one.
        if self.rivals.is_dip(now) || self.rivals.is_dip(round.began_at) {
            return;
        }
        let step = law::step(self.speed, self.packets, mark, seconds);
        let step = self.rivals.step(now, law::impatient(step, self.clear), seconds);
        // A window that was not used up has not been tested, and does not grow.
        if step < 0.0 || limited {
            self.packets = self.rivals.restore(now, self.packets * (1.0 + step), mark, seconds).clamp(MIN, MAX);
        }
        self.rivals.plan(now, self.packets, mark, self.shortest.get().min(self.rtt), self.rtt);
    }
}

#[cfg(test)]
mod tests;
