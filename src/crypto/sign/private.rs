//! Private keys from files.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;

use super::{KeyError, KeyKind, PublicKey, SecretKey, SignError, Signer, algorithm};
use crate::crypto::pem;
use crate::crypto::pkcs8::Pkcs8;
use crate::crypto::suite::Digest;

/// A private key in this process's memory; wiped when it is dropped, never printed, never copied.
pub struct PrivateKey {
    public: PublicKey,
    secret: Box<dyn SecretKey>,
}

impl PrivateKey {
    /// The key in a PKCS #8 structure (RFC 5958, DER), without a password.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let parts = Pkcs8::parse(der).ok_or(KeyError::Malformed)?;
        let kind = KeyKind::ALL.iter().find(|kind| kind.id() == parts.algorithm).ok_or(KeyError::Unknown)?;
        let key = Self::import(*kind, parts.private)?;
        match parts.public {
            Some(stored) if stored != key.public.key() => Err(KeyError::Inconsistent),
            _ => Ok(key),
        }
    }

    /// The key in a PEM file: one block, PKCS #8 or what older programs wrote for ECDSA and RSA. Text around it and the
    /// parameters of its curve do not matter.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn from_pem(file: &[u8]) -> Result<Self, KeyError> {
        let blocks = pem::blocks(file).map_err(|_| KeyError::NoPrivateKey)?;
        let mut keys = blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY"));
        let block = keys.next().ok_or(KeyError::NoPrivateKey)?;
        if keys.next().is_some() {
            return Err(KeyError::Several);
        }
        match &*block.label {
            "PRIVATE KEY" => Self::from_pkcs8(&block.content),
            #[cfg(feature = "sign-ecdsa")]
            "EC PRIVATE KEY" => Self::import(super::ecdsa::kind_of(&block.content)?, &block.content),
            #[cfg(not(feature = "sign-ecdsa"))]
            "EC PRIVATE KEY" => Err(KeyError::Unavailable(KeyKind::EcdsaP256)),
            "RSA PRIVATE KEY" => Self::import(KeyKind::Rsa, &block.content),
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
            _ => Err(KeyError::NoPrivateKey),
        }
    }

    fn import(kind: KeyKind, private: &[u8]) -> Result<Self, KeyError> {
        let secret = algorithm(kind)?.import(private)?;
        Ok(Self { public: PublicKey::new(kind, &secret.public())?, secret })
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8], digest: Option<Digest>, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        self.secret.sign(message, self.public.kind.digest(digest)?, rng)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, ..)", self.public.kind)
    }
}
