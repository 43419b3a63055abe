//! The directory of one member: no sequence of messages, calls and pauses panics, loops, or makes it hold more than it
//! may.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use o7s::base::rng::Rng;
use o7s::base::time::Instant;
use o7s::directory::{Config, Directory, Doubt, Limits};
use o7s::types::id::Address;
use o7s::types::layer::Dht;
use o7s::types::name::{HashAlg, NameHash};
use o7s::wire::dht::{Body, Contact, Extension, Message};

const ALG: HashAlg = HashAlg::Sha3_256;
const UNIX: u64 = 1_800_000_000;

#[derive(Arbitrary, Debug)]
enum Op {
    Register(u8),
    Unregister(u8),
    Lookup(u8),
    Doubt(u8, u8),
    Suggest(u8),
    Unreachable(u8),
    RouteKnown,
    Pass(u32),
    Message(Vec<u8>),
    Store {
        from: u8,
        key: u8,
        value: u8,
        expires: u32,
    },
    FindNode {
        from: u8,
        key: u8,
        cookie: u64,
    },
    FindValue {
        from: u8,
        key: u8,
        cookie: u64,
    },
    /// An answer to one of the last questions, by the member that was asked or another.
    Answer {
        question: u8,
        from: Option<u8>,
        contacts: Vec<u8>,
        values: Vec<u8>,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    seed: u8,
    peer: u8,
    alpha: u32,
    k: u32,
    ops: Vec<Op>,
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.names, limits.keys, limits.keys_per_source, limits.values_per_key) = (8, 16, 6, 3);
    (limits.bucket, limits.replacements, limits.buckets) = (4, 3, 4);
    (limits.lookups, limits.relays, limits.outstanding, limits.cache) = (4, 6, 40, 8);
    (limits.outbox, limits.sources) = (100, 8);
    limits
}

fn key(n: u8) -> NameHash {
    NameHash::new(&[n.wrapping_mul(31); 32]).unwrap()
}

fn member(n: u8) -> Contact {
    Contact { id: NameHash::new(&[n.wrapping_mul(59); 32]).unwrap(), address: Address(u64::from(n % 64) + 2) }
}

fn check(directory: &Directory, k: usize) {
    let (sizes, limits) = (directory.sizes(), limits());
    assert!(sizes.names <= limits.names && sizes.keys <= limits.keys, "{sizes:?}");
    assert!(directory.entries().len() <= limits.keys && sizes.held <= limits.held);
    assert!(sizes.contacts <= limits.bucket.max(k) * limits.buckets, "{sizes:?}");
    assert!(sizes.replacements <= limits.replacements * limits.buckets, "{sizes:?}");
    assert!(sizes.outstanding <= limits.outstanding && sizes.cache <= limits.cache, "{sizes:?}");
    assert!(sizes.relays <= limits.relays && sizes.waiting <= limits.waiting, "{sizes:?}");
    assert!(sizes.sources <= limits.sources && sizes.handoffs <= 256, "{sizes:?}");
    assert!(sizes.timers <= 1000, "{sizes:?}");
}

fuzz_target!(|input: Input| {
    let dht = Dht { alpha: input.alpha, k: input.k, peer: Address(u64::from(input.peer % 8)), ..Dht::default() };
    let mut config = Config::new(Address(1), ALG, dht);
    config.limits = limits();
    let k = input.k.clamp(1, 20) as usize;
    let mut now = Instant::from_millis(1);
    let mut directory = Directory::new(now, config, Rng::from_seed([input.seed; 32]));
    let mut open: Vec<(Address, Body)> = Vec::new();
    let mut tokens: BTreeMap<Address, u64> = BTreeMap::new();
    let with = |src: Contact, body: Body, extension: Extension| {
        Message { src, body }.encode_extended(extension).unwrap_or_default()
    };
    let say = |src: Contact, body: Body| Message { src, body }.encode().unwrap_or_default();
    for op in input.ops {
        match op {
            Op::Register(n) => drop(directory.register(now, UNIX, key(n))),
            Op::Unregister(n) => drop(directory.unregister(now, &key(n))),
            Op::Lookup(n) => drop(directory.lookup(now, UNIX, key(n))),
            Op::Doubt(n, at) => {
                let why = if at % 2 == 0 { Doubt::Silent } else { Doubt::Refused };
                directory.doubt(now, &key(n), member(at).address, why);
            }
            Op::Suggest(n) => directory.suggest(now, member(n).address),
            Op::Unreachable(n) => directory.unreachable(now, member(n).address),
            Op::RouteKnown => directory.route_known(now),
            Op::Pass(micros) => {
                now += Duration::from_micros(u64::from(micros));
                directory.handle_timeout(now, UNIX);
            }
            Op::Message(bytes) => directory.handle_packet(now, UNIX, &bytes),
            Op::Store { from, key: n, value, expires } => {
                let body = Body::Store { key: key(n), value: member(value).address, expires };
                // With the token that was last given at that address, or without.
                let token = tokens.get(&member(from).address).copied().filter(|_| n % 4 > 0);
                directory.handle_packet(now, UNIX, &with(member(from), body, Extension { token, padding: 0 }));
            }
            Op::FindNode { from, key: n, cookie } => {
                let extension = Extension { token: None, padding: (cookie % 1000) as usize };
                directory.handle_packet(
                    now,
                    UNIX,
                    &with(member(from), Body::FindNode { cookie, key: key(n) }, extension),
                );
            }
            Op::FindValue { from, key: n, cookie } => {
                let extension = Extension { token: None, padding: (cookie % 1000) as usize };
                directory.handle_packet(
                    now,
                    UNIX,
                    &with(member(from), Body::FindValue { cookie, key: key(n) }, extension),
                );
            }
            Op::Answer { question, from, contacts, values } => {
                let Some((to, body)) = open.get(usize::from(question) % open.len().max(1)) else { continue };
                let asked = (0..=255).map(member).find(|member| member.address == *to);
                let Some(src) = from.map(member).or(asked) else { continue };
                let contacts = contacts.into_iter().map(member).collect();
                let values = values.into_iter().map(|value| member(value).address).collect();
                let body = match *body {
                    Body::FindNode { cookie, key } => Body::FoundNode { cookie, key, contacts },
                    Body::FindValue { cookie, key } => Body::FoundValue { cookie, key, contacts, values },
                    _ => continue,
                };
                directory.handle_packet(now, UNIX, &say(src, body));
            }
        }
        let mut sent = 0;
        while let Some((to, bytes)) = directory.poll_transmit() {
            sent += 1;
            assert!(sent <= 100 && bytes.len() <= 1400 && to.0 > 1);
            let (message, extension) = Message::decode_extended(ALG, &bytes).unwrap();
            tokens.extend(extension.token.map(|token| (to, token)));
            if let Body::FoundNode { contacts, .. } | Body::FoundValue { contacts, .. } = &message.body {
                assert!((1..=k).contains(&contacts.len()));
            }
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
        check(&directory, k);
    }
});
