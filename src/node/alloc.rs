//! Allocating a flow: finding a layer, asking, waiting, agreeing on a key.

mod asking;
mod fallback;
mod late;
mod places;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use self::asking::{Asking, Try};
pub(super) use self::late::LateRequests;
use super::flows::{Agreed, LayerFacts};
use super::timers::Sleep;
use super::{IpcpId, Node};
use crate::base::foreign::{Causes, Panics};
use crate::base::journal::record;
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::flow::{Drive, Endpoint, Port};
use crate::ipcp::{Answer, Kind, Location, Reply, RequestError};
use crate::oap::{Encryption, FlowSecurity, OapError, PeerIdentity};
use crate::types::code::Code;
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// Parameters of a flow allocation.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name called. It need not be known here.
    pub name: Name,
    /// The quality of service.
    pub qos: QosSpec,
    /// Longest time to wait; `None` for the node's default.
    pub timeout: Option<Duration>,
    /// Data for the acceptor, which travels with the request, neither encrypted nor reliable in itself.
    pub data: Vec<u8>,
    /// Layers that the flow may go through.
    pub via: Via,
}

/// Choice of the layers for a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Any, and none at all if the name is bound in this stack.
    #[default]
    Any,
    /// Only these IPCPs.
    Only(Vec<IpcpId>),
    /// Any layer but that of this IPCP, which asks for the flow itself.
    Layers {
        /// The IPCP that asks, once there is one.
        except: Option<IpcpId>,
    },
}

impl Via {
    /// Returns `true` if flows may go through the layer of this IPCP.
    pub(super) fn allows(&self, id: IpcpId) -> bool {
        match self {
            Self::Any => true,
            Self::Only(ids) => ids.contains(&id),
            Self::Layers { except } => Some(id) != *except,
        }
    }
}

/// What of that counts when a server has accepted.
#[derive(Clone, Copy)]
struct Terms {
    qos: QosSpec,
    /// An IPCP asks.
    member: bool,
}

impl Wanted {
    fn terms(&self) -> Terms {
        Terms { qos: self.qos, member: self.via != Via::Any }
    }
}

/// A flow that has been allocated or accepted.
#[derive(Debug)]
pub struct Allocated {
    /// This end of the flow.
    pub endpoint: Arc<Endpoint>,
    /// The sort of layer that carries it.
    pub kind: Kind,
    /// Data that the other end sent along with its reply or request.
    pub data: Vec<u8>,
    /// Result of the security negotiation.
    pub security: FlowSecurity,
    /// Who the other end is, as far as that was shown then.
    pub peer: PeerIdentity,
}

impl Allocated {
    /// Says that it has come to be.
    pub(super) fn note(&self, how: &str, name: &Name, peer: Location) {
        let (key, kind, identity) = (self.endpoint.key(), self.kind, &self.peer);
        let cipher = self.security.encryption.map_or("none", |e| e.cipher.name());
        record!(
            self.endpoint.panics(),
            Opened,
            Info,
            [
                flow = format_args!("{key:x}"),
                name = name,
                peer = peer,
                layer = kind,
                cipher = cipher,
                identity = identity
            ],
            "flow {key:x} to {name:?} {how}, peer {peer} over {kind}, cipher {cipher}, {identity}"
        );
    }
}

