//! From a peer's certificate to an authority.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use rustls_pki_types::{CertificateDer, Der, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use super::store::Entry;
use super::{Certificate, CertificateError, Date, TrustStore, algorithms};
use crate::crypto::der;
use crate::crypto::sign::PublicKey;
use crate::crypto::suite::Digest;

/// What a peer may make a verifier do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden functions only")]
pub struct Limits {
    /// Bytes of a certificate, 32768 by default. A message has room for 65535.
    pub size: usize,
    /// Intermediates between a peer's certificate and the authority, 4 by default; more than 6 are never followed.
    pub intermediates: usize,
}

impl Limits {
    /// The limit of bytes of a certificate.
    pub const fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// The limit of intermediates.
    pub const fn intermediates(mut self, n: usize) -> Self {
        self.intermediates = n;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { size: 32_768, intermediates: 4 }
    }
}

/// A message, and the certificate of who signed it.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "it is what is in a message")]
#[allow(unnameable_types, reason = "users see it in a hidden function only")]
pub struct Signed<'a> {
    /// The certificate, DER.
    pub certificate: &'a [u8],
    /// The digest that the message names.
    pub digest: Option<Digest>,
    /// All that is signed.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// A way from a peer's certificate to an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedPath {
    /// The subject of the authority; `its pinned key` if the key was known beforehand and no authority was asked.
    pub authority: Box<str>,
    /// Certificates on the way, both ends included.
    pub len: usize,
    /// The last moment that all of them are valid at.
    pub valid_until: Date,
    /// The peer's public key.
    pub public_key: PublicKey,
}

/// Who a peer is, for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedPeer {
    /// The name in its certificate.
    pub name: Box<str>,
    /// The whole subject, for people.
    pub subject: Box<str>,
    /// The last moment that its certificate is valid at.
    pub not_after: Date,
    /// The way to the authority, and the key.
    pub path: VerifiedPath,
}

/// No usage is defined for the names of flows, so that all of them will do.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        purposes.try_for_each(|purpose| purpose.map(drop))
    }
}

impl TrustStore {
    /// Who signed a message: checks the certificate, by the order of [this module](super), and the signature. `expected` is the
    /// name that was called; a server expects none.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn authenticate(
        &self,
        signed: &Signed<'_>,
        expected: Option<&str>,
        now: Date,
        limits: &Limits,
    ) -> Result<VerifiedPeer, CertificateError> {
        let peer = self.verify(signed.certificate, expected, now, limits)?;
        match peer.path.public_key.verify(signed.message, signed.digest, signed.signature) {
            Ok(()) => Ok(peer),
            Err(reason) => Err(CertificateError::Message { subject: peer.subject, reason }),
        }
    }

    /// Who a certificate is of. That the peer has its private key is not said by it.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn verify(
        &self,
        certificate: &[u8],
        expected: Option<&str>,
        now: Date,
        limits: &Limits,
    ) -> Result<VerifiedPeer, CertificateError> {
        let leaf = Certificate::from_der(certificate, limits.size)?;
        let name = leaf.name()?;
        if let Some(expected) = expected.filter(|expected| *expected != name) {
            return Err(CertificateError::WrongName { expected: expected.into(), found: name.into() });
        }
        let name = name.into();
        let path = self.path(&leaf, now, limits)?;
        Ok(VerifiedPeer { name, subject: leaf.subject_text, not_after: leaf.not_after, path })
    }

    /// The way from a certificate to an authority, whatever the name in it.
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn path(&self, leaf: &Certificate, now: Date, limits: &Limits) -> Result<VerifiedPath, CertificateError> {
        let reach = Reach::of(leaf, self);
        if reach.is_lost() {
            return Err(reach.lost(now));
        }
        check_validity(leaf, now)?;
        let subject = || leaf.subject_text.clone();
        let public_key =
            leaf.public_key().map_err(|reason| CertificateError::WeakKey { subject: subject(), reason })?;
        if leaf.is_authority {
            return Err(CertificateError::Authority { subject: subject() });
        }
        if leaf.key_usage.is_some_and(|usage| !usage.digital_signature) {
            return Err(CertificateError::Usage { subject: subject() });
        }
        if leaf.has_name_constraints {
            return Err(CertificateError::NameConstraints { subject: subject() });
        }
        reach.follow(public_key, now, limits)
    }
}

/// Whether a certificate may be used at this time.
pub(super) fn check_validity(certificate: &Certificate, now: Date) -> Result<(), CertificateError> {
    let (not_before, not_after) = (certificate.not_before, certificate.not_after);
    let subject = || certificate.subject_text.clone();
    if not_before > not_after {
        return Err(CertificateError::Validity { subject: subject() });
    }
    if now > not_after {
        return Err(CertificateError::CertificateExpired { subject: subject(), not_after, now });
    }
    if now < not_before {
        return Err(CertificateError::NotYetValid { subject: subject(), not_before, now });
    }
    Ok(())
}

/// The part of a store that a certificate can have to do with, going by the names of issuers alone.
struct Reach<'a> {
    leaf: &'a Certificate,
    store: &'a TrustStore,
    /// Issuers that are named, the certificate's own first.
    names: Vec<&'a [u8]>,
    authorities: Vec<&'a Entry>,
    intermediates: Vec<&'a Entry>,
}

