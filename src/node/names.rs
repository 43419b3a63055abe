//! Names: the listeners of each, its protection, and the requests that arrive at IPCPs, until they are accepted.

mod examine;
mod proofs;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Display;

use self::proofs::Proofs;
use super::answered::{Answered, Nothing};
use super::gate::Gates;
use super::shared::{Shared, order};
use super::timers::TimerQueue;
use crate::base::counter::Row;
use crate::base::journal::record;
use crate::base::patience::Patience;
use crate::base::sync::{AtomicBool, AtomicU64, Mutex, Ordered, Ordering, RwLock};
use crate::base::time::Instant;
use crate::flow::Watcher;
use crate::ipcp::{Incoming, Location, Requests, Resend};
use crate::irm::{self, BindError, Caller, Calls, Irm, ListenerId, NameSecurity, Refused};
use crate::oap::replay::ReplayCache;
use crate::oap::server::Request;
use crate::types::code::Code;
use crate::types::name::Name;

/// A request that has passed the checks that cost little.
pub struct Screened {
    pub(super) incoming: Incoming,
    pub(super) oap: Request,
    /// The address of its requester may be made up: its layer has them proven, and this one had not done so when it came.
    pub(super) is_unproven: bool,
}

/// Security settings that take the place of others, and those others afterwards.
pub struct Replaced {
    /// For names that have no settings of their own; `None` to leave them as they are.
    pub default: Option<NameSecurity>,
    /// For names of their own; `None` takes them away.
    pub names: Vec<(Name, Option<NameSecurity>)>,
}

/// The names of a node, and the requests for flows to them.
pub(super) struct Names {
    shared: Arc<Shared>,
    timers: Arc<TimerQueue>,
    irm: Ordered<Mutex<Irm<Screened>>, { order::IRM }>,
    /// Grows with each request that is placed: threads that spin for one look here, and leave the lock to those that work.
    news: AtomicU64,
    /// Set once a name has had settings of its own: without any, no flow takes the lock of the names to look for them.
    own_security: AtomicBool,
    /// For names without settings of their own.
    security: Ordered<RwLock<NameSecurity>, { order::SECURITY }>,
    /// Rules of the program for whose requests are accepted.
    pub(super) gates: Gates,
    replay: Ordered<Mutex<ReplayCache>, { order::REPLAY }>,
    answered: Ordered<Mutex<Answered>, { order::ANSWERED }>,
    /// How often each host has asked for what is refused.
    patience: Ordered<Mutex<Patience>, { order::PATIENCE }>,
    proofs: Proofs,
}

/// Hosts whose refused requests are counted.
const HOSTS: usize = 8192;

/// Requests whose time is over that are refused in one go, before other timers get their turn.
const EXPIRED_AT_A_TIME: usize = 64;

impl Requests for Names {
    fn incoming(&self, now: Instant, request: Incoming) {
        self.shared.counters.incoming.count();
        let name = self.irm.lock().by_hash(request.hash, &request.dst).cloned();
        let Some(name) = name else {
            let Some(request) = self.repeated(now, request) else { return };
            self.shared.counters.unknown_name.count();
            let (name, peer) = (request.dst, request.from);
            record!(
                self.shared.panics(),
                Refused,
                Debug,
                [hash = name, peer = peer],
                "request for a flow from {peer} refused: no listener for the name with hash {name}"
            );
            request.responder.refuse(now, Code::NAME);
            return;
        };
        let Some(request) = self.examine(now, Some(&name), request) else { return };
        if let Some(request) = self.screen(now, &name, request) {
            self.place(now, &name, request);
        }
    }

    /// A server may have been there for this one flow: its name is gone before its client has heard of it.
    fn repeated(&self, now: Instant, request: Incoming) -> Option<Incoming> {
        // Only what was answered is checked as closely as a request that is served: others leave no trace in the cache.
        let received = request.origin.map(|origin| origin.received);
        let id = Request::peek_id(&request.data);
        let reply = id.and_then(|id| self.reply_to(now, request.peer, id, received));
        // The requester of a flow that has ended is better told that there is nobody any more.
        if reply.is_none_or(|reply| !reply.is_open()) {
            let request = self.examine(now, None, request)?;
            return if self.is_answered(now, &request) { Some(request) } else { self.ignore(now, request) };
        }
        let name = request.dst;
        self.screen(now, &name, request).map(|screened| screened.incoming)
    }
}

