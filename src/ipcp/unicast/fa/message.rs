//! Messages of the flow allocator that arrive, and the answers to them.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{FaFlow, FaPort, is_flow_eid, is_of_reference};
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::ipcp::unicast::{Unicast, count};
use crate::ipcp::{Accepted, Incoming, Ipcp as _, Origin, Reply, RequestError, Resend, Responder, SendReply};
use crate::types::code::Code;
use crate::types::id::{Address, Eid};
use crate::types::qos::QosSpec;
use crate::wire::dt::FLOW_ALLOCATOR;
use crate::wire::fa::{FIXED_LEN, FlowReply, FlowRequest, FlowUpdate, Message, REFERENCE_MAX};

/// The reference enters a flow only after it has sent the request: a reply that is there sooner is lost.
const REFERENCE_REPLY_DELAY: Duration = Duration::from_millis(2);

impl Unicast {
    /// Handles a message of the flow allocator. No lock is held.
    pub(in crate::ipcp::unicast) fn handle_fa(&self, now: Instant, message: &[u8]) {
        if message.len() > REFERENCE_MAX {
            count(&self.counters.malformed);
            return;
        }
        match Message::parse(self.info().hash, message) {
            Ok(Message::Request(m)) => self.handle_request(now, m),
            Ok(Message::Reply(m)) => self.handle_reply(m),
            Ok(Message::Update(m)) => self.handle_update(now, m),
            Err(_) => count(&self.counters.malformed),
        }
    }

    fn handle_request(&self, now: Instant, m: FlowRequest<'_>) {
        count(&self.counters.requests_in);
        if !is_flow_eid(m.s_eid) || !self.is_peer_address(m.s_addr) {
            count(&self.counters.malformed);
            return;
        }
        let (Some(unicast), Some(requests)) = (self.me.upgrade(), self.requests.upgrade()) else { return };
        let responder = FaResponder { unicast: Some(unicast), peer: m.s_addr, s_eid: m.s_eid, qos: m.qos };
        if !self.names.lock().contains(&m.dst) {
            Box::new(responder).refuse(now, Code::NAME);
            return;
        }
        let info = self.info();
        requests.incoming(
            now,
            Incoming {
                kind: info.kind,
                hash: info.hash,
                dst: m.dst,
                qos: m.qos,
                mpl: info.mpl,
                congestible: info.congestible,
                window: info.window,
                data: m.data.to_vec(),
                responder: Box::new(responder),
                peer: m.s_addr.0,
                origin: Some(Origin { address: m.s_addr.0, received: FIXED_LEN + info.hash.len() + m.data.len() }),
            },
        );
    }

    fn handle_reply(&self, m: FlowReply<'_>) {
        let pending = self.flow(m.r_eid).and_then(|f| f.take_requested().map(|r| (f, r)));
        let Some((flow, (answer, token))) = pending else {
            count(&self.counters.replies_unexpected);
            return;
        };
        count(&self.counters.replies_in);
        let result = match m.response {
            0 if is_flow_eid(m.s_eid) => match self.me.upgrade() {
                Some(unicast) => Ok(FaPort::new(unicast, &flow, m.s_eid)),
                None => Err(Code::CRYPT),
            },
            0 => Err(Code::CRYPT),
            response => Err(Code::from_response(response)),
        };
        let reply = match result {
            Ok(port) => Reply { result: Ok(port), data: m.data.to_vec() },
            Err(code) => {
                self.forget_flow(&flow);
                Reply { result: Err(code), data: Vec::new() }
            }
        };
        answer.answered(token, reply);
    }

    fn handle_update(&self, now: Instant, m: FlowUpdate) {
        match self.flow(m.r_eid) {
            Some(flow) => flow.update(now, self, &m),
            None => count(&self.counters.updates_unexpected),
        }
    }

    fn send_reply(&self, now: Instant, to: Address, reply: FlowReply<'_>) -> bool {
        self.originate_message(now, to, FLOW_ALLOCATOR, &Message::Reply(reply).to_vec())
    }
}

