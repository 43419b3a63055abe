//! Replies that can be sent again: a request that is repeated says that its reply got lost.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::time::Duration;

use smallvec::SmallVec;

use super::limits::AMPLIFICATION;
use crate::base::time::Instant;
use crate::ipcp::Resend;

/// Replies by requester and request, to be sent again: a request that is repeated says that the reply got lost.
pub(super) struct Answered {
    /// Time for which each is kept: as long as the flow that it opens waits to hear its peer.
    keep: Duration,
    replies: BTreeMap<AnsweredKey, Answer>,
    /// Ordered by age.
    order: VecDeque<(Instant, AnsweredKey)>,
}

type AnsweredKey = (u64, [u8; 16]);

pub(super) struct Answer {
    reply: Arc<dyn Resend>,
    /// Bytes of it.
    size: usize,
    until: Instant,
}

impl Answered {
    pub(super) fn new(keep: Duration) -> Self {
        Self { keep, replies: BTreeMap::new(), order: VecDeque::new() }
    }

    /// Forgets all, and returns them.
    pub(super) fn clear(&mut self) -> impl Sized + use<> {
        self.order.clear();
        core::mem::take(&mut self.replies)
    }

    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    /// The reply to a request that is repeated, with `received` bytes if where it comes from is not certain: one that is
    /// much smaller than its answer is not sent it again.
    pub(super) fn get(
        &self,
        now: Instant,
        peer: u64,
        id: [u8; 16],
        received: Option<usize>,
    ) -> Option<Arc<dyn Resend>> {
        let answer = self.replies.get(&(peer, id)).filter(|answer| now < answer.until)?;
        if received.is_some_and(|received| (received as u64) * AMPLIFICATION < answer.size as u64) {
            return Some(Arc::new(Nothing));
        }
        Some(Arc::clone(&answer.reply))
    }

    /// Adds one, and returns those that are outdated or, if there are too many, the oldest.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        limit: usize,
        key: AnsweredKey,
        reply: Arc<dyn Resend>,
        size: usize,
    ) -> SmallVec<[Answer; 2]> {
        let mut out = SmallVec::new();
        // Two for each one that comes, so that a pause is not paid for by one caller.
        for _ in 0..2 {
            if self.order.len() < limit && self.order.front().is_none_or(|(until, _)| *until > now) {
                break;
            }
            out.extend(self.order.pop_front().and_then(|(_, key)| self.replies.remove(&key)));
        }
        let until = now + self.keep;
        match self.replies.insert(key, Answer { reply, size, until }) {
            // It keeps its place in the order: it is forgotten when the former would have been, a little early, but is there
            // once.
            Some(old) => out.push(old),
            None => self.order.push_back((until, key)),
        }
        out
    }
}

/// Sends nothing.
pub(super) struct Nothing;

impl Resend for Nothing {
    fn is_open(&self) -> bool {
        false
    }

    fn resend(&self, _now: Instant) {}
}