impl Names {
    pub(super) fn new(shared: &Arc<Shared>, timers: &Arc<TimerQueue>, security: NameSecurity) -> Arc<Self> {
        let limits = &shared.limits;
        // What this node may have served before it was started again is not known.
        let replay = ReplayCache::new(limits.replay).with_window(limits.request_age, limits.clock_ahead);
        let replay = replay.started(shared.env.clock.unix_nanos());
        Arc::new(Self {
            irm: Ordered::new(Mutex::new(Irm::new(limits.irm))),
            news: AtomicU64::new(0),
            own_security: AtomicBool::new(false),
            security: Ordered::new(RwLock::new(security)),
            gates: Gates::new(limits.irm.names),
            replay: Ordered::new(Mutex::new(replay)),
            answered: Ordered::new(Mutex::new(Answered::new(limits.silence))),
            patience: Ordered::new(Mutex::new(Patience::new(HOSTS, limits.refusals))),
            proofs: Proofs::new(&mut shared.split_randomness("proofs").secret),
            shared: Arc::clone(shared),
            timers: Arc::clone(timers),
        })
    }

    /// Returns a number that has changed if requests have been placed since it was asked last.
    pub(super) fn news(&self) -> u64 {
        self.news.load(Ordering::Acquire)
    }

    // ----- listeners -----

    /// Runs `f` on the IRM. `f` must not call out.
    pub(super) fn with_irm<R>(&self, f: impl FnOnce(&mut Irm<Screened>) -> R) -> R {
        f(&mut self.irm.lock())
    }

    /// Accepts nothing any more for a listener.
    pub(super) fn close_listener(&self, id: ListenerId) {
        let (now, mut calls) = (self.shared.now(), Calls::default());
        let orphans = self.irm.lock().unbind(now, id, &mut calls);
        record!(self.shared.panics(), Bind, Debug, [refused: orphans.len()], "listener closed");
        self.perform(calls);
        self.refuse_all(orphans, Code::AGAIN);
    }

    /// Has `watcher` told of requests that come to a listener; see [`Irm::watch`].
    pub(super) fn watch_listener(&self, id: ListenerId, watcher: Arc<dyn Watcher>, token: u64) {
        let mut calls = Calls::default();
        self.irm.lock().watch(id, watcher, token, &mut calls);
        self.perform(calls);
    }

    /// Tells the watchers of a listener that there is something to accept.
    pub(super) fn tell_listener(&self, id: ListenerId) {
        let mut calls = Calls::default();
        self.irm.lock().tell(id, &mut calls);
        self.perform(calls);
    }

    /// Takes [`watch_listener`](Self::watch_listener) back.
    pub(super) fn unwatch_listener(&self, id: ListenerId, watcher: &Arc<dyn Watcher>, token: u64) {
        let gone = self.irm.lock().unwatch(id, watcher, token);
        self.shared.panics().discard(gone);
    }

    /// Gives up waiting for a request. What the waiter was woken for goes to another one.
    pub(super) fn cancel_accept(&self, listener: ListenerId, waiter: irm::WaiterId) {
        let (now, mut calls) = (self.shared.now(), Calls::default());
        let waker = self.irm.lock().cancel(now, listener, waiter, &mut calls);
        self.news.fetch_add(1, Ordering::Release);
        self.perform(calls);
        self.shared.panics().discard(waker);
    }

    /// Ends all listeners.
    pub(super) fn end(&self) {
        let mut calls = Calls::default();
        let (requests, factories) = self.irm.lock().shutdown(&mut calls);
        factories.into_iter().for_each(|f| self.shared.panics().discard(f));
        self.gates.end(self.shared.panics());
        self.perform(calls);
        self.refuse_all(requests, Code::AGAIN);
    }

