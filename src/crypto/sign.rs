//! Signatures: public keys, private ones, and signers that live elsewhere.
//!
//! A key says itself of which [kind](KeyKind) it is; kind and digest together say what is signed:
//!
//! | key | no digest named | a digest named | signature |
//! |---|---|---|---|
//! | ECDSA P-256, P-384, P-521 | SHA-256 | that one | DER, two integers; a large `s` is as good as a small one |
//! | RSA, 2048 to 8192 bits | SHA-256 | that one, but not BLAKE2 | PKCS #1 v1.5, as long as the modulus |
//! | Ed25519, Ed448 | pure | fails | 64 or 114 bytes |
//! | ML-DSA-44, -65, -87 | pure, no context | ignored | 2420, 3309 or 4627 bytes |
//! | SLH-DSA-SHA2-128s, -128f | pure, no context | ignored | 7856 or 17088 bytes |
//!
//! Each family has a feature: `sign-ecdsa`, `sign-rsa`, `sign-ed25519`, `sign-ed448`, `sign-ml-dsa`, which are on by default, and
//! `sign-slh-dsa`. What is refused is refused before it costs anything: sizes and exponents of RSA keys before the first
//! multiplication, points that are none, encodings that are not the only one.
//!
//! Private keys are wiped when they are dropped. Of an RSA key its implementation leaves copies behind.
//!
//! Signatures of ECDSA, ML-DSA and SLH-DSA are hedged: what is drawn from the caller's generator makes them differ each time,
//! and a bad generator does not give the key away. Those of Edwards curves are the same each time, and RSA is blinded.
//!
//! ```
//! use o7s::base::rng::Rng;
//! use o7s::crypto::sign::{PrivateKey, PublicKey, SignError, Signer};
//! use o7s::crypto::suite::Digest;
//!
//! // An Ed25519 key as `openssl genpkey` writes it.
//! let pem = "-----BEGIN PRIVATE KEY-----
//! MC4CAQAwBQYDK2VwBCIEIJzrSTscuHnpmmV2F/WuSB3VKOdRqru+x00KiNDyXr8O
//! -----END PRIVATE KEY-----
//! ";
//! let key = PrivateKey::from_pem(pem.as_bytes())?;
//! let mut rng = Rng::from_seed([7; 32]);
//! let signature = key.sign(b"message", None, &mut rng)?;
//!
//! // The other end has the public key, as SubjectPublicKeyInfo.
//! let public = PublicKey::from_spki(key.public_key().spki())?;
//! public.verify(b"message", None, &signature)?;
//! assert_eq!(public.verify(b"another", None, &signature), Err(SignError::Forged));
//! assert!(public.verify(b"message", Some(Digest::Sha256), &signature).is_err(), "it takes no digest");
//! # Ok::<(), SignError>(())
//! ```

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use rand_core::CryptoRng;

#[cfg(any(feature = "sign-ecdsa", feature = "sign-rsa"))]
use super::hash::DigestOutput;
use super::suite::Digest;
use super::{der, hash};

#[cfg(feature = "sign-ecdsa")]
mod ecdsa;
#[cfg(feature = "sign-ed25519")]
mod ed25519;
#[cfg(feature = "sign-ed448")]
mod ed448;
mod error;
#[cfg(feature = "sign-ml-dsa")]
mod ml_dsa;
mod private;
#[cfg(feature = "sign-rsa")]
mod rsa;
#[cfg(feature = "sign-slh-dsa")]
mod slh_dsa;

pub use error::{KeyError, SignError};
pub use private::PrivateKey;
#[cfg(feature = "sign-rsa")]
pub use rsa::verify_pss;

/// Bits that an RSA key has at least.
pub const MIN_RSA_BITS: usize = 2048;
/// Bits that an RSA key has at most: twice as many cost a verifier four times as much.
pub const MAX_RSA_BITS: usize = 8192;

/// Defines the kinds of keys from a table: name, and content of the AlgorithmIdentifier in a SubjectPublicKeyInfo.
macro_rules! kinds {
    ($($(#[$doc:meta])* $Variant:ident = $name:literal, $id:literal;)+) => {
        /// Kind of a key: algorithm and parameters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum KeyKind {
            $($(#[$doc])* $Variant,)+
        }

        impl KeyKind {
            /// All that the protocol knows, whether or not this build can use them.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),+];

            /// The name of the kind.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)+
                }
            }

            /// Content of the AlgorithmIdentifier that stands in front of a key of this kind.
            pub(super) const fn id(self) -> &'static [u8] {
                match self {
                    $(Self::$Variant => $id,)+
                }
            }
        }
    };
}

