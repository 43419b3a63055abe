//! OAP, the header that travels with a flow request and with its positive reply: who asks, when, and how to encrypt.
//!
//! There is no version, no message type and no field for the key-exchange algorithm. A request and a response look the
//! same; the reader must know which of the two it holds, and in a response also the digest of its own request.
//!
//! # The fixed part
//!
//! | offset | size | field | content |
//! |---|---|---|---|
//! | 0 | 16 | id | random, chosen by the client, repeated by the server |
//! | 16 | 8 | timestamp | the sender's real-time clock, nanoseconds since 1970-01-01 UTC |
//! | 24 | 2 | cipher | number of the packet cipher, 0: none |
//! | 26 | 2 | kdf | number of the hash in HKDF (RFC 5869), 0: none |
//! | 28 | 2 | digest | number of the digest of this message's signature, 0: none stated |
//! | 30 | 2 | certificate length | bytes |
//! | 32 | 2 | kex length | bit 15: F, bit 14: R, bits 13 to 0: bytes |
//! | 34 | 2 | data length | bytes |
//!
//! # The variable part
//!
//! | order | field | length | content |
//! |---|---|---|---|
//! | 1 | certificate | as stated | one X.509 certificate (RFC 5280), DER |
//! | 2 | kex | as stated | public key or KEM ciphertext |
//! | 3 | data | as stated | bytes of the application |
//! | 4 | request hash | of the request's digest | response only: digest over the complete request |
//! | 5 | signature | the rest | over everything before it; empty without a certificate |
//!
//! The request hash is made with the digest that the *request* names, or SHA-384 if it names none, and is there whether
//! or not anything is signed. So a plain request has 36 bytes and its response 84.
//!
//! | bit | name | 0 | 1 |
//! |---|---|---|---|
//! | 0x8000 | F, [`Kex::raw`] | DER SubjectPublicKeyInfo (RFC 5280), or a pure ML-KEM ciphertext | the raw format of the hybrid KEMs |
//! | 0x4000 | R, [`Kex::client_encapsulates`] | Diffie-Hellman, or the server encapsulates | the client encapsulates |
//!
//! # Numbers
//!
//! | cipher | number | | hash | number | bytes |
//! |---|---|---|---|---|---|
//! | aes-128-ctr | 904 | | blake2s256 | 1057 | 32 |
//! | aes-192-ctr | 905 | | sha256 | 672 | 32 |
//! | aes-256-ctr | 906 | | sha3-256 | 1097 | 32 |
//! | aes-128-gcm | 895 | | sha384 | 673 | 48 |
//! | aes-192-gcm | 898 | | sha3-384 | 1098 | 48 |
//! | aes-256-gcm | 901 | | blake2b512 | 1056 | 64 |
//! | chacha20-poly1305 | 1018 | | sha512 | 674 | 64 |
//! | | | | sha3-512 | 1099 | 64 |
//!
//! A message with a number that is in neither table is refused as a whole.
//!
//! ```
//! use o7s::wire::oap::Message;
//!
//! let request = Message { id: [7; 16], timestamp: 1_760_000_001_123_456_789, ..Message::default() };
//! let bytes = request.to_vec()?;
//! assert_eq!(bytes.len(), 36);
//! assert_eq!(Message::parse_request(&bytes)?, request);
//!
//! // The answer to it carries a SHA-384 hash; without one it is no response.
//! let response = Message { request_hash: &[0xab; 48], ..request };
//! assert_eq!(Message::parse_response(&response.to_vec()?, request.digest)?, response);
//! assert!(Message::parse_response(&bytes, request.digest).is_err());
//! # Ok::<(), o7s::wire::WireError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use super::{Reader, WireError};

/// Bytes of the fixed part, and so of the shortest request.
pub const HEADER_LEN: usize = 36;
/// Bytes of the id.
pub const ID_LEN: usize = 16;
/// The longest kex field, bytes: its length has 14 bits.
pub const MAX_KEX_LEN: usize = 0x3FFF;
/// Number of the digest (SHA-384) for the hash of a request that names none.
pub const DEFAULT_DIGEST: u16 = 673;

const FORMAT_BIT: u16 = 0x8000;
const ROLE_BIT: u16 = 0x4000;

/// Ciphers, weakest first.
const CIPHERS: [(u16, &str); 7] = [
    (904, "aes-128-ctr"),
    (905, "aes-192-ctr"),
    (906, "aes-256-ctr"),
    (895, "aes-128-gcm"),
    (898, "aes-192-gcm"),
    (901, "aes-256-gcm"),
    (1018, "chacha20-poly1305"),
];

