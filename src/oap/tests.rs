use alloc::vec;
use core::time::Duration;

use proptest::prelude::*;

use super::client::{Client, Secret};
use super::replay::ReplayCache;
use super::server::Request;
use super::*;
use crate::base::rng::Randomness;
use crate::crypto::kex::KeyPair;
use crate::crypto::protect::Side;
use crate::crypto::suite::{Kdf, Kex};
use crate::types::qos::QosSpec;
use crate::wire::oap::{self as wire, Message};

mod encapsulation;
#[cfg(feature = "sign-ecdsa")]
mod identity;

const NOW: u64 = 1_760_000_000_000_000_000;

fn chance(seed: u8) -> Randomness {
    Randomness::from_seed([seed; 32])
}

fn plain() -> SecurityConfig {
    SecurityConfig::default()
}

fn x25519() -> SecurityConfig {
    SecurityConfig::encrypted(Kex::X25519)
}

fn p256() -> SecurityConfig {
    SecurityConfig::encrypted(Kex::Prime256v1)
}

/// A client that has sent its request.
fn start(config: &SecurityConfig) -> (Client, Vec<u8>) {
    Client::start(NOW, config, b"question", &mut chance(1)).unwrap()
}

/// A server that gets a request as its first one.
fn serve(config: &SecurityConfig, request: &[u8]) -> Result<(Vec<u8>, Outcome), OapError> {
    let request = Request::check(NOW + 1_000_000, request, &mut ReplayCache::default())?;
    request.accept(config)?.respond(NOW + 2_000_000, b"answer", 120_000, &mut chance(2))
}

fn exchange(client: &SecurityConfig, server: &SecurityConfig) -> Result<(Outcome, Outcome), OapError> {
    let (waiting, request) = start(client);
    let (response, there) = serve(server, &request)?;
    waiting.check(&response)?;
    Ok((waiting.complete(&response)?, there))
}

fn message(bytes: &[u8]) -> Message<'_> {
    Message::parse_request(bytes).unwrap()
}

#[test]
fn the_numbers_on_the_wire_are_those_of_the_algorithms() {
    for number in 0..=u16::MAX {
        assert_eq!(wire::is_cipher(number), Cipher::from_nid(number).is_some(), "{number}");
        assert_eq!(wire::hash_len(number), Digest::from_nid(number).map(Digest::len), "{number}");
    }
    assert_eq!(wire::DEFAULT_DIGEST, Digest::Sha384.nid());
}

#[test]
fn plain_flows_have_no_key() {
    let (waiting, request) = Client::start(NOW, &plain(), &[], &mut chance(1)).unwrap();
    assert_eq!(request.len(), 36);
    let checked = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
    let (response, there) = checked.accept(&plain()).unwrap().respond(NOW, &[], 0, &mut chance(2)).unwrap();
    assert_eq!(response.len(), 84 + 21);
    let here = waiting.complete(&response).unwrap();
    assert!(here.protection.is_none() && there.protection.is_none());
    assert!(here.data.is_empty() && there.data.is_empty());
}

#[test]
fn encrypted_flows_share_a_key() {
    for (client, server) in [(x25519(), x25519()), (p256(), p256()), (x25519(), p256()), (p256(), plain())] {
        let (here, there) = exchange(&client, &server).unwrap();
        assert_eq!(here.protection, there.protection);
        assert!(here.protection.is_some());
        assert_eq!((&here.data[..], &there.data[..]), (&b"answer"[..], &b"question"[..]));
    }
}

#[test]
fn sizes_of_an_encrypted_exchange_with_defaults() {
    let (_, request) = Client::start(NOW, &p256(), &[], &mut chance(1)).unwrap();
    assert_eq!(request.len(), 127);
    let checked = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
    let (response, _) = checked.accept(&p256()).unwrap().respond(NOW, &[], 0, &mut chance(2)).unwrap();
    assert_eq!(response.len(), 159 + 21);
}

