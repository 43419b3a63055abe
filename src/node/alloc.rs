//! Allocating a flow: finding a layer, asking, waiting, agreeing on a key.

mod places;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use self::places::{Next, Places};
use super::timers::Sleep;
use super::{IpcpId, LayerFacts, Node, count};
use crate::base::foreign::Panics;
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::flow::{Drive, Endpoint, Port};
use crate::ipcp::{Answer, Attempt, Doubt, Ipcp, Kind, Location, Reply, Request, RequestError};
use crate::oap::OapError;
use crate::oap::client::Client;
use crate::types::code::Code;
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// Requests under way for one allocation; beyond it the oldest is withdrawn.
const MAX_TRIES: usize = 32;

/// When those who were asked are silent, one more place is asked after this time, and so on.
const STAGGER: Duration = Duration::from_millis(250);

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
}

enum Phase {
    /// Nothing has been done.
    Start,
    Asking(Asking),
    Done,
}

/// Where an allocation is.
struct Asking {
    places: Places,
    /// All are pending; the first positive answer wins.
    tries: Vec<Try>,
    /// Of the try that was refused last: the next one has the same id.
    client: Option<Client>,
    next_token: u64,
    /// Another place is to be asked as soon as one is found, for which layers may look until then.
    wants: Option<Instant>,
    /// When those that are silent are asked again.
    next_retry: Instant,
    /// When the next place is asked beside them.
    widen: Option<Instant>,
    backoff: Duration,
    /// Set if somebody refused because it is busy: the pause before it is asked again.
    busy: Option<Duration>,
    /// Why the allocation fails if nobody else says yes.
    failure: Option<AllocError>,
}

