//! RSA: PKCS #1 v1.5 for messages and certificates, PSS for certificates alone.
//!
//! Nothing is ever decrypted, and signing is blinded with the caller's randomness. Of a private key, the implementation leaves
//! copies of the primes in memory that it has given back: it wipes the key itself, and not all that it computes with.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey, EncodeRsaPublicKey};
use rsa::{Pkcs1v15Sign, PrivateKey, PublicKey};

use super::{Algorithm, KeyError, KeyKind, MAX_RSA_BITS, MIN_RSA_BITS, SecretKey, SignError, hashed};
use crate::crypto::der;
use crate::crypto::suite::Digest;

pub(super) struct Pkcs1;

/// Checks modulus and exponent by their bytes alone.
fn check(n: &[u8], e: &[u8]) -> Result<(), KeyError> {
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(KeyError::RsaSize { bits });
    }
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    // Anything up to 32 bits, but not 1, which would sign nothing.
    if !odd(n) || !odd(e) || e.len() > 4 || e == [1] { Err(KeyError::RsaExponent) } else { Ok(()) }
}

fn check_encoded(key: &[u8]) -> Result<(), KeyError> {
    fn numbers(key: &[u8]) -> Option<(&[u8], &[u8])> {
        let mut content = der::only(key, der::SEQUENCE)?;
        let n = der::unsigned(der::take(&mut content, der::INTEGER)?)?;
        Some((n, der::unsigned(der::only(content, der::INTEGER)?)?))
    }
    let (n, e) = numbers(key).ok_or(KeyError::Malformed)?;
    check(n, e)
}

fn read(key: &[u8]) -> Result<PublicKey, KeyError> {
    check_encoded(key)?;
    PublicKey::from_pkcs1_der(key).map_err(|_| KeyError::Malformed)
}

/// The padding for a hash: the beginning of a DigestInfo, up to the hash itself.
fn padding(digest: Digest) -> Option<Pkcs1v15Sign> {
    let id = match digest {
        Digest::Sha256 => 1,
        Digest::Sha384 => 2,
        Digest::Sha512 => 3,
        Digest::Sha3_256 => 8,
        Digest::Sha3_384 => 9,
        Digest::Sha3_512 => 10,
        Digest::Blake2s256 | Digest::Blake2b512 => return None,
    };
    let len = digest.len() as u8;
    let prefix = [
        &[0x30, 17 + len, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, id][..],
        &[5, 0, der::OCTET_STRING, len],
    ];
    Some(Pkcs1v15Sign { hash_len: Some(digest.len()), prefix: prefix.concat().into() })
}

impl Algorithm for Pkcs1 {
    fn kind(&self) -> KeyKind {
        KeyKind::Rsa
    }

    fn check(&self, key: &[u8]) -> Result<(), KeyError> {
        check_encoded(key)
    }

    fn verify(&self, key: &[u8], digest: Option<Digest>, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        let digest = digest.unwrap_or(Digest::Sha256);
        let padding = padding(digest).ok_or(SignError::Digest { key: KeyKind::Rsa, digest })?;
        let hash = hashed(Some(digest), message)?;
        read(key)?.verify(padding, &hash, signature).map_err(|_| SignError::Forged)
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn SecretKey>, KeyError> {
        check_private(private)?;
        // What is read is checked: the primes make the modulus, and the exponents are each other's inverse.
        let key = PrivateKey::from_pkcs1_der(private).map_err(|_| KeyError::Inconsistent)?;
        key.validate().map_err(|_| KeyError::Inconsistent)?;
        Ok(Box::new(Secret(Box::new(key))))
    }
}

/// Checks the public part of a private key, whose sizes decide what everything costs.
fn check_private(private: &[u8]) -> Result<(), KeyError> {
    fn numbers(private: &[u8]) -> Option<(&[u8], &[u8])> {
        let mut content = der::only(private, der::SEQUENCE)?;
        // Two primes are version 0; with more of them there is another structure behind.
        (der::take(&mut content, der::INTEGER)? == [0]).then_some(())?;
        let n = der::unsigned(der::take(&mut content, der::INTEGER)?)?;
        let e = der::unsigned(der::take(&mut content, der::INTEGER)?)?;
        // None of the others is longer than the modulus.
        while let Some(other) = der::take(&mut content, der::INTEGER) {
            (other.len() <= n.len() + 1).then_some(())?;
        }
        content.is_empty().then_some((n, e))
    }
    let (n, e) = numbers(private).ok_or(KeyError::Malformed)?;
    check(n, e)
}

struct Secret(Box<PrivateKey>);

impl SecretKey for Secret {
    fn public(&self) -> Vec<u8> {
        self.0.as_public_key().to_pkcs1_der().map(|der| der.as_bytes().to_vec()).unwrap_or_default()
    }

    fn sign(&self, message: &[u8], digest: Option<Digest>, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        let digest = digest.unwrap_or(Digest::Sha256);
        let padding = padding(digest).ok_or(SignError::Digest { key: KeyKind::Rsa, digest })?;
        let hash = hashed(Some(digest), message)?;
        self.0.sign_with_rng(rng, padding, &hash).map_err(|_| KeyError::Inconsistent.into())
    }
}

/// Verifies a signature with the padding PSS, by a key in the form of PKCS #1, with a salt as long as the hash, which both of its
/// steps use. Certificates may be signed so; messages are not.
///
/// # Errors
/// [`SignError`]; only SHA-2 is supported.
pub fn verify_pss(key: &[u8], digest: Digest, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
    let (key, hash) = (read(key)?, hashed(Some(digest), message)?);
    let verified = match digest {
        Digest::Sha256 => key.verify(rsa::Pss::<sha2::Sha256>::new_with_salt(32), &hash, signature),
        Digest::Sha384 => key.verify(rsa::Pss::<sha2::Sha384>::new_with_salt(48), &hash, signature),
        Digest::Sha512 => key.verify(rsa::Pss::<sha2::Sha512>::new_with_salt(64), &hash, signature),
        _ => return Err(SignError::Digest { key: KeyKind::Rsa, digest }),
    };
    verified.map_err(|_| SignError::Forged)
}
