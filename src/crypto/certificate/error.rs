//! Why certificates and stores are refused.

use alloc::boxed::Box;

use super::Date;
use super::name::NameFault;
use crate::base::debug::debug_by_text;
use crate::crypto::pem::PemError;
use crate::crypto::sign::{KeyError, SignError};

/// Why a peer's certificate was not accepted.
///
/// It is for one's own log and program; the peer learns no more than that authentication failed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Larger than the limit, which is checked before anything else.
    #[error("certificate of {len} bytes: the limit is {max}, raise it or use a smaller one")]
    TooLarge {
        /// Bytes of the certificate.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not exactly one X.509 certificate of version 3 in DER.
    #[error("not a valid certificate: it must be exactly one X.509 certificate, version 3, in DER")]
    Malformed,
    /// An extension that is marked as critical and not known, or that is there twice.
    #[error("certificate of {subject} has a critical extension that is not supported: issue one without it")]
    Extension {
        /// Its subject.
        subject: Box<str>,
    },
    /// The subject has not exactly one common name of the form that names have.
    #[error("certificate of {subject}: {fault}")]
    Name {
        /// Its subject.
        subject: Box<str>,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// The certificate is somebody else's.
    #[error("certificate is for {found}, not for {expected}: the destination has the certificate of another name")]
    WrongName {
        /// The name of the destination.
        expected: Box<str>,
        /// The name in the certificate.
        found: Box<str>,
    },
    /// The peer's key is too weak, too expensive, or of a kind that is not known.
    #[error("certificate of {subject}: {reason}")]
    WeakKey {
        /// Its subject.
        subject: Box<str>,
        /// What is wrong with the key.
        reason: KeyError,
    },
    /// Its issuer is not in the store, or leads to no authority there.
    #[error("certificate of {subject} is issued by {issuer}, which leads to no authority in the store: add that")]
    UnknownIssuer {
        /// Its subject.
        subject: Box<str>,
        /// Its issuer.
        issuer: Box<str>,
    },
    /// The issuer is in the store, but cannot issue certificates.
    #[error("certificate of {subject}: its issuer {issuer} is not used, {reason}")]
    Issuer {
        /// The subject of the peer's certificate.
        subject: Box<str>,
        /// The subject of the issuer's.
        issuer: Box<str>,
        /// Why it is not used.
        reason: Unusable,
    },
    /// The certificate, or one of those that it depends on, has expired.
    #[error("certificate of {subject} expired at {not_after}, it is {now}: renew it, or set the clock")]
    CertificateExpired {
        /// Whose certificate it is.
        subject: Box<str>,
        /// The last moment that it was valid at.
        not_after: Date,
        /// The time here.
        now: Date,
    },
    /// The certificate, or one of those that it depends on, is not valid yet.
    #[error("certificate of {subject} is not valid before {not_before}, it is {now}: set the clock, or wait")]
    NotYetValid {
        /// Whose certificate it is.
        subject: Box<str>,
        /// The first moment that it is valid at.
        not_before: Date,
        /// The time here.
        now: Date,
    },
    /// Its validity ends before it begins.
    #[error("certificate of {subject} ends before it begins: issue it anew")]
    Validity {
        /// Whose certificate it is.
        subject: Box<str>,
    },
    /// The certificate says what its key is for, and signing messages is not among it.
    #[error("certificate of {subject} is not for digital signatures: issue one with that key usage")]
    Usage {
        /// Its subject.
        subject: Box<str>,
    },
    /// The certificate of an authority, where one of a program is needed.
    #[error("certificate of {subject} is that of an authority: issue one for the name alone")]
    Authority {
        /// Its subject.
        subject: Box<str>,
    },
    /// Constraints on names do not bind the common name, so that they would promise more than they keep.
    #[error("certificate of {subject} has name constraints, which do not bind common names: issue it without them")]
    NameConstraints {
        /// Its subject.
        subject: Box<str>,
    },
    /// A signature of an issuer does not match.
    #[error("certificate of {subject} is not signed by {issuer}, whose name it has: it is forged, or the store is old")]
    Forged {
        /// The subject of the peer's certificate.
        subject: Box<str>,
        /// Its issuer.
        issuer: Box<str>,
    },
    /// Signed by an algorithm that is not supported, or that does not go with the issuer's key.
    #[error("certificate of {subject} is signed by an unsupported algorithm: use SHA-2 or SHA-3 and a known key")]
    Algorithm {
        /// The subject of the peer's certificate.
        subject: Box<str>,
    },
    /// An issuer may not have so many others below it.
    #[error("certificate of {subject}: an issuer above it allows no issuers below itself, but there is one")]
    PathLength {
        /// The subject of the peer's certificate.
        subject: Box<str>,
    },
    /// More certificates between it and its authority than are followed.
    #[error("certificate of {subject} has more than {max} issuers below the authority: raise the limit")]
    TooDeep {
        /// The subject of the peer's certificate.
        subject: Box<str>,
        /// Issuers between the peer and the authority that are allowed.
        max: usize,
    },
    /// So many ways to the authorities that the search was given up.
    #[error("certificate of {subject} has too many possible issuers in the store: leave out old ones")]
    TooComplex {
        /// The subject of the peer's certificate.
        subject: Box<str>,
    },
    /// The peer's key is none of those that are known for its name.
    #[error(
        "certificate of {subject} has another key than those that are pinned for its name: pin that, or it is forged"
    )]
    NotPinned {
        /// The subject of the certificate.
        subject: Box<str>,
    },
    /// The certificate is good, but the message is not signed with its key.
    #[error("message is not signed by the owner of the certificate of {subject}: {reason}")]
    Message {
        /// The subject of the certificate.
        subject: Box<str>,
        /// What is wrong with the signature.
        reason: SignError,
    },
}

