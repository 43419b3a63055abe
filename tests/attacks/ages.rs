//! Requests and responses that were recorded, and come again.

use std::time::Duration;

use o7s::base::rng::Randomness;
use o7s::crypto::kex::KemKey;
use o7s::crypto::suite::Kex;
use o7s::oap::client::Client;
use o7s::oap::replay::ReplayCache;
use o7s::oap::server::Request;
use o7s::oap::{KemMode, OapError, SecurityConfig, StaticKey};
use o7s::wire::oap::Message;

use crate::ends::{Ends, NOW, SECOND};

const MS: u64 = 1_000_000;

fn config() -> SecurityConfig {
    SecurityConfig::encrypted(Kex::X25519)
}

/// Says when the request of [`NOW`] arrives, nanoseconds later, and whether it is still good then.
const AGES: [(i64, bool); 14] = [
    (-3600 * SECOND as i64, false),
    (-101 * MS as i64, false),
    (-100 * MS as i64, true),
    (-(MS as i64), true),
    (0, true),
    (1, true),
    (50 * MS as i64, true),
    (1000 * MS as i64, true),
    (19_999 * MS as i64, true),
    (20_000 * MS as i64, true),
    (20_001 * MS as i64 - 1, true),
    (20_001 * MS as i64, false),
    (3600 * SECOND as i64, false),
    (40 * 365 * 86_400 * SECOND as i64, false),
];

fn at(age: i64) -> u64 {
    NOW.checked_add_signed(age).unwrap()
}

#[test]
fn a_request_is_taken_once_whatever_its_age() {
    let (_, request) = Ends::alike(&config()).asked();
    for (first, is_good) in AGES {
        let mut seen = ReplayCache::default();
        let age_ms = first / MS as i64;
        match Request::check(at(first), &*request, &mut seen).map(drop) {
            Ok(()) => assert!(is_good, "{age_ms} ms"),
            Err(error) => assert_eq!((error, is_good), (OapError::Stale { age_ms }, false)),
        }
        // And again, at the same moment, and at each later one; also after the clock was set back.
        for (again, is_fresh) in AGES {
            let error = Request::check(at(again), &*request, &mut seen).map(drop);
            let age_ms = again / MS as i64;
            match (is_good, is_fresh) {
                (true, true) if again >= first => assert_eq!(error, Err(OapError::Replayed), "{first} {again}"),
                // A clock that was set back has forgotten nothing.
                (true, true) => assert_eq!(error, Err(OapError::Replayed), "{first} {again}"),
                (_, false) => assert_eq!(error, Err(OapError::Stale { age_ms }), "{first} {again}"),
                // What was refused was not remembered: it is taken when it is good, once.
                (false, true) => {
                    assert!(matches!(error, Ok(()) | Err(OapError::Replayed)), "{first} {again}: {error:?}");
                    assert_eq!(Request::check(at(again), &*request, &mut seen).map(drop), Err(OapError::Replayed));
                }
            }
        }
    }
}

/// Between each two moments of the window, to the millisecond at its ends.
#[test]
fn no_pair_of_ages_makes_two_flows() {
    let (_, request) = Ends::alike(&config()).asked();
    let ages = || (-100..=20_000_i64).step_by(67).chain([19_999, 20_000]);
    for first in ages() {
        let mut seen = ReplayCache::default();
        assert!(Request::check(at(first * MS as i64), &*request, &mut seen).is_ok(), "{first} ms");
        for again in ages().filter(|again| *again >= first) {
            // As late in that millisecond as there is.
            let error = Request::check(at(again * MS as i64 + MS as i64 - 1), &*request, &mut seen).map(drop);
            assert_eq!(error, Err(OapError::Replayed), "{first} ms and {again} ms");
        }
        let error = Request::check(at(20_001 * MS as i64), &*request, &mut seen).map(drop);
        assert_eq!(error, Err(OapError::Stale { age_ms: 20_001 }));
    }
}

/// Others fill the memory between the request and its repetition: what was forgotten is stale, not new.
#[test]
fn a_flood_does_not_make_a_recorded_request_new() {
    let (_, request) = Ends::alike(&config()).asked();
    for others in [0, 1, 49, 50, 51, 500, 5_000] {
        let mut seen = ReplayCache::new(50);
        assert!(Request::check(NOW, &*request, &mut seen).is_ok());
        for n in 0..others {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&u64::to_be_bytes(n));
            seen.admit(NOW + n * 1000, id, NOW + n * 1000 + 1).unwrap();
        }
        for age in [0, 5, 10_000, 19_999, 20_000] {
            let error = Request::check(NOW + 5 * MS + age * MS, &*request, &mut seen).map(drop);
            assert!(matches!(error, Err(OapError::Replayed | OapError::Stale { .. })), "{others}, {age}: {error:?}");
        }
        // Somebody else, who asks now, is served.
        assert!(seen.admit(NOW + SECOND, [7; 16], NOW + SECOND).is_ok());
    }
}

