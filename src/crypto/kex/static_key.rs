//! Keys of KEMs that outlive a flow: a server's own, and what a client has of it.
//!
//! The client encapsulates a secret to the public key before it asks for the flow, so that who answers has proved nothing, but
//! only the owner of the private key has the session key. Whoever gets hold of that later can read what was recorded: there is
//! no forward secrecy.
//!
//! | | ML-KEM | hybrids |
//! |---|---|---|
//! | private key | PKCS#8 (RFC 5958), PEM or DER: the seed, the expanded key, or both | expanded key and private key of the curve, 2432 or 3224 bytes |
//! | public key | SubjectPublicKeyInfo, PEM or DER | as transmitted, 1216 or 1624 bytes |
//!
//! ```
//! use o7s::base::rng::Rng;
//! use o7s::crypto::kex::KemKey;
//! use o7s::crypto::suite::{Kdf, Kex};
//!
//! let mut rng = Rng::from_seed([7; 32]);
//! let server = KemKey::generate(Kex::X25519MlKem768, &mut rng)?;
//! let sent = server.public_key().encapsulate(Kdf::Sha256, &mut rng)?;
//! assert_eq!(sent.ciphertext().len(), 1120);
//! assert_eq!(server.decapsulate(sent.ciphertext(), Kdf::Sha256)?, sent.into_key());
//! # Ok::<(), o7s::crypto::CryptoError>(())
//! ```

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{algorithm_of, hybrid_of, respond_with, session_key};
use crate::base::debug::debug_by_text;
use crate::base::rng::Rng;
use crate::crypto::backend::{Backend, PrivateKey};
use crate::crypto::der::{self, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};
use crate::crypto::pem::{self, PemError};
use crate::crypto::pkcs8::Pkcs8;
use crate::crypto::suite::{Kdf, Kex};
use crate::crypto::{CryptoError, SessionKey, hash};

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// Key encapsulation of NIST: 2.16.840.1.101.3.4.4, and a number for each parameter set.
const KEMS: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x04";
/// The seed of a private key that has no more: `[0]`.
const SEED: u8 = 0x80;

