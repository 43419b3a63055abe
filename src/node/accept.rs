//! Accepting a flow.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Context, Poll};

use super::alloc::Allocated;
use super::flows::{Agreed, LayerFacts};
use super::gate::FlowRequest;
use super::member::Beginner;
use super::{Node, Screened};
use crate::base::rng::Randomness;
use crate::base::sync::{AtomicU64, Ordering};
use crate::base::time::Instant;
use crate::flow::Params;
use crate::ipcp::{Accepted, Incoming, Kind, Location, Responder};
use crate::irm::{ListenerId, Taken, WaiterId};
use crate::oap::server::{Negotiated, Request};
use crate::oap::{OapError, Outcome, PeerIdentity};
use crate::types::code::Code;
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// Error of accepting a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum AcceptError {
    /// The listener was closed, or the stack shut down.
    #[error("the listener was closed")]
    Closed,
    /// The deadline passed before a request came.
    #[error("no request for a flow came before the deadline")]
    TimedOut,
}

/// Who makes a request.
fn beginner_of(request: &Incoming) -> Beginner {
    Beginner { peer: request.peer, host: request.host() }
}

/// Requests that fail in one poll, before others get their turn.
const FAILURES_PER_POLL: usize = 16;

/// An accept under way; several may be, of one listener. A future in all but name. Dropping it has the request that it
/// was woken for offered to another one.
pub struct Accept {
    node: Arc<Node>,
    listener: ListenerId,
    name: Name,
    waiter: Option<WaiterId>,
    /// The [news](super::names::Names::news) at which it was last looked for a request.
    looked: AtomicU64,
    /// `true` if a requester of the reference's kind may keep the flow without limit and without a sign of life.
    patient: bool,
    screen: Option<Screen>,
    beginner: Beginner,
}

type Screen = Box<dyn FnMut(Beginner) -> bool + Send>;

/// Why a request is not accepted.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Security(#[from] OapError),
    #[error("the gate of the name does not admit a requester that is {peer}: {code}")]
    Gate { peer: PeerIdentity, code: Code },
}

impl Refusal {
    fn code(&self) -> Code {
        match self {
            Self::Security(error) => Code::from_response(error.refusal_code()),
            Self::Gate { code, .. } => *code,
        }
    }
}

/// A flow whose answer is prepared.
struct Prepared {
    accepted: Accepted,
    params: Params,
    flow: Allocated,
    beginner: Beginner,
    from: Location,
    id: [u8; 16],
    /// Bytes of the reply's security header.
    size: usize,
}

impl Accept {
    /// Waits for a request from the first [`poll`](Self::poll) on.
    pub fn new(node: &Arc<Node>, listener: ListenerId, name: Name) -> Self {
        Self {
            node: Arc::clone(node),
            listener,
            name,
            waiter: None,
            looked: AtomicU64::new(u64::MAX),
            patient: false,
            screen: None,
            beginner: Beginner::default(),
        }
    }

