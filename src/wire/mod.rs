//! The bytes that travel, one module a protocol.
//!
//! | module | what it lays out |
//! |---|---|
//! | [`cep`] | the first messages between two members: which component, which protocol |
//! | [`dht`] | the questions and answers of a unicast layer's directory |
//! | [`dissect`] | all of them, for tools that show what travels |
//! | [`dt`] | the header of every packet in a unicast layer |
//! | [`enroll`] | how a new member of a layer gets its configuration |
//! | [`eth`] | the Ethernet shims: frames, name queries, flow requests and flow replies |
//! | [`fa`] | flow requests, replies and congestion updates inside a unicast layer |
//! | [`frct`] | flow and retransmission control: the header of every packet on an ordered flow |
//! | [`link_state`] | the links that the members of a unicast layer tell each other about |
//! | [`oap`] | the header of flow requests and replies: who, when, and how to encrypt |
//! | [`pcapng`] | files of captured packets, and what is in front of a flow's own packets in them |
//! | [`udp`] | the UDP shim: data datagrams, flow requests and flow replies |
//!
//! Every layout is documented where it is implemented, as a table of offsets: these pages are the protocol manual.
//! All of them are without padding, and integers are big-endian, most significant byte first, unless a table says
//! otherwise.
//!
//! This room only translates. It keeps no state and does no I/O; what a field *means* for a flow is decided by the protocol
//! machines. Decoding checks every length before it reads, never panics, and never allocates more than the bytes it was
//! given, or a small multiple of them for lists in Protocol Buffers. What decodes encodes again to the same bytes; where a
//! decoder is lenient (an unused field that is not zero, for instance) it says so.
//!
//! ```
//! use o7s::wire::WireError;
//! use o7s::wire::frct::{Flags, Pci};
//!
//! // The first data packet of a flow, "req", as it leaves the host.
//! let packet = [0x03, 0, 0, 0, 0x27, 0xab, 0x4e, 0xdc, 0, 0, 0, 0, b'r', b'e', b'q'];
//! let pci = Pci::parse(&packet)?;
//! assert!(pci.flags.contains(Flags::DATA | Flags::DRF));
//! assert_eq!(pci.to_bytes(), packet[..Pci::LEN]);
//! assert_eq!(pci.to_string(), "data|drf seq 665538268");
//! # Ok::<(), WireError>(())
//! ```

use core::fmt;

use crate::types::qos::QosSpec;

pub mod cep;
pub mod dht;
pub mod dissect;
pub mod dt;
pub mod enroll;
pub mod eth;
pub mod fa;
pub mod frct;
pub mod link_state;
pub mod oap;
pub mod pcapng;
mod protobuf;
#[cfg(test)]
mod testing;
pub mod udp;

/// Why bytes are not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The message ends before its last field.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("message cut short: {have} bytes where at least {need} are needed")]
    Truncated {
        /// Bytes the message has at least, given what could be read of it.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// A length is one that the protocol does not allow, or bytes are left over.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("invalid length of {field}: {value} bytes")]
    Length {
        /// The field.
        field: &'static str,
        /// Its length, bytes.
        value: usize,
    },
    /// A number that the protocol does not define.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("unknown {field} {value}")]
    Unknown {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
    /// A field whose value contradicts the others.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("{field} contradicts the rest of the message")]
    Invalid {
        /// The field.
        field: &'static str,
    },
    /// Not a message of this kind.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("malformed {message}")]
    Malformed {
        /// Kind of message that was expected.
        message: &'static str,
    },
    /// A field that must be there is not.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The buffer to encode into is too small.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    #[error("no room for {need} bytes in the buffer, make it larger")]
    NoRoom {
        /// Bytes that the encoding takes.
        need: usize,
    },
}

/// Reads fields off the front of a message, checking every length.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    total: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { total: message.len(), rest: message }
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.truncated(N))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Everything not yet read.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    fn truncated(&self, wanted: usize) -> WireError {
        let read = self.total - self.rest.len();
        WireError::Truncated { need: read.saturating_add(wanted), have: self.total }
    }
}

/// The QoS fields of a message that has none.
pub(crate) const NO_QOS: QosSpec =
    QosSpec { delay: 0, bandwidth: 0, availability: 0, loss: 0, ber: 0, in_order: false, max_gap: 0, timeout: 0 };

/// Prints the QoS fields of a message.
pub(crate) struct QosFields<'a>(pub(crate) &'a QosSpec);

impl fmt::Display for QosFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QosSpec { delay, bandwidth, availability, loss, ber, in_order, max_gap, timeout } = self.0;
        write!(f, "delay {delay} bandwidth {bandwidth} availability {availability} loss {loss} ber {ber}")?;
        write!(f, " in_order {} max_gap {max_gap} timeout {timeout}", u8::from(*in_order))
    }
}
