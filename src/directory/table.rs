//! Contacts: Kademlia's k-buckets, by how many leading bits their ids share with the own one.
//!
//! Bucket `i` has the contacts that share exactly `i` bits, the last one all that share as many or more; it is the one
//! that splits when it is full. Only who has answered a request of ours becomes a contact. Who was heard of, or finds
//! no room, waits in the replacement cache of the bucket. A contact leaves only when it is dead: it has not answered
//! [`STALE`] requests in a row and there is a replacement, or [`DEAD`]. Every id has one address, and every address one
//! id.

use alloc::vec;
use alloc::vec::Vec;

use super::distance::{common_prefix, compare};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::Contact;

/// Requests in a row without an answer after which a contact gives way to a replacement. Each was sent twice.
const STALE: u8 = 2;
/// Requests in a row without an answer after which a contact is given up.
const DEAD: u8 = 4;

/// A member's way of looking names up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Unknown.
    #[default]
    Unknown,
    /// It asks ever closer members until it has found the key, as this directory does.
    Iterative,
    /// It asks once, and does not put names where they belong: the reference.
    SingleRound,
}

/// A member that has answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) contact: Contact,
    pub(super) style: Style,
    /// Time of its last answer.
    pub(super) seen: Instant,
    /// The last token that it gave.
    token: Option<u64>,
    /// Requests since then that it did not answer.
    failures: u8,
    /// There is no route to it.
    lost: bool,
}

impl Peer {
    /// Returns `true` if it can be told to others, and asked without fear of waiting.
    pub(super) fn is_live(&self) -> bool {
        self.failures == 0 && !self.lost
    }
}

#[derive(Debug)]
struct Bucket {
    /// The one that has not answered for the longest time first.
    peers: Vec<Peer>,
    /// Heard of, the latest last.
    replacements: Vec<Contact>,
    /// Time of the last lookup of an id in it.
    touched: Instant,
}

/// Result of adding a member that has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It was a contact already.
    Known,
    /// It is a contact now.
    New,
    /// There is no room.
    Full,
}

/// The contacts.
#[derive(Debug)]
pub(super) struct Table {
    own: Contact,
    buckets: Vec<Bucket>,
    max_peers: usize,
    max_replacements: usize,
    max_buckets: usize,
    len: usize,
}

impl Table {
    /// A table without contacts.
    pub(super) fn new(
        own: Contact,
        max_peers: usize,
        max_replacements: usize,
        max_buckets: usize,
        now: Instant,
    ) -> Self {
        let max_buckets = max_buckets.clamp(1, own.id.as_bytes().len() * 8);
        let buckets = vec![Bucket { peers: Vec::new(), replacements: Vec::new(), touched: now }];
        Self { own, buckets, max_peers, max_replacements, max_buckets, len: 0 }
    }

