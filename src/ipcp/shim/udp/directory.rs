//! Where names are: what the resolver said, for as long as that is believed.

use alloc::collections::BTreeMap;
use alloc::sync::Weak;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::task::Waker;

use smallvec::smallvec;

use super::UdpShim;
use crate::base::time::Instant;
use crate::ipcp::shim::resolve::Found;
use crate::ipcp::{Location, Lookup};
use crate::types::name::NameHash;

/// What is known of where a name is.
pub(super) enum Entry {
    /// A resolver has been asked.
    Asked(Vec<Waker>),
    /// It answered.
    Known { addr: Option<SocketAddr>, until: Instant },
}

/// Tasks that wait for one resolver's answer; more have to ask again.
const MAX_WAITERS: usize = 64;

impl UdpShim {
    /// An answer that the resolver has without asking anybody. It is never remembered.
    pub(super) fn at_hand(&self, hash: &NameHash) -> Option<SocketAddr> {
        let found = self.panics.call(|| self.resolver.at_hand(hash)).flatten();
        found.and_then(|addr| self.usable(addr))
    }

    /// The address with a port, if it is one of the device's family.
    fn usable(&self, mut addr: SocketAddr) -> Option<SocketAddr> {
        let own = self.socket.local_addr();
        if addr.port() == 0 {
            addr.set_port(self.config.peer_port.unwrap_or(own.port()));
        }
        (addr.is_ipv4() == own.is_ipv4()).then_some(addr)
    }

    /// Asks the resolver. The caller holds no lock. One that panics does not know.
    pub(super) fn ask(&self, hash: NameHash) {
        let me = Weak::clone(&self.me);
        let found = Found::new(move |addr| {
            if let Some(shim) = me.upgrade() {
                shim.resolved(hash, addr);
            }
        });
        self.panics.call(|| self.resolver.resolve(&hash, found));
    }

    fn resolved(&self, hash: NameHash, addr: Option<SocketAddr>) {
        let addr = addr.and_then(|addr| self.usable(addr));
        let ttl = if addr.is_some() { self.config.directory_ttl } else { self.config.directory_negative_ttl };
        let until = self.clock.now() + ttl;
        let before = {
            let mut directory = self.directory.lock();
            if self.is_down() { directory.remove(&hash) } else { directory.insert(hash, Entry::Known { addr, until }) }
        };
        if let Some(Entry::Asked(wakers)) = before {
            self.panics.wake_all(wakers);
        }
    }

    /// What is remembered of a name, and entries to be dropped. `None`: the resolver is to be asked; `waker` is kept.
    pub(super) fn look_up(
        &self,
        now: Instant,
        hash: &NameHash,
        waker: &mut Option<Waker>,
    ) -> (Option<Lookup>, Vec<Entry>) {
        let mut directory = self.directory.lock();
        match directory.get_mut(hash) {
            Some(Entry::Known { addr, until }) if *until > now => {
                let known = addr.map_or(Lookup::Unknown, |addr| Lookup::Known(smallvec![Location::Host(addr)]));
                return (Some(known), Vec::new());
            }
            Some(Entry::Asked(wakers)) => {
                let known = |w: &Waker| wakers.iter().any(|o| o.will_wake(w));
                if wakers.len() < MAX_WAITERS && !waker.as_ref().is_some_and(known) {
                    wakers.extend(waker.take());
                }
                return (Some(Lookup::Pending), Vec::new());
            }
            _ => {}
        }
        let mut outdated = self.trim_directory(&mut directory, now);
        outdated.extend(directory.insert(*hash, Entry::Asked(waker.take().into_iter().collect())));
        (None, outdated)
    }

    /// Makes room for one more entry: expired ones go first, then the one with the smallest hash, which is returned.
    fn trim_directory(&self, directory: &mut BTreeMap<NameHash, Entry>, now: Instant) -> Vec<Entry> {
        if directory.len() < self.config.max_directory {
            return Vec::new();
        }
        directory.retain(|_, e| !matches!(e, Entry::Known { until, .. } if *until <= now));
        if directory.len() < self.config.max_directory {
            return Vec::new();
        }
        directory.pop_first().map(|(_, e)| e).into_iter().collect()
    }
}