/// Nothing vouches for the time of a request without a signature. It is another request then, and makes a flow of nobody:
/// whoever recorded it does not have the key.
#[test]
fn a_recorded_request_with_another_time_opens_nothing() {
    let ends = Ends::alike(&config());
    let (client, request) = ends.asked();
    let later = NOW + 600 * SECOND;
    let changed = Message { timestamp: later, ..Message::parse_request(&request).unwrap() }.to_vec().unwrap();
    let mut rng = Randomness::from_seed([8; 32]);
    let checked = Request::check(later, changed, &mut ReplayCache::default()).unwrap();
    let (response, again) = checked.accept(&ends.server).unwrap().respond(later, b"", 0, &mut rng).unwrap();
    let (_, before) = ends.answer(&request).unwrap();
    assert_ne!(before.protection, again.protection, "no recorded packet opens");
    assert_eq!(client.complete(&response).unwrap_err(), OapError::RequestHash, "nor is it the client's");
}

/// What was encapsulated to a static key has its session key in it, so that it is taken once whatever is said around it.
#[test]
fn a_recorded_ciphertext_is_taken_once_whatever_is_changed_around_it() {
    let mut rng = Randomness::from_seed([9; 32]);
    for kex in [Kex::MlKem768, Kex::X25519MlKem768] {
        let key = StaticKey::new(KemKey::generate(kex, &mut rng.secret).unwrap());
        let client = SecurityConfig::encrypted(kex).kem_mode(KemMode::Client).server_key(Some(key.key().public_key()));
        let ends = Ends::new(client, SecurityConfig::encrypted(kex).static_keys(vec![key]));
        let (waiting, request) = ends.asked();
        let (response, there) = ends.answer(&request).unwrap();
        assert_eq!(waiting.complete(&response).unwrap().protection, there.protection);
        let message = Message::parse_request(&request).unwrap();
        for (what, changed) in [
            ("nothing", message),
            ("the id", Message { id: [5; 16], ..message }),
            ("the time", Message { timestamp: NOW - SECOND, ..message }),
            ("both", Message { id: [6; 16], timestamp: NOW - SECOND, ..message }),
            ("the data", Message { id: [7; 16], data: b"other", ..message }),
        ] {
            let refused = ends.answer(&changed.to_vec().unwrap()).unwrap_err();
            assert_eq!(refused, OapError::Replayed, "{kex}: {what}");
        }
    }
}

/// A response is bound to one request: whatever else the client waits for, it is refused, however old it is.
#[test]
fn a_recorded_response_answers_nothing_else() {
    for config in [SecurityConfig::default(), config()] {
        let ends = Ends::alike(&config);
        let (client, request) = ends.asked();
        let (response, _) = ends.answer(&request).unwrap();
        for age in [0, 1, 1_200, 20_000, 86_400_000] {
            let mut rng = Randomness::from_seed([5; 32]);
            let then = NOW + age * MS;
            // Of the same allocation, whose id stays the same, and of another.
            let (repeated, _) = client.again_within(then, &config, b"hello", Duration::from_secs(9), &mut rng).unwrap();
            let (other, _) = Client::start(then, &config, b"hello", &mut rng).unwrap();
            // The id is the same but for the time that the client waits, which is in it.
            let error = repeated.complete(&response).unwrap_err();
            assert!(matches!(error, OapError::OtherRequest | OapError::RequestHash), "{age} ms: {error:?}");
            assert_eq!(other.complete(&response).unwrap_err(), OapError::OtherRequest, "{age} ms");
        }
        assert!(client.complete(&response).is_ok());
    }
}

/// One's own words, sent back.
#[test]
fn reflected_messages_are_refused() {
    for config in [SecurityConfig::default(), config(), config().required(true)] {
        let ends = Ends::alike(&config);
        let (client, request) = ends.asked();
        let (response, _) = ends.answer(&request).unwrap();
        let error = client.check(&request).unwrap_err();
        assert!(matches!(error, OapError::Wire(_)), "a request is no response: {error:?}");
        let error = ends.answer(&response).unwrap_err();
        assert!(matches!(error, OapError::Wire(_)), "a response is no request: {error:?}");
        assert!(client.complete(&response).is_ok());
    }
}

/// One's own request, completed to a response: with its own key for that of the server, the client would have a key in common
/// with itself alone, and read what it has sent.
#[test]
fn a_request_that_is_made_a_response_is_refused() {
    for kex in Kex::ALL.iter().copied().filter(|kex| kex.is_available()) {
        let ends = Ends::alike(&SecurityConfig::encrypted(kex));
        let (client, request) = ends.asked();
        let (response, _) = ends.answer(&request).unwrap();
        let completed = [&request[..], &o7s::crypto::hash::sha256(&[&request])].concat();
        let error = client.complete(&completed).unwrap_err();
        assert_eq!(error, OapError::Reflected, "{kex}");
        let (client, _) = ends.asked();
        assert!(client.complete(&response).is_ok());
    }
}
