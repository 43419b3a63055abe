//! The operating system's resolver.

use std::fmt::Write as _;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::types::addr::scope_of;
use crate::types::name::NameHash;
use crate::types::resolve::{Found, Resolver};

/// Look-ups that may be under way; more fail at once.
const MAX_LOOKUPS: usize = 16;

/// Number of the network interface of this name, as in `fe80::1%eth0`.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    // The standard library has no other way. A numeric address with a scope is read by the system, and nobody asked.
    let mut addrs = (format!("fe80::1%{name}"), 0).to_socket_addrs().ok()?;
    addrs.find_map(|addr| Some(scope_of(&addr)).filter(|scope| *scope != 0))
}

/// Looks the hash up as a host name, 32 lower-case hexadecimal digits, like the reference does: an entry in the hosts
/// file (`192.0.2.77 7862c6fec5ecaef4aa2e3934725e23b3`, or an IPv6 address) or in the DNS says where a name is.
#[derive(Clone, Debug, Default)]
pub struct SystemResolver {
    under_way: Arc<AtomicUsize>,
}

impl Resolver for SystemResolver {
    fn resolve(&self, hash: &NameHash, found: Found) {
        if self.under_way.fetch_add(1, Ordering::AcqRel) >= MAX_LOOKUPS {
            self.under_way.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let mut host = String::with_capacity(2 * hash.as_bytes().len());
        for byte in hash.as_bytes() {
            // Writing to a string does not fail.
            let _ = write!(host, "{byte:02x}");
        }
        let under_way = Arc::clone(&self.under_way);
        // The system's resolver blocks, for as long as it likes: it gets a thread of its own, which ends with the
        // answer and keeps nothing of the stack alive.
        let spawned = std::thread::Builder::new().name("o7s-resolve".into()).spawn(move || {
            // Of both families: which of them is of use, the layer knows.
            let addrs = (host.as_str(), 0).to_socket_addrs();
            under_way.fetch_sub(1, Ordering::AcqRel);
            found.answer(addrs.into_iter().flatten());
        });
        if spawned.is_err() {
            self.under_way.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::interface_index;

    #[test]
    fn interfaces_have_numbers() {
        #[cfg(target_os = "linux")]
        assert_eq!(interface_index("lo"), Some(1));
        assert_eq!(interface_index("no such interface"), None);
        assert_eq!(interface_index(""), None);
    }
}
