//! The interface of applications: stacks, flows, listeners, sets of flows.
//!
//! ```
//! use std::time::Duration;
//! use o7s::{QosSpec, Stack};
//!
//! let stack = Stack::new()?;
//! let echo = stack.bind("echo")?;
//! let server = std::thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!     let flow = echo.accept()?;
//!     let mut buf = [0; 64];
//!     let n = flow.read(&mut buf)?;
//!     flow.write(&buf[..n])?;
//!     flow.close(Duration::from_secs(1))?;
//!     Ok(())
//! });
//!
//! let flow = stack.flow("echo").qos(QosSpec::DATA).timeout(Duration::from_secs(3)).alloc()?;
//! flow.write(b"hello")?;
//! let mut buf = [0; 64];
//! let n = flow.read(&mut buf)?;
//! assert_eq!(&buf[..n], b"hello");
//! server.join().unwrap().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod aio;
mod builder;
mod capture;
mod cause;
mod config;
mod error;
mod eth;
mod flow;
mod flow_set;
mod gate;
mod handlers;
mod ipcp;
mod layer;
mod listener;
mod member;
mod security;
mod threads;
mod timeline;
mod udp;
mod wait;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::journal::record;
use crate::base::sync::Mutex;
use crate::base::time::{Clock, Instant, ManualClock};
use crate::capture::Tap;
use crate::crypto::backend::Backend;
use crate::flow::Drive;
use crate::ipcp::shim::Attended;
use crate::irm::{Factory, LoadBalancing};
use crate::node::Node;
use crate::node::alloc::{Allocated, Allocation, Via, Wanted};
use crate::types::name::Name;
use crate::types::qos::QosSpec;

use self::handlers::{Handler, Handlers, OnRequest};
use self::threads::Background;
pub use builder::Builder;
pub use cause::Cause;
pub use config::{ConfigError, ConfigWarning, NetworkBuilder, NetworkConfig};
pub use error::{AcceptError, AllocError, BindError, CloseError, JoinError, MemberError, StackError};
pub use eth::Eth;
pub use flow::{Flow, ReadHalf, Stream, WriteHalf};
#[cfg(unix)]
pub use flow_set::Pollable;
pub use flow_set::{FlowEvent, FlowSet, Token};
pub use ipcp::{IpcpHandle, LocalConfig};
pub use layer::{BroadcastLayer, UnicastLayer};
pub use listener::{Incoming, Listener};
pub use member::{BroadcastBuilder, ConnectOptions, MemberBuilder, UnicastBuilder};
pub use security::{SecurityFileError, SecurityWarning};
pub use timeline::Timeline;
pub use udp::{Udp, Udp4, Udp6};

/// The system, inside this process: names, layers, flows.
///
/// A handle; clones share the stack. When the last handle, flow and listener are gone the stack is shut down: its
/// threads end, its sockets are closed and what is on its way is lost. The other ends of its flows are
/// [told](Flow#how-a-flow-ends). Two stacks in one process are strangers.
#[derive(Clone)]
pub struct Stack {
    shared: Arc<Shared>,
}

/// State shared by the handles of a stack.
pub(crate) struct Shared {
    node: Arc<Node>,
    /// Present in threaded stacks.
    background: Option<Background>,
    /// Present in polled stacks.
    manual: Option<Arc<ManualClock>>,
    shims: Mutex<Vec<Arc<dyn Attended>>>,
    /// The switch for captures; all devices are behind it.
    tap: Arc<Tap>,
    linger: Duration,
    /// The most that a stream puts into a packet, bytes.
    stream_packet: usize,
    checksum: bool,
    /// The threads that run handlers.
    handlers: Arc<Handlers>,
    /// The settings of security that the program has made, and those that were read from files.
    security: Mutex<security::Held>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Shared {
    fn shut_down(&self) {
        self.node.shutdown();
        self.handlers.close(self.node.panics());
        let shims = std::mem::take(&mut *self.shims.lock());
        self.let_go(shims);
        self.background.iter().for_each(|background| background.stop(self.node.panics()));
    }

    /// Drops shims, each with what the program has brought along for it. The caller holds no lock.
    fn let_go(&self, shims: Vec<Arc<dyn Attended>>) {
        shims.into_iter().for_each(|shim| self.node.panics().discard(shim));
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &**self.node.clock()
    }

    /// Returns `true` if a thread may block here: a polled stack has none to wake it.
    fn may_block(&self) -> bool {
        self.manual.is_none()
    }
}

impl Stack {
    /// A threaded stack with the defaults: no layers yet, names of this stack reach each other.
    ///
    /// # Errors
    /// [`StackError`] if the operating system gives no thread or no randomness.
    pub fn new() -> Result<Self, StackError> {
        Self::builder().build()
    }

