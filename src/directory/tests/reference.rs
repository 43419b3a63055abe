//! The reference's directory, as far as others see it: asks once, keeps names anywhere, forgets no member.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use super::net::ALG;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::directory::{Found, distance};
use crate::types::id::Address;
use crate::types::layer::Dht;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Message};

const CYCLE: Duration = Duration::from_secs(450);
const WAIT: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Record {
    asked: Vec<(Address, u64)>,
    values: Vec<Address>,
    until: Instant,
    waiting: bool,
}

pub(super) struct Reference {
    own: Contact,
    peer: Address,
    dht: Dht,
    rng: Rng,
    /// Contacts in order of last sight.
    contacts: Vec<Contact>,
    names: Vec<NameHash>,
    values: BTreeMap<NameHash, Vec<(Address, u32)>>,
    records: BTreeMap<NameHash, Record>,
    magic: u64,
    cycle: Instant,
    outbox: VecDeque<(Address, Vec<u8>)>,
    events: VecDeque<(NameHash, Option<Address>)>,
}

impl Reference {
    pub(super) fn new(now: Instant, address: Address, peer: Address, dht: Dht, mut rng: Rng) -> Self {
        let own = Contact { id: distance::random(&mut rng, ALG), address };
        let magic = rng.u64();
        let mut reference = Self {
            own,
            peer,
            dht,
            rng,
            contacts: Vec::new(),
            names: Vec::new(),
            values: BTreeMap::new(),
            records: BTreeMap::new(),
            magic,
            cycle: now + CYCLE,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        };
        reference.seed();
        reference
    }

    pub(super) fn own(&self) -> Contact {
        self.own
    }

    fn seed(&mut self) {
        if self.peer.0 != 0 && self.contacts.is_empty() {
            let record = self.records.entry(self.own.id).or_default();
            record.asked.push((self.peer, self.magic));
            self.send(self.peer, Body::FindNode { cookie: self.magic, key: self.own.id });
        }
    }

    fn send(&mut self, to: Address, body: Body) {
        self.outbox.push_back((to, Message { src: self.own, body }.encode().unwrap()));
    }

    fn learn(&mut self, contact: Contact) {
        if contact.address == self.own.address {
            return;
        }
        self.contacts.retain(|known| known.address != contact.address);
        self.contacts.push(contact);
    }

    /// The key's bucket if it is full or the only one, else the first members in the order of first bytes.
    fn select(&self, key: &NameHash) -> Vec<Contact> {
        let k = self.dht.k as usize;
        let first = |id: &NameHash| id.as_bytes().first().copied();
        if self.contacts.len() <= k {
            return self.contacts.clone();
        }
        let mut contacts: Vec<Contact> =
            self.contacts.iter().filter(|contact| first(&contact.id) == first(key)).copied().collect();
        if contacts.len() < k {
            contacts = self.contacts.clone();
            contacts.sort_by_key(|contact| first(&contact.id));
        }
        contacts.truncate(k);
        contacts
    }

    fn nearest(&self, key: &NameHash) -> Vec<Contact> {
        let mut contacts = self.select(key);
        contacts.truncate(self.dht.alpha as usize);
        contacts
    }

    pub(super) fn register(&mut self, _now: Instant, unix: u64, name: NameHash) {
        self.names.push(name);
        let expires = (unix + u64::from(self.dht.t_expire)) as u32;
        for to in self.nearest(&name) {
            self.send(to.address, Body::Store { key: name, value: self.own.address, expires });
        }
    }

    fn local(&self, key: &NameHash) -> Vec<Address> {
        let foreign = self.values.get(key).into_iter().flatten().map(|(address, _)| *address);
        let own = self.names.contains(key).then_some(self.own.address);
        foreign.chain(own).take(8).collect()
    }

    /// The first of two that is not the own address.
    fn judge(&self, values: &[Address]) -> Option<Address> {
        values.iter().take(2).find(|value| **value != self.own.address).copied()
    }

    pub(super) fn lookup(&mut self, now: Instant, _unix: u64, name: NameHash) -> Found {
        let local = self.local(&name);
        if !local.is_empty() {
            return self.judge(&local).map_or(Found::Unknown, |address| Found::Known(vec![address]));
        }
        let to = self.nearest(&name);
        if to.is_empty() {
            return Found::Unknown;
        }
        for contact in to {
            let cookie = self.rng.u64();
            let record = self.records.entry(name).or_default();
            if record.asked.iter().all(|(address, _)| *address != contact.address) {
                record.asked.push((contact.address, cookie));
                self.send(contact.address, Body::FindValue { cookie, key: name });
            }
        }
        let record = self.records.entry(name).or_default();
        record.until = now + WAIT;
        record.waiting = true;
        Found::Pending
    }

    pub(super) fn handle_packet(&mut self, now: Instant, unix: u64, message: &[u8]) {
        let Message { src, body } = Message::decode(ALG, message).unwrap();
        match body {
            Body::Store { key, value, expires } => {
                self.learn(src);
                let values = self.values.entry(key).or_default();
                if u64::from(expires) > unix && values.iter().all(|(known, _)| *known != value) {
                    values.push((value, expires));
                }
            }
            Body::FindNode { cookie, key } => {
                self.learn(src);
                let contacts = self.select(&key);
                self.send(src.address, Body::FoundNode { cookie, key, contacts });
            }
            Body::FindValue { cookie, key } => {
                self.learn(src);
                let (contacts, values) = (self.select(&key), self.local(&key));
                self.send(src.address, Body::FoundValue { cookie, key, contacts, values });
            }
            Body::FoundNode { cookie, key, contacts } => self.answered(now, src, cookie, key, contacts, Vec::new()),
            Body::FoundValue { cookie, key, contacts, values } => {
                self.answered(now, src, cookie, key, contacts, values);
            }
        }
    }

    fn answered(
        &mut self,
        _now: Instant,
        src: Contact,
        cookie: u64,
        key: NameHash,
        contacts: Vec<Contact>,
        values: Vec<Address>,
    ) {
        assert!(!contacts.is_empty(), "a reference with assertions aborts");
        assert!(contacts.len() <= self.dht.k as usize && values.len() <= 8, "more than a reference produces");
        let Some(record) = self.records.get_mut(&key) else { return };
        if record.asked.iter().all(|(_, known)| *known != cookie) {
            return;
        }
        record.values.extend(&values);
        let done = record.waiting && !record.values.is_empty();
        record.waiting &= !done;
        self.learn(src);
        contacts.into_iter().for_each(|contact| self.learn(contact));
        if done {
            let values = self.records.get(&key).map(|record| record.values.clone()).unwrap_or_default();
            self.events.push_back((key, self.judge(&values)));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let waits = self.records.values().filter(|record| record.waiting).map(|record| record.until);
        waits.chain([self.cycle]).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, unix: u64) {
        let over: Vec<NameHash> = self
            .records
            .iter()
            .filter(|(_, record)| record.waiting && record.until <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.records.remove(&key);
            self.events.push_back((key, None));
        }
        if self.cycle <= now {
            self.cycle = now + CYCLE;
            self.seed();
            self.records.retain(|_, record| record.until > now);
            self.values.retain(|_, values| {
                values.retain(|(_, expires)| u64::from(*expires) >= unix);
                !values.is_empty()
            });
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(Address, Vec<u8>)> {
        self.outbox.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<(NameHash, Option<Address>)> {
        self.events.pop_front()
    }
}
