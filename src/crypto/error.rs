//! Errors of cryptographic operations.

use alloc::vec::Vec;
use core::fmt;

use super::suite::{Cipher, Digest, Kex};
use crate::base::debug::debug_by_text;
use crate::types::parse::ParseError;

/// A kind of algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlgorithmKind {
    /// Ciphers, [`Cipher`].
    Cipher,
    /// Hashes, [`Digest`].
    Digest,
    /// Key exchanges, [`Kex`].
    Kex,
}

impl AlgorithmKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Cipher => "cipher",
            Self::Digest => "hash",
            Self::Kex => "key exchange",
        }
    }

    /// The names of those that this build has and that can be recommended, weakest first.
    pub(crate) fn available(self) -> Vec<&'static str> {
        match self {
            // None without authentication, which is nobody's first choice.
            Self::Cipher => Cipher::ALL.iter().filter(|c| c.is_aead() && c.is_available()).map(|c| c.name()).collect(),
            Self::Digest => Digest::ALL.iter().filter(|d| d.is_available()).map(|d| d.name()).collect(),
            Self::Kex => Kex::ALL.iter().filter(|kex| kex.is_available()).map(|kex| kex.name()).collect(),
        }
    }

    /// The error that a string is not the name of one. Only those that this build has are offered.
    pub(super) fn unknown(self, found: &str) -> ParseError {
        ParseError::new(self.name(), found, self.available())
    }
}

/// Prints the algorithms of a kind that this build has.
pub(crate) struct Available(pub(crate) AlgorithmKind);

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.available().join(", "))
    }
}

/// Why a cryptographic operation was refused.
///
/// The variants say nothing about secrets: a peer that learns which one it caused learns nothing it did not know.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The cipher is known but this build has no implementation of it.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("{0} is not available: use one of {list}", list = Available(AlgorithmKind::Cipher))]
    CipherUnavailable(Cipher),
    /// The hash is known but this build has no implementation of it.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("{0} is not available: use one of {list}", list = Available(AlgorithmKind::Digest))]
    DigestUnavailable(Digest),
    /// The key exchange is known but this build has no implementation of it.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("{0} is not available: use one of {list}", list = Available(AlgorithmKind::Kex))]
    KexUnavailable(Kex),
    /// A public key that is not exactly the encoding of a key of a known group, or is no point of that group.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("not a valid public key: the peer must send exactly one uncompressed key of a known group")]
    InvalidPublicKey,
    /// A well-formed public key of another group than one's own key.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("the peer's public key is of another group than ours: both ends must use the same key exchange")]
    GroupMismatch,
    /// A ciphertext of another length than those of the key exchange.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("not a ciphertext of the key exchange: both ends must use the same one")]
    InvalidCiphertext,
    /// Private key bytes of the wrong length or out of range.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("not a valid private key of this group")]
    InvalidPrivateKey,
    /// The agreement gave the all-zero secret: the peer's key is of small order.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("the peer's public key leads to a secret that anyone knows: refused")]
    WeakSharedSecret,
    /// A packet shorter than what every protected packet has at least.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("packet is shorter than an initialisation vector and a tag: drop it")]
    PacketTooShort,
    /// No key of this flow opens the packet: it is damaged, forged or of another flow.
    #[error("packet fails authentication: drop it")]
    Forged,
    /// The packet was opened before, or is too old to tell.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("packet was received before, or is too old to tell: drop it")]
    Replayed,
    /// The buffer has too little head or tail room for protection.
    #[error("packet buffer has no room for an initialisation vector in front and a tag behind: reserve more")]
    NoRoom,
    /// The packet is longer than the cipher can take at once.
    #[error("packet is too long for the cipher: split it")]
    PacketTooLong,
}

debug_by_text!(CryptoError {
    CipherUnavailable,
    DigestUnavailable,
    KexUnavailable,
    InvalidPublicKey,
    GroupMismatch,
    InvalidCiphertext,
    InvalidPrivateKey,
    WeakSharedSecret,
    PacketTooShort,
    Forged,
    Replayed,
    NoRoom,
    PacketTooLong,
});