    /// Starts building a stack with settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Accepts flows to `name` in this program. The name is reachable in this stack at once, and in layers where it is
    /// [registered](IpcpHandle::register). Several listeners may share a name.
    ///
    /// # Errors
    /// [`BindError`] if the name is not one, or there are too many.
    pub fn bind(&self, name: &str) -> Result<Listener, BindError> {
        let name = Name::new(name)?;
        let id = self.shared.node.with_irm(|irm| irm.bind(&name))?;
        record!(self.shared.node.panics(), Bind, Debug, [name = name], "listening for flows to {name:?}");
        Ok(Listener::new(Arc::clone(&self.shared), id, name))
    }

    /// Has `start` called whenever a flow to `name` is asked for and no listener of it is accepting: the in-process
    /// form of a server that is started on demand. It is given a listener from which it should accept one flow, and
    /// must not block: start a thread or a task.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_factory(&self, name: &str, start: impl Fn(Listener) + Send + Sync + 'static) -> Result<(), BindError> {
        let stack = Arc::downgrade(&self.shared);
        let text = name.to_owned();
        let factory = OnDemand(Box::new(move || {
            let Some(shared) = stack.upgrade() else { return };
            // The request is refused when its time is over if there are too many listeners now.
            if let Ok(listener) = (Self { shared }).bind(&text) {
                start(listener);
            }
        }));
        self.set_factory(name, Arc::new(factory))
    }

    /// Has `handle` run on a thread for every flow to `name` that no listener takes. Threads are started as they are needed,
    /// up to [`Limits::handlers`](crate::settings::Limits::handlers) for all names of the stack; one that has nothing to do
    /// takes the next flow, and ends after two seconds. When all are busy, requests wait in the [backlog](Self::set_backlog),
    /// and of the flows that handlers work on, of whatever name, the one is ended whose requester has never been heard of for
    /// longest, if there is one. Those of listeners, and those that a handler has handed on, are left alone.
    ///
    /// A `handle` that panics ends its flow and nothing else: the other end reads
    /// [`ReadError::Reset`](crate::ReadError::Reset), not an orderly end.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_handler(&self, name: &str, handle: impl Fn(Flow) + Send + Sync + 'static) -> Result<(), BindError> {
        let handler = Handler::new(&self.shared, name, Box::new(handle));
        self.set_factory(name, Arc::new(OnRequest(Arc::new(handler))))
    }

    fn set_factory(&self, name: &str, factory: Arc<dyn Factory>) -> Result<(), BindError> {
        let name = Name::new(name)?;
        let mut exchanged = Some(factory);
        self.shared.node.with_irm(|irm| irm.set_factory(&name, &mut exchanged))?;
        Ok(())
    }

    /// Sets the number of requests for `name` that may wait for an acceptor, at least 1; default
    /// [`Limits::backlog`](crate::settings::Limits::backlog), 1024. A request waits for as long as its requester does.
    /// Beyond it, the newest request of the host with the most is refused with
    /// [`Code::AGAIN`](crate::types::code::Code::AGAIN); a requester of this library asks again by itself.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_backlog(&self, name: &str, requests: usize) -> Result<(), BindError> {
        let name = Name::new(name)?;
        Ok(self.shared.node.with_irm(|irm| irm.set_backlog(&name, requests))?)
    }

    /// Takes back [`bind_factory`](Self::bind_factory) and [`bind_handler`](Self::bind_handler).
    pub fn unbind_factory(&self, name: &str) {
        if let Ok(name) = Name::new(name) {
            let mut exchanged = None;
            let set = self.shared.node.with_irm(|irm| irm.set_factory(&name, &mut exchanged));
            let orphans = set.unwrap_or_default();
            self.shared.node.refuse_all(orphans, crate::types::code::Code::AGAIN);
        }
    }

    /// Sets the distribution of requests for `name` over its listeners.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_balancing(&self, name: &str, balancing: LoadBalancing) -> Result<(), BindError> {
        let name = Name::new(name)?;
        Ok(self.shared.node.with_irm(|irm| irm.set_balancing(&name, balancing))?)
    }

    /// Begins the allocation of a flow to `name`, which need not be known in this stack. It is not reliable unless
    /// [`FlowBuilder::qos`] says so.
    pub fn flow(&self, name: &str) -> FlowBuilder {
        FlowBuilder {
            shared: Arc::clone(&self.shared),
            name: name.to_owned(),
            qos: QosSpec::RAW,
            timeout: None,
            data: Vec::new(),
            checksum: self.shared.checksum,
        }
    }

    /// Does everything that is due at `now` and returns when to be called next (earlier if something arrives). For
    /// polled stacks, whose time this sets; threaded ones do it themselves.
    ///
    /// Time never goes backwards: an earlier `now` than the last counts as the last. In a process that was forked since the
    /// stack was made nothing is done, as [the stack is the parent's](crate::manual::security#forks-and-copies).
    pub fn poll(&self, now: Instant) -> Option<Instant> {
        if let Some(manual) = &self.shared.manual {
            manual.advance_to(now);
        }
        // What a fork receives its parent misses.
        if self.shared.clock().is_forked() {
            return None;
        }
        let now = self.shared.clock().now();
        let shims = self.shared.shims.lock().clone();
        for shim in &shims {
            shim.poll(now);
        }
        let next = self.shared.node.poll(now);
        if self.shared.tap.is_on() {
            self.shared.node.panics().call(|| self.shared.tap.flush());
        }
        next
    }

    /// Has `wake` called when a call from another place made [`poll`](Self::poll) due earlier than it said. For polled
    /// stacks.
    pub fn on_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        if self.shared.manual.is_some() {
            self.shared.node.on_earlier_deadline(Some(Arc::new(wake)));
        }
    }

    /// The stack's time.
    pub fn now(&self) -> Instant {
        self.shared.clock().now()
    }

    /// The implementation that encrypts packets; see [`Builder::crypto`].
    pub fn crypto(&self) -> &'static Backend {
        self.shared.node.backend()
    }

    /// Returns the counters of the stack, room by room: a snapshot.
    pub fn rib(&self) -> crate::rib::Rib {
        crate::rib::snapshot(&self.shared.node)
    }

    /// Ends everything now: flows go down, and their other ends are told, listeners stop accepting, layers are left.
    /// What is on its way is lost; [close](Flow::close) flows first to be sure. Other threads of the stack that are sending are
    /// waited for, half a second at most. The sockets of the stack are closed
    /// when this returns, and their ports free, even while handles and flows are still held.
    pub fn shutdown(&self) {
        self.shared.shut_down();
    }

    /// The control plane, for tests.
    #[cfg(feature = "internals")]
    pub fn node(&self) -> &Arc<Node> {
        &self.shared.node
    }

    /// The control plane, for the simulator.
    #[cfg(all(feature = "sim", not(feature = "internals")))]
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.shared.node
    }
}

