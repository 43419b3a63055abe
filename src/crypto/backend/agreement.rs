//! Diffie-Hellman of RustCrypto: P-256 and X25519.

use alloc::boxed::Box;

use p256::elliptic_curve::sec1::ToSec1Point;
use rand_core::CryptoRng;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use super::{KeyExchange, PrivateKey};
use crate::crypto::kex::Encoding;
use crate::crypto::suite::Kex;
use crate::crypto::{CryptoError, SharedSecret};

pub(super) static EXCHANGES: &[&dyn KeyExchange] = &[&P256, &X25519];

/// A private key and its transmitted public key of `N` bytes.
struct Pair<S, const N: usize> {
    secret: S,
    public: [u8; N],
}

struct P256;

/// Encoding of a P-256 key: prefix 26, uncompressed point 65.
type P256Pair = Pair<p256::SecretKey, 91>;

impl KeyExchange for P256 {
    fn kex(&self) -> Kex {
        Kex::Prime256v1
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            rng.fill_bytes(bytes.as_mut());
            // All but one in 2^32 strings are below the order of the group.
            if let Ok(pair) = self.import(bytes.as_ref()) {
                return Ok(pair);
            }
        }
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let secret = p256::SecretKey::from_slice(private).map_err(|_| CryptoError::InvalidPrivateKey)?;
        if private.len() != 32 {
            return Err(CryptoError::InvalidPrivateKey);
        }
        let point = secret.public_key().to_sec1_point(false);
        let public = Encoding::PRIME256V1.wrap(point.as_bytes()).ok_or(CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(P256Pair { secret, public }))
    }
}

impl PrivateKey for P256Pair {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        let point = Encoding::PRIME256V1.unwrap(peer)?;
        let peer = p256::PublicKey::from_sec1_bytes(point).map_err(|_| CryptoError::InvalidPublicKey)?;
        Ok(SharedSecret::copy_of(self.secret.diffie_hellman(&peer).raw_secret_bytes()))
    }
}

struct X25519;

/// Encoding of an X25519 key: prefix 12, u-coordinate 32.
type X25519Pair = Pair<StaticSecret, 44>;

impl KeyExchange for X25519 {
    fn kex(&self) -> Kex {
        Kex::X25519
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        self.import(bytes.as_ref())
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let bytes: Zeroizing<[u8; 32]> =
            Zeroizing::new(private.try_into().map_err(|_| CryptoError::InvalidPrivateKey)?);
        let secret = StaticSecret::from(*bytes);
        let public = x25519_dalek::PublicKey::from(&secret);
        let public = Encoding::X25519.wrap(public.as_bytes()).ok_or(CryptoError::InvalidPrivateKey)?;
        Ok(Box::new(X25519Pair { secret, public }))
    }
}

impl PrivateKey for X25519Pair {
    fn public(&self) -> &[u8] {
        &self.public
    }

    fn agree(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        let peer: [u8; 32] = Encoding::X25519.unwrap(peer)?.try_into().map_err(|_| CryptoError::InvalidPublicKey)?;
        let secret = self.secret.diffie_hellman(&peer.into());
        if !secret.was_contributory() {
            return Err(CryptoError::WeakSharedSecret);
        }
        Ok(SharedSecret::copy_of(secret.as_bytes()))
    }
}
