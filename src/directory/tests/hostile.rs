//! One member among strangers who mean ill, and among packets that are none.

use core::time::Duration;

use super::net::{ALG, UNIX, hash};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::directory::distance::{random, random_beside};
use crate::directory::questions::Kind;
use crate::directory::{Config, Directory, Doubt, Event, Found, Limits};
use crate::types::id::Address;
use crate::types::layer::Dht;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Message};

/// A member with the address 1, and everybody else.
struct World {
    directory: Directory,
    rng: Rng,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let mut config = Config::new(Address(1), ALG, Dht::default());
        config.limits = limits;
        let now = Instant::from_millis(1);
        Self { directory: Directory::new(now, config, Rng::from_seed([1; 32])), rng: Rng::from_seed([2; 32]), now }
    }

    fn stranger(&mut self, address: u64) -> Contact {
        Contact { id: random(&mut self.rng, ALG), address: Address(address) }
    }

    fn say(&mut self, src: Contact, body: Body) {
        let bytes = Message { src, body }.encode().unwrap();
        self.directory.receive(self.now, UNIX, &bytes);
    }

    fn sent(&mut self) -> Vec<(Address, Body)> {
        let directory = &mut self.directory;
        let next = || directory.poll_transmit().map(|(to, bytes)| (to, Message::decode(ALG, &bytes).unwrap().body));
        core::iter::from_fn(next).collect()
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.directory.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.directory.handle_timeout(self.now, UNIX);
        }
        self.now = end;
    }

    /// Makes a contact: it asks, is asked and answers.
    fn befriend(&mut self, contact: Contact) {
        self.say(contact, Body::FindNode { cookie: 1, key: contact.id });
        for (to, body) in self.sent() {
            if let Body::FindNode { cookie, key } = body
                && to == contact.address
            {
                self.say(contact, Body::FoundNode { cookie, key, contacts: vec![contact] });
            }
        }
        self.sent();
    }

    /// Walks to where a name may be.
    fn lookups(&self) -> usize {
        self.directory.walks.keys().filter(|(kind, _)| *kind == Kind::Value).count()
    }

    fn found(&mut self) -> Option<Vec<Address>> {
        self.directory.poll_event().map(|Event::LookupDone { addresses, .. }| addresses)
    }

    /// Questions for a value, and to whom.
    fn asked(&mut self) -> Vec<(Address, u64, NameHash)> {
        let asked = self.sent().into_iter().filter_map(|(to, body)| match body {
            Body::FindValue { cookie, key } => Some((to, cookie, key)),
            _ => None,
        });
        asked.collect()
    }
}

#[test]
fn nobody_is_a_contact_before_it_has_answered() {
    let mut world = World::new();
    for address in 2..50 {
        let stranger = world.stranger(address);
        world.say(stranger, Body::FindNode { cookie: 1, key: stranger.id });
    }
    assert_eq!(world.directory.sizes().contacts, 0);
    let answers = world.sent();
    for (to, body) in &answers {
        if let Body::FoundNode { contacts, .. } = body {
            assert_eq!(contacts.iter().map(|c| c.address).collect::<Vec<_>>(), [*to], "nobody else is told about");
        }
    }
    world.pass(Duration::from_secs(10));
    assert_eq!(world.directory.sizes().contacts, 0);
}

#[test]
fn an_answer_answers_one_question_of_one_member_once() {
    let mut world = World::new();
    let (friend, other) = (world.stranger(2), world.stranger(3));
    world.befriend(friend);
    assert_eq!(world.directory.lookup(world.now, UNIX, hash("x")), Found::Pending);
    let (to, cookie, key) = world.asked()[0];
    assert_eq!((to, key), (friend.address, hash("x")));
    let lie = |cookie, key| Body::FoundValue { cookie, key, contacts: vec![other], values: vec![Address(666)] };
    // Somebody else, another cookie, another key, another kind.
    world.say(other, lie(cookie, key));
    world.say(friend, lie(cookie ^ 1, key));
    world.say(friend, lie(cookie, hash("y")));
    world.say(friend, Body::FoundNode { cookie, key, contacts: vec![other] });
    assert_eq!(world.directory.counters().unasked, 4);
    assert_eq!(world.found(), None);
    let truth = Body::FoundValue { cookie, key, contacts: vec![other], values: vec![Address(7)] };
    world.say(friend, truth.clone());
    assert_eq!(world.found(), Some(vec![Address(7)]));
    world.say(friend, truth);
    assert_eq!(world.directory.counters().unasked, 5, "not twice");
}

#[test]
fn impostors_are_dropped() {
    let mut world = World::new();
    let own = world.directory.own();
    let stranger = world.stranger(2);
    world.say(Contact { address: own.address, ..stranger }, Body::FindNode { cookie: 1, key: own.id });
    world.say(Contact { id: own.id, ..stranger }, Body::FindNode { cookie: 1, key: own.id });
    assert_eq!(world.directory.counters().impostors, 2);
    assert_eq!(world.sent(), []);
}

