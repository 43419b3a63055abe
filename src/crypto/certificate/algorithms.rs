//! The algorithms that certificates may be signed by, for the validation of paths.

use core::fmt;

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use crate::crypto::sign::{self, KeyKind, SignError};
use crate::crypto::suite::Digest;

/// A kind of key together with what is signed, and its identifier in a certificate.
struct Row {
    key: KeyKind,
    digest: Option<Digest>,
    /// Content of the AlgorithmIdentifier of the signature.
    id: &'static [u8],
    /// RSA with the padding PSS.
    pss: bool,
}

impl Row {
    const fn new(key: KeyKind, digest: Digest, id: &'static [u8]) -> Self {
        Self { key, digest: Some(digest), id, pss: false }
    }

    /// A kind whose signatures have the identifier of the key.
    const fn pure(key: KeyKind) -> Self {
        Self { key, digest: None, id: key.id(), pss: false }
    }

    const fn pss(digest: Digest, id: &'static [u8]) -> Self {
        Self { key: KeyKind::Rsa, digest: Some(digest), id, pss: true }
    }

    fn verify(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        let algorithm = sign::algorithm(self.key)?;
        algorithm.check(key)?;
        match self.digest {
            #[cfg(feature = "sign-rsa")]
            Some(digest) if self.pss => sign::verify_pss(key, digest, message, signature),
            digest => algorithm.verify(key, digest, message, signature),
        }
    }
}

const ECDSA_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
#[cfg(feature = "sha512")]
const ECDSA_SHA512: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04";
#[cfg(feature = "sha3")]
const ECDSA_SHA3_256: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x0a";
#[cfg(feature = "sha3")]
const ECDSA_SHA3_384: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x0b";
#[cfg(feature = "sha3")]
const ECDSA_SHA3_512: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x0c";
const RSA_SHA256: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
const RSA_SHA384: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00";
#[cfg(feature = "sha512")]
const RSA_SHA512: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00";
#[cfg(feature = "sha3")]
const RSA_SHA3_256: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x0e\x05\x00";
#[cfg(feature = "sha3")]
const RSA_SHA3_384: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x0f\x05\x00";
#[cfg(feature = "sha3")]
const RSA_SHA3_512: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x10\x05\x00";
// The same hash twice, and a salt as long as it.
const PSS_SHA256: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\
\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\
\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20";
const PSS_SHA384: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\
\x03\x04\x02\x02\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\
\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30";
#[cfg(feature = "sha512")]
const PSS_SHA512: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\
\x03\x04\x02\x03\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\
\x04\x02\x03\x05\x00\xa2\x03\x02\x01\x40";

/// The rows, commonest first: they are searched in order. Without a hash, a certificate by it is one by an unknown algorithm.
pub(super) static ALL: &[&dyn SignatureVerificationAlgorithm] = &[
    &Row::new(KeyKind::EcdsaP256, Digest::Sha256, ECDSA_SHA256),
    &Row::pure(KeyKind::Ed25519),
    &Row::pure(KeyKind::MlDsa65),
    &Row::new(KeyKind::Rsa, Digest::Sha256, RSA_SHA256),
    &Row::new(KeyKind::EcdsaP384, Digest::Sha384, ECDSA_SHA384),
    #[cfg(feature = "sha512")]
    &Row::new(KeyKind::EcdsaP521, Digest::Sha512, ECDSA_SHA512),
    &Row::new(KeyKind::EcdsaP256, Digest::Sha384, ECDSA_SHA384),
    #[cfg(feature = "sha512")]
    &Row::new(KeyKind::EcdsaP256, Digest::Sha512, ECDSA_SHA512),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::EcdsaP256, Digest::Sha3_256, ECDSA_SHA3_256),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::EcdsaP256, Digest::Sha3_384, ECDSA_SHA3_384),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::EcdsaP256, Digest::Sha3_512, ECDSA_SHA3_512),
    &Row::new(KeyKind::EcdsaP384, Digest::Sha256, ECDSA_SHA256),
    #[cfg(feature = "sha512")]
    &Row::new(KeyKind::EcdsaP384, Digest::Sha512, ECDSA_SHA512),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::EcdsaP384, Digest::Sha3_256, ECDSA_SHA3_256),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::EcdsaP384, Digest::Sha3_384, ECDSA_SHA3_384),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::EcdsaP384, Digest::Sha3_512, ECDSA_SHA3_512),
    &Row::new(KeyKind::EcdsaP521, Digest::Sha256, ECDSA_SHA256),
    &Row::new(KeyKind::EcdsaP521, Digest::Sha384, ECDSA_SHA384),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::EcdsaP521, Digest::Sha3_256, ECDSA_SHA3_256),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::EcdsaP521, Digest::Sha3_384, ECDSA_SHA3_384),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::EcdsaP521, Digest::Sha3_512, ECDSA_SHA3_512),
    &Row::new(KeyKind::Rsa, Digest::Sha384, RSA_SHA384),
    #[cfg(feature = "sha512")]
    &Row::new(KeyKind::Rsa, Digest::Sha512, RSA_SHA512),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::Rsa, Digest::Sha3_256, RSA_SHA3_256),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::Rsa, Digest::Sha3_384, RSA_SHA3_384),
    #[cfg(feature = "sha3")]
    &Row::new(KeyKind::Rsa, Digest::Sha3_512, RSA_SHA3_512),
    &Row::pss(Digest::Sha256, PSS_SHA256),
    &Row::pss(Digest::Sha384, PSS_SHA384),
    #[cfg(feature = "sha512")]
    &Row::pss(Digest::Sha512, PSS_SHA512),
    &Row::pure(KeyKind::Ed448),
    &Row::pure(KeyKind::MlDsa44),
    &Row::pure(KeyKind::MlDsa87),
    &Row::pure(KeyKind::SlhDsaSha2_128s),
    &Row::pure(KeyKind::SlhDsaSha2_128f),
];

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)
    }
}

impl SignatureVerificationAlgorithm for Row {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        self.verify(public_key, message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(self.key.id())
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(self.id)
    }
}

/// Whether a signature is one of `message` by the key in a SubjectPublicKeyInfo; `id` is the content of its AlgorithmIdentifier.
/// `None` if that is of no algorithm of this build, or of none for such a key.
pub(super) fn verify(key: &sign::PublicKey, id: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
    let row = ALL.iter().find(|row| *row.public_key_alg_id() == *key.kind().id() && *row.signature_alg_id() == *id)?;
    Some(row.verify_signature(key.key(), message, signature).is_ok())
}
