//! The table of names.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Poll, Waker};
use core::time::Duration;

use super::{BindError, Caller, Limits, LoadBalancing, NameSecurity};
use crate::base::time::Instant;
use crate::flow::{Event, Watcher};
use crate::types::name::{HashAlg, Name, NameHash};

/// A listener of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(u64);

/// An accept under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

/// Starts something that accepts flows to a name, when a request has come and nobody accepts: the in-process form of
/// a program that is started on demand. Called without locks held; must not block.
pub trait Factory: Send + Sync {
    /// Starts it.
    fn start(&self);
}

/// Why a request was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<R> {
    /// Nobody has bound the name.
    Unknown(R),
    /// Too many are waiting.
    Full(R),
}

/// What became of other requests when one was placed.
#[derive(Debug, PartialEq, Eq)]
pub struct Placed<R> {
    /// The request that this one repeats, and whose place it has taken: to be dropped without an answer.
    pub repeated: Option<R>,
    /// Those that had to make room: to be refused.
    pub shed: Vec<R>,
}

impl<R> Default for Placed<R> {
    fn default() -> Self {
        Self { repeated: None, shed: Vec::new() }
    }
}

/// What is to be done once no lock is held: all of it is code of others.
#[derive(Default)]
pub struct Calls {
    /// To be woken: somebody who accepts, and should look.
    pub wake: Vec<Waker>,
    /// To be started: nobody accepts.
    pub start: Vec<Arc<dyn Factory>>,
    /// To be told: those who watch a listener.
    pub tell: Vec<(Arc<dyn Watcher>, u64, Event)>,
    /// When to [look](Irm::expire) again at the latest.
    pub due: Option<Instant>,
}

impl Calls {
    fn tell_end(&mut self, watches: Vec<Watch>) {
        self.tell.extend(watches.into_iter().map(|w| (w.watcher, w.token, Event::Deallocated)));
    }

    fn due_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

struct Entry<R> {
    balancing: LoadBalancing,
    listeners: Vec<ListenerId>,
    factory: Option<Arc<dyn Factory>>,
    /// In the order in which they came, which is that of their numbers.
    queue: VecDeque<Queued<R>>,
    waiters: VecDeque<Waiter>,
    watches: Vec<Watch>,
    /// How many of the queue are offered to somebody.
    offers: usize,
    /// Bytes of the queue.
    bytes: usize,
    /// How many may wait, if that was set.
    backlog: Option<usize>,
    /// By the algorithm [`DIRECT`].
    hash: Option<NameHash>,
}

/// A request. It belongs to nobody until somebody comes for it: whoever is woken may not be there any more.
struct Queued<R> {
    id: u64,
    request: R,
    caller: Caller,
    /// When it is refused.
    until: Instant,
    /// Who was woken for it. Until `due` nobody else takes it.
    offered: Option<WaiterId>,
    /// Under which moment it is in the index.
    due: Instant,
}

/// Somebody who is told of requests, and accepts without waiting.
struct Watch {
    listener: ListenerId,
    watcher: Arc<dyn Watcher>,
    token: u64,
}

struct Waiter {
    id: WaiterId,
    listener: ListenerId,
    /// `None`: it was woken and has not come yet.
    waker: Option<Waker>,
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
    fn is_bound(&self) -> bool {
        !self.listeners.is_empty() || self.factory.is_some()
    }

    /// Requests that are offered to nobody.
    fn unoffered(&self) -> usize {
        self.queue.len() - self.offers
    }

    /// An acceptor who waits and was not woken yet, and its waker.
    fn choose(&mut self) -> Option<(WaiterId, Waker)> {
        let idle = |w: &&mut Waiter| w.waker.is_some();
        let chosen = match self.balancing {
            LoadBalancing::RoundRobin => self.waiters.iter_mut().find(idle),
            LoadBalancing::Spillover => self.waiters.iter_mut().rev().find(idle),
        }?;
        Some((chosen.id, chosen.waker.take()?))
    }

    /// Takes a request out of the queue. Its entry in the index is the caller's to remove.
    fn take(&mut self, at: usize) -> Option<Queued<R>> {
        let taken = self.queue.remove(at)?;
        self.offers -= usize::from(taken.offered.is_some());
        self.bytes = self.bytes.saturating_sub(taken.caller.bytes);
        Some(taken)
    }

