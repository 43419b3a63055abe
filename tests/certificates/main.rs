//! Signatures, certificates, stores and paths.
//!
//! Chains are made here (`issue`), taken from an installation of the reference (`tests/data/certificates/reference`), and
//! taken from public suites, of which each says how many cases it ran and which of them end otherwise than the suite says.
// Chains are signed by ECDSA.
#![cfg(all(feature = "sign-ecdsa", feature = "sign-ed25519"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

mod chains;
mod files;
mod issue;
mod keys;
mod recorded;
mod signatures;
mod suites;

use std::path::PathBuf;

/// The bytes of a file in `tests/data/certificates`.
fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/certificates").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
