//! The table of names.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Poll, Waker};

use super::{BindError, Limits, LoadBalancing, NameSecurity};
use crate::base::time::Instant;
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

/// What became of a request.
pub enum Placed<R> {
    /// It waits for somebody to accept it, until the given moment at the latest; wake this acceptor.
    Assigned(Waker),
    /// It waits until this moment.
    Waiting(Instant),
    /// It waits until this moment; start a handler for it.
    Start(Arc<dyn Factory>, Instant),
    /// Nobody has bound the name. Refuse it.
    Unknown(R),
    /// Too many are waiting. Refuse it.
    Full(R),
}

struct Entry<R> {
    balancing: LoadBalancing,
    listeners: Vec<ListenerId>,
    factory: Option<Arc<dyn Factory>>,
    queue: VecDeque<(Instant, R)>,
    waiters: VecDeque<Waiter<R>>,
}

struct Waiter<R> {
    id: WaiterId,
    listener: ListenerId,
    waker: Waker,
    item: Option<R>,
}

impl<R> Default for Entry<R> {
    fn default() -> Self {
        Self {
            balancing: LoadBalancing::default(),
            listeners: Vec::new(),
            factory: None,
            queue: VecDeque::new(),
            waiters: VecDeque::new(),
        }
    }
}

impl<R> Entry<R> {
    fn is_bound(&self) -> bool {
        !self.listeners.is_empty() || self.factory.is_some()
    }

    /// Gives `item` to an idle acceptor and returns its waker, or gives it back.
    fn assign(&mut self, item: R) -> Result<Waker, R> {
        let idle = |w: &&mut Waiter<R>| w.item.is_none();
        let chosen = match self.balancing {
            LoadBalancing::RoundRobin => self.waiters.iter_mut().find(idle),
            LoadBalancing::Spillover => self.waiters.iter_mut().rev().find(idle),
        };
        match chosen {
            Some(w) => {
                w.item = Some(item);
                Ok(w.waker.clone())
            }
            None => Err(item),
        }
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
    next_id: u64,
    down: bool,
}

/// The algorithms by which layers may ask for a name.
const ALGORITHMS: [HashAlg; 5] =
    [HashAlg::Sha3_224, HashAlg::Sha3_256, HashAlg::Sha3_384, HashAlg::Sha3_512, HashAlg::Md5];

impl<R> Irm<R> {
    /// No names yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            names: BTreeMap::new(),
            security: BTreeMap::new(),
            hashes: BTreeMap::new(),
            listeners: BTreeMap::new(),
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
        if !self.names.contains_key(name) {
            if self.names.len() >= self.limits.names {
                return Err(BindError::Full(self.limits.names));
            }
            for alg in ALGORITHMS {
                // Should two names ever collide, the first keeps the hash, as in the reference.
                self.hashes.entry((alg, alg.hash(name))).or_insert_with(|| name.clone());
            }
        }
        Ok(self.names.entry(name.clone()).or_default())
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

    /// Removes a listener. Returns the requests that nobody is left to accept, to be refused, and whom to wake: those
    /// that accepted from it, and those that have been given their requests.
    pub fn unbind(&mut self, id: ListenerId) -> (Vec<R>, Vec<Waker>) {
        let Some(name) = self.listeners.remove(&id) else { return (Vec::new(), Vec::new()) };
        let (mut orphans, mut wakers) = (Vec::new(), Vec::new());
        if let Some(entry) = self.names.get_mut(&name) {
            entry.listeners.retain(|l| *l != id);
            let (gone, kept): (Vec<_>, Vec<_>) = entry.waiters.drain(..).partition(|w| w.listener == id);
            entry.waiters = kept.into();
            for waiter in gone {
                wakers.push(waiter.waker);
                match waiter.item.map(|r| entry.assign(r)) {
                    Some(Ok(waker)) => wakers.push(waker),
                    Some(Err(request)) => orphans.push(request),
                    None => {}
                }
            }
        }
        orphans.extend(self.forget_if_unbound(&name));
        (orphans, wakers)
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
        self.names.remove(name).map(|e| e.queue.into_iter().map(|(_, r)| r).collect()).unwrap_or_default()
    }

    /// How a bound name's requests are spread over its listeners.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_balancing(&mut self, name: &Name, balancing: LoadBalancing) -> Result<(), BindError> {
        self.entry(name)?.balancing = balancing;
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

    /// The bound name with this hash.
    pub fn by_hash(&self, alg: HashAlg, hash: &NameHash) -> Option<&Name> {
        self.hashes.get(&(alg, *hash))
    }

