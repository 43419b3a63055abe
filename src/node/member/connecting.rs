//! Wanted connections: temporary ones, of callers that wait for them, and permanent ones.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Display;
use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;

use super::{CONNECT_TIMEOUT, MemberError, Membership, handshake};
use crate::base::foreign::Causes;
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::ipcp::Component;
use crate::ipcp::connect::manager::{AttemptId, State, Towards, Want};
use crate::node::Node;
use crate::node::alloc::{AllocError, Via};
use crate::node::timers::Sleep;
use crate::types::id::{Address, N1FlowId};
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// Connections wanted on behalf of a waiting caller. If the caller gives up, so are they.
struct Wanted<'a> {
    membership: &'a Membership,
    way: &'a Towards,
    /// Components that were not wanted before.
    components: Vec<Component>,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        if !self.components.is_empty() {
            self.membership.give_up(self.way, &self.components);
        }
    }
}

impl Membership {
    /// Connects components to a member, and keeps them connected from now on. Done when all are.
    ///
    /// # Errors
    /// [`MemberError`], when that does not come about in `timeout`; no more attempts are made then.
    pub async fn connect(
        self: Arc<Self>,
        way: Towards,
        components: Vec<Component>,
        qos: QosSpec,
        timeout: Option<Duration>,
    ) -> Result<(), MemberError> {
        self.via_for(&way)?;
        let node = self.node().ok_or(MemberError::StackDown)?;
        let until = node.clock().now() + timeout.unwrap_or(CONNECT_TIMEOUT);
        let now = node.clock().now();
        let mut wanted = Wanted { membership: &self, way: &way, components: Vec::new() };
        for component in &components {
            let want = Want { way: way.clone(), component: *component, qos };
            let mut inner = self.inner.lock();
            let fresh = inner.manager.state(&way, *component).is_none();
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
            let ready = self.poll_connected(cx, node.clock().now(), until, &way, &components);
            if ready.is_pending() {
                sleep.set(until, cx.waker());
            }
            ready
        })
        .await;
        wanted.components.clear();
        if result.is_err() {
            self.give_up(&way, &components);
        }
        // It is given up as well when its layer is left.
        match result {
            Err(MemberError::GivenUp) => Err(self.via_for(&way).err().unwrap_or(MemberError::GivenUp)),
            result => result,
        }
    }

    /// Polls whether the connections stand, or have failed.
    fn poll_connected(
        &self,
        cx: &Context<'_>,
        now: Instant,
        until: Instant,
        way: &Towards,
        components: &[Component],
    ) -> Poll<Result<(), MemberError>> {
        // Made and dropped where no lock is held: a waker is code of others.
        let mut waker = Some(cx.waker().clone());
        let ready = {
            let mut inner = self.inner.lock();
            let states: Vec<_> = components.iter().map(|c| inner.manager.state(way, *c)).collect();
            if states.iter().all(|s| matches!(s, Some(State::Up(..)))) {
                Poll::Ready(Ok(()))
            } else if inner.left || states.iter().any(Option::is_none) {
                Poll::Ready(Err(MemberError::GivenUp))
            } else if now >= until {
                let mut why = components.iter().filter_map(|c| inner.failures.get(&(way.clone(), *c)).cloned());
                Poll::Ready(Err(why.next().unwrap_or_else(|| MemberError::TimedOut(way.destination.clone()))))
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

    /// Wants connections without waiting for them.
    ///
    /// # Errors
    /// [`MemberError::Manager`], [`MemberError::NoLayer`].
    pub fn want(&self, way: &Towards, component: Component, qos: QosSpec) -> Result<(), MemberError> {
        self.via_for(way)?;
        let now = self.node().ok_or(MemberError::StackDown)?.clock().now();
        let wanted = self.inner.lock().manager.want(now, Want { way: way.clone(), component, qos });
        wanted?;
        self.drive(now);
        Ok(())
    }

    /// Ends connections to a member that were made here, over whatever layers. `false` if there were none.
    pub fn disconnect(&self, destination: &Name, components: &[Component]) -> bool {
        let ways = self.inner.lock().manager.ways_to(destination);
        // Each of them, not the first only.
        ways.iter().filter(|way| self.give_up(way, components)).count() > 0
    }

    /// Ends connections on one way. `false` if there were none.
    fn give_up(&self, way: &Towards, components: &[Component]) -> bool {
        let Some(now) = self.node().map(|n| n.clock().now()) else { return false };
        let mut any = false;
        {
            let mut inner = self.inner.lock();
            // Data transfer first: management still carries the news.
            for component in components.iter().rev() {
                any |= inner.manager.unwant(now, way, *component);
                inner.failures.remove(&(way.clone(), *component));
            }
        }
        self.drive(now);
        any
    }

    pub(super) fn start(&self, attempt: AttemptId, want: Want) {
        let (Some(node), Some(me)) = (self.node(), self.me.upgrade()) else { return };
        let weak = Arc::downgrade(&node);
        node.spawn(async move {
            let key = (want.way.clone(), want.component);
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
                    me.note_connected(&node, want.component, flow, peer, &want.way.destination);
                }
                Err(e) => {
                    let (ipcp, to, what) = (&me.member.info().name, &want.way.destination, want.component);
                    // An IPCP that has left its layer does not come back: who does is another.
                    let then = if e == MemberError::NoLayer { "giving up" } else { "trying again" };
                    record!(
                        node.panics(),
                        Neighbour,
                        Warn,
                        [ipcp = ipcp, destination = to, component = what, reason = Causes(&e)],
                        "{ipcp:?} not connected to {to:?} for {what}, {then}: {}",
                        Causes(&e)
                    );
                    let mut inner = me.inner.lock();
                    match e {
                        MemberError::NoLayer => drop(inner.manager.unwant(now, &key.0, key.1)),
                        MemberError::Silent => inner.manager.attempt_unanswered(now, attempt),
                        _ => inner.manager.attempt_failed(now, attempt),
                    }
                    match inner.manager.state(&key.0, key.1) {
                        Some(_) => drop(inner.failures.insert(key, e)),
                        None => drop(inner.failures.remove(&key)),
                    }
                }
            }
            me.drive(now);
        });
    }

    /// Returns the layers for connections on a way.
    ///
    /// # Errors
    /// [`MemberError::NoLayer`].
    pub(super) fn via_for(&self, way: &Towards) -> Result<Via, MemberError> {
        let Some(over) = way.over else { return Ok(self.via.clone()) };
        let node = self.node().ok_or(MemberError::StackDown)?;
        let usable = self.via.allows(over) && node.ipcp(over).is_some();
        if usable { Ok(Via::Only(vec![over])) } else { Err(MemberError::NoLayer) }
    }

    /// Says of a failed allocation which layer was asked, if it was the caller who chose it.
    pub(super) fn with_layer(&self, way: &Towards, e: MemberError) -> MemberError {
        match (e, way.over) {
            (MemberError::Alloc(AllocError::Unreachable(name)), Some(over)) => {
                // Left meanwhile, if there is none.
                let below = self.node().and_then(|node| node.ipcp(over));
                let ipcp = below.map(|below| below.info().name.clone());
                ipcp.map_or(MemberError::NoLayer, |ipcp| MemberError::UnknownThere { name, ipcp })
            }
            (e, _) => e,
        }
    }

    /// Logs a new N-1 flow, to `by` or made by the neighbour.
    pub(super) fn note_connected(&self, node: &Node, what: Component, flow: N1FlowId, peer: Address, by: impl Display) {
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
    pub(super) fn settle(&self, now: Instant, flow: N1FlowId, wanted: bool) {
        if !wanted {
            self.member.disconnect(now, flow);
        } else if !self.member.is_connected(flow) {
            self.inner.lock().manager.went_down(now, flow);
        }
    }
}
