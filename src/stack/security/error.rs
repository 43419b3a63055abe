//! Errors and warnings of security files: which file, which line, what is wrong, and what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::debug::debug_by_text;
use crate::crypto::certificate::{CredentialsError, LeftOut, StoreError};
use crate::crypto::kex::KemKeyError;
use crate::crypto::suite::{Cipher, Kex};
use crate::oap::ConfigError;
use crate::stack::BindError;
use crate::types::name::NameError;

/// Error of a file with security settings, a certificate or a key. Its text says which file, which line, what is wrong, and what
/// to do about it.
pub struct SecurityFileError {
    path: PathBuf,
    problem: Box<Problem>,
}

debug_by_text!(SecurityFileError);

impl SecurityFileError {
    pub(super) fn new(path: &Path, problem: impl Into<Problem>) -> Self {
        Self { path: path.to_owned(), problem: Box::new(problem.into()) }
    }

    /// The file, or the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The line in the file, from 1, if it is about one.
    pub fn line(&self) -> Option<usize> {
        match &*self.problem {
            Problem::Config(error) => error.line(),
            Problem::Store(StoreError::Certificate { line, .. } | StoreError::Other { line, .. }) => Some(*line),
            _ => None,
        }
    }
}

impl fmt::Display for SecurityFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl Error for SecurityFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.problem {
            Problem::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(in crate::stack) enum Problem {
    #[error("it cannot be read: {0}{hint}", hint = read_hint(.0))]
    Unreadable(#[from] io::Error),
    #[error("it has more than {0} bytes: remove it, no settings, certificates or keys are as long")]
    TooLong(usize),
    #[error("it is no file: remove it, or put a file in its place")]
    NotFile,
    #[error("it is no directory: settings belong to a name, in a directory of that name")]
    NotDirectory,
    #[error("none of server, client, cacert and untrusted is in there: is it the right directory?")]
    Empty,
    #[error("its name is not one that flows can have: {0}")]
    Name(#[from] NameError),
    #[error("its name is not UTF-8, so that no flow can have it")]
    NotUtf8,
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Credentials(#[from] CredentialsError),
    #[error("{0}")]
    KemKey(#[from] KemKeyError),
    #[error("it is missing, but {0} is there: a certificate is of no use without its key, and the other way round")]
    Alone(String),
    #[error("it is a certificate of {found}, which clients that call {name} refuse: issue one for {name}")]
    WrongName { found: String, name: String },
    #[error("it says none, but this stack demands encryption: remove that line, or the demand")]
    Off,
    #[error("{0} does not withstand a quantum computer, as this stack demands: use X25519MLKEM768")]
    NotPostQuantum(Kex),
    #[error("{0} does not authenticate packets: use aes-256-gcm, or allow such ciphers in the settings of the stack")]
    Unauthenticated(Cipher),
    #[error(
        "it is missing, but {0} has the client encapsulate to it: get it from the server, or remove kem_mode there"
    )]
    NoServerKey(String),
    #[error("{0}")]
    Names(BindError),
}

fn read_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; is the path right?",
        io::ErrorKind::PermissionDenied => "; let this user read it: what cannot be read does not count as missing",
        _ => "",
    }
}

/// Something in a directory of security files that is not used as it was meant; its text says which file, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityWarning {
    path: PathBuf,
    why: Why,
}

impl SecurityWarning {
    pub(super) fn new(path: &Path, why: Why) -> Self {
        Self { path: path.to_owned(), why }
    }

    /// The file, or the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for SecurityWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Why {
    #[error("{0}")]
    LeftOut(LeftOut),
    #[error("nothing in there is read: the directories are server, client, cacert and untrusted")]
    Unknown,
    #[error("the certificate has expired at {0}: peers will refuse it, renew it")]
    Expired(crate::crypto::certificate::Date),
    #[error("others can read the private key (mode {0:03o}): chmod 600")]
    Exposed(u32),
}
