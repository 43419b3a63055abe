//! IPCPs that use flows themselves: their N-1 flows, and how they become members of their layers.
//!
//! A [`Membership`] looks after one. It accepts flows to the IPCP's names, says with
//! [CEP](crate::ipcp::connect::cep) what each is for, attends to joiners, hands connections over to the IPCP, makes those
//! that are wanted and makes them anew when they are lost.

mod connecting;
mod enroll;
mod error;
mod handshake;
mod locating;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::Waker;
use core::time::Duration;

pub use self::enroll::{Bootstrap, Common, Joining, MemberKind};
pub use self::error::MemberError;
pub(super) use self::handshake::Beginner;
use self::handshake::Handshakes;
use super::accept::Accept;
use super::alloc::Via;
use super::timers::Alarm;
use super::{IpcpId, Node};
use crate::base::sync::{Mutex, Once};
use crate::base::time::Instant;
use crate::ipcp::connect::enroll::Admission;
use crate::ipcp::connect::manager::{self, Action, Manager, Towards};
use crate::ipcp::{Alarm as _, Component, Connections, Member};
use crate::irm::ListenerId;
use crate::types::id::{Address, N1FlowId};
use crate::types::name::Name;

/// Default time limit for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Time limit of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);

/// An IPCP together with its N-1 flows.
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
    /// Held weakly by the IPCP.
    _late: Arc<LateConnections>,
}

struct Inner {
    manager: Manager,
    /// Why the last attempt to connect failed.
    failures: BTreeMap<(Towards, Component), MemberError>,
    /// Tasks that wait for connections.
    waiting: Vec<Waker>,
    listeners: Vec<ListenerId>,
    /// Names registered in layers below.
    registered: Vec<(IpcpId, Name)>,
    /// The layer was left: no more attempts.
    left: bool,
}

/// A connection that stands, or should.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Component that it connects.
    pub component: Component,
    /// The number of the N-1 flow.
    pub flow: N1FlowId,
    /// The neighbour's address.
    pub peer: Address,
    /// The name that was connected to; `None` if the neighbour made the connection.
    pub destination: Option<Name>,
    /// The name of the IPCP over whose layer the caller chose to connect; `None` if it chose none, if that was left
    /// meanwhile, or if the neighbour made the connection.
    pub over: Option<String>,
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
                node.register(*lower, name).map_err(|e| refused(&node, e))?;
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
        let listener = node.with_irm(|irm| irm.bind(name)).map_err(|e| refused(&node, e))?;
        self.inner.lock().listeners.push(listener);
        let mut accept = Accept::new(&node, listener, name.clone()).patient();
        let screening = Weak::clone(&self.me);
        accept.screen(move |beginner| screening.upgrade().is_some_and(|me| me.handshakes.lock().has_room(beginner)));
        let weak = Arc::downgrade(&node);
        drop(node);
        let task = async move {
            while let Ok(flow) = poll_fn(|cx| accept.poll(cx, &mut |_| Vec::new())).await {
                let Some(node) = weak.upgrade() else { return };
                me.attend(&node, flow.endpoint, accept.beginner());
            }
        };
        self.node().ok_or(MemberError::StackDown)?.spawn(task);
        Ok(())
    }

    fn attend(self: &Arc<Self>, node: &Arc<Node>, endpoint: Arc<crate::flow::Endpoint>, beginner: Beginner) {
        self.handshakes.lock().begin(beginner);
        let (me, task_node) = (Arc::clone(self), Arc::downgrade(node));
        node.spawn(async move {
            handshake::accept(&me, &task_node, endpoint).await;
            me.handshakes.lock().end(beginner);
        });
    }

    // ----- connections -----

    /// The connections that stand.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let own = |(flow, c): (N1FlowId, &manager::Connection)| (flow, c.component, c.peer, c.way.clone());
        let all: Vec<_> = self.inner.lock().manager.connections().map(own).collect();
        let node = self.node();
        let name = |over: IpcpId| node.as_ref()?.ipcp(over).map(|below| below.info().name.clone());
        let told = |(flow, component, peer, way): (_, _, _, Option<Towards>)| {
            let over = way.as_ref().and_then(|way| way.over).and_then(name);
            ConnectionInfo { component, flow, peer, destination: way.map(|way| way.destination), over }
        };
        all.into_iter().map(told).collect()
    }

    /// Carries out the actions of the manager.
    fn drive(&self, now: Instant) {
        loop {
            let action = {
                let mut inner = self.inner.lock();
                if inner.left {
                    return;
                }
                let action = inner.manager.poll_action(now);
                if action.is_none()
                    && let Some(at) = inner.manager.next_deadline()
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

/// A refusal, or the reason why everything is refused in a stack that is being shut down.
fn refused(node: &Node, e: impl Into<MemberError>) -> MemberError {
    if node.is_down() { MemberError::StackDown } else { e.into() }
}
