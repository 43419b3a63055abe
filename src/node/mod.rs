//! The control plane: the one room that knows the IRM, the IPCPs and the flows.
//!
//! A [`Node`] is what a stack consists of, without sockets, threads and clocks. Its inputs are commands of the API,
//! requests and answers that come up from IPCPs, and [`Node::poll`] when its next deadline has come. It is put together
//! from parts, of which each owns what it works with, locks that for bounded work, and knows only those above it in this
//! table; the order of their locks is in `shared`:
//!
//! | part | what it does |
//! |---|---|
//! | `limits` | the bounds |
//! | `shared` | what all parts have in common: time, randomness, counters |
//! | `timers` | deadlines |
//! | `tasks` | futures that the node drives itself |
//! | `silent`, `answered` | flows whose peer has not been heard, replies that can be sent again |
//! | `flows` | the endpoints, and what they are charged to |
//! | `gate` | who decides on requests before the program sees them |
//! | `names` | acceptors of flows, and the requests that wait for them |
//! | `layers` | the IPCPs |
//!
//! On these stand [allocating](alloc) and [accepting](accept) a flow, and what looks after the N-1 flows of an IPCP
//! ([`member`]). Key agreement and the like run on the thread that allocates or accepts, without any lock.
//!
//! The data plane does not come by here: endpoints and ports call each other. What an endpoint needs of the node is
//! timers.

pub mod accept;
pub mod alloc;
mod answered;
mod flows;
pub mod gate;
pub mod join;
mod layers;
mod limits;
pub mod member;
mod names;
mod owed;
mod protection;
mod shared;
mod silent;
mod tasks;
#[cfg(any(test, loom))]
mod testing;
mod timers;

use ::alloc::boxed::Box;
use ::alloc::string::String;
use ::alloc::sync::{Arc, Weak};
use ::alloc::vec::Vec;
use core::cmp::Reverse;
use core::future::{Future, poll_fn};
use core::task::{Poll, Waker};

use crate::base::buf::BufPool;
use crate::base::foreign::Panics;
use crate::base::journal::{Journal, record};
use crate::base::rng::{Randomness, Rng};
use crate::base::time::{Clock, Instant};
use crate::crypto::backend::Backend;
use crate::flow::{Drive, Endpoint, Env, FlowKey, Host, Watcher};
use crate::ipcp::local::LocalIpcp;
use crate::ipcp::shim::{SENDING, ShimContext};
use crate::ipcp::{self, Info, Ipcp, Kind, RegisterError, Requests, Responder};
use crate::irm::{Irm, ListenerId, NameSecurity};
use crate::types::code::Code;
pub use crate::types::id::IpcpId;
use crate::types::name::Name;
use crate::types::tap::FlowTap;
use crate::types::tree::Tree;

use self::alloc::LateRequests;
use self::flows::Flows;
use self::layers::Layers;
pub use self::limits::Limits;
use self::member::Membership;
use self::names::Names;
pub use self::names::{Replaced, Screened};
use self::shared::Shared;
pub use self::shared::{Entropy, KeyReader, KeySink};
pub use self::tasks::Runner;
use self::tasks::Tasks;
use self::timers::{Due, Sleep, TimerQueue};

/// Components and settings of a new node.
pub struct Parts {
    /// Name of the stack in log records.
    pub name: Option<String>,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// Pool of packet buffers; default: a pool of its own.
    pub pool: Option<Arc<BufPool>>,
    /// Chance.
    pub rng: Randomness,
    /// Randomness of the system for each security exchange; `None` where a run is to be repeated.
    pub entropy: Option<Entropy>,
    /// Bounds.
    pub limits: Limits,
    /// Service endpoints on the delivering thread: polled and simulated stacks.
    pub inline: bool,
    /// Protection of names that have no settings of their own.
    pub security: NameSecurity,
    /// Implementation of the cryptographic algorithms.
    pub backend: &'static Backend,
}

/// A stack's control plane and tables.
pub struct Node {
    me: Weak<Self>,
    shared: Arc<Shared>,
    timers: Arc<TimerQueue>,
    tasks: Arc<Tasks>,
    flows: Flows,
    names: Arc<Names>,
    layers: Layers<Membership>,
    direct: Arc<LocalIpcp>,
    late: LateRequests,
}

