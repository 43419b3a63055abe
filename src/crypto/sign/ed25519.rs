//! Ed25519, without the leniency that lets implementations differ.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, KeyKind, SecretKey, SignError};
use crate::crypto::der;
use crate::crypto::suite::Digest;

pub(super) struct Ed25519;

fn read(key: &[u8]) -> Result<VerifyingKey, KeyError> {
    let bytes = key.try_into().map_err(|_| KeyError::Malformed)?;
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Malformed)?;
    if key.is_weak() { Err(KeyError::SmallOrder) } else { Ok(key) }
}

impl Algorithm for Ed25519 {
    fn kind(&self) -> KeyKind {
        KeyKind::Ed25519
    }

    fn check(&self, key: &[u8]) -> Result<(), KeyError> {
        read(key).map(drop)
    }

    fn verify(&self, key: &[u8], _: Option<Digest>, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        let signature = Signature::from_slice(signature).map_err(|_| SignError::Forged)?;
        read(key)?.verify_strict(message, &signature).map_err(|_| SignError::Forged)
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn SecretKey>, KeyError> {
        let seed = der::only(private, der::OCTET_STRING).ok_or(KeyError::Malformed)?;
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).map_err(|_| KeyError::Malformed)?);
        Ok(Box::new(Secret(SigningKey::from_bytes(&seed))))
    }
}

struct Secret(SigningKey);

impl SecretKey for Secret {
    fn public(&self) -> Vec<u8> {
        self.0.verifying_key().as_bytes().to_vec()
    }

    fn sign(&self, message: &[u8], _: Option<Digest>, _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }
}
