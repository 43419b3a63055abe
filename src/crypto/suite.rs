//! The algorithms by name, number and strength.
//!
//! Names are those of the reference's `enc.conf` and of the `--encrypt` option of the tools; numbers are the ones on
//! the wire (OpenSSL's object numbers); the order is that of strength, weakest first, by which two ends negotiate.
//!
//! All algorithms of the protocol are listed, so that every configuration can be read and every message parsed. Whether
//! this build can compute one is a separate question, [`Cipher::is_available`], [`Digest::is_available`] and
//! [`Kex::is_available`]: of a backend that a program has brought along, the stack knows. The CTR ciphers are refused unless
//! a name is configured to allow them: they have no integrity, so that anyone on the path can change packets at will.
//!
//! ```
//! use o7s::crypto::suite::{Cipher, Kex};
//!
//! let cipher: Cipher = "aes-256-gcm".parse()?;
//! assert_eq!((cipher.nid(), cipher.overhead()), (901, 28));
//! assert!(cipher > Cipher::Aes128Gcm, "ordered by strength");
//! assert_eq!(Cipher::from_nid(1018), Some(Cipher::ChaCha20Poly1305));
//! assert!(Kex::X25519.is_available() && !Cipher::Aes256Ctr.is_aead());
//! # Ok::<(), o7s::types::parse::ParseError>(())
//! ```

use core::fmt;
use core::str::FromStr;

use super::AlgorithmKind;
use super::backend::Backend;
use crate::types::parse::ParseError;

/// Defines an enumeration of algorithms from a table whose rows are in order of strength, weakest first.
macro_rules! algorithms {
    (
        $(#[$meta:meta])*
        $Type:ident {
            $($(#[$doc:meta])* $Variant:ident = $nid:literal, $name:literal;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $Type {
            $($(#[$doc])* $Variant,)+
        }

        impl $Type {
            /// All of them, weakest first.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),+];

            /// The number of this algorithm.
            #[cfg_attr(not(feature = "internals"), doc(hidden))]
            pub const fn nid(self) -> u16 {
                match self {
                    $(Self::$Variant => $nid,)+
                }
            }

            /// The algorithm with this number. 0 stands for "none" in the protocol and is no algorithm here.
            #[cfg_attr(not(feature = "internals"), doc(hidden))]
            pub const fn from_nid(nid: u16) -> Option<Self> {
                match nid {
                    $($nid => Some(Self::$Variant),)+
                    _ => None,
                }
            }

            /// The name in configuration files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)+
                }
            }

            /// Strength among its kind: 1 is the weakest, and 0 is left for "none".
            #[cfg_attr(not(feature = "internals"), doc(hidden))]
            pub const fn rank(self) -> u8 {
                self as u8 + 1
            }
        }

        impl fmt::Display for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $Type {
            type Err = ParseError;

            /// Reads a name, case-sensitively.
            fn from_str(name: &str) -> Result<Self, ParseError> {
                match name {
                    $($name => Ok(Self::$Variant),)+
                    _ => Err(AlgorithmKind::$Type.unknown(name)),
                }
            }
        }
    };
}

algorithms! {
    /// A cipher that protects packets.
    Cipher {
        /// AES-128 in counter mode, NIST SP 800-38A: without authentication, and refused unless that is allowed.
        Aes128Ctr = 904, "aes-128-ctr";
        /// AES-192 in counter mode, like [`Aes128Ctr`](Self::Aes128Ctr).
        Aes192Ctr = 905, "aes-192-ctr";
        /// AES-256 in counter mode, like [`Aes128Ctr`](Self::Aes128Ctr).
        Aes256Ctr = 906, "aes-256-ctr";
        /// AES-128 in Galois/counter mode, NIST SP 800-38D.
        Aes128Gcm = 895, "aes-128-gcm";
        /// AES-192 in Galois/counter mode.
        Aes192Gcm = 898, "aes-192-gcm";
        /// AES-256 in Galois/counter mode: the default of the reference.
        Aes256Gcm = 901, "aes-256-gcm";
        /// ChaCha20-Poly1305, RFC 8439.
        ChaCha20Poly1305 = 1018, "chacha20-poly1305";
    }
}

algorithms! {
    /// A hash: for key derivation ([`Kdf`]), for signatures and for binding a response to its request.
    Digest {
        /// BLAKE2s with 32 bytes of output, RFC 7693.
        Blake2s256 = 1057, "blake2s256";
        /// SHA-256, FIPS 180-4.
        Sha256 = 672, "sha256";
        /// SHA3-256, FIPS 202.
        Sha3_256 = 1097, "sha3-256";
        /// SHA-384.
        Sha384 = 673, "sha384";
        /// SHA3-384.
        Sha3_384 = 1098, "sha3-384";
        /// BLAKE2b with 64 bytes of output, RFC 7693.
        Blake2b512 = 1056, "blake2b512";
        /// SHA-512.
        Sha512 = 674, "sha512";
        /// SHA3-512.
        Sha3_512 = 1099, "sha3-512";
    }
}

/// The hash under HKDF. The choices, names, numbers and strengths are those of [`Digest`].
pub type Kdf = Digest;

algorithms! {
    /// A key exchange. Its numbers never appear on the wire: there the encoding of the public key tells.
    Kex {
        /// Finite-field Diffie-Hellman, the 2048-bit group of RFC 7919.
        Ffdhe2048 = 1126, "ffdhe2048";
        /// Elliptic-curve Diffie-Hellman on NIST P-256: the default of the reference.
        Prime256v1 = 415, "prime256v1";
        /// X25519, RFC 7748.
        X25519 = 1034, "X25519";
        /// Finite-field Diffie-Hellman, the 3072-bit group of RFC 7919.
        Ffdhe3072 = 1127, "ffdhe3072";
        /// Elliptic-curve Diffie-Hellman on NIST P-384.
        Secp384r1 = 715, "secp384r1";
        /// Finite-field Diffie-Hellman, the 4096-bit group of RFC 7919.
        Ffdhe4096 = 1128, "ffdhe4096";
        /// X448, RFC 7748.
        X448 = 1035, "X448";
        /// Elliptic-curve Diffie-Hellman on NIST P-521.
        Secp521r1 = 716, "secp521r1";
        /// ML-KEM-512, FIPS 203.
        MlKem512 = 1454, "ML-KEM-512";
        /// ML-KEM-768.
        MlKem768 = 1455, "ML-KEM-768";
        /// ML-KEM-1024.
        MlKem1024 = 1456, "ML-KEM-1024";
        /// ML-KEM-768 and X25519 together.
        X25519MlKem768 = 2053, "X25519MLKEM768";
        /// ML-KEM-1024 and X448 together.
        X448MlKem1024 = 2054, "X448MLKEM1024";
    }
}

impl Cipher {
    /// Bytes of the session key that the cipher uses, from its start.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Ctr | Self::Aes128Gcm => 16,
            Self::Aes192Ctr | Self::Aes192Gcm => 24,
            Self::Aes256Ctr | Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Bytes in front of the ciphertext: the initialisation vector.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn iv_len(self) -> usize {
        if self.is_aead() { 12 } else { 16 }
    }

    /// Bytes behind the ciphertext: the authentication tag.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn tag_len(self) -> usize {
        if self.is_aead() { 16 } else { 0 }
    }

    /// Bytes by which protection makes a packet longer.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn overhead(self) -> usize {
        self.iv_len() + self.tag_len()
    }

    /// Returns `true` if the cipher detects changed packets.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn is_aead(self) -> bool {
        !matches!(self, Self::Aes128Ctr | Self::Aes192Ctr | Self::Aes256Ctr)
    }

    /// Returns `true` if this build can encrypt packets with it.
    pub fn is_available(self) -> bool {
        Backend::preferred().has_cipher(self)
    }
}