#[test]
fn own_id_and_own_address_are_never_asked_or_told() {
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
    // Somebody else with the id of one who is well.
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
    let limits =
        Limits { keys: 50, keys_per_source: 20, values_per_key: 4, stores_per_second: 1000, ..Limits::default() };
    let mut world = World::with(limits);
    let expires = UNIX as u32 + 100;
    let far = |world: &mut World, bits| random_beside(&mut world.rng, &world.directory.own().id, bits);
    for n in 0..100 {
        let (src, key) = (Contact { address: Address(2), ..world.stranger(2) }, far(&mut world, 0));
        world.say(src, Body::Store { key, value: Address(n + 10), expires });
    }
    assert_eq!(world.directory.sizes().keys, 20, "of one source");
    for n in 0..200 {
        let (src, key) = (world.stranger(n + 10), far(&mut world, 0));
        world.say(src, Body::Store { key, value: src.address, expires });
    }
    assert_eq!(world.directory.sizes().keys, 50, "in all");
    let (src, near) = (world.stranger(7), far(&mut world, 8));
    world.say(src, Body::Store { key: near, value: src.address, expires });
    assert_eq!(world.directory.sizes().keys, 50);
    assert!(world.directory.entries().iter().any(|entry| entry.name == near), "a near one ousts a far one");
    for n in 0..50 {
        let src = world.stranger(n + 1000);
        world.say(src, Body::Store { key: near, value: Address(n + 5000), expires });
    }
    let of_near = |world: &World| world.directory.entries().into_iter().filter(|e| e.name == near).collect::<Vec<_>>();
    assert_eq!(of_near(&world).len(), 4, "of one name");
    assert!(of_near(&world).iter().any(|entry| entry.by_owner && entry.address == Address(7)), "the owner stays");
}

#[test]
fn too_many_stores_and_requests_of_one_are_dropped() {
    let mut world = World::new();
    let (src, expires) = (world.stranger(2), UNIX as u32 + 100);
    for n in 0..5000 {
        let key = hash(n % 1000);
        world.say(src, Body::Store { key, value: src.address, expires });
    }
    assert_eq!(world.directory.counters().stored, 2000, "two seconds' worth");
    for _ in 0..5000 {
        world.say(src, Body::FindValue { cookie: 1, key: hash(1) });
    }
    let answers = world.sent().into_iter().filter(|(_, body)| matches!(body, Body::FoundValue { .. })).count();
    assert_eq!(answers, 1000);
    // Others are served.
    let other = world.stranger(3);
    world.say(other, Body::FindValue { cookie: 1, key: hash(1) });
    assert!(world.sent().iter().any(|(to, _)| *to == other.address));
}

