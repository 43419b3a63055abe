//! Flows that were accepted and whose peer has not been heard: state that a stranger pays for with one datagram.
//!
//! They end after [`Limits::silence`](super::Limits::silence). Until then there is a bound on them for each address that
//! they were requested from, and one for all together; beyond it the oldest make room, of the same address, or of the
//! address that has the most. A requester that is there is heard within a round trip, so it takes a flood of that many
//! requests in a round trip to push one out.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use core::cmp::Reverse;

use crate::base::counter::counts;
use crate::base::time::Instant;
use crate::flow::{Endpoint, FlowKey, State};

/// Limits of silent flows.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) flows: usize,
    pub(super) per_address: usize,
}

#[derive(Default)]
pub(super) struct Silent {
    /// By the address of the requester, ordered by age.
    flows: BTreeMap<u64, VecDeque<(Instant, Weak<Endpoint>)>>,
    len: usize,
    counters: Counters,
    /// Flows ever added, and that number when all were last looked at.
    added: u64,
    swept: u64,
}

counts! {
    /// Counters of flows whose peer was not heard yet.
    pub(super) struct Counters {
        /// Flows whose peer was never heard that had to make room for others.
        shed => "silent_shed",
    }
}

impl Silent {
    /// Returns the number of watched flows, and the counters.
    pub(super) fn counts(&self) -> (usize, Counters) {
        (self.len, self.counters)
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
            shed = self.take(address, 0);
        } else if self.len >= bounds.flows {
            // It looks at every flow: not for every request, once the table is full of those that are not settled.
            if self.added >= self.swept + (bounds.flows / 16).max(1) as u64 {
                self.swept = self.added;
                self.forget_all_settled();
            }
            if self.len >= bounds.flows {
                // The oldest of those that have the most.
                let rank = |flows: &VecDeque<(Instant, Weak<Endpoint>)>| {
                    (flows.len(), Reverse(flows.front().map(|(at, _)| *at)))
                };
                let most = self.flows.iter().max_by_key(|(_, flows)| rank(flows)).map(|(address, _)| *address);
                shed = most.and_then(|address| self.take(address, 0));
            }
        }
        self.flows.entry(address).or_default().push_back((now, Arc::downgrade(endpoint)));
        self.len += 1;
        self.added += 1;
        shed
    }

    /// The flow whose peer has been silent for longest of those that hold something, which makes room.
    pub(super) fn oldest(&mut self, holds: &dyn Fn(FlowKey) -> bool) -> Option<Arc<Endpoint>> {
        self.forget_all_settled();
        let is_it = |endpoint: &Weak<Endpoint>| endpoint.upgrade().is_some_and(|endpoint| holds(endpoint.key()));
        let of_address = |(address, flows): (&u64, &VecDeque<(Instant, Weak<Endpoint>)>)| {
            let first = flows.iter().position(|(_, endpoint)| is_it(endpoint))?;
            Some((flows.get(first)?.0, *address, first))
        };
        let (_, address, at) = self.flows.iter().filter_map(of_address).min()?;
        self.take(address, at)
    }

    /// Takes the flow at this place out of those of an address.
    fn take(&mut self, address: u64, at: usize) -> Option<Arc<Endpoint>> {
        let flows = self.flows.get_mut(&address)?;
        let (_, endpoint) = flows.remove(at)?;
        if flows.is_empty() {
            self.flows.remove(&address);
        }
        self.len -= 1;
        self.counters.shed += 1;
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
    // A pending one cannot have heard its peer, and need not.
    let heard = |endpoint: &Endpoint| endpoint.state() != State::Pending && endpoint.has_heard();
    endpoint.upgrade().is_none_or(|endpoint| heard(&endpoint) || endpoint.is_over())
}
