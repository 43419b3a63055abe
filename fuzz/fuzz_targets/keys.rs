//! Transmitted keys and files of keys: no panic, and what is taken for a key can be used as one.
//!
//! The first byte chooses what the rest is taken for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::base::rng::Rng;
use o7s::crypto::kex::{self, KemKey, KemPublicKey};
use o7s::crypto::suite::{Kdf, Kex};

/// What was encapsulated to it leads both ends to one key.
fn works(key: &KemKey) {
    let sent = key.public_key().encapsulate(Kdf::Sha256, &mut Rng::from_seed([1; 32])).unwrap();
    let found = key.decapsulate(sent.ciphertext(), Kdf::Sha256).unwrap();
    // The hash in an expanded key is of its public half; the private one may be of another.
    let _ = found == sent.into_key();
}

fn encapsulates(key: &KemPublicKey) {
    let sent = key.encapsulate(Kdf::Sha256, &mut Rng::from_seed([1; 32])).unwrap();
    assert_eq!(Some(sent.ciphertext().len()), key.kex().ciphertext_len());
}

/// A transmitted key, as a responder takes it.
fn responds(kex: Kex, transmitted: &[u8]) {
    if let Ok((field, _)) = kex::respond(kex, transmitted, Kdf::Sha256, &mut Rng::from_seed([1; 32])) {
        assert_eq!(Some(field.len()) == kex.ciphertext_len(), kex.is_kem());
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else { return };
    match choice % 8 {
        0 => drop(KemKey::from_pem(bytes).map(|key| works(&key))),
        1 => drop(KemKey::from_pkcs8(bytes).map(|key| works(&key))),
        2 => drop(KemKey::from_raw(bytes).map(|key| works(&key))),
        3 => drop(KemPublicKey::from_pem(bytes).map(|key| encapsulates(&key))),
        4 => drop(KemPublicKey::from_spki(bytes).map(|key| encapsulates(&key))),
        5 => drop(KemPublicKey::from_raw(bytes).map(|key| encapsulates(&key))),
        6 => drop(kex::algorithm_of(bytes).map(|kex| responds(kex, bytes))),
        _ => drop(kex::hybrid_of(bytes).map(|kex| responds(kex, bytes))),
    }
});
