//! The control plane: the one room that knows the IRM, the IPCPs and the flows.
//!
//! A [`Node`] is what a stack consists of, without sockets, threads and clocks. Its inputs are commands of the API,
//! requests and answers that come up from IPCPs, and [`Node::poll`] when its next deadline has come. Each of its tables
//! has a lock of its own, held for bounded work and never while another room, a waker or a handler is called; key
//! agreement and the like run on the thread that allocates or accepts, without any lock.
//!
//! The data plane does not come by here: endpoints and ports call each other. What an endpoint needs of the node is
//! timers.

pub mod accept;
pub mod alloc;
pub mod join;
mod limits;
pub mod member;
mod silent;
mod tasks;
mod timers;

use ::alloc::boxed::Box;
use ::alloc::collections::{BTreeMap, VecDeque};
use ::alloc::sync::{Arc, Weak};
use ::alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use smallvec::SmallVec;

use crate::base::arena::{Arena, Id};
use crate::base::backlog::Meter;
use crate::base::buf::BufPool;
use crate::base::foreign::Panics;
use crate::base::rng::{Randomness, Rng};
use crate::base::sync::{AtomicU64, Mutex, RwLock};
use crate::base::time::{Clock, Instant};
use crate::crypto::SessionKey;
use crate::crypto::protect::{Protection, Side};
use crate::crypto::suite::Cipher;
use crate::flow::{Endpoint, Env, Opening, Params};
use crate::frct::{self, Frct};
use crate::ipcp::local::LocalIpcp;
use crate::ipcp::{Incoming, Info, Ipcp, Kind, RegisterError, Requests, Resend};
use crate::irm::{self, BindError, Calls, Irm, NameSecurity, Refused};
use crate::oap::replay::ReplayCache;
use crate::oap::server::Request;
use crate::oap::{OapError, Peering};
use crate::types::code::Code;
use crate::types::name::Name;
use crate::types::qos::QosSpec;
use crate::types::tree::Tree;

pub use self::limits::Limits;
use self::member::Membership;
use self::silent::{Bounds, Silent};
pub use self::tasks::Runner;
use self::tasks::Tasks;
use self::timers::TimerQueue;

/// What a node is built from.
pub struct Parts {
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Randomness,
    /// Bounds.
    pub limits: Limits,
    /// Service endpoints on the delivering thread: polled and simulated stacks.
    pub inline: bool,
    /// Protection of names that have no settings of their own.
    pub security: NameSecurity,
}

/// The number by which a node knows an IPCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpcpId(u64);

struct Layer {
    id: IpcpId,
    ipcp: Arc<dyn Ipcp>,
    priority: i32,
    registered: Vec<Name>,
    /// Present if it uses flows itself.
    membership: Option<Arc<Membership>>,
}

/// A stack's control plane and tables.
pub struct Node {
    me: Weak<Self>,
    env: Arc<Env>,
    limits: Limits,
    irm: Mutex<Irm<Screened>>,
    security: RwLock<NameSecurity>,
    /// In the order in which they are asked for a name.
    layers: RwLock<Vec<Layer>>,
    direct: Arc<LocalIpcp>,
    flows: Mutex<Arena<Arc<Endpoint>>>,
    timers: TimerQueue,
    tasks: Tasks,
    replay: Mutex<ReplayCache>,
    answered: Mutex<Answered>,
    silent: Mutex<Silent>,
    /// Memory of packets that wait, of all flows, and of those that each peer has asked for, with the number of meters at
    /// which those that nobody uses any more are looked for.
    held: Arc<Meter>,
    held_by_peer: Mutex<(BTreeMap<u64, Weak<Meter>>, usize)>,
    rng: Mutex<Randomness>,
    next_ipcp: AtomicU64,
    down: AtomicBool,
    counters: Counters,
}

/// Meters of peers that may have no flow any more before these are looked for.
const METERS_KEPT: usize = 256;

/// Until the requester's address has proven to be its own, this many times the bytes that came from it are sent there.
const AMPLIFICATION: u64 = 3;

/// Requests whose time is over that are refused in one go, before other timers get their turn.
const EXPIRED_AT_A_TIME: usize = 64;