    // ----- protection -----

    /// Sets the protection of a name, or of those that have no settings of their own.
    pub(super) fn set_security(&self, name: Option<&Name>, security: NameSecurity) -> Result<(), BindError> {
        let mut replaced = match name {
            Some(name) => Replaced { default: None, names: vec![(name.clone(), Some(security))] },
            None => Replaced { default: Some(security), names: Vec::new() },
        };
        let exchanged = self.exchange_security(&mut replaced);
        self.shared.panics().discard(replaced);
        exchanged
    }

    /// Sets the protection of names that have no settings of their own, and of others, or takes theirs away: all of it in one
    /// step, or nothing. What they had before comes back, to be dropped where no lock is held: whoever signs may be code of
    /// others.
    pub(super) fn exchange_security(&self, with: &mut Replaced) -> Result<(), BindError> {
        let Replaced { default, names } = with;
        let mut irm = self.irm.lock();
        irm.exchange_security(names)?;
        self.own_security.fetch_or(!names.is_empty(), Ordering::Release);
        if let Some(default) = default {
            core::mem::swap(&mut *self.security.write(), default);
        }
        Ok(())
    }

    /// Returns the protection of flows to and from a name.
    pub(super) fn security_of(&self, name: &Name) -> NameSecurity {
        let any = self.own_security.load(Ordering::Acquire);
        let own = any.then(|| self.irm.lock().security(name).cloned()).flatten();
        let NameSecurity { server, client } = own.unwrap_or_else(|| self.security.read().clone());
        // What is available is a matter of the backend that this stack computes with.
        let backend = self.shared.exchanges();
        NameSecurity { server: server.with_backend(backend), client: client.with_backend(backend) }
    }

    // ----- replies -----

    /// The reply to a request that is repeated, if it has been answered; see [`Answered::get`].
    pub(super) fn reply_to(
        &self,
        now: Instant,
        peer: u64,
        id: [u8; 16],
        received: Option<usize>,
    ) -> Option<Arc<dyn Resend>> {
        self.answered.lock().get(now, peer, id, received)
    }

    /// Forgets the replies that could be sent again.
    pub(super) fn forget_replies(&self) {
        let answered = self.answered.lock().clear();
        drop(answered);
    }

    /// Returns the numbers of remembered requests and replies, and the counters of requests.
    pub(super) fn facts(&self) -> (usize, usize, impl Iterator<Item = Row> + use<>) {
        let (remembered, forgotten) = {
            let replay = self.replay.lock();
            (replay.len(), replay.counters())
        };
        (remembered, self.answered.lock().len(), forgotten.rows())
    }

    // ----- requests -----

    /// Gives a request to an acceptor of flows to `name`, or to its backlog.
    fn place(&self, now: Instant, name: &Name, request: Screened) {
        let mut calls = Calls::default();
        let caller = Caller {
            host: request.incoming.host().unwrap_or(request.incoming.peer),
            peer: request.incoming.peer,
            id: Some(request.oap.id()),
            // One in memory does not say: no hash for it.
            wait: if request.incoming.kind.is_in_memory() { None } else { request.oap.wait() },
            bytes: request.oap.size(),
            held_until: Some(now + request.incoming.responder.hold()),
            withdrawn: request.incoming.withdrawn.clone(),
            is_unproven: request.is_unproven,
        };
        let placed = self.irm.lock().place(now, name, request, caller, &mut calls);
        self.news.fetch_add(1, Ordering::Release);
        self.perform(calls);
        match placed {
            Ok(placed) => {
                if let Some(earlier) = placed.repeated {
                    // Its requester still waits: for the answer to the later one as well.
                    earlier.incoming.responder.resend(now, &Nothing);
                }
                self.refuse_shed(now, placed.shed);
            }
            Err(Refused::Unknown(request)) => {
                self.shared.counters.unknown_name.count();
                self.note_refusal(name, request.incoming.from, "the listener to the name has gone");
                request.incoming.responder.refuse(now, Code::NAME);
            }
            Err(Refused::Full(request, shed)) => {
                self.refuse_shed(now, shed);
                self.shared.counters.backlog_full.count();
                self.note_refusal(name, request.incoming.from, "the backlog of the name is full");
                self.refuse_for_now(now, request);
            }
        }
    }

