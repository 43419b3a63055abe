//! Wanted connections: temporary ones, of callers that wait for them, and permanent ones.

use alloc::sync::Arc;
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
use crate::ipcp::connect::manager::{AttemptId, State, Want};
use crate::node::Node;
use crate::node::timers::Sleep;
use crate::types::id::{Address, N1FlowId};
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// Connections wanted on behalf of a waiting caller. If the caller gives up, so are they.
struct Wanted<'a> {
    membership: &'a Membership,
    destination: &'a Name,
    /// Components that were not wanted before.
    components: Vec<Component>,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        if !self.components.is_empty() {
            self.membership.disconnect(self.destination, &self.components);
        }
    }
}

impl Membership {
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

    /// Polls whether the connections stand, or have failed.
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

    pub(super) fn start(&self, attempt: AttemptId, want: Want) {
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
