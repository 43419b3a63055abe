//! Behaviour of one member, step by step.

use core::time::Duration;

use super::net::{ALG, Link, Net, UNIX, hash};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::directory::{Config, Directory, Doubt, Found, RegisterError};
use crate::types::id::Address;
use crate::types::layer::Dht;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Extension, Message};

const SECOND: Duration = Duration::from_secs(1);

fn alone(peer: u64) -> Directory {
    let config = Config::new(Address(1), ALG, Dht { peer: Address(peer), ..Dht::default() });
    Directory::new(Instant::ZERO, config, Rng::from_seed([1; 32]))
}

fn sent(directory: &mut Directory) -> Vec<(Address, Body)> {
    let next = || directory.poll_transmit().map(|(to, bytes)| (to, Message::decode(ALG, &bytes).unwrap().body));
    core::iter::from_fn(next).collect()
}

fn layer(n: usize) -> Net {
    let mut net = Net::grown(7, Link::default(), n, Duration::from_millis(100));
    net.run(3 * SECOND);
    net
}

#[test]
fn a_lone_member_knows_and_sends_nothing() {
    let mut directory = alone(0);
    let now = Instant::from_millis(1);
    directory.register(now, UNIX, hash("a")).unwrap();
    assert_eq!(directory.lookup(now, UNIX, hash("a")), Found::Unknown);
    assert_eq!(directory.lookup(now, UNIX, hash("b")), Found::Unknown);
    for _ in 0..1000 {
        let next = directory.next_deadline().unwrap();
        directory.handle_timeout(next, UNIX);
    }
    assert_eq!(sent(&mut directory), []);
}

#[test]
fn the_first_request_is_repeated() {
    let mut directory = alone(2);
    let (mut now, mut asked) = (Instant::ZERO, Vec::new());
    while now < Instant::from_millis(120_000) {
        now = directory.next_deadline().unwrap();
        directory.handle_timeout(now, UNIX);
        for (to, body) in sent(&mut directory) {
            assert_eq!(to, Address(2));
            assert!(matches!(body, Body::FindNode { key, .. } if key == directory.own().id));
            asked.push(now.as_nanos() / 1_000_000);
        }
    }
    let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(asked[0] == 0 && (50..100).contains(&gaps[0]), "{asked:?}");
    // It doubles, then comes every second, and at last every half minute.
    assert!(gaps[..4].windows(2).all(|pair| pair[1] > pair[0]), "{asked:?}");
    assert!(gaps[4..20].iter().all(|gap| (800..1200).contains(gap)) && gaps[25] > 20_000, "{asked:?}");
}

#[test]
fn a_new_route_triggers_a_request() {
    let mut directory = alone(2);
    directory.handle_timeout(Instant::ZERO, UNIX);
    assert_eq!(sent(&mut directory).len(), 1);
    directory.unreachable(Instant::ZERO, Address(2));
    let mut now = Instant::ZERO;
    while now < Instant::from_millis(20_000) {
        now = directory.next_deadline().unwrap();
        directory.handle_timeout(now, UNIX);
        sent(&mut directory);
    }
    let now = now + 300 * Duration::from_millis(1);
    directory.route_known(now);
    directory.handle_timeout(now, UNIX);
    assert_eq!(sent(&mut directory).len(), 1);
}

#[test]
fn a_lookup_waits_for_the_first_contact() {
    let mut net = Net::new(3);
    net.join();
    net.register(0, hash("a"));
    let late = net.join();
    assert_eq!(net.lookup(late, hash("a")).addresses, [Address(1)]);
}

#[test]
fn answers_name_other_instances_but_not_the_own_address() {
    let mut net = layer(20);
    [3, 4, 5].into_iter().for_each(|number| net.register(number, hash("many")));
    net.run(SECOND);
    let mut found = net.lookup(3, hash("many")).addresses;
    found.sort_unstable();
    assert_eq!(found, [Address(5), Address(6)]);
    let mut found = net.lookup(9, hash("many")).addresses;
    found.sort_unstable();
    assert_eq!(found, [Address(4), Address(5), Address(6)]);
}