/// Error of a flow allocation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum AllocError {
    /// No layer of this stack knows the name.
    #[error(
        "no layer of this stack knows the name {0:?}: tell a UDP layer its host, or join a layer in which it is registered"
    )]
    Unreachable(Name),
    /// Layers were still looking for the name when the time was over.
    #[error("{0:?} was not found in time: a directory, a resolver or a server of names is slow or does not answer")]
    LookupTimedOut(Name),
    /// No answer in time.
    #[error("no answer from {0:?} in time: it may be down or busy, or its network unreachable")]
    TimedOut(Name),
    /// The other end said no.
    #[error("the other end refused the flow to {name:?}: {code}")]
    Refused {
        /// The name that was asked for.
        name: Name,
        /// Code of the refusal.
        code: Code,
        /// The encryption that this end asked for.
        offered: Option<Encryption>,
    },
    /// The security exchange failed, or could not be prepared.
    #[error("the flow could not be secured")]
    Security(#[from] OapError),
    /// The layer could not carry the request.
    #[error("the request could not be sent")]
    Layer(#[from] RequestError),
    /// The stack's limit of flows is reached.
    #[error("this stack carries as many flows as its limit allows: close some, or raise the limit of flows")]
    TooManyFlows,
    /// The stack was shut down.
    #[error("the stack was shut down")]
    StackDown,
}

/// An allocation under way. A future in all but name: [`poll`](Self::poll) it with whatever drives the caller.
/// Dropping it withdraws the request, of which a bounded number is still [waited for](late) so that nobody keeps a flow with us.
///
/// The places where the name may be are asked one after the other: all that the first layer knows, then those of the next.
/// One that says no, or to which the request cannot be sent, is followed by the next at once. One that is silent is asked
/// again, and a moment later the others are asked as well; the first who says yes has the flow.
pub struct Allocation {
    node: Arc<Node>,
    wanted: Wanted,
    deadline: Instant,
    phase: Phase,
    answers: Arc<Answers>,
    sleep: Sleep,
    round_trip: Duration,
}

enum Phase {
    /// No request was made yet.
    Start,
    Asking(Box<Asking>),
    Done,
}

struct Answers {
    inner: Mutex<Inbox>,
    panics: Arc<Panics>,
}

#[derive(Default)]
struct Inbox {
    replies: VecDeque<(u64, Reply)>,
    waker: Option<Waker>,
}

impl Answer for Answers {
    fn answered(&self, token: u64, reply: Reply) {
        let waker = {
            let mut inner = self.inner.lock();
            inner.replies.push_back((token, reply));
            inner.waker.take()
        };
        self.panics.wake_all(waker);
    }
}

impl Answers {
    /// Takes the next one out; if there is none, `cx` is woken when it comes.
    fn next(&self, cx: &Context<'_>) -> Option<(u64, Reply)> {
        // Made and dropped where no lock is held: a waker is code of others.
        let mut waker = Some(cx.waker().clone());
        let next = {
            let mut inner = self.inner.lock();
            core::mem::swap(&mut inner.waker, &mut waker);
            inner.replies.pop_front()
        };
        self.panics.discard(waker);
        next
    }

    /// Wakes who has asked last.
    fn wake(&self) {
        let waker = self.inner.lock().waker.take();
        self.panics.wake_all(waker);
    }

    /// Whoever has asked last is not woken.
    fn forget_waker(&self) {
        let waker = self.inner.lock().waker.take();
        self.panics.discard(waker);
    }
}

impl Allocation {
    /// Makes an allocation, which begins with the first [`poll`](Self::poll).
    pub fn new(node: &Arc<Node>, wanted: Wanted) -> Self {
        let deadline = node.shared.now() + wanted.timeout.unwrap_or(node.shared.limits.alloc_timeout);
        Self {
            node: Arc::clone(node),
            wanted,
            deadline,
            phase: Phase::Start,
            answers: Arc::new(Answers { inner: Mutex::default(), panics: Arc::clone(node.panics()) }),
            sleep: Sleep::new(&node.timers),
            round_trip: Duration::ZERO,
        }
    }

    /// After it has succeeded, the time from the request that was answered to the answer. It cannot be told to which of
    /// several requests the answer is. It is taken for that to the first of those that are at most
    /// [`STEP_TIMEOUT`](crate::ipcp::connect::STEP_TIMEOUT) ago, which is as long as a path may be for members to be connected
    /// over it; if there is none, for that to the last. So repetitions make no such path shorter, and what was lost makes it
    /// longer only where requests are repeated sooner than that.
    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// The device that the answer will come from, for a thread that wants to wait on it.
    pub fn device(&self) -> Option<Arc<dyn Drive>> {
        match &self.phase {
            Phase::Asking(asking) => asking.tries.last().and_then(|t| t.ipcp.device()),
            _ => None,
        }
    }

    /// Returns `true` if an answer has come that was not looked at. For threads that spin.
    pub fn has_answer(&self) -> bool {
        !self.answers.inner.lock().replies.is_empty()
    }

    /// Goes as far as it can.
    ///
    /// # Errors
    /// [`AllocError`], after which the allocation is withdrawn as if it was dropped.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Allocated, AllocError>> {
        let result = self.advance(cx);
        match &result {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(_)) => self.node.shared.counters.allocated.count(),
            Poll::Ready(Err(e)) => {
                self.node.shared.counters.alloc_failed.count();
                let (name, why) = (&self.wanted.name, Causes(e));
                record!(self.node.panics(), Failed, Debug, [name = name, reason = why], "no flow to {name:?}: {why}");
            }
        }
        self.give_up();
        result
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<Allocated, AllocError>> {
        if self.node.is_down() {
            return Poll::Ready(Err(AllocError::StackDown));
        }
        let now = self.node.shared.now();
        if matches!(self.phase, Phase::Start) {
            self.phase = Phase::Asking(Box::new(self.begin(now)));
        }
        while let Some((token, reply)) = self.answers.next(cx) {
            if let Some(result) = self.take_answer(now, token, reply) {
                return Poll::Ready(result);
            }
        }
        if now >= self.deadline {
            return Poll::Ready(Err(self.out_of_time(now)));
        }
        match self.go_on(now, cx) {
            Ok(()) => Poll::Pending,
            Err(e) => Poll::Ready(Err(e)),
        }
    }

    fn refusal(&self, code: Code) -> AllocError {
        let name = self.wanted.name.clone();
        let offered = self.node.security_of(&name).client.offered();
        AllocError::Refused { name, code, offered }
    }

    /// Withdraws what is pending.
    fn give_up(&mut self) {
        self.sleep.cancel();
        if let Phase::Asking(asking) = core::mem::replace(&mut self.phase, Phase::Done) {
            self.leave_behind(asking.tries);
        }
    }
}

