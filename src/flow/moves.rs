//! Moves: a peer that is heard from another address than before, and proves that it is the same.
//!
//! A NAT forgets, a laptop changes networks: the packets of a flow come from elsewhere then. Between two o7s ends over a
//! layer in which addresses can change ([`Port::roams`](super::Port::roams)) the end that hears them sends a *probe* there,
//! and goes on to send everything there when the *answer* comes from there. The model is RFC 9000, section 9:
//!
//! - Nothing but the answer moves a flow. What comes from elsewhere before it is neither delivered nor believed; packets of
//!   reliable flows are sent again.
//! - A probe is a packet of the flow as any other, sealed and checked as any other. Its content, and that of the answer, is
//!   a number that is used once and a proof that only those can compute who have seen the exchange in which the flow was
//!   allocated: of encrypted flows the two ends, as only they have the key, of plain ones also who listened then. An answer
//!   from another address than the probe went to is none, and a probe is answered only if it comes from where the peer is
//!   known to be: else somebody who passes both on would be taken for the peer.
//! - Where plain flows may go is therefore the layer's to say: those over UDP get a probe at another port of their peer's
//!   address, which only somebody behind the same NAT could answer instead, and elsewhere only if the program wants it
//!   ([`Moves`](crate::Moves)).
//! - A probe is sent only upon a packet, takes no more than three times its bytes, and there are few of them a second:
//!   strangers who know the number of a flow gain nothing with the addresses of others. Of an encrypted flow it has to be a
//!   genuine packet that was not received before: who guesses numbers is not told when one is right.
//! - On the new path nothing is known of congestion ([`Frct::note_new_path`](crate::frct::Frct::note_new_path)).
//!
//! A reference never gets a probe, and an end that does not move never sees one.

use alloc::boxed::Box;
use core::time::Duration;

use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use crate::base::time::Instant;
use crate::oap::{Peering, TOKEN_LEN};
use crate::types::addr::Route;

/// Length of a probe and of an answer: kind, number, proof.
pub(super) const LEN: usize = 1 + NUMBER_LEN + TOKEN_LEN;
const NUMBER_LEN: usize = size_of::<u64>();
const PROBE: u8 = 1;
const ANSWER: u8 = 2;

/// Between two probes of a flow, wherever they go.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two probes to one place: the answer takes its time. Twice as long after each, up to the longest, so that there is
/// time for the answer to one of them however far away the place is.
const PATIENCE: Duration = Duration::from_millis(200);
const LONGEST_PATIENCE: Duration = Duration::from_millis(1600);
/// Places that are remembered until they answer. The one that was probed first goes when there are more: at a probe a
/// [`PAUSE`], strangers who send from ever new places leave 640 ms for an answer.
const PLACES: usize = 32;
/// Answers that wait to be sent.
const ANSWERS: usize = 2;

/// A probe or an answer, and where it goes; `None`: where the peer is known to be.
pub(super) type Outgoing = (Option<Route>, [u8; LEN]);

/// The machine of one end.
pub(super) struct Moves {
    peering: Peering,
    /// Number of the last probe.
    number: u64,
    /// Not before this moment a probe is sent.
    rests_until: Instant,
    /// Present from the first packet on that concerns this machine.
    work: Option<Box<Work>>,
}

#[derive(Default)]
struct Work {
    /// Places from which packets came, in the order of their first probes.
    places: SmallVec<[Place; 2]>,
    /// The newest probe that is still to be sent: place and number.
    probe: Option<(Route, u64)>,
    answers: SmallVec<[u64; ANSWERS]>,
    moved: Option<Route>,
}

#[derive(Clone, Copy)]
struct Place {
    route: Route,
    /// Numbers of the last two probes that went there.
    numbers: [u64; 2],
    /// No other one goes there before this moment, and how long after the last one that is.
    rests_until: Instant,
    patience: Duration,
}

impl Moves {
    pub(super) fn new(peering: Peering) -> Self {
        Self { peering, number: 0, rests_until: Instant::ZERO, work: None }
    }

