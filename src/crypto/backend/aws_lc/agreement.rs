//! Diffie-Hellman: the curves of NIST, and X25519.

use alloc::boxed::Box;
use alloc::vec::Vec;

use aws_lc_rs::agreement::{self, Algorithm, UnparsedPublicKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::crypto::backend::{KeyExchange, PrivateKey};
use crate::crypto::kex::Encoding;
use crate::crypto::suite::Kex;
use crate::crypto::{CryptoError, SharedSecret};

/// The longest private key, that of P-521.
const MAX_PRIVATE: usize = 66;
/// How often a private key is drawn. All but one in 2^32 or more are below the order of the group.
const TRIES: usize = 8;

/// A row for a curve.
pub(super) struct Curve {
    kex: Kex,
    algorithm: &'static Algorithm,
    encoding: &'static Encoding,
    /// Bytes of a private key, and those bits of the first that it uses.
    private: (usize, u8),
    /// What a key of the peer's is with which nothing can be agreed on: every one of the right length is a point of X25519.
    refused: CryptoError,
}

#[cfg(feature = "kex-p256")]
pub(super) static PRIME256V1: &Curve = &Curve {
    kex: Kex::Prime256v1,
    algorithm: &agreement::ECDH_P256,
    encoding: Encoding::PRIME256V1,
    private: (32, 0xff),
    refused: CryptoError::InvalidPublicKey,
};
#[cfg(feature = "kex-nist")]
pub(super) static SECP384R1: &Curve = &Curve {
    kex: Kex::Secp384r1,
    algorithm: &agreement::ECDH_P384,
    encoding: Encoding::SECP384R1,
    private: (48, 0xff),
    refused: CryptoError::InvalidPublicKey,
};
#[cfg(feature = "kex-nist")]
pub(super) static SECP521R1: &Curve = &Curve {
    kex: Kex::Secp521r1,
    algorithm: &agreement::ECDH_P521,
    encoding: Encoding::SECP521R1,
    private: (MAX_PRIVATE, 0x01),
    refused: CryptoError::InvalidPublicKey,
};
#[cfg(feature = "kex-x25519")]
pub(super) static X25519: &Curve = &Curve {
    kex: Kex::X25519,
    algorithm: &agreement::X25519,
    encoding: Encoding::X25519,
    private: (32, 0xff),
    refused: CryptoError::WeakSharedSecret,
};

struct Pair {
    curve: &'static Curve,
    secret: agreement::PrivateKey,
    public: Vec<u8>,
}

impl KeyExchange for &'static Curve {
    fn kex(&self) -> Kex {
        self.kex
    }

    /// Draws the same key as the rows of RustCrypto do.
    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let (len, first) = self.private;
        let mut bytes = Zeroizing::new([0; MAX_PRIVATE]);
        let private = bytes.get_mut(..len).unwrap_or_default();
        for _ in 0..TRIES {
            rng.fill_bytes(private);
            private.iter_mut().take(1).for_each(|byte| *byte &= first);
            if let Ok(pair) = self.import(private) {
                return Ok(pair);
            }
        }
        Err(CryptoError::InvalidPrivateKey)
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let invalid = CryptoError::InvalidPrivateKey;
        let secret = agreement::PrivateKey::from_private_key(self.algorithm, private).map_err(|_| invalid)?;
        let point = secret.compute_public_key().map_err(|_| invalid)?;
        let public = self.encoding.wrap(point.as_ref()).ok_or(invalid)?;
        Ok(Box::new(Pair { curve: self, secret, public }))
    }
}

impl PrivateKey for Pair {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(&self, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        // It would take points in other forms as well.
        self.curve.encoding.unwrap(peer)?;
        let peer = UnparsedPublicKey::new(self.curve.algorithm, peer);
        agreement::agree(&self.secret, peer, self.curve.refused, |secret| Ok(SharedSecret::copy_of(secret)))
    }
}
