//! One member among strangers who mean ill, and among packets that are none.

use core::time::Duration;

use super::net::{ALG, UNIX, hash};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::directory::distance::{random, random_in_bucket};
use crate::directory::requests::{Kind, signed};
use crate::directory::{Config, Directory, Doubt, Event, Found, Limits};
use crate::types::id::Address;
use crate::types::layer::Dht;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension, Message};

/// A member with the address 1, and all others.
pub(super) struct World {
    pub(super) directory: Directory,
    pub(super) rng: Rng,
    pub(super) now: Instant,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let mut config = Config::new(Address(1), ALG, Dht::default());
        config.limits = limits;
        let now = Instant::from_millis(1);
        Self { directory: Directory::new(now, config, Rng::from_seed([1; 32])), rng: Rng::from_seed([2; 32]), now }
    }

    pub(super) fn stranger(&mut self, address: u64) -> Contact {
        Contact { id: random(&mut self.rng, ALG), address: Address(address) }
    }

    pub(super) fn say(&mut self, src: Contact, body: Body) {
        self.say_with(src, body, Extension::default());
    }

    pub(super) fn say_with(&mut self, src: Contact, body: Body, extension: Extension) {
        let bytes = Message { src, body }.encode_extended(extension).unwrap();
        self.directory.handle_packet(self.now, UNIX, &bytes);
    }

    /// Asks as members of our kind do: with as many bytes as the answer is to have.
    pub(super) fn ask(&mut self, src: Contact, body: Body) {
        self.say_with(src, body, Extension { token: None, padding: 1000 });
    }

    /// The token that a member of our kind gets.
    pub(super) fn token(&mut self, src: Contact) -> Option<u64> {
        let before = self.directory.outbox.len();
        self.ask(src, Body::FindNode { cookie: signed(7), key: src.id });
        let answers = self.directory.outbox.split_off(before);
        answers.into_iter().filter(|(to, ..)| *to == src.address).find_map(|(.., extension)| extension.token)
    }

    /// Has something stored, with the token of its sender.
    pub(super) fn store(&mut self, src: Contact, key: NameHash, value: Address, expires: u32) {
        let token = self.token(src);
        assert!(token.is_some());
        self.say_with(src, Body::Store { key, value, expires }, Extension { token, padding: 0 });
    }

    pub(super) fn sent(&mut self) -> Vec<(Address, Body)> {
        let directory = &mut self.directory;
        let next = || directory.poll_transmit().map(|(to, bytes)| (to, Message::decode(ALG, &bytes).unwrap().body));
        core::iter::from_fn(next).collect()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.directory.next_deadline().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.directory.handle_timeout(self.now, UNIX);
        }
        self.now = end;
    }

    /// Makes a contact: it asks, is asked and answers.
    pub(super) fn befriend(&mut self, contact: Contact) {
        self.say(contact, Body::FindNode { cookie: u64::MAX, key: contact.id });
        for (to, body) in self.sent() {
            if let Body::FindNode { cookie, key } = body
                && to == contact.address
            {
                self.say(contact, Body::FoundNode { cookie, key, contacts: vec![contact] });
            }
        }
        self.sent();
    }

    /// Lookups for names.
    pub(super) fn lookups(&self) -> usize {
        self.directory.lookups.active.keys().filter(|(kind, _)| *kind == Kind::Value).count()
    }

    pub(super) fn found(&mut self) -> Option<Vec<Address>> {
        self.directory.poll_event().map(|Event::LookupDone { addresses, .. }| addresses)
    }

    /// Requests for a value, and to whom.
    pub(super) fn asked(&mut self) -> Vec<(Address, u64, NameHash)> {
        let asked = self.sent().into_iter().filter_map(|(to, body)| match body {
            Body::FindValue { cookie, key } => Some((to, cookie, key)),
            _ => None,
        });
        asked.collect()
    }
}

