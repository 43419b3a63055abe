//! The curves of RFC 7748: X25519 and X448.

use alloc::boxed::Box;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::Pair;
use crate::crypto::backend::{KeyExchange, PrivateKey};
use crate::crypto::kex::Encoding;
use crate::crypto::suite::Kex;
use crate::crypto::{CryptoError, SharedSecret};

/// A row for the curve of a crate, whose keys have so many bytes.
macro_rules! curve {
    ($(#[$meta:meta])* $Row:ident: $curve:ident, $encoding:ident, $bytes:literal bytes) => {
        $(#[$meta])*
        pub(in crate::crypto::backend) struct $Row;

        $(#[$meta])*
        impl KeyExchange for $Row {
            fn kex(&self) -> Kex {
                Kex::$Row
            }

            fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError> {
                let mut bytes = Zeroizing::new([0; $bytes]);
                rng.fill_bytes(bytes.as_mut());
                self.import(bytes.as_ref())
            }

            fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError> {
                let bytes: Zeroizing<[u8; $bytes]> =
                    Zeroizing::new(private.try_into().map_err(|_| CryptoError::InvalidPrivateKey)?);
                let secret = $curve::StaticSecret::from(*bytes);
                let public = $curve::PublicKey::from(&secret);
                let public = Encoding::$encoding.wrap(public.as_bytes()).ok_or(CryptoError::InvalidPrivateKey)?;
                Ok(Box::new(Pair { secret, public }))
            }
        }
    };
}

curve!(
    #[cfg(feature = "kex-x25519")]
    X25519: x25519_dalek, X25519, 32 bytes
);
curve!(
    #[cfg(feature = "kex-x448")]
    X448: x448, X448, 56 bytes
);

#[cfg(feature = "kex-x25519")]
impl PrivateKey for Pair<x25519_dalek::StaticSecret> {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(&self, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        let peer: [u8; 32] = Encoding::X25519.unwrap(peer)?.try_into().map_err(|_| CryptoError::InvalidPublicKey)?;
        let secret = self.secret.diffie_hellman(&peer.into());
        if !secret.was_contributory() {
            return Err(CryptoError::WeakSharedSecret);
        }
        Ok(SharedSecret::copy_of(secret.as_bytes()))
    }
}

#[cfg(feature = "kex-x448")]
impl PrivateKey for Pair<x448::StaticSecret> {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(&self, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        let peer = Encoding::X448.unwrap(peer)?;
        let peer = x448::PublicKey::from_bytes_unchecked(peer).ok_or(CryptoError::InvalidPublicKey)?;
        let secret = self.secret.diffie_hellman(&peer);
        // Points of small order give it whatever the private key; all bytes are looked at.
        if secret.as_bytes().iter().fold(0, |all, byte| all | byte) == 0 {
            return Err(CryptoError::WeakSharedSecret);
        }
        Ok(SharedSecret::copy_of(secret.as_bytes()))
    }
}
