//! Requests of other members.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::lookup::Purpose;
use super::rate::{Meter, Rate};
use super::requests::{Kind, LIFETIME, SHORT_COOKIE, is_signed};
use super::table::Style;
use super::tokens::Tokens;
use super::{Directory, Limits, Task};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension, Message};

/// Addresses in an answer: the reference takes no more, and looks at two.
pub(super) const VALUES: usize = 8;
/// Requests of one member that are held; of more, the oldest go.
const HELD_OF_ONE: usize = 4;
/// Bytes of a field's number and length, and of the longest number with that of its field.
const TAG: usize = 2;
const NUMBER: usize = 11;

/// A request of another member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    pub(super) from: Contact,
    pub(super) cookie: u64,
    pub(super) key: NameHash,
    pub(super) kind: Kind,
    /// Bytes of it.
    pub(super) len: usize,
    /// Time of arrival.
    pub(super) at: Instant,
}

impl Query {
    /// Until when an answer is of use.
    fn until(&self) -> Instant {
        self.at + LIFETIME
    }
}

/// A request that waits for a lookup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    query: Query,
    /// Longest answer, or the rest of that for one more.
    room: usize,
    /// Time of the answer, whatever the lookup has found.
    due: Instant,
    answered: bool,
}

/// Requests of other members, and lookups for them.
#[derive(Debug)]
pub(super) struct Serving {
    /// Rates of contacts: invented sources cannot crowd them out.
    pub(super) contacts: Meter,
    /// Rate of all others.
    pub(super) strangers: Meter,
    /// Requests that are shorter than their answers.
    pub(super) short: Meter,
    /// Requests that are answered when their senders have shown that they are there; the oldest first.
    pub(super) held: VecDeque<Query>,
    pub(super) relays: Vec<Relay>,
    relaying: Rate,
    pub(super) tokens: Tokens,
}

impl Serving {
    pub(super) fn new(now: Instant, limits: &Limits, rng: &mut Rng) -> Self {
        Self {
            contacts: Meter::new(now, limits.requests_per_second, limits.sources),
            strangers: Meter::new(now, limits.requests_per_second, limits.sources),
            short: Meter::new(now, limits.short_per_second, limits.sources),
            held: VecDeque::new(),
            relays: Vec::new(),
            relaying: Rate::new(now, limits.relays_per_second),
            tokens: Tokens::new(rng),
        }
    }
}

impl Directory {
    /// A member asks who is near a key, or where a name is.
    pub(super) fn asked(&mut self, now: Instant, query: Query) {
        let from = query.from;
        let knows = self.contacts.knows(&from);
        // Apart, or a flood from invented addresses would leave nothing for contacts.
        let rates = if knows { &mut self.serving.contacts } else { &mut self.serving.strangers };
        if !rates.take(now, from.address) {
            self.counters.rate_limited += 1;
            return;
        }
        // A member that is not known is asked as well whether it is there.
        let room = if knows { query.len } else { query.len.saturating_sub(self.longest_request()) };
        // It is long enough for a useful answer. A forged sender then gets no more bytes than the forger has spent.
        if room >= self.answer_len(query.kind, 1, VALUES) {
            self.heard_from(now, from, style(&query));
            return self.serve(now, query, room);
        }
        if knows {
            self.heard_from(now, from, style(&query));
            // A reference that has answered once is known to receive there. What it is sent in excess of its requests
            // is bounded by this rate.
            if self.serving.short.take(now, from.address) {
                self.serve(now, query, usize::MAX);
            } else {
                self.counters.rate_limited += 1;
            }
            return;
        }
        // Too short even for the question that would have to go back.
        if query.len < self.short_request() {
            self.counters.rate_limited += 1;
            return;
        }
        if !self.greet(&query) {
            self.hold(now, query);
        }
    }

    /// Answers one that was asked with too few bytes with nothing but that this member is there, in no more bytes than it
    /// has sent. Two that both have no room for more in a packet would otherwise wait for each other.
    fn greet(&mut self, query: &Query) -> bool {
        let Query { from, cookie, key, kind, len, .. } = *query;
        // A reference could not bear an answer without contacts, and one that looks for a name would take it for all that is
        // known of it.
        if kind != Kind::Node || !is_signed(cookie) || !self.lookups.requests.is_squeezed(from.address) {
            return false;
        }
        let message = Message { src: self.own, body: Body::FoundNode { cookie, key, contacts: Vec::new() } };
        let fits = message.encode().is_ok_and(|bytes| bytes.len() <= len);
        if fits {
            self.counters.answered += 1;
            self.send(from.address, message.body, Extension::default());
        }
        fits
    }

