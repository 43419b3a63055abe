//! Encodings of public keys as they are transmitted, and the key exchange that one belongs to.

use alloc::vec::Vec;

use super::ffdhe;
use crate::crypto::CryptoError;
use crate::crypto::suite::Kex;

/// Encoding of a public key of fixed length.
#[derive(Debug)]
pub(crate) struct Encoding {
    kex: Kex,
    /// The part that is the same for every key, up to the key's own bytes.
    pub(super) prefix: &'static [u8],
    /// Length of all of it.
    len: usize,
}

impl Encoding {
    pub(crate) const PRIME256V1: &Self = &Self {
        kex: Kex::Prime256v1,
        prefix:
            b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
        len: 91,
    };
    pub(crate) const X25519: &Self =
        &Self { kex: Kex::X25519, prefix: b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00", len: 44 };
    pub(crate) const SECP384R1: &Self = &Self {
        kex: Kex::Secp384r1,
        prefix: b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00",
        len: 120,
    };
    pub(crate) const SECP521R1: &Self = &Self {
        kex: Kex::Secp521r1,
        prefix: b"\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23\x03\x81\x86\x00",
        len: 158,
    };
    pub(crate) const X448: &Self =
        &Self { kex: Kex::X448, prefix: b"\x30\x42\x30\x05\x06\x03\x2b\x65\x6f\x03\x39\x00", len: 68 };
    pub(crate) const ML_KEM_512: &Self = &Self {
        kex: Kex::MlKem512,
        prefix: b"\x30\x82\x03\x32\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x01\x03\x82\x03\x21\x00",
        len: 822,
    };
    pub(crate) const ML_KEM_768: &Self = &Self {
        kex: Kex::MlKem768,
        prefix: b"\x30\x82\x04\xb2\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x02\x03\x82\x04\xa1\x00",
        len: 1206,
    };
    pub(crate) const ML_KEM_1024: &Self = &Self {
        kex: Kex::MlKem1024,
        prefix: b"\x30\x82\x06\x32\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x03\x03\x82\x06\x21\x00",
        len: 1590,
    };

    const ALL: &[&Self] = &[
        Self::PRIME256V1,
        Self::X25519,
        Self::SECP384R1,
        Self::SECP521R1,
        Self::X448,
        Self::ML_KEM_512,
        Self::ML_KEM_768,
        Self::ML_KEM_1024,
    ];

    /// That of a key exchange; `None` if it has none.
    #[cfg(test)]
    pub(crate) fn of(kex: Kex) -> Option<&'static Self> {
        Self::ALL.iter().find(|encoding| encoding.kex == kex).copied()
    }

    /// The transmitted form of these key bytes; `None` if there are more or fewer than a key has.
    pub(crate) fn wrap(&self, key: &[u8]) -> Option<Vec<u8>> {
        (self.prefix.len() + key.len() == self.len).then(|| [self.prefix, key].concat())
    }

    /// Bytes of a key without what it is wrapped in.
    pub(crate) const fn key_len(&self) -> usize {
        self.len - self.prefix.len()
    }

    /// The key bytes within the transmitted form.
    ///
    /// # Errors
    /// [`CryptoError::GroupMismatch`] for a key of another group, [`CryptoError::InvalidPublicKey`] for no key at all.
    pub(crate) fn unwrap<'a>(&self, transmitted: &'a [u8]) -> Result<&'a [u8], CryptoError> {
        if algorithm_of(transmitted)? != self.kex {
            return Err(CryptoError::GroupMismatch);
        }
        transmitted.strip_prefix(self.prefix).ok_or(CryptoError::InvalidPublicKey)
    }

    /// A point on one of the NIST curves must be marked as uncompressed.
    fn matches(&self, transmitted: &[u8]) -> bool {
        let is_point = matches!(self.kex, Kex::Prime256v1 | Kex::Secp384r1 | Kex::Secp521r1);
        let key = transmitted.strip_prefix(self.prefix);
        transmitted.len() == self.len && key.is_some_and(|key| !is_point || key.first() == Some(&4))
    }
}

/// The hybrid key exchange that a public key in the raw format belongs to, whether or not this build can do it. Its length is
/// all there is to tell by.
///
/// # Errors
/// [`CryptoError::InvalidPublicKey`] for other lengths.
pub fn hybrid_of(transmitted: &[u8]) -> Result<Kex, CryptoError> {
    match transmitted.len() {
        1216 => Ok(Kex::X25519MlKem768),
        1624 => Ok(Kex::X448MlKem1024),
        _ => Err(CryptoError::InvalidPublicKey),
    }
}

/// The key exchange that a transmitted public key belongs to, whether or not this build can do it.
///
/// # Errors
/// [`CryptoError::InvalidPublicKey`] for anything but the exact encoding of a key of a known group.
pub fn algorithm_of(transmitted: &[u8]) -> Result<Kex, CryptoError> {
    let fixed = || Encoding::ALL.iter().find(|encoding| encoding.matches(transmitted)).map(|encoding| encoding.kex);
    let finite_field = || ffdhe::unwrap(transmitted).map(|(group, _)| group.kex);
    fixed().or_else(finite_field).ok_or(CryptoError::InvalidPublicKey)
}
