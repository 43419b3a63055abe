//! What comes of requests whose allocation has been given up.
//!
//! A request that is under way cannot be taken back, and a server that accepts it later waits for a client that is not there.
//! So its answer is waited for a while longer, and the flow that it opens is reset, which a server of our own kind is told.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;

use super::asking::Try;
use super::{Allocation, Answers, Wanted, complete};
use crate::base::time::Instant;
use crate::node::Node;
use crate::node::timers::Sleep;

/// Time after the deadline of the request, which the server knows, in which an answer still comes: a slow round trip.
const GRACE: Duration = Duration::from_secs(5);

/// The most requests of a node that are waited for, and their share of the flows that it may have: they are ends of flows as well.
const MOST: usize = 64;
const SHARE: usize = 8;

/// Requests of a node whose allocation has been given up.
#[derive(Default)]
pub(in crate::node) struct LateRequests(AtomicUsize);

impl LateRequests {
    /// Makes room for up to `wanted` of them. Returns for how many, which [`give_back`](Self::give_back) takes back.
    fn take(&self, wanted: usize, flows: usize) -> usize {
        let most = (flows / SHARE).min(MOST);
        let mut got = 0;
        // Never fails: what the update returns is what was there before.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            got = wanted.min(most.saturating_sub(used));
            Some(used + got)
        });
        got
    }

    fn give_back(&self, n: usize) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}

/// A task that waits for the answers to requests, and ends what they open.
struct Late {
    node: Arc<Node>,
    wanted: Wanted,
    tries: Vec<Try>,
    answers: Arc<Answers>,
    until: Instant,
    sleep: Sleep,
    /// Number of requests that room was made for.
    taken: usize,
}

impl Allocation {
    /// Gives `tries` up: those whose answer may still come are waited for, the others withdrawn.
    pub(super) fn leave_behind(&self, tries: Vec<Try>) {
        let node = &self.node;
        let (mut late, known): (Vec<_>, Vec<_>) =
            tries.into_iter().partition(|t| t.may_be_answered() && !node.is_down());
        known.into_iter().for_each(|t| drop(t.withdraw()));
        let taken = node.late.take(late.len(), node.limits().flows);
        // The oldest are the likeliest to be answered.
        late.drain(taken..).for_each(|t| drop(t.withdraw()));
        if taken == 0 {
            return;
        }
        node.spawn(Late {
            node: Arc::clone(node),
            wanted: self.wanted.clone(),
            tries: late,
            answers: Arc::clone(&self.answers),
            until: self.deadline.max(node.shared.now()) + GRACE,
            sleep: Sleep::new(&node.timers),
            taken,
        });
    }
}

impl Future for Late {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = &mut *self;
        let now = me.node.shared.now();
        while let Some((token, reply)) = me.answers.next(cx) {
            let Some(at) = me.tries.iter().position(|t| t.token == token) else { continue };
            let answered = me.tries.swap_remove(at);
            let Ok(port) = reply.result else {
                drop(answered.withdraw());
                continue;
            };
            if let Ok(flow) = complete(&me.node, &me.wanted, now, answered, port, &reply.data) {
                flow.endpoint.reset();
            }
        }
        if me.tries.is_empty() || now >= me.until {
            return Poll::Ready(());
        }
        me.sleep.set(me.until, cx.waker());
        Poll::Pending
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.tries.drain(..).for_each(|t| drop(t.withdraw()));
        self.node.late.give_back(self.taken);
    }
}
