//! What others ask of this member.

use alloc::vec::Vec;
use core::time::Duration;

use super::questions::{Kind, LIFETIME, is_signed};
use super::table::Style;
use super::walk::Purpose;
use super::{Directory, Task};
use crate::base::time::Instant;
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact};

/// Addresses in an answer: the reference takes no more, and looks at two.
const VALUES: usize = 8;

/// A question that waits for a lookup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    from: Contact,
    cookie: u64,
    key: NameHash,
    /// When it is answered, whatever the lookup has found.
    due: Instant,
    /// Until when the answer is of use.
    until: Instant,
    answered: bool,
}

impl Directory {
    /// A member asks who is near a key, or where a name is.
    pub(super) fn asked(&mut self, now: Instant, from: Contact, cookie: u64, key: NameHash, kind: Kind) {
        if !self.requests.take(now, from.address) {
            self.counters.excessive += 1;
            return;
        }
        let walks = is_signed(cookie);
        self.meet(now, from, if walks { Style::Walks } else { Style::AsksOnce });
        let mut values = Vec::new();
        if kind == Kind::Value {
            values = self.known_values(now, &key, !walks);
            if values.is_empty() && !walks && self.relay(now, from, cookie, key) {
                return;
            }
        }
        self.answer(from, cookie, key, kind, values);
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

    fn answer(&mut self, to: Contact, cookie: u64, key: NameHash, kind: Kind, mut values: Vec<Address>) {
        self.counters.answered += 1;
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
        while self.is_too_long(kind, contacts.len(), values.len()) {
            contacts.pop();
        }
        let body = match kind {
            Kind::Node => Body::FoundNode { cookie, key, contacts },
            Kind::Value => Body::FoundValue { cookie, key, contacts, values },
        };
        self.send(to.address, body);
    }

    /// Whether an answer might be longer than a packet should be. Counts the longest numbers.
    fn is_too_long(&self, kind: Kind, contacts: usize, values: usize) -> bool {
        const TAG: usize = 2;
        const NUMBER: usize = 11;
        let hash = self.config.hash.len() + TAG;
        let contact = TAG + hash + NUMBER;
        let values = if kind == Kind::Value { TAG + 1 + values * (TAG + size_of::<u64>()) } else { 0 };
        let node = TAG + 1 + NUMBER + hash + contacts * contact;
        contacts > 1 && TAG + contact + node + values > self.config.limits.message
    }

    /// A member wants a name stored.
    pub(super) fn asked_to_store(&mut self, now: Instant, from: Contact, key: NameHash, value: Address, expires: u32) {
        if !self.stores.take(now, from.address) {
            self.counters.excessive += 1;
            return;
        }
        // Both modulo 2³²: the format ends in 2106.
        let left = u64::from(expires).saturating_sub(self.unix(now) & u64::from(u32::MAX));
        let left = left.min(u64::from(self.config.dht.t_expire));
        // Nobody knows better than this member what is registered here.
        if left == 0 || value == self.own.address {
            self.counters.not_stored += 1;
            self.meet_sender(now, from);
            return;
        }
        let expires = now + Duration::from_secs(left);
        match self.store.put(now, &key, value, from.address, expires) {
            Ok(_) => self.counters.stored += 1,
            Err(_) => self.counters.not_stored += 1,
        }
        self.meet_sender(now, from);
    }

    /// Somebody is there, but did not ask.
    fn meet_sender(&mut self, now: Instant, from: Contact) {
        if self.table.get(from.address).is_none() {
            self.table.hear(from);
            self.fill(now);
        }
    }

    /// Looks a name up for a member that cannot. `false` if that is not possible now.
    fn relay(&mut self, now: Instant, from: Contact, cookie: u64, key: NameHash) -> bool {
        let known_unknown = self.cache.get(now, &key).is_some();
        if known_unknown || self.relays.len() >= self.config.limits.relays || self.table.len() == 0 {
            return false;
        }
        if !self.walks.contains_key(&(Kind::Value, key)) {
            let room = self.has_room_to_relay();
            let (rate, level) = &mut self.relaying;
            if !room || !rate.take(now, level) {
                return false;
            }
        }
        self.counters.relayed += 1;
        let due = now + self.config.limits.relay_wait;
        self.relays.push(Relay { from, cookie, key, due, until: now + LIFETIME, answered: false });
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
            self.answer(relay.from, relay.cookie, relay.key, Kind::Value, Vec::new());
        }
        self.relays.retain(|relay| relay.until > now);
    }

    /// A lookup is over: answers those who wait for it.
    pub(super) fn answer_relays(&mut self, now: Instant, key: &NameHash, values: &[Address]) {
        let (done, waiting): (Vec<Relay>, _) = self.relays.drain(..).partition(|relay| relay.key == *key);
        self.relays = waiting;
        for relay in done.into_iter().filter(|relay| relay.until > now) {
            if !relay.answered || !values.is_empty() {
                self.answer(relay.from, relay.cookie, relay.key, Kind::Value, values.to_vec());
            }
        }
    }
}