#[test]
fn two_o7s_ends_recognise_each_other() {
    for config in [plain(), x25519()] {
        let (here, there) = exchange(&config, &config).unwrap();
        let (client, server) = (here.peering.unwrap(), there.peering.unwrap());
        assert_eq!((client.side, server.side), (Side::Client, Side::Server));
        let (ours, theirs) = (client.tokens(), server.tokens());
        assert_eq!((ours.own, ours.peer), (theirs.peer, theirs.own));
        assert_eq!((client.timeout, server.timeout), (120_000, 120_000));
        assert_eq!((&here.data[..], &there.data[..]), (&b"answer"[..], &b"question"[..]));
    }
}

/// A client's request for one name, answered by the server of another that somebody passed it on to.
#[test]
fn a_key_is_of_the_name_that_was_asked_for() {
    let name = |text: &str| text.parse().unwrap();
    for (asked, answered) in [("here", "here"), ("here", "there"), ("here", "her"), ("a", "b")] {
        let (waiting, request) = start(&x25519());
        let request = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
        let negotiated = request.accept(&x25519()).unwrap().with_name(&name(answered));
        let (response, there) = negotiated.respond(NOW, &[], 0, &mut chance(2)).unwrap();
        let here = waiting.with_name(&name(asked)).complete(&response).unwrap();
        assert_eq!(here.protection == there.protection, asked == answered, "{asked} {answered}");
        assert!(here.protection.is_some());
    }
}

/// Whatever is different in the exchange, the key is: here the data of the server, with the same public keys.
#[test]
fn a_key_is_of_the_whole_exchange() {
    let key = |private: u8| KeyPair::from_private(Kex::X25519, &[private; 32]).unwrap();
    let mut marked = [7; ID_LEN];
    peering::mark(&mut marked, None);
    for (id, bound) in [(marked, true), ([7; ID_LEN], false)] {
        let keys = [&b"answer"[..], b"another"].map(|data| {
            let (waiting, request) =
                Client::start_with(NOW, &x25519(), &[], id, Some(Secret::Pair(key(1))), &mut chance(3)).unwrap();
            let request = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
            let (response, there) =
                request.accept(&x25519()).unwrap().respond_with(NOW, data, key(2), &mut chance(3)).unwrap();
            let here = waiting.complete(&response).unwrap();
            assert_eq!(here.protection, there.protection);
            here.protection.unwrap().1
        });
        assert_eq!(keys[0] != keys[1], bound, "a reference derives it from the public keys alone");
    }
}

#[test]
fn a_quality_of_service_that_was_changed_on_its_way_is_noticed() {
    let all = [QosSpec::RAW, QosSpec::RAW_NO_ERRORS, QosSpec::BEST_EFFORT, QosSpec::DATA];
    for config in [plain(), x25519()] {
        for (asked, understood) in all.iter().flat_map(|asked| all.iter().map(move |understood| (asked, understood))) {
            let (waiting, request) = Client::start(NOW, &config, b"question", &mut chance(1)).unwrap();
            let waiting = waiting.with_qos(asked);
            let checked = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
            let negotiated = checked.accept(&config).unwrap().with_message(1 << 20).with_qos(understood);
            let (response, _) = negotiated.respond(NOW, b"answer", 5000, &mut chance(2)).unwrap();
            let checked = waiting.check(&response);
            if asked == understood {
                checked.unwrap();
                assert_eq!(waiting.complete(&response).unwrap().peering.unwrap().message, 1 << 20);
            } else {
                assert_eq!(checked, Err(OapError::Qos), "{asked:?} {understood:?}");
                assert_eq!(waiting.complete(&response).unwrap_err(), OapError::Qos);
            }
        }
    }
}

