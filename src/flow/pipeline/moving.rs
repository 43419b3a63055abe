//! Moves of the peer: packets from elsewhere, probes and answers. And other ways to where it is.

use super::Pipeline;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::moves;
use crate::types::addr::Route;

impl Pipeline {
    /// A packet has come on another route than the peer's. Returns `true` if it was a probe or an answer of the peer;
    /// anything else is dropped, and asks for a probe at most.
    pub(in crate::flow) fn receive_elsewhere(&mut self, now: Instant, route: Route, mut pkt: PacketBuf) -> bool {
        // Who was never heard has not proven its first address either.
        let known = self.has_heard();
        let is_word = pkt.len() == moves::LEN + self.overhead_without_frct();
        // Of an encrypted flow it has to be genuine: a probe for whatever comes would tell strangers which flows there are.
        let (must_open, may_move) = (self.is_encrypted(), self.moves.is_some());
        let opened = may_move && (is_word || must_open) && self.open(&mut pkt);
        let taken = is_word && opened && self.moves.as_mut().is_some_and(|m| m.take(Some(route), &pkt));
        if !taken
            && known
            && (opened || !must_open)
            && let Some(moves) = &mut self.moves
        {
            moves.handle_elsewhere(now, route);
        }
        self.note_moving();
        self.cache.put(pkt);
        taken
    }

    /// Takes a packet that was opened, if it is a probe or an answer of the peer.
    pub(super) fn take_move(&mut self, pkt: &[u8]) -> bool {
        let taken = pkt.len() == moves::LEN && self.moves.as_mut().is_some_and(|m| m.take(None, pkt));
        if taken {
            self.note_moving();
        }
        taken
    }

    fn note_moving(&mut self) {
        self.moving = self.moves.as_ref().is_some_and(|m| m.is_due());
    }

    /// Returns `true` if [`poll_probe`](Self::poll_probe) or [`poll_moved`](Self::poll_moved) has something.
    pub(in crate::flow) fn is_moving(&self) -> bool {
        self.moving
    }

    /// The next probe or answer to send, sealed, and where to.
    pub(in crate::flow) fn poll_probe(&mut self) -> Option<(Option<Route>, PacketBuf)> {
        while let Some((to, word)) = self.moves.as_mut()?.poll_transmit() {
            let mut pkt = self.cache.take(moves::LEN);
            if pkt.extend_from_slice(&word).is_some() && self.seal(&mut pkt) {
                self.counters.sent += 1;
                return Some((to, pkt));
            }
            self.cache.put(pkt);
        }
        None
    }

    /// The layer has lost the way to the peer that packets went, and sends them another. `false` if this flow repeats nothing.
    pub(in crate::flow) fn handle_path_change(&mut self, now: Instant) -> bool {
        let frct = self.frct.as_mut();
        frct.map(|frct| frct.handle_path_change(now)).is_some()
    }

    /// The route on which the peer is reached from now on, if it has moved: a path of which nothing is known.
    pub(in crate::flow) fn poll_moved(&mut self, now: Instant) -> Option<Route> {
        self.moving = false;
        let route = self.moves.as_mut()?.poll_moved()?;
        self.hear(now);
        if let Some(frct) = &mut self.frct {
            frct.note_new_path(now);
        }
        Some(route)
    }
}
