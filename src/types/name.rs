//! Names of services and layers, and the hashes under which layers know them.
//!
//! An application says a [`Name`]; a layer only ever sees its [`NameHash`] under the layer's [`HashAlg`]. Neither the
//! algorithm nor the length of the hash is on the wire: all members of a layer are configured alike.
//!
//! ```
//! use o7s::{HashAlg, Name, NameHash};
//!
//! let name: Name = "oping".parse()?;
//! let hash: NameHash = HashAlg::Md5.hash(&name);
//! assert_eq!(hash.as_bytes().len(), HashAlg::Md5.len());
//! assert_eq!(hash.to_string(), "7862c6fec5ecaef4aa2e3934725e23b3");
//! # Ok::<(), o7s::NameError>(())
//! ```

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;
use core::str::FromStr;

use sha3::Digest as _;

use super::parse::ParseError;
use crate::base::debug::debug_by_text;

/// The name of a service, a layer or an IPCP: 1 to 255 bytes of UTF-8 without a NUL. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Error of parsing a [`Name`]: says what is wrong with which string.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no bytes.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("invalid name \"\": it is empty, and a name has 1 to {max} bytes", max = Name::MAX_LEN)]
    Empty,
    /// It has more bytes than a name may have.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("invalid name {start:?}...: it has {len} bytes, and a name has 1 to {max}", max = Name::MAX_LEN)]
    TooLong {
        /// The beginning of the string.
        start: Box<str>,
        /// Bytes in the string.
        len: usize,
    },
    /// It has a NUL inside, which the C implementation takes for the end of a name.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("invalid name {name:?}: byte {at} is a NUL, which no name has")]
    Nul {
        /// The string.
        name: Box<str>,
        /// Offset of the first NUL, bytes.
        at: usize,
    },
}

debug_by_text!(NameError { Empty, TooLong, Nul });

/// Cuts a string to the length that an error shows.
pub(super) fn beginning(s: &str) -> Box<str> {
    s.chars().take(32).collect()
}

impl Name {
    /// The longest name, bytes.
    pub const MAX_LEN: usize = 255;

    /// The name that `s` spells; case and white space count.
    ///
    /// # Errors
    /// If `s` is empty, longer than [`MAX_LEN`](Self::MAX_LEN) bytes or contains a NUL.
    pub fn new(s: &str) -> Result<Self, NameError> {
        if s.is_empty() {
            return Err(NameError::Empty);
        }
        if s.len() > Self::MAX_LEN {
            return Err(NameError::TooLong { start: beginning(s), len: s.len() });
        }
        if let Some(at) = s.bytes().position(|b| b == 0) {
            return Err(NameError::Nul { name: s.into(), at });
        }
        Ok(Self(s.into()))
    }

    /// The name as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::new(s)
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(s: &str) -> Result<Self, NameError> {
        Self::new(s)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(s: String) -> Result<Self, NameError> {
        Self::new(&s)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A hash algorithm of a layer's directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HashAlg {
    /// SHA3-224 (FIPS 202), 28 bytes.
    Sha3_224,
    /// SHA3-256 (FIPS 202), 32 bytes: the default of every layer that has a choice.
    #[default]
    Sha3_256,
    /// SHA3-384 (FIPS 202), 48 bytes.
    Sha3_384,
    /// SHA3-512 (FIPS 202), 64 bytes.
    Sha3_512,
    /// MD5 (RFC 1321), 16 bytes: what the UDP layers use, whatever is configured. It names, it does not protect.
    Md5,
}

impl HashAlg {
    /// All algorithms.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const ALL: [Self; 5] = [Self::Sha3_224, Self::Sha3_256, Self::Sha3_384, Self::Sha3_512, Self::Md5];

    /// The number of the algorithm in an enrollment's layer configuration. 4 is CRC-32, which names nothing.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub const fn number(self) -> u8 {
        match self {
            Self::Sha3_224 => 0,
            Self::Sha3_256 => 1,
            Self::Sha3_384 => 2,
            Self::Sha3_512 => 3,
            Self::Md5 => 5,
        }
    }

    /// The algorithm with this number, if there is one.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.number() == number)
    }

    /// Length of a hash, bytes.
    #[allow(clippy::len_without_is_empty, reason = "the length of what it yields; none is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha3_224 => 28,
            Self::Sha3_256 => 32,
            Self::Sha3_384 => 48,
            Self::Sha3_512 => 64,
            Self::Md5 => 16,
        }
    }

    /// The name of the algorithm in configuration files and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha3_224 => "SHA3_224",
            Self::Sha3_256 => "SHA3_256",
            Self::Sha3_384 => "SHA3_384",
            Self::Sha3_512 => "SHA3_512",
            Self::Md5 => "MD5",
        }
    }

    /// The hash of a name: of its bytes as they are, without terminator.
    pub fn hash(self, name: &Name) -> NameHash {
        self.hash_bytes(name.as_str().as_bytes())
    }

    fn hash_bytes(self, bytes: &[u8]) -> NameHash {
        match self {
            Self::Sha3_224 => NameHash::of(&sha3::Sha3_224::digest(bytes)),
            Self::Sha3_256 => NameHash::of(&sha3::Sha3_256::digest(bytes)),
            Self::Sha3_384 => NameHash::of(&sha3::Sha3_384::digest(bytes)),
            Self::Sha3_512 => NameHash::of(&sha3::Sha3_512::digest(bytes)),
            Self::Md5 => NameHash::of(&md5::Md5::digest(bytes)),
        }
    }
}

impl fmt::Display for HashAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for HashAlg {
    type Err = ParseError;

    /// Takes the names of configuration files, in any case, with `-` for `_` if you like.
    fn from_str(s: &str) -> Result<Self, ParseError> {
        let same = |a: u8, b: u8| a.eq_ignore_ascii_case(&b) || (a, b) == (b'_', b'-');
        let is = |name: &str| name.len() == s.len() && name.bytes().zip(s.bytes()).all(|(a, b)| same(a, b));
        let found = Self::ALL.into_iter().find(|alg| is(alg.name()));
        found.ok_or_else(|| ParseError::new("hash algorithm", s, Self::ALL.map(Self::name)))
    }
}

/// The hash of a name: 1 to 64 bytes, stored in place. Ordered as byte strings are.
///
/// `Display` and `Debug` write lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameHash {
    // Zero beyond `len`, so that the derived comparisons are those of the byte strings.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl NameHash {
    /// The longest hash, bytes.
    pub const MAX_LEN: usize = 64;

    /// The hash with these bytes, as they came from the wire; `None` if there are none or more than
    /// [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(hash: &[u8]) -> Option<Self> {
        (1..=Self::MAX_LEN).contains(&hash.len()).then(|| Self::of(hash))
    }

    fn of(hash: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        for (to, from) in bytes.iter_mut().zip(hash) {
            *to = *from;
        }
        Self { bytes, len: hash.len().min(Self::MAX_LEN) as u8 }
    }

    /// The bytes of the hash, as they go over the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl AsRef<[u8]> for NameHash {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for NameHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for NameHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
