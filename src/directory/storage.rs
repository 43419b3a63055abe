//! Names kept for others, and the members that may store them.

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

/// Names kept for others, with their rates.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) store: Store,
    /// Rates of members that have shown that they are at their addresses.
    pub(super) stores: Meter,
    /// Rates of the others.
    unproven: Quotas,
    /// Rates of confirmations of their claims.
    confirming: Quotas,
    /// Rate of this member's own confirmations.
    doubting: Rate,
    /// Names whose owners are being asked whether they have them.
    pub(super) confirms: BTreeSet<(NameHash, Address)>,
}

impl Storage {
    pub(super) fn new(now: Instant, own: NameHash, config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            store: Store::new(own, config.store()),
            stores: Meter::new(now, limits.stores_per_second, limits.sources),
            unproven: Quotas::new(now, limits.unproven_per_second, limits.sources),
            confirming: Quotas::new(now, limits.confirmations_per_second, limits.sources),
            doubting: Rate::new(now, limits.confirmations_per_second),
            confirms: BTreeSet::new(),
        }
    }
}

/// A rate for each member that has answered or shown that it is at its address, and one for all others: invented
/// sources cannot use up those of the first, and none of these that of another.
#[derive(Debug)]
struct Quotas {
    known: Meter,
    strangers: Rate,
}

impl Quotas {
    fn new(now: Instant, per_second: u32, sources: usize) -> Self {
        Self { known: Meter::new(now, per_second, sources), strangers: Rate::new(now, per_second) }
    }

    /// Takes a unit of a known member, or of all others.
    fn take(&mut self, now: Instant, known: Option<Address>) -> bool {
        match known {
            Some(known) => self.known.take(now, known),
            None => self.strangers.take(now),
        }
    }
}

/// Account that a confirmation is charged to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// This member, which was refused there.
    Own,
    /// The member that says so, which is known.
    Known(Address),
    /// All others.
    Stranger,
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
        // Three degrees of trust: a valid token proves that the sender receives at its address; a contact has proven
        // that once, but anyone who knows its id can speak in its name; all others may be invented. Each degree has
        // rates of its own, so that the lower cannot use up those of the higher.
        let proven = token.is_some_and(|token| self.serving.tokens.is_valid(now, from.address, token));
        let known = (proven || self.contacts.knows(&from)).then_some(from.address);
        let allowed = match proven {
            true => self.storage.stores.take(now, from.address),
            false => self.storage.unproven.take(now, known),
        };
        if !allowed {
            self.counters.rate_limited += 1;
            return;
        }
        if proven {
            self.verify_sender(now, from);
        }
        let cause = known.map_or(Cause::Stranger, Cause::Known);
        // Both modulo 2³²: the format ends in 2106.
        let left = u64::from(expires).saturating_sub(self.unix(now) & u64::from(u32::MAX));
        // Never longer than the layer agrees on, whatever the sender claims.
        let left = left.min(u64::from(self.config.dht.t_expire));
        // This member knows best which names are registered here.
        if address == self.own.address {
            self.counters.not_stored += 1;
            return;
        }
        // No time left is how owners take names back; of other members it means nothing.
        if left == 0 {
            self.counters.not_stored += 1;
            if address == from.address {
                self.said_to_be_gone(now, (key, address), cause, proven, len);
            }
            return;
        }
        let account = if proven { Account::Member(from.address) } else { Account::Others };
        let claim = Claim { key, address, expires: now + Duration::from_secs(left), account };
        self.store_claim(now, claim, cause, address == from.address, len);
    }

    /// Keeps a claim if there is room, and asks the member that it names if that can change something. `itself`: it comes
    /// from that member.
    fn store_claim(&mut self, now: Instant, claim: Claim, cause: Cause, itself: bool, len: usize) {
        let Claim { key, address, expires, account } = claim;
        let proven = matches!(account, Account::Member(_));
        // A claim that was refused as hearsay may still be kept when its owner confirms it: then it counts as the
        // owner's. One that is kept is only worth a question if that can change something.
        let kept = self.storage.store.put(now, claim).is_ok();
        *(if kept { &mut self.counters.stored } else { &mut self.counters.not_stored }) += 1;
        let open = !kept || self.storage.store.is_open(&key, address, expires);
        if proven && itself {
            self.lookups.cache.heard(&key, address);
        // The question goes to an address that may be forged. It is no longer than the message that has caused it, or a
        // proven member answers for it with its rate: nothing is amplified.
        } else if open && ((itself && len >= self.short_request()) || (kept && proven)) {
            self.confirm(now, cause, key, address, Some(expires));
        }
    }

    /// A member is said to say that it has a name no more.
    fn said_to_be_gone(
        &mut self,
        now: Instant,
        (key, address): (NameHash, Address),
        cause: Cause,
        proven: bool,
        len: usize,
    ) {
        if proven {
            self.gone(now, key, address);
        // Anyone can send that. The owner is asked instead of believed, with no more bytes than have come.
        } else if self.storage.store.has(&key, address) && len >= self.short_request() {
            self.confirm(now, cause, key, address, None);
        }
    }

    /// A member has a name no more.
    fn gone(&mut self, now: Instant, key: NameHash, address: Address) {
        self.counters.withdrawn += u64::from(self.storage.store.withdraw(&key, address));
        self.lookups.cache.withdrawn(now, &key, address);
    }

    /// Asks a member whether it has a name, as is claimed until then, or believed.
    pub(super) fn confirm(
        &mut self,
        now: Instant,
        cause: Cause,
        key: NameHash,
        address: Address,
        expires: Option<Instant>,
    ) {
        // One question at a time for each value, however many members claim it meanwhile.
        if self.storage.confirms.contains(&(key, address)) {
            return;
        }
        let allowed = match cause {
            Cause::Own => self.storage.doubting.take(now),
            Cause::Known(member) => self.storage.confirming.take(now, Some(member)),
            Cause::Stranger => self.storage.confirming.take(now, None),
        };
        if !allowed {
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
                self.confirm(now, Cause::Known(address), key, address, Some(expires));
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
        // It answered without naming itself, so it does not have the name, whoever claims it.
        if !values.contains(&address) {
            return self.gone(now, key, address);
        }
        if let Some(expires) = expires {
            // If there is no room for it, it stays where it is.
            let _ = self.storage.store.put(now, Claim { key, address, expires, account: Account::Member(address) });
        }
    }

    /// A member is there that did not ask.
    fn verify_sender(&mut self, now: Instant, from: Contact) {
        if self.contacts.table.get(from.address).is_none() {
            self.verify(now, from);
        }
    }
}
