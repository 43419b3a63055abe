//! IPCPs that use flows themselves: their N-1 flows, and how they become members of their layers.
//!
//! A [`Membership`] looks after one. It accepts flows to the IPCP's names, says with
//! [CEP](crate::ipcp::connect::cep) what each is for, attends to joiners, hands connections over to the IPCP, makes those
//! that are wanted and makes them anew when they are lost.

mod enrol;
mod handshake;

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::fmt::Display;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

pub use self::enrol::{Bootstrap, Common, Joining, MemberKind};
use self::handshake::Handshakes;
use super::accept::Accept;
use super::alloc::{AllocError, Via};
use super::timers::{Alarm, Sleep};
use super::{IpcpId, Node};
use crate::base::foreign::Causes;
use crate::base::journal::record;
use crate::base::sync::{Mutex, Once};
use crate::base::time::Instant;
use crate::ipcp::connect::cep::CepError;
use crate::ipcp::connect::enrol::{Admission, EnrolError};
use crate::ipcp::connect::manager::{self, Action, AttemptId, Manager, ManagerError, State, Want};
use crate::ipcp::{Alarm as _, Component, ConnectionRefused, Connections, Member, RegisterError};
use crate::irm::{BindError, ListenerId};
use crate::types::id::{Address, N1FlowId};
use crate::types::name::Name;
use crate::types::qos::QosSpec;
use crate::wire::WireError;

/// How long a connection may take to be made, if the caller does not say.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);

