//! What others ask of this member.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::questions::{Kind, LIFETIME, Reason, SHORT_COOKIE, is_signed};
use super::store::{Account, Claim};
use super::table::Style;
use super::walk::Purpose;
use super::{Directory, Task};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension};

/// Addresses in an answer: the reference takes no more, and looks at two.
pub(super) const VALUES: usize = 8;
/// Bytes of a field's number and length, and of the longest number with that of its field.
const TAG: usize = 2;
const NUMBER: usize = 11;

/// A question of somebody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inquiry {
    pub(super) from: Contact,
    pub(super) cookie: u64,
    pub(super) key: NameHash,
    pub(super) kind: Kind,
    /// Bytes of it.
    pub(super) len: usize,
    /// When it came.
    pub(super) at: Instant,
}

impl Inquiry {
    /// Until when an answer is of use.
    fn until(&self) -> Instant {
        self.at + LIFETIME
    }
}

/// A question that waits for a lookup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    inquiry: Inquiry,
    /// How long the answer may be.
    room: usize,
    /// When it is answered, whatever the lookup has found.
    due: Instant,
    answered: bool,
}

impl Directory {
    /// A member asks who is near a key, or where a name is.
    pub(super) fn asked(&mut self, now: Instant, inquiry: Inquiry) {
        if !self.requests.take(now, inquiry.from.address) {
            self.counters.excessive += 1;
            return;
        }
        let from = inquiry.from;
        let knows = self.knows(&from);
        // Whoever is not known is asked as well whether it is there.
        let room = if knows { inquiry.len } else { inquiry.len.saturating_sub(self.longest_question()) };
        if room >= self.answer_len(inquiry.kind, 1, VALUES) {
            self.meet(now, from, style(&inquiry));
            return self.serve(now, inquiry, room);
        }
        if knows {
            self.meet(now, from, style(&inquiry));
            if self.short.take(now, from.address) {
                self.serve(now, inquiry, usize::MAX);
            } else {
                self.counters.excessive += 1;
            }
            return;
        }
        if inquiry.len < self.short_question() {
            self.counters.excessive += 1;
            return;
        }
        self.counters.held += 1;
        if self.held.len() >= self.config.limits.held {
            self.held.pop_front();
        }
        self.held.push_back(inquiry);
        self.ping(now, from.address, true);
    }

    /// A member has shown that it is there: answers what it asked before.
    pub(super) fn answer_held(&mut self, now: Instant, from: &Contact) {
        if self.held.iter().all(|inquiry| inquiry.from != *from) {
            self.held.retain(|inquiry| inquiry.until() > now);
            return;
        }
        let (its, others) = self.held.drain(..).partition(|inquiry| inquiry.from == *from);
        self.held = others;
        let its: VecDeque<Inquiry> = its;
        for inquiry in its.into_iter().filter(|inquiry| inquiry.until() > now) {
            self.meet(now, inquiry.from, style(&inquiry));
            self.serve(now, inquiry, usize::MAX);
        }
    }

    /// Answers a question with at most so many bytes.
    fn serve(&mut self, now: Instant, inquiry: Inquiry, room: usize) {
        let walks = is_signed(inquiry.cookie);
        let mut values = Vec::new();
        if inquiry.kind == Kind::Value {
            values = self.known_values(now, &inquiry.key, !walks);
            if values.is_empty() && !walks && self.relay(now, inquiry, room) {
                return;
            }
        }
        self.answer(now, &inquiry, room, values);
    }

