//! Allocating a flow: finding a layer, asking, waiting, agreeing on a key.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::timers::Sleep;
use super::{IpcpId, LayerFacts, Node, count};
use crate::base::foreign::Panics;
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::flow::{Drive, Endpoint, Port};
use crate::ipcp::{Answer, Attempt, Ipcp, Kind, Lookup, Reply, Request, RequestError};
use crate::oap::OapError;
use crate::oap::client::Client;
use crate::types::code::Code;
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// Requests are repeated no faster than this, whatever the node's limits say.
const SHORTEST_RETRY: Duration = Duration::from_millis(10);

/// Garbled replies have the request repeated at once, with the usual doubled wait until the next time, up to this one.
const GARBLED_LIMIT: Duration = Duration::from_secs(10);

/// A refusal with "try again" that comes sooner than this is one of somebody who is busy; what waits for an acceptor until
/// nobody came is refused later.
const BUSY: Duration = Duration::from_millis(500);
/// The pause after such a refusal, doubled each time up to the longest. A random part of it is left out, so that those who
/// were refused together do not come together again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name called. It need not be known here.
    pub name: Name,
    /// The quality of service.
    pub qos: QosSpec,
    /// How long to wait at most; `None` for the node's default.
    pub timeout: Option<Duration>,
    /// Data for whoever accepts, which travels with the request, neither encrypted nor reliable in itself.
    pub data: Vec<u8>,
    /// Through which layers.
    pub via: Via,
}

/// Through which layers a flow may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Any, and none at all if the name is bound in this stack.
    #[default]
    Any,
    /// Those of these IPCPs.
    Only(Vec<IpcpId>),
    /// Any layer but that of this IPCP, which asks for the flow itself.
    Layers {
        /// The IPCP that asks, once there is one.
        except: Option<IpcpId>,
    },
}

impl Via {
    fn allows(&self, id: IpcpId) -> bool {
        match self {
            Self::Any => true,
            Self::Only(ids) => ids.contains(&id),
            Self::Layers { except } => Some(id) != *except,
        }
    }
}

/// A flow that has been allocated or accepted.
#[derive(Debug)]
pub struct Allocated {
    /// This end.
    pub endpoint: Arc<Endpoint>,
    /// The sort of layer that carries it.
    pub kind: Kind,
    /// What the other side sent along with its reply or request.
    pub data: Vec<u8>,
}