#[test]
fn known_ends_need_no_marks() {
    for config in [plain(), x25519()] {
        let (waiting, request) =
            Client::start_known(NOW, &config, b"question", (5000, 1 << 16), &mut chance(1)).unwrap();
        let checked = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
        assert!(!checked.is_o7s(), "it is not marked");
        let negotiated = checked.accept(&config).unwrap().with_known_client().with_message(1 << 16);
        let (response, there) = negotiated.respond(NOW, b"answer", 5000, &mut chance(2)).unwrap();
        let digest = config.digest.map_or(0, Digest::nid);
        assert_eq!(Message::parse_response(&response, digest).unwrap().data, b"answer", "and nothing else");
        let (client, server) = (waiting.complete(&response).unwrap().peering.unwrap(), there.peering.unwrap());
        assert_eq!((client.side, server.side), (Side::Client, Side::Server));
        assert_eq!((client.timeout, client.tokens().own), (server.timeout, server.tokens().peer));
        assert_eq!((client.message, server.message), (1 << 16, 1 << 16));
    }
}

#[test]
fn each_end_tells_how_large_messages_it_puts_together() {
    for (here, there) in [(1 << 20, 1 << 16), (0, 1 << 20), (3_000_000, 0)] {
        let (client, request) = Client::start_within(NOW, &plain(), &[], None, here, &mut chance(1)).unwrap();
        // A repetition says the same.
        let wait = Duration::from_secs(1);
        let (client, request) = match here {
            0 => (client, request),
            _ => client.again_within(NOW, &plain(), &[], wait, &mut chance(3)).unwrap(),
        };
        let checked = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
        let negotiated = checked.accept(&plain()).unwrap().with_message(there);
        let (response, server) = negotiated.respond(NOW, &[], 0, &mut chance(2)).unwrap();
        let client = client.complete(&response).unwrap();
        let told = (client.peering.unwrap().message, server.peering.unwrap().message);
        assert_eq!(told, (there, if here == 3_000_000 { 1 << 21 } else { here }));
    }
}

#[test]
fn a_reference_gets_no_extension() {
    // As a client: an id without the mark. The response has the size and the data that it always had.
    let (waiting, request) = Client::start_with(NOW, &plain(), &[], [7; 16], None, &mut chance(3)).unwrap();
    let checked = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
    assert!(!checked.is_o7s());
    let (response, there) = checked.accept(&plain()).unwrap().respond(NOW, b"data", 5, &mut chance(2)).unwrap();
    assert_eq!((response.len(), there.peering), (84 + 4, None));
    let here = waiting.complete(&response).unwrap();
    assert_eq!((&here.data[..], here.peering), (&b"data"[..], None));

    // As a server: a response to one of ours that has no trailer, or that of another request.
    let (waiting, request) = start(&plain());
    let (_, another) = Client::start(NOW, &plain(), b"question", &mut chance(9)).unwrap();
    let (other, _) = serve(&plain(), &another).unwrap();
    let stolen = Message::parse_response(&other, 0).unwrap().data;
    let (response, _) = serve(&plain(), &request).unwrap();
    let forged = Message { data: stolen, ..Message::parse_response(&response, 0).unwrap() };
    let here = waiting.complete(&forged.to_vec().unwrap()).unwrap();
    assert_eq!((&here.data[..], here.peering), (stolen, None), "it is data like any other");
}

#[test]
fn each_flow_has_its_own_id_and_key() {
    let mut rng = chance(1);
    let (_, one) = Client::start(NOW, &x25519(), &[], &mut rng).unwrap();
    let (_, two) = Client::start(NOW, &x25519(), &[], &mut rng).unwrap();
    assert_ne!(message(&one).id, message(&two).id);
    assert_ne!(message(&one).kex, message(&two).kex);
}

#[test]
fn policy_that_requires_encryption() {
    let required = SecurityConfig { required: true, ..plain() };
    assert_eq!(Client::start(NOW, &required, &[], &mut chance(1)).unwrap_err(), OapError::Plain);
    for server in [required.clone(), x25519()] {
        let refused = exchange(&plain(), &server).unwrap_err();
        assert_eq!((refused.refusal_code(), refused), (-1008, OapError::Plain));
    }
    assert!(exchange(&x25519(), &required).unwrap().0.protection.is_some());
}

