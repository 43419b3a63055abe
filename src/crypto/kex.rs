//! Key exchange: from two transmitted public keys to a [`SessionKey`].
//!
//! A public key travels as SubjectPublicKeyInfo (RFC 5280, DER), byte for byte as every implementation of it writes
//! it; nothing else is accepted, in particular no compressed points and no bytes behind the key:
//!
//! | key exchange | bytes | of which constant prefix | rest |
//! |---|---|---|---|
//! | `prime256v1` | 91 | 26 | 04, X (32), Y (32) |
//! | `secp384r1` | 120 | 23 | 04, X (48), Y (48) |
//! | `secp521r1` | 158 | 25 | 04, X (66), Y (66) |
//! | `X25519` | 44 | 12 | 32 |
//! | `X448` | 68 | 12 | 56 |
//! | `ML-KEM-512` / `-768` / `-1024` | 822 / 1206 / 1590 | 22 | 800 / 1184 / 1568 |
//!
//! The session key is HKDF of the shared secret with the negotiated hash. For Diffie-Hellman the salt is the SHA-256 of
//! both transmitted keys, the lexicographically smaller one first, and the info `o7s-ossl-dhe`; for a KEM the salt is
//! the SHA-256 of the recipient's transmitted public key and the info `o7s-ossl-encap`. Nothing else of the handshake
//! enters.
//!
//! ```
//! use o7s::crypto::kex::{self, KeyPair};
//! use o7s::crypto::{CryptoError, suite::{Kdf, Kex}};
//!
//! // Fixed keys, as in a known-answer test; `KeyPair::generate` makes fresh ones.
//! let (a, b) = (KeyPair::from_private(Kex::X25519, &[1; 32])?, KeyPair::from_private(Kex::X25519, &[2; 32])?);
//! assert_eq!(kex::algorithm_of(a.public())?, Kex::X25519);
//! let (pa, pb) = (a.public().to_vec(), b.public().to_vec());
//! assert_eq!(a.agree(&pb, Kdf::Sha512)?, b.agree(&pa, Kdf::Sha512)?);
//! assert_eq!(kex::algorithm_of(&pa[1..]), Err(CryptoError::InvalidPublicKey));
//! # Ok::<(), CryptoError>(())
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;

use super::backend::{Backend, PrivateKey};
use super::suite::{Kdf, Kex};
use super::{CryptoError, SessionKey, SharedSecret, hash, kdf};

/// Encoding of a public key of fixed length.
#[derive(Debug)]
pub(crate) struct Encoding {
    kex: Kex,
    /// The part that is the same for every key, up to the key's own bytes.
    prefix: &'static [u8],
    /// Length of all of it.
    len: usize,
}

impl Encoding {
    pub(crate) const PRIME256V1: &Self = &Self {
        kex: Kex::Prime256v1,
        prefix:
            b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
        len: 91,
    };
    pub(crate) const X25519: &Self =
        &Self { kex: Kex::X25519, prefix: b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00", len: 44 };
    const SECP384R1: &Self = &Self {
        kex: Kex::Secp384r1,
        prefix: b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00",
        len: 120,
    };
    const SECP521R1: &Self = &Self {
        kex: Kex::Secp521r1,
        prefix: b"\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23\x03\x81\x86\x00",
        len: 158,
    };
    const X448: &Self = &Self { kex: Kex::X448, prefix: b"\x30\x42\x30\x05\x06\x03\x2b\x65\x6f\x03\x39\x00", len: 68 };
    const ML_KEM_512: &Self = &Self {
        kex: Kex::MlKem512,
        prefix: b"\x30\x82\x03\x32\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x01\x03\x82\x03\x21\x00",
        len: 822,
    };
    const ML_KEM_768: &Self = &Self {
        kex: Kex::MlKem768,
        prefix: b"\x30\x82\x04\xb2\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x02\x03\x82\x04\xa1\x00",
        len: 1206,
    };
    const ML_KEM_1024: &Self = &Self {
        kex: Kex::MlKem1024,
        prefix: b"\x30\x82\x06\x32\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x03\x03\x82\x06\x21\x00",
        len: 1590,
    };

    const ALL: &[&Self] = &[
        Self::PRIME256V1,
        Self::X25519,
        Self::SECP384R1,
        Self::SECP521R1,
        Self::X448,
        Self::ML_KEM_512,
        Self::ML_KEM_768,
        Self::ML_KEM_1024,
    ];

    /// The transmitted form of these key bytes; `None` if they have another length than `N` leaves room for.
    pub(crate) fn wrap<const N: usize>(&self, key: &[u8]) -> Option<[u8; N]> {
        let mut out = [0; N];
        let (prefix, rest) = out.split_at_mut_checked(self.prefix.len())?;
        if N != self.len || rest.len() != key.len() {
            return None;
        }
        prefix.copy_from_slice(self.prefix);
        rest.copy_from_slice(key);
        Some(out)
    }

    /// The key bytes within the transmitted form.
    ///
    /// # Errors
    /// [`CryptoError::GroupMismatch`] for a key of another group, [`CryptoError::InvalidPublicKey`] for no key at all.
    pub(crate) fn unwrap<'a>(&self, transmitted: &'a [u8]) -> Result<&'a [u8], CryptoError> {
        if algorithm_of(transmitted)? != self.kex {
            return Err(CryptoError::GroupMismatch);
        }
        transmitted.strip_prefix(self.prefix).ok_or(CryptoError::InvalidPublicKey)
    }

    /// A point on one of the NIST curves must be marked as uncompressed.
    fn matches(&self, transmitted: &[u8]) -> bool {
        let is_point = matches!(self.kex, Kex::Prime256v1 | Kex::Secp384r1 | Kex::Secp521r1);
        let key = transmitted.strip_prefix(self.prefix);
        transmitted.len() == self.len && key.is_some_and(|key| !is_point || key.first() == Some(&4))
    }
}

