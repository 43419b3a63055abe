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
mod answered;
mod flows;
pub mod join;
mod layers;
mod limits;
pub mod member;
mod requests;
mod silent;
mod tasks;
mod timers;

use ::alloc::string::String;
use ::alloc::sync::{Arc, Weak};
use ::alloc::vec::Vec;
use core::cmp::Reverse;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;

use crate::base::arena::Arena;
use crate::base::backlog::Meter;
use crate::base::buf::BufPool;
use crate::base::counter::{Counter, counters};
use crate::base::foreign::Panics;
use crate::base::journal::{Journal, record};
use crate::base::rng::{Randomness, Rng};
use crate::base::sync::{AtomicU64, Mutex, RwLock};
use crate::base::time::{Clock, Instant};
use crate::crypto::backend::Backend;
use crate::flow::{Drive, Endpoint, Env, Watcher};
use crate::ipcp::local::LocalIpcp;
use crate::ipcp::shim::ShimContext;
use crate::ipcp::{Info, Ipcp, Kind, Requests};
use crate::irm::{self, BindError, Calls, Irm, NameSecurity};
use crate::oap::replay::ReplayCache;
use crate::types::code::Code;
use crate::types::name::Name;
use crate::types::tree::Tree;

use self::answered::Answered;
use self::flows::{LayerFacts, PeerMeters};
pub use self::layers::IpcpId;
use self::layers::Layer;
pub use self::limits::Limits;
pub use self::requests::Screened;
use self::silent::Silent;
pub use self::tasks::Runner;
use self::tasks::Tasks;
use self::timers::TimerQueue;

/// What a node is built from.
pub struct Parts {
    /// What records call the stack.
    pub name: Option<String>,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where packet buffers come from; from a pool of its own if not given.
    pub pool: Option<Arc<BufPool>>,
    /// Chance.
    pub rng: Randomness,
    /// Bounds.
    pub limits: Limits,
    /// Service endpoints on the delivering thread: polled and simulated stacks.
    pub inline: bool,
    /// Protection of names that have no settings of their own.
    pub security: NameSecurity,
    /// What encrypts packets.
    pub backend: &'static Backend,
}

/// A stack's control plane and tables.
pub struct Node {
    me: Weak<Self>,
    env: Arc<Env>,
    limits: Limits,
    backend: &'static Backend,
    irm: Mutex<Irm<Screened>>,
    security: RwLock<NameSecurity>,
    /// In the order in which they are asked for a name.
    layers: RwLock<Vec<Layer>>,
    /// IPCPs that are being left, for a moment more.
    retiring: Mutex<Vec<Arc<dyn Ipcp>>>,
    direct: Arc<LocalIpcp>,
    flows: Mutex<Arena<Arc<Endpoint>>>,
    timers: TimerQueue,
    tasks: Tasks,
    replay: Mutex<ReplayCache>,
    answered: Mutex<Answered>,
    silent: Mutex<Silent>,
    /// Memory of packets that wait, of all flows, and of those that each peer has asked for.
    held: Arc<Meter>,
    held_by_peer: Mutex<PeerMeters>,
    rng: Mutex<Randomness>,
    next_ipcp: AtomicU64,
    down: AtomicBool,
    counters: Counters,
}

/// Until the requester's address has proven to be its own, this many times the bytes that came from it are sent there.
const AMPLIFICATION: u64 = 3;

counters! {
    /// What the node has done.
    struct Counters {
        /// Flows that this stack has allocated.
        allocated => "allocated",
        /// Flows that this stack has accepted.
        accepted => "accepted",
        /// Allocations that failed.
        alloc_failed => "alloc_failed",
        /// Requests for flows that were repeated.
        retried => "retried",
        /// Requests for flows that have arrived.
        incoming => "incoming",
        /// Requests refused because nobody listens to the name.
        unknown_name => "unknown_name",
        /// Requests refused because the backlog of the name was full.
        backlog_full => "backlog_full",
        /// Requests refused because no listener accepted them in time.
        not_accepted => "not_accepted",
        /// Requests refused because too many handshakes were under way.
        shed => "shed",
        /// Requests refused because of their security header.
        bad_oap => "bad_oap",
        /// Requests ignored because they had been seen before.
        replayed => "replayed",
        /// Replies that were sent again.
        resent => "resent",
    }
}

fn count(counter: &Counter) {
    counter.count();
}

