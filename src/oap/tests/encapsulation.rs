//! Clients that encapsulate to a static key of the server.

use super::*;
use crate::crypto::kex::{KemKey, KemPublicKey};

const KEMS: [Kex; 5] = [Kex::MlKem512, Kex::MlKem768, Kex::MlKem1024, Kex::X25519MlKem768, Kex::X448MlKem1024];

fn key(kex: Kex, seed: u8) -> KemKey {
    KemKey::generate(kex, &mut chance(seed).secret).unwrap()
}

/// A server with a key for each of the key exchanges, that asks for this one at least.
fn server(least: Kex, keys: &[Kex]) -> (SecurityConfig, Vec<KemPublicKey>) {
    let keys: Vec<_> = keys.iter().map(|kex| StaticKey::new(key(*kex, 9))).collect();
    let public = keys.iter().map(|key| key.key().public_key()).collect();
    (SecurityConfig { static_keys: keys, ..SecurityConfig::encrypted(least) }, public)
}

fn client(public: &KemPublicKey) -> SecurityConfig {
    SecurityConfig {
        kem_mode: KemMode::Client,
        server_key: Some(public.clone()),
        ..SecurityConfig::encrypted(public.kex())
    }
}

/// A request with a certain seed, so that several are of several clients.
fn request(config: &SecurityConfig, seed: u8) -> (Client, Vec<u8>) {
    Client::start(NOW, config, b"", &mut chance(seed)).unwrap()
}

#[test]
fn both_ends_have_one_key() {
    let (there, public) = server(Kex::MlKem512, &KEMS);
    for public in &public {
        let kex = public.kex();
        let (waiting, asked) = request(&client(public), 1);
        let sent = message(&asked).kex;
        assert_eq!((sent.raw, sent.client_encapsulates), (kex.is_hybrid(), true), "{kex}");
        assert_eq!(Some(sent.bytes.len()), kex.ciphertext_len());
        let (response, server) = serve(&there, &asked).unwrap();
        let answered = Message::parse_response(&response, Digest::Sha256.nid()).unwrap();
        assert_eq!(answered.kex, wire::Kex::default(), "nothing more is needed");
        waiting.check(&response).unwrap();
        let client = waiting.complete(&response).unwrap();
        assert!(client.protection.is_some() && client.protection == server.protection, "{kex}");
        assert_eq!(client.security.encryption.unwrap().kex, kex);
        assert_eq!(server.security.encryption.unwrap().kex, kex);
    }
}

#[test]
fn every_repetition_has_a_key_of_its_own() {
    let (there, public) = server(Kex::MlKem768, &[Kex::MlKem768]);
    let config = client(&public[0]);
    let (first, one) = request(&config, 1);
    let (second, two) = first.again_within(NOW + 1, &config, b"", Duration::from_secs(1), &mut chance(2)).unwrap();
    assert_ne!(message(&one).kex, message(&two).kex);
    for (waiting, request) in [(first, one), (second, two)] {
        let (response, server) = serve(&there, &request).unwrap();
        assert_eq!(waiting.complete(&response).unwrap().protection, server.protection);
    }
}

#[test]
fn a_client_needs_the_right_key() {
    let (_, public) = server(Kex::MlKem768, &[Kex::MlKem768]);
    let start = |config: &SecurityConfig| Client::start(NOW, config, &[], &mut chance(1)).unwrap_err();
    let none = SecurityConfig { server_key: None, ..client(&public[0]) };
    assert_eq!(start(&none), OapError::ServerKey { kex: Kex::MlKem768, found: None });
    let other = SecurityConfig { kex: Some(Kex::MlKem1024), ..client(&public[0]) };
    let error = start(&other);
    assert_eq!(error, OapError::ServerKey { kex: Kex::MlKem1024, found: Some(Kex::MlKem768) });
    assert!(alloc::format!("{error}").ends_with("its key is for ML-KEM-768"), "{error}");
    // The mode is nothing to Diffie-Hellman.
    let dh = SecurityConfig { kem_mode: KemMode::Client, ..x25519() };
    assert!(!message(&start_with(&dh)).kex.client_encapsulates);
}

fn start_with(config: &SecurityConfig) -> Vec<u8> {
    start(config).1
}

#[test]
fn a_server_needs_a_kem_and_a_key() {
    let (there, public) = server(Kex::MlKem768, &[Kex::MlKem768, Kex::X448MlKem1024]);
    let (_, asked) = request(&client(&public[0]), 1);
    for kex in [None, Some(Kex::X25519), Some(Kex::Secp521r1)] {
        // These crash a reference server, or take the other's algorithm for their own.
        let refused = serve(&SecurityConfig { kex, required: false, ..there.clone() }, &asked).unwrap_err();
        assert_eq!((refused.refusal_code(), refused), (-1008, OapError::ClientEncapsulation));
    }
    let keyless = SecurityConfig { static_keys: Vec::new(), ..there.clone() };
    assert_eq!(serve(&keyless, &asked).unwrap_err(), OapError::ClientEncapsulation);
    // Of which there is no key, and the F bit flipped: a length that no key of the kind has.
    let (_, other) = request(&client(&key(Kex::MlKem1024, 9).public_key()), 1);
    let flipped = Message { kex: wire::Kex { raw: true, ..message(&asked).kex }, ..message(&asked) };
    for wrong in [other, flipped.to_vec().unwrap()] {
        let refused = serve(&there, &wrong).unwrap_err();
        assert_eq!((refused.refusal_code(), refused), (-1008, CryptoError::InvalidCiphertext.into()));
    }
    assert!(serve(&there, &asked).is_ok());
}