/// Hashes, weakest first, with the bytes of their output.
const HASHES: [(u16, &str, usize); 8] = [
    (1057, "blake2s256", 32),
    (672, "sha256", 32),
    (1097, "sha3-256", 32),
    (673, "sha384", 48),
    (1098, "sha3-384", 48),
    (1056, "blake2b512", 64),
    (674, "sha512", 64),
    (1099, "sha3-512", 64),
];

/// Returns `true` if `number` is that of a cipher; 0 is not.
pub fn is_cipher(number: u16) -> bool {
    CIPHERS.iter().any(|&(known, _)| known == number)
}

/// Output of the hash with this number, bytes; `None` for 0 and for unknown numbers.
pub fn hash_len(number: u16) -> Option<usize> {
    HASHES.iter().find(|&&(known, ..)| known == number).map(|&(.., len)| len)
}

/// Length of the hash that answers a request whose digest field is `digest`, bytes. `None` if the number is unknown.
pub fn request_hash_len(digest: u16) -> Option<usize> {
    hash_len(if digest == 0 { DEFAULT_DIGEST } else { digest })
}

/// The field that carries the key exchange: a public key, a KEM ciphertext, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kex<'a> {
    /// F: the bytes are in the raw format of the hybrid KEMs. Clear if there are none.
    pub raw: bool,
    /// R: the bytes are a ciphertext to the server's static key. Only in a request; clear if there are none.
    pub client_encapsulates: bool,
    /// The key or ciphertext, at most [`MAX_KEX_LEN`] bytes.
    pub bytes: &'a [u8],
}