    /// The bound names, with listeners, acceptors and waiting requests.
    pub fn bound(&self) -> impl Iterator<Item = (&Name, usize, usize, usize)> {
        self.names.iter().map(|(n, e)| (n, e.listeners.len(), e.waiters.len(), e.queue.len()))
    }

    /// A request for a flow to `name` has come.
    pub fn place(&mut self, now: Instant, name: &Name, request: R) -> Placed<R> {
        let limits = self.limits;
        let Some(entry) = self.names.get_mut(name).filter(|e| e.is_bound()) else { return Placed::Unknown(request) };
        let request = match entry.assign(request) {
            Ok(waker) => return Placed::Assigned(waker),
            Err(r) => r,
        };
        if entry.queue.len() >= limits.backlog {
            return Placed::Full(request);
        }
        let until = now + limits.accept_wait;
        entry.queue.push_back((until, request));
        match &entry.factory {
            Some(factory) => Placed::Start(Arc::clone(factory), until),
            None => Placed::Waiting(until),
        }
    }

    /// The next request for `listener`, `None` once it has been unbound. `waiter` is the accept's own and must be
    /// passed to every poll of it, and to [`cancel`](Self::cancel) if it is given up.
    pub fn poll_accept(
        &mut self,
        listener: ListenerId,
        waiter: &mut Option<WaiterId>,
        waker: &Waker,
    ) -> Poll<Option<R>> {
        let next = WaiterId(self.id());
        let Some(entry) = self.listeners.get(&listener).and_then(|n| self.names.get_mut(n)) else {
            return Poll::Ready(None);
        };
        if let Some(id) = *waiter
            && let Some(at) = entry.waiters.iter().position(|w| w.id == id)
        {
            if let Some(w) = entry.waiters.get_mut(at)
                && w.item.is_none()
            {
                w.waker.clone_from(waker);
                return Poll::Pending;
            }
            *waiter = None;
            return Poll::Ready(entry.waiters.remove(at).and_then(|w| w.item));
        }
        if let Some((_, request)) = entry.queue.pop_front() {
            return Poll::Ready(Some(request));
        }
        *waiter = Some(next);
        entry.waiters.push_back(Waiter { id: next, listener, waker: waker.clone(), item: None });
        Poll::Pending
    }

    /// Whether [`poll_accept`](Self::poll_accept) would return something.
    pub fn has_work(&self, listener: ListenerId, waiter: Option<WaiterId>) -> bool {
        let Some(entry) = self.listeners.get(&listener).and_then(|n| self.names.get(n)) else { return true };
        match waiter {
            Some(id) => entry.waiters.iter().any(|w| w.id == id && w.item.is_some()),
            None => !entry.queue.is_empty(),
        }
    }

    /// An accept has been given up. What it was given comes back, to be [placed](Self::place) again, with its waker,
    /// to be dropped where no lock is held: it may hold the last of a task.
    pub fn cancel(&mut self, listener: ListenerId, waiter: WaiterId) -> Option<(Option<R>, Waker)> {
        let entry = self.names.get_mut(self.listeners.get(&listener)?)?;
        let at = entry.waiters.iter().position(|w| w.id == waiter)?;
        entry.waiters.remove(at).map(|w| (w.item, w.waker))
    }

    /// The requests that have waited too long, to be refused, and when the next one will have.
    pub fn expire(&mut self, now: Instant) -> (Vec<R>, Option<Instant>) {
        let mut out = Vec::new();
        let mut next: Option<Instant> = None;
        for entry in self.names.values_mut() {
            while entry.queue.front().is_some_and(|(until, _)| *until <= now) {
                out.extend(entry.queue.pop_front().map(|(_, r)| r));
            }
            if let Some((until, _)) = entry.queue.front() {
                next = Some(next.map_or(*until, |n| n.min(*until)));
            }
        }
        (out, next)
    }

    /// Ends everything: all requests come back to be refused, whom to wake, to find their listener gone, and the
    /// factories, to be dropped where no lock is held.
    pub fn shutdown(&mut self) -> (Vec<R>, Vec<Waker>, Vec<Arc<dyn Factory>>) {
        self.down = true;
        self.listeners.clear();
        self.hashes.clear();
        let (mut out, mut wakers, mut factories) = (Vec::new(), Vec::new(), Vec::new());
        for entry in core::mem::take(&mut self.names).into_values() {
            factories.extend(entry.factory);
            out.extend(entry.queue.into_iter().map(|(_, r)| r));
            for waiter in entry.waiters {
                wakers.push(waiter.waker);
                out.extend(waiter.item);
            }
        }
        (out, wakers, factories)
    }
}