#[test]
fn contacts_have_answered() {
    let mut world = World::new();
    for address in 2..50 {
        let stranger = world.stranger(address);
        world.say(stranger, Body::FindNode { cookie: u64::MAX, key: stranger.id });
    }
    assert_eq!(world.directory.sizes().contacts, 0);
    let sent = world.sent();
    assert!(sent.len() == 48 && sent.iter().all(|(_, body)| matches!(body, Body::FindNode { .. })), "{sent:?}");
    // It asks them whether they are there, and names none of them meanwhile.
    let other = world.stranger(50);
    world.ask(other, Body::FindNode { cookie: signed(1), key: other.id });
    let sent = world.sent();
    let told = sent.iter().find_map(|(_, body)| match body {
        Body::FoundNode { contacts, .. } => Some(contacts.iter().map(|c| c.address).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(told, Some(vec![other.address]));
    world.pass(Duration::from_secs(10));
    assert_eq!((world.directory.sizes().contacts, world.sent().len()), (0, 0), "once");
}

/// Bytes that go to an address, whatever was said in its name, are no more than were said.
#[test]
fn unverified_members_get_no_amplification() {
    let mut world = World::new();
    // Contacts to tell about, and a name with many values.
    for address in 2..30 {
        let contact = world.stranger(address);
        world.befriend(contact);
        world.store(contact, hash("x"), contact.address, UNIX as u32 + 1000);
    }
    world.pass(Duration::from_secs(2));
    world.sent();
    let (mut address, mut answered) = (1 << 20, 0);
    for cookie in [signed(3), u64::MAX, u64::MAX >> 1] {
        for padding in (0..1500).step_by(50) {
            for body in [
                Body::FindNode { cookie, key: hash("y") },
                Body::FindValue { cookie, key: hash("x") },
                Body::FindValue { cookie, key: hash("y") },
                Body::Store { key: hash("z"), value: Address(address), expires: UNIX as u32 + 1000 },
                Body::Store { key: hash("x"), value: Address(2), expires: 0 },
            ] {
                address += 1;
                let victim = world.stranger(address);
                let bytes = Message { src: victim, body }.encode_extended(Extension { token: None, padding }).unwrap();
                let mut sent = 0;
                for _ in 0..3 {
                    world.directory.handle_packet(world.now, UNIX, &bytes);
                    world.pass(Duration::from_secs(1));
                    while let Some((to, bytes)) = world.directory.poll_transmit() {
                        sent += if to == victim.address { bytes.len() } else { 0 };
                        answered += usize::from(bytes.len() > 300);
                    }
                }
                assert!(sent <= 3 * bytes.len(), "{sent} bytes for 3 times {}: {padding}", bytes.len());
            }
        }
    }
    assert!(answered > 100, "it answers who pays: {answered}");
}

/// A request or its answer may get lost; a reference says where its name is once a day.
#[test]
fn unconfirmed_names_are_confirmed_later() {
    let mut world = World::new();
    let (reference, expires) = (world.stranger(2), UNIX as u32 + 86_400);
    world.befriend(reference);
    world.say(reference, Body::Store { key: hash("x"), value: reference.address, expires });
    assert_eq!(world.asked().len(), 1);
    let again = (0..61).find_map(|_| {
        world.pass(Duration::from_secs(1));
        world.asked().into_iter().find(|(_, _, key)| *key == hash("x"))
    });
    let (to, cookie, key) = again.unwrap();
    let values = vec![reference.address];
    world.say(reference, Body::FoundValue { cookie, key, contacts: vec![reference], values });
    assert!(to == reference.address && world.directory.entries()[0].by_owner);
    world.pass(Duration::from_secs(300));
    assert!(world.asked().iter().all(|(_, _, key)| *key != hash("x")), "once it has");
}

/// A member that has asked with few bytes, and the question whether it is there.
fn short_request() -> (World, Contact, Contact, u64, NameHash) {
    let mut world = World::new();
    let (friend, reference) = (world.stranger(2), world.stranger(3));
    world.befriend(friend);
    world.say(reference, Body::FindNode { cookie: u64::MAX - 4, key: reference.id });
    let sent = world.sent();
    let [(to, Body::FindNode { cookie, key })] = sent[..] else { panic!("{sent:?}") };
    assert_eq!(to, reference.address);
    (world, friend, reference, cookie, key)
}

/// One that asks with few bytes is answered when it has shown that it is there.
#[test]
fn references_are_answered_after_verification() {
    let (mut world, friend, reference, cookie, key) = short_request();
    world.say(reference, Body::FoundNode { cookie, key, contacts: vec![reference] });
    let sent = world.sent();
    let answers = sent.iter().filter_map(|(to, body)| match body {
        Body::FoundNode { cookie, key, contacts } => Some((*to, *cookie, *key, contacts.clone())),
        _ => None,
    });
    let [(to, cookie, key, contacts)] = &answers.collect::<Vec<_>>()[..] else { panic!("{sent:?}") };
    assert_eq!((*to, *cookie, *key), (reference.address, u64::MAX - 4, reference.id));
    assert!(contacts.contains(&friend), "{contacts:?}");
    // From now on at once.
    world.directory.register(world.now, UNIX, hash("x")).unwrap();
    world.sent();
    world.say(reference, Body::FindValue { cookie: u64::MAX - 5, key: hash("x") });
    let sent = world.sent();
    let answers = sent.iter().filter_map(|(to, body)| match body {
        Body::FoundValue { cookie, values, .. } => Some((*to, *cookie, values.clone())),
        _ => None,
    });
    let expected = (reference.address, u64::MAX - 5, vec![world.directory.own().address]);
    assert_eq!(answers.collect::<Vec<_>>(), [expected], "{sent:?}");
}

/// Who answers under its address is not who has asked; and there is one answer to a question.
#[test]
fn requests_are_not_answered_after_verification_of_another() {
    let (mut world, friend, reference, cookie, key) = short_request();
    let found = |contacts| Body::FoundNode { cookie, key, contacts };
    world.say(Contact { id: friend.id, ..reference }, found(vec![]));
    world.say(reference, found(vec![reference]));
    let sent = world.sent();
    assert!(sent.iter().all(|(_, body)| !matches!(body, Body::FoundNode { .. })), "{sent:?}");
}

#[test]
fn answers_are_bound_to_one_request() {
    let mut world = World::new();
    let (friend, other) = (world.stranger(2), world.stranger(3));
    world.befriend(friend);
    assert_eq!(world.directory.lookup(world.now, UNIX, hash("x")), Found::Pending);
    let (to, cookie, key) = world.asked()[0];
    assert_eq!((to, key), (friend.address, hash("x")));
    let lie = |cookie, key| Body::FoundValue { cookie, key, contacts: vec![other], values: vec![Address(666)] };
    // Another member, another cookie, another key, another kind.
    world.say(other, lie(cookie, key));
    world.say(friend, lie(cookie ^ 1, key));
    world.say(friend, lie(cookie, hash("y")));
    world.say(friend, Body::FoundNode { cookie, key, contacts: vec![other] });
    assert_eq!(world.directory.counters().unsolicited, 4);
    assert_eq!(world.found(), None);
    let truth = Body::FoundValue { cookie, key, contacts: vec![other], values: vec![Address(7)] };
    world.say(friend, truth.clone());
    assert_eq!(world.found(), Some(vec![Address(7)]));
    world.say(friend, truth);
    assert_eq!(world.directory.counters().unsolicited, 5, "not twice");
}

#[test]
fn id_conflicts_are_dropped() {
    let mut world = World::new();
    let own = world.directory.own();
    let stranger = world.stranger(2);
    world.say(Contact { address: own.address, ..stranger }, Body::FindNode { cookie: 1, key: own.id });
    world.say(Contact { id: own.id, ..stranger }, Body::FindNode { cookie: 1, key: own.id });
    assert_eq!(world.directory.counters().id_conflicts, 2);
    assert_eq!(world.sent(), []);
}

#[test]
fn own_id_and_address_are_never_asked_or_told() {
    let mut world = World::new();
    let (own, friend) = (world.directory.own(), world.stranger(2));
    world.befriend(friend);
    world.directory.lookup(world.now, UNIX, hash("x"));
    let (_, cookie, key) = world.asked()[0];
    let contacts = vec![own, Contact { id: own.id, address: Address(5) }, Contact { address: own.address, ..friend }];
    world.say(friend, Body::FoundValue { cookie, key, contacts, values: vec![own.address] });
    assert!(world.asked().is_empty());
    world.pass(Duration::from_secs(3));
    assert_eq!(world.found(), Some(vec![]));
}

#[test]
fn one_id_has_one_address_and_one_address_one_id() {
    let mut world = World::new();
    let friend = world.stranger(2);
    world.befriend(friend);
    // Another member with the id of a live one.
    world.befriend(Contact { address: Address(3), ..friend });
    let contacts = world.directory.contacts();
    assert_eq!(contacts.iter().map(|c| c.address).collect::<Vec<_>>(), [Address(2)]);
    // The same address with many ids.
    for _ in 0..20 {
        let sybil = world.stranger(9);
        world.befriend(sybil);
        world.pass(Duration::from_secs(5));
    }
    assert!(world.directory.contacts().iter().filter(|c| c.address == Address(9)).count() <= 1);
}

#[test]
fn stores_are_bounded_by_name_and_source_and_in_all() {
    let limits = Limits { keys: 60, keys_per_source: 20, unproven: 10, values_per_key: 4, ..Limits::default() };
    let mut world = World::with(limits);
    let expires = UNIX as u32 + 100;
    let far = |world: &mut World, bits| random_in_bucket(&mut world.rng, &world.directory.own().id, bits);
    let greedy = world.stranger(2);
    for n in 0..100 {
        let key = far(&mut world, 0);
        world.store(greedy, key, Address(n + 10), expires);
    }
    assert_eq!(world.directory.sizes().keys, 20, "of one source");
    for n in 0..100 {
        let (src, key) = (world.stranger(n + 1000), far(&mut world, 0));
        world.say(src, Body::Store { key, value: src.address, expires });
    }
    assert_eq!(world.directory.sizes().keys, 30, "of all who have shown nothing");
    for n in 0..200 {
        let (src, key) = (world.stranger(n + 10), far(&mut world, 0));
        world.store(src, key, src.address, expires);
    }
    assert_eq!(world.directory.sizes().keys, 60, "in all");
    let of = |world: &World, address| world.directory.entries().iter().filter(|e| e.address == address).count();
    let others = (10..210).filter(|address| of(&world, Address(*address)) > 0).count();
    assert!(others >= 49, "whoever wants most yields: {others}");
    let (src, near) = (world.stranger(7), far(&mut world, 8));
    world.store(src, near, src.address, expires);
    assert_eq!(world.directory.sizes().keys, 60);
    assert!(world.directory.entries().iter().any(|entry| entry.name == near), "a near one ousts a far one");
    for n in 0..50 {
        let src = world.stranger(n + 1000);
        world.say(src, Body::Store { key: near, value: Address(n + 5000), expires });
        world.say(src, Body::Store { key: near, value: src.address, expires: expires + 80_000 });
        world.store(src, near, Address(n + 6000), expires + 80_000);
    }
    let of_near = |world: &World| world.directory.entries().into_iter().filter(|e| e.name == near).collect::<Vec<_>>();
    assert!(of_near(&world).len() <= 4, "of one name");
    assert!(of_near(&world).iter().any(|entry| entry.by_owner && entry.address == Address(7)), "the owner stays");
    assert!(world.directory.storage.store.is_sound());
}

/// Sixteen used to be enough, if they said that they would live longer.
#[test]
fn live_owners_are_not_displaced() {
    let mut world = World::new();
    let (owner, expires) = (world.stranger(2), UNIX as u32 + 3600);
    world.befriend(owner);
    world.store(owner, hash("x"), owner.address, expires);
    for n in 0..100 {
        let liar = world.stranger(1000 + n);
        let body = Body::Store { key: hash("x"), value: liar.address, expires: expires + 80_000 };
        world.say(liar, body.clone());
        if n % 2 == 0 {
            // One that is where it says.
            world.store(liar, hash("x"), liar.address, expires + 80_000);
        }
    }
    let owner_is_kept = |world: &World| world.directory.entries().iter().any(|entry| entry.address == Address(2));
    assert!(owner_is_kept(&world) && world.directory.sizes().keys == 1);
    // Once it has not been heard of for too long, others may have its place.
    world.pass(Duration::from_secs(901));
    let liar = world.stranger(5000);
    world.store(liar, hash("x"), liar.address, expires);
    assert!(!owner_is_kept(&world));
}

#[test]
fn names_of_members_survive_floods_of_sources() {
    let mut world = World::new();
    let expires = UNIX as u32 + 3600;
    let mut names = Vec::new();
    for address in 2..52 {
        let member = world.stranger(address);
        for _ in 0..10 {
            let name = random(&mut world.rng, ALG);
            world.store(member, name, member.address, expires);
            names.push((name, member.address));
        }
    }
    world.sent();
    let near = |world: &mut World| random_in_bucket(&mut world.rng, &world.directory.own().id, 40);
    for n in 0..30_000_u64 {
        // From five sources, from as many as there are messages, and in the name of the members themselves.
        let source = [1000 + n % 5, 10_000 + n, 2 + n % 50][n as usize % 3];
        let (src, key) = (world.stranger(source), near(&mut world));
        let token = Some(n);
        let body = Body::Store { key, value: src.address, expires: expires + 80_000 };
        world.say_with(src, body, Extension { token, padding: 0 });
        world.now += Duration::from_micros(300);
    }
    let entries = world.directory.entries();
    let left = names.iter().filter(|(name, at)| entries.iter().any(|e| e.name == *name && e.address == *at)).count();
    assert_eq!(left, names.len());
    assert!(world.directory.sizes().keys <= names.len() + 256, "{:?}", world.directory.sizes());
    assert!(world.directory.storage.store.is_sound());
    // And five that are where they say, as many as they may, and near.
    for n in 0..5 {
        let member = world.stranger(2000 + n);
        let token = world.token(member);
        for _ in 0..1500 {
            let body = Body::Store { key: near(&mut world), value: member.address, expires: expires + 80_000 };
            world.say_with(member, body, Extension { token, padding: 0 });
            world.now += Duration::from_millis(2);
        }
    }
    let entries = world.directory.entries();
    let left = names.iter().filter(|(name, at)| entries.iter().any(|e| e.name == *name && e.address == *at)).count();
    assert_eq!(left, names.len());
    assert!(world.directory.sizes().keys > 3500, "they have what is left");
}

#[test]
fn only_owners_may_withdraw() {
    let mut world = World::new();
    let (owner, expires) = (world.stranger(2), UNIX as u32 + 3600);
    world.befriend(owner);
    world.store(owner, hash("x"), owner.address, expires);
    let until = |world: &World| world.directory.entries().first().map(|entry| entry.expires);
    let before = until(&world).unwrap();
    world.store(owner, hash("x"), owner.address, expires - 1800);
    assert_eq!(until(&world), Some(before - Duration::from_secs(1800)), "it may say that it has less time");
    // Another member in its name: the owner is asked whether that is so, and says no.
    let other = world.stranger(3);
    world.sent();
    let gone = Body::Store { key: hash("x"), value: owner.address, expires: 0 };
    world.say(owner, gone.clone());
    world.say_with(owner, gone.clone(), Extension { token: Some(5), padding: 0 });
    world.store(other, hash("x"), owner.address, 0);
    let asked: Vec<_> = world.asked().into_iter().filter(|(to, ..)| *to == owner.address).collect();
    let [(_, cookie, key)] = asked[..] else { panic!("{asked:?}") };
    assert_eq!((until(&world).is_some(), key), (true, hash("x")));
    let found = |cookie, values| Body::FoundValue { cookie, key: hash("x"), contacts: vec![owner], values };
    world.say(owner, found(cookie, vec![owner.address]));
    assert!(until(&world).is_some());
    // A reference may say so itself, without a token; it is asked all the same.
    world.sent();
    world.say(owner, gone.clone());
    let (_, cookie, _) = world.asked()[0];
    world.say(owner, found(cookie, vec![]));
    assert!(until(&world).is_none());
    // With one, at once.
    world.store(owner, hash("x"), owner.address, expires);
    assert!(until(&world).is_some());
    world.store(owner, hash("x"), owner.address, 0);
    assert!(until(&world).is_none());
    assert_eq!(world.directory.counters().withdrawn, 2);
}

#[test]
fn names_without_token_are_confirmed_by_their_owner() {
    let mut world = World::new();
    let (reference, liar, expires) = (world.stranger(2), world.stranger(3), UNIX as u32 + 3600);
    for src in [reference, liar] {
        world.say(src, Body::Store { key: hash(src.address), value: src.address, expires });
    }
    let asked = world.asked();
    assert_eq!(asked.iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [reference.address, liar.address]);
    for (src, (_, cookie, key)) in [reference, liar].into_iter().zip(asked) {
        let values = if src == reference { vec![Address(99), src.address] } else { vec![Address(99)] };
        world.say(src, Body::FoundValue { cookie, key, contacts: vec![src], values });
    }
    let entries = world.directory.entries();
    assert!(entries.len() == 1 && entries[0].by_owner && entries[0].address == reference.address, "{entries:?}");
    // One that was refused there is asked for again, and is gone.
    world.sent();
    world.directory.doubt(world.now, &hash(reference.address), reference.address, Doubt::Refused);
    let (_, cookie, key) = world.asked()[0];
    world.say(reference, Body::FoundValue { cookie, key, contacts: vec![reference], values: vec![] });
    assert_eq!(world.directory.sizes().keys, 0);
}

#[test]
fn stores_and_requests_are_rate_limited_by_source() {
    let mut world = World::new();
    let (src, expires) = (world.stranger(2), UNIX as u32 + 100);
    let token = world.token(src);
    for n in 0..5000 {
        let key = hash(n % 1000);
        world.say_with(src, Body::Store { key, value: src.address, expires }, Extension { token, padding: 0 });
        world.say(src, Body::Store { key, value: src.address, expires });
    }
    assert_eq!(world.directory.counters().stored, 2000 + 1000, "two seconds' worth, of its own and of all others");
    world.directory.outbox.clear();
    for _ in 0..5000 {
        world.ask(src, Body::FindValue { cookie: 1, key: hash(1) });
    }
    let answers = world.sent().into_iter().filter(|(_, body)| matches!(body, Body::FoundValue { .. })).count();
    // One has been asked for the token.
    assert_eq!(answers, 999);
    // Others are served.
    let other = world.stranger(3);
    world.ask(other, Body::FindValue { cookie: 1, key: hash(1) });
    assert!(world.sent().iter().any(|(to, _)| *to == other.address));
}

/// A lookup for a member that asks once goes on for a while when its answer is of no use any more.
#[test]
fn relayed_lookups_are_bounded() {
    let limits = Limits { relays: 4, lookups: 2, relays_per_second: 1000, ..Limits::default() };
    let mut world = World::with(limits);
    // An answer is of use for two seconds, which is looked at when the next one is late; a lookup takes up to four.
    for (n, pause) in [100, 100, 1750, 350, 0, 0, 0, 5000, 0].into_iter().enumerate() {
        // A member to ask, which falls silent.
        let silent = world.stranger(2 + n as u64);
        world.befriend(silent);
        let src = world.stranger(100 + n as u64);
        world.ask(src, Body::FindValue { cookie: 1, key: hash(n as u64) });
        world.sent();
        let sizes = world.directory.sizes();
        assert!(world.lookups() <= 4 && sizes.relays <= 4, "request {n}: {} of {sizes:?}", world.lookups());
        world.pass(Duration::from_millis(pause));
    }
    assert_eq!(world.directory.counters().relayed, 5, "and there is room for others when they have ended");
    // One's own lookups have room beside them.
    for n in 0..2 {
        assert!(matches!(world.directory.lookup(world.now, UNIX, hash(1000 + n)), Found::Pending));
    }
    assert!(world.lookups() <= 4 + 2);
}

#[test]
fn floods_of_sources_fill_no_memory() {
    let limits = Limits { sources: 100, outbox: 200, ..Limits::default() };
    let mut world = World::with(limits);
    for address in 2..20_000 {
        let src = world.stranger(address);
        world.say(src, Body::FindValue { cookie: address, key: src.id });
        world.say(src, Body::Store { key: src.id, value: src.address, expires: u32::MAX });
    }
    let sizes = world.directory.sizes();
    assert!(sizes.sources <= 100 && sizes.keys <= 4096 && sizes.outstanding <= 1024 && sizes.relays <= 48, "{sizes:?}");
    assert!(sizes.timers < 1200 && sizes.replacements <= 8 * 32, "{sizes:?}");
    assert!(world.sent().len() <= 200);
}

#[test]
fn sybils_near_the_own_id_are_bounded() {
    let mut world = World::new();
    let (own, mut rng) = (world.directory.own(), Rng::from_seed([5; 32]));
    let old: Vec<Contact> = (2..10).map(|address| world.stranger(address)).collect();
    old.iter().for_each(|contact| world.befriend(*contact));
    for n in 0..5000_u64 {
        let id = random_in_bucket(&mut rng, &own.id, (n % 256) as usize);
        world.befriend(Contact { id, address: Address(1000 + n) });
        world.pass(Duration::from_millis(50));
    }
    let sizes = world.directory.sizes();
    assert!(sizes.contacts <= 16 * 32 && sizes.replacements <= 8 * 32, "{sizes:?}");
    let contacts = world.directory.contacts();
    // Those who have answered are not ousted by those who do: only the dead go.
    world.pass(Duration::from_secs(1));
    assert!(contacts.len() > 300);
}

#[test]
fn endless_contacts_end_a_lookup() {
    let mut world = World::new();
    let friend = world.stranger(2);
    world.befriend(friend);
    world.directory.lookup(world.now, UNIX, hash("x"));
    let (mut address, mut requests, began) = (100, 0, world.now);
    while world.found().is_none() {
        for (to, cookie, key) in world.asked() {
            requests += 1;
            // Each is closer than all before.
            let contacts: Vec<Contact> = (0..20)
                .map(|n| {
                    address += 1;
                    let bits = (requests + n).min(255);
                    Contact { id: random_in_bucket(&mut world.rng, &hash("x"), bits), address: Address(address) }
                })
                .collect();
            let id = world.directory.contacts().iter().find(|c| c.address == to).map(|c| c.id);
            let src = Contact { id: id.unwrap_or_else(|| hash(to.0)), address: to };
            world.say(src, Body::FoundValue { cookie, key, contacts, values: vec![] });
        }
        world.pass(Duration::from_millis(10));
    }
    assert!(requests <= 64 + 32, "{requests}");
    assert!(world.now.since(began) <= Duration::from_millis(2010));
}

#[test]
fn values_are_cut_and_strange_ones_doubted() {
    let mut world = World::new();
    let friend = world.stranger(2);
    world.befriend(friend);
    world.directory.lookup(world.now, UNIX, hash("x"));
    let (_, cookie, key) = world.asked()[0];
    let values = (10..200).map(Address).collect();
    world.say(friend, Body::FoundValue { cookie, key, contacts: vec![], values });
    assert_eq!(world.found().unwrap().len(), 8);
    for address in 10..18 {
        world.directory.doubt(world.now, &hash("x"), Address(address), Doubt::Silent);
    }
    assert_eq!(world.directory.lookup(world.now, UNIX, hash("x")), Found::Pending);
}

#[test]
fn claims_of_owners_come_first() {
    let mut world = World::new();
    let owner = world.stranger(2);
    let expires = UNIX as u32 + 100;
    for n in 10..30 {
        let liar = world.stranger(n);
        world.say(liar, Body::Store { key: hash("x"), value: Address(n + 100), expires });
    }
    world.store(owner, hash("x"), owner.address, expires);
    let other = world.stranger(50);
    world.sent();
    world.ask(other, Body::FindValue { cookie: 1, key: hash("x") });
    let sent = world.sent();
    let answer = sent.iter().find(|(_, body)| matches!(body, Body::FoundValue { .. }));
    let Some((_, Body::FoundValue { values, .. })) = answer else { panic!("{sent:?}") };
    assert_eq!((values[0], values.len()), (owner.address, 8));
    assert_eq!(world.directory.lookup(world.now, UNIX, hash("x")), Found::Known(vec![owner.address]));
    // Hearsay alone is checked first.
    let mut world = World::new();
    let (liar, friend) = (world.stranger(3), world.stranger(4));
    world.befriend(friend);
    world.say(liar, Body::Store { key: hash("x"), value: Address(9), expires });
    assert_eq!(world.directory.lookup(world.now, UNIX, hash("x")), Found::Pending);
}

#[test]
fn expiry_is_clamped_and_checked_on_read() {
    let mut world = World::new();
    let src = world.stranger(2);
    let asks = world.stranger(3);
    let told = |world: &mut World, key| {
        world.sent();
        world.ask(asks, Body::FindValue { cookie: 1, key });
        let sent = world.sent();
        let values = sent.into_iter().find_map(|(to, body)| match body {
            Body::FoundValue { values, .. } if to == asks.address => Some(values),
            _ => None,
        });
        values.unwrap()
    };
    for (name, expires) in [("past", 1), ("now", UNIX as u32), ("soon", UNIX as u32 + 5), ("never", u32::MAX)] {
        world.say(src, Body::Store { key: hash(name), value: src.address, expires });
    }
    assert_eq!(world.directory.counters().not_stored, 2);
    assert_eq!(told(&mut world, hash("soon")), [src.address]);
    // Time passes, but nothing runs.
    world.now += Duration::from_secs(5);
    assert_eq!(told(&mut world, hash("soon")), []);
    world.now += Duration::from_secs(86_400 - 6);
    assert_eq!(told(&mut world, hash("never")), [src.address]);
    world.now += Duration::from_secs(1);
    assert_eq!(told(&mut world, hash("never")), [], "a day is the longest");
}

#[test]
fn claims_about_the_own_address_are_ignored() {
    let mut world = World::new();
    let src = world.stranger(2);
    world.say(src, Body::Store { key: hash("x"), value: Address(1), expires: u32::MAX });
    assert_eq!(world.directory.sizes().keys, 0);
}

#[test]
fn answers_never_name_only_the_requester() {
    let mut world = World::new();
    let (a, b) = (world.stranger(2), world.stranger(3));
    for src in [a, b] {
        world.say(src, Body::Store { key: hash("x"), value: src.address, expires: u32::MAX });
    }
    for src in [a, b] {
        world.sent();
        world.ask(src, Body::FindValue { cookie: 9, key: hash("x") });
        let sent = world.sent();
        let answer = sent.iter().find(|(_, body)| matches!(body, Body::FoundValue { .. }));
        let Some((_, Body::FoundValue { cookie, contacts, values, .. })) = answer else { panic!("{sent:?}") };
        assert_eq!((*cookie, values[1], contacts.len()), (9, src.address, 1));
        assert_ne!(values[0], src.address);
    }
}

/// The vectors of the specification that a decoder cannot judge alone, and those it can.
#[test]
fn malformed_vectors_are_refused() {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../../tests/data/vectors/dht.json")).unwrap();
    let entries: Vec<&serde_json::Value> =
        file["messages"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "negative").collect();
    assert_eq!(entries.len(), 21);
    for entry in entries {
        let name = entry["name"].as_str().unwrap();
        let text = entry["hex"].as_str().unwrap();
        let bytes: Vec<u8> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
        let mut world = World::new();
        world.directory.handle_packet(world.now, UNIX, &bytes);
        let (sizes, counters, sent) = (world.directory.sizes(), world.directory.counters(), world.sent());
        assert_eq!((sizes.contacts, sizes.keys, sizes.lookups), (0, 0, 0), "{name}");
        match name {
            "store_expired" => assert!(counters.not_stored == 1 && sent.is_empty(), "{name}"),
            // The source is asked whether it is there.
            "unknown_field_15" => assert!(counters.held == 1 && sent.len() == 1, "{name}: {counters:?}"),
            "rsp_unknown_cookie" | "rsp_contact_id_short" | "rsp_contact_addr_zero" | "value_rsp_empty_value" => {
                assert_eq!((counters.unsolicited, sent.len()), (1, 0), "{name}");
            }
            _ => assert_eq!((counters.malformed, sent.len()), (1, 0), "{name}"),
        }
    }
}
