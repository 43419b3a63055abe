//! Whatever has a key in it does not print it, however deep in it the key is.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use o7s::base::rng::{Randomness, Rng};
use o7s::crypto::backend::Backend;
use o7s::crypto::kex::KeyPair;
use o7s::crypto::protect::{Protection, Side};
use o7s::crypto::suite::{Cipher, Kex};
use o7s::crypto::{SessionKey, SharedSecret, hash};
use o7s::oap::client::{Client, Secret};
use o7s::oap::replay::ReplayCache;
use o7s::oap::server::Request;
use o7s::oap::{Outcome, Peering, SecurityConfig};
use o7s::sim::Network;
use o7s::{QosSpec, Stack};

const MARKER: [u8; 32] = *b"\x9a\x5e\xc1\x7e\x2b\xd3marker of a secret\x00\xfe\x81\xc4\xe9\x93\xb7\xad";

/// Four bytes of a secret in a row are found, as text, in hexadecimal or as numbers.
fn is_shown(text: &str, secret: &[u8]) -> bool {
    let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    secret.windows(4).any(|bytes| {
        let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
        let plain: Vec<_> = bytes.iter().map(|byte| format!("{byte:x}")).collect();
        let prefixed: Vec<_> = bytes.iter().map(|byte| format!("0x{byte:x}")).collect();
        let forms = [hex.concat(), hex.join(":"), numbers.join(","), plain.join(","), prefixed.join(",")];
        forms.iter().any(|form| squeezed.contains(&**form))
    }) || std::str::from_utf8(secret).is_ok_and(|secret| text.contains(secret))
}

#[track_caller]
fn hides<T: Debug + ?Sized>(value: &T, secrets: &[&[u8]]) {
    for text in [format!("{value:?}"), format!("{value:#?}"), format!("{value:x?}"), format!("{:?}", Some(value))] {
        for secret in secrets {
            assert!(!is_shown(&text, secret), "{text}");
        }
    }
}

#[test]
fn a_secret_that_is_printed_is_found() {
    #[derive(Debug)]
    #[allow(dead_code, reason = "it is printed")]
    struct Deep(Option<[u8; 32]>);
    let deep = Deep(Some(MARKER));
    for text in [format!("{deep:?}"), format!("{deep:#?}"), format!("{deep:x?}"), format!("{deep:#x?}"), hex(&MARKER)] {
        assert!(is_shown(&text, &MARKER), "{text}");
    }
    assert!(!is_shown("SessionKey(..)", &MARKER));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn keys_and_what_holds_them_are_not_printed() {
    let key = || SessionKey::from_bytes(MARKER);
    hides(&key(), &[&MARKER]);
    hides(&SharedSecret::copy_of(&MARKER), &[&MARKER]);
    hides(&Rng::from_seed(MARKER), &[&MARKER]);
    hides(&Randomness::from_seed(MARKER), &[&MARKER]);
    let mut rng = Rng::from_seed([1; 32]);
    for cipher in Cipher::ALL.iter().copied().filter(|cipher| cipher.is_available()) {
        let salt = hash::sha256(&[&MARKER]);
        let mut shared = Protection::new(cipher, key()).unwrap();
        let mut own = Protection::between_peers(Backend::preferred(), cipher, key(), Side::Client).unwrap();
        for protection in [&mut shared, &mut own] {
            let mut packet = o7s::base::buf::PacketBuf::copy_of(b"x");
            protection.seal(&mut packet, &mut rng).unwrap();
            hides(protection, &[&MARKER, &salt]);
        }
    }
    for kex in [Kex::Prime256v1, Kex::X25519] {
        let pair = KeyPair::from_private(kex, &MARKER).unwrap();
        hides(&pair, &[&MARKER]);
    }
    hides(&Stack::builder().seed(MARKER), &[&MARKER]);
}

#[test]
fn an_exchange_prints_neither_keys_nor_what_proves_that_one_has_seen_it() {
    let mut rng = Randomness::from_seed([7; 32]);
    let (now, config) = (1_760_000_000_000_000_000, SecurityConfig::encrypted(Kex::X25519));
    let (_, request) = Client::start(now, &config, b"", &mut rng).unwrap();
    let pair = KeyPair::from_private(Kex::X25519, &MARKER).unwrap();
    let (client, _) = Client::start_with(now, &config, b"", [1; 16], Some(Secret::Pair(pair)), &mut rng).unwrap();
    hides(&client, &[&MARKER]);
    let request_hash = hash::sha256(&[&request]);
    let checked = Request::check(now, request, &mut ReplayCache::default()).unwrap();
    let negotiated = checked.accept(&config).unwrap();
    hides(&negotiated, &[&request_hash]);
    let (_, outcome) = negotiated.respond(now, b"", 0, &mut rng).unwrap();
    let key = *outcome.protection.as_ref().unwrap().1.expose();
    let peering = outcome.peering.clone().unwrap();
    let tokens = peering.tokens();
    let proof = peering.proof(Side::Client, 1, 2);
    let secrets: [&[u8]; 5] = [&key, &request_hash, &tokens.own, &tokens.peer, &proof];
    hides(&outcome, &secrets);
    hides(&peering, &secrets);
    hides(&tokens, &secrets);
    hides(&Peering::new(Side::Server, 1, &MARKER), &[&MARKER]);
    let marked = Outcome { protection: Some((Cipher::Aes256Gcm, SessionKey::from_bytes(MARKER))), ..outcome };
    hides(&marked, &[&MARKER]);
}

/// What a program holds: stacks, listeners, flows, and what they tell of themselves.
#[test]
fn stacks_and_flows_print_no_keys() {
    let net = Network::new(28);
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&lines);
    let security: SecurityConfig = "X25519".parse().unwrap();
    let server = net.host("server").udp4("10.0.0.2").stack(|s| s.security(security.clone())).build();
    let client = net
        .host("client")
        .udp4("10.0.0.1")
        .stack(move |s| s.security(security).key_log(move |line| told.lock().unwrap().push(line.to_owned())));
    let client = client.build();
    let listener = server.listen("vault");
    net.block_on(async {
        let there = net.spawn(async move { (listener.accept_async().await.unwrap(), listener) });
        let flow = client.stack().flow("vault").qos(QosSpec::DATA).alloc_async().await.unwrap();
        let (peer, listener) = there.await;
        flow.write(b"x").await.unwrap();
        assert_eq!(&peer.read_bytes().await.unwrap()[..], b"x");
        let line = lines.lock().unwrap()[0].clone();
        let key = line.split_whitespace().last().unwrap().to_owned();
        let key: Vec<_> = (0..32).map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap()).collect();
        hides(&flow, &[&key]);
        hides(&peer, &[&key]);
        hides(&listener, &[&key]);
        hides(client.stack(), &[&key]);
        hides(&client.stack().rib(), &[&key]);
        assert!(!is_shown(&client.stack().rib().to_string(), &key));
        hides(&flow.as_blocking().security(), &[&key]);
    });
    hides(&client, &[&MARKER]);
}