impl Node {
    /// A node without IPCPs and names.
    pub fn new(mut parts: Parts) -> Arc<Self> {
        let pool = parts.pool.unwrap_or_else(|| BufPool::new(parts.limits.idle_buffers));
        Arc::new_cyclic(|me: &Weak<Self>| {
            let requests: Weak<dyn Requests> = Weak::<Self>::clone(me);
            let journal = Journal::new(Arc::clone(&parts.clock), parts.name.as_deref(), parts.inline);
            let env = Arc::new(Env {
                clock: parts.clock,
                pool,
                host: Arc::new(timers::HostOf(Weak::clone(me))),
                panics: Arc::new(Panics::new(journal)),
                inline: parts.inline,
            });
            let timers = TimerQueue::new(&env.panics);
            let algorithm = core::mem::take(&mut parts.limits.frct.algorithm);
            parts.limits.frct.algorithm = algorithm.counted_by(&env.panics);
            Self {
                me: Weak::clone(me),
                env,
                irm: Mutex::new(Irm::new(parts.limits.irm)),
                security: RwLock::new(parts.security),
                layers: RwLock::new(Vec::new()),
                retiring: Mutex::new(Vec::new()),
                direct: LocalIpcp::new(Info::new(Kind::Direct, "direct", ""), requests),
                flows: Mutex::new(Arena::new(parts.limits.flows)),
                timers,
                tasks: Tasks::new(me),
                replay: Mutex::new(ReplayCache::new(parts.limits.replay)),
                answered: Mutex::new(Answered::new(parts.limits.silence)),
                silent: Mutex::new(Silent::default()),
                held: Meter::new(parts.limits.stack_bytes, None),
                held_by_peer: Mutex::new(PeerMeters::new()),
                rng: Mutex::new(parts.rng),
                next_ipcp: AtomicU64::new(1),
                down: AtomicBool::new(false),
                counters: Counters::default(),
                limits: parts.limits,
                backend: parts.backend,
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

    /// What encrypts packets.
    pub fn backend(&self) -> &'static Backend {
        self.backend
    }

    /// Where packet buffers come from.
    pub fn pool(&self) -> &Arc<BufPool> {
        &self.env.pool
    }

    /// Bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What a shim is given whose receive loop is `device`; `label` sets its randomness apart.
    pub fn shim_context(&self, device: Weak<dyn Drive>, label: &str) -> ShimContext {
        let waker = if self.env.inline {
            Waker::from(Arc::new(timers::WakerOf(Weak::clone(&self.me))))
        } else {
            Waker::noop().clone()
        };
        ShimContext::new(self.requests(), device, waker, &self.env, self.split_rng(label))
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

    // ----- names -----

    /// Accepts nothing any more for a listener.
    pub fn close_listener(&self, id: irm::ListenerId) {
        let mut calls = Calls::default();
        let orphans = self.irm.lock().unbind(self.env.clock.now(), id, &mut calls);
        record!(self.panics(), Bind, Debug, [refused: orphans.len()], "listener closed");
        self.perform(calls);
        self.refuse_all(orphans, Code::AGAIN);
    }

    /// Has `watcher` told of requests that come to a listener; see [`Irm::watch`].
    pub fn watch_listener(&self, id: irm::ListenerId, watcher: Arc<dyn Watcher>, token: u64) {
        let mut calls = Calls::default();
        self.irm.lock().watch(id, watcher, token, &mut calls);
        self.perform(calls);
    }

    /// Tells those who watch a listener that there is something to accept.
    pub fn tell_listener(&self, id: irm::ListenerId) {
        let mut calls = Calls::default();
        self.irm.lock().tell(id, &mut calls);
        self.perform(calls);
    }

    /// Takes [`watch_listener`](Self::watch_listener) back.
    pub fn unwatch_listener(&self, id: irm::ListenerId, watcher: &Arc<dyn Watcher>, token: u64) {
        let gone = self.irm.lock().unwatch(id, watcher, token);
        self.env.panics.discard(gone);
    }

    /// Runs `f` on the IRM. `f` must not call out.
    pub fn with_irm<R>(&self, f: impl FnOnce(&mut Irm<Screened>) -> R) -> R {
        f(&mut self.irm.lock())
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
        flows.iter().for_each(|endpoint| endpoint.leave());
        // What others rely on is taken back while there are flows to say it on.
        let mut ipcps = self.ipcps();
        ipcps.sort_by_key(|(id, _)| Reverse(*id));
        for (_, ipcp) in ipcps {
            self.env.panics.call(|| ipcp.retire(now));
        }
        carriers.iter().rev().for_each(|endpoint| endpoint.leave());
        let layers = core::mem::take(&mut *self.layers.write());
        for layer in layers {
            self.env.panics.call(|| layer.ipcp.shutdown(now));
        }
        let retiring = core::mem::take(&mut *self.retiring.lock());
        for ipcp in retiring {
            self.env.panics.call(|| ipcp.shutdown(now));
        }
        let answered = self.answered.lock().clear();
        drop(answered);
        self.timers.shutdown();
        record!(self.panics(), Stack, Info, [], "stack shut down");
    }

    /// What has been counted, but for names, IPCPs and flows.
    pub fn rib(&self) -> Tree {
        let (remembered, forgotten) = {
            let replay = self.replay.lock();
            (replay.len() as u64, replay.counters())
        };
        let (silent, shed) = self.silent.lock().counts();
        Tree::new("node")
            .counters(self.counters.rows())
            .counters(forgotten.rows())
            .counters(shed.rows())
            .gauge("silent", silent as u64)
            .gauge("held_bytes", self.held.used() as u64)
            .counters(self.env.panics.rows())
            .gauge("flows", self.flows.lock().len() as u64)
            .gauge("tasks", self.task_count() as u64)
            .gauge("timers", self.timers.len() as u64)
            .gauge("replay_remembered", remembered)
            .gauge("resendable", self.answered.lock().len() as u64)
            .gauge("idle_buffers", self.env.pool.idle() as u64)
    }
}
