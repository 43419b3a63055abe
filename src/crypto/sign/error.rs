//! Errors of keys and of signatures.

use alloc::boxed::Box;

use super::{KeyKind, MAX_RSA_BITS, MIN_RSA_BITS};
use crate::base::debug::debug_by_text;
use crate::crypto::suite::Digest;

/// Why bytes were not taken for a key.
///
/// Nothing in it tells anything of a private key's value.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the encoding of a key, or not the only one that there is: a wrong length, something behind it, no point of the curve.
    #[error("not a valid key: it must be exactly one key in DER, write it anew")]
    Malformed,
    /// A key of a kind that the protocol does not use.
    #[error("key of an unknown kind: use ECDSA (P-256, P-384, P-521), RSA, Ed25519, Ed448, ML-DSA or SLH-DSA")]
    Unknown,
    /// A key of a kind that this build has no implementation of.
    #[error("keys of the kind {0} are not in this build: switch its feature on, or use another kind")]
    Unavailable(KeyKind),
    /// An RSA key that is too weak, or so large that it costs too much to use.
    #[error("key of {bits} bits for RSA: it must have {MIN_RSA_BITS} to {MAX_RSA_BITS}, make a new one")]
    RsaSize {
        /// Bits of the modulus.
        bits: usize,
    },
    /// An RSA key with an even, a very small or a very large exponent, or an even modulus.
    #[error("key for RSA with an unusual modulus or exponent: make a new one with the exponent 65537")]
    RsaExponent,
    /// A public key with which anybody can make signatures.
    #[error("public key of small order, for which anybody can sign: make a new one")]
    SmallOrder,
    /// An encrypted private key: there is nobody who could be asked for its password.
    #[error("private key is encrypted: store it without a password, readable by its user alone")]
    Encrypted,
    /// The halves of a private key, or the public key that is stored with it, belong to different keys.
    #[error("parts of the private key do not belong together: the file is damaged, make the key anew")]
    Inconsistent,
    /// Not in PEM, or of another content than a private key.
    #[error("no private key in PEM: there must be one block PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY")]
    NoPrivateKey,
    /// Several private keys in one file.
    #[error("several private keys: leave the one that belongs to the certificate")]
    Several,
}

debug_by_text!(KeyError {
    Malformed,
    Unknown,
    Unavailable,
    RsaSize,
    RsaExponent,
    SmallOrder,
    Encrypted,
    Inconsistent,
    NoPrivateKey,
    Several,
});

/// Why a message was not signed, or a signature not accepted.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key does not go with this digest.
    #[error("{digest} does not go with a key of the kind {key}: set another digest, none for Ed25519 and Ed448")]
    Digest {
        /// Kind of the key.
        key: KeyKind,
        /// Digest that was named.
        digest: Digest,
    },
    /// The digest is one of the protocol's, but this build has no implementation of it.
    #[error("{0} is not in this build: switch its feature on, or set another digest")]
    DigestUnavailable(Digest),
    /// The signature is not one of this message with this key.
    #[error("signature does not match: the message was changed, or signed with another key")]
    Forged,
    /// The key cannot be used, or not for this kind.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A signer that lives elsewhere did not sign.
    #[error("no signature from the signer: {reason}")]
    Signer {
        /// What it says.
        reason: Box<str>,
    },
}

debug_by_text!(SignError { Digest, DigestUnavailable, Forged, Key, Signer });
