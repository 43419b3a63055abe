//! The messages of a unicast layer's directory, which is a Kademlia: who knows names near this one, and where is it?
//!
//! Each is the payload of a packet for EID 1 ([`DIRECTORY`](super::dt::DIRECTORY)), in Protocol Buffers (proto2).
//!
//! | no. | type | field | in |
//! |---|---|---|---|
//! | 1 | uint32 | code | all |
//! | 2 | contact | src | all: the sender |
//! | 3 | store | store | STORE |
//! | 4 | find | find | FIND_NODE_REQ, FIND_VALUE_REQ |
//! | 5 | node | node | FIND_NODE_RSP, FIND_VALUE_RSP |
//! | 6 | val | val | FIND_VALUE_RSP |
//! | 20 | bytes | own | what only this implementation says, see [`Extension`]; others skip it |
//!
//! | code | name | says |
//! |---|---|---|
//! | 0 | STORE | [`Body::Store`] |
//! | 1 | FIND_NODE_REQ | [`Body::FindNode`] |
//! | 2 | FIND_NODE_RSP | [`Body::FoundNode`] |
//! | 3 | FIND_VALUE_REQ | [`Body::FindValue`] |
//! | 4 | FIND_VALUE_RSP | [`Body::FoundValue`] |
//!
//! | part | no. | type | field |
//! |---|---|---|---|
//! | contact | 1 | bytes | id, as long as a hash of the layer |
//! | | 2 | uint64 | addr |
//! | store | 1 | bytes | key, a hash of a name |
//! | | 2 | bytes | val, an address in 8 bytes, most significant first |
//! | | 3 | uint32 | exp, seconds since 1970-01-01 UTC |
//! | find | 1 | uint64 | cookie |
//! | | 2 | bytes | key: a hash of a name, or an id |
//! | node | 1 | uint64 | cookie, from the request |
//! | | 2 | bytes | key, from the request |
//! | | 3 | repeated contact | contacts |
//! | val | 1 | repeated bytes | values, as in store; the part is there even if there are none |
//!
//! All fields that are not repeated are always there, also if they are 0. A message whose parts do not fit its code,
//! whose sender has the address 0, or with a key or sender's id of another length than the layer's hashes is refused.
//! A contact or value that is none, by the same rules, is skipped. So are parts that do not belong to the code, and
//! fields that are unknown.
//!
//! ```
//! use o7s::types::id::Address;
//! use o7s::types::name::{HashAlg, NameHash};
//! use o7s::wire::dht::{Body, Contact, Message};
//!
//! let id = NameHash::new(&[7; 32]).unwrap();
//! let message = Message {
//!     src: Contact { id, address: Address(0x1234_5678) },
//!     body: Body::FindNode { cookie: 4711, key: id },
//! };
//! let bytes = message.encode()?;
//! assert_eq!(Message::decode(HashAlg::Sha3_256, &bytes)?, message);
//! assert!(Message::decode(HashAlg::Sha3_512, &bytes).is_err(), "the id is too short");
//! # Ok::<(), o7s::wire::WireError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use super::WireError;
use super::protobuf::{self, Field};
use crate::types::id::Address;
use crate::types::name::{HashAlg, NameHash};

mod proto;
#[cfg(test)]
mod tests;

/// The longest message that is encoded or decoded, bytes. The longest of the reference, with the longest ids and 20
/// contacts, has 1718.
pub const MAX_LEN: usize = 8192;

const NAME: &str = "dht message";

/// A member as the directory knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Id in the key space: random, as long as a hash of the layer.
    pub id: NameHash,
    /// Address in the layer; not 0.
    pub address: Address,
}

/// Extension of a message by members of this implementation. Others skip it as an unknown field.
///
/// It has 8 bytes, the token, most significant first, and behind them as many of any value as the message has to be
/// longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// In an answer: a number by which the requester can show later that it is at its address, because the answer was
    /// received there. In a STORE: the last one that the receiver gave. Never 0.
    pub token: Option<u64>,
    /// In a request: bytes that make it as long as its answer, so that a request with a forged sender does not have
    /// more sent to the victim than the attacker sent.
    pub padding: usize,
}

impl Extension {
    /// Bytes that a message becomes longer by, with the padding at most.
    pub const OVERHEAD: usize = 2 + 2 + size_of::<u64>();

    /// Makes a message of `len` bytes one of `wanted`, or a little more.
    pub fn pad(len: usize, wanted: usize) -> Self {
        Self { token: None, padding: wanted.saturating_sub(len + Self::OVERHEAD - 1) }
    }

    fn is_empty(&self) -> bool {
        self.token.is_none() && self.padding == 0
    }
}

