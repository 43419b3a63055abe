//! Ends that show certificates: those of the reference's own tool.

use super::*;
use crate::crypto::certificate::{Certificate, CertificateError, Credentials, Limits, TrustStore};
use crate::crypto::kex::KemKey;
use alloc::sync::Arc;

/// A moment at which the certificates are valid.
const VALID: u64 = 1_796_000_000_000_000_000;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/data/certificates/reference/", $name))
    };
}

/// One that asks for a certificate.
fn requiring(config: SecurityConfig) -> SecurityConfig {
    let mut store = TrustStore::new();
    assert!(store.add_authorities(file!("ec/ca.pem")).unwrap().is_empty());
    config.authorities(Some(Arc::new(store))).certificates(CertificatePolicy::Require)
}

/// One that shows the certificate of "oping".
fn oping(config: SecurityConfig) -> SecurityConfig {
    let own = Credentials::from_pem(file!("ec/oping.crt.pem"), file!("ec/oping.key.pem")).unwrap();
    config.credentials(Some(own))
}

fn ask(config: &SecurityConfig, seed: u8) -> (Client, Vec<u8>) {
    let (client, request) = Client::start(VALID, config, b"question", &mut chance(seed)).unwrap();
    (client.with_name(&"oping".parse().unwrap()), request)
}

fn answer(config: &SecurityConfig, request: &[u8]) -> Result<(Vec<u8>, Outcome), OapError> {
    let request = Request::check(VALID, request, &mut ReplayCache::default())?;
    let negotiated = request.accept(config)?.with_name(&"oping".parse().unwrap());
    negotiated.respond(VALID, b"answer", 0, &mut chance(2))
}

/// The memory of what was encapsulated to a key is bounded: who need not be anybody could have it forget everything.
#[test]
#[cfg(feature = "kex-ml-kem")]
fn what_is_encapsulated_by_nobody_is_not_remembered() {
    let key = KemKey::generate(Kex::MlKem512, &mut chance(9).secret).unwrap();
    let public = key.public_key();
    let server = SecurityConfig { static_keys: vec![StaticKey::new(key)], ..SecurityConfig::encrypted(Kex::MlKem512) };
    let server = requiring(server);
    let client = SecurityConfig {
        kem_mode: KemMode::Client,
        server_key: Some(public),
        ..oping(SecurityConfig::encrypted(Kex::MlKem512))
    };
    let (waiting, asked) = ask(&client, 1);
    let mut forged = asked.clone();
    *forged.last_mut().unwrap() ^= 1;
    let anonymous = Message { certificate: b"", signature: b"", ..message(&asked) }.to_vec().unwrap();
    for (request, is_peer) in [(forged, true), (anonymous, false)] {
        let refused = answer(&server, &request).unwrap_err();
        assert_eq!(matches!(refused, OapError::Peer(_)), is_peer, "{refused}");
        assert_eq!(server.static_keys[0].remembered(), 0);
    }
    // So the owner's own is taken, once.
    let (response, there) = answer(&server, &asked).unwrap();
    assert_eq!(&*there.peer.unwrap().name, "oping");
    assert_eq!(waiting.complete(&response).unwrap().protection, there.protection);
    let again = Request::check(VALID, &asked[..], &mut ReplayCache::default()).unwrap();
    assert_eq!(again.accept(&server).unwrap_err(), OapError::Replayed);
    assert_eq!(server.static_keys[0].remembered(), 1);
}

/// Two copies that both get as far as the negotiation, as by two threads.
#[test]
#[cfg(feature = "kex-ml-kem")]
fn a_ciphertext_is_taken_once_whatever_overlaps() {
    let key = KemKey::generate(Kex::MlKem512, &mut chance(9).secret).unwrap();
    let public = key.public_key();
    let server = SecurityConfig { static_keys: vec![StaticKey::new(key)], ..SecurityConfig::encrypted(Kex::MlKem512) };
    let client = SecurityConfig { kem_mode: KemMode::Client, server_key: Some(public), ..server.clone() };
    let (_, asked) = ask(&client, 1);
    let negotiate = || Request::check(VALID, &asked[..], &mut ReplayCache::default()).unwrap().accept(&server).unwrap();
    let (first, second) = (negotiate(), negotiate());
    assert!(first.respond(VALID, &[], 0, &mut chance(2)).is_ok());
    assert_eq!(second.respond(VALID, &[], 0, &mut chance(3)).unwrap_err(), OapError::Replayed);
}