    /// A packet came from elsewhere, which is no answer.
    pub(super) fn handle_elsewhere(&mut self, now: Instant, route: Route) {
        if now < self.rests_until {
            return;
        }
        let work = self.work.get_or_insert_default();
        let number = self.number + 1;
        match work.places.iter_mut().find(|place| place.route == route) {
            Some(place) if now < place.rests_until => return,
            Some(place) => {
                place.numbers = [place.numbers[1], number];
                place.patience = (2 * place.patience).min(LONGEST_PATIENCE);
                place.rests_until = now + place.patience;
            }
            None => {
                if work.places.len() >= PLACES {
                    work.places.remove(0);
                }
                let (numbers, rests_until, patience) = ([number; 2], now + PATIENCE, PATIENCE);
                work.places.push(Place { route, numbers, rests_until, patience });
            }
        }
        self.number = number;
        self.rests_until = now + PAUSE;
        // In place of one that was not sent yet: its place stays, and is asked again after its pause.
        work.probe = Some((route, number));
    }

    /// Takes a packet that was opened, if it is a probe or an answer of the peer. `from`: whence it came, `None` if that is
    /// where the peer is known to be.
    pub(super) fn take(&mut self, from: Option<Route>, pkt: &[u8]) -> bool {
        let Some((number, kind)) = self.read(pkt) else { return false };
        if kind == PROBE && from.is_some() {
            return false;
        }
        let work = self.work.get_or_insert_default();
        if kind == PROBE {
            if work.answers.len() < ANSWERS {
                work.answers.push(number);
            }
            return true;
        }
        let asked = |place: &Place| Some(place.route) == from && place.numbers.contains(&number);
        // Only from where it was asked, and with a number that went there: else somebody has passed it on. Then all other
        // probes are void, or a late answer could move the flow once more.
        if work.places.iter().any(asked) {
            work.moved = from;
            work.places.clear();
            work.probe = None;
        }
        true
    }

    /// Number and kind of a packet with a valid proof.
    fn read(&self, pkt: &[u8]) -> Option<(u64, u8)> {
        let ([kind], rest) = pkt.split_first_chunk::<1>()?;
        let (number, proof) = rest.split_first_chunk::<NUMBER_LEN>()?;
        if !matches!(*kind, PROBE | ANSWER) || proof.len() != TOKEN_LEN {
            return None;
        }
        let number = u64::from_be_bytes(*number);
        let expected = self.peering.proof(self.peering.side.other(), *kind, number);
        bool::from(expected.ct_eq(proof)).then_some((number, *kind))
    }

    /// Returns `true` if something is to be sent, or the peer has moved.
    pub(super) fn is_due(&self) -> bool {
        let due = |work: &Work| work.probe.is_some() || !work.answers.is_empty() || work.moved.is_some();
        self.work.as_ref().is_some_and(|work| due(work))
    }

    /// The next probe or answer to send.
    pub(super) fn poll_transmit(&mut self) -> Option<Outgoing> {
        let work = self.work.as_mut()?;
        // The newest first: the peer believes answers to its last two questions to a place, and no others.
        let (to, kind, number) = match work.answers.pop() {
            Some(number) => (None, ANSWER, number),
            None => {
                let (route, number) = work.probe.take()?;
                (Some(route), PROBE, number)
            }
        };
        let mut packet = [0; LEN];
        let (head, proof) = packet.split_at_mut(1 + NUMBER_LEN);
        if let Some((first, rest)) = head.split_first_mut() {
            *first = kind;
            rest.copy_from_slice(&number.to_be_bytes());
        }
        proof.copy_from_slice(&self.peering.proof(self.peering.side, kind, number));
        Some((to, packet))
    }

    /// Returns the new place of the peer, if it has moved. Nothing is kept of the move.
    pub(super) fn poll_moved(&mut self) -> Option<Route> {
        let moved = self.work.as_mut()?.moved.take();
        if !self.is_due() && self.work.as_ref().is_some_and(|work| work.places.is_empty()) {
            self.work = None;
        }
        moved
    }
}

#[cfg(test)]
mod tests;
