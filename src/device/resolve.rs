//! The operating system's resolver.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::base::sync::Mutex;
use crate::types::addr::scope_of;
use crate::types::name::NameHash;
use crate::types::resolve::{Found, Resolver};

/// Look-ups under way at a time, each in a thread that waits for the system.
const MAX_LOOKUPS: usize = 64;
/// Look-ups that wait for one of these to end. Beyond it the one goes that has waited for longest: who asked has most
/// likely given up.
const MAX_WAITING: usize = 1024;

/// Number of the network interface of this name, as in `fe80::1%eth0`.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    // The standard library has no other way. A numeric address with a scope is read by the system, and nobody asked.
    let mut addrs = (format!("fe80::1%{name}"), 0).to_socket_addrs().ok()?;
    addrs.find_map(|addr| Some(scope_of(&addr)).filter(|scope| *scope != 0))
}

/// Looks the hash up as a host name, 32 lower-case hexadecimal digits, like the reference does: an entry in the hosts
/// file (`192.0.2.77 7862c6fec5ecaef4aa2e3934725e23b3`, or an IPv6 address) or in the DNS says where a name is.
///
/// At most 64 look-ups are under way at a time. Up to 1024 more wait, the newest of them goes next.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    lookups: Arc<Asked>,
}

/// Those who ask: all clones of a resolver, but not its threads.
#[derive(Debug)]
struct Asked(Arc<Lookups>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::asking(system)
    }
}

impl SystemResolver {
    fn asking(ask: impl Fn(&str) -> Vec<SocketAddr> + Send + Sync + 'static) -> Self {
        let lookups = Lookups { ask: Box::new(ask), state: Mutex::default() };
        Self { lookups: Arc::new(Asked(Arc::new(lookups))) }
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, hash: &NameHash, found: Found) {
        Lookups::add(&self.lookups.0, Query { hash: *hash, found });
    }
}

/// What the operating system says of a host: addresses of both families. Which of them is of use, the layer knows.
fn system(host: &str) -> Vec<SocketAddr> {
    (host, 0).to_socket_addrs().into_iter().flatten().collect()
}

struct Query {
    hash: NameHash,
    found: Found,
}

impl Query {
    fn host(&self) -> String {
        let mut host = String::with_capacity(2 * self.hash.as_bytes().len());
        for byte in self.hash.as_bytes() {
            // Writing to a string does not fail.
            let _ = write!(host, "{byte:02x}");
        }
        host
    }
}

/// Asks for the addresses of a host, for as long as that takes.
type Ask = dyn Fn(&str) -> Vec<SocketAddr> + Send + Sync;

/// The look-ups of a resolver and its clones. Their threads keep nothing of a stack alive.
struct Lookups {
    ask: Box<Ask>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    threads: usize,
    /// The oldest first.
    waiting: VecDeque<Query>,
}

impl Lookups {
    /// Begins a look-up, or has it wait.
    fn add(this: &Arc<Self>, query: Query) {
        // Dropped where the lock is not held: that calls who asked.
        let mut given_up = None;
        let begins = {
            let mut state = this.state.lock();
            if state.waiting.len() >= MAX_WAITING {
                given_up = state.waiting.pop_front();
            }
            state.waiting.push_back(query);
            let begins = state.threads < MAX_LOOKUPS;
            state.threads += usize::from(begins);
            begins
        };
        if begins {
            // The system's resolver blocks, for as long as it likes: it gets a thread of its own.
            let worker = Arc::clone(this);
            let spawned = std::thread::Builder::new().name("o7s-resolve".into()).spawn(move || worker.run());
            if spawned.is_err() {
                this.not_started();
            }
        }
        give_up(given_up);
    }

    /// Looks up until nothing waits any more.
    fn run(&self) {
        while let Some(query) = self.next() {
            let addrs = (self.ask)(&query.host());
            // Another resolver may be asked next, which is code of others. It must not take this thread's place with it.
            let _ = catch_unwind(AssertUnwindSafe(|| query.found.answer(addrs)));
        }
    }

    /// The newest. If there is none, the thread that asks is to end.
    fn next(&self) -> Option<Query> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_back();
        state.threads -= usize::from(next.is_none());
        next
    }

    /// There is no thread for what was added last. Without any nobody would ever come to those that wait.
    fn not_started(&self) {
        let lost = {
            let mut state = self.state.lock();
            state.threads -= 1;
            if state.threads == 0 { core::mem::take(&mut state.waiting) } else { VecDeque::new() }
        };
        give_up(lost);
    }

    /// Nobody is left who asked: what waits is not worth a question. It goes with the lock released.
    fn clear(&self) {
        let waiting = core::mem::take(&mut self.state.lock().waiting);
        give_up(waiting);
    }
}

/// There is no answer to these: who asked is told, which is code of others.
fn give_up(queries: impl IntoIterator<Item = Query>) {
    for query in queries {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(query)));
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        write!(f, "Lookups({} threads, {} waiting)", state.threads, state.waiting.len())
    }
}

#[cfg(test)]
mod tests;
