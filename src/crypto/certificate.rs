//! X.509 certificates: who a peer is, by the word of an authority.
//!
//! A certificate binds a name to a key. The name is the only common name (CN) of its subject, exactly, byte for byte: no
//! wildcards, no case folding, no alternative names. Who may say so is in a [`TrustStore`], filled by the program from its
//! own files: self-signed certificates of authorities, and intermediates that help to find the way from a peer's certificate,
//! of which a handshake carries no more than the one. There is no revocation: give certificates short lives.
//!
//! Validation of paths is by `rustls-webpki`, with our [algorithms](super::sign), and with what it leaves to its caller checked
//! here, in this order, so that what is refused costs little:
//!
//! 1. the size;
//! 2. that two parsers take it for exactly one certificate of version 3;
//! 3. the name, and that it is the expected one;
//! 4. that its issuer leads to an authority in the store;
//! 5. validity of the peer's certificate and of the authority's own; that the key is strong and for digital signatures; that it
//!    is no authority's; no name constraints anywhere, because they would not bind a common name;
//! 6. signatures, validity, basic constraints and path lengths of what is between, with limits for depth and work.
//!
//! The extended key usage does not matter, as none is defined for these names. Nothing here reads a clock or a file.
//!
//! ```
//! use o7s::base::rng::Rng;
//! use o7s::crypto::certificate::{Credentials, Date, Limits, Signed, TrustStore};
//!
//! # let file = |name: &str| std::fs::read(format!("tests/data/certificates/reference/ec/{name}")).unwrap();
//! let mut store = TrustStore::new();
//! let left_out = store.add_authorities(&file("ca.pem"))?;
//! assert!(left_out.is_empty());
//!
//! // One end has credentials, and signs its message.
//! let own = Credentials::from_pem(&file("oping.crt.pem"), &file("oping.key.pem"))?;
//! let message = b"what is sent";
//! let signature = own.sign(message, None, &mut Rng::from_seed([7; 32]))?;
//!
//! // The other knows the authority, the name that it called, and the time.
//! let now = Date::from_unix(1_796_000_000);
//! let signed = Signed { certificate: own.certificate(), digest: None, message, signature: &signature };
//! let peer = store.authenticate(&signed, Some("oping"), now, &Limits::default())?;
//! assert_eq!(&*peer.name, "oping");
//! let other = store.authenticate(&signed, Some("bank"), now, &Limits::default()).unwrap_err();
//! assert!(other.to_string().starts_with("certificate is for oping, not for bank"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::boxed::Box;
use core::fmt;

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, NameConstraints};

use super::der;
use super::sign::{KeyError, PublicKey};

mod algorithms;
mod credentials;
mod date;
mod error;
mod name;
mod path;
mod pinned;
mod store;

pub use credentials::Credentials;
pub use date::Date;
pub use error::{CertificateError, CredentialsError, StoreError, Unusable};
pub use name::NameFault;
pub use path::{Limits, Signed, VerifiedPath, VerifiedPeer};
pub use pinned::authenticate_pinned;
pub use store::{LeftOut, MAX_CERTIFICATES, TrustStore};

/// A certificate that two parsers agree is one. Nothing says yet that it is true.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Box<[u8]>,
    /// Content of its subject and of its issuer, as they are compared.
    subject: Box<[u8]>,
    issuer: Box<[u8]>,
    subject_text: Box<str>,
    issuer_text: Box<str>,
    name: Result<Box<str>, NameFault>,
    spki: Box<[u8]>,
    not_before: Date,
    not_after: Date,
    is_authority: bool,
    key_usage: Option<Usage>,
    has_name_constraints: bool,
}

/// What a key is for, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    digital_signature: bool,
    cert_sign: bool,
}