    /// Contacts in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All contacts, from far to near buckets.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.buckets.iter().flat_map(|bucket| &bucket.peers)
    }

    /// Spares in it.
    pub(super) fn replacements(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.replacements.len()).sum()
    }

    /// The contact with this address.
    pub(super) fn get(&self, address: Address) -> Option<&Peer> {
        self.iter().find(|peer| peer.contact.address == address)
    }

    fn get_mut(&mut self, address: Address) -> Option<&mut Peer> {
        self.buckets.iter_mut().flat_map(|bucket| &mut bucket.peers).find(|peer| peer.contact.address == address)
    }

    /// The `count` contacts closest to `key` that are well, the closest first.
    pub(super) fn closest(&self, key: &NameHash, count: usize) -> Vec<Contact> {
        let mut well: Vec<Contact> = self.iter().filter(|peer| peer.is_live()).map(|peer| peer.contact).collect();
        // Selected before sorted: of hundreds of contacts an answer needs k, and this runs for every request.
        if well.len() > count && count > 0 {
            well.select_nth_unstable_by(count - 1, |a, b| compare(key, &a.id, &b.id));
        }
        well.truncate(count);
        well.sort_unstable_by(|a, b| compare(key, &a.id, &b.id));
        well
    }

    /// Contacts that are not well, the closest to `key` first.
    pub(super) fn stale(&self, key: &NameHash, count: usize) -> Vec<Contact> {
        let mut stale: Vec<Contact> = self.iter().filter(|peer| !peer.is_live()).map(|peer| peer.contact).collect();
        stale.sort_unstable_by(|a, b| compare(key, &a.id, &b.id));
        stale.truncate(count);
        stale
    }

    fn index(&self, id: &NameHash) -> usize {
        common_prefix(&self.own.id, id).min(self.buckets.len() - 1)
    }

    fn bucket(&mut self, id: &NameHash) -> Option<&mut Bucket> {
        let index = self.index(id);
        self.buckets.get_mut(index)
    }

    /// A member has answered under this id and address.
    pub(super) fn answered(&mut self, now: Instant, contact: Contact) -> Entered {
        if contact.id == self.own.id || contact.address == self.own.address {
            return Entered::Full;
        }
        if self.get(contact.address).is_some_and(|known| known.contact.id != contact.id) {
            // It has started anew.
            self.remove(contact.address);
        }
        let max = self.max_peers;
        // Before its bucket is chosen: the contact may belong into the new one.
        while self.must_split(&contact.id) {
            self.split();
        }
        let Some(bucket) = self.bucket(&contact.id) else { return Entered::Full };
        bucket.replacements.retain(|replacement| replacement.address != contact.address);
        if let Some(at) = bucket.peers.iter().position(|peer| peer.contact.id == contact.id) {
            let mut peer = bucket.peers.remove(at);
            if peer.contact.address != contact.address && peer.is_live() {
                // Another member with the id of a live one.
                bucket.peers.insert(at, peer);
                return Entered::Full;
            }
            peer = Peer { contact, seen: now, failures: 0, lost: false, ..peer };
            bucket.peers.push(peer);
            return Entered::Known;
        }
        // A live contact never gives way to a new one: the longer a member has been there, the likelier it stays, and a
        // flood of new ids cannot displace those that are known (Kademlia, 2.2).
        let full = bucket.peers.len() >= max;
        if full && let Some(at) = bucket.peers.iter().position(|peer| peer.failures >= STALE) {
            bucket.peers.remove(at);
            self.len -= 1;
        } else if full {
            self.hear(contact);
            return Entered::Full;
        }
        let Some(bucket) = self.bucket(&contact.id) else { return Entered::Full };
        bucket.peers.push(Peer { contact, style: Style::Unknown, seen: now, token: None, failures: 0, lost: false });
        self.len += 1;
        Entered::New
    }

    /// Returns `true` if the last bucket must split before there is room for `id` in it.
    fn must_split(&self, id: &NameHash) -> bool {
        let last = self.buckets.len() - 1;
        let Some(bucket) = self.buckets.get(last) else { return false };
        self.buckets.len() < self.max_buckets
            && bucket.peers.len() >= self.max_peers
            // Only the bucket around the own id splits. The others stay as they are, so that the table grows with the
            // logarithm of the layer.
            && self.index(id) == last
            && bucket.peers.iter().all(|peer| peer.contact.id != *id)
    }

    fn split(&mut self) {
        let (own, last) = (self.own.id, self.buckets.len() - 1);
        let Some(bucket) = self.buckets.last_mut() else { return };
        let near = |id: &NameHash| common_prefix(&own, id) > last;
        let (peers, far) = bucket.peers.drain(..).partition(|peer: &Peer| near(&peer.contact.id));
        bucket.peers = far;
        let (replacements, far) =
            bucket.replacements.drain(..).partition(|replacement: &Contact| near(&replacement.id));
        bucket.replacements = far;
        // A lookup in the old bucket was as near to both halves.
        let touched = bucket.touched;
        self.buckets.push(Bucket { peers, replacements, touched });
    }

    /// Notes a member that another has named.
    pub(super) fn hear(&mut self, contact: Contact) {
        let own = self.own;
        // Hearsay changes nothing about contacts: a liar could otherwise move a known id to an address of its choice.
        let known = self.iter().any(|peer| peer.contact.address == contact.address || peer.contact.id == contact.id);
        if known || contact.id == own.id || contact.address == own.address {
            return;
        }
        let max = self.max_replacements;
        let Some(bucket) = self.bucket(&contact.id) else { return };
        bucket.replacements.retain(|replacement| replacement.address != contact.address);
        if bucket.replacements.len() >= max && !bucket.replacements.is_empty() {
            bucket.replacements.remove(0);
        }
        if max > 0 {
            bucket.replacements.push(contact);
        }
    }

    /// Returns `true` if a member with this id would become a contact if it answered.
    pub(super) fn has_place(&self, id: &NameHash) -> bool {
        let Some(bucket) = self.buckets.get(self.index(id)) else { return false };
        let splits = self.index(id) + 1 == self.buckets.len() && self.buckets.len() < self.max_buckets;
        bucket.peers.len() < self.max_peers || splits || bucket.peers.iter().any(|peer| peer.failures >= STALE)
    }

    /// Takes out a replacement for which there is a place, if it answers.
    pub(super) fn take_replacement(&mut self) -> Option<Contact> {
        let (max, last) = (self.max_peers, self.buckets.len() - 1);
        let splits = self.buckets.len() < self.max_buckets;
        let place = |at: usize, bucket: &Bucket| {
            let stale = bucket.peers.iter().any(|peer| peer.failures >= STALE);
            bucket.peers.len() < max || stale || (at == last && splits)
        };
        // Near ones first: they are the ones who keep the same names.
        let mut buckets = self.buckets.iter_mut().enumerate().rev();
        buckets.find_map(|(at, bucket)| if place(at, bucket) { bucket.replacements.pop() } else { None })
    }

    /// A member did not answer a request that was sent more than once. Returns whether it is a contact no more.
    pub(super) fn failed(&mut self, address: Address) -> bool {
        let Some(peer) = self.get_mut(address) else {
            for bucket in &mut self.buckets {
                // Heard of, asked, silent: another one of the cache has its turn.
                bucket.replacements.retain(|replacement| replacement.address != address);
            }
            return false;
        };
        peer.failures = peer.failures.saturating_add(1);
        let dead = peer.failures >= DEAD;
        if dead {
            self.remove(address);
        }
        dead
    }

    /// There is no route to a member.
    pub(super) fn lost(&mut self, address: Address) {
        if let Some(peer) = self.get_mut(address) {
            peer.lost = true;
        }
    }

    /// There may be routes again.
    pub(super) fn routes_changed(&mut self) {
        for peer in self.buckets.iter_mut().flat_map(|bucket| &mut bucket.peers) {
            peer.lost = false;
        }
    }

    /// A contact has given a token.
    pub(super) fn set_token(&mut self, contact: &Contact, token: u64) {
        if let Some(peer) = self.get_mut(contact.address).filter(|peer| peer.contact.id == contact.id) {
            peer.token = Some(token);
        }
    }

    /// The last token that the contact with this address gave.
    pub(super) fn token(&self, address: Address) -> Option<u64> {
        self.get(address)?.token
    }

    /// It is known how a contact looks names up.
    pub(super) fn set_style(&mut self, contact: &Contact, style: Style) {
        if let Some(peer) = self.get_mut(contact.address).filter(|peer| peer.contact.id == contact.id) {
            peer.style = style;
        }
    }

    fn remove(&mut self, address: Address) {
        for bucket in &mut self.buckets {
            let before = bucket.peers.len();
            bucket.peers.retain(|peer| peer.contact.address != address);
            self.len -= before - bucket.peers.len();
        }
    }

    /// A lookup for `key` has begun: its bucket needs no other one soon.
    pub(super) fn touch(&mut self, now: Instant, key: &NameHash) {
        if let Some(bucket) = self.bucket(key) {
            bucket.touched = now;
        }
    }

    /// The bucket that was not touched for the longest time, by the bits its contacts share with the own id, and since
    /// when.
    pub(super) fn oldest_bucket(&self) -> (usize, Instant) {
        let buckets = self.buckets.iter().map(|bucket| bucket.touched).enumerate();
        buckets.min_by_key(|(_, touched)| *touched).unwrap_or_default()
    }

    /// Number of buckets.
    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// The contact of a bucket that has not answered for the longest time.
    pub(super) fn oldest_in(&self, bucket: usize) -> Option<&Peer> {
        self.buckets.get(bucket)?.peers.iter().min_by_key(|peer| peer.seen)
    }
}
