//! From the hash of a name to where it is.
//!
//! A UDP layer has no directory of its own: something else has to know the host of a name. That is a [`HostTable`]
//! given in code or configuration, the operating system's resolver (`device::resolve`), which is asked for the hash
//! in hexadecimal as a host name like the reference does, or anything else that implements [`Resolver`].

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::base::sync::Mutex;
use crate::types::name::{HashAlg, Name, NameHash};

/// Finds the host of a name.
pub trait Resolver: Send + Sync {
    /// Looks up `hash` and calls `found` with the address, at once or later, from any thread. Not calling it (dropping
    /// it) means that there is no answer. A port of 0 stands for the layer's own. Must not block.
    fn resolve(&self, hash: &NameHash, found: Found);

    /// Where the name is, if that is known here and now and costs next to nothing to find out. It is asked whenever a
    /// name is looked up, and what it says is never remembered, so changes count at once; answers of
    /// [`resolve`](Self::resolve) are remembered for a while.
    fn at_hand(&self, hash: &NameHash) -> Option<SocketAddr> {
        let _ = hash;
        None
    }
}

/// What a [`Resolver`] calls with its answer.
pub struct Found(Option<Box<dyn FnOnce(Option<SocketAddr>) + Send>>);

impl Found {
    /// Calls `f` with the answer, `None` if there is none.
    pub fn new(f: impl FnOnce(Option<SocketAddr>) + Send + 'static) -> Self {
        Self(Some(Box::new(f)))
    }

    /// The answer.
    pub fn answer(mut self, addr: Option<SocketAddr>) {
        if let Some(f) = self.0.take() {
            f(addr);
        }
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f(None);
        }
    }
}

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

    /// `name` is at `ip`, at the layer's own UDP port.
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

impl Resolver for Chain {
    fn resolve(&self, hash: &NameHash, found: Found) {
        Self::ask(&self.0, 0, *hash, found);
    }

    fn at_hand(&self, hash: &NameHash) -> Option<SocketAddr> {
        self.0.iter().find_map(|resolver| resolver.at_hand(hash))
    }
}
