//! Public and private keys: no panic, one encoding of each, and what is read as a private key signs for its public key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::base::rng::Rng;
use o7s::crypto::sign::{PrivateKey, PublicKey, Signer};

fuzz_target!(|input: &[u8]| {
    if let Ok(key) = PublicKey::from_spki(input) {
        assert_eq!(key.spki(), input);
        assert!(key.verify(input, None, &input[..input.len().min(64)]).is_err());
    }
    if let Ok(key) = PrivateKey::from_pkcs8(input) {
        let signature = key.sign(b"message", None, &mut Rng::from_seed([1; 32])).expect("a key that was read signs");
        let public = PublicKey::from_spki(key.public_key().spki()).expect("it has one encoding");
        assert!(public.verify(b"message", None, &signature).is_ok());
        assert!(public.verify(b"massage", None, &signature).is_err());
    }
});
