//! What can go wrong in this room.

/// Why a cryptographic operation was refused.
///
/// The variants say nothing about secrets: a peer that learns which one it caused learns nothing it did not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The algorithm is known but this build has no implementation of it; carries its name.
    #[error("{0} is not available in this build: configure another algorithm")]
    Unavailable(&'static str),
    /// A name that is no algorithm of the kind asked for. Names are case-sensitive.
    #[error("unknown {0}: use a name from the documentation of crypto::suite, in the same case")]
    UnknownName(&'static str),
    /// A public key that is not exactly the encoding of a key of a known group, or is no point of that group.
    #[error("not a valid public key: the peer must send exactly one uncompressed key of a known group")]
    InvalidPublicKey,
    /// A well-formed public key of another group than one's own key.
    #[error("the peer's public key is of another group than ours: both ends must use the same key exchange")]
    GroupMismatch,
    /// Private key bytes of the wrong length or out of range.
    #[error("not a valid private key of this group")]
    InvalidPrivateKey,
    /// The agreement gave the all-zero secret: the peer's key is of small order.
    #[error("the peer's public key leads to a secret that anyone knows: refused")]
    WeakSharedSecret,
    /// A packet shorter than what every protected packet has at least.
    #[error("packet is shorter than an initialisation vector and a tag: drop it")]
    PacketTooShort,
    /// No key of this flow opens the packet: it is damaged, forged or of another flow.
    #[error("packet fails authentication: drop it")]
    Forged,
    /// The packet was opened before, or is too old to tell.
    #[error("packet was received before, or is too old to tell: drop it")]
    Replayed,
    /// The buffer has too little head or tail room for protection.
    #[error("packet buffer has no room for an initialisation vector in front and a tag behind: reserve more")]
    NoRoom,
    /// The packet is longer than the cipher can take at once.
    #[error("packet is too long for the cipher: split it")]
    PacketTooLong,
}
