//! Counters and contents of a directory, for observers.

use alloc::vec::Vec;

use super::{Directory, Style};
use crate::base::counter::counts;
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;

counts! {
    /// Counters of a directory since it began.
    #[non_exhaustive]
    pub struct Counters {
        /// Lookups begun by this member.
        lookups => "lookups",
        /// Lookups answered from memory.
        known => "known",
        /// Lookups that found the name by asking.
        found => "found",
        /// Lookups that did not find the name.
        not_found => "not_found",
        /// Lookups refused because too many were under way.
        refused_lookups => "refused_lookups",
        /// Addresses that did not answer.
        doubts => "doubts",
        /// Messages received.
        received => "received",
        /// Messages sent.
        sent => "sent",
        /// Messages lost because they were not polled in time.
        overflowed => "overflowed",
        /// Messages that had no room in a packet.
        too_large => "too_large",
        /// Messages that could not be sent for want of a route.
        unreachable => "unreachable",
        /// Messages that were malformed.
        malformed => "malformed",
        /// Messages under the own id or address.
        id_conflicts => "id_conflicts",
        /// Requests answered.
        answered => "answered",
        /// Requests dropped because their sender asks too much.
        rate_limited => "rate_limited",
        /// Names stored for others, again and again included.
        stored => "stored",
        /// Names not stored: expired, or their sender stores too much, or there is no room.
        not_stored => "not_stored",
        /// Names that their owners took back.
        withdrawn => "withdrawn",
        /// Owners asked whether they have a name.
        confirmations => "confirmations",
        /// Requests held back until their senders had shown that they are there.
        held => "held",
        /// Requests asked, those asked again included.
        requests => "questions_asked",
        /// Requests asked again.
        repeated => "repeated",
        /// Answers to no request, or to that of another member.
        unsolicited => "unsolicited",
        /// Members that became contacts.
        contacts_won => "contacts_won",
        /// Contacts given up because they did not answer any more.
        contacts_lost => "contacts_lost",
        /// Lookups for members that do not look up iteratively.
        relayed => "relayed",
        /// Own names published.
        published => "published",
        /// Names of others published, because their owners had not for long.
        replicated => "replicated",
        /// Names handed on to new members.
        handed_off => "handed_off",
    }
}

/// Sizes of all tables.
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
    /// Its way of looking names up.
    pub style: Style,
    /// Time of its last answer.
    pub seen: Instant,
    /// It answered when last asked, and there is a route.
    pub live: bool,
}

/// An address kept for a name of another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEntry {
    /// The name.
    pub name: NameHash,
    /// Address of the name.
    pub address: Address,
    /// Until when that is believed.
    pub expires: Instant,
    /// The member with this address said so.
    pub by_owner: bool,
}

impl Directory {
    /// Counters.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns `true` if nobody has answered the last lookup, and no member is known that would: the next one will hardly find out
    /// more.
    pub fn is_cut_off(&self) -> bool {
        self.lookups.is_silent && !self.contacts.table.iter().any(|peer| peer.is_live())
    }

    /// Sizes of all tables.
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
            timers: self.timers.len() + self.overdue.len(),
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

    /// Names kept for others, expired values perhaps included.
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
