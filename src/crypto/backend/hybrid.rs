//! A KEM and a Diffie-Hellman together: whoever breaks one of them has nothing.
//!
//! The rows are put together from those of a backend for the two, so that any backend can have them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::{KeyExchange, PrivateKey};
use crate::crypto::kex::Encoding;
use crate::crypto::suite::Kex;
use crate::crypto::{CryptoError, SharedSecret};

/// What a hybrid is made of.
pub(super) struct Hybrid {
    kex: Kex,
    kem: &'static Encoding,
    dh: &'static Encoding,
}

impl Hybrid {
    pub(super) const X25519_ML_KEM_768: Self =
        Self { kex: Kex::X25519MlKem768, kem: Encoding::ML_KEM_768, dh: Encoding::X25519 };
    pub(super) const X448_ML_KEM_1024: Self =
        Self { kex: Kex::X448MlKem1024, kem: Encoding::ML_KEM_1024, dh: Encoding::X448 };

    /// The row that computes it with these two.
    pub(super) const fn of(self, kem: &'static dyn KeyExchange, dh: &'static dyn KeyExchange) -> Row {
        Row { hybrid: self, kem, dh }
    }
}

/// A row of a backend.
pub(super) struct Row {
    hybrid: Hybrid,
    kem: &'static dyn KeyExchange,
    dh: &'static dyn KeyExchange,
}

struct Pair {
    kem: Box<dyn PrivateKey>,
    dh: Box<dyn PrivateKey>,
    dh_encoding: &'static Encoding,
    public: Vec<u8>,
}

impl Row {
    fn pair(&self, kem: Box<dyn PrivateKey>, dh: Box<dyn PrivateKey>) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let public = [self.hybrid.kem.unwrap(kem.public())?, self.hybrid.dh.unwrap(dh.public())?].concat();
        Ok(Box::new(Pair { kem, dh, dh_encoding: self.hybrid.dh, public }))
    }
}

impl KeyExchange for Row {
    fn kex(&self) -> Kex {
        self.hybrid.kex
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let kem = self.kem.generate(rng)?;
        self.pair(kem, self.dh.generate(rng)?)
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError> {
        // Of the curve a private key is as long as a public one.
        let (kem, dh) = split_behind(private, self.hybrid.dh).ok_or(CryptoError::InvalidPrivateKey)?;
        self.pair(self.kem.import(kem)?, self.dh.import(dh)?)
    }

    fn respond(&self, peer: &[u8], rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, SharedSecret), CryptoError> {
        let parts = split_behind(peer, self.hybrid.dh);
        let wrapped = parts.and_then(|(kem, dh)| Some((self.hybrid.kem.wrap(kem)?, self.hybrid.dh.wrap(dh)?)));
        let (kem, dh) = wrapped.ok_or(CryptoError::InvalidPublicKey)?;
        let (mut field, first) = self.kem.respond(&kem, rng)?;
        let (public, second) = self.dh.respond(&dh, rng)?;
        field.extend_from_slice(self.hybrid.dh.unwrap(&public)?);
        Ok((field, SharedSecret::joined(&first, &second)))
    }
}

impl PrivateKey for Pair {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(&self, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        let (ciphertext, public) = split_behind(peer, self.dh_encoding).ok_or(CryptoError::InvalidCiphertext)?;
        let first = self.kem.agree(ciphertext)?;
        let public = self.dh_encoding.wrap(public).ok_or(CryptoError::InvalidCiphertext)?;
        Ok(SharedSecret::joined(&first, &self.dh.agree(&public)?))
    }
}

/// What is in front of a key of this kind, and the key.
fn split_behind<'a>(bytes: &'a [u8], last: &Encoding) -> Option<(&'a [u8], &'a [u8])> {
    bytes.split_at_checked(bytes.len().checked_sub(last.key_len())?)
}