/// A lookup for a member that cannot walk goes on for a while when its answer is of no use any more.
#[test]
fn lookups_for_others_are_bounded_whether_somebody_waits_for_them_or_not() {
    let limits = Limits { relays: 4, lookups: 2, relays_per_second: 1000, ..Limits::default() };
    let mut world = World::with(limits);
    // An answer is of use for two seconds, which is looked at when the next one is late; a lookup takes up to four.
    for (n, pause) in [100, 100, 1750, 350, 0, 0, 0, 5000, 0].into_iter().enumerate() {
        // Somebody to ask, who falls silent.
        let silent = world.stranger(2 + n as u64);
        world.befriend(silent);
        let src = world.stranger(100 + n as u64);
        world.say(src, Body::FindValue { cookie: 1, key: hash(n as u64) });
        world.sent();
        let sizes = world.directory.sizes();
        assert!(world.lookups() <= 4 && sizes.relays <= 4, "question {n}: {} of {sizes:?}", world.lookups());
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
fn a_flood_of_sources_fills_no_memory() {
    let limits = Limits { sources: 100, outbox: 200, ..Limits::default() };
    let mut world = World::with(limits);
    for address in 2..20_000 {
        let src = world.stranger(address);
        world.say(src, Body::FindValue { cookie: address, key: src.id });
        world.say(src, Body::Store { key: src.id, value: src.address, expires: u32::MAX });
    }
    let sizes = world.directory.sizes();
    assert!(sizes.sources <= 100 && sizes.keys <= 4096 && sizes.questions <= 1024 && sizes.relays <= 48, "{sizes:?}");
    assert!(sizes.timers < 1200 && sizes.spares <= 8 * 32, "{sizes:?}");
    assert_eq!(world.sent().len(), 200);
}

#[test]
fn sybils_next_to_the_own_id_find_no_end_of_room() {
    let mut world = World::new();
    let (own, mut rng) = (world.directory.own(), Rng::from_seed([5; 32]));
    let old: Vec<Contact> = (2..10).map(|address| world.stranger(address)).collect();
    old.iter().for_each(|contact| world.befriend(*contact));
    for n in 0..5000_u64 {
        let id = random_beside(&mut rng, &own.id, (n % 256) as usize);
        world.befriend(Contact { id, address: Address(1000 + n) });
        world.pass(Duration::from_millis(50));
    }
    let sizes = world.directory.sizes();
    assert!(sizes.contacts <= 16 * 32 && sizes.spares <= 8 * 32, "{sizes:?}");
    let contacts = world.directory.contacts();
    // Those who have answered are not ousted by those who do: only the dead go.
    world.pass(Duration::from_secs(1));
    assert!(contacts.len() > 300);
}

#[test]
fn contacts_without_end_do_not_keep_a_walk_going() {
    let mut world = World::new();
    let friend = world.stranger(2);
    world.befriend(friend);
    world.directory.lookup(world.now, UNIX, hash("x"));
    let (mut address, mut questions, began) = (100, 0, world.now);
    while world.found().is_none() {
        for (to, cookie, key) in world.asked() {
            questions += 1;
            // Each is closer than all before.
            let contacts: Vec<Contact> = (0..20)
                .map(|n| {
                    address += 1;
                    let bits = (questions + n).min(255);
                    Contact { id: random_beside(&mut world.rng, &hash("x"), bits), address: Address(address) }
                })
                .collect();
            let id = world.directory.contacts().iter().find(|c| c.address == to).map(|c| c.id);
            let src = Contact { id: id.unwrap_or_else(|| hash(to.0)), address: to };
            world.say(src, Body::FoundValue { cookie, key, contacts, values: vec![] });
        }
        world.pass(Duration::from_millis(10));
    }
    assert!(questions <= 64 + 32, "{questions}");
    assert!(world.now.since(began) <= Duration::from_millis(2010));
}

#[test]
fn many_values_are_cut_and_strange_ones_doubted() {
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
fn what_the_owner_says_goes_first() {
    let mut world = World::new();
    let owner = world.stranger(2);
    let expires = UNIX as u32 + 100;
    for n in 10..30 {
        let liar = world.stranger(n);
        world.say(liar, Body::Store { key: hash("x"), value: Address(n + 100), expires });
    }
    world.say(owner, Body::Store { key: hash("x"), value: owner.address, expires });
    let other = world.stranger(50);
    world.sent();
    world.say(other, Body::FindValue { cookie: 1, key: hash("x") });
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
fn expiry_is_clamped_and_looked_at_when_read() {
    let mut world = World::new();
    let src = world.stranger(2);
    let asks = world.stranger(3);
    let told = |world: &mut World, key| {
        world.sent();
        world.say(asks, Body::FindValue { cookie: 1, key });
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
fn what_is_stored_about_the_own_address_is_not_believed() {
    let mut world = World::new();
    let src = world.stranger(2);
    world.say(src, Body::Store { key: hash("x"), value: Address(1), expires: u32::MAX });
    assert_eq!(world.directory.sizes().keys, 0);
}

#[test]
fn a_requester_gets_somebody_else_first_and_never_nothing() {
    let mut world = World::new();
    let (a, b) = (world.stranger(2), world.stranger(3));
    for src in [a, b] {
        world.say(src, Body::Store { key: hash("x"), value: src.address, expires: u32::MAX });
    }
    for src in [a, b] {
        world.sent();
        world.say(src, Body::FindValue { cookie: 9, key: hash("x") });
        let sent = world.sent();
        let answer = sent.iter().find(|(_, body)| matches!(body, Body::FoundValue { .. }));
        let Some((_, Body::FoundValue { cookie, contacts, values, .. })) = answer else { panic!("{sent:?}") };
        assert_eq!((*cookie, values[1], contacts.len()), (9, src.address, 1));
        assert_ne!(values[0], src.address);
    }
}

/// The vectors of the specification that a decoder cannot judge alone, and those it can.
#[test]
fn negative_vectors() {
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
        world.directory.receive(world.now, UNIX, &bytes);
        let (sizes, counters, sent) = (world.directory.sizes(), world.directory.counters(), world.sent());
        assert_eq!((sizes.contacts, sizes.keys, sizes.walks), (0, 0, 0), "{name}");
        match name {
            // The source is heard of and asked, no more.
            "store_expired" => assert!(counters.not_stored == 1 && sent.len() == 1, "{name}"),
            "unknown_field_15" => assert!(counters.answered == 1 || counters.relayed == 1, "{name}: {counters:?}"),
            "rsp_unknown_cookie" | "rsp_contact_id_short" | "rsp_contact_addr_zero" | "value_rsp_empty_value" => {
                assert_eq!((counters.unasked, sent.len()), (1, 0), "{name}");
            }
            _ => assert_eq!((counters.malformed, sent.len()), (1, 0), "{name}"),
        }
    }
}