#[test]
fn weak_offers_are_refused() {
    let refused = exchange(&p256(), &x25519()).unwrap_err();
    assert_eq!(
        (refused.refusal_code(), refused),
        (-1008, OapError::KexTooWeak { peer: Kex::Prime256v1, own: Kex::X25519 })
    );
}

#[test]
fn ciphers_that_are_not_allowed_are_refused_before_anything_is_sent() {
    let ctr = SecurityConfig { cipher: Cipher::Aes256Ctr, ..x25519() };
    assert!(matches!(Client::start(NOW, &ctr, &[], &mut chance(1)), Err(OapError::Unauthenticated(Cipher::Aes256Ctr))));
}

#[test]
fn a_cipher_without_integrity_is_never_agreed_on() {
    let (_, request) = start(&x25519());
    let weakened = Message { cipher: Cipher::Aes256Ctr.nid(), ..message(&request) }.to_vec().unwrap();
    let refused = serve(&plain(), &weakened).unwrap_err();
    assert_eq!((refused.refusal_code(), refused), (-1008, OapError::Unauthenticated(Cipher::Aes256Ctr)));
    // A server with a better cipher of its own would use that; the client then notices that its request was changed.
    assert!(serve(&x25519(), &weakened).is_ok());
}

/// What matters in a build with few features; in one with all there is nothing that is not available.
#[test]
fn what_is_not_built_is_unavailable_by_its_name() {
    let refused = |config: SecurityConfig| Client::start(NOW, &config, &[], &mut chance(1)).unwrap_err();
    for &kex in Kex::ALL.iter().filter(|kex| !kex.is_available()) {
        assert_eq!(refused(SecurityConfig::encrypted(kex)), CryptoError::KexUnavailable(kex).into());
    }
    let (_, asked) = Client::start(NOW, &plain(), &[], &mut chance(1)).unwrap();
    for &hash in Digest::ALL.iter().filter(|hash| !hash.is_available()) {
        let unavailable = OapError::from(CryptoError::DigestUnavailable(hash));
        assert_eq!(refused(SecurityConfig { digest: Some(hash), ..plain() }), unavailable);
        // Of a client that has it: there is no other way to bind the response.
        let foreign = Message { digest: hash.nid(), ..message(&asked) }.to_vec().unwrap();
        assert_eq!(serve(&plain(), &foreign).unwrap_err(), unavailable);
        if let Some(kex) = Kex::ALL.iter().copied().find(|kex| kex.is_available()) {
            assert_eq!(refused(SecurityConfig { kdf: hash, ..SecurityConfig::encrypted(kex) }), unavailable);
        }
    }
    let built = [
        (Kex::Prime256v1.is_available(), cfg!(feature = "kex-p256")),
        (Kex::Secp384r1.is_available() && Kex::Secp521r1.is_available(), cfg!(feature = "kex-nist")),
        (Kex::X25519.is_available(), cfg!(feature = "kex-x25519")),
        (Kex::X448.is_available(), cfg!(feature = "kex-x448")),
        (Kex::Ffdhe4096.is_available(), cfg!(feature = "kex-ffdhe")),
        (Kex::MlKem768.is_available(), cfg!(feature = "kex-ml-kem")),
        (Kex::X25519MlKem768.is_available(), cfg!(all(feature = "kex-ml-kem", feature = "kex-x25519"))),
        (Kex::X448MlKem1024.is_available(), cfg!(all(feature = "kex-ml-kem", feature = "kex-x448"))),
        (Cipher::Aes256Ctr.is_available(), cfg!(feature = "aes-ctr")),
        (Cipher::Aes256Gcm.is_available(), true),
        (Cipher::ChaCha20Poly1305.is_available(), cfg!(feature = "chacha")),
    ];
    assert!(built.iter().all(|(is, should)| is == should), "{built:?}");
}