    /// The newest request of the peer that has the most of them, if that has more than `peer` would have with one more:
    /// one that is offered to nobody, if there is any.
    fn unfair(&self, peer: u64) -> Option<usize> {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for queued in &self.queue {
            *counts.entry(queued.caller.peer).or_default() += 1;
        }
        let own = counts.get(&peer).copied().unwrap_or(0);
        let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own + 1)?;
        let newest =
            |free: bool| self.queue.iter().rposition(|q| q.caller.peer == most && (!free || q.offered.is_none()));
        newest(true).or_else(|| newest(false))
    }

    /// Which request `waiter` gets: the one that it was woken for, or else the first that is for anybody.
    fn next_for(&self, waiter: Option<WaiterId>) -> Option<usize> {
        let own = || self.queue.iter().position(|q| q.offered.is_some() && q.offered == waiter);
        let any = || self.queue.iter().position(|q| q.offered.is_none());
        let own = if self.offers == 0 { None } else { own() };
        own.or_else(|| if self.unoffered() == 0 { None } else { any() })
    }
}

/// The IPC resource manager's tables; `R` is a request for a flow.
pub struct Irm<R> {
    limits: Limits,
    names: BTreeMap<Name, Entry<R>>,
    /// Settings outlive bindings: a name that is only called has them too.
    security: BTreeMap<Name, NameSecurity>,
    hashes: BTreeMap<(HashAlg, NameHash), Name>,
    listeners: BTreeMap<ListenerId, Name>,
    /// When to look at which request: its offer ends, or its time.
    due: BTreeMap<(Instant, u64), Name>,
    next_id: u64,
    down: bool,
}

/// How long a request is kept for the acceptor that was woken for it. One that lives takes much less; one that is not
/// polled any more costs the request this much.
pub(super) const OFFER: Duration = Duration::from_millis(100);

/// The algorithms by which layers may ask for a name.
const ALGORITHMS: [HashAlg; 5] =
    [HashAlg::Sha3_224, HashAlg::Sha3_256, HashAlg::Sha3_384, HashAlg::Sha3_512, HashAlg::Md5];

/// The one by which programs of one stack ask, with every flow.
const DIRECT: HashAlg = HashAlg::Sha3_256;