debug_by_text!(CertificateError {
    TooLarge,
    Malformed,
    Extension,
    Name,
    WrongName,
    WeakKey,
    UnknownIssuer,
    Issuer,
    CertificateExpired,
    NotYetValid,
    Validity,
    Usage,
    Authority,
    NameConstraints,
    Forged,
    Algorithm,
    PathLength,
    TooDeep,
    TooComplex,
    NotPinned,
    Message,
});

/// Why a certificate in a store is not used as it was meant.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// Among the authorities, but issued by another: it helps to find paths, and ends none.
    #[error("it is issued by another authority: it is taken for an intermediate only")]
    NotSelfSigned,
    /// It has its own name as issuer, but its signature is not its own.
    #[error("its own signature does not match: it is damaged or forged")]
    Forged,
    /// Signed by an algorithm that is not supported, or that does not go with its key.
    #[error("it is signed by an unsupported algorithm: use SHA-2 or SHA-3 and a known key")]
    Algorithm,
    /// Among the intermediates, but its own issuer: whoever writes that file would make authorities.
    #[error("it is its own issuer, which makes no authority outside of the authorities' files")]
    SelfSigned,
    /// It is not marked as an authority.
    #[error("it is not marked as an authority: issue it with basic constraints that say so")]
    NotAuthority,
    /// It says what its key is for, and signing certificates is not among it.
    #[error("its key is not for signing certificates: issue it with that key usage")]
    NoCertSign,
    /// Constraints on names do not bind the common name.
    #[error("it has name constraints, which do not bind common names: issue it without them")]
    NameConstraints,
    /// A critical extension that is not known, or another version than 3.
    #[error("it is not of version 3, or has a critical extension that is not supported: issue it anew")]
    Unsupported,
    /// Its key is too weak, too expensive, or of a kind that is not known.
    #[error("{0}")]
    Key(KeyError),
    /// The same one is in the store already.
    #[error("it is in the store already")]
    Duplicate,
}

debug_by_text!(Unusable {
    NotSelfSigned,
    Forged,
    Algorithm,
    SelfSigned,
    NotAuthority,
    NoCertSign,
    NameConstraints,
    Unsupported,
    Key,
    Duplicate,
});

/// Why a file was not added to a store, or is not one's own certificate. Nothing of it was taken.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file is damaged.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// No certificate in it.
    #[error("no certificate in the file: there must be a block CERTIFICATE, or one certificate in DER")]
    Empty,
    /// Something else than a certificate in it.
    #[error("line {line}: {label} in a file of certificates: nothing of the file is taken, remove it")]
    Other {
        /// Line of its beginning.
        line: usize,
        /// What it says that it is.
        label: Box<str>,
    },
    /// A certificate in it is none.
    #[error("line {line}: {reason}")]
    Certificate {
        /// Line of its beginning.
        line: usize,
        /// What is wrong with it.
        reason: CertificateError,
    },
    /// Several certificates, where one's own is expected: a peer is sent no more than that.
    #[error("{found} certificates: leave one's own, its issuers belong into the store of the peers")]
    Several {
        /// How many there are.
        found: usize,
    },
    /// More certificates than a store keeps.
    #[error("too many certificates: a store keeps {max}")]
    Full {
        /// Certificates that a store keeps.
        max: usize,
    },
}

debug_by_text!(StoreError { Pem, Empty, Other, Certificate, Several, Full });

/// Why certificate and private key are no credentials.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The certificate cannot be used.
    #[error("certificate: {0}")]
    File(#[from] StoreError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The private key cannot be used.
    #[error("private key: {0}")]
    Key(#[from] KeyError),
    /// Certificate and private key are of different keys: every peer would refuse them.
    #[error("certificate of {subject} and the private key do not belong together: take those of one name")]
    Mismatch {
        /// The subject of the certificate.
        subject: Box<str>,
    },
}

debug_by_text!(CredentialsError { File, Certificate, Key, Mismatch });