#[test]
fn doubted_names_are_looked_up_again() {
    let mut net = layer(20);
    [3, 4].into_iter().for_each(|number| net.register(number, hash("two")));
    net.run(SECOND);
    let found = net.lookup(9, hash("two")).addresses;
    assert_eq!(found.len(), 2);
    let now = net.now;
    net.ours(9).doubt(now, &hash("two"), found[0], Doubt::Silent);
    assert_eq!(net.lookup(9, hash("two")).addresses, [found[1]]);
    // The first leaves: asked anew, only hearsay speaks for it. The other speaks for itself.
    net.leave(found[0].0 as usize - 1);
    let now = net.now;
    net.ours(9).doubt(now, &hash("two"), found[1], Doubt::Silent);
    assert_eq!(net.lookup(9, hash("two")).addresses, [found[1]]);
}

#[test]
fn unknown_names_are_remembered_for_a_second() {
    let mut net = layer(20);
    assert_eq!(net.lookup(9, hash("nobody")).addresses, []);
    let before = net.messages;
    assert_eq!(net.start_lookup(9, hash("nobody")), Some(Vec::new()));
    assert_eq!(net.messages, before);
    net.run(SECOND);
    net.register(2, hash("nobody"));
    net.run(SECOND);
    assert_eq!(net.lookup(9, hash("nobody")).addresses, [Address(3)]);
}

#[test]
fn unregistered_names_are_forgotten_at_once() {
    for n in [10, 60] {
        let mut net = layer(n);
        net.register(3, hash("brief"));
        net.run(SECOND);
        assert_eq!(net.lookup(9, hash("brief")).addresses, [Address(4)]);
        assert!(net.unregister(3, hash("brief")));
        assert!(!net.unregister(3, hash("brief")));
        // A message's time.
        net.run(20 * Duration::from_millis(1));
        let kept = |net: &Net| net.directories().filter(|directory| !directory.entries().is_empty()).count();
        assert_eq!(kept(&net), 0, "of {n}");
        net.run(40 * SECOND);
        assert_eq!(net.lookup(9, hash("brief")).addresses, []);
        // It has not forgotten how to register.
        net.register(3, hash("brief"));
        net.run(SECOND);
        assert_eq!(net.lookup(9, hash("brief")).addresses, [Address(4)]);
        assert_eq!(net.ours(3).sizes().withdrawals, 0);
    }
}

#[test]
fn handed_on_names_are_withdrawn_as_well() {
    let mut net = layer(60);
    (0..20).for_each(|n| net.register(3, hash(n)));
    net.run(300 * SECOND);
    // They get names from those who kept them before, and their owner has not spoken since.
    for _ in 0..20 {
        net.join();
        net.run(SECOND);
    }
    let kept = |net: &Net| net.directories().map(|directory| directory.entries().len()).sum::<usize>();
    assert!((20 * 8..20 * 24).contains(&kept(&net)), "{}", kept(&net));
    (0..20).for_each(|n| assert!(net.unregister(3, hash(n))));
    net.run(SECOND);
    for n in 0..20 {
        assert_eq!(net.lookup(70, hash(n)).addresses, [], "{n}");
    }
}

#[test]
fn unregistered_names_are_forgotten_despite_loss() {
    let mut net = Net::grown(8, Link { loss: 0.2, ..Link::default() }, 10, 100 * Duration::from_millis(1));
    net.run(3 * SECOND);
    (0..20).for_each(|n| net.register(3, hash(n)));
    net.run(300 * SECOND);
    (0..20).for_each(|n| assert!(net.unregister(3, hash(n))));
    net.run(10 * SECOND);
    let kept: usize = net.directories().map(|directory| directory.entries().len()).sum();
    // Each of 180 was told three times, and once in 125 in vain.
    assert!(kept <= 8, "{kept}");
    net.run(3660 * SECOND);
    assert!(net.directories().all(|directory| directory.entries().is_empty()), "and what is left is swept");
}

