//! A server that gets a request: no panic, and what it answers is a response that keeps to its configuration.
//!
//! The first byte chooses the configuration; the rest is the request, but for its timestamp, which is made fresh
//! because nearly all others are refused at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::base::rng::{Randomness, Rng};
use o7s::crypto::hash::digest;
use o7s::crypto::suite::{Cipher, Digest, Kex};
use o7s::oap::replay::ReplayCache;
use o7s::oap::server::Request;
use o7s::crypto::kex::KemKey;
use o7s::oap::{CertificatePolicy, OapError, Outcome, SecurityConfig, StaticKey};
use o7s::wire::oap::Message;

const NOW: u64 = 1_760_000_000_000_000_000;
/// The timeout, the largest message and the mark.
const TRAILER: usize = 4 + 1 + 16;

fn config(choice: u8) -> SecurityConfig {
    let key = |kex| StaticKey::new(KemKey::generate(kex, &mut Rng::from_seed([2; 32])).unwrap());
    let config = match choice & 3 {
        0 => SecurityConfig::default(),
        1 => SecurityConfig::encrypted(Kex::X25519),
        2 => SecurityConfig::encrypted(Kex::Ffdhe2048),
        _ => {
            let keys = [Kex::MlKem512, Kex::X25519MlKem768].map(key);
            SecurityConfig::encrypted(Kex::MlKem512).static_keys(keys.into())
        }
    };
    let config = config.allow_unauthenticated(choice & 16 != 0);
    let certificates = if choice & 8 != 0 { CertificatePolicy::Ignore } else { CertificatePolicy::Verify };
    config.required(choice & 4 != 0).certificates(certificates)
}

fn serve(bytes: &[u8], config: &SecurityConfig) -> Result<(Vec<u8>, Outcome), OapError> {
    let mut seen = ReplayCache::new(4);
    let request = Request::check(NOW, bytes, &mut seen)?;
    assert_eq!(Request::check(NOW, bytes, &mut seen).unwrap_err(), OapError::Replayed);
    assert!(!format!("{request:?}").is_empty());
    request.accept(config)?.respond(NOW, b"answer", 120_000, &mut Randomness::from_seed([1; 32]))
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, request)) = input.split_first() else { return };
    let mut request = request.to_vec();
    if let Some(timestamp) = request.get_mut(16..24) {
        timestamp.copy_from_slice(&NOW.to_be_bytes());
    }
    let config = config(choice);
    let (response, outcome) = match serve(&request, &config) {
        Ok(served) => served,
        Err(refused) => {
            assert!([-1008, -1009].contains(&refused.refusal_code()));
            return;
        }
    };
    let asked = Message::parse_request(&request).unwrap();
    let answer = Message::parse_response(&response, asked.digest).unwrap();
    assert_eq!(answer.id, asked.id);
    let behind = answer.data.strip_prefix(b"answer").unwrap();
    let told = if outcome.peering.is_some() { TRAILER } else { 0 };
    assert_eq!(behind.len(), told, "a client of our own kind is told more");
    let hash = digest(Digest::from_nid(asked.digest).unwrap_or(Digest::Sha384), &[&request]);
    assert_eq!(answer.request_hash, &*hash);
    assert_eq!(outcome.data, asked.data);
    assert!(outcome.data.len() <= config.max_data);
    assert!(asked.certificate.is_empty() || config.certificates == CertificatePolicy::Ignore);

    assert_eq!(outcome.protection.is_some(), !asked.kex.bytes.is_empty());
    match outcome.protection {
        Some((cipher, _)) => {
            assert!((cipher.is_aead() || config.allow_unauthenticated) && answer.cipher == cipher.nid());
            assert!(Some(cipher) >= Cipher::from_nid(asked.cipher));
            assert!(config.kex.is_none() || cipher >= config.cipher);
        }
        None => assert!(config.kex.is_none() && !config.required),
    }
});