impl Node {
    /// A node without IPCPs and names.
    pub fn new(mut parts: Parts) -> Arc<Self> {
        let pool = parts.pool.unwrap_or_else(|| BufPool::new(parts.limits.idle_buffers));
        Arc::new_cyclic(|me: &Weak<Self>| {
            let journal = Journal::new(Arc::clone(&parts.clock), parts.name.as_deref(), parts.inline);
            let env = Env {
                clock: parts.clock,
                pool,
                host: Arc::new(HostOf(Weak::clone(me))),
                panics: Arc::new(Panics::new(journal)),
                inline: parts.inline,
            };
            let algorithm = core::mem::take(&mut parts.limits.frct.algorithm);
            parts.limits.frct.algorithm = algorithm.counted_by(&env.panics);
            let shared = Shared::new(env, parts.limits, parts.backend, (parts.rng, parts.entropy));
            let timers = TimerQueue::new(&shared);
            let names = Names::new(&shared, &timers, parts.security);
            let requests = Arc::downgrade(&names);
            Self {
                me: Weak::clone(me),
                tasks: Tasks::new(&shared, &timers),
                flows: Flows::new(&shared, &timers),
                layers: Layers::new(&shared),
                direct: LocalIpcp::new(Info::new(Kind::Direct, "direct", ""), requests),
                names,
                late: LateRequests::default(),
                timers,
                shared,
            }
        })
    }

