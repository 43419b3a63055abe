//! What can be seen of a directory from outside.

use alloc::vec::Vec;

use super::{Directory, Style};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;

/// What a directory has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Lookups for this member.
    pub lookups: u64,
    /// Of these, answered from memory.
    pub known: u64,
    /// Of these, found by asking.
    pub found: u64,
    /// Of these, not found.
    pub not_found: u64,
    /// Of these, refused because too many were under way.
    pub refused_lookups: u64,
    /// Addresses at which nobody answered.
    pub doubts: u64,
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages lost because nobody polled them.
    pub overflowed: u64,
    /// Messages that could not be sent for want of a route.
    pub unreachable: u64,
    /// Messages that are none.
    pub malformed: u64,
    /// Messages under the own id or address.
    pub impostors: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests dropped because their sender asks too much.
    pub excessive: u64,
    /// Names stored for others, again and again included.
    pub stored: u64,
    /// Names not stored: expired, or their sender stores too much, or there is no room.
    pub not_stored: u64,
    /// Names that their owners took back.
    pub withdrawn: u64,
    /// Owners asked whether they have a name.
    pub confirmations: u64,
    /// Requests held back until their senders had shown that they are there.
    pub held: u64,
    /// Requests asked, those asked again included.
    pub requests: u64,
    /// Requests asked again.
    pub repeated: u64,
    /// Answers to no request, or to somebody else's.
    pub unasked: u64,
    /// Members that became contacts.
    pub contacts_won: u64,
    /// Contacts given up because they did not answer any more.
    pub contacts_lost: u64,
    /// Lookups for members that do not look up iteratively.
    pub relayed: u64,
    /// Own names published.
    pub published: u64,
    /// Names of others published, because their owners had not for long.
    pub replicated: u64,
    /// Names handed on to new members.
    pub handed_off: u64,
}

/// How many of everything there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Names registered here.
    pub names: usize,
    /// Names kept for others.
    pub keys: usize,
    /// Contacts.
    pub contacts: usize,
    /// Members heard of.
    pub replacements: usize,
    /// Lookups under way.
    pub lookups: usize,
    /// Requests under way.
    pub outstanding: usize,
    /// Names whose lookup is remembered.
    pub cache: usize,
    /// Members whose rates are known.
    pub sources: usize,
    /// Names that wait to be looked up.
    pub waiting: usize,
    /// Requests held back for a lookup.
    pub relays: usize,
    /// Requests held back until their senders have shown that they are there.
    pub held: usize,
    /// Names that are being taken back.
    pub withdrawals: usize,
    /// Owners being asked whether they have a name.
    pub confirms: usize,
    /// New contacts that have not got all names that they have to keep.
    pub handoffs: usize,
    /// Lookups to be begun.
    pub background: usize,
    /// Timers armed.
    pub timers: usize,
}

/// A contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContactEntry {
    /// Its id.
    pub id: NameHash,
    /// Its address.
    pub address: Address,
    /// How it looks names up.
    pub style: Style,
    /// When it last answered.
    pub seen: Instant,
    /// Whether it answered when last asked, and there is a route.
    pub live: bool,
}

/// An address kept for a name of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEntry {
    /// The name.
    pub name: NameHash,
    /// Where it is.
    pub address: Address,
    /// Until when that is believed.
    pub expires: Instant,
    /// Whether the member with this address said so.
    pub by_owner: bool,
}

impl Directory {
    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many of everything there are.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            names: self.publishing.names.len(),
            keys: self.storage.store.len(),
            contacts: self.contacts.table.len(),
            replacements: self.contacts.table.replacements(),
            lookups: self.lookups.active.len(),
            outstanding: self.lookups.requests.len(),
            cache: self.lookups.cache.len(),
            sources: [&self.serving.contacts, &self.serving.strangers, &self.serving.short, &self.storage.stores]
                .map(|rates| rates.len())
                .into_iter()
                .max()
                .unwrap_or(0),
            waiting: self.lookups.waiting.len(),
            relays: self.serving.relays.len(),
            held: self.serving.held.len(),
            withdrawals: self.publishing.withdrawals.len(),
            confirms: self.storage.confirms.len(),
            handoffs: self.publishing.handoffs.len(),
            background: self.background.len(),
            timers: self.timers.len(),
        }
    }

    /// The names registered here, and whether anybody was told.
    pub fn names(&self) -> impl Iterator<Item = (NameHash, bool)> {
        self.publishing.names.iter().map(|(hash, name)| (*hash, name.is_published()))
    }

    /// The contacts.
    pub fn contacts(&self) -> Vec<ContactEntry> {
        let entry = |peer: &super::table::Peer| ContactEntry {
            id: peer.contact.id,
            address: peer.contact.address,
            style: peer.style,
            seen: peer.seen,
            live: peer.is_live(),
        };
        self.contacts.table.iter().map(entry).collect()
    }

    /// What is kept for others, expired values perhaps included.
    pub fn entries(&self) -> Vec<StoredEntry> {
        let entry = |(name, value): (&NameHash, &super::store::Value)| StoredEntry {
            name: *name,
            address: value.address,
            expires: value.expires,
            by_owner: value.itself,
        };
        self.storage.store.iter().map(entry).collect()
    }
}