/// A handle that does not keep its stack up: for the simulator, which drives it.
#[cfg(feature = "sim")]
pub(crate) struct WeakStack(std::sync::Weak<Shared>);

#[cfg(feature = "sim")]
impl WeakStack {
    pub(crate) fn upgrade(&self) -> Option<Stack> {
        Some(Stack { shared: self.0.upgrade()? })
    }
}

#[cfg(feature = "sim")]
impl Stack {
    pub(crate) fn downgrade(&self) -> WeakStack {
        WeakStack(Arc::downgrade(&self.shared))
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("down", &self.shared.node.is_down()).finish_non_exhaustive()
    }
}

struct OnDemand(Box<dyn Fn() + Send + Sync>);

impl Factory for OnDemand {
    fn start(&self) {
        (self.0)();
    }
}

/// A flow that is about to be allocated.
///
/// By default it is **not reliable**: [`QosSpec::RAW`], packets as the layer delivers them, some of which may be lost, or
/// come out of order. Ask for [`QosSpec::DATA`], by [`qos`](Self::qos), where everything is to arrive, once and in order,
/// as over TCP; [`QosSpec`] has what is between the two.
///
/// ```
/// use o7s::{QosSpec, Stack};
///
/// let stack = Stack::new()?;
/// stack.bind_handler("greeter", |flow| {
///     let _ = flow.write(b"hello");
/// })?;
/// assert!(!stack.flow("greeter").alloc()?.qos().is_reliable());
/// assert!(stack.flow("greeter").qos(QosSpec::DATA).alloc()?.qos().is_reliable());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a flow is allocated by `alloc` or `alloc_async`"]
pub struct FlowBuilder {
    shared: Arc<Shared>,
    name: String,
    qos: QosSpec,
    timeout: Option<Duration>,
    data: Vec<u8>,
    checksum: bool,
}

impl fmt::Debug for FlowBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, qos, timeout, checksum, .. } = self;
        let mut shown = f.debug_struct("FlowBuilder");
        // The data is the application's, and may be a secret.
        shown.field("name", name).field("qos", qos).field("timeout", timeout).field("checksum", checksum);
        shown.finish_non_exhaustive()
    }
}

