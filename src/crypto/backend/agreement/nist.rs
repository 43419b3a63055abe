//! The curves of NIST: P-256, P-384 and P-521.

use alloc::boxed::Box;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::Pair;
use crate::crypto::backend::{KeyExchange, PrivateKey};
use crate::crypto::kex::Encoding;
use crate::crypto::suite::Kex;
use crate::crypto::{CryptoError, SharedSecret};

/// A row for the curve of a crate, whose private numbers have so many bytes, of which the first has so many bits.
macro_rules! curve {
    ($(#[$meta:meta])* $Row:ident: $curve:ident, $encoding:ident, $bytes:literal bytes, $bits:literal bits) => {
        $(#[$meta])*
        pub(super) struct $Row;

        $(#[$meta])*
        impl KeyExchange for $Row {
            fn kex(&self) -> Kex {
                Kex::$Row
            }

            fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError> {
                let mut bytes = Zeroizing::new([0; $bytes]);
                loop {
                    rng.fill_bytes(bytes.as_mut());
                    bytes.iter_mut().take(1).for_each(|first| *first &= 0xff >> (8 - $bits));
                    // All but one in 2^32 or more are below the order of the group.
                    if let Ok(pair) = self.import(bytes.as_ref()) {
                        return Ok(pair);
                    }
                }
            }

            fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError> {
                use $curve::elliptic_curve::sec1::ToSec1Point;

                if private.len() != $bytes {
                    return Err(CryptoError::InvalidPrivateKey);
                }
                let secret = $curve::SecretKey::from_slice(private).map_err(|_| CryptoError::InvalidPrivateKey)?;
                let point = secret.public_key().to_sec1_point(false);
                let public = Encoding::$encoding.wrap(point.as_bytes()).ok_or(CryptoError::InvalidPrivateKey)?;
                Ok(Box::new(Pair { secret, public }))
            }
        }

        $(#[$meta])*
        impl PrivateKey for Pair<$curve::SecretKey> {
            fn public(&self) -> &[u8] {
                &self.public
            }

            fn agree(&self, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
                let point = Encoding::$encoding.unwrap(peer)?;
                // Fails for what is no point of the curve; the one at infinity has no such encoding.
                let peer = $curve::PublicKey::from_sec1_bytes(point).map_err(|_| CryptoError::InvalidPublicKey)?;
                Ok(SharedSecret::copy_of(self.secret.diffie_hellman(&peer).raw_secret_bytes()))
            }
        }
    };
}

curve!(
    #[cfg(feature = "kex-p256")]
    Prime256v1: p256, PRIME256V1, 32 bytes, 8 bits
);
curve!(
    #[cfg(feature = "kex-nist")]
    Secp384r1: p384, SECP384R1, 48 bytes, 8 bits
);
curve!(
    #[cfg(feature = "kex-nist")]
    Secp521r1: p521, SECP521R1, 66 bytes, 1 bits
);