#[test]
fn a_cipher_without_integrity_takes_two_ends_that_allow_it() {
    let config = |cipher, allow_unauthenticated| SecurityConfig { cipher, allow_unauthenticated, ..x25519() };
    let ctr = |allowed| config(Cipher::Aes256Ctr, allowed);
    let (here, there) = exchange(&ctr(true), &ctr(true)).unwrap();
    assert_eq!(here.protection.as_ref().map(|(cipher, _)| *cipher), Some(Cipher::Aes256Ctr));
    assert_eq!(here.protection, there.protection);
    assert_eq!(exchange(&ctr(true), &ctr(false)).unwrap_err(), OapError::Unauthenticated(Cipher::Aes256Ctr));
    // Where either end has a better one, that is used.
    for (client, server) in [(ctr(true), x25519()), (config(Cipher::Aes128Gcm, false), ctr(false))] {
        let (here, _) = exchange(&client, &server).unwrap();
        assert!(here.protection.is_some_and(|(cipher, _)| cipher.is_aead()));
    }
    // A response is weighed before its cipher's rank: there is no weaker setting than none.
    let refused = negotiate::client(Some(Cipher::Aes256Ctr), None, &ctr(false)).unwrap_err();
    assert_eq!(refused, OapError::Unauthenticated(Cipher::Aes256Ctr));
}

#[test]
fn data_is_bounded_both_ways() {
    let long = [0; DEFAULT_MAX_DATA + 1];
    let roomy = SecurityConfig { max_data: 3000, ..plain() };
    let refused = OapError::Data { len: 1025, max: 1024 };
    assert_eq!(Client::start(NOW, &plain(), &long, &mut chance(1)).unwrap_err(), refused);

    let (waiting, request) = Client::start(NOW, &roomy, &long, &mut chance(1)).unwrap();
    assert_eq!(serve(&plain(), &request).unwrap_err(), refused);
    let checked = Request::check(NOW, &request[..], &mut ReplayCache::default()).unwrap();
    let (_, there) = checked.accept(&roomy).unwrap().respond(NOW, &[], 0, &mut chance(2)).unwrap();
    assert_eq!(there.data, long);

    let (response, _) = serve(&roomy, &request).unwrap();
    let longer = Message { data: &long, ..Message::parse_response(&response, 0).unwrap() };
    let strict = Client::start(NOW, &plain(), &[], &mut chance(1)).unwrap().0;
    assert_eq!(strict.complete(&longer.to_vec().unwrap()).unwrap_err(), refused);
    assert!(waiting.complete(&longer.to_vec().unwrap()).is_ok());
}

#[test]
fn data_beyond_the_length_field_is_an_error() {
    let long = vec![0; 0x1_0000];
    let roomy = SecurityConfig { max_data: usize::MAX, ..plain() };
    assert!(matches!(Client::start(NOW, &roomy, &long, &mut chance(1)), Err(OapError::Wire(_))));
}

#[test]
fn certificates_are_refused_unless_ignored() {
    let signed = |bytes: &[u8], digest| {
        let parsed =
            if bytes.len() > 80 && digest == 0 { Message::parse_response(bytes, 0).unwrap() } else { message(bytes) };
        Message { certificate: b"a certificate", signature: b"a signature", ..parsed }.to_vec().unwrap()
    };
    let trusting = SecurityConfig { certificates: CertificatePolicy::Ignore, ..plain() };

    let (_, request) = Client::start(NOW, &plain(), &[], &mut chance(1)).unwrap();
    let refused = serve(&plain(), &signed(&request, 0)).unwrap_err();
    assert_eq!((refused.refusal_code(), refused), (-1009, OapError::NoAuthorities));
    assert!(serve(&trusting, &signed(&request, 0)).is_ok());

    let response = serve(&plain(), &request).unwrap().0;
    let (strict, _) = Client::start(NOW, &plain(), &[], &mut chance(1)).unwrap();
    assert_eq!(strict.complete(&signed(&response, 0)).unwrap_err(), OapError::NoAuthorities);
    let (lenient, _) = Client::start(NOW, &trusting, &[], &mut chance(1)).unwrap();
    assert_eq!(lenient.complete(&signed(&response, 0)).unwrap().data, b"answer");
}

