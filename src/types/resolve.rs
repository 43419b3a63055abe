//! The trait by which a layer without a directory of its own asks for the host of a name.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use super::name::NameHash;

/// Finds the host of a name, and is told what is registered here.
pub trait Resolver: Send + Sync {
    /// Looks up `hash` and calls `found` with the addresses, at once or later, from any thread. Not calling it (dropping
    /// it) means that there is no answer. A port of 0 stands for that of the layer. Must not block.
    ///
    /// A resolver may serve layers over IPv4 and over IPv6: it gives the addresses of both families, and each layer takes
    /// those that it can send to, the first of them first.
    fn resolve(&self, hash: &NameHash, found: Found);

    /// The addresses of the name, if they are known here and now and cost next to nothing to find out. It is asked whenever a
    /// name is looked up, and what it says is never remembered, so changes count at once; answers of
    /// [`resolve`](Self::resolve) are remembered for a while.
    fn at_hand(&self, hash: &NameHash) -> Vec<SocketAddr> {
        let _ = hash;
        Vec::new()
    }

    /// A name was registered at the member that this resolver is of, which is reached at `at`: a directory that others ask
    /// as well should know of it from now on. The IP address is unspecified (`0.0.0.0`, `::`) if the member is bound to all
    /// of its host's: the directory has to know better. It may be said more than once. Must not block. By default nothing
    /// happens.
    fn publish(&self, hash: &NameHash, at: SocketAddr) {
        let _ = (hash, at);
    }

    /// Takes back [`publish`](Self::publish): the name was unregistered, or the layer is left. Must not block.
    fn withdraw(&self, hash: &NameHash, at: SocketAddr) {
        let _ = (hash, at);
    }
}

/// Callback that takes the result of a lookup by a [`Resolver`].
pub struct Found(Option<Box<dyn FnOnce(Vec<SocketAddr>) + Send>>);

/// Addresses of a name that count; others are ignored.
const MAX_ADDRESSES: usize = 8;

impl Found {
    /// Calls `f` with the answer, which is empty if there is none.
    pub fn new(f: impl FnOnce(Vec<SocketAddr>) + Send + 'static) -> Self {
        Self(Some(Box::new(f)))
    }

    /// The answer: the addresses of the name, the best first. `None` and an empty list mean that there are none; more
    /// than eight are not looked at.
    pub fn answer(mut self, addrs: impl IntoIterator<Item = SocketAddr>) {
        if let Some(f) = self.0.take() {
            f(addrs.into_iter().take(MAX_ADDRESSES).collect());
        }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").finish_non_exhaustive()
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f(Vec::new());
        }
    }
}
