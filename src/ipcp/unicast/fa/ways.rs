//! Ways that flows have lost: their ends are told as soon as there are others.
//!
//! When an adjacency is lost, packets that went over it of late are lost, too, and those who wait for answers to them have put
//! off their next attempts further and further. Each end of a flow is told by its own member, of what that has found out by
//! itself. Routes that others announce tell nobody anything: they only say when there is a way again for a flow that had
//! lost its own here.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::{FaFlow, FlowAllocator};
use crate::base::sync::AtomicU64;
use crate::base::time::Instant;
use crate::types::id::{Eid, N1FlowId};

/// The way that packets of a flow take out of this member.
#[derive(Default)]
pub(super) struct Way {
    /// The adjacency that the last ones left by, plus one; 0: there were none.
    via: AtomicU64,
}

impl Way {
    /// Packets have left by this adjacency. If that is lost in the moment between, nobody is told; then these are the first that
    /// went this way, and no timeout has doubled yet.
    #[inline]
    pub(super) fn note(&self, via: N1FlowId) {
        let via = u64::from(via.0) + 1;
        // Reads before it writes: it hardly ever changes.
        if self.via.load(Ordering::Relaxed) != via {
            self.via.store(via, Ordering::Relaxed);
        }
    }

    /// Returns `true` if the last packets left by this adjacency.
    fn is(&self, via: N1FlowId) -> bool {
        self.via.load(Ordering::Relaxed) == u64::from(via.0) + 1
    }
}

impl FlowAllocator {
    /// An adjacency is gone. Ends of flows are [told](Self::tell_ways) when the neighbours have been: those have to wait for
    /// nothing, and a flow may need what they answer.
    pub(in crate::ipcp::unicast) fn lose_way(&self, gone: N1FlowId) {
        if self.flows.is_closed() {
            return;
        }
        let lost = self.flows.ids_where(|flow| flow.way.is(gone));
        if !lost.is_empty() {
            self.lost.lock().extend(lost);
        }
    }

    /// Tells the ends of flows that had lost their ways and have others. Called without locks held, when an adjacency is lost
    /// and whenever there is another forwarding table.
    pub(in crate::ipcp::unicast) fn tell_ways(&self, now: Instant) {
        loop {
            let lost = core::mem::take(&mut *self.lost.lock());
            if lost.is_empty() {
                return;
            }
            let flows = lost.into_iter().filter_map(|eid| Some((eid, self.flow(Eid(eid))?)));
            let (found, without): (Vec<_>, Vec<_>) = flows.partition(|(_, flow)| flow.next_hop().is_some());
            let mut again = self.keep_lost(&without);
            for (_, flow) in &found {
                // Its key may be of code that is not ours, and others are to be told whatever that does.
                self.shared.panics.call(|| flow.handle_path_change(now));
            }
            // The way that was found may be lost by now, and no packet of the flow has left by it, by which that would be known.
            let lost: Vec<_> = found.into_iter().filter(|(_, flow)| flow.next_hop().is_none()).collect();
            again |= self.keep_lost(&lost);
            if !again {
                return;
            }
        }
    }

    /// Keeps flows for the next forwarding table. Returns `true` if there has been one meanwhile: whoever published it found
    /// them neither here nor there.
    fn keep_lost(&self, flows: &[(u64, Arc<FaFlow>)]) -> bool {
        self.lost.lock().extend(flows.iter().map(|(eid, _)| *eid));
        flows.iter().any(|(_, flow)| flow.next_hop().is_some())
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests;