/// Why a key cannot be read.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KemKeyError {
    /// The file is damaged.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// No block, or several.
    #[error("not a PEM file with one {0} in it: no other block may be in the file")]
    Single(&'static str),
    /// A PEM block of something else.
    #[error("the file has a {found:?} and no {wanted:?}")]
    Label {
        /// What there is.
        found: Box<str>,
        /// What there should be.
        wanted: &'static str,
    },
    /// A private key that is encrypted with a passphrase.
    #[error("the private key is encrypted: write it without a passphrase")]
    Encrypted,
    /// A key of an algorithm that no key exchange of the protocol encapsulates to.
    #[error("not a key of ML-KEM: make one of ML-KEM-512, ML-KEM-768 or ML-KEM-1024")]
    Algorithm,
    /// A private key in none of the three forms, or a public one that is not exactly SubjectPublicKeyInfo.
    #[error("the key is not in the form of PKCS#8: a seed, an expanded key, or both; or of SubjectPublicKeyInfo")]
    Form,
    /// The bytes are those of no hybrid.
    #[error("{0} bytes, but keys of hybrids have {1}")]
    RawLength(usize, &'static str),
    /// The parts of the key do not belong together, or the algorithm is not available.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

debug_by_text!(KemKeyError { Pem, Single, Label, Encrypted, Algorithm, Form, RawLength, Crypto });

/// A static private key of a KEM, wiped when it is dropped.
pub struct KemKey {
    kex: Kex,
    private: Box<dyn PrivateKey>,
}

impl KemKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`CryptoError::KexUnavailable`] if this build cannot do the key exchange, or it is no KEM.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn generate(kex: Kex, rng: &mut dyn CryptoRng) -> Result<Self, CryptoError> {
        if !kex.is_kem() {
            return Err(CryptoError::KexUnavailable(kex));
        }
        Ok(Self { kex, private: Backend::preferred().repeatable().exchange(kex)?.generate(rng)? })
    }

    /// Reads a key of ML-KEM: one PEM block with a PKCS#8 key, not encrypted.
    ///
    /// # Errors
    /// [`KemKeyError`]; both halves of a key that has seed and expanded key must agree.
    pub fn from_pem(text: &[u8]) -> Result<Self, KemKeyError> {
        Self::from_pkcs8(&unwrap_pem(text, PRIVATE_LABEL)?)
    }

    /// Reads a key of ML-KEM in PKCS#8, DER.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, KemKeyError> {
        let mut parts = Pkcs8::parse(bytes).ok_or(KemKeyError::Form)?;
        // Other algorithms have parameters behind it, and are told by name.
        let algorithm = der::take(&mut parts.algorithm, OBJECT_IDENTIFIER).ok_or(KemKeyError::Form)?;
        let kex = match algorithm.strip_prefix(KEMS) {
            Some([1]) => Kex::MlKem512,
            Some([2]) => Kex::MlKem768,
            Some([3]) => Kex::MlKem1024,
            _ => return Err(KemKeyError::Algorithm),
        };
        Self::import(kex, &private_parts(parts.private).ok_or(KemKeyError::Form)?)
    }

    /// Reads a key of a hybrid, which its length tells: the expanded key of ML-KEM and that of the curve, nothing else.
    ///
    /// # Errors
    /// [`KemKeyError::RawLength`], and [`KemKeyError::Crypto`] if the halves of the key of ML-KEM do not belong together.
    pub fn from_raw(bytes: &[u8]) -> Result<Self, KemKeyError> {
        let kex = match bytes.len() {
            2432 => Kex::X25519MlKem768,
            3224 => Kex::X448MlKem1024,
            len => return Err(KemKeyError::RawLength(len, "2432 (X25519MLKEM768) or 3224 (X448MLKEM1024)")),
        };
        Self::import(kex, bytes)
    }

    fn import(kex: Kex, private: &[u8]) -> Result<Self, KemKeyError> {
        Ok(Self { kex, private: Backend::preferred().exchange(kex)?.import(private)? })
    }

    /// The key exchange it is for.
    pub const fn kex(&self) -> Kex {
        self.kex
    }

    /// The public half, for clients.
    pub fn public_key(&self) -> KemPublicKey {
        KemPublicKey { kex: self.kex, public: self.private.public().into() }
    }

    /// The session key that was encapsulated to this key. A ciphertext that was not made for it leads to a key that nobody
    /// else has.
    ///
    /// # Errors
    /// [`CryptoError::InvalidCiphertext`] for one of another length, [`CryptoError::WeakSharedSecret`] for a hybrid whose
    /// key of the curve is of small order, [`CryptoError::DigestUnavailable`].
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn decapsulate(&self, ciphertext: &[u8], kdf: Kdf) -> Result<SessionKey, CryptoError> {
        let secret = self.private.agree(ciphertext)?;
        session_key(self.kex, &secret, &hash::sha256(&[self.private.public()]), kdf)
    }
}

impl fmt::Debug for KemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KemKey({}, ..)", self.kex)
    }
}

/// The public half of a [`KemKey`]. Copies are cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublicKey {
    kex: Kex,
    /// As it is transmitted when the server encapsulates: the salt of the session key is made of it.
    public: Arc<[u8]>,
}