/// Why an IPCP could not become a member, or connect to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// No flow to the member.
    #[error("no flow to the member")]
    Alloc(#[from] AllocError),
    /// It does not answer.
    #[error("the member accepted a flow but does not answer on it; is it a member of this layer?")]
    Silent,
    /// It does not want the connection, or we do not.
    #[error("the connection was refused")]
    Cep(#[from] CepError),
    /// It did not let us in.
    #[error("enrolment failed")]
    Enrol(#[from] EnrolError),
    /// Our own IPCP did not take the connection.
    #[error("the connection was not taken over")]
    Connection(#[from] ConnectionRefused),
    /// There are too many connections.
    #[error("too many connections")]
    Manager(#[from] ManagerError),
    /// A name could not be bound.
    #[error("a name of the ipcp could not be bound")]
    Bind(#[from] BindError),
    /// A name could not be registered in the layer below.
    #[error("a name of the ipcp could not be registered in the layer below")]
    Register(#[from] RegisterError),
    /// The layer's parameters cannot be used.
    #[error("the layer's parameters cannot be used")]
    Layer(#[from] WireError),
    /// Nothing of it came about in time.
    #[error("no connection to {0:?} in time")]
    TimedOut(Name),
    /// No address is free.
    #[error("no address of the layer is free")]
    NoAddress,
    /// The connection was given up meanwhile.
    #[error("the connection was given up")]
    GivenUp,
    /// The stack was shut down.
    #[error("the stack was shut down")]
    StackDown,
}

/// One IPCP with N-1 flows.
pub struct Membership {
    me: Weak<Self>,
    node: Weak<Node>,
    id: IpcpId,
    member: Arc<dyn Member>,
    via: Via,
    admission: Arc<dyn Admission>,
    alarm: Alarm,
    inner: Mutex<Inner>,
    handshakes: Mutex<Handshakes>,
    /// What the IPCP knows us by, and holds weakly.
    _late: Arc<LateConnections>,
}

struct Inner {
    manager: Manager,
    /// Why the last attempt to connect failed.
    failures: BTreeMap<(Name, Component), MemberError>,
    /// Who waits for connections.
    waiting: Vec<Waker>,
    listeners: Vec<ListenerId>,
    /// Which names were registered in which layers below.
    registered: Vec<(IpcpId, Name)>,
    /// The layer was left: no more attempts.
    left: bool,
}

/// A connection that stands, or should.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// What it is for.
    pub component: Component,
    /// The number of the N-1 flow.
    pub flow: N1FlowId,
    /// The neighbour's address.
    pub peer: Address,
    /// The name that was connected to; `None` if the neighbour made the connection.
    pub destination: Option<Name>,
}

impl Membership {
    pub(super) fn new(
        node: &Arc<Node>,
        id: IpcpId,
        member: Arc<dyn Member>,
        via: Via,
        admission: Arc<dyn Admission>,
        late: Arc<LateConnections>,
    ) -> Arc<Self> {
        let manager = Manager::new(manager::Config::default(), node.split_rng("connections"));
        Arc::new_cyclic(|me: &Weak<Self>| Self {
            _late: {
                let _ = late.membership.set(Weak::clone(me));
                late
            },
            me: Weak::clone(me),
            node: Arc::downgrade(node),
            id,
            member,
            via,
            admission,
            alarm: Alarm::new(&node.timers, Waker::from(Arc::new(Ring(Weak::clone(me))))),
            inner: Mutex::new(Inner {
                manager,
                failures: BTreeMap::new(),
                waiting: Vec::new(),
                listeners: Vec::new(),
                registered: Vec::new(),
                left: false,
            }),
            handshakes: Mutex::default(),
        })
    }

    /// The IPCP.
    pub fn member(&self) -> &Arc<dyn Member> {
        &self.member
    }

    /// The number by which the node knows it.
    pub fn id(&self) -> IpcpId {
        self.id
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.node.upgrade().filter(|n| !n.is_down())
    }

    // ----- names -----

    /// Accepts N-1 flows to `names`, which are registered in the layers of the IPCPs `over` until the end.
    ///
    /// # Errors
    /// [`MemberError::Bind`], [`MemberError::Register`]; some of it has been done then.
    pub(super) fn make_known(&self, names: &[Name], over: &[IpcpId]) -> Result<(), MemberError> {
        for name in names {
            self.bind(name)?;
            for lower in over {
                let node = self.node().ok_or(MemberError::StackDown)?;
                node.register(*lower, name)?;
                self.inner.lock().registered.push((*lower, name.clone()));
            }
        }
        Ok(())
    }

    /// Accepts N-1 flows to `name`.
    ///
    /// # Errors
    /// [`MemberError::Bind`].
    pub fn bind(&self, name: &Name) -> Result<(), MemberError> {
        let (Some(node), Some(me)) = (self.node(), self.me.upgrade()) else { return Err(MemberError::StackDown) };
        let listener = node.with_irm(|irm| irm.bind(name))?;
        self.inner.lock().listeners.push(listener);
        let mut accept = Accept::new(&node, listener, name.clone()).patient();
        let screening = Weak::clone(&self.me);
        accept.screen(move |peer| screening.upgrade().is_some_and(|me| me.handshakes.lock().has_room(peer)));
        let weak = Arc::downgrade(&node);
        drop(node);
        let task = async move {
            while let Ok(flow) = poll_fn(|cx| accept.poll(cx, &mut |_| Vec::new())).await {
                let Some(node) = weak.upgrade() else { return };
                me.attend(&node, flow.endpoint, accept.peer());
            }
        };
        self.node().ok_or(MemberError::StackDown)?.spawn(task);
        Ok(())
    }

    fn attend(self: &Arc<Self>, node: &Arc<Node>, endpoint: Arc<crate::flow::Endpoint>, peer: u64) {
        self.handshakes.lock().begin(peer);
        let (me, task_node) = (Arc::clone(self), Arc::downgrade(node));
        node.spawn(async move {
            handshake::accept(&me, &task_node, endpoint).await;
            me.handshakes.lock().end(peer);
        });
    }

    // ----- connections -----

    /// Connects components to a member, by its name or that of the layer, and keeps them connected from now on. Done when
    /// all are.
    ///
    /// # Errors
    /// [`MemberError`], when that does not come about in `timeout`; no more attempts are made then.
    pub async fn connect(
        self: Arc<Self>,
        destination: Name,
        components: Vec<Component>,
        qos: QosSpec,
        timeout: Option<Duration>,
    ) -> Result<(), MemberError> {
        let node = self.node().ok_or(MemberError::StackDown)?;
        let until = node.clock().now() + timeout.unwrap_or(CONNECT_TIMEOUT);
        let now = node.clock().now();
        let mut wanted = Wanted { membership: &self, destination: &destination, components: Vec::new() };
        for component in &components {
            let want = Want { destination: destination.clone(), component: *component, qos };
            let mut inner = self.inner.lock();
            let fresh = inner.manager.state(&destination, *component).is_none();
            inner.manager.want(now, want)?;
            wanted.components.extend(fresh.then_some(*component));
        }
        self.drive(now);
        let mut sleep = Sleep::new(&node.timers);
        let weak = Arc::downgrade(&node);
        drop(node);
        let result = poll_fn(|cx| {
            let Some(node) = weak.upgrade().filter(|n| !n.is_down()) else {
                return Poll::Ready(Err(MemberError::StackDown));
            };
            let ready = self.poll_connected(cx, node.clock().now(), until, &destination, &components);
            if ready.is_pending() {
                sleep.set(until, cx.waker());
            }
            ready
        })
        .await;
        wanted.components.clear();
        if result.is_err() {
            self.disconnect(&destination, &components);
        }
        result
    }

    /// Whether the connections stand, or will not.
    fn poll_connected(
        &self,
        cx: &Context<'_>,
        now: Instant,
        until: Instant,
        destination: &Name,
        components: &[Component],
    ) -> Poll<Result<(), MemberError>> {
        // Made and dropped where no lock is held: a waker is code of others.
        let mut waker = Some(cx.waker().clone());
        let ready = {
            let mut inner = self.inner.lock();
            let states: Vec<_> = components.iter().map(|c| inner.manager.state(destination, *c)).collect();
            if states.iter().all(|s| matches!(s, Some(State::Up(..)))) {
                Poll::Ready(Ok(()))
            } else if inner.left || states.iter().any(Option::is_none) {
                Poll::Ready(Err(MemberError::GivenUp))
            } else if now >= until {
                let mut why = components.iter().filter_map(|c| inner.failures.get(&(destination.clone(), *c)).cloned());
                Poll::Ready(Err(why.next().unwrap_or_else(|| MemberError::TimedOut(destination.clone()))))
            } else {
                if !inner.waiting.iter().any(|w| w.will_wake(cx.waker())) {
                    inner.waiting.extend(waker.take());
                }
                Poll::Pending
            }
        };
        self.wake_or_drop(waker, |_| {});
        ready
    }

    /// Has `f` called with each of the wakers, which are dropped, whatever they do.
    fn wake_or_drop(&self, wakers: impl IntoIterator<Item = Waker>, f: impl Fn(&Waker)) {
        let node = self.node.upgrade();
        for waker in wakers {
            match &node {
                Some(node) => {
                    node.panics().call(|| f(&waker));
                    node.panics().discard(waker);
                }
                None => f(&waker),
            }
        }
    }

    /// Wants connections without waiting for them.
    ///
    /// # Errors
    /// [`MemberError::Manager`].
    pub fn want(&self, destination: &Name, component: Component, qos: QosSpec) -> Result<(), MemberError> {
        let now = self.node().ok_or(MemberError::StackDown)?.clock().now();
        let wanted = self.inner.lock().manager.want(now, Want { destination: destination.clone(), component, qos });
        wanted?;
        self.drive(now);
        Ok(())
    }

    /// Ends connections to a member that were made here. `false` if there were none.
    pub fn disconnect(&self, destination: &Name, components: &[Component]) -> bool {
        let Some(now) = self.node().map(|n| n.clock().now()) else { return false };
        let mut any = false;
        {
            let mut inner = self.inner.lock();
            // Data transfer first: management still carries the news.
            for component in components.iter().rev() {
                any |= inner.manager.unwant(now, destination, *component);
                inner.failures.remove(&(destination.clone(), *component));
            }
        }
        self.drive(now);
        any
    }

    /// The connections that stand.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let inner = self.inner.lock();
        let of = |(flow, c): (N1FlowId, &manager::Connection)| ConnectionInfo {
            component: c.component,
            flow,
            peer: c.peer,
            destination: c.destination.clone(),
        };
        inner.manager.connections().map(of).collect()
    }

    /// Does what the manager says.
    fn drive(&self, now: Instant) {
        loop {
            let action = {
                let mut inner = self.inner.lock();
                if inner.left {
                    return;
                }
                let action = inner.manager.poll(now);
                if action.is_none()
                    && let Some(at) = inner.manager.next_timeout()
                {
                    drop(inner);
                    self.alarm.set(at);
                }
                action
            };
            match action {
                None => break,
                Some(Action::Start { attempt, want }) => self.start(attempt, want),
                // It finds out by itself.
                Some(Action::Abandon(_)) => {}
                Some(Action::Close(flow)) => self.member.disconnect(now, flow),
            }
        }
        let waiting = core::mem::take(&mut self.inner.lock().waiting);
        self.wake_or_drop(waiting, Waker::wake_by_ref);
    }

    fn start(&self, attempt: AttemptId, want: Want) {
        let (Some(node), Some(me)) = (self.node(), self.me.upgrade()) else { return };
        let weak = Arc::downgrade(&node);
        node.spawn(async move {
            let key = (want.destination.clone(), want.component);
            let made = handshake::connect(&me, &weak, &want).await;
            let Some(node) = weak.upgrade() else { return };
            let now = node.clock().now();
            match made {
                Ok((flow, peer)) => {
                    let kept = {
                        let mut inner = me.inner.lock();
                        inner.failures.remove(&key);
                        inner.manager.came_up(now, attempt, flow, peer)
                    };
                    me.settle(now, flow, kept.is_ok());
                    me.note_connected(&node, want.component, flow, peer, &want.destination);
                }
                Err(e) => {
                    let (ipcp, to, what) = (&me.member.info().name, &want.destination, want.component);
                    record!(
                        node.panics(),
                        Neighbour,
                        Warn,
                        [ipcp = ipcp, destination = to, component = what, reason = Causes(&e)],
                        "{ipcp:?} not connected to {to:?} for {what}, trying again: {}",
                        Causes(&e)
                    );
                    let mut inner = me.inner.lock();
                    match e {
                        MemberError::Silent => inner.manager.attempt_unanswered(now, attempt),
                        _ => inner.manager.attempt_failed(now, attempt),
                    }
                    if inner.manager.state(&key.0, key.1).is_some() {
                        inner.failures.insert(key, e);
                    }
                }
            }
            me.drive(now);
        });
    }

    /// Says that there is an N-1 flow, to `by` or made by the neighbour.
    fn note_connected(&self, node: &Node, what: Component, flow: N1FlowId, peer: Address, by: impl Display) {
        let ipcp = &self.member.info().name;
        record!(
            node.panics(),
            Neighbour,
            Info,
            [ipcp = ipcp, n1_flow = flow, component = what, address = peer, by = by],
            "{ipcp:?} connected to member {peer} for {what} by N-1 flow {flow}"
        );
    }

    /// A connection stands and the manager knows; unless it is not wanted, or lost already.
    fn settle(&self, now: Instant, flow: N1FlowId, wanted: bool) {
        if !wanted {
            self.member.disconnect(now, flow);
        } else if !self.member.is_connected(flow) {
            self.inner.lock().manager.went_down(now, flow);
        }
    }

    /// Ends the membership.
    pub(super) fn end(&self) {
        let (listeners, registered, waiting) = {
            let mut inner = self.inner.lock();
            inner.left = true;
            let registered = core::mem::take(&mut inner.registered);
            (core::mem::take(&mut inner.listeners), registered, core::mem::take(&mut inner.waiting))
        };
        if let Some(node) = self.node.upgrade() {
            for listener in listeners {
                node.close_listener(listener);
            }
            for (lower, name) in registered {
                // The layer's name may be that of another member here.
                if !node.with_irm(|irm| irm.is_bound(&name)) {
                    node.unregister(lower, &name);
                }
            }
        }
        self.wake_or_drop(waiting, Waker::wake_by_ref);
    }
}

impl Connections for Membership {
    fn lost(&self, now: Instant, flow: N1FlowId) {
        self.inner.lock().manager.went_down(now, flow);
        self.drive(now);
    }
}

/// Connections that are wanted because somebody waits for them. If he gives up, so are they.
struct Wanted<'a> {
    membership: &'a Membership,
    destination: &'a Name,
    /// Those that were not wanted before.
    components: Vec<Component>,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        if !self.components.is_empty() {
            self.membership.disconnect(self.destination, &self.components);
        }
    }
}

struct Ring(Weak<Membership>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        if let Some(membership) = self.0.upgrade()
            && let Some(node) = membership.node()
        {
            membership.alarm.rang();
            membership.drive(node.clock().now());
        }
    }
}

/// Connections of an IPCP that is being made, and so is not known to anybody yet.
#[derive(Default)]
pub(super) struct LateConnections {
    membership: Once<Weak<Membership>>,
}

impl Connections for LateConnections {
    fn lost(&self, now: Instant, flow: N1FlowId) {
        if let Some(membership) = self.membership.get().and_then(Weak::upgrade) {
            membership.lost(now, flow);
        }
    }
}
