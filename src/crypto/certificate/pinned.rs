//! Peers whose keys are known beforehand: nobody has to vouch for them.

use super::path::check_validity;
use super::{Certificate, CertificateError, Date, Limits, Signed, VerifiedPath, VerifiedPeer};
use crate::crypto::sign::PublicKey;

/// Who signed a message, if its name and key are such as `is_known` says. Who has issued the certificate does not matter: it is
/// the paper that name and key are written on. `expected` is the name that was called; a server expects none.
///
/// # Errors
/// [`CertificateError::NotPinned`], or what is wrong with the certificate or the signature.
#[cfg_attr(not(feature = "internals"), doc(hidden))]
pub fn authenticate_pinned(
    signed: &Signed<'_>,
    expected: Option<&str>,
    is_known: impl FnOnce(&str, &PublicKey) -> bool,
    now: Date,
    limits: &Limits,
) -> Result<VerifiedPeer, CertificateError> {
    let leaf = Certificate::from_der(signed.certificate, limits.size)?;
    let name = leaf.name()?;
    let subject = || leaf.subject_text.clone();
    if let Some(expected) = expected.filter(|expected| *expected != name) {
        return Err(CertificateError::WrongName { expected: expected.into(), found: name.into() });
    }
    check_validity(&leaf, now)?;
    if leaf.key_usage.is_some_and(|usage| !usage.digital_signature) {
        return Err(CertificateError::Usage { subject: subject() });
    }
    let public_key = leaf.public_key().map_err(|reason| CertificateError::WeakKey { subject: subject(), reason })?;
    if !is_known(name, &public_key) {
        return Err(CertificateError::NotPinned { subject: subject() });
    }
    public_key
        .verify(signed.message, signed.digest, signed.signature)
        .map_err(|reason| CertificateError::Message { subject: subject(), reason })?;
    let not_after = leaf.not_after;
    let path = VerifiedPath { authority: "its pinned key".into(), len: 1, valid_until: not_after, public_key };
    Ok(VerifiedPeer { name: name.into(), subject: subject(), not_after, path })
}
