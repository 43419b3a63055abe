//! The flow allocator: flows between two members of the layer, and the messages by which they come about.
//!
//! # A flow
//!
//! | who | does |
//! |---|---|
//! | requester | enters the flow under an EID of its own, *then* sends a request to the address that the directory gave |
//! | responder | passes the request up; enters the flow under an EID when it is accepted; replies |
//! | requester | takes the first reply that names its EID while the request is pending, and no other |
//!
//! A request or reply that gets lost is repeated by the stack's allocation, each time as a new request with a new EID,
//! time stamp and key, because a member of the reference's kind takes a repeated EID for a second flow, or refuses it at
//! the EID of the first, which may be open. All attempts stay pending, the first positive reply wins, and flows that the
//! others may have left at a reference die of its keepalive time-out. One of our own kind knows the repetition by the
//! OAP id in it and sends its reply again. To which of the members that are known for the name a request goes is up to the
//! allocation: it asks the next one at once when one says that the name is not there.
//!
//! Members of our own kind tell each other what has been delivered behind the updates by which a reference is told how
//! congested the way is, see [`ca`](crate::forward::ca).
//!
//! Nothing says that a flow ends; the other side notices by the time-out of its keepalives. A packet for a flow that is
//! gone is dropped without an answer.
//!
//! The ends of flows whose packets went over an adjacency that is lost are told as soon as there is another way (`ways`): those
//! that repeat their data do so at once then, instead of when their timeouts, which have doubled meanwhile, expire.
//!
//! EIDs have 64 bits, all random; they say nothing of where a flow is kept, and all of them must be right. Only those
//! are not drawn that mean something else: components, the reference's "none", and those by whose lower half a member
//! of our own kind would take us for a reference.

mod flow;
mod message;
mod port;
mod ways;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

pub(super) use self::flow::FaFlow;
use self::flow::{Below, Requested};
pub(super) use self::message::Purpose;
use self::port::FaPort;
use super::dt::DataPath;
use super::shared::{Shared, order};
use crate::base::counter::counters;
use crate::base::ids::IdTable;
use crate::base::sync::{Mutex, Ordered};
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::ipcp::reply::check_size;
use crate::ipcp::{Attempt, Location, Request, RequestError, Requests};
use crate::types::id::{Address, Eid};
use crate::types::name::NameHash;
use crate::types::qos::QosSpec;
use crate::wire::dt::FLOW_ALLOCATOR;
use crate::wire::fa::{FIXED_LEN, FlowRequest, Message, REFERENCE_MAX};

/// An EID that the reference has for one that is not set.
const NO_EID: Eid = Eid(u64::MAX);

/// The reference has the number of a slot in the lower half of its EIDs, less than this.
const REFERENCE_SLOTS: u32 = 4096;

/// Returns `true` if the EID looks like one that a reference chose.
fn is_of_reference(eid: Eid) -> bool {
    (eid.0 as u32) < REFERENCE_SLOTS
}

/// Returns `true` if a peer can have chosen this EID for a flow.
fn is_flow_eid(eid: Eid) -> bool {
    !eid.is_component() && eid != NO_EID
}

counters! {
    /// Messages of the flow allocator.
    pub(super) struct Counters {
        /// Messages of the flow allocator that were malformed, or could not be meant.
        malformed => "malformed",
        /// Requests for flows that have arrived.
        requests_in => "requests_in",
        /// Requests for flows that were sent.
        requests_out => "requests_out",
        /// Requests for flows that could not be sent.
        requests_lost => "requests_lost",
        /// Replies to requests that have arrived.
        replies_in => "replies_in",
        /// Replies without a pending request.
        replies_unexpected => "replies_unexpected",
        /// Congestion updates for unknown flows.
        updates_unexpected => "updates_unexpected",
        /// Requests for flows that were refused.
        refused => "refused",
    }
}

/// The flow allocator of a member: the flows that end here, and the names for which it accepts some.
pub(super) struct FlowAllocator {
    shared: Arc<Shared>,
    data: Arc<DataPath>,
    /// Receiver of requests.
    requests: Weak<dyn Requests>,
    names: Ordered<Mutex<BTreeSet<NameHash>>, { order::NAMES }>,
    flows: IdTable<Arc<FaFlow>>,
    below: Arc<Below>,
    /// EIDs of flows whose way is gone and whose ends do not know: they had no other when it was last looked for.
    lost: Ordered<Mutex<BTreeSet<u64>>, { order::LOST }>,
    pub(super) counters: Counters,
}

impl FlowAllocator {
    pub(super) fn new(shared: &Arc<Shared>, data: &Arc<DataPath>, requests: Weak<dyn Requests>) -> Arc<Self> {
        Arc::new(Self {
            requests,
            names: Ordered::default(),
            flows: IdTable::new(shared.config.max_flows.min(1 << 20)),
            below: Below::new(shared, data),
            lost: Ordered::default(),
            counters: Counters::default(),
            shared: Arc::clone(shared),
            data: Arc::clone(data),
        })
    }