impl Certificate {
    /// The certificate with these bytes, of which there are at most `max`.
    ///
    /// # Errors
    /// [`CertificateError::TooLarge`], [`Malformed`](CertificateError::Malformed) or
    /// [`Extension`](CertificateError::Extension).
    pub fn from_der(der: &[u8], max: usize) -> Result<Self, CertificateError> {
        if der.len() > max {
            return Err(CertificateError::TooLarge { len: der.len(), max });
        }
        // The stricter parser for critical extensions, which allocates nothing, comes first; the bounds on names between the
        // two keep the second one from sorting for long.
        let whole = CertificateDer::from(der);
        let (first, unsupported) = match EndEntityCert::try_from(&whole) {
            Ok(first) => (Some(first), false),
            Err(webpki::Error::UnsupportedCriticalExtension) => (None, true),
            Err(_) => return Err(CertificateError::Malformed),
        };
        let (issuer, subject) = names(der).ok_or(CertificateError::Malformed)?;
        if !name::is_bounded(issuer) || !name::is_bounded(subject) {
            return Err(CertificateError::Malformed);
        }
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        let tbs = parsed.tbs_certificate();
        let subject_text = name::text(tbs.subject());
        let first = match first {
            Some(first) if !unsupported => first,
            _ => return Err(CertificateError::Extension { subject: subject_text }),
        };
        if first.subject() != subject || first.issuer() != issuer {
            return Err(CertificateError::Malformed);
        }
        let twice = |_| CertificateError::Malformed;
        let constraints = tbs.get_extension::<BasicConstraints>().map_err(twice)?;
        let usage = tbs.get_extension::<KeyUsage>().map_err(twice)?;
        let usage = usage
            .map(|(_, usage)| Usage { digital_signature: usage.digital_signature(), cert_sign: usage.key_cert_sign() });
        let validity = tbs.validity();
        Ok(Self {
            der: der.into(),
            subject: subject.into(),
            issuer: issuer.into(),
            issuer_text: name::text(tbs.issuer()),
            name: name::common_name(tbs.subject()),
            spki: (*first.subject_public_key_info()).into(),
            not_before: Date::from_unix(validity.not_before.to_unix_duration().as_secs()),
            not_after: Date::from_unix(validity.not_after.to_unix_duration().as_secs()),
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
            key_usage: usage,
            has_name_constraints: tbs.filter_extensions::<NameConstraints>().next().is_some(),
            subject_text,
        })
    }

    /// The bytes of the certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject, for people; at most some 200 characters.
    pub fn subject(&self) -> &str {
        &self.subject_text
    }

    /// The issuer, for people.
    pub fn issuer(&self) -> &str {
        &self.issuer_text
    }

    /// The name that it is for: the only common name of its subject.
    ///
    /// # Errors
    /// [`CertificateError::Name`] says why there is none.
    pub fn name(&self) -> Result<&str, CertificateError> {
        match &self.name {
            Ok(name) => Ok(name),
            Err(fault) => Err(CertificateError::Name { subject: self.subject_text.clone(), fault: *fault }),
        }
    }

    /// Its public key.
    ///
    /// # Errors
    /// [`KeyError`]: the key may not be used.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_spki(&self.spki)
    }

    /// The first moment that it is valid at.
    pub fn not_before(&self) -> Date {
        self.not_before
    }

    /// The last moment that it is valid at.
    pub fn not_after(&self) -> Date {
        self.not_after
    }

    /// Returns `true` if it may be used at this time.
    fn is_valid_at(&self, now: Date) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Returns `true` if its subject is its issuer.
    fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether it is signed with its own key; `None` if that cannot be told, for want of the algorithm.
    fn is_self_signed(&self, key: &PublicKey) -> Option<bool> {
        let parts = || {
            let mut content = der::only(&self.der, der::SEQUENCE)?;
            let (_, _, tbs) = der::next(&mut content)?;
            let id = der::take(&mut content, der::SEQUENCE)?;
            Some((id, tbs, der::bits(der::only(content, der::BIT_STRING)?)?))
        };
        match parts() {
            Some((id, tbs, signature)) => algorithms::verify(key, id, tbs, signature),
            None => Some(false),
        }
    }
}

/// Contents of issuer and subject, in the bytes of a certificate of version 3.
fn names(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const VERSION: u8 = 0xa0;
    let mut content = der::only(der, der::SEQUENCE)?;
    let mut tbs = der::take(&mut content, der::SEQUENCE)?;
    der::take(&mut tbs, VERSION)?;
    der::take(&mut tbs, der::INTEGER)?;
    der::take(&mut tbs, der::SEQUENCE)?;
    let issuer = der::take(&mut tbs, der::SEQUENCE)?;
    der::take(&mut tbs, der::SEQUENCE)?;
    Some((issuer, der::take(&mut tbs, der::SEQUENCE)?))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, issued by {})", self.subject_text, self.issuer_text)
    }
}