impl<'a> Reach<'a> {
    fn of(leaf: &'a Certificate, store: &'a TrustStore) -> Self {
        let mut names: Vec<&[u8]> = alloc::vec![&leaf.issuer];
        let mut intermediates: Vec<&Entry> = Vec::new();
        let mut next = 0;
        while let Some(&name) = names.get(next) {
            next += 1;
            for entry in store.intermediates.iter().filter(|entry| *entry.subject == *name) {
                intermediates.push(entry);
                if !names.contains(&&*entry.issuer) {
                    names.push(&entry.issuer);
                }
            }
        }
        let authorities = store.authorities.iter().filter(|entry| names.contains(&&*entry.subject)).collect();
        Self { leaf, store, names, authorities, intermediates }
    }

    /// Returns `true` if no path can lead to an authority.
    fn is_lost(&self) -> bool {
        self.authorities.is_empty()
    }

    /// Why there is no path: something on it is not used, has expired, or is not there.
    fn lost(&self, now: Date) -> CertificateError {
        let (subject, issuer) = (self.leaf.subject_text.clone(), self.leaf.issuer_text.clone());
        let error = self.unusable().or_else(|| self.untimely(now));
        error.unwrap_or(CertificateError::UnknownIssuer { subject, issuer })
    }

    /// An issuer that is in the store and not used.
    fn unusable(&self) -> Option<CertificateError> {
        let mut unusable = self.store.unusable.iter();
        let (entry, reason) = unusable.find(|(entry, _)| self.names.contains(&&*entry.subject))?;
        let (subject, issuer) = (self.leaf.subject_text.clone(), entry.subject_text.clone());
        Some(CertificateError::Issuer { subject, issuer, reason: *reason })
    }

    /// An issuer that has expired, or is not valid yet.
    fn untimely(&self, now: Date) -> Option<CertificateError> {
        let mut all = self.authorities.iter().chain(&self.intermediates);
        all.find_map(|entry| check_validity(entry, now).err())
    }

    /// Looks for a path of which every signature is good.
    fn follow(&self, public_key: PublicKey, now: Date, limits: &Limits) -> Result<VerifiedPath, CertificateError> {
        let anchors: Vec<_> =
            self.authorities.iter().filter(|entry| entry.is_valid_at(now)).map(|entry| anchor(entry)).collect();
        let between: Vec<_> = self.intermediates.iter().map(|entry| CertificateDer::from(&*entry.der)).collect();
        let der = CertificateDer::from(&*self.leaf.der);
        let end = EndEntityCert::try_from(&der).map_err(|_| CertificateError::Malformed)?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now.as_unix()));
        let shallow = |path: &webpki::VerifiedPath<'_>| match path.intermediate_certificates().count() {
            n if n > limits.intermediates => Err(Error::MaximumPathDepthExceeded),
            _ => Ok(()),
        };
        let path = end
            .verify_for_usage(algorithms::ALL, &anchors, &between, time, AnyUsage, None, Some(&shallow))
            .map_err(|error| self.explain(&error, now, limits))?;

        let used = |der: &[u8]| self.intermediates.iter().find(|entry| *entry.der == *der);
        let on_the_way = path.intermediate_certificates().filter_map(|cert| used(&cert.der()));
        let mut copies = self.authorities.iter().filter(|entry| entry.is_valid_at(now));
        let authority = copies.find(|entry| anchor(entry) == *path.anchor());
        let all = on_the_way.chain(authority).map(|entry| entry.not_after);
        Ok(VerifiedPath {
            authority: authority.map(|entry| entry.subject_text.clone()).unwrap_or_default(),
            len: path.intermediate_certificates().count() + 2,
            valid_until: all.fold(self.leaf.not_after, Date::min),
            public_key,
        })
    }

    /// Our word for an error of the validation.
    fn explain(&self, error: &Error, now: Date, limits: &Limits) -> CertificateError {
        let (subject, issuer) = (self.leaf.subject_text.clone(), self.leaf.issuer_text.clone());
        match error {
            // An expired authority was not offered for paths to end at.
            Error::UnknownIssuer => self.lost(now),
            Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
                self.untimely(now).unwrap_or_else(|| self.lost(now))
            }
            Error::InvalidCertValidity => CertificateError::Validity { subject },
            // One that is not used may have the same name as one that is.
            Error::InvalidSignatureForPublicKey => {
                self.unusable().unwrap_or(CertificateError::Forged { subject, issuer })
            }
            Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertificateError::Algorithm { subject },
            Error::PathLenConstraintViolated => CertificateError::PathLength { subject },
            Error::MaximumPathDepthExceeded => CertificateError::TooDeep { subject, max: limits.intermediates.min(6) },
            Error::MaximumSignatureChecksExceeded | Error::MaximumPathBuildCallsExceeded => {
                CertificateError::TooComplex { subject }
            }
            Error::CaUsedAsEndEntity => CertificateError::Authority { subject },
            // Names, revocation and usages are not asked for, and whatever does not parse was refused when it was read.
            _ => CertificateError::Malformed,
        }
    }
}

/// What a path may end at.
fn anchor(entry: &Entry) -> TrustAnchor<'_> {
    TrustAnchor {
        subject: Der::from_slice(&entry.subject),
        subject_public_key_info: Der::from_slice(der::only(&entry.spki, der::SEQUENCE).unwrap_or_default()),
        name_constraints: None,
    }
}
