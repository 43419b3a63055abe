//! Negotiation by strength: pure rules, no keys.
//!
//! Ciphers, hashes and key exchanges are ordered by strength in [`suite`](crate::crypto::suite); none at all is weaker
//! than any.
//!
//! | the server gets | and decides |
//! |---|---|
//! | no key | plain, unless it has a key exchange configured or requires one: refuse |
//! | cipher | the stronger of the client's and its own; none on either side, or one without authentication that is not allowed: refuse |
//! | kdf | the stronger; none on either side: none stated, and SHA-256 in fact |
//! | kdf, and the client encapsulates | the client's, unless its own is stronger: refuse |
//! | key exchange | the client's, unless its own is stronger: refuse |
//!
//! There is no counter-proposal: what is not refused is settled. The client takes the server's cipher and kdf unless
//! they are weaker than what it has configured.
//!
//! The reference looks at the strength of the key exchange only where the client does not encapsulate; here it counts
//! always. And its client lets `kem_mode=client` govern the kdf of Diffie-Hellman as well, which can leave the two ends
//! with different keys; here the mode has no effect on Diffie-Hellman.
//!
//! ```
//! use o7s::crypto::suite::{Cipher, Kdf, Kex};
//! use o7s::oap::negotiate::{Offer, client, server};
//! use o7s::oap::{OapError, SecurityConfig};
//!
//! let strict: SecurityConfig = "X25519,chacha20-poly1305".parse().unwrap();
//! let offer = Offer {
//!     kex: Kex::X25519,
//!     client_encapsulates: false,
//!     cipher: Some(Cipher::Aes128Gcm),
//!     kdf: Some(Kdf::Sha512),
//! };
//! let agreed = server(Some(&offer), &strict)?.unwrap();
//! assert_eq!((agreed.cipher, agreed.kdf), (Cipher::ChaCha20Poly1305, Some(Kdf::Sha512)));
//!
//! // P-256 is weaker than X25519.
//! assert!(matches!(server(Some(&Offer { kex: Kex::Prime256v1, ..offer }), &strict), Err(OapError::KexTooWeak { .. })));
//! # Ok::<(), OapError>(())
//! ```

use super::{KemMode, OapError, SecurityConfig};
use crate::crypto::CryptoError;
use crate::crypto::backend::Backend;
use crate::crypto::suite::{Cipher, Kdf, Kex};

/// Offer of a request with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The algorithm of the key; if the client encapsulates, that of the server's static key.
    pub kex: Kex,
    /// The key field is a ciphertext to the server's static key.
    pub client_encapsulates: bool,
    /// The cipher named, if any.
    pub cipher: Option<Cipher>,
    /// The hash for deriving the key, if named.
    pub kdf: Option<Kdf>,
}

/// Algorithms that the flow will be encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The key exchange.
    pub kex: Kex,
    /// The cipher of its packets.
    pub cipher: Cipher,
    /// The hash to state in the response; `None` means that none is stated and SHA-256 used.
    pub kdf: Option<Kdf>,
}

impl Agreed {
    /// The hash that derives the key.
    pub fn effective_kdf(&self) -> Kdf {
        self.kdf.unwrap_or(Kdf::Sha256)
    }

    /// Fails if this implementation lacks one of the algorithms.
    pub(super) fn check_available(&self, backend: &Backend) -> Result<(), OapError> {
        backend.exchange(self.kex)?;
        available(self.cipher, self.effective_kdf(), backend)
    }
}

/// Fails if this implementation lacks one of the two.
pub(super) fn available(cipher: Cipher, kdf: Kdf, backend: &Backend) -> Result<(), OapError> {
    if !backend.has_cipher(cipher) {
        return Err(CryptoError::CipherUnavailable(cipher).into());
    }
    if kdf.is_available() { Ok(()) } else { Err(CryptoError::DigestUnavailable(kdf).into()) }
}

/// Fails for a cipher without authentication, unless such ciphers are allowed.
pub(super) fn authenticates(cipher: Cipher, config: &SecurityConfig) -> Result<(), OapError> {
    if cipher.is_aead() || config.allow_unauthenticated { Ok(()) } else { Err(OapError::Unauthenticated(cipher)) }
}

/// Fails for a key exchange without ML-KEM, or none, if one is required.
pub(super) fn withstands(kex: Option<Kex>, config: &SecurityConfig) -> Result<(), OapError> {
    match kex {
        _ if !config.post_quantum => Ok(()),
        Some(kex) if kex.is_kem() => Ok(()),
        Some(kex) => Err(OapError::NotPostQuantum(kex)),
        None => Err(OapError::Plain),
    }
}

/// The server's decision; `None` is a plain flow.
///
/// # Errors
/// [`OapError::Plain`] if there is no offer but encryption is wanted, [`OapError::NoCipher`],
/// [`OapError::Unauthenticated`] if the stronger cipher is one that is not allowed, [`OapError::KexTooWeak`] and
/// [`OapError::KdfTooWeak`] if the offer is below the configuration. [`OapError::ClientEncapsulation`] if the client encapsulates and no KEM is
/// configured.
pub fn server(offer: Option<&Offer>, config: &SecurityConfig) -> Result<Option<Agreed>, OapError> {
    withstands(offer.map(|offer| offer.kex), config)?;
    let Some(offer) = offer else {
        return if config.required || config.kex.is_some() { Err(OapError::Plain) } else { Ok(None) };
    };
    if offer.client_encapsulates && !config.kex.is_some_and(Kex::is_kem) {
        return Err(OapError::ClientEncapsulation);
    }
    if let Some(own) = config.kex.filter(|own| offer.kex < *own) {
        return Err(OapError::KexTooWeak { peer: offer.kex, own });
    }
    // None is less than any, so that one that only one end names is taken.
    let cipher = offer.cipher.max(config.own_cipher()).ok_or(OapError::NoCipher)?;
    authenticates(cipher, config)?;
    // The client has its key already, made with its own kdf: a stronger one cannot be stated, only asked for by refusing.
    if offer.client_encapsulates && offer.kdf < config.own_kdf() {
        return Err(OapError::KdfTooWeak { peer: offer.kdf, own: config.kdf });
    }
    Ok(Some(Agreed { kex: offer.kex, cipher, kdf: offer.kdf.max(config.own_kdf()) }))
}

/// The client's decision on the cipher and kdf of a response; `None` is a plain flow, which only a client without key
/// exchange makes, whatever the response says.
///
/// # Errors
/// [`OapError::NoCipher`] if the response names no cipher, [`OapError::Unauthenticated`], [`OapError::CipherTooWeak`] and
/// [`OapError::KdfTooWeak`] if it names weaker algorithms than the
/// client has configured.
pub fn client(cipher: Option<Cipher>, kdf: Option<Kdf>, config: &SecurityConfig) -> Result<Option<Agreed>, OapError> {
    let Some(kex) = config.kex else { return Ok(None) };
    let cipher = cipher.ok_or(OapError::NoCipher)?;
    authenticates(cipher, config)?;
    if cipher < config.cipher {
        return Err(OapError::CipherTooWeak { peer: cipher, own: config.cipher });
    }
    // Having encapsulated, the client has its key already, made with its own kdf.
    let settled = kex.is_kem() && config.kem_mode == KemMode::Client;
    let kdf = kdf.filter(|_| !settled).unwrap_or(config.kdf);
    if kdf < config.kdf {
        return Err(OapError::KdfTooWeak { peer: Some(kdf), own: config.kdf });
    }
    Ok(Some(Agreed { kex, cipher, kdf: Some(kdf) }))
}

#[cfg(test)]
mod tests;
