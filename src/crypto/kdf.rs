//! Key derivation: HKDF (RFC 5869) with any of the protocol's hashes, always to 32 bytes.
//!
//! With the BLAKE2 hashes it is HKDF over the generic HMAC construction, not over their own keyed mode.
//!
//! ```
//! use o7s::crypto::{kdf::hkdf, suite::Kdf};
//!
//! let (mut a, mut b) = ([0; 32], [0; 32]);
//! hkdf(Kdf::Sha256, b"salt", b"secret", b"purpose one", &mut a);
//! hkdf(Kdf::Sha256, b"salt", b"secret", b"purpose two", &mut b);
//! assert_ne!(a, b);
//! ```

use hkdf::{GenericHkdf, HmacImpl};
use hmac::Hmac;
#[cfg(any(feature = "sha3", feature = "blake2"))]
use hmac::SimpleHmac;

use super::CryptoError;
use super::suite::Kdf;

/// Fills `out` from the secret `ikm`, extract then expand, with a hash that this build has.
///
/// # Panics
/// If it does not have it, for which [`try_hkdf`] is: SHA-256 and SHA-384 are in every build.
#[allow(clippy::expect_used, reason = "the caller's to know, and said")]
pub fn hkdf(kdf: Kdf, salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8; 32]) {
    try_hkdf(kdf, salt, ikm, info, out).expect("the hash is in this build");
}

/// Fills `out` from the secret `ikm`, extract then expand.
///
/// # Errors
/// [`CryptoError::DigestUnavailable`] if this build does not have the hash; `out` is as it was.
pub fn try_hkdf(kdf: Kdf, salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8; 32]) -> Result<(), CryptoError> {
    match kdf {
        Kdf::Sha256 => derive::<Hmac<sha2::Sha256>>(salt, ikm, info, out),
        Kdf::Sha384 => derive::<Hmac<sha2::Sha384>>(salt, ikm, info, out),
        #[cfg(feature = "sha512")]
        Kdf::Sha512 => derive::<Hmac<sha2::Sha512>>(salt, ikm, info, out),
        #[cfg(feature = "sha3")]
        Kdf::Sha3_256 => derive::<SimpleHmac<sha3::Sha3_256>>(salt, ikm, info, out),
        #[cfg(feature = "sha3")]
        Kdf::Sha3_384 => derive::<SimpleHmac<sha3::Sha3_384>>(salt, ikm, info, out),
        #[cfg(feature = "sha3")]
        Kdf::Sha3_512 => derive::<SimpleHmac<sha3::Sha3_512>>(salt, ikm, info, out),
        #[cfg(feature = "blake2")]
        Kdf::Blake2s256 => derive::<SimpleHmac<blake2::Blake2s256>>(salt, ikm, info, out),
        #[cfg(feature = "blake2")]
        Kdf::Blake2b512 => derive::<SimpleHmac<blake2::Blake2b512>>(salt, ikm, info, out),
        #[cfg(not(all(feature = "sha512", feature = "sha3", feature = "blake2")))]
        other => return Err(CryptoError::DigestUnavailable(other)),
    }
    Ok(())
}

#[allow(clippy::expect_used, reason = "expansion fails only above 255 times the hash length, and 32 bytes never are")]
fn derive<H: HmacImpl>(salt: &[u8], ikm: &[u8], info: &[u8], out: &mut [u8; 32]) {
    GenericHkdf::<H>::new(Some(salt), ikm).expand(info, out).expect("32 bytes are within HKDF's limit");
}
