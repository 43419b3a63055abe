//! The key exchanges of RustCrypto, a family a file.

#[cfg(feature = "kex-ffdhe")]
mod ffdhe;
#[cfg(feature = "kex-ml-kem")]
pub(super) mod ml_kem;
#[cfg(any(feature = "kex-p256", feature = "kex-nist"))]
mod nist;
#[cfg(any(feature = "kex-x25519", feature = "kex-x448"))]
pub(super) mod xdh;

use alloc::vec::Vec;

use super::KeyExchange;
#[cfg(all(feature = "kex-ml-kem", any(feature = "kex-x25519", feature = "kex-x448")))]
use super::hybrid::Hybrid;

pub(super) static EXCHANGES: &[&dyn KeyExchange] = &[
    #[cfg(feature = "kex-ffdhe")]
    &ffdhe::FFDHE2048,
    #[cfg(feature = "kex-p256")]
    &nist::Prime256v1,
    #[cfg(feature = "kex-x25519")]
    &xdh::X25519,
    #[cfg(feature = "kex-ffdhe")]
    &ffdhe::FFDHE3072,
    #[cfg(feature = "kex-nist")]
    &nist::Secp384r1,
    #[cfg(feature = "kex-ffdhe")]
    &ffdhe::FFDHE4096,
    #[cfg(feature = "kex-x448")]
    &xdh::X448,
    #[cfg(feature = "kex-nist")]
    &nist::Secp521r1,
    #[cfg(feature = "kex-ml-kem")]
    &ml_kem::ML_KEM_512,
    #[cfg(feature = "kex-ml-kem")]
    &ml_kem::ML_KEM_768,
    #[cfg(feature = "kex-ml-kem")]
    &ml_kem::ML_KEM_1024,
    #[cfg(all(feature = "kex-ml-kem", feature = "kex-x25519"))]
    &Hybrid::X25519_ML_KEM_768.of(&ml_kem::ML_KEM_768, &xdh::X25519),
    #[cfg(all(feature = "kex-ml-kem", feature = "kex-x448"))]
    &Hybrid::X448_ML_KEM_1024.of(&ml_kem::ML_KEM_1024, &xdh::X448),
];

/// A private key, and the public key as it is transmitted.
struct Pair<S> {
    secret: S,
    public: Vec<u8>,
}
