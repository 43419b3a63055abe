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
//! | `ffdhe2048` / `3072` / `4096` | 553 / 809 / 1065, or less | | a number without zeros in front |
//! | `ML-KEM-512` / `-768` / `-1024` | 822 / 1206 / 1590 | 22 | 800 / 1184 / 1568 |
//!
//! The hybrids are without any wrapping, the key of ML-KEM first:
//!
//! | | `X25519MLKEM768` | `X448MLKEM1024` |
//! |---|---|---|
//! | public key | 1184 + 32 | 1568 + 56 |
//! | ciphertext | 1088 + 32 | 1568 + 56 |
//! | shared secret | 32 + 32 | 32 + 56 |
//!
//! A ciphertext of ML-KEM alone is as bare: 768, 1088 or 1568 bytes. Of the groups of finite fields the shared secret is
//! without zeros in front, unlike that of the curves, which has the length of a coordinate.
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

mod encoding;
pub(crate) mod ffdhe;
mod static_key;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub(crate) use encoding::Encoding;
pub use encoding::{algorithm_of, hybrid_of};
pub use static_key::{Encapsulated, KemKey, KemKeyError, KemPublicKey};

use rand_core::CryptoRng;

use super::backend::{Backend, PrivateKey};
use super::suite::{Kdf, Kex};
use super::{CryptoError, SessionKey, SharedSecret, hash, kdf};

/// One's own half of a key exchange: a fresh private key and the public key to transmit.
pub struct KeyPair {
    kex: Kex,
    private: Box<dyn PrivateKey>,
}

impl KeyPair {
    /// A fresh key pair of the preferred implementation that draws it from `rng`.
    ///
    /// # Errors
    /// [`CryptoError::KexUnavailable`] if this build cannot do the key exchange.
    pub fn generate(kex: Kex, rng: &mut dyn CryptoRng) -> Result<Self, CryptoError> {
        Self::generate_with(Backend::preferred().repeatable(), kex, rng)
    }

    /// [`generate`](Self::generate) with a certain implementation, which may have a generator of its own.
    pub fn generate_with(backend: &Backend, kex: Kex, rng: &mut dyn CryptoRng) -> Result<Self, CryptoError> {
        Ok(Self { kex, private: backend.exchange(kex)?.generate(rng)? })
    }

    /// The key pair of given private bytes: a number, big-endian, for the NIST curves and the groups of finite fields; those
    /// of RFC 7748 for X25519 and X448; the seed of ML-KEM, its expanded key, or one behind the other; for a hybrid the
    /// expanded key and then the other private key.
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
        session_key(self.kex, &secret, &salt, kdf)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({}, ..)", self.kex)
    }
}

/// The responder's side in one step: the field to send back for the transmitted key `peer` of this key exchange, and the
/// session key.
///
/// The key exchange is the peer's, as [`algorithm_of`] or [`hybrid_of`] tells; whether it is strong enough is for the caller
/// to decide first.
///
/// # Errors
/// As [`KeyPair::generate`] and [`KeyPair::agree`].
pub fn respond(kex: Kex, peer: &[u8], kdf: Kdf, rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, SessionKey), CryptoError> {
    respond_with(Backend::preferred().repeatable(), kex, peer, kdf, rng)
}

/// [`respond`] with a certain implementation, which may have a generator of its own.
///
/// # Errors
/// As [`respond`].
pub fn respond_with(
    backend: &Backend,
    kex: Kex,
    peer: &[u8],
    kdf: Kdf,
    rng: &mut dyn CryptoRng,
) -> Result<(Vec<u8>, SessionKey), CryptoError> {
    let (field, secret) = backend.exchange(kex)?.respond(peer, rng)?;
    let salt = if kex.is_kem() { hash::sha256(&[peer]) } else { salt_of_both(&field, peer) };
    let key = session_key(kex, &secret, &salt, kdf)?;
    Ok((field, key))
}

/// Neither end needs to know which of them is the client: the smaller key comes first.
fn salt_of_both(a: &[u8], b: &[u8]) -> [u8; 32] {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    hash::sha256(&[first, second])
}

fn session_key(kex: Kex, secret: &SharedSecret, salt: &[u8; 32], kdf: Kdf) -> Result<SessionKey, CryptoError> {
    let info: &[u8] = if kex.is_kem() { b"o7s-ossl-encap" } else { b"o7s-ossl-dhe" };
    let mut key = SessionKey::zero();
    kdf::try_hkdf(kdf, salt, secret.expose(), info, key.expose_mut())?;
    Ok(key)
}

#[cfg(test)]
#[cfg(feature = "algorithms")]
mod tests;