    /// Returns the source of time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.env.clock
    }

    /// Returns the guard through which foreign code is called.
    pub fn panics(&self) -> &Arc<Panics> {
        self.shared.panics()
    }

    /// Returns the implementation of the cryptographic algorithms.
    pub fn backend(&self) -> &'static Backend {
        self.shared.backend
    }

    /// Has `sink` told the keys of encrypted flows from now on, or nobody any more.
    pub fn set_keys(&self, reader: KeyReader, sink: Option<KeySink>) {
        self.shared.onlookers.set_keys(reader, sink);
    }

    /// Has `tap` see the packets of all flows in the clear from now on, or nobody any more.
    pub fn set_tap(&self, tap: Option<Arc<dyn FlowTap>>) {
        self.flows.set_tap(tap);
    }

    /// Returns the pool of packet buffers.
    pub fn pool(&self) -> &Arc<BufPool> {
        &self.shared.env.pool
    }

    /// Bounds.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Returns the context for a shim with the receive loop `device`; `label` separates its randomness from that of
    /// others.
    pub fn shim_context(&self, device: Weak<dyn Drive>, label: &str) -> ShimContext {
        let env = &self.shared.env;
        let waker = if env.inline {
            Waker::from(Arc::new(timers::Bell(Arc::downgrade(&self.timers))))
        } else {
            Waker::noop().clone()
        };
        let timers = Arc::downgrade(&self.timers);
        let alarms = move |waker| Arc::new(timers::Alarm::weak(&timers, waker)) as Arc<dyn ipcp::Alarm>;
        ShimContext::new(self.requests(), device, waker, env, self.split_rng(label), Box::new(alarms))
    }

    /// A random source of its own, for an IPCP.
    pub fn split_rng(&self, label: &str) -> Rng {
        self.shared.split_rng(label)
    }

    /// Returns the receiver of requests that arrive at IPCPs.
    pub fn requests(&self) -> Weak<dyn Requests> {
        let requests: Weak<Names> = Arc::downgrade(&self.names);
        requests
    }

    /// Returns `true` once the node was shut down.
    pub fn is_down(&self) -> bool {
        self.shared.is_down()
    }

    // ----- names -----

    /// Accepts nothing any more for a listener.
    pub fn close_listener(&self, id: ListenerId) {
        self.names.close_listener(id);
    }

    /// Has `watcher` told of requests that come to a listener; see [`Irm::watch`].
    pub fn watch_listener(&self, id: ListenerId, watcher: Arc<dyn Watcher>, token: u64) {
        self.names.watch_listener(id, watcher, token);
    }

    /// Tells the watchers of a listener that there is something to accept.
    pub fn tell_listener(&self, id: ListenerId) {
        self.names.tell_listener(id);
    }

    /// Takes [`watch_listener`](Self::watch_listener) back.
    pub fn unwatch_listener(&self, id: ListenerId, watcher: &Arc<dyn Watcher>, token: u64) {
        self.names.unwatch_listener(id, watcher, token);
    }

    /// Runs `f` on the IRM. `f` must not call out.
    pub fn with_irm<R>(&self, f: impl FnOnce(&mut Irm<Screened>) -> R) -> R {
        self.names.with_irm(f)
    }

    /// Refuses requests without an acceptor.
    pub fn refuse_all(&self, requests: Vec<Screened>, code: Code) {
        self.names.refuse_all(requests, code);
    }

    // ----- flows -----

    /// Returns all endpoints, ordered by number.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.flows.endpoints()
    }

    /// Ends the accepted flow whose peer has been silent for longest without ever being heard, of those that hold something
    /// that is needed. `holds` is asked under a lock.
    pub fn shed_silent(&self, holds: &dyn Fn(FlowKey) -> bool) {
        self.flows.shed_silent(holds);
    }

    // ----- layers -----

    /// Adds an IPCP. It is asked for names before those of a lower priority, then before those of a later kind. `None` if the
    /// node was shut down: then the IPCP is, too.
    pub fn add_ipcp(&self, ipcp: Arc<dyn Ipcp>, priority: i32) -> Option<IpcpId> {
        let id = self.layers.add(Arc::clone(&ipcp), priority);
        if id.is_none() {
            self.panics().call(|| ipcp.shutdown(self.shared.now()));
        }
        id
    }

    /// Ends an IPCP: its layer is left, and the flows through it go down.
    pub fn remove_ipcp(&self, id: IpcpId) {
        let Some(layer) = self.layers.remove(id) else { return };
        if let Some(membership) = layer.membership {
            membership.end();
        }
        self.layers.note(&*layer.ipcp, "left");
        let now = self.shared.now();
        let until = self.panics().call(|| layer.ipcp.retire(now)).flatten();
        match until.filter(|_| !self.is_down()) {
            Some(at) => self.shut_down_at(at, layer.ipcp),
            None => self.end_ipcp(now, &layer.ipcp),
        }
    }

    /// Ends an IPCP that is being left, unless the shutdown of the node has.
    fn end_ipcp(&self, now: Instant, ipcp: &Arc<dyn Ipcp>) {
        if self.layers.retired(ipcp) {
            self.panics().call(|| ipcp.shutdown(now));
        }
    }

    /// Ends an IPCP at `at`, or with the node if that is earlier.
    fn shut_down_at(&self, at: Instant, ipcp: Arc<dyn Ipcp>) {
        let node = Weak::clone(&self.me);
        let mut sleep = Sleep::new(&self.timers);
        let ipcp = Arc::downgrade(&ipcp);
        self.spawn(async move {
            poll_fn(|cx| match node.upgrade() {
                Some(node) if node.clock().now() < at && !node.is_down() => {
                    sleep.set(at, cx.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            })
            .await;
            if let (Some(node), Some(ipcp)) = (node.upgrade(), ipcp.upgrade()) {
                node.end_ipcp(node.clock().now(), &ipcp);
            }
        });
    }

    /// Returns the membership that manages the N-1 flows of an IPCP, if it has any.
    pub fn membership(&self, id: IpcpId) -> Option<Arc<Membership>> {
        self.layers.membership(id)
    }

    /// Changes the priority with which an IPCP is asked for names; 0 is the default.
    pub fn set_priority(&self, id: IpcpId, priority: i32) {
        self.layers.set_priority(id, priority);
    }

    /// Returns an IPCP, while it is a member of its layer.
    pub fn ipcp(&self, id: IpcpId) -> Option<Arc<dyn Ipcp>> {
        self.layers.ipcp(id)
    }

    /// The IPCPs, in the order in which they are asked for a name.
    pub fn ipcps(&self) -> Vec<(IpcpId, Arc<dyn Ipcp>)> {
        self.layers.ipcps()
    }

    /// Makes a name known in the layer of an IPCP.
    ///
    /// # Errors
    /// [`RegisterError`] if the layer cannot take it.
    pub fn register(&self, id: IpcpId, name: &Name) -> Result<(), RegisterError> {
        self.layers.register(id, name)
    }

    /// Withdraws a name from the layer of an IPCP.
    pub fn unregister(&self, id: IpcpId, name: &Name) {
        self.layers.unregister(id, name);
    }

    /// The names registered with an IPCP.
    pub fn registered(&self, id: IpcpId) -> Vec<Name> {
        self.layers.registered(id)
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

    /// An endpoint for a flow that is being allocated; `None` if there are too many that somebody wants.
    fn new_endpoint(&self) -> Option<Arc<Endpoint>> {
        let made = self.flows.new_endpoint();
        if made.is_none() && self.late.make_room() { self.flows.new_endpoint() } else { made }
    }

    /// The same for a flow that is accepted in the layer of `responder`.
    fn new_endpoint_in(&self, responder: &dyn Responder) -> Option<Arc<Endpoint>> {
        if !responder.has_room() {
            self.late.make_room();
        }
        self.new_endpoint()
    }

    /// Runs `task` from the next [`poll`](Self::poll) on.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Has tasks polled by another thread than the one that polls the node. They agree on keys and the like, which
    /// timers should not have to wait for.
    pub fn run_tasks_elsewhere(&self, runner: Runner) {
        self.tasks.run_elsewhere(runner);
    }

    /// Polls the tasks that were woken, some of them. `true` if others are left.
    pub fn run_tasks(&self) -> bool {
        self.tasks.run()
    }

    // ----- the whole -----

    /// Ends everything: listeners, allocations, flows, layers. What is on its way is lost.
    pub fn shutdown(&self) {
        if !self.shared.go_down() {
            return;
        }
        let now = self.shared.now();
        self.tasks.end();
        self.names.end();
        let mut ipcps = self.ipcps();
        ipcps.sort_by_key(|(id, _)| Reverse(*id));
        for (_, ipcp) in &ipcps {
            self.panics().call(|| ipcp.hasten(now));
        }
        // Those of programs first, then those that carry them, the upper layers before the lower: the other ends are told.
        let (carriers, flows): (Vec<_>, Vec<_>) = self.endpoints().into_iter().partition(|e| e.is_attached());
        flows.iter().for_each(|endpoint| endpoint.leave());
        // What others rely on is taken back while there are flows to say it on.
        for (_, ipcp) in ipcps {
            self.panics().call(|| ipcp.retire(now));
        }
        for endpoint in carriers.iter().rev() {
            endpoint.finish_sending(now + SENDING);
            endpoint.leave();
        }
        let (layers, retiring) = self.layers.take();
        for layer in layers {
            self.panics().call(|| layer.ipcp.shutdown(now));
        }
        for ipcp in retiring {
            self.panics().call(|| ipcp.shutdown(now));
        }
        self.names.forget_replies();
        self.timers.shutdown();
        record!(self.panics(), Stack, Info, [], "stack shut down");
    }

    /// Returns the node's counters; those of names, IPCPs and flows are exported apart.
    pub fn rib(&self) -> Tree {
        let (remembered, resendable, forgotten) = self.names.facts();
        let (silent, shed) = self.flows.silent();
        let (flows, held) = self.flows.facts();
        Tree::new("node")
            .counters(self.shared.counters.rows())
            .counters(forgotten)
            .counters(shed.rows())
            .gauge("silent", silent as u64)
            .gauge("replies_owed", self.flows.owed() as u64)
            .gauge("held_bytes", held as u64)
            .counters(self.panics().rows())
            .gauge("flows", flows as u64)
            .gauge("late", self.late.len() as u64)
            .gauge("tasks", self.tasks.len() as u64)
            .gauge("timers", self.timers.len() as u64)
            .gauge("replay_remembered", remembered as u64)
            .gauge("resendable", resendable as u64)
            .gauge("idle_buffers", self.pool().idle() as u64)
    }
}

impl Due for Node {
    fn endpoint(&self, flow: FlowKey) -> Option<Arc<Endpoint>> {
        self.flows.endpoint(flow)
    }

    fn expire_requests(&self, now: Instant) {
        self.names.expire_requests(now);
    }

    fn run_tasks(&self) -> bool {
        self.tasks.run()
    }
}

/// The node as its endpoints see it.
struct HostOf(Weak<Node>);

impl Host for HostOf {
    fn arm(&self, at: Instant, flow: FlowKey) {
        if let Some(node) = self.0.upgrade() {
            node.timers.arm_flow(at, flow);
        }
    }

    fn tick(&self, flow: FlowKey) {
        if let Some(node) = self.0.upgrade() {
            node.timers.tick(flow);
        }
    }

    fn heard(&self, flow: FlowKey) {
        if let Some(node) = self.0.upgrade() {
            node.flows.note_heard(flow);
        }
    }

    fn released(&self, flow: FlowKey) {
        if let Some(node) = self.0.upgrade() {
            node.flows.forget(flow);
        }
    }
}
