//! The directory: answers of the resolver, for as long as they are believed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Weak;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::task::Waker;
use core::time::Duration;

use smallvec::SmallVec;

use super::{Shim as _, UdpShim};
use crate::base::time::Instant;
use crate::ipcp::shim::resolve::Found;
use crate::ipcp::{Location, Lookup};
use crate::types::addr::{canonical, lacks_scope, scope_of, with_scope};
use crate::types::name::NameHash;
use crate::wire::udp::DEFAULT_PORT;

/// What is known of where a name is.
pub(super) enum Entry {
    /// A resolver has been asked.
    Asked(Vec<Waker>),
    /// It answered: with these addresses that are of use, none if the name is nowhere.
    Known { addrs: Addrs, until: Instant },
}

/// Addresses of a name, the best first.
pub(super) type Addrs = SmallVec<[SocketAddr; 1]>;

/// What is known of a name that is at `addrs`.
pub(super) fn known(addrs: &[SocketAddr]) -> Lookup {
    if addrs.is_empty() {
        return Lookup::Unknown;
    }
    Lookup::Known(addrs.iter().map(|addr| Location::Host(*addr)).collect())
}

/// What is known of names. When there are too many, the one goes that would be forgotten first: it has been of use for the
/// longest time, or is known to be nowhere, which is believed for the shortest time. What is being asked for stays: while
/// there are as many of these, others count as unknown.
#[derive(Default)]
pub(super) struct Directory {
    entries: BTreeMap<NameHash, Entry>,
    /// Of those that are known, by when they are to be forgotten.
    ends: BTreeSet<(Instant, NameHash)>,
}

impl Directory {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, hash: &NameHash) -> Option<&Entry> {
        self.entries.get(hash)
    }

    fn get_mut(&mut self, hash: &NameHash) -> Option<&mut Entry> {
        self.entries.get_mut(hash)
    }

    pub(super) fn insert(&mut self, hash: NameHash, entry: Entry) -> Option<Entry> {
        let before = self.remove(&hash);
        if let Entry::Known { until, .. } = entry {
            self.ends.insert((until, hash));
        }
        self.entries.insert(hash, entry);
        before
    }

    pub(super) fn remove(&mut self, hash: &NameHash) -> Option<Entry> {
        let entry = self.entries.remove(hash)?;
        if let Entry::Known { until, .. } = entry {
            self.ends.remove(&(until, *hash));
        }
        Some(entry)
    }

    /// Makes room for one more, if it can.
    fn make_room(&mut self, limit: usize) -> bool {
        while self.entries.len() >= limit
            && let Some((_, hash)) = self.ends.pop_first()
        {
            self.entries.remove(&hash);
        }
        self.entries.len() < limit
    }

    /// All, when nobody is to wait any more.
    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.entries.into_values()
    }
}

/// An answer is remembered for so long at least: until those that wait for it have seen it, who would ask anew otherwise.
const TOLD: Duration = Duration::from_millis(50);

/// Tasks that wait for one resolver's answer; more have to ask again.
const MAX_WAITERS: usize = 64;

impl UdpShim {
    /// An answer that the resolver has without asking anybody. It is never remembered.
    pub(super) fn at_hand(&self, hash: &NameHash) -> Addrs {
        let found = self.panics.call(|| self.resolver.at_hand(hash)).unwrap_or_default();
        self.usable(&found)
    }

    /// Those of the addresses that the device can send to, in one spelling, with a port and an interface where they need
    /// one.
    fn usable(&self, addrs: &[SocketAddr]) -> Addrs {
        let mut usable = Addrs::new();
        for addr in addrs {
            let mut addr = canonical(*addr);
            if addr.port() == 0 {
                // Not our own: a member may be bound to another port than the layer's.
                addr.set_port(self.config.peer_port.filter(|port| *port != 0).unwrap_or(DEFAULT_PORT));
            }
            let own = canonical(self.own);
            let scope = if self.config.scope == 0 { scope_of(&own) } else { self.config.scope };
            let addr = with_scope(addr, scope);
            // Of which link it is meant, only a member that is on one knows. In a network without interfaces there is one.
            let is_complete = !lacks_scope(&addr) || lacks_scope(&own);
            if is_complete && self.families.have(&addr) && !usable.contains(&addr) {
                usable.push(addr);
            }
        }
        usable
    }

    /// Has the resolver forget where a name is. The caller holds no lock.
    pub(super) fn withdraw(&self, hash: &NameHash) {
        self.panics.call(|| self.resolver.withdraw(hash, self.own));
    }

    /// Nobody is to wait for a name any more. The caller holds no lock.
    pub(super) fn wake_waiting(&self) {
        let directory = core::mem::take(&mut *self.directory.lock());
        for entry in directory.into_entries() {
            if let Entry::Asked(wakers) = entry {
                self.panics.wake_all(wakers);
            }
        }
    }

    /// Asks the resolver. The caller holds no lock. One that panics does not know.
    pub(super) fn ask(&self, hash: NameHash) {
        let me = Weak::clone(&self.me);
        let found = Found::new(move |addrs| {
            if let Some(shim) = me.upgrade() {
                shim.resolved(hash, &addrs);
            }
        });
        self.panics.call(|| self.resolver.resolve(&hash, found));
    }

    fn resolved(&self, hash: NameHash, addrs: &[SocketAddr]) {
        let addrs = self.usable(addrs);
        let ttl = if addrs.is_empty() { self.config.directory_negative_ttl } else { self.config.directory_ttl };
        let until = self.clock.now() + ttl.max(TOLD);
        let before = {
            let mut directory = self.directory.lock();
            let limit = self.config.max_directory.max(1);
            let has_room = directory.get(&hash).is_some() || directory.make_room(limit);
            if self.is_down() || !has_room {
                directory.remove(&hash)
            } else {
                directory.insert(hash, Entry::Known { addrs, until })
            }
        };
        if let Some(Entry::Asked(wakers)) = before {
            self.panics.wake_all(wakers);
        }
    }

    /// What is remembered of a name. `None`: the resolver is to be asked; `waker` is kept.
    pub(super) fn look_up(&self, now: Instant, hash: &NameHash, waker: &mut Option<Waker>) -> Option<Lookup> {
        let mut directory = self.directory.lock();
        match directory.get_mut(hash) {
            Some(Entry::Known { addrs, until }) if *until > now => return Some(known(addrs)),
            Some(Entry::Asked(wakers)) => {
                let known = |w: &Waker| wakers.iter().any(|o| o.will_wake(w));
                if wakers.len() < MAX_WAITERS && !waker.as_ref().is_some_and(known) {
                    wakers.extend(waker.take());
                }
                return Some(Lookup::Pending);
            }
            _ => {}
        }
        directory.remove(hash);
        if !directory.make_room(self.config.max_directory.max(1)) {
            return Some(Lookup::Unknown);
        }
        directory.insert(*hash, Entry::Asked(waker.take().into_iter().collect()));
        None
    }
}
