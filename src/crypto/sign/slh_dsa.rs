//! SLH-DSA, FIPS 205: pure, with an empty context.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use slh_dsa::signature::{Keypair, RandomizedSigner, Verifier};
use slh_dsa::{ParameterSet, Sha2_128f, Sha2_128s, Signature, SigningKey, VerifyingKey};

use super::{Algorithm, KeyError, KeyKind, SecretKey, SignError};
use crate::crypto::suite::Digest;

/// A parameter set.
pub(super) struct SlhDsa<P> {
    kind: KeyKind,
    parameters: core::marker::PhantomData<fn() -> P>,
}

impl<P> SlhDsa<P> {
    const fn new(kind: KeyKind) -> Self {
        Self { kind, parameters: core::marker::PhantomData }
    }
}

pub(super) static SHA2_128S: SlhDsa<Sha2_128s> = SlhDsa::new(KeyKind::SlhDsaSha2_128s);
pub(super) static SHA2_128F: SlhDsa<Sha2_128f> = SlhDsa::new(KeyKind::SlhDsaSha2_128f);

impl<P: ParameterSet + Send + Sync + 'static> Algorithm for SlhDsa<P> {
    fn kind(&self) -> KeyKind {
        self.kind
    }

    fn check(&self, key: &[u8]) -> Result<(), KeyError> {
        // Every string of the right length is a key.
        VerifyingKey::<P>::try_from(key).map(drop).map_err(|_| KeyError::Malformed)
    }

    fn verify(&self, key: &[u8], _: Option<Digest>, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        let key = VerifyingKey::<P>::try_from(key).map_err(|_| KeyError::Malformed)?;
        let signature = Signature::<P>::try_from(signature).map_err(|_| SignError::Forged)?;
        key.verify(message, &signature).map_err(|_| SignError::Forged)
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn SecretKey>, KeyError> {
        let key = SigningKey::<P>::try_from(private).map_err(|_| KeyError::Malformed)?;
        let stored = key.verifying_key().to_bytes();
        // The root in a private key is computed from the rest of it; one of another key would give that other key away.
        let own = recompute::<P>(private).ok_or(KeyError::Malformed)?;
        if own != stored.as_slice() {
            return Err(KeyError::Inconsistent);
        }
        Ok(Box::new(Secret(Box::new(key))))
    }
}

/// The public key that belongs to the seeds of a private key.
fn recompute<P: ParameterSet>(private: &[u8]) -> Option<Vec<u8>> {
    let n = private.len() / 4;
    let (seed, rest) = private.split_at_checked(n)?;
    let (prf, rest) = rest.split_at_checked(n)?;
    let key = SigningKey::<P>::slh_keygen_internal(seed, prf, rest.get(..n)?);
    Some(key.verifying_key().to_bytes().to_vec())
}

struct Secret<P: ParameterSet>(Box<SigningKey<P>>);

impl<P: ParameterSet + Send + Sync> SecretKey for Secret<P> {
    fn public(&self) -> Vec<u8> {
        self.0.verifying_key().to_bytes().to_vec()
    }

    fn sign(&self, message: &[u8], _: Option<Digest>, mut rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        let signature = self.0.try_sign_with_rng(&mut rng, message).map_err(|_| KeyError::Inconsistent)?;
        Ok(signature.to_bytes().to_vec())
    }
}
