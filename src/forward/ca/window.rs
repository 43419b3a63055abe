//! A sender whose receiver counts: so many packets in flight.

use core::time::Duration;

use super::law::{self, FORGETTING};
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
const LONGEST: f64 = 60.0;

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
    /// The shortest of all rounds, which is about one without a queue.
    shortest: f64,
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
            shortest: LONGEST,
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
    }

    /// What is in flight went a way that is gone. If something should have been heard of it, it is lost; so that happens no more
    /// than once in that time.
    pub(super) fn handle_path_change(&mut self, now: Instant) {
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
        self.shortest = self.shortest.min(seconds);
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
        self.rivals.look(now, mark);
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
        self.rivals.plan(now, self.packets, mark, (self.shortest, self.rtt));
    }
}

/// Senders that follow another law: a reference fills the queue to the brim within milliseconds and shrinks for as long
/// as there is any mark.
#[derive(Clone, Copy, Debug)]
struct Rivals {
    /// Time at which a queue was met that senders of this library do not make.
    seen_at: Option<Instant>,
    /// The window before it, less a little.
    high: f64,
    /// While the queue is kept from making marks, and the part of the window with which it is.
    dip_until: Instant,
    dip_to: f64,
    next_dip: Instant,
    /// The next one on a thin link.
    turn: Instant,
    /// Dips since one was met last.
    dips: u32,
}

impl Rivals {
    /// A mean mark that our own kind does not make, and for how long it is competed with after it was met last.
    const MARK: f64 = 12.0;
    const COMPETE: Duration = Duration::from_secs(1);
    /// Meanwhile the window shrinks no faster than this, and what it comes back to fades so fast, per second.
    const DECREASE: f64 = 1.0;
    const FADE: f64 = 0.5;
    /// Growth while the window is restored, per round.
    const RESTORE: f64 = 1.25;
    /// Length of a dip beyond a round trip; on thin links it is doubled with each that no rival has made use of, so often at
    /// most.
    const DIP: Duration = Duration::from_millis(50);
    const DOUBLED: u32 = 2;
    /// The interval between dips for a while after rivals were met: on thin links the length of 2³⁰ ns that slots of a slow
    /// reference have, times the golden section, so that dips soon meet the beginning of a slot, when all of it is sent,
    /// whatever power of two of that a slot has. And else.
    const TURN: Duration = Duration::from_nanos(663_608_942);
    const OFTEN: Duration = Duration::from_secs(1);
    const REMEMBERED: Duration = Duration::from_secs(60);
    const SELDOM: Duration = Duration::from_secs(5);

    fn new(now: Instant) -> Self {
        Self { seen_at: None, high: 0.0, dip_until: now, dip_to: 1.0, next_dip: now + Self::SELDOM, turn: now, dips: 0 }
    }

    fn seen_within(&self, now: Instant, time: Duration) -> bool {
        self.seen_at.is_some_and(|at| now.since(at) < time)
    }

    fn is_dip(&self, now: Instant) -> bool {
        now < self.dip_until
    }

    /// Usable part of a window.
    fn limit(&self, now: Instant, packets: f64) -> f64 {
        if self.is_dip(now) { packets * self.dip_to } else { packets }
    }

    /// Takes note of a rival. It has had its turn.
    fn look(&mut self, now: Instant, mark: f64) {
        if mark >= Self::MARK {
            self.seen_at = Some(now);
            self.dip_until = self.dip_until.min(now);
            self.turn = Self::turn_after(now);
            self.dips = 0;
        }
    }

    fn step(&self, now: Instant, step: f64, seconds: f64) -> f64 {
        if self.seen_within(now, Self::COMPETE) { step.max(-Self::DECREASE * seconds) } else { step }
    }

    /// Comes back soon to what there was before a rival came, once it has gone.
    fn restore(&mut self, now: Instant, packets: f64, mark: f64, seconds: f64) -> f64 {
        if !self.seen_within(now, Self::COMPETE) {
            self.high = packets;
            return packets;
        }
        self.high *= 1.0 - (Self::FADE * seconds).min(0.3);
        let back = mark == 0.0 && packets < self.high;
        let packets = if back { (packets * Self::RESTORE).min(self.high) } else { packets };
        self.high = self.high.max(packets);
        packets
    }

    /// Now and then the queue is let down to where it makes no mark, without letting it run dry: a sender that waits for
    /// that has its turn. `rtt` is the round-trip time without a queue, about, and as it is.
    fn plan(&mut self, now: Instant, packets: f64, mark: f64, rtt: (f64, f64)) {
        let often = self.seen_within(now, Self::REMEMBERED);
        let (queue, wires) = (mark * super::PACKETS_PER_MARK as f64, rtt.0 / rtt.1);
        let wide = packets / 2.0 > queue;
        // The queue is most of what is in flight, or of a few flows: what one of them could hold back is not all of it.
        let thin = often && !wide && wires <= 0.5 && packets * 2.0 > queue;
        if now < if thin { self.turn } else { self.next_dip } {
            return;
        }
        if thin {
            self.turn = Self::turn_after(now);
        } else {
            self.next_dip = now + if often { Self::OFTEN } else { Self::SELDOM };
        }
        if mark == 0.0 || !(wide || thin) {
            return;
        }
        let doubled = if thin { self.dips.min(Self::DOUBLED) } else { 0 };
        self.dips = self.dips.saturating_add(1);
        self.dip_until = now + Self::DIP * (1 << doubled) + Duration::from_nanos((rtt.1.min(1.0) * 1e9) as u64);
        // Of the queue, which is half a mark more than it says, a quarter of a mark is left: a link is not to run dry.
        let left = wires + (1.0 - wires) * 0.25 / (mark + 0.5);
        self.dip_to = if thin { left } else { 1.0 - queue / packets };
    }

    /// The flows of a stack dip together: what one of them holds back, another would fill up.
    fn turn_after(now: Instant) -> Instant {
        let every = Self::TURN.as_nanos() as u64;
        Instant::from_nanos((now.as_nanos() / every).saturating_add(1).saturating_mul(every))
    }
}

#[cfg(test)]
mod tests;