#[test]
fn another_key_of_the_server_leads_to_no_common_one() {
    let (there, public) = server(Kex::MlKem768, &[Kex::MlKem768]);
    let stale = key(Kex::MlKem768, 8).public_key();
    assert_ne!(stale, public[0]);
    let (waiting, asked) = request(&client(&stale), 1);
    let (response, server) = serve(&there, &asked).unwrap();
    assert_ne!(waiting.complete(&response).unwrap().protection, server.protection);
}

/// Unlike in the reference, which lets the key decide alone.
#[test]
fn strength_counts() {
    let (there, public) = server(Kex::MlKem1024, &[Kex::MlKem512, Kex::X25519MlKem768]);
    let (_, asked) = request(&client(&public[0]), 1);
    let refused = serve(&there, &asked).unwrap_err();
    assert_eq!(
        (refused.refusal_code(), refused),
        (-1008, OapError::KexTooWeak { peer: Kex::MlKem512, own: Kex::MlKem1024 })
    );
    assert!(serve(&there, &request(&client(&public[1]), 1).1).is_ok());
}

#[test]
fn the_kdf_is_the_clients() {
    let (there, public) = server(Kex::MlKem512, &[Kex::MlKem512]);
    let strict = SecurityConfig { kdf: Kdf::Sha512, ..there.clone() };
    let (_, asked) = request(&client(&public[0]), 1);
    assert_eq!(serve(&strict, &asked).unwrap_err(), OapError::KdfTooWeak { peer: Some(Kdf::Sha256), own: Kdf::Sha512 });
    let (waiting, asked) = request(&SecurityConfig { kdf: Kdf::Sha3_512, ..client(&public[0]) }, 1);
    let (response, server) = serve(&strict, &asked).unwrap();
    assert_eq!(server.security.encryption.unwrap().kdf, Kdf::Sha3_512);
    assert_eq!(waiting.complete(&response).unwrap().protection, server.protection);
}

/// The session key follows from the ciphertext alone, so that another id and time do not make it fresh.
#[test]
fn a_ciphertext_is_taken_once() {
    let (there, public) = server(Kex::MlKem512, &[Kex::MlKem512]);
    let (_, asked) = request(&client(&public[0]), 1);
    assert!(serve(&there, &asked).is_ok());
    let again = Message { id: [5; 16], timestamp: NOW + 7, ..message(&asked) }.to_vec().unwrap();
    // The copy of a configuration has the memory of the first one.
    let refused = serve(&there.clone(), &again).unwrap_err();
    assert_eq!((refused.refusal_code(), refused), (-1009, OapError::Replayed));
    assert!(serve(&there, &request(&client(&public[0]), 2).1).is_ok());
    assert_eq!(there.static_keys[0].remembered(), 2);
}

#[test]
fn what_is_refused_anyway_is_not_remembered() {
    let (there, public) = server(Kex::MlKem512, &[Kex::MlKem512]);
    let (_, asked) = request(&client(&public[0]), 1);
    let strict = SecurityConfig { kdf: Kdf::Sha512, ..there.clone() };
    assert!(serve(&strict, &asked).is_err());
    assert_eq!(there.static_keys[0].remembered(), 0);
    assert!(serve(&there, &asked).is_ok());
}

#[test]
fn the_memory_of_a_key_is_bounded() {
    let limited = StaticKey::with_limit(key(Kex::MlKem512, 9), 4);
    for number in 0..100_u8 {
        assert_eq!(limited.admit(&[number]), Ok(()));
        assert_eq!(limited.admit(&[number]), Err(OapError::Replayed));
        assert!(limited.remembered() <= 4);
    }
    for number in 96..100 {
        assert_eq!(limited.admit(&[number]), Err(OapError::Replayed), "the last ones are remembered");
    }
    assert_eq!(limited.admit(&[95]), Ok(()), "and no others");
}

#[test]
fn secrets_are_not_printed() {
    let (there, public) = server(Kex::MlKem512, &[Kex::MlKem512]);
    let (waiting, asked) = request(&client(&public[0]), 1);
    let (_, outcome) = serve(&there, &asked).unwrap();
    let printed = alloc::format!("{waiting:?} {outcome:?} {there:?}");
    assert!(printed.contains("StaticKey(ML-KEM-512, ..)") && printed.contains("SessionKey(..)"), "{printed}");
}
