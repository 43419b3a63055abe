//! One member, and strangers who want to use up what it has for others.

use core::time::Duration;

use super::hostile::World;
use super::net::{ALG, UNIX, hash};
use crate::directory::distance::random_in_bucket;
use crate::directory::requests::signed;
use crate::directory::{Doubt, Found, Limits};
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension, Message};

/// A request that is looked up for another member has two answers if it takes long: both together are no longer than
/// it.
#[test]
fn relayed_answers_are_no_longer_than_the_request() {
    let mut world = World::new();
    let contacts: Vec<Contact> = (2..20).map(|address| world.stranger(address)).collect();
    contacts.iter().for_each(|contact| world.befriend(*contact));
    world.sent();
    let victim = world.stranger(1 << 20);
    let request = Message { src: victim, body: Body::FindValue { cookie: u64::MAX, key: hash("x") } };
    let request = request.encode_extended(Extension { token: None, padding: 500 }).unwrap();
    world.directory.handle_packet(world.now, UNIX, &request);
    let (mut sent, mut answers, mut asked) = (0, 0, Vec::new());
    let mut look = |world: &mut World| {
        while let Some((to, bytes)) = world.directory.poll_transmit() {
            let body = Message::decode(ALG, &bytes).unwrap().body;
            if to == victim.address {
                sent += bytes.len();
                answers += usize::from(matches!(body, Body::FoundValue { .. }));
            } else if let Body::FindValue { cookie, key } = body {
                asked.push((to, cookie, key));
            }
        }
    };
    look(&mut world);
    world.pass(Duration::from_millis(200));
    look(&mut world);
    let (to, cookie, key) = asked[0];
    let from = *contacts.iter().find(|contact| contact.address == to).unwrap();
    let values = (100..108).map(Address).collect();
    world.say(from, Body::FoundValue { cookie, key, contacts: contacts.clone(), values });
    let mut look = |world: &mut World| {
        while let Some((to, bytes)) = world.directory.poll_transmit() {
            sent += if to == victim.address { bytes.len() } else { 0 };
            answers += usize::from(to == victim.address);
        }
    };
    look(&mut world);
    assert!(answers > 0 && sent <= request.len(), "{sent} bytes in {answers} for {}", request.len());
}

/// Members that cannot be verified now displace none that was.
#[test]
fn unverified_strangers_displace_no_verified_ones() {
    let mut world = World::new();
    let honest = world.stranger(2);
    world.say(honest, Body::FindNode { cookie: u64::MAX, key: hash("x") });
    let asked = world.sent();
    let Body::FindNode { cookie, key } = asked[0].1 else { panic!("{asked:?}") };
    for address in 1000..6000 {
        let stranger = world.stranger(address);
        for _ in 0..4 {
            world.say(stranger, Body::FindNode { cookie: u64::MAX, key: hash("x") });
        }
    }
    world.sent();
    assert!(world.directory.sizes().held <= 128);
    world.say(honest, Body::FoundNode { cookie, key, contacts: vec![honest] });
    let sent = world.sent();
    assert!(sent.iter().any(|(to, body)| *to == honest.address && matches!(body, Body::FoundNode { .. })), "{sent:?}");
}

/// Contacts have rates of their own, however many others there are.
#[test]
fn invented_sources_leave_the_rates_of_contacts() {
    let mut world = World::new();
    let contact = world.stranger(2);
    world.befriend(contact);
    world.pass(Duration::from_secs(5));
    let mut answered = 0;
    for n in 0..60_000_u64 {
        let stranger = world.stranger(1000 + n);
        world.say(stranger, Body::FindNode { cookie: u64::MAX, key: hash("x") });
        world.now += Duration::from_micros(250);
        if n % 12_000 == 11_999 {
            world.sent();
            world.ask(contact, Body::FindNode { cookie: signed(7), key: hash("y") });
            let answer =
                |(to, body): &(Address, Body)| *to == contact.address && matches!(body, Body::FoundNode { .. });
            answered += world.sent().iter().filter(|sent| answer(sent)).count();
        }
    }
    assert_eq!(answered, 5);
    assert!(world.directory.sizes().sources <= 2 * 1024);
}

/// As many names as possible are withdrawn at once: more messages than may wait.
#[test]
fn all_names_are_withdrawn_despite_bounded_messages() {
    let mut world = World::with(Limits { outbox: 100, ..Limits::default() });
    let contacts: Vec<Contact> = (2..22).map(|address| world.stranger(address)).collect();
    contacts.iter().for_each(|contact| world.befriend(*contact));
    let names: Vec<NameHash> = (0..50).map(hash).collect();
    for name in &names {
        world.directory.register(world.now, UNIX, *name).unwrap();
        let told = &mut world.directory.publishing.names.get_mut(name).unwrap();
        contacts.iter().for_each(|contact| told.note_holder(contact.address, None));
    }
    for name in &names {
        assert!(world.directory.unregister(world.now, name));
    }
    let mut heard = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        for (to, body) in world.sent() {
            if let Body::Store { key, expires: 0, .. } = body {
                heard.insert((to, key));
            }
        }
        world.pass(Duration::from_millis(10));
    }
    assert_eq!(heard.len(), names.len() * contacts.len());
    assert_eq!(world.directory.sizes().withdrawals, 0);
}

