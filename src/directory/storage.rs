//! What others have this member keep, and who may.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::rate::{Meter, Rate};
use super::requests::{Kind, Reason};
use super::store::{Account, Claim, Store};
use super::{Config, Directory};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::Contact;

/// What is kept for others.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) store: Store,
    /// What members may have stored that have shown that they are where they say.
    pub(super) stores: Meter,
    /// What all others may.
    unproven: Rate,
    confirming: Rate,
    /// Names whose owners are being asked whether they have them.
    pub(super) confirms: BTreeSet<(NameHash, Address)>,
}

impl Storage {
    pub(super) fn new(now: Instant, own: NameHash, config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            store: Store::new(own, config.store()),
            stores: Meter::new(now, limits.stores_per_second, limits.sources),
            unproven: Rate::new(now, limits.unproven_per_second),
            confirming: Rate::new(now, limits.confirmations_per_second),
            confirms: BTreeSet::new(),
        }
    }
}

impl Directory {
    /// A member wants a name stored.
    pub(super) fn asked_to_store(
        &mut self,
        now: Instant,
        from: Contact,
        (key, address, expires): (NameHash, Address, u32),
        token: Option<u64>,
        len: usize,
    ) {
        let proven = token.is_some_and(|token| self.serving.tokens.is_valid(now, from.address, token));
        let allowed =
            if proven { self.storage.stores.take(now, from.address) } else { self.storage.unproven.take(now) };
        if !allowed {
            self.counters.excessive += 1;
            return;
        }
        if proven {
            self.verify_sender(now, from);
        }
        // Both modulo 2³²: the format ends in 2106.
        let left = u64::from(expires).saturating_sub(self.unix(now) & u64::from(u32::MAX));
        let left = left.min(u64::from(self.config.dht.t_expire));
        // Nobody knows better than this member what is registered here.
        if address == self.own.address {
            self.counters.not_stored += 1;
            return;
        }
        if left == 0 {
            self.counters.not_stored += 1;
            if address == from.address {
                self.said_to_be_gone(now, key, address, proven, len);
            }
            return;
        }
        let account = if proven { Account::Member(from.address) } else { Account::Others };
        let claim = Claim { key, address, expires: now + Duration::from_secs(left), account };
        let kept = self.storage.store.put(now, claim).is_ok();
        *(if kept { &mut self.counters.stored } else { &mut self.counters.not_stored }) += 1;
        let itself = address == from.address;
        let open = !kept || self.storage.store.is_open(&key, address, claim.expires);
        if proven && itself {
            self.lookups.cache.heard(&key, address);
        } else if open && ((itself && len >= self.short_request()) || (kept && proven)) {
            self.confirm(now, key, address, Some(claim.expires));
        }
    }

    /// A member is said to say that it has a name no more.
    fn said_to_be_gone(&mut self, now: Instant, key: NameHash, address: Address, proven: bool, len: usize) {
        if proven {
            self.gone(now, key, address);
        } else if self.storage.store.has(&key, address) && len >= self.short_request() {
            self.confirm(now, key, address, None);
        }
    }

    /// A member has a name no more.
    fn gone(&mut self, now: Instant, key: NameHash, address: Address) {
        self.counters.withdrawn += u64::from(self.storage.store.withdraw(&key, address));
        self.lookups.cache.withdrawn(now, &key, address);
    }

    /// Asks a member whether it has a name, as somebody says until then, or as is believed.
    pub(super) fn confirm(&mut self, now: Instant, key: NameHash, address: Address, expires: Option<Instant>) {
        if self.storage.confirms.contains(&(key, address)) || !self.storage.confirming.take(now) {
            return;
        }
        if self.ask(now, address, Kind::Value, key, Reason::Confirm { expires }, 0) {
            self.counters.confirmations += 1;
            self.storage.confirms.insert((key, address));
        }
    }

    /// Asks contacts that are said to have a name, and were not asked or have not answered: a reference says so once a day.
    pub(super) fn confirm_unproven(&mut self, now: Instant) {
        let unproven = self.storage.store.unproven().filter(|(_, value)| value.expires > now);
        let unproven: Vec<_> = unproven.map(|(key, value)| (*key, value.address, value.expires)).collect();
        for (key, address, expires) in unproven {
            if self.contacts.table.get(address).is_some() {
                self.confirm(now, key, address, Some(expires));
            }
        }
    }

    /// It has answered.
    pub(super) fn confirmed(
        &mut self,
        now: Instant,
        key: NameHash,
        address: Address,
        expires: Option<Instant>,
        values: &[Address],
    ) {
        self.storage.confirms.remove(&(key, address));
        if !values.contains(&address) {
            return self.gone(now, key, address);
        }
        if let Some(expires) = expires {
            // If there is no room for it, it stays where it is.
            let _ = self.storage.store.put(now, Claim { key, address, expires, account: Account::Member(address) });
        }
    }

    /// Somebody is there, but did not ask.
    fn verify_sender(&mut self, now: Instant, from: Contact) {
        if self.contacts.table.get(from.address).is_none() {
            self.verify(now, from);
        }
    }
}
