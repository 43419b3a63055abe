//! One's own certificate, and who signs with its key.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;

use super::{Certificate, CertificateError, CredentialsError, Date, store};
use crate::crypto::sign::{KeyKind, PrivateKey, SignError, Signer};
use crate::crypto::suite::Digest;

/// One's own certificate and the private key that belongs to it. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    certificate: Arc<Certificate>,
    signer: Arc<dyn Signer>,
}

impl Credentials {
    /// A certificate together with who signs for it.
    ///
    /// # Errors
    /// [`CredentialsError::Mismatch`] if they are of different keys, [`CredentialsError::Certificate`] if no peer could take a
    /// name from the certificate, [`CredentialsError::Key`] if its key may not be used.
    pub fn new(certificate: Certificate, signer: Arc<dyn Signer>) -> Result<Self, CredentialsError> {
        certificate.name()?;
        if certificate.public_key()? != *signer.public_key() {
            return Err(CredentialsError::Mismatch { subject: certificate.subject_text });
        }
        Ok(Self { certificate: Arc::new(certificate), signer })
    }

    /// Credentials from the two files that the reference keeps for a name: PEM, one certificate and one private key.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), and [`CredentialsError::File`] and [`CredentialsError::Key`] for the files.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, CredentialsError> {
        Self::new(store::own(certificate)?, Arc::new(PrivateKey::from_pem(key)?))
    }

    /// The certificate, as it is sent.
    pub fn certificate(&self) -> &[u8] {
        self.certificate.der()
    }

    /// The name in it.
    pub fn name(&self) -> Result<&str, CertificateError> {
        self.certificate.name()
    }

    /// Kind of the key.
    pub fn kind(&self) -> KeyKind {
        self.signer.public_key().kind()
    }

    /// The last moment that the certificate is valid at.
    pub fn not_after(&self) -> Date {
        self.certificate.not_after()
    }

    /// Signs a message; `digest` is the one that it names.
    ///
    /// # Errors
    /// [`SignError`]: the digest does not go with the key, or the signer does not answer.
    pub fn sign(&self, message: &[u8], digest: Option<Digest>, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignError> {
        self.signer.sign(message, digest, rng)
    }
}

/// Two are equal if their certificates are, and so their keys.
impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl Eq for Credentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, ..)", self.certificate.subject())
    }
}
