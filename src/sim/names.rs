//! Names registered by the UDP layers of hosts, so that no table has to be kept by hand.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::sync::Mutex;
use crate::ipcp::shim::resolve::{Found, Resolver};
use crate::types::name::NameHash;

/// The names that the hosts of a network have registered, and where, first come first.
#[derive(Debug, Default)]
pub(super) struct Registered(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<NameHash, Vec<(u64, SocketAddr)>>,
    /// Layers that were given a resolver so far.
    layers: u64,
}

impl Inner {
    fn retain(&mut self, keeps: impl Fn(&(u64, SocketAddr)) -> bool) {
        self.names.retain(|_, places| {
            places.retain(&keeps);
            !places.is_empty()
        });
    }
}

impl Registered {
    /// The resolver of one more layer: it tells what the layer registers, and where others have registered what.
    pub(super) fn resolver(self: &Arc<Self>) -> Arc<dyn Resolver> {
        let mut inner = self.0.lock();
        inner.layers += 1;
        Arc::new(Registrar { all: Arc::clone(self), layer: inner.layers })
    }

    /// Removes the names registered at `at`, whose host has crashed.
    pub(super) fn forget(&self, at: SocketAddr) {
        self.0.lock().retain(|(_, addr)| *addr != at);
    }
}

/// Registers the names of one layer. Its number tells it from a layer that has the same address after a crash.
struct Registrar {
    all: Arc<Registered>,
    layer: u64,
}

impl Resolver for Registrar {
    fn resolve(&self, hash: &NameHash, found: Found) {
        found.answer(self.at_hand(hash));
    }

    fn at_hand(&self, hash: &NameHash) -> Vec<SocketAddr> {
        let inner = self.all.0.lock();
        let places = inner.names.get(hash).map_or(&[][..], Vec::as_slice);
        // The first of each family: a host has one address in a layer, and first come first.
        let first = |v4| places.iter().map(|place| place.1).find(|addr| addr.is_ipv4() == v4);
        first(false).into_iter().chain(first(true)).collect()
    }

    fn publish(&self, hash: &NameHash, at: SocketAddr) {
        let mut inner = self.all.0.lock();
        let places = inner.names.entry(*hash).or_default();
        if !places.contains(&(self.layer, at)) {
            places.push((self.layer, at));
        }
    }

    fn withdraw(&self, hash: &NameHash, at: SocketAddr) {
        let mut inner = self.all.0.lock();
        let Some(places) = inner.names.get_mut(hash) else { return };
        places.retain(|place| *place != (self.layer, at));
        if places.is_empty() {
            inner.names.remove(hash);
        }
    }
}
