//! Where a name is, for callers that wait for the answer.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use super::{MemberError, Membership};
use crate::node::timers::Sleep;
use crate::types::id::Address;
use crate::types::name::Name;

/// Longest wait. A lookup takes 4 s at most, and begins anew when nobody has said anything.
const LIMIT: Duration = Duration::from_secs(5);
/// Pause after which a caller looks again by itself: a member keeps the wakers of so many only.
const AGAIN: Duration = Duration::from_millis(250);

impl Membership {
    /// Returns the other members that have a name; none, if it is not in the layer.
    ///
    /// # Errors
    /// [`MemberError::TimedOut`] if no member has said whether it is.
    pub async fn locate(self: Arc<Self>, name: Name) -> Result<Vec<Address>, MemberError> {
        let hash = self.member.info().hash.hash(&name);
        let node = self.node().ok_or(MemberError::StackDown)?;
        let until = node.clock().now() + LIMIT;
        let mut sleep = Sleep::new(&node.timers);
        // Whoever waits does not keep the stack up.
        let weak = Arc::downgrade(&node);
        drop(node);
        poll_fn(|cx| {
            let Some(node) = weak.upgrade() else { return Poll::Ready(Err(MemberError::StackDown)) };
            let now = node.clock().now();
            match self.member.locate(now, &hash, cx.waker()) {
                Poll::Ready(found) => Poll::Ready(Ok(found)),
                Poll::Pending if now >= until => Poll::Ready(Err(MemberError::TimedOut(name.clone()))),
                Poll::Pending => {
                    sleep.set(until.min(now + AGAIN), cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