kinds! {
    /// ECDSA on NIST P-256.
    EcdsaP256 = "ECDSA P-256", b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    /// ECDSA on NIST P-384.
    EcdsaP384 = "ECDSA P-384", b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
    /// ECDSA on NIST P-521.
    EcdsaP521 = "ECDSA P-521", b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23";
    /// RSA, of any size that is allowed.
    Rsa = "RSA", b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    /// Ed25519, RFC 8032.
    Ed25519 = "Ed25519", b"\x06\x03\x2b\x65\x70";
    /// Ed448, RFC 8032.
    Ed448 = "Ed448", b"\x06\x03\x2b\x65\x71";
    /// ML-DSA-44, FIPS 204.
    MlDsa44 = "ML-DSA-44", b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11";
    /// ML-DSA-65.
    MlDsa65 = "ML-DSA-65", b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12";
    /// ML-DSA-87.
    MlDsa87 = "ML-DSA-87", b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x13";
    /// SLH-DSA with SHA-2 and small signatures, FIPS 205.
    SlhDsaSha2_128s = "SLH-DSA-SHA2-128s", b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x14";
    /// SLH-DSA with SHA-2, faster and with larger signatures.
    SlhDsaSha2_128f = "SLH-DSA-SHA2-128f", b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x15";
}

impl KeyKind {
    /// Returns `true` if this build can verify signatures of it.
    pub fn is_available(self) -> bool {
        algorithm(self).is_ok()
    }

    /// The hash that a message is signed by, if `named` is the digest of its sender; `None`: the message as it is.
    ///
    /// # Errors
    /// [`SignError::Digest`]: the two do not go together; [`SignError::DigestUnavailable`]: this build does not have the hash.
    pub fn digest(self, named: Option<Digest>) -> Result<Option<Digest>, SignError> {
        match (self, named) {
            (Self::Rsa, Some(digest @ (Digest::Blake2s256 | Digest::Blake2b512)))
            | (Self::Ed25519 | Self::Ed448, Some(digest)) => Err(SignError::Digest { key: self, digest }),
            (Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 | Self::Rsa, named) => {
                let digest = named.unwrap_or(Digest::Sha256);
                if digest.is_available() { Ok(Some(digest)) } else { Err(SignError::DigestUnavailable(digest)) }
            }
            _ => Ok(None),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row of the table of signature algorithms.
pub(super) trait Algorithm: Send + Sync {
    /// Kind of keys that it is for.
    fn kind(&self) -> KeyKind;

    /// Whether these are exactly the bytes of a public key that may be used. Cheap beside a verification.
    fn check(&self, key: &[u8]) -> Result<(), KeyError>;

    /// Verifies a signature. `digest` is what [`KeyKind::digest`] says.
    fn verify(&self, key: &[u8], digest: Option<Digest>, message: &[u8], signature: &[u8]) -> Result<(), SignError>;

    /// The private key in the octets of a PKCS #8 structure.
    fn import(&self, private: &[u8]) -> Result<Box<dyn SecretKey>, KeyError>;
}

/// A private key in memory, which is wiped when it is dropped.
pub(super) trait SecretKey: Send + Sync {
    /// Bytes of the public key, as they are in the BIT STRING of a SubjectPublicKeyInfo.
    fn public(&self) -> Vec<u8>;

    /// Signs a message. `digest` is what [`KeyKind::digest`] says.
    fn sign(&self, message: &[u8], digest: Option<Digest>, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError>;
}

/// The algorithms of this build.
static ALGORITHMS: &[&dyn Algorithm] = &[
    #[cfg(feature = "sign-ecdsa")]
    &ecdsa::P256,
    #[cfg(feature = "sign-ecdsa")]
    &ecdsa::P384,
    #[cfg(feature = "sign-ecdsa")]
    &ecdsa::P521,
    #[cfg(feature = "sign-ed25519")]
    &ed25519::Ed25519,
    #[cfg(feature = "sign-rsa")]
    &rsa::Pkcs1,
    #[cfg(feature = "sign-ed448")]
    &ed448::Ed448,
    #[cfg(feature = "sign-ml-dsa")]
    &ml_dsa::ML_DSA_44,
    #[cfg(feature = "sign-ml-dsa")]
    &ml_dsa::ML_DSA_65,
    #[cfg(feature = "sign-ml-dsa")]
    &ml_dsa::ML_DSA_87,
    #[cfg(feature = "sign-slh-dsa")]
    &slh_dsa::SHA2_128S,
    #[cfg(feature = "sign-slh-dsa")]
    &slh_dsa::SHA2_128F,
];

/// The hash of a message, by what [`KeyKind::digest`] says.
#[cfg(any(feature = "sign-ecdsa", feature = "sign-rsa"))]
fn hashed(digest: Option<Digest>, message: &[u8]) -> Result<DigestOutput, SignError> {
    let digest = digest.unwrap_or(Digest::Sha256);
    // Certificates are verified without asking `KeyKind::digest`.
    hash::try_digest(digest, &[message]).map_err(|_| SignError::DigestUnavailable(digest))
}

/// The implementation for keys of a kind.
pub(super) fn algorithm(kind: KeyKind) -> Result<&'static dyn Algorithm, KeyError> {
    let found = ALGORITHMS.iter().find(|row| row.kind() == kind);
    found.copied().ok_or(KeyError::Unavailable(kind))
}

/// A public key: the bytes of a SubjectPublicKeyInfo, checked.
///
/// Two are equal if their bytes are, which is what a pin compares. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    spki: Arc<[u8]>,
    /// Place of the key's own bytes.
    key: Range<usize>,
}

impl PublicKey {
    /// The key in a SubjectPublicKeyInfo (RFC 5280, DER).
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let (kind, key) = Self::split(der)?;
        algorithm(kind)?.check(key)?;
        Ok(Self { kind, spki: der.into(), key: der.len() - key.len()..der.len() })
    }

    /// The key of a kind with these bytes in its BIT STRING.
    pub(super) fn new(kind: KeyKind, key: &[u8]) -> Result<Self, KeyError> {
        let algorithm = der::element(der::SEQUENCE, &[kind.id()]);
        Self::from_spki(&der::element(der::SEQUENCE, &[&algorithm, &der::element(der::BIT_STRING, &[&[0], key])]))
    }

    /// The kind of a key, and its own bytes, which are the last ones.
    fn split(der: &[u8]) -> Result<(KeyKind, &[u8]), KeyError> {
        let mut content = der::only(der, der::SEQUENCE).ok_or(KeyError::Malformed)?;
        let id = der::take(&mut content, der::SEQUENCE).ok_or(KeyError::Malformed)?;
        let bits = der::only(content, der::BIT_STRING).ok_or(KeyError::Malformed)?;
        let kind = KeyKind::ALL.iter().find(|kind| kind.id() == id).ok_or(KeyError::Unknown)?;
        Ok((*kind, der::bits(bits).ok_or(KeyError::Malformed)?))
    }

    /// Kind of the key.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key as SubjectPublicKeyInfo, byte for byte as it was given.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The bytes in the BIT STRING.
    pub(super) fn key(&self) -> &[u8] {
        self.spki.get(self.key.clone()).unwrap_or_default()
    }

    /// Verifies the signature of a message. `digest` is the one that its sender named.
    ///
    /// # Errors
    /// [`SignError::Digest`] or [`SignError::Forged`].
    pub fn verify(&self, message: &[u8], digest: Option<Digest>, signature: &[u8]) -> Result<(), SignError> {
        let digest = self.kind.digest(digest)?;
        algorithm(self.kind)?.verify(self.key(), digest, message, signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {:?})", self.kind, hash::digest(Digest::Sha256, &[&self.spki]))
    }
}

/// Who signs with a private key: a [`PrivateKey`] in memory, an agent, a smart card or a security module.
///
/// It may take its time, so that nothing is locked while it is called; where a stack must not wait, it should not be one that
/// does.
pub trait Signer: Send + Sync {
    /// Public key that belongs to it.
    fn public_key(&self) -> &PublicKey;

