//! ML-DSA, FIPS 204: pure, with an empty context.
//!
//! A private key is a seed of 32 bytes, or what was computed from it, or both (RFC 9881). OpenSSL writes both, the
//! implementation reads seeds only, and others keep nothing but the expanded form: all are read here, and whatever is there
//! must belong together.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ml_dsa::{
    ExpandedSigningKey, ExpandedSigningKeyBytes, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Signature, VerifyingKey,
};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, KeyKind, SecretKey, SignError};
use crate::crypto::der;
use crate::crypto::suite::Digest;

/// Tag of a seed that is alone: the first choice, implicitly.
const SEED: u8 = 0x80;
/// Bytes of a seed.
const SEED_LEN: usize = 32;

/// A parameter set.
pub(super) struct MlDsa<P> {
    kind: KeyKind,
    /// Largest coefficient of the secret vectors.
    eta: u8,
    /// Polynomials in the secret vectors, together.
    secrets: usize,
    parameters: core::marker::PhantomData<fn() -> P>,
}

impl<P> MlDsa<P> {
    const fn new(kind: KeyKind, eta: u8, secrets: usize) -> Self {
        Self { kind, eta, secrets, parameters: core::marker::PhantomData }
    }

    /// Whether the secret vectors in an expanded key have coefficients that they can have: the implementation panics at others.
    fn in_range(&self, expanded: &[u8]) -> bool {
        // Seed of the matrix, key and hash; then 256 coefficients each, eta minus the value, in as many bits as twice eta takes.
        let bits = usize::from(if self.eta == 2 { 3u8 } else { 4 });
        let Some(packed) = expanded.get(128..128 + self.secrets * 32 * bits) else { return false };
        packed.chunks_exact(bits).all(|group| {
            let all = group.iter().rev().fold(0u32, |all, byte| all << 8 | u32::from(*byte));
            (0..8).all(|n| (all >> (n * bits)) & ((1 << bits) - 1) <= u32::from(self.eta) * 2)
        })
    }
}

pub(super) static ML_DSA_44: MlDsa<MlDsa44> = MlDsa::new(KeyKind::MlDsa44, 2, 8);
pub(super) static ML_DSA_65: MlDsa<MlDsa65> = MlDsa::new(KeyKind::MlDsa65, 4, 11);
pub(super) static ML_DSA_87: MlDsa<MlDsa87> = MlDsa::new(KeyKind::MlDsa87, 2, 15);

impl<P: MlDsaParams + Send + Sync + 'static> Algorithm for MlDsa<P> {
    fn kind(&self) -> KeyKind {
        self.kind
    }

    fn check(&self, key: &[u8]) -> Result<(), KeyError> {
        // Every string of the right length is a key.
        <&ml_dsa::EncodedVerifyingKey<P>>::try_from(key).map(drop).map_err(|_| KeyError::Malformed)
    }

    fn verify(&self, key: &[u8], _: Option<Digest>, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        let signature = Signature::<P>::try_from(signature).map_err(|_| SignError::Forged)?;
        let key = <&ml_dsa::EncodedVerifyingKey<P>>::try_from(key).map_err(|_| KeyError::Malformed)?;
        let good = VerifyingKey::<P>::decode(key).verify_with_context(message, &[], &signature);
        if good { Ok(()) } else { Err(SignError::Forged) }
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn SecretKey>, KeyError> {
        let (seed, expanded) = halves(private).ok_or(KeyError::Malformed)?;
        let key = match (seed, expanded) {
            (Some(seed), expanded) => {
                let seed = seed.try_into().map_err(|_| KeyError::Malformed)?;
                let key = Box::new(ExpandedSigningKey::<P>::from_seed(seed));
                if let Some(expanded) = expanded {
                    belongs_to(&key, expanded)?;
                }
                key
            }
            (None, Some(expanded)) => self.import_expanded(expanded)?,
            (None, None) => return Err(KeyError::Malformed),
        };
        Ok(Box::new(Secret(key)))
    }
}

impl<P: MlDsaParams> MlDsa<P> {
    /// A key of which the seed is lost.
    #[allow(deprecated, reason = "the key file has no seed, and its content is checked")]
    fn import_expanded(&self, expanded: &[u8]) -> Result<Box<ExpandedSigningKey<P>>, KeyError> {
        let bytes = <&ExpandedSigningKeyBytes<P>>::try_from(expanded).map_err(|_| KeyError::Malformed)?;
        if !self.in_range(expanded) {
            return Err(KeyError::Malformed);
        }
        let key = Box::new(ExpandedSigningKey::<P>::from_expanded(bytes));
        // Its hash of the public key and the low bits of the public vector cannot be seen to be right other than by use.
        let signature = key.sign_deterministic(b"", &[]).map_err(|_| KeyError::Inconsistent)?;
        let good = key.verifying_key().verify_with_context(b"", &[], &signature);
        if good { Ok(key) } else { Err(KeyError::Inconsistent) }
    }
}

/// Seed and expanded key, of which there is one at least.
type Halves<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn halves(private: &[u8]) -> Option<Halves<'_>> {
    if let Some(seed) = der::only(private, SEED) {
        return Some((Some(seed), None));
    }
    if let Some(expanded) = der::only(private, der::OCTET_STRING) {
        return Some((None, Some(expanded)));
    }
    let mut both = der::only(private, der::SEQUENCE)?;
    let seed = der::take(&mut both, der::OCTET_STRING).filter(|seed| seed.len() == SEED_LEN)?;
    Some((Some(seed), Some(der::only(both, der::OCTET_STRING)?)))
}

#[allow(deprecated, reason = "the key file has the expanded form, which is compared")]
fn belongs_to<P: MlDsaParams>(key: &ExpandedSigningKey<P>, expanded: &[u8]) -> Result<(), KeyError> {
    let own = Zeroizing::new(key.to_expanded());
    if bool::from(own.as_slice().ct_eq(expanded)) { Ok(()) } else { Err(KeyError::Inconsistent) }
}

struct Secret<P: MlDsaParams>(Box<ExpandedSigningKey<P>>);

impl<P: MlDsaParams + Send + Sync> SecretKey for Secret<P> {
    fn public(&self) -> Vec<u8> {
        self.0.verifying_key().encode().to_vec()
    }

    fn sign(&self, message: &[u8], _: Option<Digest>, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        let signature = self.0.sign_randomized(message, &[], rng).map_err(|_| KeyError::Inconsistent)?;
        Ok(signature.encode().to_vec())
    }
}