#[test]
fn names_may_move_away_and_back() {
    for n in [10, 60] {
        let mut net = layer(n);
        for round in 0..6 {
            let (from, to) = if round % 2 == 0 { (4, 3) } else { (3, 4) };
            net.unregister(from, hash("mobile"));
            net.register(to, hash("mobile"));
            net.run(SECOND);
            for who in [0, 7, 9] {
                let found = net.lookup(who, hash("mobile")).addresses;
                if found == [Address(from as u64 + 1)] {
                    // It has looked the name up half a minute ago: flows to it are refused there.
                    let now = net.now;
                    net.ours(who).doubt(now, &hash("mobile"), found[0], Doubt::Refused);
                }
                assert_eq!(net.lookup(who, hash("mobile")).addresses, [Address(to as u64 + 1)], "{n}, {round}, {who}");
            }
        }
    }
}

#[test]
fn the_latest_owner_is_named_first() {
    let mut net = layer(10);
    net.register(3, hash("both"));
    net.run(600 * SECOND);
    net.register(4, hash("both"));
    net.run(SECOND / 2);
    assert_eq!(net.lookup(9, hash("both")).addresses, [Address(5), Address(4)]);
}

#[test]
fn names_live_as_long_as_they_are_registered() {
    let mut net = layer(12);
    for number in 0..12 {
        net.register(number, hash(number));
    }
    for hour in 0..6 {
        net.run(3600 * SECOND);
        let before = net.messages;
        for number in 0..12 {
            assert_eq!(net.lookup((number + 5) % 12, hash(number)).addresses, [Address(number as u64 + 1)], "{hour}");
        }
        net.messages = before;
    }
    println!("12 members, 6 hours: {} messages a member", net.messages / 12);
    let replicated: u64 = net.directories().map(|directory| directory.counters().replicated).sum();
    assert_eq!(replicated, 0, "their owners do it");
}

#[test]
fn keepers_publish_names_of_silent_owners() {
    let mut net = layer(12);
    // A reference stores its name once, at three members, and leaves it at that.
    let contacts: Vec<_> = (0..3).map(|number| net.contact(number)).collect();
    let src = crate::wire::dht::Contact { id: hash("reference"), address: Address(99) };
    let expires = net.unix() as u32 + 86_400;
    let store = Message { src, body: Body::Store { key: hash("left"), value: Address(99), expires } };
    (0..contacts.len()).for_each(|number| net.inject(number, &store.encode().unwrap()));
    net.run(1200 * SECOND);
    let keepers = net.directories().filter(|directory| directory.entries().iter().any(|e| e.name == hash("left")));
    assert!(keepers.count() >= 8);
    let replicated: u64 = net.directories().map(|directory| directory.counters().replicated).sum();
    assert!((1..=4).contains(&replicated), "{replicated}: whoever is first spares the others the work");
}

#[test]
fn a_restarted_member_has_another_id() {
    let mut net = layer(12);
    let old = net.contact(5);
    let config = Config::new(old.address, ALG, Dht { peer: Address(1), ..Dht::default() });
    let (now, rng) = (net.now, net.rng.split("again"));
    *net.ours(5) = Directory::new(now, config, rng);
    net.attend(5);
    net.register(5, hash("again"));
    net.run(5 * SECOND);
    let new = net.contact(5);
    for number in (0..12).filter(|number| *number != 5) {
        let contacts = net.ours(number).contacts();
        let known: Vec<NameHash> =
            contacts.iter().filter(|contact| contact.address == old.address).map(|contact| contact.id).collect();
        assert_eq!(known, [new.id]);
        assert_eq!(net.lookup(number, hash("again")).addresses, [old.address]);
    }
}

#[test]
fn number_and_length_of_names_are_bounded() {
    let mut config = Config::new(Address(1), ALG, Dht::default());
    config.limits.names = 2;
    let now = Instant::ZERO;
    let mut directory = Directory::new(now, config, Rng::from_seed([1; 32]));
    directory.register(now, UNIX, hash(1)).unwrap();
    directory.register(now, UNIX, hash(2)).unwrap();
    directory.register(now, UNIX, hash(2)).unwrap();
    assert_eq!(directory.register(now, UNIX, hash(3)), Err(RegisterError::Full(2)));
    let short = NameHash::new(&[1; 16]).unwrap();
    assert_eq!(directory.register(now, UNIX, short), Err(RegisterError::Length { len: 16, expected: 32 }));
    assert_eq!(directory.lookup(now, UNIX, short), Found::Unknown);
}