    /// Signs a message. `digest` is the one that is named in it; `rng` is for signatures that need chance.
    ///
    /// # Errors
    /// [`SignError::Digest`] if the key does not go with it; [`SignError::Signer`] if whoever has the key does not answer.
    fn sign(&self, message: &[u8], digest: Option<Digest>, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What matters in a build with few features; in one with all there is nothing that is not available.
    #[test]
    fn what_is_not_built_is_refused_by_its_name() {
        for &digest in Digest::ALL.iter().filter(|digest| !digest.is_available()) {
            let unavailable = SignError::DigestUnavailable(digest);
            for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521] {
                assert_eq!(kind.digest(Some(digest)), Err(unavailable.clone()));
            }
            assert!(KeyKind::Rsa.digest(Some(digest)).is_err());
            assert_eq!(KeyKind::MlDsa65.digest(Some(digest)), Ok(None), "which takes the message as it is");
            #[cfg(any(feature = "sign-ecdsa", feature = "sign-rsa"))]
            assert_eq!(hashed(Some(digest), b""), Err(unavailable));
        }
        assert_eq!(KeyKind::EcdsaP521.digest(None), Ok(Some(Digest::Sha256)));
        for &kind in KeyKind::ALL {
            assert_eq!(kind.is_available(), PublicKey::new(kind, b"") != Err(KeyError::Unavailable(kind)), "{kind}");
        }
    }
}
