//! The way down for the endpoint of a flow.

use alloc::sync::Arc;

use super::{FaFlow, FlowAllocator};
use crate::base::time::Instant;
use crate::flow::{Drive, MemberKey, Outgoing, Port};
use crate::types::device::SendError;
use crate::types::id::Eid;

/// The way down for the endpoint of a flow, which it ends when it is done with.
pub(super) struct FaPort {
    flows: Arc<FlowAllocator>,
    flow: Arc<FaFlow>,
}

impl FaPort {
    /// The way to the peer's end `remote`.
    pub(super) fn new(flows: &Arc<FlowAllocator>, flow: &Arc<FaFlow>, remote: Eid) -> Arc<Self> {
        flow.meet(flows.shared.clock.now(), remote);
        Arc::new(Self { flows: Arc::clone(flows), flow: Arc::clone(flow) })
    }
}

impl Port for FaPort {
    fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError> {
        self.flow.send(now, pkts)
    }

    fn flush(&self, _now: Instant) {
        if let Some(next) = self.flow.next_hop() {
            next.endpoint.flush();
        }
    }

    fn is_congested(&self) -> bool {
        // A burst more finds room all the same.
        self.flow.waiting() >= self.flow.room() / 2
    }

    fn is_holding(&self) -> bool {
        self.flow.waiting() > 0
    }

    fn queued(&self) -> usize {
        // Of a layer above, the queue is the one that its packets meet first.
        let below = self.flow.next_hop().map_or(0, |next| next.endpoint.queued());
        below + self.flow.waiting()
    }

    fn mtu(&self) -> usize {
        self.flows.data.mtu_over(|| self.flow.next_hop())
    }

    fn stands_on(&self, member: MemberKey) -> bool {
        self.flows.shared.key() == member || self.flows.data.stand_on(member)
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.flow.next_hop()?.endpoint.device()
    }

    fn release(&self, now: Instant) {
        self.flow.send_last(now);
        self.flows.forget(&self.flow);
    }
}

impl Drop for FaPort {
    fn drop(&mut self) {
        // A port that never got to an endpoint: an answer that came too late.
        self.flows.forget(&self.flow);
    }
}
