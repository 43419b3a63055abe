//! Notices: the end of a flow without FRCT, told to the other end.
//!
//! Between two o7s ends a *notice* is a packet of the flow as any other, sealed and checked as any other, whose content
//! is exactly a token and one byte. The token is known to those only who have seen the exchange in which the flow was
//! allocated, and is another one in each direction, so that neither data of the application nor a packet thrown back is
//! taken for a notice but by a chance of 2^-128. It is repeated, ever later, until the peer says that it knows.

use subtle::ConstantTimeEq;

use crate::base::time::Instant;
use crate::frct::{Ending, KNOWN, Notice};
use crate::oap::{Peering, TOKEN_LEN, Tokens};

/// Length of a notice, bytes.
pub(super) const LEN: usize = TOKEN_LEN + 1;

/// Notices of both ends.
pub(super) struct Farewell {
    voice: Voice,
    notice: Notice,
    /// Ending that this end has told.
    said: Option<Ending>,
    /// Ending that the peer has told.
    pub(super) heard: Option<Ending>,
}

/// Source of a flow's tokens, until they are needed.
enum Voice {
    Unused(Peering),
    Used(Tokens),
}

impl Farewell {
    pub(super) fn new(peering: Peering) -> Self {
        Self { voice: Voice::Unused(peering), notice: Notice::new(), said: None, heard: None }
    }

    fn tokens(&mut self) -> Tokens {
        if let Voice::Unused(peering) = &self.voice {
            self.voice = Voice::Used(peering.tokens());
        }
        match &self.voice {
            Voice::Used(tokens) => *tokens,
            Voice::Unused(peering) => peering.tokens(),
        }
    }

    /// Tells the peer, unless it reads no more.
    pub(super) fn say(&mut self, now: Instant, ending: Ending) {
        if self.said < Some(ending) {
            self.said = Some(ending);
            if self.heard < Some(Ending::Closed) {
                self.notice.say(now, ending);
            }
        }
    }

    /// Says what the peer has not answered once more at `now`.
    pub(super) fn hasten(&mut self, now: Instant) {
        self.notice.hasten(now);
    }

    /// Takes a packet, if it is a notice of the peer.
    pub(super) fn take(&mut self, pkt: &[u8]) -> bool {
        let Some((byte, token)) = pkt.split_last().filter(|_| pkt.len() == LEN) else { return false };
        if !bool::from(self.tokens().peer.ct_eq(token)) {
            return false;
        }
        if *byte == KNOWN {
            self.notice.answered();
            return true;
        }
        let heard = self.heard.max(Ending::from_byte(*byte));
        // Two that close at once answer each other by what they say. If it was lost, the peer says its word again, and if
        // this end is gone by then, as often as to one that is out of reach.
        let both_close = heard >= Some(Ending::Closed) && self.said >= heard;
        let answered = both_close && heard > self.heard && self.notice.was_said();
        self.heard = heard;
        if heard >= Some(Ending::Closed) {
            // It wants to hear nothing but that it was heard.
            self.notice.heard();
        }
        if !answered {
            self.notice.answer();
        }
        true
    }

    /// The next notice that is due.
    pub(super) fn pick(&mut self, now: Instant) -> Option<[u8; LEN]> {
        if !self.notice.pick(now, 0, false) {
            return None;
        }
        let mut packet = [0; LEN];
        let (token, byte) = packet.split_at_mut(TOKEN_LEN);
        token.copy_from_slice(&self.tokens().own);
        byte.copy_from_slice(&self.notice.byte);
        Some(packet)
    }

    /// The last packet picked could not be sent.
    pub(super) fn note_unsent(&mut self) {
        self.notice.note_unsent();
    }

    /// Returns `true` if this end has told an ending.
    pub(super) fn has_said(&self) -> bool {
        self.said.is_some()
    }

    /// Returns `true` if what it has told is still to be answered.
    pub(super) fn awaits_answer(&self) -> bool {
        self.notice.is_repeated()
    }

