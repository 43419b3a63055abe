//! Values that must not leak: wiped on drop, compared in constant time, never printed.

use alloc::vec::Vec;
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The 32 bytes that both ends of an encrypted flow share.
///
/// Every cipher gets 32 bytes and uses as many of them as its key has. There is no `Clone`: a key moves from the key
/// exchange into the packet protection of its flow.
#[allow(unnameable_types, reason = "users see it in a hidden function only")]
pub struct SessionKey([u8; Self::LEN]);

impl SessionKey {
    /// Bytes in a session key.
    pub const LEN: usize = 32;

    /// A key of these bytes, for keys that were agreed elsewhere and for known-answer tests.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes. Copy them nowhere that is not wiped.
    pub const fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    pub(crate) const fn zero() -> Self {
        Self([0; Self::LEN])
    }

    pub(crate) const fn expose_mut(&mut self) -> &mut [u8; Self::LEN] {
        &mut self.0
    }
}

impl Drop for SessionKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for SessionKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SessionKey {}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// Shared secret of a key agreement or encapsulation, before key derivation. 32 to 512 bytes, by algorithm.
#[allow(unnameable_types, reason = "users see it in a hidden function only")]
pub struct SharedSecret(Zeroizing<Vec<u8>>);

impl SharedSecret {
    /// A secret of these bytes; the source is the caller's to wipe.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// Two secrets, one behind the other.
    pub(crate) fn joined(first: &Self, second: &Self) -> Self {
        // As long as both from the start: what grows is moved, and stays where it was.
        let mut both = Zeroizing::new(Vec::with_capacity(first.0.len() + second.0.len()));
        both.extend_from_slice(&first.0);
        both.extend_from_slice(&second.0);
        Self(both)
    }

    /// The bytes, as they enter key derivation.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_secret() {
        let key = SessionKey::from_bytes([0xab; 32]);
        assert_eq!(alloc::format!("{key:?}"), "SessionKey(..)");
        assert_eq!(alloc::format!("{:?}", SharedSecret::copy_of(b"x")), "SharedSecret(..)");
    }

    #[test]
    fn compares_all_bytes() {
        let mut other = [0xab; 32];
        assert_eq!(SessionKey::from_bytes(other), SessionKey::from_bytes([0xab; 32]));
        other[31] ^= 1;
        assert_ne!(SessionKey::from_bytes(other), SessionKey::from_bytes([0xab; 32]));
    }
}
