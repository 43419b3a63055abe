//! Hashing with any of the protocol's hashes.
//!
//! ```
//! use o7s::crypto::{hash::digest, suite::Digest};
//!
//! let whole = digest(Digest::Sha384, &[b"one two"]);
//! assert_eq!(whole.len(), 48);
//! assert_eq!(whole, digest(Digest::Sha384, &[b"one", b" ", b"two"]), "parts are hashed as if joined");
//! ```

use core::fmt;

use super::CryptoError;
use super::suite::Digest;

/// A hash value, 32 to 64 bytes; dereferences to them.
#[derive(Clone, Copy)]
pub struct DigestOutput {
    bytes: [u8; 64],
    len: u8,
}

impl core::ops::Deref for DigestOutput {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl AsRef<[u8]> for DigestOutput {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for DigestOutput {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for DigestOutput {}

impl fmt::Debug for DigestOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The hash of `parts`, one after the other, with an algorithm that this build has.
///
/// # Panics
/// If it does not have it, for which [`try_digest`] is: SHA-256 and SHA-384 are in every build.
#[allow(clippy::expect_used, reason = "the caller's to know, and said")]
pub fn digest(algorithm: Digest, parts: &[&[u8]]) -> DigestOutput {
    try_digest(algorithm, parts).expect("the hash is in this build")
}

/// The hash of `parts`, one after the other.
///
/// # Errors
/// [`CryptoError::DigestUnavailable`] if this build does not have the algorithm.
pub fn try_digest(algorithm: Digest, parts: &[&[u8]]) -> Result<DigestOutput, CryptoError> {
    Ok(match algorithm {
        Digest::Sha256 => compute::<sha2::Sha256>(parts),
        Digest::Sha384 => compute::<sha2::Sha384>(parts),
        #[cfg(feature = "sha512")]
        Digest::Sha512 => compute::<sha2::Sha512>(parts),
        #[cfg(feature = "sha3")]
        Digest::Sha3_256 => compute::<sha3::Sha3_256>(parts),
        #[cfg(feature = "sha3")]
        Digest::Sha3_384 => compute::<sha3::Sha3_384>(parts),
        #[cfg(feature = "sha3")]
        Digest::Sha3_512 => compute::<sha3::Sha3_512>(parts),
        #[cfg(feature = "blake2")]
        Digest::Blake2s256 => compute::<blake2::Blake2s256>(parts),
        #[cfg(feature = "blake2")]
        Digest::Blake2b512 => compute::<blake2::Blake2b512>(parts),
        #[cfg(not(all(feature = "sha512", feature = "sha3", feature = "blake2")))]
        other => return Err(CryptoError::DigestUnavailable(other)),
    })
}

/// SHA-256 of `parts`, one after the other: salts are made of it whatever hash was negotiated.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn compute<H: sha2::Digest>(parts: &[&[u8]]) -> DigestOutput {
    let mut hash = H::new();
    for part in parts {
        hash.update(part);
    }
    let value = hash.finalize();
    let mut out = DigestOutput { bytes: [0; 64], len: value.len() as u8 };
    out.bytes.iter_mut().zip(value).for_each(|(to, from)| *to = from);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_the_stated_ones() {
        for &alg in Digest::ALL {
            assert_eq!(digest(alg, &[b"x"]).len(), alg.len(), "{alg}");
        }
    }

    #[test]
    fn known_answer() {
        // FIPS 180-4, the one-block example.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(alloc::format!("{:?}", digest(Digest::Sha256, &[b"a", b"bc"])), expected);
        assert_eq!(*digest(Digest::Sha256, &[b"abc"]), sha256(&[b"", b"abc"]));
    }
}
