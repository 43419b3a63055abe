//! AWS-LC, by `aws-lc-rs`: its AEAD ciphers and key exchanges.

#[cfg(any(feature = "kex-p256", feature = "kex-nist", feature = "kex-x25519"))]
mod agreement;
#[cfg(all(feature = "kex-ml-kem", any(feature = "kex-x25519", feature = "kex-x448")))]
mod ml_kem;

use alloc::boxed::Box;

use aws_lc_rs::aead::{self, Aad, Algorithm, LessSafeKey, UnboundKey};

#[cfg(all(feature = "kex-ml-kem", any(feature = "kex-x25519", feature = "kex-x448")))]
use super::hybrid::Hybrid;
use super::restore::open_or_restore;
use super::{Aead, AeadKey, KeyExchange, Nonce, Tag};
use crate::crypto::CryptoError;
use crate::crypto::suite::Cipher;

pub(super) static AEADS: &[Aead] = &[
    Aead { cipher: Cipher::Aes128Gcm, schedule: |key| schedule(&aead::AES_128_GCM, key) },
    Aead { cipher: Cipher::Aes192Gcm, schedule: |key| schedule(&aead::AES_192_GCM, key) },
    Aead { cipher: Cipher::Aes256Gcm, schedule: |key| schedule(&aead::AES_256_GCM, key) },
    #[cfg(feature = "chacha")]
    Aead { cipher: Cipher::ChaCha20Poly1305, schedule: |key| schedule(&aead::CHACHA20_POLY1305, key) },
];

/// Whatever draws from the generator that it is given.
pub(super) static REPEATABLE: &[&dyn KeyExchange] = &[
    #[cfg(feature = "kex-p256")]
    &agreement::PRIME256V1,
    #[cfg(feature = "kex-x25519")]
    &agreement::X25519,
    #[cfg(feature = "kex-nist")]
    &agreement::SECP384R1,
    #[cfg(feature = "kex-nist")]
    &agreement::SECP521R1,
];

/// Those, and what draws from AWS-LC's own generator: in a copy of a machine it may go on with the same numbers. So ML-KEM is only
/// there as half of a hybrid, whose other half is drawn from the generator that it is given.
pub(super) static EXCHANGES: &[&dyn KeyExchange] = &[
    #[cfg(feature = "kex-p256")]
    &agreement::PRIME256V1,
    #[cfg(feature = "kex-x25519")]
    &agreement::X25519,
    #[cfg(feature = "kex-nist")]
    &agreement::SECP384R1,
    #[cfg(feature = "kex-nist")]
    &agreement::SECP521R1,
    #[cfg(all(feature = "kex-ml-kem", feature = "kex-x25519"))]
    &Hybrid::X25519_ML_KEM_768.of(&ml_kem::ML_KEM_768, &agreement::X25519),
    // It has no X448.
    #[cfg(all(feature = "kex-ml-kem", feature = "kex-x448"))]
    &Hybrid::X448_ML_KEM_1024.of(&ml_kem::ML_KEM_1024, &super::agreement::xdh::X448),
];

struct AwsKey(LessSafeKey);

impl AeadKey for AwsKey {
    fn seal(&self, nonce: &Nonce, data: &mut [u8]) -> Result<Tag, CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::empty(), data);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(CryptoError::PacketTooLong)
    }

    fn open(&self, nonce: &Nonce, data: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        open_or_restore(data, |data| {
            let nonce = aead::Nonce::assume_unique_for_key(*nonce);
            self.0.open_in_place_separate_tag(nonce, Aad::empty(), tag, data).is_ok()
        })
    }
}

#[allow(clippy::expect_used, reason = "the length is the algorithm's own; else the system is out of memory")]
fn schedule(algorithm: &'static Algorithm, key: &[u8; 32]) -> Box<dyn AeadKey> {
    let bytes = key.get(..algorithm.key_len()).unwrap_or_default();
    let key = UnboundKey::new(algorithm, bytes).expect("the key has the length of the algorithm");
    Box::new(AwsKey(LessSafeKey::new(key)))
}
