//! Stores: the authorities that a program trusts, and what helps to find the way to them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::{Certificate, CertificateError, StoreError, Unusable};
use crate::crypto::{der, pem};

/// Certificates that a store keeps at most.
pub const MAX_CERTIFICATES: usize = 4096;
/// Bytes of a certificate in a store, or of one's own, at most: as many as a handshake could carry.
const MAX_SIZE: usize = 65_535;

/// Authorities that are trusted, and intermediates between them and the peers.
///
/// A store does not change while it is used: to reload it, make a new one and swap them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TrustStore {
    pub(super) authorities: Vec<Entry>,
    pub(super) intermediates: Vec<Entry>,
    /// What was left out: a peer that depends on it is told apart from one whose issuer is not known.
    pub(super) unusable: Vec<(Entry, Unusable)>,
}

/// A certificate in a store.
pub(super) type Entry = Certificate;

/// A certificate that is in the files of a store, but is not used as it was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// Line of its beginning in the file, from 1; 1 for DER.
    pub line: usize,
    /// Its subject.
    pub subject: Box<str>,
    /// Why it is not used.
    pub reason: Unusable,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} is left out, {}", self.line, self.subject, self.reason)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Authority,
    Intermediate,
}

impl TrustStore {
    /// An empty store: it trusts nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the authorities of a file: all its certificates, PEM, or one in DER. A path ends at those that are self-signed; one
    /// that another issued becomes an intermediate, and is returned in the list of what was left out.
    ///
    /// Validity is not looked at here but whenever a path is.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the file is in the store then.
    pub fn add_authorities(&mut self, file: &[u8]) -> Result<Vec<LeftOut>, StoreError> {
        self.add(file, Role::Authority)
    }

    /// Adds the intermediates of a file: all its certificates, PEM, or one in DER. None of them is trusted by itself.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the file is in the store then.
    pub fn add_intermediates(&mut self, file: &[u8]) -> Result<Vec<LeftOut>, StoreError> {
        self.add(file, Role::Intermediate)
    }

    /// Certificates of the authorities.
    pub fn authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    /// Certificates of the intermediates.
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    fn add(&mut self, file: &[u8], role: Role) -> Result<Vec<LeftOut>, StoreError> {
        let read = read(file)?;
        let kept = self.authorities.len() + self.intermediates.len() + self.unusable.len();
        if kept + read.len() > MAX_CERTIFICATES {
            return Err(StoreError::Full { max: MAX_CERTIFICATES });
        }
        let mut left_out = Vec::new();
        for (line, read) in read {
            let (subject, reason) = match read {
                Ok(certificate) => {
                    let subject = certificate.subject_text.clone();
                    (subject, self.place(certificate, role))
                }
                Err(subject) => (subject, Some(Unusable::Unsupported)),
            };
            if let Some(reason) = reason {
                left_out.push(LeftOut { line, subject, reason });
            }
        }
        Ok(left_out)
    }

    /// Puts a certificate where it belongs, and says why that is not where it was meant to be.
    fn place(&mut self, certificate: Certificate, role: Role) -> Option<Unusable> {
        let reason = self.judge(&certificate, role);
        match (reason, role) {
            (Some(Unusable::Duplicate), _) => {}
            (None, Role::Authority) => self.authorities.push(certificate),
            (None, Role::Intermediate) | (Some(Unusable::NotSelfSigned), _) => self.intermediates.push(certificate),
            (Some(reason), _) => self.unusable.push((certificate, reason)),
        }
        reason
    }

    /// Why a certificate cannot be what it is meant to be; `NotSelfSigned` if it is good for the other role.
    fn judge(&self, certificate: &Certificate, role: Role) -> Option<Unusable> {
        let all = self.authorities.iter().chain(&self.intermediates);
        if all.chain(self.unusable.iter().map(|(entry, _)| entry)).any(|entry| entry.der == certificate.der) {
            return Some(Unusable::Duplicate);
        }
        if !certificate.is_authority {
            return Some(Unusable::NotAuthority);
        }
        if certificate.key_usage.is_some_and(|usage| !usage.cert_sign) {
            return Some(Unusable::NoCertSign);
        }
        if certificate.has_name_constraints {
            return Some(Unusable::NameConstraints);
        }
        let key = match certificate.public_key() {
            Ok(key) => key,
            Err(reason) => return Some(Unusable::Key(reason)),
        };
        let self_signed = || certificate.is_self_signed(&key);
        match (role, certificate.is_self_issued()) {
            (Role::Authority, true) => match self_signed() {
                Some(true) => None,
                Some(false) => Some(Unusable::Forged),
                None => Some(Unusable::Algorithm),
            },
            // A new key of an authority may be issued by its old one under the same name.
            (Role::Intermediate, true) => (self_signed() == Some(true)).then_some(Unusable::SelfSigned),
            (Role::Authority, false) => Some(Unusable::NotSelfSigned),
            (Role::Intermediate, false) => None,
        }
    }
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (authorities, intermediates) = (self.authorities.len(), self.intermediates.len());
        write!(f, "TrustStore({authorities} authorities, {intermediates} intermediates)")
    }
}

/// A certificate and the line that it begins in, or the subject of one that is not supported.
type Read = (usize, Result<Certificate, Box<str>>);

/// The certificates of a file.
fn read(file: &[u8]) -> Result<Vec<Read>, StoreError> {
    let parse = |line, der: &[u8]| match Certificate::from_der(der, MAX_SIZE) {
        Ok(certificate) => Ok((line, Ok(certificate))),
        Err(CertificateError::Extension { subject }) => Ok((line, Err(subject))),
        Err(reason) => Err(StoreError::Certificate { line, reason }),
    };
    // The tag of a certificate is the character 0, and in all but the smallest no character follows it.
    if matches!(file, [0x30, 0x80..=0xff, ..]) || der::only(file, der::SEQUENCE).is_some() {
        return Ok(alloc::vec![parse(1, file)?]);
    }
    let blocks = pem::blocks(file)?;
    if blocks.is_empty() {
        return Err(StoreError::Empty);
    }
    let mut read = Vec::with_capacity(blocks.len());
    for block in blocks {
        if !matches!(&*block.label, "CERTIFICATE" | "X509 CERTIFICATE") {
            return Err(StoreError::Other { line: block.line, label: block.label });
        }
        read.push(parse(block.line, &block.content)?);
    }
    Ok(read)
}

/// The only certificate of a file.
pub(super) fn own(file: &[u8]) -> Result<Certificate, StoreError> {
    let mut all = read(file)?;
    let found = all.len();
    match (all.pop(), found) {
        (Some((_, Ok(certificate))), 1) => Ok(certificate),
        (Some((line, Err(subject))), 1) => {
            Err(StoreError::Certificate { line, reason: CertificateError::Extension { subject } })
        }
        _ => Err(StoreError::Several { found }),
    }
}
