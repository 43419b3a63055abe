//! A client that gets a response: no panic, and no flow weaker than it asked for.
//!
//! The first byte chooses the configuration and what is made right in the response that follows: its id, and the hash
//! of the request where one belongs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::base::rng::{Randomness, Rng};
use o7s::crypto::hash::digest;
use o7s::crypto::kex::KemKey;
use o7s::crypto::suite::{Digest, Kex};
use o7s::oap::client::Client;
use o7s::oap::{CertificatePolicy, KemMode, SecurityConfig};
use o7s::wire::oap::Message;

const NOW: u64 = 1_760_000_000_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, response)) = input.split_first() else { return };
    let config = match choice & 7 {
        0 => SecurityConfig::default(),
        1 => SecurityConfig::encrypted(Kex::Prime256v1),
        2 => SecurityConfig::encrypted(Kex::Ffdhe2048),
        3 => SecurityConfig::encrypted(Kex::X448),
        4 => SecurityConfig::encrypted(Kex::MlKem512),
        5 => SecurityConfig::encrypted(Kex::X25519MlKem768),
        6 => {
            let key = KemKey::generate(Kex::MlKem512, &mut Rng::from_seed([2; 32])).unwrap();
            let to = SecurityConfig::encrypted(Kex::MlKem512).server_key(Some(key.public_key()));
            to.kem_mode(KemMode::Client)
        }
        _ => SecurityConfig::encrypted(Kex::X25519),
    };
    let certificates = if choice & 8 != 0 { CertificatePolicy::Ignore } else { CertificatePolicy::Verify };
    let config = config.certificates(certificates);
    let (client, request) = Client::start(NOW, &config, b"question", &mut Randomness::from_seed([1; 32])).unwrap();

    let asked = Message::parse_request(&request).unwrap();
    let mut response = response.to_vec();
    if choice & 16 != 0
        && let Some(id) = response.get_mut(..asked.id.len())
    {
        id.copy_from_slice(&asked.id);
    }
    let hash = digest(Digest::from_nid(asked.digest).unwrap_or(Digest::Sha384), &[&request]);
    if choice & 32 != 0
        && let Ok(message) = Message::parse_response(&response, asked.digest)
    {
        response = Message { request_hash: &hash, ..message }.to_vec().unwrap();
    }

    let checked = client.check(&response);
    match client.complete(&response) {
        Ok(outcome) => {
            assert_eq!(checked, Ok(()));
            let answer = Message::parse_response(&response, asked.digest).unwrap();
            assert_eq!((answer.id, answer.request_hash, answer.data), (asked.id, &*hash, &outcome.data[..]));
            assert!(outcome.data.len() <= config.max_data);
            assert!(answer.certificate.is_empty() || config.certificates == CertificatePolicy::Ignore);
            assert_eq!(outcome.protection.is_some(), config.kex.is_some());
            assert!(outcome.protection.is_none_or(|(cipher, _)| cipher >= config.cipher));
        }
        // Only the key itself is looked at later.
        Err(error) => assert!(checked == Err(error) || checked == Ok(()) && config.kex.is_some()),
    }
});
