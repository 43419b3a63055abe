//! A bound name: its acceptors, and the requests that wait for them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;

use super::{Factory, ListenerId, WaiterId};
use crate::base::time::Instant;
use crate::flow::Watcher;
use crate::irm::{Caller, LoadBalancing};
use crate::types::name::NameHash;

/// State of a name.
pub(super) struct Entry<R> {
    pub(super) balancing: LoadBalancing,
    pub(super) listeners: Vec<ListenerId>,
    pub(super) factory: Option<Arc<dyn Factory>>,
    /// In the order of arrival, which is that of their numbers.
    pub(super) queue: VecDeque<Queued<R>>,
    pub(super) waiters: VecDeque<Waiter>,
    pub(super) watches: Vec<Watch>,
    /// Number of requests in the queue that are on offer.
    pub(super) offers: usize,
    /// Bytes of the queue.
    pub(super) bytes: usize,
    /// Limit of waiting requests, if that was set.
    pub(super) backlog: Option<usize>,
    /// Hash by the algorithm [`DIRECT`](super::DIRECT).
    pub(super) hash: Option<NameHash>,
}

/// A request. It is assigned to no acceptor until one takes it: an acceptor that was woken may not be there any more.
pub(super) struct Queued<R> {
    pub(super) id: u64,
    pub(super) request: R,
    pub(super) caller: Caller,
    /// Time at which it is refused.
    pub(super) until: Instant,
    /// Acceptor that was woken for it. Until `due` no other takes it.
    pub(super) offered: Option<WaiterId>,
    /// Under which moment it is in the index.
    pub(super) due: Instant,
}

/// A watcher that is told of requests, and accepts without waiting.
pub(super) struct Watch {
    pub(super) listener: ListenerId,
    pub(super) watcher: Arc<dyn Watcher>,
    pub(super) token: u64,
}

pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) listener: ListenerId,
    /// `None`: it was woken and has not come yet.
    pub(super) waker: Option<Waker>,
}

impl<R> Default for Entry<R> {
    fn default() -> Self {
        Self {
            balancing: LoadBalancing::default(),
            listeners: Vec::new(),
            factory: None,
            queue: VecDeque::new(),
            waiters: VecDeque::new(),
            watches: Vec::new(),
            offers: 0,
            bytes: 0,
            backlog: None,
            hash: None,
        }
    }
}

impl<R> Entry<R> {
    pub(super) fn is_bound(&self) -> bool {
        !self.listeners.is_empty() || self.factory.is_some()
    }

    /// Returns the number of requests that are not on offer.
    pub(super) fn unoffered(&self) -> usize {
        self.queue.len() - self.offers
    }

    /// An acceptor who waits and was not woken yet, and its waker.
    pub(super) fn choose(&mut self) -> Option<(WaiterId, Waker)> {
        let idle = |w: &&mut Waiter| w.waker.is_some();
        let chosen = match self.balancing {
            LoadBalancing::RoundRobin => self.waiters.iter_mut().find(idle),
            LoadBalancing::Spillover => self.waiters.iter_mut().rev().find(idle),
        }?;
        Some((chosen.id, chosen.waker.take()?))
    }

    /// Takes a request out of the queue. Its entry in the index is the caller's to remove.
    pub(super) fn take(&mut self, at: usize) -> Option<Queued<R>> {
        let taken = self.queue.remove(at)?;
        self.offers -= usize::from(taken.offered.is_some());
        self.bytes = self.bytes.saturating_sub(taken.caller.bytes);
        Some(taken)
    }

    /// Returns the newest request of the host that has the most of them, if that has more than `host` would have with
    /// one more: one that is not on offer, if there is any.
    pub(super) fn unfair(&self, host: u64) -> Option<usize> {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for queued in &self.queue {
            *counts.entry(queued.caller.host).or_default() += 1;
        }
        let own = counts.get(&host).copied().unwrap_or(0);
        // More than one more: otherwise two hosts would push out each other's requests in turn.
        let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own + 1)?;
        let newest =
            |free: bool| self.queue.iter().rposition(|q| q.caller.host == most && (!free || q.offered.is_none()));
        newest(true).or_else(|| newest(false))
    }

    /// Returns the request for `waiter`: the one that it was woken for, or else the first that is not on offer.
    pub(super) fn next_for(&self, waiter: Option<WaiterId>) -> Option<usize> {
        let own = || self.queue.iter().position(|q| q.offered.is_some() && q.offered == waiter);
        let any = || self.queue.iter().position(|q| q.offered.is_none());
        let own = if self.offers == 0 { None } else { own() };
        own.or_else(|| if self.unoffered() == 0 { None } else { any() })
    }
}
