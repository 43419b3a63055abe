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
use crate::types::addr::{Families, canonical};
use crate::types::name::{HashAlg, Name, NameHash};
pub use crate::types::resolve::{Found, Resolver};

/// A table of names and hosts, like a hosts file: an IPv4 and an IPv6 address for each name. Bounded only by what the caller
/// puts in.
#[derive(Debug, Default)]
pub struct HostTable {
    hosts: Mutex<BTreeMap<NameHash, Host>>,
}

/// Where a name is, over IPv4 and over IPv6.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    v4: Option<SocketAddr>,
    v6: Option<SocketAddr>,
}

impl HostTable {
    /// An empty table.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// `name` is at `ip`, at the UDP port of the layer. It takes the place of an address of the same family.
    pub fn insert(&self, name: &Name, ip: IpAddr) {
        self.insert_at(name, SocketAddr::new(ip, 0));
    }

    /// `name` is at `addr`, which takes the place of an address of the same family.
    pub fn insert_at(&self, name: &Name, addr: SocketAddr) {
        let addr = canonical(addr);
        let mut hosts = self.hosts.lock();
        let host = hosts.entry(HashAlg::Md5.hash(name)).or_default();
        *if addr.is_ipv4() { &mut host.v4 } else { &mut host.v6 } = Some(addr);
    }

    /// `name` is nowhere.
    pub fn remove(&self, name: &Name) {
        self.hosts.lock().remove(&HashAlg::Md5.hash(name));
    }

    /// Addresses of the name with this hash: an IPv6 address, an IPv4 address, both or none.
    pub fn get(&self, hash: &NameHash) -> Vec<SocketAddr> {
        let host = self.hosts.lock().get(hash).copied().unwrap_or_default();
        host.v6.into_iter().chain(host.v4).collect()
    }
}

impl Resolver for HostTable {
    fn resolve(&self, hash: &NameHash, found: Found) {
        found.answer(self.get(hash));
    }

    fn at_hand(&self, hash: &NameHash) -> Vec<SocketAddr> {
        self.get(hash)
    }
}

/// Asks one resolver after the other until one knows an address of the right family.
pub struct Chain {
    resolvers: Arc<[Arc<dyn Resolver>]>,
    families: Families,
}

impl Chain {
    /// Asks `resolvers` in this order for addresses of these families.
    pub fn new(resolvers: Vec<Arc<dyn Resolver>>, families: Families) -> Self {
        Self { resolvers: resolvers.into(), families }
    }

    fn ask(all: &Arc<[Arc<dyn Resolver>]>, families: Families, at: usize, hash: NameHash, found: Found) {
        let Some(resolver) = all.get(at) else { return found.answer(None) };
        let rest = Arc::clone(all);
        resolver.resolve(
            &hash,
            Found::new(move |addrs| match of(families, addrs) {
                usable if usable.is_empty() => Self::ask(&rest, families, at + 1, hash, found),
                usable => found.answer(usable),
            }),
        );
    }
}

/// Those of the addresses that are of these families.
fn of(families: Families, mut addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addrs.retain(|addr| families.have(&canonical(*addr)));
    addrs
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({} resolvers)", self.resolvers.len())
    }
}

impl Resolver for Chain {
    fn resolve(&self, hash: &NameHash, found: Found) {
        Self::ask(&self.resolvers, self.families, 0, *hash, found);
    }

    fn at_hand(&self, hash: &NameHash) -> Vec<SocketAddr> {
        let mut answers = self.resolvers.iter().map(|resolver| of(self.families, resolver.at_hand(hash)));
        answers.find(|usable| !usable.is_empty()).unwrap_or_default()
    }

    fn publish(&self, hash: &NameHash, at: SocketAddr) {
        self.resolvers.iter().for_each(|resolver| resolver.publish(hash, at));
    }

    fn withdraw(&self, hash: &NameHash, at: SocketAddr) {
        self.resolvers.iter().for_each(|resolver| resolver.withdraw(hash, at));
    }
}
