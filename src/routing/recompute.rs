//! Having a reference compute its routes.
//!
//! It does so when it hears of a link for the first time, and at no other time. When a neighbour of it is connected
//! anew while it remembers the link to it, because the link was down for a while or the neighbour has restarted under
//! its old address, it notes the new flow and goes on sending on the one that is gone, until it hears of some new link:
//! without end, in a layer where nothing else happens. So it is told of one: a withdrawn link from this member to an
//! unused address, which to a reference is an announcement. Only one end says so, so that no route can lead over it.
//! o7s members hear of it, if at all, as a link that is gone; references forget it after the layer's time.

use core::time::Duration;

use super::peer::Urgency;
use super::seqno::Seqno;
use super::{Due, LinkState};
use crate::base::time::Instant;
use crate::types::id::Address;

/// Longest time that a reference takes to note both flows, once they stand here.
const PATIENCE: Duration = Duration::from_secs(1);
/// A neighbour that is down when it is due is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Draws of an unused address. Failing is as likely as that a layer uses so many of all addresses.
const DRAWS: usize = 64;

impl LinkState {
    /// A flow to a neighbour is there, of one kind or the other. If it is a reference and both are there, it is to compute
    /// its routes, in a while, and once the flow that carries data works.
    pub(super) fn recompute_soon(&mut self, now: Instant, address: Address) {
        let reference = self.peers.values().any(|peer| peer.address == address && !peer.confirms());
        let Some(neighbour) = self.neighbours.get_mut(&address).filter(|n| reference && n.all > 0) else { return };
        let at = now + PATIENCE;
        if neighbour.recomputes.replace(at).is_none() {
            self.timers.arm(at, Due::Recompute(address));
        }
    }

    /// Has a reference compute its routes.
    pub(super) fn recompute(&mut self, now: Instant, address: Address) {
        let me = self.config.address;
        let Some(neighbour) = self.neighbours.get_mut(&address) else { return };
        let Some(at) = neighbour.recomputes else { return };
        // Another flow was connected meanwhile; or it is down, and once it is up again it still sends on the flow that is
        // gone.
        if at > now || (neighbour.up == 0 && neighbour.all > 0) {
            let later = if at > now { at } else { now + LOOK_AGAIN };
            neighbour.recomputes = Some(later);
            self.timers.arm(later, Due::Recompute(address));
            return;
        }
        neighbour.recomputes = None;
        if neighbour.up == 0 {
            return;
        }
        // Of each neighbour there is one at a time, which counts like an own link: a full database does not keep the
        // reference from hearing of it.
        let before = neighbour.unknown.take().and_then(|unused| self.db.find(me, unused));
        before.into_iter().for_each(|index| self.remove(now, index));
        let Some(unused) = self.unused_address() else { return };
        let seqno = Seqno::first(self.config.incarnation).withdrawal();
        let index = self.db.insert(me, unused, seqno, now);
        self.arm(index, now + self.config.memory());
        if let Some(neighbour) = self.neighbours.get_mut(&address) {
            neighbour.unknown = Some(unused);
        }
        for (flow, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.address == address && !peer.confirms()) {
            peer.tell(index, Urgency::News, now);
            peer.plan(now, self.pace, *flow, &mut self.agenda);
        }
    }

    /// Draws an unused address.
    fn unused_address(&mut self) -> Option<Address> {
        (0..DRAWS).find_map(|_| {
            let drawn = Address(u64::from(self.rng.u32().max(1)));
            (!self.knows(drawn)).then_some(drawn)
        })
    }
}