/// The key exchange that a transmitted public key belongs to, whether or not this build can do it.
///
/// # Errors
/// [`CryptoError::InvalidPublicKey`] for anything but the exact encoding of a key of a known group.
pub fn algorithm_of(transmitted: &[u8]) -> Result<Kex, CryptoError> {
    let found = Encoding::ALL.iter().find(|encoding| encoding.matches(transmitted));
    found.map(|encoding| encoding.kex).ok_or(CryptoError::InvalidPublicKey)
}

/// One's own half of a key exchange: a fresh private key and the public key to transmit.
pub struct KeyPair {
    kex: Kex,
    private: Box<dyn PrivateKey>,
}

impl KeyPair {
    /// A fresh key pair.
    ///
    /// # Errors
    /// [`CryptoError::KexUnavailable`] if this build cannot do the key exchange.
    pub fn generate(kex: Kex, rng: &mut dyn CryptoRng) -> Result<Self, CryptoError> {
        Self::generate_with(Backend::preferred(), kex, rng)
    }

    /// [`generate`](Self::generate) with a certain implementation.
    pub fn generate_with(backend: &Backend, kex: Kex, rng: &mut dyn CryptoRng) -> Result<Self, CryptoError> {
        Ok(Self { kex, private: backend.exchange(kex)?.generate(rng)? })
    }

    /// The key pair of given private bytes: 32, big-endian, for `prime256v1`; 32 as in RFC 7748 for `X25519`.
    ///
    /// # Errors
    /// [`CryptoError::KexUnavailable`], or [`CryptoError::InvalidPrivateKey`] if the length or the value is impossible.
    pub fn from_private(kex: Kex, private: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self { kex, private: Backend::preferred().exchange(kex)?.import(private)? })
    }

    /// The key exchange it belongs to.
    pub const fn kex(&self) -> Kex {
        self.kex
    }

    /// Public key, as it is transmitted.
    pub fn public(&self) -> &[u8] {
        self.private.public()
    }

    /// The key shared with the peer that transmitted `peer`. The private key is used up and wiped.
    ///
    /// # Errors
    /// [`CryptoError::InvalidPublicKey`], [`CryptoError::GroupMismatch`] or [`CryptoError::WeakSharedSecret`]: the
    /// peer's fault in every case.
    pub fn agree(self, peer: &[u8], kdf: Kdf) -> Result<SessionKey, CryptoError> {
        let salt = if self.kex.is_kem() { hash::sha256(&[self.public()]) } else { salt_of_both(self.public(), peer) };
        let secret = self.private.agree(peer)?;
        Ok(session_key(self.kex, &secret, &salt, kdf))
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({}, ..)", self.kex)
    }
}

/// The responder's side in one step: the field to send back for the transmitted key `peer`, and the session key.
///
/// The key exchange is the peer's, as [`algorithm_of`] tells; whether it is strong enough is for the caller to decide
/// first.
///
/// # Errors
/// As [`KeyPair::generate`] and [`KeyPair::agree`].
pub fn respond(peer: &[u8], kdf: Kdf, rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, SessionKey), CryptoError> {
    let kex = algorithm_of(peer)?;
    let (field, secret) = Backend::preferred().exchange(kex)?.respond(peer, rng)?;
    let salt = if kex.is_kem() { hash::sha256(&[peer]) } else { salt_of_both(&field, peer) };
    Ok((field, session_key(kex, &secret, &salt, kdf)))
}

/// Neither end needs to know which of them is the client: the smaller key comes first.
fn salt_of_both(a: &[u8], b: &[u8]) -> [u8; 32] {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    hash::sha256(&[first, second])
}

fn session_key(kex: Kex, secret: &SharedSecret, salt: &[u8; 32], kdf: Kdf) -> SessionKey {
    let info: &[u8] = if kex.is_kem() { b"o7s-ossl-encap" } else { b"o7s-ossl-dhe" };
    let mut key = SessionKey::zero();
    kdf::hkdf(kdf, salt, secret.expose(), info, key.expose_mut());
    key
}

#[cfg(test)]
mod tests;