    /// Keeps a request until its sender has shown that it is there, which it is asked.
    fn hold(&mut self, now: Instant, query: Query) {
        let from = query.from;
        self.ping(now, from.address, true);
        if !self.contacts.pinged.contains(&from.address) {
            // It will show nothing, and must not displace a member that may.
            self.counters.rate_limited += 1;
            return;
        }
        self.counters.held += 1;
        // Who is there, and has not asked, gets as many answers all the same.
        let its = self.serving.held.iter().filter(|held| held.from.address == from.address).count();
        if its >= HELD_OF_ONE
            && let Some(oldest) = self.serving.held.iter().position(|held| held.from.address == from.address)
        {
            self.serving.held.remove(oldest);
        }
        if self.serving.held.len() >= self.config.limits.held {
            let held = &self.serving.held;
            let again = |at: usize, of: Address| held.iter().skip(at + 1).any(|other| other.from.address == of);
            // The oldest of a member that has several goes first, so that the last request of each is held as long as
            // possible.
            let one_of_several = held.iter().enumerate().position(|(at, held)| again(at, held.from.address));
            self.serving.held.remove(one_of_several.unwrap_or(0));
        }
        self.serving.held.push_back(query);
    }

    /// A member has shown that it is there: answers what it asked before.
    pub(super) fn answer_held(&mut self, now: Instant, from: &Contact) {
        if self.serving.held.iter().all(|query| query.from != *from) {
            // No timer is armed for these: they are dropped when one passes by.
            self.serving.held.retain(|query| query.until() > now);
            return;
        }
        let (its, others) = self.serving.held.drain(..).partition(|query| query.from == *from);
        self.serving.held = others;
        let its: VecDeque<Query> = its;
        for query in its.into_iter().filter(|query| query.until() > now) {
            self.heard_from(now, query.from, style(&query));
            self.serve(now, query, usize::MAX);
        }
    }

    /// Answers a request with at most so many bytes.
    fn serve(&mut self, now: Instant, query: Query, room: usize) {
        let iterative = is_signed(query.cookie);
        if iterative && query.len < self.answer_len(query.kind, 1, VALUES) {
            self.note_keeper(&query);
        }
        let mut values = Vec::new();
        if query.kind == Kind::Value {
            values = self.known_values(now, &query.key, !iterative);
            // Members of this kind go on by themselves from the contacts in the answer. A reference would give up.
            if values.is_empty() && !iterative && self.relay(now, query, room) {
                return;
            }
        }
        let _ = self.answer(now, &query, room, values);
    }

    /// A member of this kind that asks shortly wants to know whether a name is here: it keeps the name, however it came
    /// to know it.
    fn note_keeper(&mut self, query: &Query) {
        let who = query.from.address;
        let token = self.contacts.table.token(who);
        if let Some(name) = self.publishing.names.get_mut(&query.key) {
            name.note_keeper(who, token);
        }
    }