    /// Refuses requests that have made room for another.
    fn refuse_shed(&self, now: Instant, shed: Vec<Screened>) {
        for request in shed {
            if !request.incoming.is_withdrawn() {
                self.shared.counters.backlog_full.count();
            }
            self.refuse_for_now(now, request);
        }
    }

    /// The checks that cost little and come before any state: form, time window, replay. A request that repeats one
    /// that was answered has the answer sent again instead.
    fn screen(&self, now: Instant, name: &impl Display, mut request: Incoming) -> Option<Screened> {
        let unix = self.shared.env.clock.unix_nanos();
        let checked = Request::check(unix, core::mem::take(&mut request.data), &mut self.replay.lock());
        let oap = match checked {
            Ok(oap) => oap,
            Err(why) => {
                self.refuse(now, name, request, why);
                return None;
            }
        };
        let received = request.origin.map(|origin| origin.received);
        let again = self.reply_to(now, request.peer, oap.id(), received);
        match again {
            Some(reply) => {
                self.shared.counters.resent.count();
                let peer = request.from;
                record!(
                    self.shared.panics(),
                    Repeated,
                    Debug,
                    [name = name, peer = peer],
                    "reply to {peer} sent again: request repeated"
                );
                request.responder.resend(now, &*reply);
                None
            }
            None => {
                let is_unproven =
                    request.responder.asks_proof() && !self.proofs.is_good(now, request.peer, &oap.proof());
                Some(Screened { incoming: request, oap, is_unproven })
            }
        }
    }

    /// Says why a request is refused.
    pub(super) fn note_refusal(&self, name: &impl Display, peer: Location, why: impl Display) {
        record!(
            self.shared.panics(),
            Refused,
            Warn,
            [name = name, peer = peer, reason = why],
            "request for a flow to \"{name}\" from {peer} refused: {why}"
        );
    }

    /// Remembers a reply that can be sent again.
    pub(super) fn remember_reply(&self, now: Instant, peer: u64, id: [u8; 16], reply: Arc<dyn Resend>, size: usize) {
        let outdated = self.answered.lock().insert(now, self.shared.limits.resend, (peer, id), reply, size);
        drop(outdated);
    }

    pub(super) fn expire_requests(&self, now: Instant) {
        let mut calls = Calls::default();
        let late = self.irm.lock().expire(now, EXPIRED_AT_A_TIME, &mut calls);
        self.perform(calls);
        for request in late {
            self.shared.counters.not_accepted.count();
            let peer = request.incoming.from;
            record!(
                self.shared.panics(),
                Refused,
                Warn,
                [peer = peer],
                "request for a flow from {peer} refused: no listener accepted it in time"
            );
            if request.oap.wait().is_some_and(|wait| wait <= self.shared.limits.irm.accept_wait) {
                // Its requester gives up at the same moment, and knows why better than from a refusal.
                request.incoming.responder.resend(now, &Nothing);
            } else {
                request.incoming.responder.refuse(now, Code::AGAIN);
            }
        }
    }

    /// Refuses requests without an acceptor.
    pub(super) fn refuse_all(&self, requests: Vec<Screened>, code: Code) {
        let now = self.shared.now();
        for request in requests {
            request.incoming.responder.refuse(now, code);
        }
    }

    /// Makes the calls that the IRM wants made outside of its lock. A factory that panics has started no acceptor: the
    /// request waits for another.
    fn perform(&self, calls: Calls) {
        if let Some(due) = calls.due {
            self.timers.arm_expiry(due);
        }
        let panics = self.shared.panics();
        panics.wake_all(calls.wake);
        for (watcher, token, event) in calls.tell {
            panics.call(|| watcher.notify(token, event));
            panics.discard(watcher);
        }
        for factory in calls.start {
            panics.call(|| factory.start());
            panics.discard(factory);
        }
    }
}
