//! The end of a flow between two o7s ends: the notices that each sends, and those that each has received.
//!
//! On a reliable flow the end of a stream is a packet of the stream: numbered, acknowledged, retransmitted like data, and
//! effective in its turn, so that the reader has everything before it. It takes no room in the reader's window. What has no
//! place in a stream, the end of a best-effort flow and an abort, is a *notice*: a control packet that is repeated, ever
//! later, until the peer says that it knows. That of an end goes when nothing is left to send, or the peer has opened no
//! window for a while; an abort waits for nothing.

use crate::base::time::Instant;

/// How often a notice is sent at most.
const TRIES: u8 = 5;
/// Pause after the first, nanoseconds, unless the round trip is longer; it doubles with each.
const PAUSE: u64 = 100_000_000;

/// What an end says when it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Ending {
    /// It writes no more, but goes on reading.
    Writing,
    /// It neither writes nor reads any more.
    Closed,
    /// It gave the flow up; what was on its way is lost.
    Aborted,
}

impl Ending {
    /// The byte on the wire.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Writing => 0,
            Self::Closed => 1,
            Self::Aborted => 2,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Writing),
            1 => Some(Self::Closed),
            2 => Some(Self::Aborted),
            _ => None,
        }
    }
}

/// The byte with which a notice is answered.
pub(crate) const KNOWN: u8 = 3;

/// What this end says outside of its stream.
#[derive(Debug)]
pub(crate) struct Notice {
    ending: Option<Ending>,
    tries: u8,
    /// When it is sent next.
    at: Instant,
    /// Notices of the peer that are to be answered: each, for it counts the answers.
    answers_due: u8,
    /// What goes into the next packet.
    pub(crate) byte: [u8; 1],
    /// Notices sent that the peer has not answered, and how many of those said less than the last: an answer does not tell
    /// what it is an answer to.
    unanswered: u8,
    outdated: u8,
}

impl Notice {
    pub(crate) const fn new() -> Self {
        Self { ending: None, tries: 0, at: Instant::FAR_FUTURE, answers_due: 0, byte: [0], unanswered: 0, outdated: 0 }
    }

    /// Says `ending` from now on, unless as much was said before.
    pub(crate) fn say(&mut self, now: Instant, ending: Ending) {
        if self.ending.is_none_or(|said| said < ending) {
            self.ending = Some(ending);
            self.tries = TRIES;
            self.at = now;
            // Their answers are still to come, and must not be taken for answers to this one.
            self.outdated = self.unanswered;
        }
    }

    /// Says it once more at `now` instead of later, unless the peer has answered.
    pub(crate) fn hasten(&mut self, now: Instant) {
        if self.tries > 0 {
            self.at = now;
        }
    }

    /// The peer has answered one of the notices.
    pub(crate) fn answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.outdated == 0 {
            self.heard();
        }
        self.outdated = self.outdated.saturating_sub(1);
    }

    /// What was picked last could not be sent.
    pub(crate) fn note_unsent(&mut self) {
        if self.byte != [KNOWN] {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
    }

    /// The peer knows.
    pub(crate) fn heard(&mut self) {
        self.tries = 0;
        self.at = Instant::FAR_FUTURE;
    }

    /// Returns `true` if the peer may have heard of it, and has not said so.
    pub(crate) fn was_said(&self) -> bool {
        (1..TRIES).contains(&self.tries) && self.unanswered > 0
    }

    /// Returns `true` if it is said again unless the peer answers.
    pub(crate) const fn is_repeated(&self) -> bool {
        self.tries > 0
    }

    /// The peer said something and wants to know that it was heard.
    pub(crate) fn answer(&mut self) {
        self.answers_due = (self.answers_due + 1).min(TRIES);
    }

    /// Returns `true` if everything was said that is to be said.
    pub(crate) fn is_over(&self) -> bool {
        self.tries == 0 && self.answers_due == 0
    }

    /// Returns `true` if a packet is due, whose content is then in `byte`. `srtt` is the round trip, nanoseconds; `held`: the end
    /// is not told yet.
    pub(crate) fn pick(&mut self, now: Instant, srtt: u64, held: bool) -> bool {
        // Answers first: the peer repeats what it has said until it has one.
        if self.answers_due > 0 {
            self.answers_due -= 1;
            self.byte = [KNOWN];
            return true;
        }
        let Some(ending) = self.ending.filter(|_| !held && now >= self.at && self.tries > 0) else { return false };
        let pause = PAUSE.max(srtt.saturating_mul(2)) << (TRIES - self.tries);
        self.tries -= 1;
        self.at = now.plus_nanos(pause);
        self.byte = [ending.to_byte()];
        self.unanswered += 1;
        true
    }

    pub(crate) fn deadline(&self) -> Instant {
        if self.tries > 0 { self.at } else { Instant::FAR_FUTURE }
    }
}