/// A request or a response, its variable parts borrowed.
///
/// The parser and the encoder accept the same messages, and either undoes the other byte for byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Random, chosen by the client for each request; repeated in the response.
    pub id: [u8; ID_LEN],
    /// The sender's real-time clock when it made the message, nanoseconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// Number of the packet cipher, 0 without key exchange.
    pub cipher: u16,
    /// Number of the hash in HKDF, 0 without key exchange.
    pub kdf: u16,
    /// Number of the sender's digest, 0 if it has configured none.
    pub digest: u16,
    /// One X.509 certificate in DER, or nothing. At most 65535 bytes.
    pub certificate: &'a [u8],
    /// The key exchange.
    pub kex: Kex<'a>,
    /// Bytes of the application. At most 65535.
    pub data: &'a [u8],
    /// In a response the digest of the complete request; empty in a request.
    pub request_hash: &'a [u8],
    /// Signature over everything before it; empty without a certificate.
    pub signature: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::Unknown`] for a cipher or hash that is in no table, and
    /// [`WireError::Length`] for bytes behind the data of a request without certificate.
    pub fn parse_request(bytes: &'a [u8]) -> Result<Self, WireError> {
        Self::parse(bytes, 0)
    }

    /// Reads the response to a request whose digest field was `request_digest`.
    ///
    /// # Errors
    /// As [`parse_request`](Self::parse_request); a request hash of another length shows as one of them, or goes
    /// unnoticed here if there is a signature behind it.
    pub fn parse_response(bytes: &'a [u8], request_digest: u16) -> Result<Self, WireError> {
        let hash_len = request_hash_len(request_digest)
            .ok_or(WireError::Unknown { field: "digest", value: request_digest.into() })?;
        Self::parse(bytes, hash_len)
    }

    fn parse(bytes: &'a [u8], hash_len: usize) -> Result<Self, WireError> {
        let have = bytes.len();
        let mut reader = Reader::new(bytes);
        let id = reader.array()?;
        let timestamp = reader.u64()?;
        let mut next = || reader.array().map(u16::from_be_bytes);
        let (cipher, kdf, digest) = (next()?, next()?, next()?);
        let (certificate_len, kex_len, data_len) = (next()?, next()?, next()?);
        let message = Self { id, timestamp, cipher, kdf, digest, ..Self::default() };
        message.check_numbers()?;

        let lengths = [certificate_len.into(), (kex_len & !(FORMAT_BIT | ROLE_BIT)).into(), data_len.into(), hash_len];
        let need = lengths.iter().fold(HEADER_LEN, |sum, len| sum + len);
        let mut rest = reader.rest();
        let [certificate, kex, data, request_hash] = lengths.map(|len| {
            let (field, left) = rest.split_at_checked(len).ok_or(WireError::Truncated { need, have })?;
            rest = left;
            Ok(field)
        });
        let message = Self {
            certificate: certificate?,
            kex: Kex { raw: kex_len & FORMAT_BIT != 0, client_encapsulates: kex_len & ROLE_BIT != 0, bytes: kex? },
            data: data?,
            request_hash: request_hash?,
            signature: rest,
            ..message
        };
        message.check_signature()?;
        Ok(message)
    }

    /// Bytes of the encoded message.
    pub fn encoded_len(&self) -> usize {
        let variable =
            [self.certificate, self.kex.bytes, self.data, self.request_hash, self.signature].map(<[u8]>::len);
        variable.iter().fold(HEADER_LEN, |sum, len| sum.saturating_add(*len))
    }

    /// Appends the encoded message to `out`.
    ///
    /// # Errors
    /// Nothing is appended and the fault named if a field is too long, a number is in no table, the request hash is as
    /// long as no hash, or there is a signature without a certificate.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.check_numbers()?;
        self.check_signature()?;
        let certificate_len = length("certificate", self.certificate)?;
        let data_len = length("data", self.data)?;
        let mut kex_len = length("kex", self.kex.bytes)?;
        if self.kex.bytes.len() > MAX_KEX_LEN {
            return Err(WireError::Length { field: "kex", value: self.kex.bytes.len() });
        }
        let hash = self.request_hash.len();
        if hash != 0 && HASHES.iter().all(|&(.., len)| len != hash) {
            return Err(WireError::Length { field: "request hash", value: hash });
        }
        if self.kex.raw {
            kex_len |= FORMAT_BIT;
        }
        if self.kex.client_encapsulates {
            kex_len |= ROLE_BIT;
        }
        out.reserve(self.encoded_len());
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        for field in [self.cipher, self.kdf, self.digest, certificate_len, kex_len, data_len] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        for field in [self.certificate, self.kex.bytes, self.data, self.request_hash, self.signature] {
            out.extend_from_slice(field);
        }
        Ok(())
    }

    /// The encoded message.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn to_vec(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::new();
        self.emit(&mut out)?;
        Ok(out)
    }

    fn check_numbers(&self) -> Result<(), WireError> {
        let known = [
            ("cipher", self.cipher, is_cipher(self.cipher)),
            ("kdf", self.kdf, hash_len(self.kdf).is_some()),
            ("digest", self.digest, hash_len(self.digest).is_some()),
        ];
        match known.into_iter().find(|&(_, number, known)| number != 0 && !known) {
            Some((field, number, _)) => Err(WireError::Unknown { field, value: number.into() }),
            None => Ok(()),
        }
    }

    fn check_signature(&self) -> Result<(), WireError> {
        if self.certificate.is_empty() && !self.signature.is_empty() {
            return Err(WireError::Length { field: "signature without certificate", value: self.signature.len() });
        }
        Ok(())
    }
}

/// One line, the way packet dumps print a header; long fields only by their length, keys and data not at all.
impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("oap id ")?;
        for byte in self.id {
            write!(f, "{byte:02x}")?;
        }
        write!(f, " time {}.{:09}", self.timestamp / 1_000_000_000, self.timestamp % 1_000_000_000)?;
        if let Some((_, name)) = CIPHERS.iter().find(|&&(number, _)| number == self.cipher) {
            write!(f, " cipher {name}")?;
        }
        for (field, number) in [("kdf", self.kdf), ("digest", self.digest)] {
            if let Some((_, name, _)) = HASHES.iter().find(|&&(known, ..)| known == number) {
                write!(f, " {field} {name}")?;
            }
        }
        let flags = match (self.kex.raw, self.kex.client_encapsulates) {
            (false, false) => "",
            (true, false) => "|F",
            (false, true) => "|R",
            (true, true) => "|F|R",
        };
        let fields = [
            ("cert", self.certificate),
            ("kex", self.kex.bytes),
            ("data", self.data),
            ("hash", self.request_hash),
            ("sig", self.signature),
        ];
        for (name, bytes) in fields.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            write!(f, " {name}{} {}", if name == "kex" { flags } else { "" }, bytes.len())?;
        }
        Ok(())
    }
}

fn length(field: &'static str, bytes: &[u8]) -> Result<u16, WireError> {
    u16::try_from(bytes.len()).map_err(|_| WireError::Length { field, value: bytes.len() })
}

#[cfg(test)]
mod tests;