impl KemPublicKey {
    /// Reads a key of ML-KEM: one PEM block with a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KemKeyError`]; a key with a coefficient out of range is [`CryptoError::InvalidPublicKey`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KemKeyError> {
        Self::from_spki(&unwrap_pem(text, PUBLIC_LABEL)?)
    }

    /// Reads a key of ML-KEM in SubjectPublicKeyInfo, DER.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn from_spki(der: &[u8]) -> Result<Self, KemKeyError> {
        match algorithm_of(der) {
            Ok(kex) if kex.is_kem() => Self::checked(kex, der),
            Ok(_) => Err(KemKeyError::Algorithm),
            Err(_) => Err(KemKeyError::Form),
        }
    }

    /// Reads a key of a hybrid, which its length tells.
    ///
    /// # Errors
    /// [`KemKeyError::RawLength`], and [`KemKeyError::Crypto`] for a key to which nothing can be encapsulated.
    pub fn from_raw(bytes: &[u8]) -> Result<Self, KemKeyError> {
        let expected = "1216 (X25519MLKEM768) or 1624 (X448MLKEM1024)";
        Self::checked(hybrid_of(bytes).map_err(|_| KemKeyError::RawLength(bytes.len(), expected))?, bytes)
    }

    /// Encapsulates something to it, so that a bad key is noticed when it is read and not when it is used.
    fn checked(kex: Kex, public: &[u8]) -> Result<Self, KemKeyError> {
        respond_with(Backend::preferred(), kex, public, Kdf::Sha256, &mut Rng::from_seed([0; 32]))?;
        Ok(Self { kex, public: public.into() })
    }

    /// The key exchange it is for.
    pub const fn kex(&self) -> Kex {
        self.kex
    }

    /// The key in the form that is transmitted: SubjectPublicKeyInfo, or that of a hybrid.
    pub fn as_bytes(&self) -> &[u8] {
        &self.public
    }

    /// A fresh session key for the owner.
    ///
    /// # Errors
    /// [`CryptoError::DigestUnavailable`].
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn encapsulate(&self, kdf: Kdf, rng: &mut dyn CryptoRng) -> Result<Encapsulated, CryptoError> {
        self.encapsulate_with(Backend::preferred().repeatable(), kdf, rng)
    }

    /// [`encapsulate`](Self::encapsulate) with a certain implementation, which may have a generator of its own.
    ///
    /// # Errors
    /// As [`encapsulate`](Self::encapsulate).
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn encapsulate_with(
        &self,
        backend: &Backend,
        kdf: Kdf,
        rng: &mut dyn CryptoRng,
    ) -> Result<Encapsulated, CryptoError> {
        let (ciphertext, key) = respond_with(backend, self.kex, &self.public, kdf, rng)?;
        Ok(Encapsulated { kex: self.kex, ciphertext, key })
    }
}

impl fmt::Debug for KemPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KemPublicKey({}, {} bytes)", self.kex, self.public.len())
    }
}

/// A session key, and what tells the owner of the static key about it.
#[allow(unnameable_types, reason = "users see it in a hidden function only")]
pub struct Encapsulated {
    kex: Kex,
    ciphertext: Vec<u8>,
    key: SessionKey,
}

impl Encapsulated {
    /// One that was made elsewhere, for known-answer tests.
    pub const fn from_parts(kex: Kex, ciphertext: Vec<u8>, key: SessionKey) -> Self {
        Self { kex, ciphertext, key }
    }

    /// The key exchange.
    pub const fn kex(&self) -> Kex {
        self.kex
    }

    /// The field to transmit.
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// The session key.
    pub fn into_key(self) -> SessionKey {
        self.key
    }
}

impl fmt::Debug for Encapsulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encapsulated({}, ..)", self.kex)
    }
}

/// The content of the one block of a PEM file.
fn unwrap_pem(file: &[u8], wanted: &'static str) -> Result<Zeroizing<Vec<u8>>, KemKeyError> {
    let mut blocks = pem::blocks(file)?;
    let block = blocks.pop().filter(|_| blocks.is_empty()).ok_or(KemKeyError::Single(wanted))?;
    match &*block.label {
        label if label == wanted => Ok(block.content),
        "ENCRYPTED PRIVATE KEY" => Err(KemKeyError::Encrypted),
        _ => Err(KemKeyError::Label { found: block.label, wanted }),
    }
}

/// The private bytes of ML-KEM in whichever of its three forms: seed, expanded key, or one behind the other.
fn private_parts(key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if let Some(part) = der::only(key, SEED).or_else(|| der::only(key, OCTET_STRING)) {
        return Some(Zeroizing::new(part.to_vec()));
    }
    let mut both = der::only(key, SEQUENCE)?;
    let (seed, expanded) = (der::take(&mut both, OCTET_STRING)?, der::only(both, OCTET_STRING)?);
    Some(Zeroizing::new([seed, expanded].concat()))
}

#[cfg(test)]
#[cfg(feature = "kex-ml-kem")]
mod tests;
