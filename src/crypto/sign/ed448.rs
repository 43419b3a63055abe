//! Ed448.
//!
//! The last byte of a point has one bit that counts, its sign, and the others are a number below the prime. The implementation
//! reads no more of the last byte, and reduces the number, so that several encodings would pass; here only one does.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ed448_goldilocks::{CompressedEdwardsY, Signature, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, KeyKind, SecretKey, SignError};
use crate::crypto::der;
use crate::crypto::suite::Digest;

/// Bytes of a private key.
const SEED_LEN: usize = 57;

pub(super) struct Ed448;

/// Returns `true` if the bits that no point has are zero, and the number is below the prime, 2⁴⁴⁸ - 2²²⁴ - 1.
fn is_canonical(point: &[u8; 57]) -> bool {
    let [number @ .., sign] = point;
    let (low, high) = number.split_at(28);
    let ones = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0xff);
    let reduced = match high {
        [0xff, rest @ ..] => !ones(rest),
        [0xfe, rest @ ..] => !(ones(rest) && ones(low)),
        _ => true,
    };
    sign & 0x7f == 0 && reduced
}

/// Returns `true` for the numbers of the four points of small order: 0, 1, and -1.
fn is_small(point: &[u8; 57]) -> bool {
    let [first, middle @ .., _] = point;
    let (low, high) = middle.split_at(27);
    match (first, high) {
        (0 | 1, _) => middle.iter().all(|byte| *byte == 0),
        (0xfe, [0xfe, rest @ ..]) => low.iter().chain(rest).all(|byte| *byte == 0xff),
        _ => false,
    }
}

fn encoding(key: &[u8]) -> Result<&[u8; 57], KeyError> {
    let bytes: &[u8; 57] = key.try_into().map_err(|_| KeyError::Malformed)?;
    match bytes {
        bytes if !is_canonical(bytes) => Err(KeyError::Malformed),
        bytes if is_small(bytes) => Err(KeyError::SmallOrder),
        bytes => Ok(bytes),
    }
}

impl Algorithm for Ed448 {
    fn kind(&self) -> KeyKind {
        KeyKind::Ed448
    }

    fn check(&self, key: &[u8]) -> Result<(), KeyError> {
        // Whether it has a part of small order takes a multiplication, which waits until there is a signature to verify.
        let point = CompressedEdwardsY(*encoding(key)?).decompress_unchecked();
        if point.is_some().into() { Ok(()) } else { Err(KeyError::Malformed) }
    }

    fn verify(&self, key: &[u8], _: Option<Digest>, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        let signature = Signature::from_slice(signature).map_err(|_| SignError::Forged)?;
        if !is_canonical(signature.r_bytes()) {
            return Err(SignError::Forged);
        }
        let key = VerifyingKey::from_bytes(encoding(key)?).map_err(|_| KeyError::Malformed)?;
        key.verify_raw(&signature, message).map_err(|_| SignError::Forged)
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn SecretKey>, KeyError> {
        let seed = der::only(private, der::OCTET_STRING).ok_or(KeyError::Malformed)?;
        let seed = Zeroizing::new(<[u8; SEED_LEN]>::try_from(seed).map_err(|_| KeyError::Malformed)?);
        let key = SigningKey::try_from(&seed[..]).map_err(|_| KeyError::Malformed)?;
        Ok(Box::new(Secret(Box::new(key))))
    }
}

struct Secret(Box<SigningKey>);

impl SecretKey for Secret {
    fn public(&self) -> Vec<u8> {
        self.0.verifying_key().as_bytes().to_vec()
    }

    fn sign(&self, message: &[u8], _: Option<Digest>, _: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        Ok(self.0.sign_raw(message).to_bytes().to_vec())
    }
}
