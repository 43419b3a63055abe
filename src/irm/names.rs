//! The table of names.

mod entry;
mod table;
mod waiting;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;

use self::entry::{Entry, Watch};
use self::table::Table;
#[cfg(test)]
pub(super) use self::waiting::OFFER;
pub use self::waiting::Taken;
use super::{BindError, Limits, LoadBalancing, NameSecurity};
use crate::base::time::Instant;
use crate::flow::{Event, Watcher};
use crate::types::name::{HashAlg, Name, NameHash};

/// A listener of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(u64);

/// An accept under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

/// Starts an acceptor of flows to a name, when a request has come and no listener accepts: the in-process form of a
/// program that is started on demand. Called without locks held; must not block.
pub trait Factory: Send + Sync {
    /// Starts it.
    fn start(&self);
}

/// Why a request was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<R> {
    /// The name is not bound.
    Unknown(R),
    /// Too many are waiting. Besides, those that have made room, and not enough: to be refused as well.
    Full(R, Vec<R>),
}

/// Effects on other requests of placing one.
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

/// Calls to make once no lock is held: all of it is foreign code.
#[derive(Default)]
pub struct Calls {
    /// Wakers of acceptors that should look.
    pub wake: Vec<Waker>,
    /// Factories to be started, for want of an acceptor.
    pub start: Vec<Arc<dyn Factory>>,
    /// To be told: those who watch a listener.
    pub tell: Vec<(Arc<dyn Watcher>, u64, Event)>,
    /// Latest time of the next call of [`expire`](Irm::expire).
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

/// The IPC resource manager's tables; `R` is a request for a flow.
pub struct Irm<R> {
    limits: Limits,
    names: Table<R>,
    /// Settings outlive bindings: a name that is only called has them too.
    security: BTreeMap<Name, NameSecurity>,
    hashes: BTreeMap<(HashAlg, NameHash), Name>,
    listeners: BTreeMap<ListenerId, Name>,
    /// Times to check requests: the end of an offer, or of the request.
    due: BTreeMap<(Instant, u64), Name>,
    next_id: u64,
    down: bool,
}

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
            names: Table::default(),
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
        if self.names.get(name).is_none() {
            if self.names.len() >= self.limits.names {
                return Err(BindError::Full(self.limits.names));
            }
            // A request brings a hash and no name, by the algorithm of whichever layer it came through.
            for alg in ALGORITHMS {
                let of = alg.hash(name);
                if alg == DIRECT {
                    hash = Some(of);
                }
                // Should two names ever collide, the first keeps the hash, as in the reference.
                self.hashes.entry((alg, of)).or_insert_with(|| name.clone());
            }
        }
        let entry = self.names.get_or_default(name);
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

    /// Sets the factory that is started when a request comes without an acceptor. `None` removes it. `factory` is exchanged
    /// for the one before: a factory may own listeners, so it is dropped where no lock is held.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_factory(&mut self, name: &Name, factory: &mut Option<Arc<dyn Factory>>) -> Result<Vec<R>, BindError> {
        core::mem::swap(&mut self.entry(name)?.factory, factory);
        // Without it, and without listeners, there is nobody for whom a request could wait.
        Ok(self.forget_if_unbound(name))
    }

    /// Removes a listener. Returns the requests that are left without an acceptor, to be refused; those that accepted
    /// from it are woken, as are those to whom its requests are offered now.
    pub fn unbind(&mut self, now: Instant, id: ListenerId, calls: &mut Calls) -> Vec<R> {
        let Some(name) = self.listeners.remove(&id) else { return Vec::new() };
        if let Some(entry) = self.names.get_mut(&name) {
            entry.listeners.retain(|l| *l != id);
            let (gone, kept): (Vec<_>, Vec<_>) = entry.waiters.drain(..).partition(|w| w.listener == id);
            entry.waiters = kept.into();
            let (gone_watches, kept) = entry.watches.drain(..).partition(|w| w.listener == id);
            entry.watches = kept;
            calls.tell_end(gone_watches);
            // Not before they are out of the list: what they were offered goes to acceptors of other listeners.
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
            // Of two names that collide the other one may have the hash.
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

    /// Notifies `watcher` of each request that no waiting acceptor was woken for, at once if there is one, and when the
    /// listener is gone.
    pub fn watch(&mut self, listener: ListenerId, watcher: Arc<dyn Watcher>, token: u64, calls: &mut Calls) {
        let watch = Watch { listener, watcher, token };
        let Some(entry) = self.listeners.get(&listener).and_then(|n| self.names.get_mut(n)) else {
            return calls.tell_end(Vec::from([watch]));
        };
        // Those on offer are for acceptors that were woken: who is told of them, too, would mostly come in vain.
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

    /// Sets the distribution of a bound name's requests over its listeners.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_balancing(&mut self, name: &Name, balancing: LoadBalancing) -> Result<(), BindError> {
        self.entry(name)?.balancing = balancing;
        Ok(())
    }

    /// Sets the number of requests for a bound name that may wait, instead of [`Limits::backlog`], at least one.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_backlog(&mut self, name: &Name, requests: usize) -> Result<(), BindError> {
        self.entry(name)?.backlog = Some(requests);
        Ok(())
    }

    /// Sets the protection of several names, or takes it away, all or none. What they had before comes back in its place, to be
    /// dropped where no lock is held: it may have a signer of the program in it.
    ///
    /// # Errors
    /// [`BindError::Full`] if more names than are allowed would have settings.
    pub fn exchange_security(&mut self, names: &mut [(Name, Option<NameSecurity>)]) -> Result<(), BindError> {
        let is_set = |name| self.security.contains_key(name);
        let more = names.iter().filter(|(name, security)| security.is_some() && !is_set(name)).count();
        let less = names.iter().filter(|(name, security)| security.is_none() && is_set(name)).count();
        if more > less && self.security.len() + more - less > self.limits.names {
            return Err(BindError::Full(self.limits.names));
        }
        for (name, security) in names {
            *security = match security.take() {
                Some(security) => self.security.insert(name.clone(), security),
                None => self.security.remove(name),
            };
        }
        Ok(())
    }

    /// Returns the protection of flows to and from a name, if it was set.
    pub fn security(&self, name: &Name) -> Option<&NameSecurity> {
        self.security.get(name)
    }

    /// Returns `true` if flows to `name` are accepted here, now or by a factory.
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

    /// Entries of names that were looked at so far.
    #[cfg(test)]
    pub(super) fn looks(&self) -> usize {
        self.names.looks()
    }

    /// The bound names, with listeners, acceptors and waiting requests.
    pub fn bound(&self) -> impl Iterator<Item = (&Name, usize, usize, usize)> {
        self.names.iter().map(|(n, e)| (n, e.listeners.len(), e.waiters.len(), e.queue.len()))
    }

    /// Ends everything: all requests come back to be refused, and the factories, to be dropped where no lock is held.
    /// All who accept are woken, to find their listener gone.
    pub fn shutdown(&mut self, calls: &mut Calls) -> (Vec<R>, Vec<Arc<dyn Factory>>) {
        self.down = true;
        // An accept that is polled again finds no listener, and ends.
        self.listeners.clear();
        self.hashes.clear();
        self.due.clear();
        let (mut out, mut factories) = (Vec::new(), Vec::new());
        for entry in self.names.take() {
            factories.extend(entry.factory);
            out.extend(entry.queue.into_iter().map(|q| q.request));
            calls.wake.extend(entry.waiters.into_iter().filter_map(|w| w.waker));
            calls.tell_end(entry.watches);
        }
        (out, factories)
    }
}
