//! Messages of the flow allocator that arrive, and the answers to them.

use alloc::sync::Arc;
use core::time::Duration;

use super::{FaPort, FlowAllocator, is_flow_eid, is_of_reference};
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::ipcp::reply::{Grant, Replies, ReplyOnce, check_size, refused};
use crate::ipcp::{Incoming, Location, Origin, Reply, RequestError};
use crate::types::code::Code;
use crate::types::id::{Address, Eid};
use crate::types::qos::QosSpec;
use crate::wire::dt::FLOW_ALLOCATOR;
use crate::wire::fa::{FIXED_LEN, FlowReply, FlowRequest, FlowUpdate, Message, REFERENCE_MAX};

/// The reference enters a flow only after it has sent the request: a reply that is there sooner is lost.
const REFERENCE_REPLY_DELAY: Duration = Duration::from_millis(2);

/// What a message is, before it is handled.
pub(in crate::ipcp::unicast) enum Purpose {
    /// It asks for a flow.
    Request,
    /// It is the first reply to a request of ours.
    Reply,
    /// It says how a flow fares.
    Update,
}

impl FlowAllocator {
    /// Finds out what a message is. Replies that nobody waits for, and updates of flows that there are not, are counted and
    /// dropped here, before they take the room of others: EIDs cannot be guessed, so whoever makes up messages makes up
    /// these.
    pub(in crate::ipcp::unicast) fn sort(&self, message: &[u8]) -> Option<Purpose> {
        if message.len() > REFERENCE_MAX {
            self.counters.malformed.count();
            return None;
        }
        let (purpose, counter) = match Message::parse(self.shared.info.hash, message) {
            Ok(Message::Request(_)) => (Some(Purpose::Request), &self.counters.malformed),
            Ok(Message::Reply(m)) => {
                let claimed = self.flow(m.r_eid).is_some_and(|flow| flow.claim_reply());
                (claimed.then_some(Purpose::Reply), &self.counters.replies_unexpected)
            }
            Ok(Message::Update(m)) => (self.flow(m.r_eid).map(|_| Purpose::Update), &self.counters.updates_unexpected),
            Err(_) => (None, &self.counters.malformed),
        };
        if purpose.is_none() {
            counter.count();
        }
        purpose
    }

    /// Handles a message. No lock is held.
    pub(in crate::ipcp::unicast) fn handle(self: &Arc<Self>, now: Instant, message: &[u8]) {
        match Message::parse(self.shared.info.hash, message) {
            Ok(Message::Request(m)) => self.handle_request(now, m),
            Ok(Message::Reply(m)) => self.handle_reply(m),
            Ok(Message::Update(m)) => self.handle_update(now, m),
            Err(_) => self.counters.malformed.count(),
        }
    }

    fn handle_request(self: &Arc<Self>, now: Instant, m: FlowRequest<'_>) {
        self.counters.requests_in.count();
        if !is_flow_eid(m.s_eid) || !self.shared.is_peer_address(m.s_addr) {
            self.counters.malformed.count();
            return;
        }
        let Some(requests) = self.requests.upgrade() else { return };
        let to = Requester { address: m.s_addr, s_eid: m.s_eid, qos: m.qos };
        let responder = ReplyOnce::new(Arc::clone(self), to);
        let info = &self.shared.info;
        let origin = Origin { address: m.s_addr.0, received: FIXED_LEN + info.hash.len() + m.data.len() };
        let request = Incoming::new(info, m.dst, m.qos, m.data.to_vec(), responder)
            .from_peer(m.s_addr.0, Some(origin))
            .located(Location::Member(m.s_addr));
        if !self.has_name(&m.dst) {
            let Some(request) = requests.repeated(now, request) else { return };
            let (name, peer) = (m.dst, m.s_addr);
            record!(
                self.shared.panics,
                Refused,
                Debug,
                [hash = name, peer = peer],
                "request for a flow from member {peer} refused: no name with hash {name} is registered"
            );
            request.responder.refuse(now, Code::NAME);
            return;
        }
        requests.incoming(now, request);
    }

    fn handle_reply(self: &Arc<Self>, m: FlowReply<'_>) {
        let pending = self.flow(m.r_eid).and_then(|f| f.take_requested().map(|r| (f, r)));
        let Some((flow, (answer, token))) = pending else {
            self.counters.replies_unexpected.count();
            return;
        };
        self.counters.replies_in.count();
        let result = match m.response {
            0 if is_flow_eid(m.s_eid) => Ok(FaPort::new(self, &flow, m.s_eid)),
            0 => Err(Code::CRYPT),
            response => Err(Code::from_response(response)),
        };
        if result.is_err() {
            self.forget(&flow);
        }
        answer.answered(token, Reply::of(result, m.data));
    }

    fn handle_update(&self, now: Instant, m: FlowUpdate) {
        match self.flow(m.r_eid) {
            Some(flow) => flow.update(now, &m),
            None => self.counters.updates_unexpected.count(),
        }
    }
}

/// The requester: its member, and the EID there.
#[derive(Clone, Copy)]
pub(in crate::ipcp::unicast) struct Requester {
    address: Address,
    s_eid: Eid,
    qos: QosSpec,
}

impl Replies for FlowAllocator {
    type Requester = Requester;

    fn hold(&self, to: &Requester) -> Duration {
        if is_of_reference(to.s_eid) { REFERENCE_REPLY_DELAY } else { Duration::ZERO }
    }

    fn has_room(&self) -> bool {
        self.flows.has_room()
    }

    fn accept(
        self: &Arc<Self>,
        to: &Requester,
        endpoint: &Arc<Endpoint>,
        data: &[u8],
    ) -> Result<Grant, (Code, RequestError)> {
        let Requester { address, s_eid, qos } = *to;
        let max = REFERENCE_MAX.min(self.data.mtu_to(address, FLOW_ALLOCATOR)).saturating_sub(FIXED_LEN);
        check_size(data.len(), max).map_err(refused)?;
        let flow = self.enter(address, &qos, endpoint, None).map_err(refused)?;
        let reply = FlowReply { r_eid: s_eid, s_eid: flow.eid(), response: 0, data };
        Ok(Grant { end: flow.eid().0, port: FaPort::new(self, &flow, s_eid), message: Message::Reply(reply).to_vec() })
    }

    fn is_open(&self, eid: u64) -> bool {
        self.flow(Eid(eid)).is_some()
    }

    fn reply(&self, now: Instant, to: &Requester, message: &[u8]) {
        self.data.originate_message(now, to.address, FLOW_ALLOCATOR, message);
    }

    fn refuse(&self, now: Option<Instant>, to: &Requester, code: Code) {
        self.counters.refused.count();
        let reply = FlowReply { r_eid: to.s_eid, s_eid: Eid(0), response: code.to_response(), data: &[] };
        self.reply(now.unwrap_or_else(|| self.shared.clock.now()), to, &Message::Reply(reply).to_vec());
    }
}