impl Digest {
    /// Bytes of output.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[allow(clippy::len_without_is_empty, reason = "an algorithm is no container")]
    pub const fn len(self) -> usize {
        match self {
            Self::Blake2s256 | Self::Sha256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Blake2b512 | Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// Returns `true` if this build has it.
    pub const fn is_available(self) -> bool {
        match self {
            Self::Sha256 | Self::Sha384 => true,
            Self::Sha512 => cfg!(feature = "sha512"),
            Self::Sha3_256 | Self::Sha3_384 | Self::Sha3_512 => cfg!(feature = "sha3"),
            Self::Blake2s256 | Self::Blake2b512 => cfg!(feature = "blake2"),
        }
    }
}

impl Kex {
    /// Returns `true` if it encapsulates a secret to a public key, instead of combining two keys as Diffie-Hellman
    /// does.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn is_kem(self) -> bool {
        matches!(self, Self::MlKem512 | Self::MlKem768 | Self::MlKem1024 | Self::X25519MlKem768 | Self::X448MlKem1024)
    }

    /// Bytes of what is encapsulated; `None` if it is no KEM.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn ciphertext_len(self) -> Option<usize> {
        match self {
            Self::MlKem512 => Some(768),
            Self::MlKem768 => Some(1088),
            Self::MlKem1024 => Some(1568),
            Self::X25519MlKem768 => Some(1120),
            Self::X448MlKem1024 => Some(1624),
            _ => None,
        }
    }

    /// Returns `true` if it is a KEM and a Diffie-Hellman together, as strong as the stronger of the two.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn is_hybrid(self) -> bool {
        matches!(self, Self::X25519MlKem768 | Self::X448MlKem1024)
    }

    /// Returns `true` if this build has it.
    pub fn is_available(self) -> bool {
        Backend::preferred().exchange(self).is_ok()
    }
}

#[cfg(test)]
mod tests;