/// Answers one request. Dropped unanswered, it refuses.
struct FaResponder {
    unicast: Option<Arc<Unicast>>,
    peer: Address,
    s_eid: Eid,
    qos: QosSpec,
}

impl FaResponder {
    fn refuse_with(&mut self, now: Option<Instant>, code: Code) {
        let Some(unicast) = self.unicast.take() else { return };
        count(&unicast.counters.refused);
        let reply = FlowReply { r_eid: self.s_eid, s_eid: Eid(0), response: code.to_response(), data: &[] };
        // A refusal that cannot be sent is a lost one: the requester's time-out is for that.
        unicast.send_reply(now.unwrap_or_else(|| unicast.clock.now()), self.peer, reply);
    }
}

impl Drop for FaResponder {
    fn drop(&mut self) {
        self.refuse_with(None, Code::AGAIN);
    }
}

impl Responder for FaResponder {
    fn accept(
        mut self: Box<Self>,
        now: Instant,
        endpoint: &Arc<Endpoint>,
        data: &[u8],
    ) -> Result<Accepted, RequestError> {
        let Some(unicast) = self.unicast.take() else { return Err(RequestError::Gone) };
        let size = data.len();
        let max = REFERENCE_MAX.min(unicast.mtu()).saturating_sub(FIXED_LEN);
        if size > max {
            self.unicast = Some(unicast);
            self.refuse_with(Some(now), Code::CRYPT);
            return Err(RequestError::TooLarge { size, max });
        }
        let Some(flow) = unicast.enter(self.peer, &self.qos, endpoint, None) else {
            self.unicast = Some(unicast);
            self.refuse_with(Some(now), Code::NOMEM);
            return Err(RequestError::Full);
        };
        let port = FaPort::new(Arc::clone(&unicast), &flow, self.s_eid);
        let delay = if is_of_reference(self.s_eid) { REFERENCE_REPLY_DELAY } else { Duration::ZERO };
        let reply = Arc::new(FaReply { unicast, flow, s_eid: self.s_eid, data: data.to_vec() });
        Ok(Accepted { port, not_before: now + delay, reply: Box::new(Prepared(Some(reply))) })
    }

    fn refuse(mut self: Box<Self>, now: Instant, code: Code) {
        self.refuse_with(Some(now), code);
    }

    fn resend(mut self: Box<Self>, now: Instant, again: &dyn Resend) {
        self.unicast = None;
        again.resend(now);
    }
}

struct FaReply {
    unicast: Arc<Unicast>,
    flow: Arc<FaFlow>,
    /// The requester's end.
    s_eid: Eid,
    data: Vec<u8>,
}

impl FaReply {
    fn refuse(&self, now: Option<Instant>) {
        let unicast = Some(Arc::clone(&self.unicast));
        let qos = QosSpec::default();
        FaResponder { unicast, peer: self.flow.peer(), s_eid: self.s_eid, qos }.refuse_with(now, Code::AGAIN);
    }
}

impl Resend for FaReply {
    fn resend(&self, now: Instant) {
        let eid = self.flow.eid();
        if self.unicast.flow(eid).is_some() {
            let reply = FlowReply { r_eid: self.s_eid, s_eid: eid, response: 0, data: &self.data };
            self.unicast.send_reply(now, self.flow.peer(), reply);
        } else {
            // Whoever accepted the flow has closed it meanwhile.
            self.refuse(Some(now));
        }
    }
}

/// Dropped unsent, it refuses.
struct Prepared(Option<Arc<FaReply>>);

impl SendReply for Prepared {
    fn send(mut self: Box<Self>, now: Instant) -> Option<Arc<dyn Resend>> {
        let reply: Arc<dyn Resend> = self.0.take()?;
        reply.resend(now);
        Some(reply)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply.refuse(None);
        }
    }
}
