//! CEP, the connection establishment protocol: the first message in either direction on a flow between two members of
//! a layer. It says which component of the member is meant, and how the two are going to talk.
//!
//! One message is one packet, in Protocol Buffers (proto2); all fields are always there.
//!
//! | no. | type | field | meaning |
//! |---|---|---|---|
//! | 1 | string | comp_name | the component, [table below](#components) |
//! | 2 | string | protocol | what it speaks |
//! | 3 | int32 | pref_version | which version of it |
//! | 4 | repeated int32 | supp_version | which others; the C reference never sends and never reads any, see [`Terms`] |
//! | 5 | int32 | pref_syntax | 0: Protocol Buffers, 1: ASN.1, 2: fixed fields |
//! | 6 | repeated int32 | supp_syntax | never sent, ignored |
//! | 7 | message | syntax_spec | never sent, ignored |
//! | 8 | uint64 | address | address of the sender in the layer, 0 if it has none |
//!
//! # Components
//!
//! | component | comp_name | protocol | version | syntax | address |
//! |---|---|---|---|---|---|
//! | [enrollment](Message::enrollment) | `Enrollment` | `OEP` | 1 | 0 | 0 |
//! | [data transfer](Message::data_transfer), unicast | `Data Transfer` | `dtp` | 1 | 2 | the sender's |
//! | [management](Message::management), unicast | `Management` | `LSP` | 1 | 0 | the sender's |
//! | [data transfer](Message::broadcast), broadcast | `Data Transfer` | empty | 0 | 0 | 0 |
//! | [refusal](Message::refusal): no such component | empty | empty | 0 | 0 | 0 |
//!
//! The syntax that management announces is not the one it uses. The requester compares protocol, version and syntax of
//! the answer with its own, so they stay as they are.
//!
//! The C reference reads at most 128 bytes, and after a message of just that length it takes the next one for empty:
//! nothing longer than [`MAX_LEN`] is encoded or decoded.
//!
//! ```
//! use o7s::types::id::Address;
//! use o7s::wire::cep::Message;
//!
//! let request = Message::data_transfer(Address(0x1234_5678));
//! let bytes = request.encode()?;
//! assert_eq!(bytes.len(), 30);
//! assert_eq!(Message::decode(&bytes)?, request);
//! assert!(Message::refusal().is_refusal() && !request.is_refusal());
//! # Ok::<(), o7s::wire::WireError>(())
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::WireError;
use super::protobuf::{self, messages, required};
use crate::types::id::Address;

mod terms;
#[cfg(test)]
mod tests;

pub use terms::Terms;

/// The longest message, bytes.
pub const MAX_LEN: usize = 127;

const NAME: &str = "cep message";
const DATA_TRANSFER: &str = "Data Transfer";
/// Protocol Buffers.
const SYNTAX_PROTOBUF: i32 = 0;
/// Fields at fixed offsets.
const SYNTAX_FIXED: i32 = 2;

/// A message of CEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The component.
    pub component: String,
    /// The protocol that the component speaks.
    pub protocol: String,
    /// Version of the protocol.
    pub version: i32,
    /// Further versions. The C reference sends none and ignores those of others, so members of this library send here
    /// what only they understand: their [`Terms`].
    pub versions: Vec<i32>,
    /// Number of the encoding of the component's messages.
    pub syntax: i32,
    /// Address of the sender, 0 if it has none.
    pub address: Address,
}

impl Message {
    fn new(component: &str, protocol: &str, version: i32, syntax: i32, address: Address) -> Self {
        Self { component: component.into(), protocol: protocol.into(), version, versions: Vec::new(), syntax, address }
    }

    /// The enrollment component of either kind of layer.
    pub fn enrollment() -> Self {
        Self::new("Enrollment", "OEP", 1, SYNTAX_PROTOBUF, Address(0))
    }

    /// The component of a unicast layer that exchanges [link state](super::link_state).
    pub fn management(address: Address) -> Self {
        Self::new("Management", "LSP", 1, SYNTAX_PROTOBUF, address)
    }

    /// The component of a unicast layer that forwards [packets](super::dt).
    pub fn data_transfer(address: Address) -> Self {
        Self::new(DATA_TRANSFER, "dtp", 1, SYNTAX_FIXED, address)
    }

    /// The component of a broadcast layer that passes packets on.
    pub fn broadcast() -> Self {
        Self::new(DATA_TRANSFER, "", 0, SYNTAX_PROTOBUF, Address(0))
    }

    /// The answer to one who asks for a component that there is not.
    pub fn refusal() -> Self {
        Self::new("", "", 0, SYNTAX_PROTOBUF, Address(0))
    }

    /// Returns `true` if this is a refusal: the answer to a request for an unknown component.
    pub fn is_refusal(&self) -> bool {
        self.component.is_empty()
    }

    /// Puts into the [`Terms`], if it says some, how long it took to allocate the flow.
    pub fn note_round_trip(&mut self, round_trip: Duration) {
        if let Some(terms) = Terms::of(&self.versions) {
            self.versions = Terms { round_trip, ..terms }.versions();
        }
    }

    /// Returns `true` if two ends with this message and `other` understand each other: same protocol, version and
    /// syntax. Component and address do not count.
    pub fn agrees_with(&self, other: &Self) -> bool {
        (&self.protocol, self.version, self.syntax) == (&other.protocol, other.version, other.syntax)
    }

    /// Reads a message. Unknown fields are skipped, as are the list of syntaxes and what belongs to it.
    ///
    /// # Errors
    /// [`WireError::Length`] beyond [`MAX_LEN`], [`WireError::Malformed`] for what is no Protocol Buffers or no UTF-8,
    /// [`WireError::Missing`] if a field is not there.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        let m: Proto = protobuf::decode(NAME, MAX_LEN, message)?;
        Ok(Self {
            component: required("comp_name", m.comp_name)?,
            protocol: required("protocol", m.protocol)?,
            version: required("pref_version", m.pref_version)?,
            versions: m.supp_version,
            syntax: required("pref_syntax", m.pref_syntax)?,
            address: Address(required("address", m.address)?),
        })
    }

    /// The message's bytes.
    ///
    /// # Errors
    /// [`WireError::Length`] beyond [`MAX_LEN`].
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let message = Proto {
            comp_name: Some(self.component.clone()),
            protocol: Some(self.protocol.clone()),
            pref_version: Some(self.version),
            supp_version: self.versions.clone(),
            pref_syntax: Some(self.syntax),
            address: Some(self.address.0),
        };
        protobuf::encode(NAME, MAX_LEN, &message)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_refusal() {
            return f.write_str("cep refusal");
        }
        let Self { component, protocol, version, syntax, address, .. } = self;
        write!(f, "cep {component:?} protocol {protocol:?} version {version} syntax {syntax} address {address}")
    }
}

messages! {
    struct Proto {
        comp_name: Option<String> = optional string 1,
        protocol: Option<String> = optional string 2,
        pref_version: Option<i32> = optional int32 3,
        supp_version: Vec<i32> = repeated int32 4,
        pref_syntax: Option<i32> = optional int32 5,
        address: Option<u64> = optional uint64 8,
    }
}
