//! ML-KEM, FIPS 203, as half of a hybrid. Keys and secrets come from AWS-LC's own generator: it has no interface to be given them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use aws_lc_rs::kem::{self, Algorithm, DecapsulationKey, EncapsulationKey};
use rand_core::CryptoRng;

use crate::crypto::backend::agreement::ml_kem as rust;
use crate::crypto::backend::{KeyExchange, PrivateKey};
use crate::crypto::kex::Encoding;
use crate::crypto::suite::Kex;
use crate::crypto::{CryptoError, SharedSecret};

/// One of the parameter sets.
pub(super) struct MlKem {
    kex: Kex,
    algorithm: &'static Algorithm,
    encoding: &'static Encoding,
    /// Reads a private key in any of its forms. AWS-LC takes expanded keys alone, unchecked, and does not tell their public half.
    read: fn(&[u8]) -> Result<rust::Expanded, CryptoError>,
}

#[cfg(feature = "kex-x25519")]
pub(super) static ML_KEM_768: MlKem = MlKem {
    kex: Kex::MlKem768,
    algorithm: &kem::ML_KEM_768,
    encoding: Encoding::ML_KEM_768,
    read: |private| rust::ML_KEM_768.expanded(private),
};
#[cfg(feature = "kex-x448")]
pub(super) static ML_KEM_1024: MlKem = MlKem {
    kex: Kex::MlKem1024,
    algorithm: &kem::ML_KEM_1024,
    encoding: Encoding::ML_KEM_1024,
    read: |private| rust::ML_KEM_1024.expanded(private),
};

struct Decapsulation {
    secret: DecapsulationKey,
    public: Vec<u8>,
}

impl KeyExchange for MlKem {
    fn kex(&self) -> Kex {
        self.kex
    }

    fn generate(&self, _: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let secret = DecapsulationKey::generate(self.algorithm).map_err(|_| CryptoError::InvalidPrivateKey)?;
        let key = secret.encapsulation_key().and_then(|key| key.key_bytes());
        let key = key.map_err(|_| CryptoError::InvalidPrivateKey)?;
        let public = self.encoding.wrap(key.as_ref()).ok_or(CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(Decapsulation { secret, public }))
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let rust::Expanded { private, public } = (self.read)(private)?;
        let secret = DecapsulationKey::new(self.algorithm, &private).map_err(|_| CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(Decapsulation { secret, public }))
    }

    fn respond(&self, peer: &[u8], _: &mut dyn CryptoRng) -> Result<(Vec<u8>, SharedSecret), CryptoError> {
        let key = EncapsulationKey::new(self.algorithm, self.encoding.unwrap(peer)?);
        let key = key.map_err(|_| CryptoError::InvalidPublicKey)?;
        // Fails for a key with a coefficient that is not reduced.
        let (ciphertext, secret) = key.encapsulate().map_err(|_| CryptoError::InvalidPublicKey)?;
        Ok((ciphertext.as_ref().to_vec(), SharedSecret::copy_of(secret.as_ref())))
    }
}

impl PrivateKey for Decapsulation {
    fn public(&self) -> &[u8] {
        &self.public
    }

    /// A ciphertext that was not made for this key leads to a secret that nobody has.
    fn agree(&self, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        let secret = self.secret.decapsulate(peer.into()).map_err(|_| CryptoError::InvalidCiphertext)?;
        Ok(SharedSecret::copy_of(secret.as_ref()))
    }
}