/// A message of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender, by its own account.
    pub src: Contact,
    /// Contents, by code.
    pub body: Body,
}

/// Contents of a message of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Stores a name: its key, the address it is at, and the time until which this is true.
    Store {
        /// Hash of the name.
        key: NameHash,
        /// Address of the name.
        value: Address,
        /// Until when: seconds since 1970-01-01 UTC.
        expires: u32,
    },
    /// Asks for the contacts closest to a key.
    FindNode {
        /// To know the answer by.
        cookie: u64,
        /// A hash of a name, or an id.
        key: NameHash,
    },
    /// These are.
    FoundNode {
        /// Cookie of the request.
        cookie: u64,
        /// Key of the request.
        key: NameHash,
        /// Near the key.
        contacts: Vec<Contact>,
    },
    /// Asks for the addresses of a name, or for the contacts closest to it.
    FindValue {
        /// To know the answer by.
        cookie: u64,
        /// Hash of the name.
        key: NameHash,
    },
    /// There, and these are.
    FoundValue {
        /// Cookie of the request.
        cookie: u64,
        /// Key of the request.
        key: NameHash,
        /// Near the key.
        contacts: Vec<Contact>,
        /// Addresses of the name.
        values: Vec<Address>,
    },
}

impl Message {
    /// Reads a message in a layer that hashes names with `alg`.
    ///
    /// # Errors
    /// [`WireError::Length`] beyond [`MAX_LEN`] and for a key, an id or a value of another length than it must have,
    /// [`WireError::Malformed`] for what is no Protocol Buffers, [`WireError::Missing`] if a field or the part that
    /// belongs to the code is not there, [`WireError::Unknown`] for another code, [`WireError::Invalid`] for the
    /// address 0.
    pub fn decode(alg: HashAlg, message: &[u8]) -> Result<Self, WireError> {
        Ok(Self::decode_extended(alg, message)?.0)
    }

    /// Reads a message, and what one of our own kind says beside it.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_extended(alg: HashAlg, message: &[u8]) -> Result<(Self, Extension), WireError> {
        let message = protobuf::decode::<proto::Message>(NAME, MAX_LEN, message)?;
        let extension = message.extension();
        Ok((message.read(alg)?, extension))
    }

    /// The message's bytes.
    ///
    /// # Errors
    /// [`WireError::Length`] beyond [`MAX_LEN`].
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.encode_extended(Extension::default())
    }

    /// The message's bytes, with something for one of our own kind beside it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_extended(&self, extension: Extension) -> Result<Vec<u8>, WireError> {
        protobuf::encode(NAME, MAX_LEN, &proto::Message::from(self).with(extension))
    }
}

/// Which question an answer of the directory answers: its cookie, found without decoding the rest. `None` if the message is
/// no answer. A message with a cookie need not be one that [`decode`](Message::decode) takes.
pub fn answered(message: &[u8]) -> Option<u64> {
    matches!(message, [0x08, 2 | 4, ..]).then(|| cookie(message, 5))?
}

/// The cookie of a question, found alike.
pub fn question(message: &[u8]) -> Option<u64> {
    matches!(message, [0x08, 1 | 3, ..]).then(|| cookie(message, 4))?
}

/// The number in field 1 of the part with this number.
fn cookie(mut message: &[u8], part: u64) -> Option<u64> {
    let mut cookie = None;
    while !message.is_empty() {
        match protobuf::field(&mut message)? {
            (number, Field::Bytes(mut bytes)) if number == part => {
                while !bytes.is_empty() {
                    // What comes later counts, as for the decoder.
                    if let (1, Field::Number(number)) = protobuf::field(&mut bytes)? {
                        cookie = Some(number);
                    }
                }
            }
            _ => {}
        }
    }
    cookie
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.id, self.address)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { src, body } = self;
        write!(f, "dht src {src} ")?;
        match body {
            Body::Store { key, value, expires } => write!(f, "store {key} at {value} until {expires}"),
            Body::FindNode { cookie, key } => write!(f, "find node {key} cookie {cookie:#x}"),
            Body::FindValue { cookie, key } => write!(f, "find value {key} cookie {cookie:#x}"),
            Body::FoundNode { cookie, key, contacts } => {
                write!(f, "found node {key} cookie {cookie:#x} contacts {}", contacts.len())
            }
            Body::FoundValue { cookie, key, contacts, values } => {
                write!(f, "found value {key} cookie {cookie:#x} contacts {} values", contacts.len())?;
                values.iter().try_for_each(|value| write!(f, " {value}"))
            }
        }
    }
}
