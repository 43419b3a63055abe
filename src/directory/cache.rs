//! Results of lookups, for a short time, and addresses that turned out to be wrong.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;

/// Time for which an address that did not answer is not believed on hearsay.
const DOUBT: Duration = Duration::from_secs(10);
/// Addresses remembered for a name, and of these doubted.
const ADDRESSES: usize = 16;

#[derive(Debug, Default)]
struct Entry {
    addresses: Vec<Address>,
    until: Instant,
    doubted: Vec<(Address, Instant)>,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        // Doubts outlive the result: without them the next lookup would believe the same hearsay.
        self.until <= now && self.doubted.iter().all(|(_, until)| *until <= now)
    }
}

/// Results of lookups. When there are too many, what is over goes, or else what would be forgotten first.
#[derive(Debug)]
pub(super) struct Cache {
    entries: BTreeMap<NameHash, Entry>,
    limit: usize,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: BTreeMap::new(), limit: limit.max(1) }
    }

    /// Addresses found for a name; empty if it was found to be unknown. `None` if it has to be looked up.
    pub(super) fn get(&self, now: Instant, key: &NameHash) -> Option<&[Address]> {
        self.entries.get(key).filter(|entry| entry.until > now).map(|entry| entry.addresses.as_slice())
    }

    /// A lookup found these addresses, which are good until then.
    pub(super) fn put(&mut self, now: Instant, key: &NameHash, addresses: &[Address], until: Instant) {
        let entry = self.entry(now, key);
        entry.addresses.clear();
        entry.addresses.extend(addresses.iter().take(ADDRESSES));
        entry.until = until;
    }

    /// A late answer names one more address, which is added if the name was looked up of late.
    pub(super) fn add(&mut self, now: Instant, key: &NameHash, address: Address, until: Instant) {
        if self.is_doubted(now, key, address) {
            return;
        }
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.until > now) else { return };
        if entry.addresses.len() < ADDRESSES && !entry.addresses.contains(&address) {
            entry.addresses.push(address);
            entry.until = until;
        }
    }

    /// Notes that this address did not answer.
    pub(super) fn doubt(&mut self, now: Instant, key: &NameHash, address: Address) {
        let entry = self.entry(now, key);
        entry.addresses.retain(|known| *known != address);
        if entry.addresses.is_empty() {
            entry.until = now;
        }
        entry.doubted.retain(|(known, until)| *known != address && *until > now);
        if entry.doubted.len() >= ADDRESSES {
            entry.doubted.remove(0);
        }
        entry.doubted.push((address, now + DOUBT));
    }

    /// A member says that it has the name: it is tried first.
    pub(super) fn heard(&mut self, key: &NameHash, address: Address) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.doubted.retain(|(known, _)| *known != address);
        // An empty entry stands for an unknown name or an expired result. The claim itself is in the store, and is
        // found there.
        if !entry.addresses.is_empty() {
            entry.addresses.retain(|known| *known != address);
            entry.addresses.insert(0, address);
            entry.addresses.truncate(ADDRESSES);
        }
    }

    /// A member says that it has the name no more.
    pub(super) fn withdrawn(&mut self, now: Instant, key: &NameHash, address: Address) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.addresses.retain(|known| *known != address);
        if entry.addresses.is_empty() {
            entry.until = now;
        }
    }

    /// Addresses that have not answered of late.
    pub(super) fn doubted(&self, now: Instant, key: &NameHash) -> impl Iterator<Item = Address> {
        let doubted = self.entries.get(key).map(|entry| entry.doubted.as_slice()).unwrap_or_default();
        doubted.iter().filter(move |(_, until)| *until > now).map(|(address, _)| *address)
    }

    /// Returns `true` if this address has not answered of late.
    pub(super) fn is_doubted(&self, now: Instant, key: &NameHash, address: Address) -> bool {
        self.doubted(now, key).any(|known| known == address)
    }

    fn entry(&mut self, now: Instant, key: &NameHash) -> &mut Entry {
        // The scan is linear in a small bound, and happens only when the cache is full.
        if self.entries.len() >= self.limit && !self.entries.contains_key(key) {
            self.entries.retain(|_, entry| !entry.is_over(now));
            if self.entries.len() >= self.limit
                && let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| *key)
            {
                self.entries.remove(&oldest);
            }
        }
        self.entries.entry(*key).or_default()
    }

    /// Names in it.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
