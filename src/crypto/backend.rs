//! Implementations of the primitives: tables of AEAD ciphers and key exchanges, one table for each implementation.
//!
//! The default table, [`RUST`], is pure Rust and has a row for everything that is available. Two features add a table each,
//! whose rows stand before those of the first:
//!
//! - `ring`: `RING`, with AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305, 2 to 4 times as fast on 1400-byte packets. Key
//!   agreement stays with the first table, because `ring` takes randomness from the operating system only, while what is
//!   simulated must be repeatable. It does not wipe key schedules either; the session key itself is wiped always.
//! - `aws-lc-rs`: `AWS_LC_RS`, with AES-192-GCM as well, X25519, the curves of NIST, and the hybrids X25519MLKEM768 and
//!   X448MLKEM1024, the latter with the first table's X448. It wipes what it frees. Keys of curves are drawn from the generator
//!   that is handed in, and are those that the first table draws. Its ML-KEM takes randomness from AWS-LC's own generator, and
//!   is only half of a hybrid: what must be [repeatable](Backend::repeatable), a stack with a seed, has the first table do it.
//!   AWS-LC ends the process when the system gives its generator no randomness.
//!
//! Between two backends the results do not differ, and `tests/backends.rs` sees to it. With both features `AWS_LC_RS` is the
//! preferred one: the key exchange X25519MLKEM768 takes 0.28 of the first table's time, with prime256v1 0.18 and with X25519 0.47,
//! while `ring` opens packets of 1400 bytes in 0.9 of the time of `AWS_LC_RS` and seals them in the same. (For the CPU at hand,
//! `-C target-cpu=native` also makes the first table's AES-GCM 1.2 times and its ChaCha20-Poly1305 1.8 times as fast.) All of it is
//! in the rows of the benchmark `peers --only backends`: `both ends of X25519MLKEM768`, `open 1400 B`, `seal 1400 B`.
//!
//! A new algorithm is a row in a table; a new implementation is a table. Which one a stack uses is decided when it is built:
//! [`Builder::crypto`](crate::stack::Builder::crypto), or the fastest of the build ([`Backend::preferred`]).
//!
//! ```
//! use o7s::crypto::{backend, suite::Cipher};
//!
//! for backend in backend::all() {
//!     let key = backend.aead(Cipher::Aes256Gcm)?.schedule(&[7; 32]);
//!     let mut data = *b"in place";
//!     let tag = key.seal(&[1; 12], &mut data)?;
//!     assert_ne!(&data, b"in place");
//!     key.open(&[1; 12], &mut data, &tag)?;
//!     assert_eq!(&data, b"in place");
//! }
//! # Ok::<(), o7s::crypto::CryptoError>(())
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;

use super::suite::{Cipher, Kex};
use super::{CryptoError, SharedSecret};

mod agreement;
#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
#[cfg(all(feature = "kex-ml-kem", any(feature = "kex-x25519", feature = "kex-x448")))]
mod hybrid;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod restore;
#[cfg(feature = "ring")]
mod ring;
mod rust;

/// The nonce of an AEAD cipher, 12 bytes.
pub type Nonce = [u8; 12];
/// The tag of an AEAD cipher, 16 bytes.
pub type Tag = [u8; 16];
/// The first block of a cipher in counter mode, 16 bytes.
#[cfg_attr(not(feature = "internals"), doc(hidden))]
pub type Iv = [u8; 16];

/// An AEAD key with everything computed that depends on the key alone. No additional data is authenticated.
///
/// It is used with the lock of a flow held: it must not wait, not call the flow, and not panic.
pub trait AeadKey: Send + Sync {
    /// Encrypts `data` in place and returns its tag.
    ///
    /// # Errors
    /// [`CryptoError::PacketTooLong`], with `data` unchanged, beyond tens of gigabytes.
    fn seal(&self, nonce: &Nonce, data: &mut [u8]) -> Result<Tag, CryptoError>;