#[test]
fn names_of_clients_are_whole_names() {
    let (_, asked) = ask(&oping(x25519()), 1);
    for (names, is_allowed) in [
        (&["oping"][..], true),
        (&["other", "oping"], true),
        (&["opin", "oping2", "OPING", "ping", "*", "oping."], false),
    ] {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        let served = answer(&requiring(x25519()).peer_names(names), &asked);
        match served {
            Ok((_, there)) => assert!(is_allowed && there.peer.is_some()),
            Err(refused) => assert_eq!((refused, is_allowed), (OapError::PeerName("oping".into()), false)),
        }
    }
}

/// They say nothing of servers, which have the name that was called: a stack has one setting for both.
#[test]
fn names_of_clients_are_none_of_servers() {
    let (waiting, asked) = ask(&requiring(x25519()).peer_names(vec!["alice".parse().unwrap()]), 1);
    let (response, _) = answer(&oping(x25519()), &asked).unwrap();
    assert_eq!(waiting.complete(&response).map(|there| there.peer.is_some()), Ok(true));
}

/// Whatever does not answer the request is noise, which a client does not give up for.
#[test]
fn a_response_to_another_request_is_that_whoever_it_is_from() {
    let server = oping(x25519());
    let (waiting, _) = ask(&requiring(x25519()), 1);
    let (_, asked) = Client::start(VALID + 1, &x25519(), b"question", &mut chance(1)).unwrap();
    let (signed, _) = answer(&server, &asked).unwrap();
    let (anonymous, _) = answer(&x25519(), &asked).unwrap();
    for response in [signed, anonymous] {
        assert_eq!(waiting.check(&response), Err(OapError::RequestHash));
    }
}

/// The response to the request, from somebody without a certificate, or with one that is taken out or not the one.
#[test]
fn a_server_has_to_be_the_one_that_was_called() {
    let (waiting, asked) = ask(&requiring(x25519()), 1);
    let (anonymous, _) = answer(&x25519(), &asked).unwrap();
    assert_eq!(waiting.check(&anonymous), Err(OapError::PeerUnauthenticated));
    let (good, _) = answer(&oping(x25519()), &asked).unwrap();
    assert!(waiting.check(&good).is_ok());
    let (other, _) = Client::start(VALID, &requiring(x25519()), b"question", &mut chance(1)).unwrap();
    let refused = other.with_name(&"oping2".parse().unwrap()).complete(&good).unwrap_err();
    assert!(
        matches!(&refused, OapError::Peer(why) if matches!(**why, CertificateError::WrongName { .. })),
        "{refused}"
    );
    assert_eq!(&*waiting.complete(&good).unwrap().peer.unwrap().name, "oping");
}

/// Nothing is signed by another digest than was set, but for keys that take none.
#[test]
fn a_key_without_a_digest_names_none() {
    #[cfg(feature = "sign-ed25519")]
    {
        let own = Credentials::from_pem(file!("ed/oping.crt.pem"), file!("ed/oping.key.pem")).unwrap();
        let (_, asked) = ask(&x25519().credentials(Some(own)), 1);
        assert_eq!(message(&asked).digest, 0);
    }
    let (_, asked) = ask(&oping(x25519()).digest(Some(Digest::Sha384)), 1);
    assert_eq!(message(&asked).digest, Digest::Sha384.nid());
}

/// It would be refused for certain once somebody accepts, so it does not wait for that. Who looks at no certificates takes it.
#[test]
fn a_certificate_beyond_the_limit_waits_for_nobody() {
    let max = Limits::default().size;
    let (_, asked) = ask(&oping(x25519()), 1);
    let key = Certificate::from_der(message(&asked).certificate, max).unwrap().public_key().unwrap();
    let pinned = |config: SecurityConfig| config.pinned_keys(vec![("oping".parse().unwrap(), key.clone())]);
    let ignoring = x25519().certificates(CertificatePolicy::Ignore);
    let looking = [
        requiring(x25519()),
        requiring(x25519()).certificates(CertificatePolicy::Verify),
        pinned(x25519()),
        pinned(ignoring.clone()),
    ];
    for len in [max, max + 1, 60_000] {
        let certificate = vec![0x30; len];
        let request = Message { certificate: &certificate, signature: &[1; 64], ..message(&asked) }.to_vec().unwrap();
        let expected = match len > max {
            true => Err(OapError::Peer(Box::new(CertificateError::TooLarge { len, max }))),
            false => Ok(()),
        };
        for config in &looking {
            assert_eq!(Request::check_terms(&request, config), expected, "{len}");
        }
        assert_eq!(Request::check_terms(&request, &ignoring), Ok(()), "{len}");
    }
}