    // ----- names -----

    /// Flows for this name are accepted from now on.
    pub(super) fn add_name(&self, name: NameHash) {
        self.names.lock().insert(name);
    }

    pub(super) fn remove_name(&self, name: &NameHash) {
        self.names.lock().remove(name);
    }

    pub(super) fn clear_names(&self) {
        self.names.lock().clear();
    }

    pub(super) fn names(&self) -> Vec<NameHash> {
        self.names.lock().iter().copied().collect()
    }

    fn has_name(&self, name: &NameHash) -> bool {
        self.names.lock().contains(name)
    }

    // ----- flows -----

    /// The flow that ends here under `eid`, all of which counts.
    pub(super) fn flow(&self, eid: Eid) -> Option<Arc<FaFlow>> {
        self.flows.get(eid.0)
    }

    /// Returns all flows, by EID.
    pub(super) fn flows(&self) -> Vec<Arc<FaFlow>> {
        self.flows.values()
    }

    /// Returns the number of flows.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Enters a flow to `peer` for which `requested`, if it is us who ask, waits for the answer.
    ///
    /// # Errors
    /// [`RequestError::Full`], or [`RequestError::Down`] once the flows have been [given up](Self::give_up).
    fn enter(
        &self,
        peer: Address,
        qos: &QosSpec,
        endpoint: &Arc<Endpoint>,
        requested: Option<Requested>,
    ) -> Result<Arc<FaFlow>, RequestError> {
        let draw = || loop {
            let eid = Eid(self.shared.random());
            if is_flow_eid(eid) && !is_of_reference(eid) {
                return eid.0;
            }
        };
        let mut made = None;
        self.flows
            .insert_with(draw, |eid| {
                let flow = FaFlow::new(&self.below, Eid(eid), peer, qos, endpoint, requested);
                made = Some(Arc::clone(&flow));
                flow
            })
            .and(made)
            .ok_or_else(|| if self.flows.is_closed() { RequestError::Down } else { RequestError::Full })
    }

    /// The layer is left: pending requests fail, flows that are open go down, and no more of either are entered, not even
    /// those that come about at the same time.
    pub(super) fn give_up(&self) {
        for (_, flow) in self.flows.close() {
            if flow.give_up() {
                self.forget(&flow);
            }
        }
    }

    /// Nothing waits for its turn any more: what waits is lost.
    pub(super) fn hasten(&self, now: Instant) {
        for flow in self.flows.values() {
            flow.hasten(now);
        }
    }

    fn forget(&self, flow: &FaFlow) {
        self.flows.remove(flow.eid().0);
    }

    /// Sends what flows were not allowed to send earlier.
    pub(super) fn release_paced(&self, now: Instant) {
        while let Some(eid) = self.below.pop_due(now) {
            if let Some(flow) = self.flow(eid) {
                flow.release_due(now);
            }
        }
        if let Some(at) = self.below.next_due() {
            self.shared.alarm.set(at);
        }
    }

    /// Asks for a flow.
    pub(super) fn request(self: &Arc<Self>, now: Instant, r: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        let Location::Member(peer) = r.at else { return Err(RequestError::Unknown) };
        let most = REFERENCE_MAX.min(self.data.mtu_to(peer, FLOW_ALLOCATOR));
        check_size(r.data.len(), most.saturating_sub(FIXED_LEN + r.dst.as_bytes().len()))?;
        // Before sending: the reply may be faster than we are.
        let flow = self.enter(peer, &r.qos, r.endpoint, Some((r.answer, r.token)))?;
        let s_addr = self.shared.address();
        let request = FlowRequest { s_addr, s_eid: flow.eid(), qos: r.qos, dst: r.dst, data: r.data };
        let sent = self.data.originate_message(now, peer, FLOW_ALLOCATOR, &Message::Request(request).to_vec());
        // Not sent, it is lost like any other: the request is repeated, and meanwhile there may be a route.
        let counter = if sent { &self.counters.requests_out } else { &self.counters.requests_lost };
        counter.count();
        Ok(Box::new(FaAttempt { flows: Arc::clone(self), flow, sent }))
    }
}

/// A request that has been sent. Dropping it withdraws the request.
struct FaAttempt {
    flows: Arc<FlowAllocator>,
    flow: Arc<FaFlow>,
    sent: bool,
}

impl Attempt for FaAttempt {
    fn is_sent(&self) -> bool {
        self.sent
    }
}

impl Drop for FaAttempt {
    fn drop(&mut self) {
        // Answered requests belong to their port.
        if self.flow.withdraw() {
            self.flows.forget(&self.flow);
        }
    }
}