    /// Does not end flows of a silent peer that asked for no timeout: N-1 flows of a reference are silent for as long as
    /// its layer has nothing to send, and its layer finds out by itself whether the neighbour is there.
    pub(super) fn patient(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Refuses requests of those for whom `admits` is not true, before anything costly is done for them.
    pub(super) fn screen(&mut self, admits: impl FnMut(Beginner) -> bool + Send + 'static) {
        self.screen = Some(Box::new(admits));
    }

    /// Who has asked for the flow that was accepted last, as far as its layer can tell.
    pub(super) fn beginner(&self) -> Beginner {
        self.beginner
    }

    /// Returns `true` if a request may have come. For threads that spin: what it misses wakes them when they sleep.
    pub fn has_request(&self) -> bool {
        let news = self.node.names.news();
        if self.looked.load(Ordering::Relaxed) == news {
            return false;
        }
        let has = self.node.with_irm(|irm| irm.has_work(self.listener, self.waiter));
        if !has {
            self.looked.store(news, Ordering::Relaxed);
        }
        has
    }

    /// Goes as far as it can. `reply` makes data for the requester, which travels with the reply, from the data that
    /// came with the request.
    ///
    /// Requests that fail, because the peer's security header is wrong or does not satisfy the name's settings, are
    /// refused and counted; they do not end the accept.
    ///
    /// # Errors
    /// [`AcceptError::Closed`] when there will be no more.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reply: &mut dyn FnMut(&[u8]) -> Vec<u8>,
    ) -> Poll<Result<Allocated, AcceptError>> {
        // Cloned and dropped where no lock is held: a waker is code of others.
        let mut waker = None;
        // Requesters that have given up are refused first, even if the timer for them is late.
        self.node.names.expire_requests(self.node.shared.now());
        for _ in 0..FAILURES_PER_POLL {
            if self.node.is_down() {
                return Poll::Ready(Err(AcceptError::Closed));
            }
            let now = self.node.shared.now();
            waker.get_or_insert_with(|| cx.waker().clone());
            let next = self.node.with_irm(|irm| irm.poll_accept(self.listener, &mut self.waiter, &mut waker));
            match next {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Err(AcceptError::Closed)),
                // Given up while it waited: dropping it is all.
                Poll::Ready(Some(Taken { request, .. })) if request.incoming.is_withdrawn() => {}
                Poll::Ready(Some(Taken { request, .. })) if self.admits(&request) => {
                    if let Some(prepared) = self.prepare(now, request, reply) {
                        return Poll::Ready(Ok(self.finish(prepared)));
                    }
                }
                Poll::Ready(Some(Taken { request, .. })) => {
                    self.node.shared.counters.shed.count();
                    self.node.names.note_refusal(
                        &self.name,
                        request.incoming.from,
                        "too many handshakes are under way",
                    );
                    request.incoming.responder.refuse(now, Code::AGAIN);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn admits(&mut self, request: &Screened) -> bool {
        self.screen.as_mut().is_none_or(|admits| admits(beginner_of(&request.incoming)))
    }

    /// The server's side of the security exchange.
    fn prepare(&self, now: Instant, request: Screened, reply: &mut dyn FnMut(&[u8]) -> Vec<u8>) -> Option<Prepared> {
        let node = &self.node;
        let mut rng = node.shared.split_randomness("oap");
        let Screened { incoming, oap, is_unproven } = request;
        let is_o7s = oap.is_o7s();
        let beginner = beginner_of(&incoming);
        let Incoming { kind, qos, responder, peer, from, mpl, congestible, window, origin, .. } = incoming;
        let facts = LayerFacts { mpl, congestible, window };
        let id = oap.id();
        // The requester may have asked again while both requests waited.
        let again = node.names.reply_to(now, peer, id, origin.map(|origin| origin.received));
        if let Some(reply) = again {
            node.shared.counters.resent.count();
            responder.resend(now, &*reply);
            return None;
        }
        let qos = self.bounded(kind, qos, is_o7s);
        let (response, outcome) = match self.respond(oap, kind, &qos, reply, &mut rng) {
            Ok(ok) => ok,
            Err(e) => {
                self.refuse(now, from, e, responder);
                return None;
            }
        };
        let Some(endpoint) = node.new_endpoint_in(&*responder) else {
            node.names.note_refusal(&self.name, from, "this stack carries as many flows as its limit allows");
            responder.refuse(now, Code::NOMEM);
            return None;
        };
        if is_unproven && !origin.is_none_or(|origin| node.flows.may_reply(now, origin, response.len(), endpoint.key()))
        {
            endpoint.abort();
            node.shared.counters.large_replies.count();
            node.names.note_refusal(
                &self.name,
                from,
                "too many large replies to hosts that have not shown their addresses",
            );
            node.names.refuse_asking(now, peer, is_o7s, responder);
            return None;
        }
        let accepted = match responder.accept(now, &endpoint, &response) {
            Ok(accepted) => accepted,
            Err(e) => {
                node.names.note_refusal(&self.name, from, e);
                endpoint.abort();
                return None;
            }
        };
        let size = response.len();
        let opening = origin.map(|o| node.flows.opening(o.received, size));
        let agreed = Agreed { id: outcome.id, keys: outcome.protection, peering: outcome.peering };
        let Ok(mut params) = node.flows.params(qos, &facts, agreed) else {
            // Dropping the prepared reply refuses the request.
            endpoint.abort();
            return None;
        };
        params.opening = opening.unwrap_or_default();
        if let Some(origin) = origin {
            params.meter = Some(node.flows.meter_of(origin.address));
            node.flows.await_first_word(now, origin.address, &endpoint);
        }
        let (security, peer) = (outcome.security, PeerIdentity::claim(outcome.peer));
        let flow = Allocated { endpoint, kind, data: outcome.data, security, peer };
        Some(Prepared { accepted, params, flow, beginner, from, id, size })
    }

    /// What is agreed to of the quality of service that is asked for.
    fn bounded(&self, kind: Kind, qos: QosSpec, is_o7s: bool) -> QosSpec {
        let forever = self.patient && qos.timeout == 0 && !kind.is_in_memory() && !is_o7s;
        if forever { qos } else { QosSpec { timeout: self.node.flows.bounded(qos.timeout), ..qos } }
    }

    fn refuse(&self, now: Instant, from: Location, why: Refusal, responder: Box<dyn Responder>) {
        let counters = &self.node.shared.counters;
        let is_gate = matches!(why, Refusal::Gate { .. });
        let counter = if is_gate { &counters.not_admitted } else { &counters.bad_oap };
        counter.count();
        let code = why.code();
        self.node.names.note_refusal(&self.name, from, why);
        responder.refuse(now, code);
    }

    /// Negotiates, looks who asks, has the program decide, and makes the response with the data of `reply`.
    fn respond(
        &self,
        oap: Request,
        kind: Kind,
        qos: &QosSpec,
        reply: &mut dyn FnMut(&[u8]) -> Vec<u8>,
        rng: &mut Randomness,
    ) -> Result<(Vec<u8>, Outcome), Refusal> {
        let (flows, security) = (&self.node.flows, self.node.names.security_of(&self.name).server);
        let negotiated = oap.accept(&security)?;
        // One in memory is of this stack.
        let mut negotiated = if kind.is_in_memory() { negotiated.with_known_client() } else { negotiated };
        let unix = self.node.shared.env.clock.unix_nanos();
        self.ask_gate(&mut negotiated, unix, kind, *qos)?;
        let data = reply(negotiated.data());
        let negotiated = negotiated.with_message(flows.message()).with_qos(qos).with_name(&self.name);
        Ok(negotiated.respond(unix, &data, flows.granted(qos.timeout), rng)?)
    }

    /// Has the program decide, before anything is computed for the flow.
    fn ask_gate(&self, negotiated: &mut Negotiated, unix: u64, layer: Kind, qos: QosSpec) -> Result<(), Refusal> {
        let gates = &self.node.names.gates;
        let peer = negotiated.identify(unix)?;
        if !gates.any() {
            return Ok(());
        }
        let peer = PeerIdentity::claim(peer.cloned());
        let (security, data) = (negotiated.security(), negotiated.data());
        let request = FlowRequest { name: &self.name, peer: &peer, security, qos, layer, data };
        let decided = gates.ask(&request, self.node.panics());
        decided.map_err(|code| Refusal::Gate { peer, code })
    }

    fn finish(&mut self, prepared: Prepared) -> Allocated {
        let Prepared { accepted, params, flow, beginner, from, id, size } = prepared;
        // Agreeing on a key takes its time.
        let now = self.node.shared.now();
        self.beginner = beginner;
        flow.endpoint.activate(now, accepted.port, params);
        if let Some(again) = accepted.reply.send(now) {
            self.node.names.remember_reply(now, beginner.peer, id, again, size);
        }
        self.node.shared.counters.accepted.count();
        flow.note("accepted", &self.name, from);
        flow
    }
}

impl Drop for Accept {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            self.node.names.cancel_accept(self.listener, waiter);
        }
    }
}

impl core::fmt::Debug for Accept {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Accept").field("name", &self.name).finish_non_exhaustive()
    }
}
