//! A bound name: its acceptors, and the requests that wait for them.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
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
    /// In the order of arrival, which is that of their numbers. Goes through [`put`](Self::put) and [`take`](Self::take).
    pub(super) queue: VecDeque<Queued<R>>,
    pub(super) waiters: VecDeque<Waiter>,
    pub(super) watches: Vec<Watch>,
    /// Number of requests in the queue that are on offer.
    pub(super) offers: usize,
    /// Bytes of the queue.
    pub(super) bytes: usize,
    /// Those of hosts at proven addresses.
    proven: Shares,
    /// Those from addresses that may be made up. They are counted apart: whoever makes up the address of a host that is there
    /// would otherwise use up its share.
    unproven: Shares,
    /// Limit of waiting requests, if that was set.
    pub(super) backlog: Option<usize>,
    /// Hash by the algorithm [`DIRECT`](super::DIRECT).
    pub(super) hash: Option<NameHash>,
}

/// Requests that wait, by host. The host with the most is known without a look at all of them: a flood has it looked up for
/// each of its requests.
#[derive(Default)]
struct Shares {
    of: BTreeMap<u64, usize>,
    by_number: BTreeSet<(usize, u64)>,
}

impl Shares {
    fn of(&self, host: u64) -> usize {
        self.of.get(&host).copied().unwrap_or(0)
    }

    /// The most requests of a host, and the host.
    fn most(&self) -> Option<(usize, u64)> {
        self.by_number.last().copied()
    }

    fn add(&mut self, host: u64) {
        self.set(host, self.of(host) + 1);
    }

    fn remove(&mut self, host: u64) {
        self.set(host, self.of(host).saturating_sub(1));
    }

    fn set(&mut self, host: u64, number: usize) {
        let before = self.of.remove(&host).unwrap_or(0);
        self.by_number.remove(&(before, host));
        if number > 0 {
            self.of.insert(host, number);
            self.by_number.insert((number, host));
        }
    }
}

/// The part of a queue, one of so many, in which the requests of a host at a proven address come before unproven ones.
const PARTS: usize = 8;

/// Acceptor to which a request is on offer that no acceptor may take yet.
pub(super) const NOBODY: WaiterId = WaiterId(0);

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
            proven: Shares::default(),
            unproven: Shares::default(),
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
        // Who accepts again is a new waiter, at the end: the last one has called accept last.
        let chosen = match self.balancing {
            LoadBalancing::RoundRobin => self.waiters.iter_mut().find(idle),
            LoadBalancing::Spillover => self.waiters.iter_mut().rev().find(idle),
        }?;
        Some((chosen.id, chosen.waker.take()?))
    }

    /// Adds a request at the end of the queue.
    pub(super) fn put(&mut self, queued: Queued<R>) {
        self.offers += usize::from(queued.offered.is_some());
        self.bytes = self.bytes.saturating_add(queued.caller.bytes);
        self.shares(&queued.caller).add(queued.caller.host);
        self.queue.push_back(queued);
    }

    /// Takes a request out of the queue. Its entry in the index is the caller's to remove.
    pub(super) fn take(&mut self, at: usize) -> Option<Queued<R>> {
        let taken = self.queue.remove(at)?;
        self.offers -= usize::from(taken.offered.is_some());
        self.bytes = self.bytes.saturating_sub(taken.caller.bytes);
        self.shares(&taken.caller).remove(taken.caller.host);
        Some(taken)
    }

    fn shares(&mut self, caller: &Caller) -> &mut Shares {
        if caller.is_unproven { &mut self.unproven } else { &mut self.proven }
    }

    /// Returns the request that gives way to one more of `caller`, if any does: the newest that `may` of the host that has the
    /// most, as long as that is more than `caller`'s would have.
    ///
    /// A host at a proven address has its [part](PARTS) of the queue before all unproven ones, and none of these takes it away.
    /// What it has beyond that is worth no more than they are: one address is had easily, and would keep out everybody who
    /// cannot show theirs.
    pub(super) fn gives_way(&self, caller: &Caller, may: impl Fn(&Caller) -> bool) -> Option<usize> {
        let part = (self.queue.len() / PARTS).max(1);
        let (proven, unproven) = (self.proven.most(), self.unproven.most());
        let own = if caller.is_unproven { &self.unproven } else { &self.proven }.of(caller.host);
        let is_beyond = proven.is_some_and(|(number, _)| number > part);
        if !caller.is_unproven && !is_beyond && own < part && unproven.is_some() {
            // Where each has one, as those that are made up do, none has more than another, and the newest goes.
            let is_one = |of: &Caller| unproven.is_none_or(|(number, host)| number == 1 || of.host == host);
            return self.newest(|of| of.is_unproven && is_one(of) && may(of));
        }
        let proven = proven.filter(|_| is_beyond || !caller.is_unproven);
        let most =
            [proven.map(|(number, host)| (number, false, host)), unproven.map(|(number, host)| (number, true, host))];
        // More than one more: otherwise two hosts would push out each other's requests in turn.
        let (_, is_unproven, host) = most.into_iter().flatten().max().filter(|(number, ..)| *number > own + 1)?;
        self.newest(|of| (of.is_unproven, of.host) == (is_unproven, host) && may(of))
    }

    /// Returns the newest request of callers that `are` of interest: one that is not on offer, if there is any. An acceptor was
    /// woken for one on offer, and would come in vain.
    fn newest(&self, are: impl Fn(&Caller) -> bool) -> Option<usize> {
        let newest = |free: bool| self.queue.iter().rposition(|q| are(&q.caller) && (!free || q.offered.is_none()));
        newest(true).or_else(|| newest(false))
    }

    /// Returns the request for `waiter`: the one that it was woken for, or else the first that is not on offer.
    pub(super) fn next_for(&self, waiter: Option<WaiterId>) -> Option<usize> {
        let own = || self.queue.iter().position(|q| q.offered.is_some() && q.offered == waiter);
        let any = || self.queue.iter().position(|q| q.offered.is_none());
        // Every poll of every acceptor comes here, and most find nothing: the numbers spare them a walk over the queue.
        let own = if self.offers == 0 { None } else { own() };
        own.or_else(|| if self.unoffered() == 0 { None } else { any() })
    }
}