/// Why a flow could not be allocated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocError {
    /// No layer of this stack knows the name.
    #[error("no layer of this stack knows the name {0:?}: register it there, or give a layer that reaches it")]
    Unreachable(Name),
    /// Nobody answered in time.
    #[error("no answer from {0:?} in time: it may be down, or its network unreachable")]
    TimedOut(Name),
    /// The other side said no.
    #[error("the other side refused the flow: {0}")]
    Refused(Code),
    /// The security exchange failed, or could not be prepared.
    #[error("the flow could not be secured")]
    Security(#[from] OapError),
    /// The layer could not carry the request.
    #[error("the request could not be sent")]
    Layer(#[from] RequestError),
    /// As many flows as are allowed exist.
    #[error("this stack carries no more flows; close some or raise its limit")]
    TooManyFlows,
    /// The stack was shut down.
    #[error("the stack was shut down")]
    StackDown,
}

/// An allocation under way. A future in all but name: [`poll`](Self::poll) it with whatever drives the caller.
/// Dropping it withdraws the request.
pub struct Allocation {
    node: Arc<Node>,
    wanted: Wanted,
    deadline: Instant,
    phase: Phase,
    answers: Arc<Answers>,
    sleep: Sleep,
}

enum Phase {
    /// Nothing has been done.
    Start,
    /// Layers are looking for the name, until the moment given at the latest.
    Looking(Instant),
    /// A layer has been asked.
    Asked(Asked),
    Done,
}

struct Asked {
    ipcp: Arc<dyn Ipcp>,
    /// All are pending; the first positive answer wins, refusals count only from the last.
    tries: Vec<Try>,
    next_retry: Instant,
    backoff: Duration,
    /// When it was asked last.
    asked_at: Instant,
    /// Set if that was refused by somebody who is busy: the pause before it is asked again.
    busy: Option<Duration>,
}

struct Try {
    token: u64,
    endpoint: Arc<Endpoint>,
    client: Client,
    /// Withdraws the request when dropped.
    _attempt: Box<dyn Attempt>,
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

impl Allocation {
    /// Nothing happens before the first [`poll`](Self::poll).
    pub fn new(node: &Arc<Node>, wanted: Wanted) -> Self {
        let deadline = node.env.clock.now() + wanted.timeout.unwrap_or(node.limits.alloc_timeout);
        Self {
            node: Arc::clone(node),
            wanted,
            deadline,
            phase: Phase::Start,
            answers: Arc::new(Answers { inner: Mutex::default(), panics: Arc::clone(node.panics()) }),
            sleep: Sleep::new(node),
        }
    }

    /// The device that the answer will come from, for a thread that wants to wait on it.
    pub fn device(&self) -> Option<Arc<dyn Drive>> {
        match &self.phase {
            Phase::Asked(asked) => asked.ipcp.device(),
            _ => None,
        }
    }

    /// Whether an answer is there that has not been looked at. For a thread that spins.
    pub fn has_answer(&self) -> bool {
        !self.answers.inner.lock().replies.is_empty()
    }

    /// Goes as far as it can.
    ///
    /// # Errors
    /// [`AllocError`], after which nothing of the allocation is left.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Allocated, AllocError>> {
        let result = self.advance(cx);
        match &result {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(_)) => count(&self.node.counters.allocated),
            Poll::Ready(Err(_)) => count(&self.node.counters.alloc_failed),
        }
        self.give_up();
        result
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<Allocated, AllocError>> {
        if self.node.is_down() {
            return Poll::Ready(Err(AllocError::StackDown));
        }
        let now = self.node.env.clock.now();
        if matches!(self.phase, Phase::Start) {
            self.phase = Phase::Looking(now + self.node.limits.lookup_timeout);
        }
        if let Phase::Looking(until) = self.phase {
            match self.look(now, until, cx) {
                Poll::Ready(Ok(ipcp)) => {
                    let asked = self.ask(now, ipcp)?;
                    self.phase = Phase::Asked(asked);
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => {
                    self.sleep.set(until.min(self.deadline), cx.waker());
                    return if now >= self.deadline { Poll::Ready(Err(self.timed_out())) } else { Poll::Pending };
                }
            }
        }
        self.await_answer(now, cx)
    }

    /// The first layer, in order, that knows the name.
    fn look(&self, now: Instant, until: Instant, cx: &Context<'_>) -> Poll<Result<Arc<dyn Ipcp>, AllocError>> {
        let name = &self.wanted.name;
        if self.wanted.via == Via::Any && self.node.irm.lock().is_bound(name) {
            return Poll::Ready(Ok(Arc::clone(&self.node.direct) as Arc<dyn Ipcp>));
        }
        // All are asked at once, so that one that takes its time costs those behind it none of theirs.
        let (mut pending, mut known) = (false, None);
        for (id, ipcp) in self.node.ipcps() {
            if !self.wanted.via.allows(id) || known.is_some() {
                continue;
            }
            match ipcp.lookup(now, &ipcp.info().hash.hash(name), cx.waker()) {
                Lookup::Known if !pending => return Poll::Ready(Ok(ipcp)),
                Lookup::Known => known = Some(ipcp),
                Lookup::Pending => pending |= now < until,
                Lookup::Unknown => {}
            }
        }
        match known {
            _ if pending => Poll::Pending,
            Some(ipcp) => Poll::Ready(Ok(ipcp)),
            None => Poll::Ready(Err(AllocError::Unreachable(name.clone()))),
        }
    }

    fn ask(&self, now: Instant, ipcp: Arc<dyn Ipcp>) -> Result<Asked, AllocError> {
        let unix = self.node.env.clock.unix_nanos();
        let security = self.node.security_of(&self.wanted.name).client;
        let mut rng = self.node.rng.lock().split("oap");
        let (client, data) = if ipcp.info().kind.is_in_memory() {
            let timeout = self.node.granted(self.wanted.qos.timeout);
            Client::start_known(unix, &security, &self.wanted.data, timeout, &mut rng)?
        } else {
            Client::start(unix, &security, &self.wanted.data, &mut rng)?
        };
        let first = self.send(now, &ipcp, 0, client, &data)?;
        let backoff = self.node.limits.retry.max(SHORTEST_RETRY);
        // In memory nothing gets lost.
        let lossy = !ipcp.info().kind.is_in_memory();
        let next_retry = if lossy { now + backoff } else { Instant::FAR_FUTURE };
        Ok(Asked { ipcp, tries: alloc::vec![first], next_retry, backoff, asked_at: now, busy: None })
    }

    fn send(
        &self,
        now: Instant,
        ipcp: &Arc<dyn Ipcp>,
        token: u64,
        client: Client,
        data: &[u8],
    ) -> Result<Try, AllocError> {
        let endpoint = self.node.new_endpoint().ok_or(AllocError::TooManyFlows)?;
        let (alg, name) = (ipcp.info().hash, &self.wanted.name);
        let kept = if ipcp.info().kind.is_in_memory() { self.node.irm.lock().hash_of(alg, name) } else { None };
        let request = Request {
            dst: kept.unwrap_or_else(|| alg.hash(name)),
            qos: self.wanted.qos,
            endpoint: &endpoint,
            answer: Arc::clone(&self.answers) as Arc<dyn Answer>,
            token,
            data,
        };
        match ipcp.request(now, request) {
            Ok(attempt) => Ok(Try { token, endpoint, client, _attempt: attempt }),
            Err(e) => {
                endpoint.abort();
                Err(e.into())
            }
        }
    }

    fn await_answer(&mut self, now: Instant, cx: &Context<'_>) -> Poll<Result<Allocated, AllocError>> {
        loop {
            let next = {
                // Made and dropped where no lock is held: a waker is code of others.
                let mut waker = Some(cx.waker().clone());
                let next = {
                    let mut inner = self.answers.inner.lock();
                    core::mem::swap(&mut inner.waker, &mut waker);
                    inner.replies.pop_front()
                };
                self.node.env.panics.discard(waker);
                next
            };
            let Some((token, reply)) = next else { break };
            if let Some(result) = self.take_answer(now, token, reply) {
                return Poll::Ready(result);
            }
        }
        if now >= self.deadline {
            if let Phase::Asked(asked) = &self.phase {
                asked.ipcp.doubt(&asked.ipcp.info().hash.hash(&self.wanted.name));
            }
            let busy = matches!(&self.phase, Phase::Asked(asked) if asked.busy.is_some());
            return Poll::Ready(Err(if busy { AllocError::Refused(Code::AGAIN) } else { self.timed_out() }));
        }
        if let Err(e) = self.retry_if_due(now, cx) {
            return Poll::Ready(Err(e));
        }
        if let Phase::Asked(asked) = &self.phase {
            self.sleep.set(self.deadline.min(asked.next_retry), cx.waker());
        }
        Poll::Pending
    }

    /// `None` if the answer does not count.
    fn take_answer(&mut self, now: Instant, token: u64, reply: Reply) -> Option<Result<Allocated, AllocError>> {
        let Phase::Asked(asked) = &mut self.phase else { return None };
        let latest = asked.tries.last().is_some_and(|t| t.token == token);
        let at = asked.tries.iter().position(|t| t.token == token)?;
        let port = match reply.result {
            Ok(port) => port,
            Err(Code::AGAIN) if latest && now.since(asked.asked_at) < BUSY => {
                let pause = asked.busy.map_or(FIRST_PAUSE, |p| (p * 2).min(LONGEST_PAUSE));
                let mut rng = self.node.split_rng("pause");
                let less = Duration::from_nanos(rng.below(pause.as_nanos() as u64 / 2));
                asked.busy = Some(pause);
                // It answers, so nothing is lost that a longer wait would spare.
                asked.backoff = self.node.limits.retry.max(SHORTEST_RETRY);
                asked.next_retry = now + (pause - less);
                if let Some(refused) = asked.tries.get(at) {
                    refused.endpoint.abort();
                }
                return None;
            }
            Err(code) if latest => {
                if code == Code::NAME {
                    // It has gone elsewhere, and what is known of where it is is out of date.
                    asked.ipcp.doubt(&asked.ipcp.info().hash.hash(&self.wanted.name));
                }
                return Some(Err(AllocError::Refused(code)));
            }
            Err(_) => return None,
        };
        // Damaged on its way, or not from the peer at all: as good as lost, so ask again. What the peer really says may
        // be unacceptable too, but then asking again does not help.
        let garbled = |e: OapError| matches!(e, OapError::Wire(_) | OapError::OtherRequest | OapError::RequestHash);
        let lossy = !asked.ipcp.info().kind.is_in_memory();
        let is_garbled = |t: &Try| lossy && t.client.check(&reply.data).is_err_and(garbled);
        if is_garbled(asked.tries.get(at)?) && asked.backoff < GARBLED_LIMIT {
            asked.next_retry = now;
            return None;
        }
        let chosen = asked.tries.swap_remove(at);
        let layer = LayerFacts::from(asked.ipcp.info());
        let kind = asked.ipcp.info().kind;
        Some(self.complete(now, chosen, port, &layer, kind, &reply.data))
    }

    fn complete(
        &self,
        now: Instant,
        chosen: Try,
        port: Arc<dyn Port>,
        layer: &LayerFacts,
        kind: Kind,
        response: &[u8],
    ) -> Result<Allocated, AllocError> {
        let Try { endpoint, client, .. } = chosen;
        let agreed = client.complete(response).and_then(|outcome| {
            let mut params = self.node.params(self.wanted.qos, layer, outcome.protection, outcome.peering)?;
            // One of our own kind may not say much before it has heard us. A member of a layer speaks first in any case,
            // and its keepalives say that it has the connection.
            let member = self.wanted.via != Via::Any;
            params.opening.greet = params.peering.is_some() && !kind.is_in_memory() && !member;
            Ok((params, outcome.data))
        });
        match agreed {
            Ok((params, data)) => {
                endpoint.activate(now, port, params);
                Ok(Allocated { endpoint, kind, data })
            }
            Err(e) => {
                port.release(now);
                endpoint.abort();
                Err(e.into())
            }
        }
    }

    /// A request or its reply may have been lost. It is repeated with a fresh key, time stamp and EID, because the
    /// reference takes the same request for a replay and refuses it at the EID of the open flow, but with the same OAP
    /// id, by which a peer of our own kind knows it for a repetition and sends its reply again.
    fn retry_if_due(&mut self, now: Instant, cx: &Context<'_>) -> Result<(), AllocError> {
        let Phase::Asked(asked) = &mut self.phase else { return Ok(()) };
        if now < asked.next_retry {
            return Ok(());
        }
        asked.backoff = asked.backoff.saturating_mul(2);
        // In memory nothing gets lost, whether it was asked again or not.
        let lossy = !asked.ipcp.info().kind.is_in_memory();
        asked.next_retry = if lossy { now + asked.backoff } else { Instant::FAR_FUTURE };
        asked.asked_at = now;
        // What was known of the name may have expired meanwhile.
        let hash = asked.ipcp.info().hash.hash(&self.wanted.name);
        if asked.ipcp.lookup(now, &hash, cx.waker()) != Lookup::Known {
            return Ok(());
        }
        let Phase::Asked(asked) = &self.phase else { return Ok(()) };
        let Some(last) = asked.tries.last() else { return Ok(()) };
        let unix = self.node.env.clock.unix_nanos();
        let security = self.node.security_of(&self.wanted.name).client;
        let mut rng = self.node.rng.lock().split("oap");
        let (client, data) = last.client.again(unix, &security, &self.wanted.data, &mut rng)?;
        let again = self.send(now, &asked.ipcp, last.token + 1, client, &data);
        let Phase::Asked(asked) = &mut self.phase else { return Ok(()) };
        // A retry that cannot be sent is a lost one.
        if let Ok(again) = again {
            asked.tries.push(again);
            count(&self.node.counters.retried);
        }
        Ok(())
    }

    fn timed_out(&self) -> AllocError {
        AllocError::TimedOut(self.wanted.name.clone())
    }

    /// Withdraws what is pending.
    fn give_up(&mut self) {
        self.sleep.cancel();
        if let Phase::Asked(asked) = core::mem::replace(&mut self.phase, Phase::Done) {
            for t in asked.tries {
                drop(t._attempt);
                t.endpoint.abort();
            }
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