/// How long a reply can be sent again: as long as a requester may wait for it.
const RESEND_FOR: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Counters {
    allocated: AtomicU64,
    accepted: AtomicU64,
    alloc_failed: AtomicU64,
    retried: AtomicU64,
    incoming: AtomicU64,
    unknown_name: AtomicU64,
    backlog_full: AtomicU64,
    not_accepted: AtomicU64,
    shed: AtomicU64,
    bad_oap: AtomicU64,
    replayed: AtomicU64,
    resent: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Node {
    /// A node without IPCPs and names.
    pub fn new(parts: Parts) -> Arc<Self> {
        let pool = BufPool::new(parts.limits.idle_buffers);
        Arc::new_cyclic(|me: &Weak<Self>| {
            let requests: Weak<dyn Requests> = Weak::<Self>::clone(me);
            let env = Arc::new(Env {
                clock: parts.clock,
                pool,
                host: Arc::new(timers::HostOf(Weak::clone(me))),
                panics: Arc::default(),
                inline: parts.inline,
            });
            let timers = TimerQueue::new(&env.panics);
            Self {
                me: Weak::clone(me),
                env,
                irm: Mutex::new(Irm::new(parts.limits.irm)),
                security: RwLock::new(parts.security),
                layers: RwLock::new(Vec::new()),
                direct: LocalIpcp::new(Info::new(Kind::Direct, "direct", ""), requests),
                flows: Mutex::new(Arena::new(parts.limits.flows)),
                timers,
                tasks: Tasks::default(),
                replay: Mutex::new(ReplayCache::new(parts.limits.replay)),
                answered: Mutex::new(Answered::default()),
                silent: Mutex::new(Silent::default()),
                held: Meter::new(parts.limits.stack_bytes, None),
                held_by_peer: Mutex::new((BTreeMap::new(), METERS_KEPT)),
                rng: Mutex::new(parts.rng),
                next_ipcp: AtomicU64::new(1),
                down: AtomicBool::new(false),
                counters: Counters::default(),
                limits: parts.limits,
            }
        })
    }

    /// What tells the time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.env.clock
    }

    /// Through which code of others is called.
    pub fn panics(&self) -> &Arc<Panics> {
        &self.env.panics
    }

    /// Where packet buffers come from.
    pub fn pool(&self) -> &Arc<BufPool> {
        &self.env.pool
    }

    /// Bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether endpoints are serviced on the delivering thread.
    pub fn is_inline(&self) -> bool {
        self.env.inline
    }

    /// A random source of its own, for an IPCP.
    pub fn split_rng(&self, label: &str) -> Rng {
        self.rng.lock().public.split(label)
    }

    /// Where IPCPs send requests that arrive.
    pub fn requests(&self) -> Weak<dyn Requests> {
        let me: Weak<dyn Requests> = Weak::<Self>::clone(&self.me);
        me
    }

    /// Whether the node was shut down.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    // ----- layers -----

    /// Adds an IPCP. It is asked for names before those of a lower priority, then before those of a later kind.
    pub fn add_ipcp(&self, ipcp: Arc<dyn Ipcp>, priority: i32) -> IpcpId {
        let id = IpcpId(self.next_ipcp.fetch_add(1, Ordering::Relaxed));
        let mut layers = self.layers.write();
        layers.push(Layer { id, ipcp, priority, registered: Vec::new(), membership: None });
        layers.sort_by_key(|l| (core::cmp::Reverse(l.priority), l.ipcp.info().kind, l.id));
        id
    }

    fn add_membership(&self, membership: &Arc<Membership>) {
        for layer in self.layers.write().iter_mut().filter(|l| l.id == membership.id()) {
            layer.membership = Some(Arc::clone(membership));
        }
    }

    /// What looks after the N-1 flows of an IPCP, if it uses some.
    pub fn membership(&self, id: IpcpId) -> Option<Arc<Membership>> {
        self.layers.read().iter().find(|l| l.id == id)?.membership.clone()
    }

    /// Ends an IPCP: its layer is left, and the flows through it go down.
    pub fn remove_ipcp(&self, id: IpcpId) {
        let removed = {
            let mut layers = self.layers.write();
            let at = layers.iter().position(|l| l.id == id);
            at.map(|at| layers.remove(at))
        };
        let Some(layer) = removed else { return };
        if let Some(membership) = layer.membership {
            membership.end();
        }
        layer.ipcp.shutdown(self.env.clock.now());
    }

    /// Accepts nothing any more for a listener.
    pub fn close_listener(&self, id: irm::ListenerId) {
        let mut calls = Calls::default();
        let orphans = self.irm.lock().unbind(self.env.clock.now(), id, &mut calls);
        self.perform(calls);
        self.refuse_all(orphans, Code::AGAIN);
    }

    /// Changes the priority with which an IPCP is asked for names; 0 is the default.
    pub fn set_priority(&self, id: IpcpId, priority: i32) {
        let mut layers = self.layers.write();
        for layer in layers.iter_mut().filter(|l| l.id == id) {
            layer.priority = priority;
        }
        layers.sort_by_key(|l| (core::cmp::Reverse(l.priority), l.ipcp.info().kind, l.id));
    }

    /// The IPCPs, in the order in which they are asked for a name.
    pub fn ipcps(&self) -> Vec<(IpcpId, Arc<dyn Ipcp>)> {
        self.layers.read().iter().map(|l| (l.id, Arc::clone(&l.ipcp))).collect()
    }

    fn ipcp(&self, id: IpcpId) -> Option<Arc<dyn Ipcp>> {
        self.layers.read().iter().find(|l| l.id == id).map(|l| Arc::clone(&l.ipcp))
    }

    /// Makes a name known in the layer of an IPCP.
    ///
    /// # Errors
    /// [`RegisterError`] if the layer cannot take it.
    pub fn register(&self, id: IpcpId, name: &Name) -> Result<(), RegisterError> {
        let ipcp = self.ipcp(id).ok_or(RegisterError::Down)?;
        ipcp.register(self.env.clock.now(), ipcp.info().hash.hash(name))?;
        for layer in self.layers.write().iter_mut().filter(|l| l.id == id) {
            if !layer.registered.contains(name) {
                layer.registered.push(name.clone());
            }
        }
        Ok(())
    }

    /// Withdraws a name from the layer of an IPCP.
    pub fn unregister(&self, id: IpcpId, name: &Name) {
        let Some(ipcp) = self.ipcp(id) else { return };
        ipcp.unregister(self.env.clock.now(), &ipcp.info().hash.hash(name));
        for layer in self.layers.write().iter_mut().filter(|l| l.id == id) {
            layer.registered.retain(|n| n != name);
        }
    }

    /// The names registered with an IPCP.
    pub fn registered(&self, id: IpcpId) -> Vec<Name> {
        self.layers.read().iter().find(|l| l.id == id).map(|l| l.registered.clone()).unwrap_or_default()
    }

    // ----- names -----

    /// Runs `f` on the IRM. `f` must not call out.
    pub fn with_irm<R>(&self, f: impl FnOnce(&mut Irm<Screened>) -> R) -> R {
        f(&mut self.irm.lock())
    }

    /// Refuses requests that nobody will accept.
    pub fn refuse_all(&self, requests: Vec<Screened>, code: Code) {
        let now = self.env.clock.now();
        for request in requests {
            request.incoming.responder.refuse(now, code);
        }
    }

    /// Sets the protection of names that have no settings of their own.
    pub fn set_security(&self, name: Option<&Name>, security: NameSecurity) -> Result<(), BindError> {
        match name {
            Some(name) => self.irm.lock().set_security(name, security),
            None => {
                *self.security.write() = security;
                Ok(())
            }
        }
    }

    /// How flows to and from a name are protected.
    pub fn security_of(&self, name: &Name) -> NameSecurity {
        let own = self.irm.lock().security(name).cloned();
        own.unwrap_or_else(|| self.security.read().clone())
    }

    // ----- flows -----

    /// An endpoint for a flow that is being allocated; `None` if there are too many.
    fn new_endpoint(&self) -> Option<Arc<Endpoint>> {
        let mut flows = self.flows.lock();
        // Under the lock: a shutdown under way either finds the endpoint or is found here.
        if self.is_down() {
            return None;
        }
        let mut made = None;
        flows.insert_with(|id| {
            let endpoint = Endpoint::new(id.to_bits(), &self.env);
            made = Some(Arc::clone(&endpoint));
            endpoint
        })?;
        made
    }

    fn endpoint(&self, key: u64) -> Option<Arc<Endpoint>> {
        self.flows.lock().get(Id::from_bits(key)).cloned()
    }

    /// All endpoints, in the order of their numbers.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.flows.lock().iter().map(|(_, e)| Arc::clone(e)).collect()
    }

    /// How long a requester who asks for `ms` milliseconds, or for no end with 0, may be silent.
    fn bounded(&self, ms: u32) -> u32 {
        let most = millis(self.limits.flow_timeout_max);
        if ms == 0 { most } else { ms.min(most) }
    }

    /// The timeout that is granted to a requester of our own kind, who is told.
    fn granted(&self, ms: u32) -> u32 {
        self.bounded(ms).max(millis(self.limits.flow_timeout_min))
    }

    /// The machines of an allocated flow.
    fn params(
        &self,
        mut qos: QosSpec,
        layer: &LayerFacts,
        keys: Option<(Cipher, SessionKey)>,
        peering: Option<Peering>,
    ) -> Result<Params, OapError> {
        if let Some(peering) = &peering {
            qos.timeout = match peering.side {
                Side::Server => self.granted(peering.timeout),
                // What the server has granted counts at both ends.
                Side::Client => peering.timeout.max(1),
            };
        }
        let protection = match keys {
            Some((cipher, key)) => {
                let ivs = self.rng.lock().public.split("iv");
                let keys = match &peering {
                    Some(peering) => Protection::between_peers(cipher, key, peering.side)?,
                    None => Protection::new(cipher, key)?,
                };
                Some((Box::new(keys), Box::new(ivs)))
            }
            None => None,
        };
        let plain = self.plain_params(qos, layer, peering.is_some());
        Ok(Params { protection, peering: peering.map(Box::new), ..plain })
    }

    /// The same without encryption.
    fn plain_params(&self, qos: QosSpec, layer: &LayerFacts, o7s_peer: bool) -> Params {
        let frct = qos.has_frct().then(|| {
            let config = frct::Config {
                reliable: qos.is_reliable(),
                o7s_peer,
                mpl: layer.mpl,
                window: layer.window.min(self.limits.frct.window),
                congestion: layer.congestible,
                ..self.limits.frct.clone()
            };
            let isn = self.rng.lock().public.u32();
            Box::new(Frct::new(config, isn, self.env.clock.now()))
        });
        Params {
            qos,
            frct,
            protection: None,
            peering: None,
            rx_limit: self.limits.raw_queue,
            rx_bytes: self.limits.flow_bytes,
            meter: Some(Arc::clone(&self.held)),
            opening: Opening::default(),
        }
    }

    /// What holds for a flow that was asked for with `received` bytes, by a requester whose address is only claimed, and
    /// answered with `sent` bytes.
    fn opening(&self, received: usize, sent: usize, peering: Option<&Peering>) -> Opening {
        let silence = if peering.is_some() { self.limits.silence } else { self.limits.silence_reference };
        let allowance = (received as u64).saturating_mul(AMPLIFICATION).saturating_sub(sent as u64);
        Opening { allowance: Some(allowance), silence: Some(silence), greet: false }
    }

    /// What the flows that `address` asks for are charged to.
    fn meter_of(&self, address: u64) -> Arc<Meter> {
        let mut held = self.held_by_peer.lock();
        let (meters, sweep_at) = &mut *held;
        if let Some(meter) = meters.get(&address).and_then(Weak::upgrade) {
            return meter;
        }
        if meters.len() >= *sweep_at {
            meters.retain(|_, meter| meter.strong_count() > 0);
            *sweep_at = (2 * meters.len()).max(METERS_KEPT);
        }
        let meter = Meter::new(self.limits.peer_bytes, Some(Arc::clone(&self.held)));
        meters.insert(address, Arc::downgrade(&meter));
        meter
    }

    /// Counts a flow whose peer has to be heard yet.
    fn await_first_word(&self, now: Instant, address: u64, endpoint: &Arc<Endpoint>) {
        let bounds = Bounds { flows: self.limits.silent_flows, per_address: self.limits.silent_flows_per_peer };
        let shed = self.silent.lock().add(now, address, endpoint, bounds);
        if let Some(endpoint) = shed {
            endpoint.abort();
        }
    }

    /// Ends the accepted flow whose peer has been silent for longest without ever being heard, because something that it
    /// holds is needed.
    pub fn shed_silent(&self) {
        let oldest = self.silent.lock().oldest();
        if let Some(endpoint) = oldest {
            endpoint.abort();
        }
    }

    // ----- time -----

    /// Does what is due at `now` and returns the next deadline.
    pub fn poll(&self, now: Instant) -> Option<Instant> {
        self.timers.run(self, now)
    }

    /// The next deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Calls `wake` whenever a deadline earlier than all others comes up.
    pub fn on_earlier_deadline(&self, wake: Option<Arc<dyn Fn() + Send + Sync>>) {
        self.timers.set_wake(wake);
    }

    fn expire_requests(&self, now: Instant) {
        let mut calls = Calls::default();
        let late = self.irm.lock().expire(now, EXPIRED_AT_A_TIME, &mut calls);
        self.perform(calls);
        for request in late {
            count(&self.counters.not_accepted);
            request.incoming.responder.refuse(now, Code::AGAIN);
        }
    }

    /// Ends everything: listeners, allocations, flows, layers. What is on its way is lost.
    pub fn shutdown(&self) {
        if self.down.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = self.env.clock.now();
        self.end_tasks();
        let mut calls = Calls::default();
        let (requests, factories) = self.irm.lock().shutdown(&mut calls);
        factories.into_iter().for_each(|f| self.env.panics.discard(f));
        self.perform(calls);
        self.refuse_all(requests, Code::AGAIN);
        // Those of programs first, then those that carry them, the upper layers before the lower: the other ends are told.
        let (carriers, flows): (Vec<_>, Vec<_>) = self.endpoints().into_iter().partition(|e| e.is_attached());
        for endpoint in flows.iter().chain(carriers.iter().rev()) {
            endpoint.leave();
        }
        let layers = core::mem::take(&mut *self.layers.write());
        for layer in layers {
            layer.ipcp.shutdown(now);
        }
        let answered = core::mem::take(&mut *self.answered.lock());
        drop(answered);
        self.timers.shutdown();
    }

    /// What has been counted, but for names, IPCPs and flows.
    pub fn rib(&self) -> Tree {
        let c = &self.counters;
        let all = [
            ("allocated", &c.allocated),
            ("accepted", &c.accepted),
            ("alloc_failed", &c.alloc_failed),
            ("retried", &c.retried),
            ("incoming", &c.incoming),
            ("unknown_name", &c.unknown_name),
            ("backlog_full", &c.backlog_full),
            ("not_accepted", &c.not_accepted),
            ("shed", &c.shed),
            ("bad_oap", &c.bad_oap),
            ("replayed", &c.replayed),
            ("resent", &c.resent),
        ];
        let (remembered, forgotten) = {
            let replay = self.replay.lock();
            (replay.len() as u64, replay.evictions())
        };
        let (silent, shed) = self.silent.lock().counts();
        Tree::new("node")
            .counters(all.iter().map(|(name, c)| (*name, c.load(Ordering::Relaxed))))
            .counter("replay_forgotten_early", forgotten)
            .counter("silent_shed", shed)
            .gauge("silent", silent as u64)
            .gauge("held_bytes", self.held.used() as u64)
            .counter("foreign_panics", self.env.panics.count())
            .gauge("flows", self.flows.lock().len() as u64)
            .gauge("tasks", self.task_count() as u64)
            .gauge("timers", self.timers.len() as u64)
            .gauge("replay_remembered", remembered)
            .gauge("resendable", self.answered.lock().replies.len() as u64)
            .gauge("idle_buffers", self.env.pool.idle() as u64)
    }
}