    /// Addresses of a name, as far as this member may say: here, or as others have stored it; and its own findings, for
    /// members that cannot look up.
    fn known_values(&self, now: Instant, key: &NameHash, found: bool) -> Vec<Address> {
        let own = self.publishing.names.contains_key(key).then_some(self.own.address);
        let stored = self.storage.store.get(now, key).into_iter().map(|value| value.address);
        let found = self.lookups.cache.get(now, key).filter(|_| found).unwrap_or_default();
        let mut values: Vec<Address> = Vec::new();
        for value in own.into_iter().chain(stored).chain(found.iter().copied()) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// Answers with at most so many bytes. Returns how many those are, or more.
    fn answer(&mut self, now: Instant, query: &Query, room: usize, mut values: Vec<Address>) -> usize {
        self.counters.answered += 1;
        let Query { from: to, cookie, key, kind, .. } = *query;
        // The requester knows itself, and of the first two one must be another member.
        values.sort_by_key(|value| *value == to.address);
        values.truncate(VALUES);
        // One more than are sent: the requester may be among them.
        let mut contacts = self.contacts.table.closest(&key, self.config.k() + 1);
        contacts.retain(|contact| contact.address != to.address);
        contacts.truncate(self.config.k());
        if contacts.is_empty() {
            // The reference cannot bear an answer without contacts.
            contacts.push(to);
        }
        let room = room.min(self.config.limits.message);
        // The farthest go first: the closest carry a lookup on.
        while contacts.len() > 1 && self.answer_len(kind, contacts.len(), values.len()) > room {
            contacts.pop();
        }
        let len = self.answer_len(kind, contacts.len(), values.len());
        let body = match kind {
            Kind::Node => Body::FoundNode { cookie, key, contacts },
            Kind::Value => Body::FoundValue { cookie, key, contacts, values },
        };
        // A reference would never give it back, and each byte counts for it.
        let token = is_signed(cookie).then(|| self.serving.tokens.make(now, to.address));
        self.send(to.address, body, Extension { token, padding: 0 });
        len
    }

    /// Longest answer, with the longest numbers.
    pub(super) fn answer_len(&self, kind: Kind, contacts: usize, values: usize) -> usize {
        answer_len(self.config.hash.len(), kind, contacts, values)
    }

    /// Shortest request.
    pub(super) fn shortest_request(&self) -> usize {
        let hash = self.config.hash.len() + TAG;
        TAG + TAG + hash + TAG + TAG + TAG + hash
    }

    /// Length of own short requests.
    pub(super) fn short_request(&self) -> usize {
        // A number has a byte for every seven bits.
        let number = |bits: u32| 1 + bits.max(1).div_ceil(7) as usize;
        let address = number(u64::BITS - self.own.address.0.leading_zeros());
        let hash = self.config.hash.len() + TAG;
        TAG + TAG + hash + address + TAG + number(SHORT_COOKIE) + hash
    }

    /// Longest request without an extension.
    pub(super) fn longest_request(&self) -> usize {
        let hash = self.config.hash.len() + TAG;
        TAG + TAG + hash + NUMBER + TAG + NUMBER + hash
    }

    /// Looks a name up for a member that cannot. `false` if that is not possible now.
    fn relay(&mut self, now: Instant, query: Query, room: usize) -> bool {
        let key = query.key;
        // Addresses in the cache would have been sent: here an entry can only say that the name was not found of late.
        let known_unknown = self.lookups.cache.get(now, &key).is_some();
        if known_unknown || self.serving.relays.len() >= self.config.limits.relays || self.contacts.table.len() == 0 {
            return false;
        }
        // Waiting for a lookup that runs already costs nothing; only a new one needs room and a unit of the rate.
        let lookups = self.lookups.active.contains_key(&(Kind::Value, key));
        if !lookups && (!self.has_room_to_relay() || !self.serving.relaying.take(now)) {
            return false;
        }
        self.counters.relayed += 1;
        let due = now + self.config.limits.relay_wait;
        self.serving.relays.push(Relay { query, room, due, answered: false });
        self.timers.arm(due, Task::Relay);
        self.begin_lookup(now, Kind::Value, key, Purpose::default());
        true
    }

    /// Returns `true` if one more lookup for another member may begin. They may outlive the wait for their answer, and
    /// become own ones if the same name is looked up here.
    fn has_room_to_relay(&self) -> bool {
        let limits = &self.config.limits;
        let all = self.lookups.of(Kind::Value);
        all - self.lookups.own() < limits.relays && all < limits.relays + limits.lookups.max(1)
    }

    /// Answers those whose lookup has taken too long with what there is.
    pub(super) fn answer_late(&mut self, now: Instant) {
        for at in 0..self.serving.relays.len() {
            let due = |relay: &Relay| !relay.answered && relay.due <= now;
            let Some(relay) = self.serving.relays.get(at).copied().filter(due) else { continue };
            let spent = self.answer(now, &relay.query, relay.room, Vec::new());
            if let Some(relay) = self.serving.relays.get_mut(at) {
                relay.answered = true;
                // Both answers together may have no more bytes than the request pays for.
                relay.room = relay.room.saturating_sub(spent);
            }
        }
        self.serving.relays.retain(|relay| relay.query.until() > now);
    }

    /// A lookup is over: answers those who wait for it.
    pub(super) fn answer_relays(&mut self, now: Instant, key: &NameHash, values: &[Address]) {
        let (done, waiting): (Vec<Relay>, _) = self.serving.relays.drain(..).partition(|relay| relay.query.key == *key);
        self.serving.relays = waiting;
        for relay in done.into_iter().filter(|relay| relay.query.until() > now) {
            let fits = relay.room >= self.answer_len(relay.query.kind, 1, VALUES);
            if !relay.answered || (fits && !values.is_empty()) {
                let _ = self.answer(now, &relay.query, relay.room, values.to_vec());
            }
        }
    }
}

/// The longest answer where hashes have so many bytes.
pub(super) fn answer_len(hash: usize, kind: Kind, contacts: usize, values: usize) -> usize {
    let hash = hash + TAG;
    let contact = TAG + hash + NUMBER;
    let values = if kind == Kind::Value { TAG + 1 + values * (TAG + size_of::<u64>()) } else { 0 };
    let node = TAG + 1 + NUMBER + hash + contacts * contact;
    TAG + contact + node + values + Extension::OVERHEAD
}

/// Way of looking names up, judged by a request.
fn style(query: &Query) -> Style {
    if is_signed(query.cookie) { Style::Iterative } else { Style::SingleRound }
}
