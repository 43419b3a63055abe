//! From the hash of a name to where it is.
//!
//! A UDP layer has no directory of its own: something else has to know the host of a name. That is a [`HostTable`]
//! given in code or configuration, the operating system's resolver (`device::resolve`), which is asked for the hash
//! in hexadecimal as a host name like the reference does, or anything else that implements [`Resolver`].

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::base::sync::Mutex;
use crate::types::name::{HashAlg, Name, NameHash};
pub use crate::types::resolve::{Found, Resolver};

/// A table of names and hosts, like a hosts file. Bounded only by what the caller puts in.
#[derive(Debug, Default)]
pub struct HostTable {
    hosts: Mutex<BTreeMap<NameHash, SocketAddr>>,
}

impl HostTable {
    /// An empty table.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// `name` is at `ip`, at the UDP port of the layer.
    pub fn insert(&self, name: &Name, ip: IpAddr) {
        self.insert_at(name, SocketAddr::new(ip, 0));
    }

    /// `name` is at `addr`.
    pub fn insert_at(&self, name: &Name, addr: SocketAddr) {
        self.hosts.lock().insert(HashAlg::Md5.hash(name), addr);
    }

    /// `name` is nowhere.
    pub fn remove(&self, name: &Name) {
        self.hosts.lock().remove(&HashAlg::Md5.hash(name));
    }

    /// Where the name with this hash is.
    pub fn get(&self, hash: &NameHash) -> Option<SocketAddr> {
        self.hosts.lock().get(hash).copied()
    }
}

impl Resolver for HostTable {
    fn resolve(&self, hash: &NameHash, found: Found) {
        found.answer(self.get(hash));
    }

    fn at_hand(&self, hash: &NameHash) -> Option<SocketAddr> {
        self.get(hash)
    }
}

/// Asks one resolver after the other until one knows.
pub struct Chain(Arc<Vec<Arc<dyn Resolver>>>);

impl Chain {
    /// Asks `resolvers` in this order.
    pub fn new(resolvers: Vec<Arc<dyn Resolver>>) -> Self {
        Self(Arc::new(resolvers))
    }

    fn ask(all: &Arc<Vec<Arc<dyn Resolver>>>, at: usize, hash: NameHash, found: Found) {
        let Some(resolver) = all.get(at) else { return found.answer(None) };
        let rest = Arc::clone(all);
        resolver.resolve(
            &hash,
            Found::new(move |addr| match addr {
                Some(_) => found.answer(addr),
                None => Self::ask(&rest, at + 1, hash, found),
            }),
        );
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({} resolvers)", self.0.len())
    }
}

impl Resolver for Chain {
    fn resolve(&self, hash: &NameHash, found: Found) {
        Self::ask(&self.0, 0, *hash, found);
    }

    fn at_hand(&self, hash: &NameHash) -> Option<SocketAddr> {
        self.0.iter().find_map(|resolver| resolver.at_hand(hash))
    }

    fn publish(&self, hash: &NameHash, at: SocketAddr) {
        self.0.iter().for_each(|resolver| resolver.publish(hash, at));
    }

    fn withdraw(&self, hash: &NameHash, at: SocketAddr) {
        self.0.iter().for_each(|resolver| resolver.withdraw(hash, at));
    }
}
