//! Whatever is said and done, in whatever order: no panic, no endless work, and all tables within their bounds.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::net::{ALG, UNIX};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::directory::distance::{common_prefix, compare, random, random_in_bucket};
use crate::directory::requests::signed;
use crate::directory::{Config, Directory, Doubt, Limits};
use crate::types::id::Address;
use crate::types::layer::Dht;
use crate::types::name::NameHash;
use crate::wire::dht::{Body, Contact, Extension, Message};

/// Something that happens to a directory. Small numbers choose among few names, members and requests.
#[derive(Clone, Debug)]
enum Op {
    Register(u8),
    Unregister(u8),
    Lookup(u8),
    Doubt(u8, u8),
    Suggest(u8),
    Unreachable(u8),
    RouteKnown,
    Pass(u32),
    Store { from: u8, key: u8, value: u8, expires: u32 },
    Ask { from: u8, key: u8, value: bool, cookie: u64 },
    Answer { which: u8, from: Option<u8>, contacts: Vec<u8>, values: Vec<u8> },
    Raw(Vec<u8>),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => any::<u8>().prop_map(Op::Register),
        1 => any::<u8>().prop_map(Op::Unregister),
        3 => any::<u8>().prop_map(Op::Lookup),
        1 => any::<(u8, u8)>().prop_map(|(name, at)| Op::Doubt(name, at)),
        1 => any::<u8>().prop_map(Op::Suggest),
        1 => any::<u8>().prop_map(Op::Unreachable),
        1 => Just(Op::RouteKnown),
        6 => (0..3_000_000_u32).prop_map(Op::Pass),
        1 => any::<u32>().prop_map(Op::Pass),
        4 => (any::<(u8, u8, u8)>(), prop_oneof![0..100_u32, any::<u32>()])
            .prop_map(|((from, key, value), expires)| Op::Store { from, key, value, expires }),
        6 => any::<(u8, u8, bool, u64)>().prop_map(|(from, key, value, cookie)| Op::Ask { from, key, value, cookie }),
        20 => (any::<u8>(), proptest::option::weighted(0.1, any::<u8>()), proptest::collection::vec(any::<u8>(), 0..9),
            proptest::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(which, from, contacts, values)| Op::Answer { which, from, contacts, values }),
        1 => proptest::collection::vec(any::<u8>(), 0..80).prop_map(Op::Raw),
    ]
}

fn limits() -> Limits {
    Limits {
        names: 8,
        keys: 16,
        keys_per_source: 6,
        values_per_key: 3,
        bucket: 8,
        replacements: 3,
        buckets: 4,
        lookups: 4,
        waiting: 3,
        relays: 6,
        outstanding: 40,
        cache: 8,
        outbox: 100,
        sources: 8,
        unproven: 5,
        held: 4,
        ..Limits::default()
    }
}

fn key(n: u8) -> NameHash {
    NameHash::new(&[n.wrapping_mul(31); 32]).unwrap()
}

fn member(n: u8) -> Contact {
    Contact { id: NameHash::new(&[n.wrapping_mul(59); 32]).unwrap(), address: Address(u64::from(n % 64) + 2) }
}

fn check(directory: &Directory) {
    let (sizes, limits) = (directory.sizes(), limits());
    assert!(directory.storage.store.is_sound());
    assert!(sizes.held <= limits.held && sizes.withdrawals <= limits.names && sizes.confirms <= 200, "{sizes:?}");
    assert!(sizes.names <= limits.names && sizes.keys <= limits.keys, "{sizes:?}");
    assert!(directory.entries().len() <= limits.keys);
    assert!(sizes.contacts <= limits.bucket * limits.buckets, "{sizes:?}");
    assert!(sizes.replacements <= limits.replacements * limits.buckets, "{sizes:?}");
    assert!(sizes.outstanding <= limits.outstanding && sizes.cache <= limits.cache, "{sizes:?}");
    assert!(
        sizes.sources <= limits.sources && sizes.relays <= limits.relays && sizes.waiting <= limits.waiting,
        "{sizes:?}"
    );
    assert!(sizes.lookups <= limits.lookups + limits.background + limits.relays, "{sizes:?}");
    assert!(sizes.handoffs <= 256 && sizes.background <= 64 + limits.keys, "{sizes:?}");
    assert!(sizes.timers <= limits.outstanding + limits.names + sizes.lookups + 400, "{sizes:?}");
    let contacts = directory.contacts();
    for (n, contact) in contacts.iter().enumerate() {
        assert!(contacts.iter().skip(n + 1).all(|c| c.address != contact.address && c.id != contact.id));
        assert!(contact.address != directory.own().address && contact.id != directory.own().id);
    }
}