/// A request that has passed the checks that cost little.
pub struct Screened {
    incoming: Incoming,
    oap: Request,
}

fn millis(d: Duration) -> u32 {
    u32::try_from(d.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// What the flows of a layer need to know of it.
#[derive(Clone, Copy, Debug)]
struct LayerFacts {
    mpl: Duration,
    congestible: bool,
    window: u32,
}

impl From<&Info> for LayerFacts {
    fn from(info: &Info) -> Self {
        Self { mpl: info.mpl, congestible: info.congestible, window: info.window }
    }
}

impl Requests for Node {
    fn incoming(&self, now: Instant, request: Incoming) {
        count(&self.counters.incoming);
        let name = self.irm.lock().by_hash(request.hash, &request.dst).cloned();
        let Some(name) = name else {
            count(&self.counters.unknown_name);
            request.responder.refuse(now, Code::NAME);
            return;
        };
        if let Some(request) = self.screen(now, request) {
            self.place(now, &name, request);
        }
    }
}

impl Node {
    /// Gives a request to somebody who accepts flows to `name`, or has it wait for one.
    fn place(&self, now: Instant, name: &Name, request: Screened) {
        let mut calls = Calls::default();
        let placed = self.irm.lock().place(now, name, request, &mut calls);
        self.perform(calls);
        match placed {
            Ok(()) => {}
            Err(Refused::Unknown(request)) => {
                count(&self.counters.unknown_name);
                request.incoming.responder.refuse(now, Code::NAME);
            }
            Err(Refused::Full(request)) => {
                count(&self.counters.backlog_full);
                request.incoming.responder.refuse(now, Code::AGAIN);
            }
        }
    }

    /// Does what the IRM wants done outside of its lock. A factory that panics has started nobody: the request waits for
    /// somebody else.
    fn perform(&self, calls: Calls) {
        if let Some(due) = calls.due {
            self.timers.arm_expiry(due);
        }
        let panics = &self.env.panics;
        panics.wake_all(calls.wake);
        for factory in calls.start {
            panics.call(|| factory.start());
            panics.discard(factory);
        }
    }

    /// The checks that cost little and come before any state: form, time window, replay. A request that repeats one
    /// that was answered has the answer sent again instead.
    fn screen(&self, now: Instant, mut request: Incoming) -> Option<Screened> {
        let unix = self.env.clock.unix_nanos();
        let checked = Request::check(unix, core::mem::take(&mut request.data), &mut self.replay.lock());
        let oap = match checked {
            Ok(oap) => oap,
            Err(OapError::Replayed) => {
                // A copy of a datagram that was here before. Answering it would hit the flow that came of it.
                count(&self.counters.replayed);
                request.responder.resend(now, &Nothing);
                return None;
            }
            Err(e) => {
                count(&self.counters.bad_oap);
                request.responder.refuse(now, Code::from_response(e.refusal_code()));
                return None;
            }
        };
        let received = request.origin.map(|origin| origin.received);
        let again = self.answered.lock().get(now, request.peer, oap.id(), received);
        match again {
            Some(reply) => {
                count(&self.counters.resent);
                request.responder.resend(now, &*reply);
                None
            }
            None => Some(Screened { incoming: request, oap }),
        }
    }

    /// Remembers a reply that can be sent again.
    fn remember_reply(&self, now: Instant, peer: u64, id: [u8; 16], reply: Arc<dyn Resend>, size: usize) {
        let answer = Answer { reply, size, until: now + RESEND_FOR };
        let outdated = self.answered.lock().insert(now, self.limits.resend, (peer, id), answer);
        drop(outdated);
    }
}

/// Replies by requester and request, to be sent again: a request that is repeated says that the reply got lost.
#[derive(Default)]
struct Answered {
    replies: BTreeMap<AnsweredKey, Answer>,
    /// In the order of their age.
    order: VecDeque<(Instant, AnsweredKey)>,
}

type AnsweredKey = (u64, [u8; 16]);

struct Answer {
    reply: Arc<dyn Resend>,
    /// Bytes of it.
    size: usize,
    until: Instant,
}

impl Answered {
    /// The reply to a request that is repeated, with `received` bytes if where it comes from is not certain: one that is
    /// much smaller than its answer is not sent it again.
    fn get(&self, now: Instant, peer: u64, id: [u8; 16], received: Option<usize>) -> Option<Arc<dyn Resend>> {
        let answer = self.replies.get(&(peer, id)).filter(|answer| now < answer.until)?;
        if received.is_some_and(|received| (received as u64) * AMPLIFICATION < answer.size as u64) {
            return Some(Arc::new(Nothing));
        }
        Some(Arc::clone(&answer.reply))
    }

    /// Adds one, and returns those that are outdated or, if there are too many, the oldest.
    fn insert(&mut self, now: Instant, limit: usize, key: AnsweredKey, answer: Answer) -> SmallVec<[Answer; 2]> {
        let mut out = SmallVec::new();
        // Two for each one that comes, so that a pause is not paid for by one caller.
        for _ in 0..2 {
            if self.order.len() < limit && self.order.front().is_none_or(|(until, _)| *until > now) {
                break;
            }
            out.extend(self.order.pop_front().and_then(|(_, key)| self.replies.remove(&key)));
        }
        match self.replies.insert(key, answer) {
            Some(old) => out.push(old),
            None => self.order.push_back((now + RESEND_FOR, key)),
        }
        out
    }
}

/// Sends nothing.
struct Nothing;

impl Resend for Nothing {
    fn resend(&self, _now: Instant) {}
}