#[test]
fn encapsulation_to_a_static_key_is_refused() {
    // These crash a reference server.
    let (_, request) = start(&x25519());
    let parsed = message(&request);
    for raw in [false, true] {
        let kex = wire::Kex { client_encapsulates: true, raw, ..parsed.kex };
        let asking = Message { kex, ..parsed }.to_vec().unwrap();
        for server in [plain(), x25519(), SecurityConfig::encrypted(Kex::MlKem768)] {
            let refused = serve(&server, &asking).unwrap_err();
            assert_eq!((refused.refusal_code(), refused), (-1008, OapError::ClientEncapsulation));
        }
    }
}

#[test]
fn keys_of_other_types_are_refused() {
    // So do these: the beginnings of RSA, Ed25519 and secp256k1 keys.
    let keys: [&[u8]; 5] = [
        b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00",
        b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"\x30\x56\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a\x03\x42\x00\x04",
        b"\x30",
        &[0; 1624],
    ];
    let (_, request) = start(&x25519());
    for (bytes, raw) in keys.into_iter().flat_map(|key| [(key, false), (key, true)]) {
        let kex = wire::Kex { bytes, raw, client_encapsulates: false };
        let asking = Message { kex, ..message(&request) }.to_vec().unwrap();
        for server in [plain(), x25519()] {
            assert_eq!(serve(&server, &asking).unwrap_err().refusal_code(), -1008, "{bytes:02x?}");
        }
    }
}

#[test]
fn weak_public_keys_are_refused() {
    let (_, request) = start(&x25519());
    let mut spki = message(&request).kex.bytes.to_vec();
    spki[12..].fill(0);
    let kex = wire::Kex { bytes: &spki, ..wire::Kex::default() };
    let asking = Message { kex, ..message(&request) }.to_vec().unwrap();
    let refused = serve(&x25519(), &asking).unwrap_err();
    assert_eq!((refused.refusal_code(), refused), (-1008, CryptoError::WeakSharedSecret.into()));
}

#[test]
fn a_request_is_served_once() {
    let (_, request) = start(&plain());
    let mut seen = ReplayCache::default();
    assert!(Request::check(NOW, &request[..], &mut seen).is_ok());
    let refused = Request::check(NOW + 5, &request[..], &mut seen).unwrap_err();
    assert_eq!((refused.refusal_code(), refused), (-1009, OapError::Replayed));
}

#[test]
fn a_request_refused_later_is_still_remembered() {
    let (_, request) = start(&plain());
    let mut seen = ReplayCache::default();
    assert!(Request::check(NOW, &request[..], &mut seen).unwrap().accept(&x25519()).is_err());
    assert!(Request::check(NOW, &request[..], &mut seen).is_err());
}

#[test]
fn stale_requests_are_refused_and_not_remembered() {
    let (_, request) = start(&plain());
    let mut seen = ReplayCache::default();
    for now in [NOW + 21_000_000_000, NOW - 300_000_000] {
        let refused = Request::check(now, &request[..], &mut seen).unwrap_err();
        assert!(matches!(refused, OapError::Stale { .. }));
        assert_eq!(refused.refusal_code(), -1009);
    }
    assert!(seen.is_empty());
}

#[test]
fn a_request_may_wait_for_an_acceptor() {
    let (waiting, request) = start(&x25519());
    let checked = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
    assert_eq!(checked.data(), b"question");
    let negotiated = checked.accept(&x25519()).unwrap();
    let (response, _) = negotiated.respond(NOW + 60_000_000_000, &[], 0, &mut chance(2)).unwrap();
    assert!(waiting.complete(&response).is_ok());
}

