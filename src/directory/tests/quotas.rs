//! Shares of one member in bounded resources, whatever others do.

use core::time::Duration;

use super::hostile::World;
use super::net::{UNIX, hash};
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension};

/// Answers that a member has the names that it is asked for.
fn confirm(world: &mut World, member: Contact) {
    for (to, cookie, key) in world.asked() {
        if to == member.address {
            let values = vec![member.address];
            world.say(member, Body::FoundValue { cookie, key, contacts: vec![member], values });
        }
    }
}

/// Claims in invented names use up the quotas of strangers, and not those of contacts.
#[test]
fn floods_of_claims_leave_confirmations_to_contacts() {
    let mut world = World::new();
    let reference = world.stranger(2);
    world.befriend(reference);
    let expires = UNIX as u32 + 1000;
    for n in 0..20_000_u64 {
        let stranger = world.stranger(1000 + n);
        world.say(stranger, Body::Store { key: hash(n), value: stranger.address, expires });
        world.pass(Duration::from_micros(500));
        if n % 500 == 499 {
            world.sent();
            world.say(reference, Body::Store { key: hash(1_000_000 + n), value: reference.address, expires });
            confirm(&mut world, reference);
        }
    }
    let own = world.directory.entries().into_iter().filter(|entry| entry.address == reference.address);
    assert_eq!(own.filter(|entry| entry.by_owner).count(), 40, "of 40 names");
    assert!(world.directory.counters().confirmations < 40 + 12 * 50, "strangers have a rate, too");
}

/// A member that says much about others does not use up what others have confirmed.
#[test]
fn hearsay_of_one_leaves_confirmations_to_others() {
    let mut world = World::new();
    let (gossip, reference) = (world.stranger(2), world.stranger(3));
    world.befriend(gossip);
    world.befriend(reference);
    let (expires, token) = (UNIX as u32 + 1000, world.token(gossip));
    for n in 0..2000_u64 {
        let store = Body::Store { key: hash(n), value: Address(5000 + n), expires };
        world.say_with(gossip, store, Extension { token, padding: 0 });
        world.pass(Duration::from_micros(2100));
        if n % 100 == 99 {
            world.sent();
            world.say(reference, Body::Store { key: hash(1_000_000 + n), value: reference.address, expires });
            confirm(&mut world, reference);
        }
    }
    let own = world.directory.entries().into_iter().filter(|entry| entry.address == reference.address);
    assert_eq!(own.filter(|entry| entry.by_owner).count(), 20, "of 20 names");
}

/// Members come and go for as long as a name is registered: it is taken back from those who have it now.
#[test]
fn names_are_withdrawn_from_the_newest_keepers() {
    let mut world = World::new();
    let name = hash("x");
    world.directory.register(world.now, UNIX, name).unwrap();
    let note = |world: &mut World, address: u64, asked: bool| {
        let names = &mut world.directory.publishing.names;
        let name = names.get_mut(&name).unwrap();
        if asked { name.note_keeper(Address(address), None) } else { name.note_holder(Address(address), None) }
    };
    (1000..2000).for_each(|address| note(&mut world, address, false));
    // Members that ask for it, and may have it from others, do not displace it.
    (5000..6000).for_each(|address| note(&mut world, address, true));
    assert!(world.directory.unregister(world.now, &name));
    let told: Vec<u64> = world.sent().into_iter().map(|(to, _)| to.0).collect();
    assert!((1940..2000).all(|address| told.contains(&address)), "{told:?}");
    assert!((5990..6000).all(|address| told.contains(&address)), "{told:?}");
    assert!(told.len() <= 200, "bounded: {}", told.len());
}

/// Newcomers are handed their names bit by bit: many that come at once do not make many searches of the store.
#[test]
fn newcomers_are_served_bit_by_bit() {
    let mut world = World::new();
    let owner = world.stranger(2);
    world.befriend(owner);
    let expires = UNIX as u32 + 1000;
    for n in 0..1000_u64 {
        world.store(owner, hash(n), owner.address, expires);
        world.pass(Duration::from_millis(5));
    }
    world.sent();
    let kept = world.directory.sizes().keys;
    assert!(kept > 900);
    let before = world.directory.publishing.handoffs.looked_at();
    (100..140).for_each(|address| {
        let newcomer = world.stranger(address);
        world.befriend(newcomer);
    });
    let at_once = world.directory.publishing.handoffs.looked_at() - before;
    assert!(at_once <= 2 * 512, "{at_once} of {kept} names for 40 newcomers");
    let mut handed: Vec<(Address, NameHash)> = Vec::new();
    for _ in 0..2000 {
        world.pass(Duration::from_millis(100));
        handed.extend(world.sent().into_iter().filter_map(|(to, body)| match body {
            Body::Store { key, .. } => Some((to, key)),
            _ => None,
        }));
    }
    assert_eq!(world.directory.sizes().handoffs, 0);
    assert!(!handed.is_empty());
}
