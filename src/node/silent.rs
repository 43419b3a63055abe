//! Flows that were accepted and whose peer has not been heard: state that a stranger pays for with one datagram.
//!
//! They end after [`Limits::silence`](super::Limits::silence). Until then there is a bound on them for each address that
//! they were requested from, and one for all together; beyond it the oldest make room, of the same address, or of the
//! address that has the most. A requester who is there is heard within a round trip, so it takes a flood of that many
//! requests in a round trip to push one out.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};

use crate::base::time::Instant;
use crate::flow::Endpoint;

/// What may be kept.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) flows: usize,
    pub(super) per_address: usize,
}

#[derive(Default)]
pub(super) struct Silent {
    /// By the address that asked, in the order of their age.
    flows: BTreeMap<u64, VecDeque<(Instant, Weak<Endpoint>)>>,
    len: usize,
    shed: u64,
}

impl Silent {
    /// Flows that are counted, and flows that had to make room.
    pub(super) fn counts(&self) -> (usize, u64) {
        (self.len, self.shed)
    }

    /// Adds a flow that `address` asked for. Returns the one that has to make room, to be aborted without a lock.
    pub(super) fn add(
        &mut self,
        now: Instant,
        address: u64,
        endpoint: &Arc<Endpoint>,
        bounds: Bounds,
    ) -> Option<Arc<Endpoint>> {
        self.forget_settled(address, bounds.per_address);
        let mut shed = None;
        if self.flows.get(&address).is_some_and(|flows| flows.len() >= bounds.per_address) {
            shed = self.pop(address);
        } else if self.len >= bounds.flows {
            self.forget_all_settled();
            if self.len >= bounds.flows {
                let most = self.flows.iter().max_by_key(|(_, flows)| flows.len()).map(|(address, _)| *address);
                shed = most.and_then(|address| self.pop(address));
            }
        }
        self.flows.entry(address).or_default().push_back((now, Arc::downgrade(endpoint)));
        self.len += 1;
        shed
    }

    /// The flow whose peer has been silent for longest, which makes room.
    pub(super) fn oldest(&mut self) -> Option<Arc<Endpoint>> {
        self.forget_all_settled();
        let address = self.flows.iter().min_by_key(|(_, flows)| flows.front().map(|(at, _)| *at)).map(|(a, _)| *a)?;
        self.pop(address)
    }

    fn pop(&mut self, address: u64) -> Option<Arc<Endpoint>> {
        let flows = self.flows.get_mut(&address)?;
        let (_, endpoint) = flows.pop_front()?;
        if flows.is_empty() {
            self.flows.remove(&address);
        }
        self.len -= 1;
        self.shed += 1;
        endpoint.upgrade()
    }

    /// Forgets the flows of an address that are over, or whose peer was heard: those in front, and all if there are many.
    fn forget_settled(&mut self, address: u64, many: usize) {
        let Some(flows) = self.flows.get_mut(&address) else { return };
        let before = flows.len();
        while flows.front().is_some_and(|(_, endpoint)| is_settled(endpoint)) {
            flows.pop_front();
        }
        if flows.len() >= many {
            flows.retain(|(_, endpoint)| !is_settled(endpoint));
        }
        self.len -= before - flows.len();
        if flows.is_empty() {
            self.flows.remove(&address);
        }
    }

    fn forget_all_settled(&mut self) {
        self.flows.retain(|_, flows| {
            flows.retain(|(_, endpoint)| !is_settled(endpoint));
            !flows.is_empty()
        });
        self.len = self.flows.values().map(VecDeque::len).sum();
    }
}

fn is_settled(endpoint: &Weak<Endpoint>) -> bool {
    endpoint.upgrade().is_none_or(|endpoint| endpoint.has_heard() || endpoint.is_over())
}