#[test]
fn reflected_requests_are_not_taken_for_responses() {
    for config in [plain(), x25519()] {
        let (waiting, request) = start(&config);
        assert!(matches!(waiting.check(&request), Err(OapError::Wire(_))));
        // With enough behind it to be taken for one.
        let hash = [0; 64];
        let hash_len = wire::request_hash_len(message(&request).digest).unwrap();
        let reflected = Message { request_hash: &hash[..hash_len], ..message(&request) }.to_vec().unwrap();
        assert_eq!(waiting.complete(&reflected).unwrap_err(), OapError::RequestHash);
    }
}

#[test]
fn responses_to_other_requests_are_refused() {
    let mut rng = chance(1);
    let (one, request) = Client::start(NOW, &x25519(), b"one", &mut rng).unwrap();
    let (two, _) = Client::start(NOW, &x25519(), b"two", &mut rng).unwrap();
    let (response, _) = serve(&x25519(), &request).unwrap();
    assert_eq!(two.check(&response), Err(OapError::OtherRequest));
    // Failing costs nothing: the client waits on.
    assert_eq!(one.check(&[]), Err(WireError::Truncated { need: 16, have: 0 }.into()));
    assert_eq!(one.check(&response), Ok(()));
    assert!(one.complete(&response).is_ok());
}

#[test]
fn repeated_requests_get_an_answer() {
    let mut rng = chance(1);
    let (first, one) = Client::start(NOW, &x25519(), b"question", &mut rng).unwrap();
    let wait = Duration::from_secs(1);
    let (second, two) = first.again_within(NOW + 1_200_000_000, &x25519(), b"question", wait, &mut rng).unwrap();
    assert_ne!(message(&one).kex, message(&two).kex);

    let mut seen = ReplayCache::default();
    let requests = [one, two].map(|bytes| Request::check(NOW + 1_200_000_000, bytes, &mut seen).unwrap());
    assert_eq!(requests[0].id(), requests[1].id(), "one can tell that they are the same wish");
    let (_, three) = second.again_within(NOW, &x25519(), b"question", Duration::from_secs(3), &mut rng).unwrap();
    let three = Request::check(NOW, three, &mut seen).unwrap();
    assert_eq!(three.id(), requests[0].id(), "however long it still waits");
    assert_eq!((three.wait(), three.is_o7s()), (Some(Duration::from_secs(3)), true));
    // Each response belongs to one of the attempts, and that one can be completed whichever it is.
    let [one, two] =
        requests.map(|request| request.accept(&x25519()).unwrap().respond(NOW, b"answer", 0, &mut rng).unwrap());
    assert_eq!(second.check(&one.0), Err(OapError::OtherRequest));
    assert_eq!(first.check(&two.0), Err(OapError::OtherRequest));
    assert_eq!(first.complete(&one.0).unwrap().protection, one.1.protection);
    assert_eq!(second.complete(&two.0).unwrap().protection, two.1.protection);
}

#[test]
fn a_changed_request_is_detected_by_the_response() {
    let (waiting, mut request) = start(&x25519());
    request[23] ^= 1; // the timestamp: nothing else would notice
    let (response, _) = serve(&x25519(), &request).unwrap();
    assert_eq!(waiting.complete(&response).unwrap_err(), OapError::RequestHash);
}

