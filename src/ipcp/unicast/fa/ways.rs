//! Ways that flows have lost: their ends are told as soon as there are others.
//!
//! When an adjacency is lost, packets that went over it of late are lost, too, and those who wait for answers to them have put
//! off their next attempts further and further. Each end of a flow is told by its own member, of what that has found out by
//! itself. Routes that others announce tell nobody anything: they only say when there is a way again for a flow that had
//! lost its own here.

use core::sync::atomic::Ordering;

use super::FlowAllocator;
use crate::base::sync::{AtomicBool, AtomicU64};
use crate::base::time::Instant;
use crate::types::id::N1FlowId;

/// The way that packets of a flow take out of this member.
#[derive(Default)]
pub(super) struct Way {
    /// The adjacency that the last ones left by, plus one; 0: there were none.
    via: AtomicU64,
    /// It is gone, and the end of the flow does not know.
    lost: AtomicBool,
}

impl Way {
    /// Packets have left by this adjacency.
    #[inline]
    pub(super) fn note(&self, via: N1FlowId) {
        let via = u64::from(via.0) + 1;
        // Reads before it writes: it hardly ever changes.
        if self.via.load(Ordering::Relaxed) != via {
            self.via.store(via, Ordering::Relaxed);
        }
    }

    /// An adjacency is gone. Whether that was the way.
    fn lose(&self, gone: N1FlowId) -> bool {
        let lost = self.via.load(Ordering::Relaxed) == u64::from(gone.0) + 1;
        if lost {
            self.lost.store(true, Ordering::Relaxed);
        }
        lost
    }
}

impl FlowAllocator {
    /// An adjacency is gone, and no packet leaves by it any more.
    pub(in crate::ipcp::unicast) fn lose_way(&self, now: Instant, gone: N1FlowId) {
        let lost = self.flows().iter().filter(|flow| flow.way.lose(gone)).count();
        if lost > 0 {
            self.some_lost.store(true, Ordering::Release);
            self.tell_ways(now);
        }
    }

    /// Tells the ends of flows that had lost their ways and have others. Called without locks held, when an adjacency is lost
    /// and whenever there is another forwarding table.
    pub(in crate::ipcp::unicast) fn tell_ways(&self, now: Instant) {
        if !self.some_lost.swap(false, Ordering::AcqRel) {
            return;
        }
        for flow in self.flows() {
            if !flow.way.lost.load(Ordering::Relaxed) {
                continue;
            }
            if flow.next_hop().is_none() {
                self.some_lost.store(true, Ordering::Release);
            } else if flow.way.lost.swap(false, Ordering::Relaxed) {
                flow.handle_path_change(now);
            }
        }
    }
}