    /// Returns `true` if no notice is due any more.
    pub(super) fn is_over(&self) -> bool {
        self.notice.is_over()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.notice.deadline()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::crypto::hash::digest;
    use crate::crypto::protect::Side;
    use crate::crypto::suite::Digest;

    const NOW: Instant = Instant::from_millis(1000);

    fn ends() -> [Farewell; 2] {
        let request = digest(Digest::Sha384, &[b"a request"]);
        [Side::Client, Side::Server].map(|side| Farewell::new(Peering::new(side, 1000, &request)))
    }

    #[test]
    fn a_close_takes_two_packets_at_either_end() {
        let [mut a, mut b] = ends();
        a.say(NOW, Ending::Closed);
        let close = a.pick(NOW).unwrap();
        assert!(b.take(&close) && b.heard == Some(Ending::Closed));
        b.say(NOW, Ending::Closed);
        assert!(a.take(&b.pick(NOW).unwrap()));
        assert!(a.is_over() && b.is_over() && a.pick(NOW).is_none() && b.pick(NOW).is_none());

        let [mut a, mut b] = ends();
        a.say(NOW, Ending::Closed);
        b.say(NOW, Ending::Closed);
        let crossing = [a.pick(NOW).unwrap(), b.pick(NOW).unwrap()];
        assert!(a.take(&crossing[1]) && b.take(&crossing[0]));
        assert!(a.is_over() && b.is_over() && a.pick(NOW).is_none() && b.pick(NOW).is_none());
    }

    #[test]
    fn crossing_closes_are_repeated_until_heard() {
        let [mut a, mut b] = ends();
        a.say(NOW, Ending::Closed);
        b.say(NOW, Ending::Closed);
        let (lost, first) = (a.pick(NOW).unwrap(), b.pick(NOW).unwrap());
        assert!(a.take(&first) && a.is_over());
        assert_eq!((lost.len(), b.heard), (LEN, None));
        let later = b.deadline();
        assert!(a.take(&b.pick(later).unwrap()));
        assert!(b.take(&a.pick(later).unwrap()) && b.is_over());
    }

    #[test]
    fn answers_to_earlier_notices_do_not_count_for_later_ones() {
        let [mut a, mut b] = ends();
        a.say(NOW, Ending::Writing);
        assert!(b.take(&a.pick(NOW).unwrap()));
        let answer = b.pick(NOW).unwrap();
        a.say(NOW, Ending::Closed);
        assert!(a.pick(NOW).is_some(), "which is lost");
        assert!(a.take(&answer) && !a.is_over(), "the peer does not know yet");
        assert!(b.take(&a.pick(a.deadline()).unwrap()) && b.heard == Some(Ending::Closed));
        assert!(a.take(&b.pick(NOW).unwrap()) && a.is_over());
    }

    #[test]
    fn notices_arriving_together_are_each_answered() {
        let [mut a, mut b] = ends();
        a.say(NOW, Ending::Writing);
        let shut = a.pick(NOW).unwrap();
        a.say(NOW, Ending::Closed);
        let close = a.pick(NOW).unwrap();
        assert!(b.take(&shut) && b.take(&close));
        let answers: Vec<_> = core::iter::from_fn(|| b.pick(NOW)).collect();
        assert!(answers.iter().all(|answer| a.take(answer)));
        assert!(a.is_over() && b.is_over(), "{} answers", answers.len());
    }

    #[test]
    fn two_half_closes_are_answered_each() {
        let [mut a, mut b] = ends();
        a.say(NOW, Ending::Writing);
        b.say(NOW, Ending::Writing);
        let crossing = [a.pick(NOW).unwrap(), b.pick(NOW).unwrap()];
        assert!(a.take(&crossing[1]) && b.take(&crossing[0]));
        assert!(a.take(&b.pick(NOW).unwrap()) && b.take(&a.pick(NOW).unwrap()));
        assert!(a.is_over() && b.is_over());
    }
}
