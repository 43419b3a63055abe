//! Algorithms, key agreement, key derivation and the protection of a flow's packets.
//!
//! What two ends of a flow agree on is a [`suite`]: a key exchange, a cipher and a hash for deriving keys. [`kex`]
//! turns two transmitted public keys into a [`SessionKey`], and [`protect::Protection`] seals and opens packets with it
//! until the flow ends, changing to the next key generation every so often.
//!
//! Who the other end is, is said by a [`certificate`], whose owner [signs](sign) its messages.
//!
//! The primitives come from a [`backend::Backend`], a table: RustCrypto by default, with rows replaced by `ring` or AWS-LC when
//! the feature `ring` or `aws-lc-rs` is on. Protocols see none of them.
//!
//! ```
//! use o7s::base::{buf::PacketBuf, rng::Randomness};
//! use o7s::crypto::{kex::KeyPair, protect::Protection, suite::{Cipher, Kdf, Kex}};
//!
//! let mut random = Randomness::from_seed([7; 32]); // the operating system's, in a real stack
//! let rng = &mut random.secret;
//!
//! // Each side makes a key pair and sends the public half; both arrive at the same key.
//! let (client, server) = (KeyPair::generate(Kex::X25519, rng)?, KeyPair::generate(Kex::X25519, rng)?);
//! let (to_server, to_client) = (client.public().to_vec(), server.public().to_vec());
//! let mut here = Protection::new(Cipher::ChaCha20Poly1305, client.agree(&to_client, Kdf::Sha256)?)?;
//! let mut there = Protection::new(Cipher::ChaCha20Poly1305, server.agree(&to_server, Kdf::Sha256)?)?;
//!
//! let mut packet = PacketBuf::copy_of(b"hello");
//! here.seal(&mut packet, &mut random.public)?;
//! assert_eq!(packet.len(), 5 + 28, "an initialisation vector in front, a tag behind");
//! there.open(&mut packet)?;
//! assert_eq!(&packet[..], b"hello");
//! # Ok::<(), o7s::crypto::CryptoError>(())
//! ```

pub mod backend;
pub mod certificate;
mod der;
mod error;
pub mod hash;
pub mod kdf;
pub mod kex;
pub mod pem;
mod pkcs8;
pub mod protect;
mod secret;
pub mod sign;
pub mod suite;

pub use error::CryptoError;
pub(crate) use error::{AlgorithmKind, Available};
pub use secret::{SessionKey, SharedSecret};
