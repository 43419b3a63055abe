//! Identity of the member in the layer, and conflicts with others that have its address.

use core::sync::atomic::Ordering;
use core::time::Duration;

use super::Control;
use super::machines::{Machines, Seeds};
use crate::base::journal::record;
use crate::base::rng::Rng;
use crate::base::sync::AtomicU64;
use crate::base::time::Instant;
use crate::ipcp::connect::address::{self, Met};
use crate::ipcp::unicast::shared::Shared;
use crate::types::id::Address;
use crate::types::layer::{LayerConfig, LayerKind};

/// Time after the first management connection for which a member is new to the layer.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Identity of the member in the layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) address: Address,
    /// `true` if the member may have had the address in an earlier life.
    pub(super) kept: bool,
    /// Beginning of this life, seconds since 1970: its links are numbered above those of the earlier one.
    pub(super) since: u32,
}

impl Identity {
    pub(super) fn new(address: Address, shared: &Shared) -> Self {
        let since = u32::try_from(shared.unix_secs()).unwrap_or(1);
        Self { address, kept: shared.config.address == Some(address), since }
    }
}

/// Time at which the member counts as settled, nanoseconds: before that it may take another address.
pub(super) struct Settling(AtomicU64);

impl Settling {
    /// Returns that of a member that joins a layer. The member that bootstraps one is the oldest, and never new.
    pub(super) fn of(layer: &LayerConfig) -> Self {
        let joins = matches!(&layer.kind, LayerKind::Unicast(unicast) if address::is_valid(unicast.directory.peer));
        Self(AtomicU64::new(if joins { u64::MAX } else { 0 }))
    }

    /// The member has a management connection.
    pub(super) fn begin(&self, now: Instant) {
        self.0.fetch_min((now + SETTLED_AFTER).as_nanos(), Ordering::Relaxed);
    }

    fn is_over(&self, now: Instant) -> bool {
        now.as_nanos() >= self.0.load(Ordering::Relaxed)
    }
}

/// Neighbours' claims of our address.
#[derive(Default)]
pub(super) struct Claims {
    /// The claimed address, if one is to be settled; else 0.
    address: AtomicU64,
    /// The life in which a member asked us last that had our address, and 1; 0 for none.
    asked: AtomicU64,
}

impl Claims {
    /// Decides whether it is us who should give way, if we are new. Nothing is given up for a peer that asks and does
    /// not even say which life it is in, as members of the reference's kind: anyone can send that.
    fn are_ours_to_settle(&self, met: Met) -> bool {
        match met {
            Met::Asked => true,
            Met::Asking(Some(life)) => self.asked.swap(u64::from(life) + 1, Ordering::Relaxed) == u64::from(life) + 1,
            Met::Asking(None) => false,
        }
    }
}

impl Control {
    /// A neighbour was met that has our address, or had it when we introduced ourselves.
    pub(in crate::ipcp::unicast) fn same_address(&self, now: Instant, address: Address, met: Met) {
        if self.claims.are_ours_to_settle(met) {
            self.claims.address.store(address.0, Ordering::Release);
            self.handle(now);
        } else {
            self.counters.conflicts.count();
        }
    }

    /// Settles claims of neighbours to our address, serially with all other control work.
    pub(super) fn settle_claims(&self, now: Instant) {
        if self.claims.address.load(Ordering::Acquire) == 0 {
            return;
        }
        // It may have been given up since.
        if self.claims.address.swap(0, Ordering::AcqRel) == self.shared.address().0 {
            self.address_conflict(now);
        }
    }

    /// Reacts to another member with our address. A new member takes another one: its connections are made anew and its
    /// names registered again, the flows that it has are lost. One that has been a member for a while only counts.
    pub(super) fn address_conflict(&self, now: Instant) {
        self.counters.conflicts.count();
        let (ipcp, address) = (&self.shared.info.name, self.shared.address());
        if self.settling.is_over(now) {
            record!(
                self.panics,
                Identity,
                Error,
                [ipcp = ipcp, address = address],
                "another member has the address {address} of {ipcp:?}: make one of the two anew"
            );
            return;
        }
        let mut rng = self.shared.split_rng("another address");
        let is_taken = |address| address == self.shared.address() || self.knows(address);
        let Some(new) = address::draw(&mut rng, is_taken) else { return };
        record!(
            self.panics,
            Identity,
            Warn,
            [ipcp = ipcp, address = address, new = new],
            "another member has the address {address} of {ipcp:?}, which takes {new} and connects anew"
        );
        self.shared.set_address(new);
        self.begin_anew(now, new, rng);
        for flow in self.flows.flows() {
            flow.mark_down();
        }
        for id in self.connections() {
            self.lose(now, id);
        }
    }

    /// Forgets everything about the layer but our names, and goes on under another address.
    fn begin_anew(&self, now: Instant, address: Address, mut rng: Rng) {
        let unix = self.shared.unix_secs();
        let mut fresh = Machines::new(now, Identity::new(address, &self.shared), &self.shared, Seeds::new(&mut rng));
        let waiting = {
            let mut machines = self.machines.lock();
            // Under the lock under which names are registered: one that comes meanwhile is in either directory.
            for (name, _) in machines.directory.names() {
                // They were accepted before, under the same limits.
                let _ = fresh.directory.register(now, unix, name);
            }
            core::mem::swap(&mut *machines, &mut fresh);
            fresh.waiting
        };
        self.panics.wake_all(waiting.into_values().flatten());
        self.publish_table();
    }

    /// Returns `true` if routing knows of a member with this address.
    fn knows(&self, address: Address) -> bool {
        self.machines.lock().routing.knows(address)
    }
}
