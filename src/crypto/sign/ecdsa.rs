//! ECDSA on the curves of NIST.

use alloc::boxed::Box;
use alloc::vec::Vec;

use p256::ecdsa::signature::hazmat::{PrehashVerifier, RandomizedPrehashSigner};
use rand_core::CryptoRng;

use super::{Algorithm, KeyError, KeyKind, SecretKey, SignError, hashed};
use crate::crypto::der;
use crate::crypto::suite::Digest;

/// Tags in a private key: the curve, and the public key.
const CURVE: u8 = 0xa0;
const PUBLIC: u8 = 0xa1;

/// Defines the row of a curve. Each crate has the same types for its own.
macro_rules! curve {
    ($Row:ident, $Secret:ident, $krate:ident, $kind:expr) => {
        pub(super) struct $Row;

        impl Algorithm for $Row {
            fn kind(&self) -> KeyKind {
                $kind
            }

            fn check(&self, key: &[u8]) -> Result<(), KeyError> {
                // The compressed form would be another encoding of the same key.
                let uncompressed = key.first() == Some(&4);
                let point = $krate::ecdsa::VerifyingKey::from_sec1_bytes(key);
                if uncompressed && point.is_ok() { Ok(()) } else { Err(KeyError::Malformed) }
            }

            fn verify(
                &self,
                key: &[u8],
                digest: Option<Digest>,
                message: &[u8],
                signature: &[u8],
            ) -> Result<(), SignError> {
                let key = $krate::ecdsa::VerifyingKey::from_sec1_bytes(key).map_err(|_| KeyError::Malformed)?;
                let signature = $krate::ecdsa::Signature::from_der(signature).map_err(|_| SignError::Forged)?;
                let hash = hashed(digest, message)?;
                key.verify_prehash(&hash, &signature).map_err(|_| SignError::Forged)
            }

            fn import(&self, private: &[u8]) -> Result<Box<dyn SecretKey>, KeyError> {
                let parts = Parts::read(private, $kind)?;
                let key = $krate::ecdsa::SigningKey::from_slice(parts.scalar).map_err(|_| KeyError::Malformed)?;
                let key = Box::new($Secret(key));
                parts.belongs_to(&key.public())?;
                Ok(key)
            }
        }

        struct $Secret($krate::ecdsa::SigningKey);

        impl SecretKey for $Secret {
            fn public(&self) -> Vec<u8> {
                self.0.verifying_key().to_sec1_point(false).as_bytes().to_vec()
            }

            fn sign(
                &self,
                message: &[u8],
                digest: Option<Digest>,
                rng: &mut dyn CryptoRng,
            ) -> Result<Vec<u8>, SignError> {
                let hash = hashed(digest, message)?;
                let signature: $krate::ecdsa::Signature =
                    self.0.sign_prehash_with_rng(rng, &hash).map_err(|_| KeyError::Malformed)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
        }
    };
}

curve!(P256, SecretP256, p256, KeyKind::EcdsaP256);
curve!(P384, SecretP384, p384, KeyKind::EcdsaP384);
curve!(P521, SecretP521, p521, KeyKind::EcdsaP521);

/// A private key of RFC 5915: version, scalar, curve and public key; the last two may be missing.
pub(super) struct Parts<'a> {
    scalar: &'a [u8],
    /// Content of the OID of the curve.
    curve: Option<&'a [u8]>,
    public: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// What is in the bytes, for whatever curve.
    fn parse(private: &'a [u8]) -> Option<Self> {
        let mut content = der::only(private, der::SEQUENCE)?;
        (der::take(&mut content, der::INTEGER)? == [1]).then_some(())?;
        let scalar = der::take(&mut content, der::OCTET_STRING)?;
        let curve = der::take(&mut content, CURVE);
        let public = match der::take(&mut content, PUBLIC) {
            Some(public) => Some(der::bits(der::only(public, der::BIT_STRING)?)?),
            None => None,
        };
        content.is_empty().then_some(Self { scalar, curve, public })
    }

    fn read(private: &'a [u8], kind: KeyKind) -> Result<Self, KeyError> {
        let parts = Self::parse(private).ok_or(KeyError::Malformed)?;
        match parts.curve {
            Some(curve) if !kind.id().ends_with(curve) => Err(KeyError::Inconsistent),
            _ => Ok(parts),
        }
    }

    fn belongs_to(&self, public: &[u8]) -> Result<(), KeyError> {
        match self.public {
            Some(stored) if stored != public => Err(KeyError::Inconsistent),
            _ => Ok(()),
        }
    }
}

/// The kind of a private key that stands alone, outside of PKCS #8: it must name its curve.
pub(super) fn kind_of(private: &[u8]) -> Result<KeyKind, KeyError> {
    let curve = Parts::parse(private).and_then(|parts| parts.curve).ok_or(KeyError::Malformed)?;
    let curves = [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521];
    curves.into_iter().find(|kind| kind.id().ends_with(curve)).ok_or(KeyError::Unknown)
}