impl FlowBuilder {
    /// Sets the quality of service. Default: [`QosSpec::RAW`], which is not reliable.
    pub fn qos(mut self, qos: QosSpec) -> Self {
        self.qos = qos;
        self
    }

    /// Sets how long to wait for the other end. Default: [`Limits::alloc_timeout`](crate::settings::Limits::alloc_timeout),
    /// 20 s. It is no time to wait for a name to be registered: one that no layer knows fails as soon as all layers have said
    /// so, with [`AllocError::Unreachable`], so a client that may be there before its server asks again. If a layer is still looking
    /// for it by then, it is [`AllocError::LookupTimedOut`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets data for the acceptor, which travels with the request: one round trip earlier than the first write, but in
    /// the clear, and repeated if the request is. More than the layer's messages take, which may be a few hundred bytes, or than
    /// [`SecurityConfig::max_data`](crate::SecurityConfig::max_data), 1024 bytes unless that is set, is an error of the
    /// allocation, on plain flows too. Default: none.
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }

    /// Sets whether `ber` 0 of the quality of service is honoured with a CRC-32 on every packet. Without it the request says
    /// `ber` 1, as those of the reference do: encrypted flows and real links have better checks. Default:
    /// [`Builder::checksum`], `false`.
    pub fn checksum(mut self, on: bool) -> Self {
        self.checksum = on;
        self
    }

    fn wanted(mut self) -> Result<(Arc<Shared>, Wanted), AllocError> {
        if !self.checksum {
            self.qos.ber = self.qos.ber.max(1);
        }
        let name = Name::new(&self.name)?;
        let wanted = Wanted { name, qos: self.qos, timeout: self.timeout, data: self.data, via: Via::Any };
        Ok((self.shared, wanted))
    }

    /// Allocates the flow, waiting for the other end.
    ///
    /// A side that is busy, because more requests wait there than its backlog holds, says so at once and is asked
    /// again, after pauses that grow to a second, until the [timeout](Self::timeout). One without an acceptor for the
    /// moment lets the request wait, until the timeout too unless it was [told
    /// otherwise](crate::settings::Limits::accept_wait). As [`io::Error`](std::io::Error) its refusal is of the kind
    /// [`ResourceBusy`](std::io::ErrorKind::ResourceBusy).
    ///
    /// # Errors
    /// [`AllocError`], which names the side at fault.
    pub fn alloc(self) -> Result<Flow, AllocError> {
        let (shared, wanted) = self.wanted()?;
        if !shared.may_block() {
            return Err(AllocError::Polled);
        }
        let name = wanted.name.clone();
        let mut allocation = Awaiting(Allocation::new(&shared.node, wanted));
        // The allocation has a deadline of its own.
        let done = wait::block_on(shared.clock(), None, &mut allocation);
        let allocated = done.unwrap_or(Err(crate::node::alloc::AllocError::StackDown))?;
        Ok(Flow::new(shared, name, allocated))
    }

    /// Allocates the flow. Dropping the future withdraws the request. The other end may accept it nevertheless. If it is of our
    /// own kind, it is then told that the flow was aborted, as after the [timeout](Self::timeout): once, and as long as the
    /// stack remembers the request, which is for no more than 16 allocations at a time. Of a polled stack the future may call
    /// [`Stack::on_wake`] when it is dropped, as a flow may.
    ///
    /// # Errors
    /// [`AllocError`], which names the side at fault.
    pub async fn alloc_async(self) -> Result<aio::Flow, AllocError> {
        let (shared, wanted) = self.wanted()?;
        let name = wanted.name.clone();
        let mut allocation = Allocation::new(&shared.node, wanted);
        let allocated = std::future::poll_fn(|cx| allocation.poll(cx)).await?;
        Ok(Flow::new(Arc::clone(&shared), name, allocated).into_async())
    }
}

struct Awaiting(Allocation);

impl wait::Awaited for Awaiting {
    type Output = Result<Allocated, crate::node::alloc::AllocError>;

    fn poll(&mut self, waker: &Waker) -> Option<Self::Output> {
        match self.0.poll(&mut Context::from_waker(waker)) {
            Poll::Ready(out) => Some(out),
            Poll::Pending => None,
        }
    }

    fn try_now(&mut self) -> Option<Self::Output> {
        self.poll(Waker::noop())
    }

    fn hint(&self) -> bool {
        self.0.has_answer()
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.0.device()
    }
}