#[test]
fn downgraded_responses_are_refused() {
    let strong = SecurityConfig { cipher: Cipher::ChaCha20Poly1305, kdf: Kdf::Sha512, ..x25519() };
    let (_, request) = start(&strong);
    let (response, _) = serve(&x25519(), &request).unwrap();
    let genuine = Message::parse_response(&response, message(&request).digest).unwrap();
    let none = wire::Kex::default();
    let p256_key = start(&p256()).1[36..127].to_vec();
    let cases = [
        (
            Message { cipher: Cipher::Aes256Gcm.nid(), ..genuine },
            OapError::CipherTooWeak { peer: Cipher::Aes256Gcm, own: Cipher::ChaCha20Poly1305 },
        ),
        (Message { cipher: 0, ..genuine }, OapError::NoCipher),
        (
            Message { kdf: Kdf::Sha256.nid(), ..genuine },
            OapError::KdfTooWeak { peer: Some(Kdf::Sha256), own: Kdf::Sha512 },
        ),
        (Message { kex: none, ..genuine }, OapError::NoKey),
        (Message { kex: none, cipher: 0, kdf: 0, ..genuine }, OapError::NoCipher),
        (Message { kex: wire::Kex { bytes: &p256_key, ..none }, ..genuine }, CryptoError::GroupMismatch.into()),
        (Message { kex: wire::Kex { bytes: b"\x30", ..none }, ..genuine }, CryptoError::InvalidPublicKey.into()),
        (Message { id: [0; 16], ..genuine }, OapError::OtherRequest),
        (Message { request_hash: &[0; 32], ..genuine }, OapError::RequestHash),
    ];
    for (response, expected) in cases {
        let (waiting, _) = start(&strong);
        assert_eq!(waiting.complete(&response.to_vec().unwrap()).unwrap_err(), expected, "{response}");
    }
}

#[test]
fn truncated_messages_are_refused() {
    let (_, request) = start(&x25519());
    let (response, _) = serve(&x25519(), &request).unwrap();
    let mut seen = ReplayCache::default();
    for end in 0..request.len() {
        assert!(matches!(Request::check(NOW, &request[..end], &mut seen), Err(OapError::Wire(_))), "cut at {end}");
    }
    assert!(seen.is_empty());
    for end in 0..response.len() {
        let (waiting, _) = start(&x25519());
        assert!(matches!(waiting.complete(&response[..end]), Err(OapError::Wire(_))), "cut at {end}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let (waiting, request) = start(&x25519());
    let (_, outcome) = serve(&x25519(), &request).unwrap();
    let printed = alloc::format!("{waiting:?} {outcome:?}");
    assert!(printed.contains("SessionKey(..)") && !printed.contains("private"), "{printed}");
}

fn configs() -> impl Strategy<Value = SecurityConfig> {
    prop::sample::select(vec![plain(), x25519()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_request_never_leads_to_a_flow(
        config in configs(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
    ) {
        let (waiting, request) = start(&config);
        let mut damaged = request.clone();
        for (at, bits) in changes {
            damaged[at.index(request.len())] ^= bits;
        }
        if damaged != request && let Ok((response, _)) = serve(&config, &damaged) {
            prop_assert!(waiting.complete(&response).is_err());
        }
    }

    #[test]
    fn a_damaged_response_never_leads_to_a_weaker_flow(
        config in configs(),
        (at, bits) in (any::<prop::sample::Index>(), 1u8..),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (waiting, request) = start(&config);
        let (mut response, there) = serve(&config, &request).unwrap();
        let at = at.index(response.len());
        response[at] ^= bits;
        if let Some(cut) = cut {
            response.truncate(cut.index(response.len()));
        }
        match waiting.complete(&response) {
            Ok(here) => {
                let cipher = here.protection.as_ref().map(|(cipher, _)| *cipher);
                prop_assert!(cipher >= config.kex.map(|_| config.cipher));
                // Nothing is signed, but all of it is in the key: no packet of the one end opens at the other.
                prop_assert!(here.protection.is_none() || here.protection != there.protection);
            }
            Err(error) => prop_assert_eq!(error.refusal_code() / 2, -504),
        }
    }

    #[test]
    fn no_bytes_panic_either_end(bytes in prop::collection::vec(any::<u8>(), 0..200), config in configs()) {
        let mut seen = ReplayCache::default();
        let _ = Request::check(NOW, &bytes[..], &mut seen).map(|request| request.accept(&config));
        let _ = start(&config).0.complete(&bytes);
    }
}
