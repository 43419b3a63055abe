//! The AEAD ciphers of `ring`.

use alloc::boxed::Box;

use ring::aead::{self, Aad, Algorithm, LessSafeKey, UnboundKey};

use super::restore::open_or_restore;
use super::{Aead, AeadKey, Nonce, Tag};
use crate::crypto::CryptoError;
use crate::crypto::suite::Cipher;

pub(super) static AEADS: &[Aead] = &[
    Aead { cipher: Cipher::Aes128Gcm, schedule: |key| schedule(&aead::AES_128_GCM, key) },
    Aead { cipher: Cipher::Aes256Gcm, schedule: |key| schedule(&aead::AES_256_GCM, key) },
    #[cfg(feature = "chacha")]
    Aead { cipher: Cipher::ChaCha20Poly1305, schedule: |key| schedule(&aead::CHACHA20_POLY1305, key) },
];

struct RingKey(LessSafeKey);

impl AeadKey for RingKey {
    fn seal(&self, nonce: &Nonce, data: &mut [u8]) -> Result<Tag, CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::empty(), data);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(CryptoError::PacketTooLong)
    }

    fn open(&self, nonce: &Nonce, data: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        open_or_restore(data, |data| {
            let nonce = aead::Nonce::assume_unique_for_key(*nonce);
            self.0.open_in_place_separate_tag(nonce, Aad::empty(), aead::Tag::from(*tag), data, 0..).is_ok()
        })
    }
}

#[allow(clippy::expect_used, reason = "the only error is a wrong key length, and the length is the algorithm's own")]
fn schedule(algorithm: &'static Algorithm, key: &[u8; 32]) -> Box<dyn AeadKey> {
    let bytes = key.get(..algorithm.key_len()).unwrap_or_default();
    let key = UnboundKey::new(algorithm, bytes).expect("the key has the length of the algorithm");
    Box::new(RingKey(LessSafeKey::new(key)))
}