impl<R> Irm<R> {
    /// No names yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            names: BTreeMap::new(),
            security: BTreeMap::new(),
            hashes: BTreeMap::new(),
            listeners: BTreeMap::new(),
            due: BTreeMap::new(),
            next_id: 1,
            down: false,
        }
    }

    fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn entry(&mut self, name: &Name) -> Result<&mut Entry<R>, BindError> {
        if self.down {
            return Err(BindError::Down);
        }
        let mut hash = None;
        if !self.names.contains_key(name) {
            if self.names.len() >= self.limits.names {
                return Err(BindError::Full(self.limits.names));
            }
            for alg in ALGORITHMS {
                let of = alg.hash(name);
                if alg == DIRECT {
                    hash = Some(of);
                }
                // Should two names ever collide, the first keeps the hash, as in the reference.
                self.hashes.entry((alg, of)).or_insert_with(|| name.clone());
            }
        }
        let entry = self.names.entry(name.clone()).or_default();
        entry.hash = entry.hash.or(hash);
        Ok(entry)
    }

    /// Adds a listener to a name.
    ///
    /// # Errors
    /// [`BindError`] if there are too many names.
    pub fn bind(&mut self, name: &Name) -> Result<ListenerId, BindError> {
        let id = ListenerId(self.id());
        self.entry(name)?.listeners.push(id);
        self.listeners.insert(id, name.clone());
        Ok(id)
    }

    /// Has `factory` started whenever a request comes and nobody accepts. `None` takes it back.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    ///
    /// `factory` is exchanged for the one before: a factory may own listeners, so it is dropped where no lock is held.
    pub fn set_factory(&mut self, name: &Name, factory: &mut Option<Arc<dyn Factory>>) -> Result<Vec<R>, BindError> {
        core::mem::swap(&mut self.entry(name)?.factory, factory);
        Ok(self.forget_if_unbound(name))
    }

    /// Removes a listener. Returns the requests that nobody is left to accept, to be refused; those that accepted from
    /// it are woken, as are those to whom its requests are offered now.
    pub fn unbind(&mut self, now: Instant, id: ListenerId, calls: &mut Calls) -> Vec<R> {
        let Some(name) = self.listeners.remove(&id) else { return Vec::new() };
        if let Some(entry) = self.names.get_mut(&name) {
            entry.listeners.retain(|l| *l != id);
            let (gone, kept): (Vec<_>, Vec<_>) = entry.waiters.drain(..).partition(|w| w.listener == id);
            entry.waiters = kept.into();
            let (gone_watches, kept) = entry.watches.drain(..).partition(|w| w.listener == id);
            entry.watches = kept;
            calls.tell_end(gone_watches);
            for waiter in gone {
                calls.wake.extend(waiter.waker);
                self.withdraw(now, &name, waiter.id, calls);
            }
        }
        self.forget_if_unbound(&name)
    }

    fn forget_if_unbound(&mut self, name: &Name) -> Vec<R> {
        if self.names.get(name).is_none_or(Entry::is_bound) {
            return Vec::new();
        }
        for alg in ALGORITHMS {
            let key = (alg, alg.hash(name));
            if self.hashes.get(&key) == Some(name) {
                self.hashes.remove(&key);
            }
        }
        let queue = self.names.remove(name).map(|e| e.queue).unwrap_or_default();
        queue
            .into_iter()
            .map(|q| {
                self.due.remove(&(q.due, q.id));
                q.request
            })
            .collect()
    }

    /// What was offered to a waiter that is gone goes to the next.
    fn withdraw(&mut self, now: Instant, name: &Name, waiter: WaiterId, calls: &mut Calls) {
        let Some(entry) = self.names.get_mut(name) else { return };
        let offered = entry.queue.iter_mut().find(|q| q.offered == Some(waiter));
        let Some(id) = offered.map(|q| q.id) else { return };
        self.offer(now, name, id, calls);
    }

    /// Offers a request to the next acceptor who waits; if there is none, whoever comes first may have it, and somebody
    /// is started.
    fn offer(&mut self, now: Instant, name: &Name, id: u64, calls: &mut Calls) {
        let Some(entry) = self.names.get_mut(name) else { return };
        let Ok(at) = entry.queue.binary_search_by_key(&id, |q| q.id) else { return };
        let chosen = entry.choose();
        let factory = entry.factory.clone();
        let Some(queued) = entry.queue.get_mut(at) else { return };
        self.due.remove(&(queued.due, id));
        entry.offers -= usize::from(queued.offered.take().is_some());
        queued.due = queued.until;
        match (chosen, factory) {
            (Some((waiter, waker)), _) => {
                queued.offered = Some(waiter);
                queued.due = queued.until.min(now + OFFER);
                entry.offers += 1;
                calls.wake.push(waker);
            }
            (None, factory) => calls.start.extend(factory),
        }
        if queued.offered.is_none() {
            let told = entry.watches.iter().map(|w| (Arc::clone(&w.watcher), w.token, Event::Acceptable));
            calls.tell.extend(told);
        }
        self.due.insert((queued.due, id), name.clone());
        calls.due_at(queued.due);
    }

    /// Has `watcher` told whenever a request has come that nobody who waits was woken for, at once if there is one, and when
    /// the listener is gone.
    pub fn watch(&mut self, listener: ListenerId, watcher: Arc<dyn Watcher>, token: u64, calls: &mut Calls) {
        let watch = Watch { listener, watcher, token };
        let Some(entry) = self.listeners.get(&listener).and_then(|n| self.names.get_mut(n)) else {
            return calls.tell_end(Vec::from([watch]));
        };
        if entry.unoffered() > 0 {
            calls.tell.push((Arc::clone(&watch.watcher), token, Event::Acceptable));
        }
        entry.watches.push(watch);
    }

    /// Has those who [watch](Self::watch) a listener told once more that there is something to accept.
    pub fn tell(&self, listener: ListenerId, calls: &mut Calls) {
        let Some(entry) = self.listeners.get(&listener).and_then(|n| self.names.get(n)) else { return };
        let watches = entry.watches.iter().filter(|w| w.listener == listener);
        calls.tell.extend(watches.map(|w| (Arc::clone(&w.watcher), w.token, Event::Acceptable)));
    }

    /// Takes [`watch`](Self::watch) back. What it kept comes back, to be dropped where no lock is held.
    pub fn unwatch(
        &mut self,
        listener: ListenerId,
        watcher: &Arc<dyn Watcher>,
        token: u64,
    ) -> Option<Arc<dyn Watcher>> {
        let entry = self.listeners.get(&listener).and_then(|n| self.names.get_mut(n))?;
        let is_it = |w: &Watch| w.listener == listener && w.token == token && Arc::ptr_eq(&w.watcher, watcher);
        let at = entry.watches.iter().position(is_it)?;
        Some(entry.watches.swap_remove(at).watcher)
    }

    /// How a bound name's requests are spread over its listeners.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_balancing(&mut self, name: &Name, balancing: LoadBalancing) -> Result<(), BindError> {
        self.entry(name)?.balancing = balancing;
        Ok(())
    }

    /// How many requests for a bound name may wait, instead of [`Limits::backlog`]. At least one may.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_backlog(&mut self, name: &Name, requests: usize) -> Result<(), BindError> {
        self.entry(name)?.backlog = Some(requests);
        Ok(())
    }

    /// How flows to and from a name are protected.
    ///
    /// # Errors
    /// [`BindError::Full`] if as many names as are allowed have settings.
    pub fn set_security(&mut self, name: &Name, security: NameSecurity) -> Result<(), BindError> {
        if self.security.len() >= self.limits.names && !self.security.contains_key(name) {
            return Err(BindError::Full(self.limits.names));
        }
        self.security.insert(name.clone(), security);
        Ok(())
    }

    /// How flows to and from a name are protected, if that was set.
    pub fn security(&self, name: &Name) -> Option<&NameSecurity> {
        self.security.get(name)
    }

    /// Whether somebody accepts flows to `name` here, now or when started.
    pub fn is_bound(&self, name: &Name) -> bool {
        self.names.get(name).is_some_and(Entry::is_bound)
    }

    /// The hash of a name that is bound, if it is kept: by the algorithm by which programs of one stack ask each other.
    pub fn hash_of(&self, alg: HashAlg, name: &Name) -> Option<NameHash> {
        self.names.get(name).and_then(|entry| entry.hash).filter(|_| alg == DIRECT)
    }

    /// The bound name with this hash.
    pub fn by_hash(&self, alg: HashAlg, hash: &NameHash) -> Option<&Name> {
        self.hashes.get(&(alg, *hash))
    }

    /// The bound names, with listeners, acceptors and waiting requests.
    pub fn bound(&self) -> impl Iterator<Item = (&Name, usize, usize, usize)> {
        self.names.iter().map(|(n, e)| (n, e.listeners.len(), e.waiters.len(), e.queue.len()))
    }

    /// A request for a flow to `name` has come from `caller`. It waits for somebody to take it, whom it is offered to if he
    /// is there. One that repeats another takes its place.
    ///
    /// # Errors
    /// [`Refused`] with the request, to be refused.
    pub fn place(
        &mut self,
        now: Instant,
        name: &Name,
        request: R,
        caller: Caller,
        calls: &mut Calls,
    ) -> Result<Placed<R>, Refused<R>> {
        let id = self.id();
        let limits = self.limits;
        let mut placed = Placed::default();
        let Some(entry) = self.names.get_mut(name).filter(|e| e.is_bound()) else {
            return Err(Refused::Unknown(request));
        };
        if let Some(earlier) = entry.queue.iter_mut().find(|q| caller.repeats(&q.caller)) {
            // It keeps its turn and its time: the requester has waited since then.
            placed.repeated = Some(core::mem::replace(&mut earlier.request, request));
            entry.bytes = entry.bytes.saturating_sub(earlier.caller.bytes).saturating_add(caller.bytes);
            earlier.caller.bytes = caller.bytes;
            return Ok(placed);
        }
        if !self.make_room(name, &caller, &mut placed.shed) {
            return Err(Refused::Full(request));
        }
        let Some(entry) = self.names.get_mut(name) else { return Err(Refused::Unknown(request)) };
        let until = now + limits.accept_wait.min(caller.patience());
        entry.bytes = entry.bytes.saturating_add(caller.bytes);
        entry.queue.push_back(Queued { id, request, caller, until, offered: None, due: until });
        self.offer(now, name, id, calls);
        Ok(placed)
    }

    /// Whether there is room for one more request of `caller`, for which others may have been `shed`: those that were
    /// given up, and else one of a peer that has more.
    fn make_room(&mut self, name: &Name, caller: &Caller, shed: &mut Vec<R>) -> bool {
        let limits = self.limits;
        let Some(entry) = self.names.get_mut(name) else { return false };
        let most = entry.backlog.unwrap_or(limits.backlog).max(1);
        // Those on offer count as well: whoever they are offered to may not come for them. A single request may always
        // wait, however large.
        let is_full = |entry: &Entry<R>| {
            let bytes = entry.bytes.saturating_add(caller.bytes);
            entry.queue.len() >= most || (bytes > limits.backlog_bytes && !entry.queue.is_empty())
        };
        let mut drop_one = |entry: &mut Entry<R>, at| {
            if let Some(taken) = entry.take(at) {
                self.due.remove(&(taken.due, taken.id));
                shed.push(taken.request);
            }
        };
        if is_full(entry) {
            while let Some(at) = entry.queue.iter().position(|q| q.caller.is_gone()) {
                drop_one(entry, at);
            }
        }
        // One at a time: what is larger than that has to come again.
        if is_full(entry)
            && let Some(at) = entry.unfair(caller.peer)
        {
            drop_one(entry, at);
        }
        !is_full(entry)
    }

    /// The next request for `listener`, `None` once it has been unbound. `waiter` is the accept's own and must be
    /// passed to every poll of it, and to [`cancel`](Self::cancel) if it is given up.
    ///
    /// If there is none, `waker` is kept, in exchange for the one that was kept before: code of others, to be dropped
    /// where no lock is held.
    pub fn poll_accept(
        &mut self,
        listener: ListenerId,
        waiter: &mut Option<WaiterId>,
        waker: &mut Option<Waker>,
    ) -> Poll<Option<R>> {
        let next = WaiterId(self.id());
        let Some(entry) = self.listeners.get(&listener).and_then(|n| self.names.get_mut(n)) else {
            return Poll::Ready(None);
        };
        let at = waiter.and_then(|id| entry.waiters.iter().position(|w| w.id == id));
        let Some(taken) = entry.next_for(*waiter).and_then(|at| entry.take(at)) else {
            if let Some(w) = at.and_then(|at| entry.waiters.get_mut(at)) {
                core::mem::swap(&mut w.waker, waker);
            } else {
                *waiter = Some(next);
                entry.waiters.push_back(Waiter { id: next, listener, waker: waker.take() });
            }
            return Poll::Pending;
        };
        if let Some(w) = at.and_then(|at| entry.waiters.remove(at)) {
            *waker = w.waker;
        }
        *waiter = None;
        self.due.remove(&(taken.due, taken.id));
        Poll::Ready(Some(taken.request))
    }

    /// Whether [`poll_accept`](Self::poll_accept) would return something.
    pub fn has_work(&self, listener: ListenerId, waiter: Option<WaiterId>) -> bool {
        let Some(entry) = self.listeners.get(&listener).and_then(|n| self.names.get(n)) else { return true };
        entry.next_for(waiter).is_some()
    }

    /// An accept has been given up. What it was offered goes to the next. Its waker comes back, to be dropped where no
    /// lock is held: it may hold the last of a task.
    pub fn cancel(&mut self, now: Instant, listener: ListenerId, waiter: WaiterId, calls: &mut Calls) -> Option<Waker> {
        let name = self.listeners.get(&listener)?.clone();
        let entry = self.names.get_mut(&name)?;
        let at = entry.waiters.iter().position(|w| w.id == waiter)?;
        let gone = entry.waiters.remove(at)?;
        self.withdraw(now, &name, waiter, calls);
        gone.waker
    }

    /// Requests that have waited too long, to be refused, no more than `max` at a time. Those whose acceptor did not
    /// come are offered to the next. [`Calls::due`] says when to look again.
    pub fn expire(&mut self, now: Instant, max: usize, calls: &mut Calls) -> Vec<R> {
        let mut out = Vec::new();
        for _ in 0..max {
            let Some(first) = self.due.first_entry().filter(|e| e.key().0 <= now) else { break };
            let ((_, id), name) = first.remove_entry();
            let Some(entry) = self.names.get_mut(&name) else { continue };
            let Ok(at) = entry.queue.binary_search_by_key(&id, |q| q.id) else { continue };
            if entry.queue.get(at).is_some_and(|q| q.until > now) {
                self.offer(now, &name, id, calls);
            } else if let Some(late) = entry.take(at) {
                out.push(late.request);
            }
        }
        if let Some(((next, _), _)) = self.due.first_key_value() {
            calls.due_at(*next);
        }
        out
    }

    /// Ends everything: all requests come back to be refused, and the factories, to be dropped where no lock is held.
    /// All who accept are woken, to find their listener gone.
    pub fn shutdown(&mut self, calls: &mut Calls) -> (Vec<R>, Vec<Arc<dyn Factory>>) {
        self.down = true;
        self.listeners.clear();
        self.hashes.clear();
        self.due.clear();
        let (mut out, mut factories) = (Vec::new(), Vec::new());
        for entry in core::mem::take(&mut self.names).into_values() {
            factories.extend(entry.factory);
            out.extend(entry.queue.into_iter().map(|q| q.request));
            calls.wake.extend(entry.waiters.into_iter().filter_map(|w| w.waker));
            calls.tell_end(entry.watches);
        }
        (out, factories)
    }
}