struct Try {
    token: u64,
    ipcp: Arc<dyn Ipcp>,
    at: Location,
    /// When it was sent.
    asked: Instant,
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
            Phase::Asking(asking) => asking.tries.last().and_then(|t| t.ipcp.device()),
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
            self.phase = Phase::Asking(self.begin(now));
        }
        while let Some((token, reply)) = self.next_answer(cx) {
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

    fn begin(&self, now: Instant) -> Asking {
        Asking {
            places: Places::new(&self.node, &self.wanted),
            tries: Vec::new(),
            client: None,
            next_token: 0,
            wants: Some(now + self.node.limits.lookup_timeout),
            next_retry: Instant::FAR_FUTURE,
            widen: None,
            backoff: self.node.limits.retry.max(SHORTEST_RETRY),
            busy: None,
            failure: None,
        }
    }

    fn next_answer(&self, cx: &Context<'_>) -> Option<(u64, Reply)> {
        // Made and dropped where no lock is held: a waker is code of others.
        let mut waker = Some(cx.waker().clone());
        let next = {
            let mut inner = self.answers.inner.lock();
            core::mem::swap(&mut inner.waker, &mut waker);
            inner.replies.pop_front()
        };
        self.node.env.panics.discard(waker);
        next
    }

    /// Asks whom there is to ask now.
    fn go_on(&mut self, now: Instant, cx: &Context<'_>) -> Result<(), AllocError> {
        let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
        if asking.next_retry <= now {
            self.repeat(now, cx)?;
        }
        loop {
            let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
            let (until, beside) = (asking.wants, asking.widen.is_some_and(|at| at <= now));
            if until.is_none() && !beside {
                break;
            }
            let stagger = Some(now + STAGGER.min(self.deadline.since(now) / 4));
            match asking.places.next(now, until, &self.node, &self.wanted, cx) {
                Next::Ask(ipcp, at) => {
                    asking.widen = None;
                    self.ask(now, ipcp, at)?;
                    let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
                    if beside {
                        asking.widen = stagger;
                    }
                }
                Next::Look => {
                    asking.widen = if until.is_none() { stagger } else { None };
                    break;
                }
                Next::None => {
                    (asking.wants, asking.widen) = (None, None);
                    if asking.tries.is_empty() && !asking.places.are_hopeful() {
                        let failure = asking.failure.take();
                        return Err(failure.unwrap_or_else(|| AllocError::Unreachable(self.wanted.name.clone())));
                    }
                    break;
                }
            }
        }
        let Phase::Asking(asking) = &self.phase else { return Ok(()) };
        let next = [Some(asking.next_retry), asking.widen, asking.wants].into_iter().flatten().min();
        self.sleep.set(next.map_or(self.deadline, |next| next.min(self.deadline)), cx.waker());
        Ok(())
    }

    /// Asks at a place. One that cannot be asked has the next one asked at once.
    fn ask(&mut self, now: Instant, ipcp: Arc<dyn Ipcp>, at: Location) -> Result<(), AllocError> {
        // In memory nothing gets lost.
        let lossy = is_lossy(&*ipcp);
        let asked = self.send(now, &ipcp, at);
        let left = self.deadline.since(now);
        let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
        match asked {
            Ok(sent) => {
                if sent {
                    asking.wants = None;
                }
                if lossy {
                    asking.next_retry = asking.next_retry.min(now + asking.backoff);
                    asking.widen = Some(now + asking.backoff.min(left / 2));
                }
            }
            Err(AllocError::Layer(e)) => {
                let layer = matches!(e, RequestError::Full | RequestError::TooLarge { .. } | RequestError::Down);
                asking.places.failed(&ipcp, (!layer).then_some(at));
                asking.fail(AllocError::Layer(e));
                asking.want(now + self.node.limits.lookup_timeout);
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Sends a request, with a fresh key, time stamp and EID, because the reference takes the same one for a replay and
    /// refuses it at the EID of the open flow, but with the same OAP id, by which a peer of our own kind knows it for a
    /// repetition and sends its reply again. `false` if it is as good as lost.
    fn send(&mut self, now: Instant, ipcp: &Arc<dyn Ipcp>, at: Location) -> Result<bool, AllocError> {
        let unix = self.node.env.clock.unix_nanos();
        let security = self.node.security_of(&self.wanted.name).client;
        let mut rng = self.node.rng.lock().split("oap");
        let Phase::Asking(asking) = &mut self.phase else { return Ok(false) };
        let in_memory = !is_lossy(&**ipcp);
        // One that was sent in memory says nothing of itself.
        let before = asking.tries.iter().rev().map(|t| &t.client).chain(&asking.client).find(|c| !c.knows_server());
        let (client, data) = match before {
            _ if in_memory => {
                let timeout = self.node.granted(self.wanted.qos.timeout);
                Client::start_known(unix, &security, &self.wanted.data, timeout, &mut rng)?
            }
            Some(before) => before.again(unix, &security, &self.wanted.data, &mut rng)?,
            None => Client::start(unix, &security, &self.wanted.data, &mut rng)?,
        };
        let endpoint = self.node.new_endpoint().ok_or(AllocError::TooManyFlows)?;
        let token = asking.next_token;
        asking.next_token += 1;
        let (alg, name) = (ipcp.info().hash, &self.wanted.name);
        let kept = if in_memory { self.node.irm.lock().hash_of(alg, name) } else { None };
        let request = Request {
            dst: kept.unwrap_or_else(|| alg.hash(name)),
            at,
            qos: self.wanted.qos,
            endpoint: &endpoint,
            answer: Arc::clone(&self.answers) as Arc<dyn Answer>,
            token,
            data: &data,
        };
        match ipcp.request(now, request) {
            Ok(attempt) => {
                if asking.tries.len() >= MAX_TRIES {
                    asking.tries.remove(0).withdraw();
                }
                let sent = attempt.is_sent();
                let ipcp = Arc::clone(ipcp);
                asking.tries.push(Try { token, ipcp, at, asked: now, endpoint, client, _attempt: attempt });
                Ok(sent)
            }
            Err(e) => {
                asking.client = Some(client);
                endpoint.abort();
                Err(e.into())
            }
        }
    }

    /// Time is over.
    fn out_of_time(&mut self, now: Instant) -> AllocError {
        let timed_out = AllocError::TimedOut(self.wanted.name.clone());
        let Phase::Asking(asking) = &mut self.phase else { return timed_out };
        for silent in &asking.tries {
            silent.doubt(now, &self.wanted.name, Doubt::Silent);
        }
        match asking.failure.take() {
            _ if asking.busy.is_some() => AllocError::Refused(Code::AGAIN),
            Some(failure) if asking.tries.is_empty() => failure,
            _ => timed_out,
        }
    }

    /// `None` if the answer does not end the allocation.
    fn take_answer(&mut self, now: Instant, token: u64, reply: Reply) -> Option<Result<Allocated, AllocError>> {
        let Phase::Asking(asking) = &mut self.phase else { return None };
        let at = asking.tries.iter().position(|t| t.token == token)?;
        let port = match reply.result {
            Ok(port) => port,
            Err(code) => {
                self.refused(now, at, code);
                return None;
            }
        };
        // Damaged on its way, or not from the peer at all: as good as lost, so ask again. What the peer really says may
        // be unacceptable too, but then asking again does not help.
        let garbled = |e: OapError| matches!(e, OapError::Wire(_) | OapError::OtherRequest | OapError::RequestHash);
        let is_garbled = |t: &Try| is_lossy(&*t.ipcp) && t.client.check(&reply.data).is_err_and(garbled);
        if is_garbled(asking.tries.get(at)?) && asking.backoff < GARBLED_LIMIT {
            asking.next_retry = now;
            return None;
        }
        let chosen = asking.tries.remove(at);
        let (ipcp, place) = (Arc::clone(&chosen.ipcp), chosen.at);
        match self.complete(now, chosen, port, &reply.data) {
            // Whoever answered is not who it should be: somebody else may be.
            Err(e @ AllocError::Security(_)) => {
                let Phase::Asking(asking) = &mut self.phase else { return Some(Err(e)) };
                asking.places.failed(&ipcp, Some(place));
                asking.fail(e);
                asking.want(now + self.node.limits.lookup_timeout);
                None
            }
            result => Some(result),
        }
    }

    /// A place has said no.
    fn refused(&mut self, now: Instant, at: usize, code: Code) {
        let Phase::Asking(asking) = &mut self.phase else { return };
        let refused = asking.tries.remove(at);
        // What was said to an earlier request does not count while a later one is under way.
        let again = asking.tries.iter().any(|t| t.is_at(&refused.ipcp, refused.at));
        if !again && code == Code::AGAIN && now.since(refused.asked) < BUSY {
            let pause = asking.busy.map_or(FIRST_PAUSE, |p| (p * 2).min(LONGEST_PAUSE));
            let mut rng = self.node.split_rng("pause");
            let less = Duration::from_nanos(rng.below(pause.as_nanos() as u64 / 2));
            asking.busy = Some(pause);
            // It answers, so nothing is lost that a longer wait would spare.
            asking.backoff = self.node.limits.retry.max(SHORTEST_RETRY);
            asking.next_retry = now + (pause - less);
            asking.want(now + self.node.limits.lookup_timeout);
        } else if !again {
            if code == Code::NAME {
                // It has gone elsewhere, and what is known of where it is is out of date.
                refused.doubt(now, &self.wanted.name, Doubt::Refused);
            }
            asking.places.failed(&refused.ipcp, Some(refused.at));
            asking.fail(AllocError::Refused(code));
            asking.want(now + self.node.limits.lookup_timeout);
        }
        asking.client = Some(refused.withdraw());
    }

    fn complete(
        &self,
        now: Instant,
        chosen: Try,
        port: Arc<dyn Port>,
        response: &[u8],
    ) -> Result<Allocated, AllocError> {
        let Try { endpoint, client, ipcp, .. } = chosen;
        let (layer, kind) = (LayerFacts::from(ipcp.info()), ipcp.info().kind);
        let agreed = client.complete(response).and_then(|outcome| {
            let mut params = self.node.params(self.wanted.qos, &layer, outcome.protection, outcome.peering)?;
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

    /// Requests or their replies may have been lost, or those who were asked are gone: they are asked again, and a moment
    /// later somebody else is.
    fn repeat(&mut self, now: Instant, cx: &Context<'_>) -> Result<(), AllocError> {
        let Phase::Asking(asking) = &mut self.phase else { return Ok(()) };
        for silent in &asking.tries {
            silent.doubt(now, &self.wanted.name, Doubt::Silent);
        }
        let mut again = asking.places.again(now, cx);
        // In memory nothing gets lost: only who was busy is asked again.
        again.retain(|(ipcp, _)| is_lossy(&**ipcp) || !asking.tries.iter().any(|t| Arc::ptr_eq(&t.ipcp, ipcp)));
        asking.backoff = asking.backoff.saturating_mul(2);
        let lossy = again.is_empty() || again.iter().any(|(ipcp, _)| is_lossy(&**ipcp));
        asking.next_retry = if lossy { now + asking.backoff } else { Instant::FAR_FUTURE };
        asking.widen = Some(now + STAGGER.min(self.deadline.since(now) / 4));
        for (ipcp, at) in again {
            // One that cannot be sent is a lost one.
            match self.send(now, &ipcp, at) {
                Ok(_) => count(&self.node.counters.retried),
                Err(AllocError::Layer(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Withdraws what is pending.
    fn give_up(&mut self) {
        self.sleep.cancel();
        if let Phase::Asking(asking) = core::mem::replace(&mut self.phase, Phase::Done) {
            asking.tries.into_iter().for_each(|t| drop(t.withdraw()));
        }
    }
}

impl Asking {
    /// Another place is to be asked, for which layers may look until then.
    fn want(&mut self, until: Instant) {
        self.wants = Some(until);
    }

    /// A place failed. That a name is not there says the least of why there is no flow.
    fn fail(&mut self, why: AllocError) {
        if self.failure.is_none() || why != AllocError::Refused(Code::NAME) {
            self.failure = Some(why);
        }
    }
}

impl Try {
    fn is_at(&self, ipcp: &Arc<dyn Ipcp>, at: Location) -> bool {
        self.at == at && Arc::ptr_eq(&self.ipcp, ipcp)
    }

    fn doubt(&self, now: Instant, name: &Name, why: Doubt) {
        self.ipcp.doubt(now, &self.ipcp.info().hash.hash(name), self.at, why);
    }

    /// Withdraws the request.
    fn withdraw(self) -> Client {
        drop(self._attempt);
        self.endpoint.abort();
        self.client
    }
}

/// Whether a request may get lost in a layer.
fn is_lossy(ipcp: &dyn Ipcp) -> bool {
    !ipcp.info().kind.is_in_memory()
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