#[test]
fn answers_fit_into_a_packet_for_every_hash() {
    use crate::types::name::HashAlg;
    for alg in [HashAlg::Sha3_224, HashAlg::Sha3_384, HashAlg::Sha3_512] {
        let dht = Dht { k: 20, ..Dht::default() };
        let mut directory = Directory::new(Instant::ZERO, Config::new(Address(1), alg, dht), Rng::from_seed([1; 32]));
        let (mut rng, now) = (Rng::from_seed([2; 32]), Instant::from_millis(1));
        let mut random = || super::super::distance::random(&mut rng, alg);
        for n in 0..30_u64 {
            let src = crate::wire::dht::Contact { id: random(), address: Address(u64::MAX - n) };
            directory.handle_packet(
                now,
                UNIX,
                &Message { src, body: Body::FindNode { cookie: 1, key: random() } }.encode().unwrap(),
            );
            while let Some((to, bytes)) = directory.poll_transmit() {
                if let Body::FindNode { cookie, key } = Message::decode(alg, &bytes).unwrap().body {
                    assert_eq!(to, src.address);
                    let contacts = vec![directory.own()];
                    let body = Body::FoundNode { cookie, key, contacts };
                    directory.handle_packet(now, UNIX, &Message { src, body }.encode().unwrap());
                }
            }
        }
        assert_eq!(directory.sizes().contacts, 30);
        for n in 0..12_u64 {
            let src = crate::wire::dht::Contact { id: random(), address: Address(u64::MAX - 100 - n) };
            let body = Body::Store { key: directory.own().id, value: src.address, expires: u32::MAX };
            directory.handle_packet(now, UNIX, &Message { src, body }.encode().unwrap());
        }
        let src = crate::wire::dht::Contact { id: random(), address: Address(u64::MAX - 200) };
        let body = Body::FindValue { cookie: u64::MAX, key: directory.own().id };
        let padded = Extension { token: None, padding: 2000 };
        directory.handle_packet(now, UNIX, &Message { src, body }.encode_extended(padded).unwrap());
        let answers = core::iter::from_fn(|| directory.poll_transmit()).map(|(_, bytes)| bytes);
        let longest = answers.map(|bytes| bytes.len()).max().unwrap();
        assert!((1200..=1400).contains(&longest) || alg == HashAlg::Sha3_224, "{alg}: {longest}");
    }
}

#[test]
fn a_thousand_names_of_one_member_are_published_and_found() {
    for n in [2, 12] {
        let mut net = layer(n);
        let names: Vec<NameHash> = (0..1000).map(hash).collect();
        names.iter().for_each(|name| net.register(0, *name));
        net.run(25 * SECOND);
        assert!((1..n).all(|number| net.ours(number).sizes().keys == 1000), "{n} members");
        assert!((0..n).all(|number| net.ours(number).counters().rate_limited == 0), "{n} members");
    }
}

#[test]
fn a_thousand_lookups_at_once_take_turns() {
    let mut net = layer(60);
    let owner = net.contact(3).address;
    (0..1000).for_each(|n| net.register(3, hash(n)));
    net.run(20 * SECOND);
    let known = (0..1000).filter(|n| net.start_lookup(9, hash(n)).is_some()).count();
    let most = net.ours(9).sizes();
    assert!(most.lookups <= 128 + 8 && most.waiting > 500, "{most:?}");
    net.run(4 * SECOND);
    let counters = net.ours(9).counters();
    assert_eq!((counters.found as usize + known, counters.refused_lookups), (1000, 0), "{counters:?}");
    let found = (0..1000).filter(|n| net.start_lookup(9, hash(n)) == Some(vec![owner])).count();
    println!("{known} at once, {found} remembered");
}
