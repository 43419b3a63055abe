//! Having a reference compute its routes.
//!
//! It does so when it hears of a link for the first time, and at no other time. When a neighbour of it is connected anew while
//! it remembers the link to it, because the link was down for a while or the neighbour has started anew under its old
//! address, it notes the new flow and goes on sending on the one that is gone, until it hears of some new link: for ever, in
//! a layer where nothing else happens. So it is told of one: from this member to an address that nobody has, as taken back,
//! which to a reference is an announcement. Only one end says so, so that no route can lead over it. Members of our own hear
//! of it, if at all, as a link that is gone; references forget it after the layer's time.

use core::time::Duration;

use super::peer::Urgency;
use super::seqno::Seqno;
use super::{Due, LinkState};
use crate::base::time::Instant;
use crate::types::id::Address;

/// What a reference takes at most to note both flows, once they stand here.
const PATIENCE: Duration = Duration::from_secs(1);

impl LinkState {
    /// A flow to a neighbour is there, of one kind or the other. If it is a reference and both are there, it is to compute
    /// its routes, in a while.
    pub(super) fn recompute_soon(&mut self, now: Instant, address: Address) {
        let reference = self.peers.values().any(|peer| peer.address == address && !peer.confirms());
        let Some(neighbour) = self.neighbours.get_mut(&address).filter(|n| reference && n.up > 0) else { return };
        let at = now + PATIENCE;
        if neighbour.recomputes.replace(at).is_none() {
            self.timers.arm(at, Due::Recompute(address));
        }
    }

    /// Has a reference compute its routes.
    pub(super) fn recompute(&mut self, now: Instant, address: Address) {
        let me = self.config.address;
        let Some(neighbour) = self.neighbours.get_mut(&address) else { return };
        match neighbour.recomputes {
            // Another flow was connected meanwhile.
            Some(later) if later > now => {
                self.timers.arm(later, Due::Recompute(address));
                return;
            }
            Some(_) => neighbour.recomputes = None,
            None => return,
        }
        let nobody = Address(u64::from(self.rng.u32().max(1)));
        if neighbour.up == 0 || nobody == me || self.db.find(me, nobody).is_some() || !self.has_room(now, me) {
            return;
        }
        let seqno = Seqno::first(self.config.incarnation).withdrawal();
        let index = self.db.insert(me, nobody, seqno, now);
        self.arm(index, now + self.config.memory());
        for (flow, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.address == address && !peer.confirms()) {
            peer.tell(index, Urgency::News, now);
            peer.plan(now, self.pace, *flow, &mut self.agenda);
        }
    }
}