/// Agrees on the keys of a flow that a server has accepted, and opens it.
fn complete(
    node: &Node,
    terms: Terms,
    now: Instant,
    chosen: Try,
    port: Arc<dyn Port>,
    response: &[u8],
) -> Result<Allocated, AllocError> {
    let Try { endpoint, client, ipcp, .. } = chosen;
    let (layer, kind) = (LayerFacts::from(ipcp.info()), ipcp.info().kind);
    let agreed = client.complete(response).and_then(|outcome| {
        let agreed = Agreed { id: outcome.id, keys: outcome.protection, peering: outcome.peering };
        let mut params = node.flows.params(terms.qos, &layer, agreed)?;
        // One of our own kind may not say much before it has heard us. A member of a layer speaks first in any case,
        // and its keepalives say that it has the connection.
        params.opening.greet = params.peering.is_some() && !kind.is_in_memory() && !terms.member;
        // The response is signed, with the request in it: who has the key is the one in the certificate. But nothing else is
        // his that comes in the clear.
        let authentic = params.protection.as_ref().is_some_and(|(keys, _)| keys.cipher().is_aead());
        let peer = PeerIdentity::claim(outcome.peer);
        let peer = if authentic { peer.confirm() } else { peer };
        Ok((params, outcome.data, outcome.security, peer))
    });
    match agreed {
        Ok((params, data, security, peer)) => {
            endpoint.activate(now, port, params);
            Ok(Allocated { endpoint, kind, data, security, peer })
        }
        Err(e) => {
            node.panics().call(move || port.release(now));
            endpoint.abort();
            Err(e.into())
        }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl core::fmt::Debug for Allocation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Allocation").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}