    /// Decrypts `data` in place if `tag` is right.
    ///
    /// # Errors
    /// [`CryptoError::Forged`], with `data` unchanged, so that another key can be tried.
    fn open(&self, nonce: &Nonce, data: &mut [u8], tag: &Tag) -> Result<(), CryptoError>;
}

/// A row of a backend: an AEAD cipher.
#[derive(Clone, Copy)]
pub struct Aead {
    cipher: Cipher,
    schedule: fn(&[u8; 32]) -> Box<dyn AeadKey>,
}

impl Aead {
    /// A row for `cipher`. `schedule` computes the key schedule from the bytes that the cipher uses, from the start of 32.
    pub const fn new(cipher: Cipher, schedule: fn(&[u8; 32]) -> Box<dyn AeadKey>) -> Self {
        Self { cipher, schedule }
    }

    /// Cipher of this implementation.
    pub const fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Computes the key schedule. The cipher uses as many of the bytes as it needs, from the start.
    pub fn schedule(&self, key: &[u8; 32]) -> Box<dyn AeadKey> {
        (self.schedule)(key)
    }
}

impl fmt::Debug for Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aead({})", self.cipher)
    }
}

/// A key of a cipher in counter mode, with everything computed that depends on the key alone.
#[allow(unnameable_types, reason = "users see it in a hidden function only")]
pub trait StreamKey: Send + Sync {
    /// Encrypts or decrypts `data` in place, which is the same.
    fn apply(&self, iv: &Iv, data: &mut [u8]);
}

/// A row of a backend: a cipher in counter mode.
#[derive(Clone, Copy)]
#[allow(unnameable_types, reason = "users see it in a hidden function only")]
pub struct Stream {
    cipher: Cipher,
    schedule: fn(&[u8; 32]) -> Box<dyn StreamKey>,
}

impl Stream {
    /// Cipher of this implementation.
    pub const fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Computes the key schedule. The cipher uses as many of the bytes as it needs, from the start.
    pub fn schedule(&self, key: &[u8; 32]) -> Box<dyn StreamKey> {
        (self.schedule)(key)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.cipher)
    }
}

/// A row of a backend: a key exchange, Diffie-Hellman or a KEM whose responder encapsulates.
#[allow(unnameable_types, reason = "users see it in a hidden function only")]
pub trait KeyExchange: Send + Sync {
    /// Key exchange of this implementation.
    fn kex(&self) -> Kex;

    /// A fresh key pair.
    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError>;

    /// The key pair with these private bytes, see [`KeyPair::from_private`](crate::crypto::kex::KeyPair::from_private).
    ///
    /// # Errors
    /// [`CryptoError::InvalidPrivateKey`] if there is none.
    fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError>;

    /// The responder's whole part: what to send back for the transmitted key `peer`, and the secret.
    ///
    /// Diffie-Hellman needs no more than the other two methods; a KEM encapsulates here.
    fn respond(&self, peer: &[u8], rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, SharedSecret), CryptoError> {
        let key = self.generate(rng)?;
        let public = key.public().to_vec();
        Ok((public, key.agree(peer)?))
    }
}

/// The private half of a key exchange, wiped when it is dropped.
#[allow(unnameable_types, reason = "users see it in a hidden function only")]
pub trait PrivateKey: Send + Sync {
    /// The public key in the encoding that is transmitted.
    fn public(&self) -> &[u8];

    /// The secret shared with the owner of the transmitted key (or, for a KEM, the sender of the ciphertext) `peer`.
    fn agree(&self, peer: &[u8]) -> Result<SharedSecret, CryptoError>;
}

/// One implementation of the primitives.
pub struct Backend {
    name: &'static str,
    aeads: &'static [Aead],
    streams: &'static [Stream],
    exchanges: &'static [&'static dyn KeyExchange],
    /// Backend for algorithms that are not in these tables.
    fallback: Option<&'static Self>,
    /// The same without what draws from a generator of its own; `None` if there is nothing of the kind.
    repeatable: Option<&'static Self>,
}

/// The RustCrypto implementations.
pub static RUST: Backend = Backend {
    name: "rust",
    aeads: rust::AEADS,
    streams: rust::STREAMS,
    exchanges: agreement::EXCHANGES,
    fallback: None,
    repeatable: None,
};