/// A member that claims a name again and again, and then does not have it, does not keep others from being found.
#[test]
fn a_name_under_lookup_skips_addresses_that_refused() {
    let mut world = World::new();
    let (liar, other) = (world.stranger(2), world.stranger(3));
    world.befriend(liar);
    world.befriend(other);
    let expires = UNIX as u32 + 1000;
    world.store(liar, hash("x"), liar.address, expires);
    world.sent();
    assert_eq!(world.directory.lookup(world.now, UNIX, hash("x")), Found::Known(vec![liar.address]));
    world.directory.doubt(world.now, &hash("x"), liar.address, Doubt::Refused);
    assert_eq!(world.directory.lookup(world.now, UNIX, hash("x")), Found::Pending);
    let asked = world.asked();
    world.store(liar, hash("x"), liar.address, expires);
    assert_eq!(world.directory.lookup(world.now, UNIX, hash("x")), Found::Pending, "others may have it");
    let (_, cookie, key) = *asked.iter().find(|(to, ..)| *to == other.address).unwrap();
    world.say(other, Body::FoundValue { cookie, key, contacts: vec![other], values: vec![other.address] });
    assert!(world.found().is_some_and(|found| found.contains(&other.address)));
}

/// One that starts anew again and again has not more handed on to it than any other.
#[test]
fn restarted_members_are_handed_names_once() {
    let mut world = World::new();
    for n in 0..200 {
        world.directory.register(world.now, UNIX, hash(n)).unwrap();
    }
    let first = world.stranger(2);
    world.befriend(first);
    let mut world = publish_all(world);
    for n in 0..30_u64 {
        let id = random_in_bucket(&mut world.rng, &world.directory.own().id, 60);
        world.befriend(Contact { id, address: Address(100) });
        assert!(world.directory.sizes().handoffs <= 2 * 200, "{n}: {:?}", world.directory.sizes());
        world.now += Duration::from_millis(20);
    }
}

fn publish_all(mut world: World) -> World {
    for name in world.directory.publishing.names.values_mut() {
        name.published(None, Duration::from_secs(1));
    }
    world
}

/// Claims in an owner's name do not prolong its value.
#[test]
fn claims_of_o7s_owners_are_not_prolonged() {
    let mut world = World::new();
    let owner = world.stranger(2);
    world.befriend(owner);
    world.store(owner, hash("x"), owner.address, UNIX as u32 + 3600);
    world.sent();
    let before = world.directory.entries()[0].expires;
    world.say(owner, Body::Store { key: hash("x"), value: owner.address, expires: UNIX as u32 + 86_400 });
    // It asks the owner whether that is so, and this is the answer that would prolong the value.
    let (to, cookie, key) = world.asked()[0];
    assert_eq!(to, owner.address);
    let found = Body::FoundValue { cookie, key, contacts: vec![owner], values: vec![owner.address] };
    world.say_with(owner, found, Extension { token: Some(7), padding: 0 });
    assert_eq!(world.directory.entries()[0].expires, before);
}

/// Whatever the clock of the world shows.
#[test]
fn clocks_at_their_end_are_survived() {
    let mut world = World::new();
    let contact = world.stranger(2);
    world.befriend(contact);
    world.directory.register(world.now, u64::MAX, hash("x")).unwrap();
    for _ in 0..500 {
        for (to, body) in world.sent() {
            if let Body::FindNode { cookie, key } = body
                && to == contact.address
            {
                let body = Body::FoundNode { cookie, key, contacts: vec![contact] };
                let bytes = Message { src: contact, body }.encode().unwrap();
                world.directory.handle_packet(world.now, u64::MAX, &bytes);
            }
        }
        world.now += Duration::from_millis(10);
        world.directory.handle_timeout(world.now, u64::MAX);
    }
    assert!(world.directory.counters().published > 0);
}

/// Lookups for others use up no requests that own ones need.
#[test]
fn own_lookups_displace_overdue_requests() {
    let mut world = World::with(Limits { outstanding: 16, ..Limits::default() });
    let friend = world.stranger(2);
    world.befriend(friend);
    for address in 100..200 {
        world.directory.suggest(world.now, Address(address));
        world.pass(Duration::from_millis(120));
        world.sent();
    }
    assert_eq!(world.directory.lookup(world.now, UNIX, hash("x")), Found::Pending);
    let asked = world.asked();
    assert!(asked.iter().any(|(to, ..)| *to == friend.address), "{asked:?} {:?}", world.directory.sizes());
}
