//! What comes of requests whose allocation has been given up.
//!
//! A request that is under way cannot be taken back, and a server that accepts it later waits for a client that is not there.
//! So its answer is waited for a while longer, and the flow that it opens is aborted, of which a server of our own kind is told.
//!
//! Nobody has to do without anything for it: the requests are few, a newer allocation takes the place of the oldest, and all of
//! them are withdrawn when a flow that is asked for or accepted finds no room.

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::asking::Try;
use super::{Allocation, Answers, Terms, complete};
use crate::base::sync::{Mutex, Ordered};
use crate::base::time::Instant;
use crate::node::Node;
use crate::node::shared::order;
use crate::node::timers::Sleep;

/// Time after the deadline of the request, which the server knows, in which an answer still comes: a slow round trip.
const GRACE: Duration = Duration::from_secs(2);
/// The longest that a request is waited for if its deadline is further away.
const LONGEST: Duration = Duration::from_secs(30);
/// The most allocations of a node whose requests are waited for.
const ALLOCATIONS: usize = 16;
/// The most requests of one: the last one, which replaces those that wait at the same place, and the one before, whose answer
/// may be under way.
const REQUESTS: usize = 2;

/// The requests of a node that are waited for, the oldest allocation first.
#[derive(Default)]
pub(in crate::node) struct LateRequests(Ordered<Mutex<VecDeque<Arc<Left>>>, { order::LATE }>);

/// Requests that an allocation has left behind.
struct Left {
    tries: Ordered<Mutex<Vec<Try>>, { order::LEFT }>,
    answers: Arc<Answers>,
}

impl Left {
    /// Takes out the request with this token.
    fn take(&self, token: u64) -> Option<Try> {
        let mut tries = self.tries.lock();
        let at = tries.iter().position(|t| t.token == token)?;
        Some(tries.swap_remove(at))
    }

    /// Withdraws all, or those that `are` of interest. Returns how many there were.
    fn withdraw(&self, are: impl FnMut(&mut Try) -> bool) -> usize {
        let withdrawn: Vec<_> = self.tries.lock().extract_if(.., are).collect();
        let n = withdrawn.len();
        withdrawn.into_iter().for_each(|t| drop(t.withdraw()));
        n
    }

    /// Withdraws all, for somebody who needs the room, and ends the task that waits for them. Returns how many there were.
    fn give_way(&self) -> usize {
        let n = self.withdraw(|_| true);
        self.answers.wake();
        n
    }

    fn is_empty(&self) -> bool {
        self.tries.lock().is_empty()
    }
}

impl LateRequests {
    /// Adds requests. The oldest allocation makes room for them.
    fn add(&self, left: &Arc<Left>) {
        let oldest = {
            let mut all = self.0.lock();
            all.push_back(Arc::clone(left));
            if all.len() > ALLOCATIONS { all.pop_front() } else { None }
        };
        if let Some(left) = oldest {
            left.give_way();
        }
    }

    fn remove(&self, left: &Arc<Left>) {
        let mut all = self.0.lock();
        all.retain(|other| !Arc::ptr_eq(other, left));
    }

    /// Withdraws all of them, for somebody who needs their room. Returns `true` if there were any.
    pub(in crate::node) fn make_room(&self) -> bool {
        let all = core::mem::take(&mut *self.0.lock());
        all.into_iter().map(|left| left.give_way()).sum::<usize>() > 0
    }

    /// Returns the number of requests.
    pub(in crate::node) fn len(&self) -> usize {
        let all: Vec<_> = self.0.lock().iter().cloned().collect();
        all.iter().map(|left| left.tries.lock().len()).sum()
    }
}

/// A task that waits for the answers to requests, and ends what they open.
struct Late {
    node: Weak<Node>,
    terms: Terms,
    left: Arc<Left>,
    until: Instant,
    sleep: Sleep,
}

impl Allocation {
    /// Gives `tries` up: the last of those whose answer may still come are waited for, the others withdrawn. None of a member:
    /// a neighbour ends by itself what nobody enrolls or connects over.
    pub(super) fn leave_behind(&self, tries: Vec<Try>) {
        let (node, terms, mut kept) = (&self.node, self.wanted.terms(), Vec::new());
        // The caller's waker is woken no more.
        self.answers.forget_waker();
        for request in tries.into_iter().rev() {
            let waits = !terms.member && !node.is_down() && request.may_be_answered() && kept.len() < REQUESTS;
            if waits { kept.push(request) } else { drop(request.withdraw()) }
        }
        if kept.is_empty() {
            return;
        }
        let answers = Arc::clone(&self.answers);
        let left = Arc::new(Left { tries: Ordered::new(Mutex::new(kept)), answers });
        node.late.add(&left);
        let now = node.shared.now();
        node.spawn(Late {
            node: Arc::downgrade(node),
            terms,
            left,
            until: self.deadline.clamp(now, now + LONGEST) + GRACE,
            sleep: Sleep::new(&node.timers),
        });
    }
}

impl Late {
    /// `None` when all is over.
    fn go_on(&mut self, cx: &Context<'_>) -> Option<()> {
        let node = self.node.upgrade()?;
        let now = node.shared.now();
        while let Some((token, reply)) = self.left.answers.next(cx) {
            let Some(answered) = self.left.take(token) else { continue };
            let Ok(port) = reply.result else {
                drop(answered.withdraw());
                continue;
            };
            let (ipcp, at) = (Arc::clone(&answered.ipcp), answered.at);
            if let Ok(flow) = complete(&node, self.terms, now, answered, port, &reply.data) {
                flow.endpoint.abort();
                self.left.withdraw(|t| t.is_at(&ipcp, at));
            }
        }
        if self.left.is_empty() || now >= self.until {
            return None;
        }
        self.sleep.set(self.until, cx.waker());
        Some(())
    }
}

impl Future for Late {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.go_on(cx).is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        if let Some(node) = self.node.upgrade() {
            node.late.remove(&self.left);
        }
        self.left.withdraw(|_| true);
    }
}