proptest! {
    #[test]
    fn tables_stay_within_bounds(peer: u8, ops in proptest::collection::vec(op(), 0..300)) {
        let dht = Dht { peer: Address(u64::from(peer % 8)), ..Dht::default() };
        let config = Config { limits: limits(), ..Config::new(Address(1), ALG, dht) };
        let (mut now, mut open, mut tokens) = (Instant::from_millis(1), Vec::new(), BTreeMap::new());
        let mut directory = Directory::new(now, config, Rng::from_seed([peer; 32]));
        for op in ops {
            let say = |src: Contact, body: Body| Message { src, body }.encode().unwrap();
            let with = |src: Contact, body: Body, extension: Extension| {
                Message { src, body }.encode_extended(extension).unwrap()
            };
            match op {
                Op::Register(n) => drop(directory.register(now, UNIX, key(n))),
                Op::Unregister(n) => drop(directory.unregister(now, &key(n))),
                Op::Lookup(n) => drop(directory.lookup(now, UNIX, key(n))),
                Op::Doubt(n, at) => directory.doubt(now, &key(n), member(at).address, if at % 2 == 0 { Doubt::Silent } else { Doubt::Refused }),
                Op::Suggest(n) => directory.suggest(now, member(n).address),
                Op::Unreachable(n) => directory.unreachable(now, member(n).address),
                Op::RouteKnown => directory.route_known(now),
                Op::Pass(micros) => {
                    now += Duration::from_micros(u64::from(micros));
                    directory.handle_timeout(now, UNIX);
                }
                Op::Store { from, key: n, value, expires } => {
                    let expires = UNIX as u32 + expires % 100;
                    let body = Body::Store { key: key(n), value: member(value).address, expires };
                    // With the token that was last given at that address, or without.
                    let token = tokens.get(&member(from).address).copied().filter(|_| n % 4 > 0);
                    directory.handle_packet(now, UNIX, &with(member(from), body, Extension { token, padding: 0 }));
                }
                Op::Ask { from, key: n, value, cookie } => {
                    // As one of our kind does, or with few bytes.
                    let cookie = if cookie % 2 == 0 { signed(cookie) } else { cookie };
                    let padding = if cookie % 3 == 0 { 0 } else { (cookie % 1000) as usize };
                    let key = key(n);
                    let body = if value { Body::FindValue { cookie, key } } else { Body::FindNode { cookie, key } };
                    directory.handle_packet(now, UNIX, &with(member(from), body, Extension { token: None, padding }));
                }
                Op::Answer { which, from, contacts, values } => {
                    let request = open.get(usize::from(which) % open.len().max(1)).cloned();
                    let Some((to, request)) = request else { continue };
                    let asked = (0..=255).map(member).find(|member| member.address == to);
                    let src = from.map(member).or(asked);
                    let contacts: Vec<Contact> = contacts.into_iter().map(member).collect();
                    let values = values.into_iter().map(|value| member(value).address).collect();
                    let body = match request {
                        Body::FindNode { cookie, key } => Body::FoundNode { cookie, key, contacts },
                        Body::FindValue { cookie, key } => Body::FoundValue { cookie, key, contacts, values },
                        _ => continue,
                    };
                    if let Some(src) = src {
                        directory.handle_packet(now, UNIX, &say(src, body));
                    }
                }
                Op::Raw(bytes) => directory.handle_packet(now, UNIX, &bytes),
            }
            let mut sent = 0;
            while let Some((to, bytes)) = directory.poll_transmit() {
                sent += 1;
                assert!(sent <= 200 && bytes.len() <= 1400 && to != Address(0) && to != Address(1));
                let (message, extension) = Message::decode_extended(ALG, &bytes).unwrap();
                tokens.extend(extension.token.map(|token| (to, token)));
                open.push((to, message.body));
            }
            open.drain(..open.len().saturating_sub(30));
            while directory.poll_event().is_some() {}
            for _ in 0..20 {
                if directory.next_deadline().is_none_or(|at| at > now) {
                    break;
                }
                directory.handle_timeout(now, UNIX);
            }
            assert!(directory.next_deadline().is_none_or(|at| at > now), "a deadline that stays in the past");
            check(&directory);
        }
    }

    #[test]
    fn distance_is_a_metric(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
        let hash = |bytes: [u8; 32]| NameHash::new(&bytes).unwrap();
        let xor = |a: [u8; 32], b: [u8; 32]| core::array::from_fn::<u8, 32, _>(|n| a[n] ^ b[n]);
        prop_assert_eq!(compare(&hash(c), &hash(a), &hash(b)), xor(a, c).cmp(&xor(b, c)));
        prop_assert_eq!(common_prefix(&hash(a), &hash(a)), 256);
    }

    #[test]
    fn an_id_beside_another_shares_so_many_bits(seed: [u8; 32], bits in 0..=256_usize) {
        let mut rng = Rng::from_seed(seed);
        let id = random(&mut rng, ALG);
        let beside = random_in_bucket(&mut rng, &id, bits);
        prop_assert_eq!(common_prefix(&id, &beside), bits);
    }
}
