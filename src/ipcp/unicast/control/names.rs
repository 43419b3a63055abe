//! Names: those of the member in the directory, and those that are looked for.

use alloc::vec::Vec;
use core::task::Waker;

use super::Control;
use crate::base::time::Instant;
use crate::directory;
use crate::ipcp::{Doubt, RegisterError};
use crate::types::id::Address;
use crate::types::name::NameHash;

/// Tasks that wait for the same name; more have to ask again.
const MAX_WAITERS: usize = 64;

impl Control {
    pub(in crate::ipcp::unicast) fn publish(&self, now: Instant, hash: NameHash) -> Result<(), RegisterError> {
        let unix = self.shared.unix_secs();
        self.machines.lock().directory.register(now, unix, hash).map_err(|e| match e {
            directory::RegisterError::Full(limit) => RegisterError::Full(limit),
            // The stack hashes with the algorithm that we say.
            _ => RegisterError::Down,
        })
    }

    pub(in crate::ipcp::unicast) fn withdraw(&self, now: Instant, hash: &NameHash) {
        self.machines.lock().directory.unregister(now, hash);
    }

    /// Takes all names back, while there is a way to the members that were told of them.
    pub(in crate::ipcp::unicast) fn withdraw_all(&self, now: Instant) {
        let names: Vec<NameHash> = self.machines.lock().directory.names().map(|(name, _)| name).collect();
        for name in names {
            self.withdraw(now, &name);
            // One after the other: the directory's outbox has a bound.
            self.handle(now);
        }
    }

    /// A name was not found at a member that is said to have it.
    pub(in crate::ipcp::unicast) fn doubt_name(&self, now: Instant, hash: &NameHash, at: Address, why: Doubt) {
        self.machines.lock().directory.doubt(now, hash, at, why);
    }

    /// Looks up a name. If the answer is not known yet, `waker` is woken when it is.
    pub(in crate::ipcp::unicast) fn find(&self, now: Instant, hash: &NameHash, waker: &Waker) -> directory::Found {
        let unix = self.shared.unix_secs();
        // Made and dropped where no lock is held: a waker is code of others.
        let mut kept = Some(waker.clone());
        let found = {
            let mut machines = self.machines.lock();
            let found = machines.directory.lookup(now, unix, *hash);
            if found == directory::Found::Pending {
                let waiting = machines.waiting.entry(*hash).or_default();
                let known = |w: &&mut Waker| waiting.len() >= MAX_WAITERS || waiting.iter().any(|o| o.will_wake(w));
                let fresh = kept.as_mut().filter(|w| !known(w)).is_some();
                waiting.extend(if fresh { kept.take() } else { None });
            }
            found
        };
        self.panics.discard(kept);
        found
    }

    /// Returns `true` if no other member is known to answer.
    pub(in crate::ipcp::unicast) fn is_cut_off(&self) -> bool {
        self.machines.lock().directory.is_cut_off()
    }

    /// Wakes all waiters for names, to see that there will be no answer.
    pub(in crate::ipcp::unicast) fn wake_lookups(&self) {
        let waiting = core::mem::take(&mut self.machines.lock().waiting);
        self.panics.wake_all(waiting.into_values().flatten());
    }
}