/// The implementations of `ring`, and those of [`RUST`] where it has none.
#[cfg(feature = "ring")]
pub static RING: Backend = Backend::new("ring", ring::AEADS);

/// The implementations of AWS-LC, and those of [`RUST`] where it has none.
///
/// In hybrids, keys of ML-KEM, and what is encapsulated, come from its own generator, except in a stack with a
/// [seed](crate::stack::Builder::seed), where [`RUST`] does ML-KEM, as it does everywhere outside of hybrids.
#[cfg(feature = "aws-lc-rs")]
pub static AWS_LC_RS: Backend =
    Backend { exchanges: aws_lc::EXCHANGES, repeatable: Some(&SEEDED_AWS_LC_RS), ..SEEDED_AWS_LC_RS };

#[cfg(feature = "aws-lc-rs")]
static SEEDED_AWS_LC_RS: Backend =
    Backend { exchanges: aws_lc::REPEATABLE, ..Backend::new("aws-lc-rs", aws_lc::AEADS) };

/// Every implementation in this build, the preferred one last.
pub fn all() -> &'static [&'static Backend] {
    static ALL: &[&Backend] = &[
        &RUST,
        #[cfg(feature = "ring")]
        &RING,
        #[cfg(feature = "aws-lc-rs")]
        &AWS_LC_RS,
    ];
    ALL
}

impl Backend {
    /// An implementation of the ciphers in `aeads`; [`RUST`] does the others, and the key exchanges.
    pub const fn new(name: &'static str, aeads: &'static [Aead]) -> Self {
        Self { name, aeads, streams: &[], exchanges: &[], fallback: Some(&RUST), repeatable: None }
    }

    /// Default backend: the fastest of the build.
    pub fn preferred() -> &'static Self {
        all().last().copied().unwrap_or(&RUST)
    }

    /// This one, without what draws from a generator of its own: all randomness is what it is given, and the same makes the
    /// same keys.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn repeatable(&'static self) -> &'static Self {
        self.repeatable.unwrap_or(self)
    }

    /// A short name, for benchmarks and logs.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns `true` if there is an implementation of a cipher, with authentication or without.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn has_cipher(&self, cipher: Cipher) -> bool {
        if cipher.is_aead() { self.aead(cipher).is_ok() } else { self.stream(cipher).is_ok() }
    }

    /// The implementation of a cipher in counter mode.
    ///
    /// # Errors
    /// [`CryptoError::CipherUnavailable`] if there is none; always so for the AEAD ciphers.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn stream(&self, cipher: Cipher) -> Result<&'static Stream, CryptoError> {
        match self.streams.iter().find(|row| row.cipher == cipher) {
            Some(row) => Ok(row),
            None => self.fallback.map_or(Err(CryptoError::CipherUnavailable(cipher)), |next| next.stream(cipher)),
        }
    }

    /// The implementation of an AEAD cipher.
    ///
    /// # Errors
    /// [`CryptoError::CipherUnavailable`] if there is none; always so for the CTR ciphers.
    pub fn aead(&self, cipher: Cipher) -> Result<&'static Aead, CryptoError> {
        match self.aeads.iter().find(|row| row.cipher == cipher) {
            Some(row) => Ok(row),
            None => self.fallback.map_or(Err(CryptoError::CipherUnavailable(cipher)), |next| next.aead(cipher)),
        }
    }

    /// The implementation of a key exchange.
    ///
    /// # Errors
    /// [`CryptoError::KexUnavailable`] if there is none.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn exchange(&self, kex: Kex) -> Result<&'static dyn KeyExchange, CryptoError> {
        match self.exchanges.iter().find(|row| row.kex() == kex) {
            Some(row) => Ok(*row),
            None => self.fallback.map_or(Err(CryptoError::KexUnavailable(kex)), |next| next.exchange(kex)),
        }
    }
}

/// A backend equals itself alone.
impl PartialEq for Backend {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl Eq for Backend {}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name)
    }
}

#[cfg(test)]
mod tests;