    /// Where a name is, as far as this member may say: here, or where others have stored it to be; and what it found
    /// itself, for those who cannot.
    fn known_values(&self, now: Instant, key: &NameHash, found: bool) -> Vec<Address> {
        let own = self.names.contains_key(key).then_some(self.own.address);
        let stored = self.store.get(now, key).into_iter().map(|value| value.address);
        let found = self.cache.get(now, key).filter(|_| found).unwrap_or_default();
        let mut values: Vec<Address> = Vec::new();
        for value in own.into_iter().chain(stored).chain(found.iter().copied()) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    fn answer(&mut self, now: Instant, inquiry: &Inquiry, room: usize, mut values: Vec<Address>) {
        self.counters.answered += 1;
        let Inquiry { from: to, cookie, key, kind, .. } = *inquiry;
        // It knows itself, and of the first two one must be somebody else.
        values.sort_by_key(|value| *value == to.address);
        values.truncate(VALUES);
        let mut contacts = self.table.closest(&key, self.config.k() + 1);
        contacts.retain(|contact| contact.address != to.address);
        contacts.truncate(self.config.k());
        if contacts.is_empty() {
            // The reference cannot bear an answer without contacts.
            contacts.push(to);
        }
        let room = room.min(self.config.limits.message);
        while contacts.len() > 1 && self.answer_len(kind, contacts.len(), values.len()) > room {
            contacts.pop();
        }
        let body = match kind {
            Kind::Node => Body::FoundNode { cookie, key, contacts },
            Kind::Value => Body::FoundValue { cookie, key, contacts, values },
        };
        let token = is_signed(cookie).then(|| self.tokens.make(now, to.address));
        self.send(to.address, body, Extension { token, padding: 0 });
    }

    /// How long an answer may be. Counts the longest numbers.
    pub(super) fn answer_len(&self, kind: Kind, contacts: usize, values: usize) -> usize {
        let hash = self.config.hash.len() + TAG;
        let contact = TAG + hash + NUMBER;
        let values = if kind == Kind::Value { TAG + 1 + values * (TAG + size_of::<u64>()) } else { 0 };
        let node = TAG + 1 + NUMBER + hash + contacts * contact;
        TAG + contact + node + values + Extension::OVERHEAD
    }

    /// How short a question may be.
    pub(super) fn shortest_question(&self) -> usize {
        let hash = self.config.hash.len() + TAG;
        TAG + TAG + hash + TAG + TAG + TAG + hash
    }

    /// How long one of the own ones is that are [short](Reason::is_short).
    fn short_question(&self) -> usize {
        // A number has a byte for every seven bits.
        let number = |bits: u32| 1 + bits.max(1).div_ceil(7) as usize;
        let address = number(u64::BITS - self.own.address.0.leading_zeros());
        let hash = self.config.hash.len() + TAG;
        TAG + TAG + hash + address + TAG + number(SHORT_COOKIE) + hash
    }

    /// How long one may be without anything beside it.
    pub(super) fn longest_question(&self) -> usize {
        let hash = self.config.hash.len() + TAG;
        TAG + TAG + hash + NUMBER + TAG + NUMBER + hash
    }

    /// A member wants a name stored.
    pub(super) fn asked_to_store(
        &mut self,
        now: Instant,
        from: Contact,
        (key, address, expires): (NameHash, Address, u32),
        token: Option<u64>,
        len: usize,
    ) {
        let proven = token.is_some_and(|token| self.tokens.is_valid(now, from.address, token));
        let allowed = if proven { self.stores.take(now, from.address) } else { self.unproven.take(now) };
        if !allowed {
            self.counters.excessive += 1;
            return;
        }
        if proven {
            self.meet_sender(now, from);
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
        let kept = self.store.put(now, claim).is_ok();
        *(if kept { &mut self.counters.stored } else { &mut self.counters.not_stored }) += 1;
        let itself = address == from.address;
        let open = !kept || self.store.is_open(&key, address, claim.expires);
        if proven && itself {
            self.cache.heard(&key, address);
        } else if open && ((itself && len >= self.short_question()) || (kept && proven)) {
            self.confirm(now, key, address, Some(claim.expires));
        }
    }

    /// A member is said to say that it has a name no more.
    fn said_to_be_gone(&mut self, now: Instant, key: NameHash, address: Address, proven: bool, len: usize) {
        if proven {
            self.gone(now, key, address);
        } else if self.store.has(&key, address) && len >= self.short_question() {
            self.confirm(now, key, address, None);
        }
    }

    /// A member has a name no more.
    fn gone(&mut self, now: Instant, key: NameHash, address: Address) {
        self.counters.withdrawn += u64::from(self.store.withdraw(&key, address));
        self.cache.withdrawn(now, &key, address);
    }

    /// Asks a member whether it has a name, as somebody says until then, or as is believed.
    pub(super) fn confirm(&mut self, now: Instant, key: NameHash, address: Address, expires: Option<Instant>) {
        if self.confirms.contains(&(key, address)) || !self.confirming.take(now) {
            return;
        }
        if self.ask(now, address, Kind::Value, key, Reason::Confirm { expires }, 0) {
            self.counters.confirmations += 1;
            self.confirms.insert((key, address));
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
        self.confirms.remove(&(key, address));
        if !values.contains(&address) {
            return self.gone(now, key, address);
        }
        if let Some(expires) = expires {
            // If there is no room for it, it stays where it is.
            let _ = self.store.put(now, Claim { key, address, expires, account: Account::Member(address) });
        }
    }

    /// Somebody is there, but did not ask.
    fn meet_sender(&mut self, now: Instant, from: Contact) {
        if self.table.get(from.address).is_none() {
            self.meet_stranger(now, from);
        }
    }

    /// Looks a name up for a member that cannot. `false` if that is not possible now.
    fn relay(&mut self, now: Instant, inquiry: Inquiry, room: usize) -> bool {
        let key = inquiry.key;
        let known_unknown = self.cache.get(now, &key).is_some();
        if known_unknown || self.relays.len() >= self.config.limits.relays || self.table.len() == 0 {
            return false;
        }
        let walks = self.walks.contains_key(&(Kind::Value, key));
        if !walks && (!self.has_room_to_relay() || !self.relaying.take(now)) {
            return false;
        }
        self.counters.relayed += 1;
        let due = now + self.config.limits.relay_wait;
        self.relays.push(Relay { inquiry, room, due, answered: false });
        self.timers.arm(due, Task::Relay);
        self.walk(now, Kind::Value, key, Purpose::default());
        true
    }

    /// Whether one more lookup for somebody else may begin. They may outlive the wait for their answer, and become own
    /// ones if the same name is looked up here.
    fn has_room_to_relay(&self) -> bool {
        let limits = &self.config.limits;
        let all = self.walks.keys().filter(|(kind, _)| *kind == Kind::Value).count();
        all - self.lookups() < limits.relays && all < limits.relays + limits.lookups.max(1)
    }

    /// Answers those whose lookup has taken too long with what there is.
    pub(super) fn answer_late(&mut self, now: Instant) {
        let due = |relay: &&mut Relay| !relay.answered && relay.due <= now;
        let late: Vec<Relay> = self
            .relays
            .iter_mut()
            .filter(due)
            .map(|relay| {
                relay.answered = true;
                *relay
            })
            .collect();
        for relay in late {
            self.answer(now, &relay.inquiry, relay.room, Vec::new());
        }
        self.relays.retain(|relay| relay.inquiry.until() > now);
    }

    /// A lookup is over: answers those who wait for it.
    pub(super) fn answer_relays(&mut self, now: Instant, key: &NameHash, values: &[Address]) {
        let (done, waiting): (Vec<Relay>, _) = self.relays.drain(..).partition(|relay| relay.inquiry.key == *key);
        self.relays = waiting;
        for relay in done.into_iter().filter(|relay| relay.inquiry.until() > now) {
            if !relay.answered || !values.is_empty() {
                self.answer(now, &relay.inquiry, relay.room, values.to_vec());
            }
        }
    }
}

/// How a member looks names up, by its question.
fn style(inquiry: &Inquiry) -> Style {
    if is_signed(inquiry.cookie) { Style::Walks } else { Style::AsksOnce }
}
