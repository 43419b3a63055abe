//! The messages of the UDP shim: data datagrams, flow requests and flow replies. The same over IPv4 and IPv6.
//!
//! # Datagram
//!
//! One datagram is one packet of a flow, or one management message.
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 4 | EID | the number by which the receiver knows the flow; 0 for management |
//! | 4 | rest | payload | the packet, up to the end of the datagram |
//!
//! A datagram of exactly 4 bytes carries an empty packet: a keepalive. EIDs are chosen by the receiver and told to the
//! peer when the flow is allocated; 0 and 0xFFFFFFFF are never used.
//!
//! # Management message
//!
//! The fixed part has 47 bytes, the EID of the datagram included.
//!
//! | offset | size | field | flow request | flow reply |
//! |---|---|---|---|---|
//! | 0 | 4 | EID | 0 | 0 |
//! | 4 | 4 | s_eid | the requester's EID | the requester's EID, echoed |
//! | 8 | 4 | d_eid | 0 | the responder's EID |
//! | 12 | 4 | response, signed | 0 | 0: accepted; negative: refused, and why |
//! | 16 | 8 | bandwidth, bit/s | QoS | 0 |
//! | 24 | 4 | delay, ms | QoS | 0 |
//! | 28 | 4 | loss | QoS | 0 |
//! | 32 | 4 | ber, bit errors per 10^9 | QoS | 0 |
//! | 36 | 4 | max_gap, ms | QoS | 0 |
//! | 40 | 4 | timeout, ms | QoS | 0 |
//! | 44 | 1 | code | 1 | 2 |
//! | 45 | 1 | availability, nines | QoS | 0 |
//! | 46 | 1 | in_order, 0 or 1 | QoS | 0 |
//! | 47 | 16 | MD5 of the name | present | absent |
//! | 63 or 47 | rest | data | OAP request | OAP response, if accepted |
//!
//! In a reply the *source* EID is still the requester's: the shims over Ethernet have it the other way round.
//! A message refers to nothing but the flow: its sender is known from the datagram's source address, and a reply goes
//! there.
//!
//! Fields that a message does not use are 0. Others are accepted and ignored, as the C reference does;
//! [`Raw::is_canonical`] tells them apart, and [`Raw`] keeps them.
//!
//! # Limits
//!
//! The C reference copies a management datagram into [`REFERENCE_MAX_MGMT`] bytes without looking at its length, so
//! a longer one is never sent to one. It keeps the first [`REFERENCE_MAX_PAYLOAD_V4`] or
//! [`REFERENCE_MAX_PAYLOAD_V6`] bytes of a packet.
//!
//! ```
//! use o7s::wire::udp::{Datagram, FlowReply, Mgmt};
//!
//! let refused = FlowReply { s_eid: 64, d_eid: 65, response: -1009, data: &[] };
//! let bytes = refused.to_vec();
//! assert_eq!(bytes.len(), 47);
//! assert_eq!(bytes[4..16], [0, 0, 0, 64, 0, 0, 0, 65, 0xff, 0xff, 0xfc, 0x0f]);
//! assert_eq!(Datagram::parse(&bytes)?, Datagram::Mgmt(Mgmt::Reply(refused)));
//!
//! let keepalive = [0, 0, 0, 65];
//! assert_eq!(Datagram::parse(&keepalive)?, Datagram::Data { eid: 65, payload: &[] });
//! # Ok::<(), o7s::wire::WireError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use super::dissect::Fields;
use super::{QosFields, Reader, WireError};
use crate::types::name::NameHash;
use crate::types::qos::QosSpec;

#[cfg(test)]
mod tests;

/// Length of the EID in front of every datagram, bytes.
pub const EID_LEN: usize = 4;
/// The EID that marks a management message.
pub const MGMT_EID: u32 = 0;
/// The EID that the C reference reads as "none"; never given to a flow.
pub const NO_EID: u32 = 0xffff_ffff;
/// Length of the fixed part of a management message, bytes, the EID included.
pub const MGMT_LEN: usize = 47;
/// Length of the hash in a flow request, bytes: the UDP shims always use MD5.
pub const HASH_LEN: usize = 16;
/// The UDP port of a layer that is not given another one.
pub const DEFAULT_PORT: u16 = 3435;
/// The longest management datagram that may be sent to a C reference, bytes.
pub const REFERENCE_MAX_MGMT: usize = 2048;
/// The longest packet that arrives whole at a C reference over IPv4, bytes without the EID.
pub const REFERENCE_MAX_PAYLOAD_V4: usize = 8976;
/// The longest packet that arrives whole at a C reference over IPv6, bytes without the EID.
pub const REFERENCE_MAX_PAYLOAD_V6: usize = 8948;

const CODE_REQUEST: u8 = 1;
const CODE_REPLY: u8 = 2;

/// Contents of one UDP datagram of a layer. [Layout](self#datagram).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// A message about a flow.
    Mgmt(Mgmt<'a>),
    /// A packet of a flow.
    Data {
        /// The number by which the receiver knows the flow.
        eid: u32,
        /// The packet; empty for a keepalive.
        payload: &'a [u8],
    },
}

impl<'a> Datagram<'a> {
    /// Reads a datagram. Errors are those of [`split_eid`] and, for management, [`Mgmt::parse`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, WireError> {
        match split_eid(datagram)? {
            (MGMT_EID, _) => Mgmt::parse(datagram).map(Self::Mgmt),
            (eid, payload) => Ok(Self::Data { eid, payload }),
        }
    }

    /// Appends the datagram's bytes to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Mgmt(message) => message.emit(out),
            Self::Data { eid, payload } => {
                out.extend_from_slice(&eid.to_be_bytes());
                out.extend_from_slice(payload);
            }
        }
    }
}

impl fmt::Display for Datagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mgmt(message) => message.fmt(f),
            Self::Data { eid, payload: [] } => write!(f, "eid {eid} keepalive"),
            Self::Data { eid, payload } => write!(f, "eid {eid} length {}", payload.len()),
        }
    }
}

/// Splits a datagram into the EID it is for ([`MGMT_EID`] for management) and what follows.
///
/// The only error is [`WireError::Truncated`], for a datagram shorter than 4 bytes.
#[inline]
pub fn split_eid(datagram: &[u8]) -> Result<(u32, &[u8]), WireError> {
    match datagram.split_first_chunk::<EID_LEN>() {
        Some((eid, rest)) => Ok((u32::from_be_bytes(*eid), rest)),
        None => Err(WireError::Truncated { need: EID_LEN, have: datagram.len() }),
    }
}

/// A management message: what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mgmt<'a> {
    /// Request for a flow to a name.
    Request(FlowRequest<'a>),
    /// Reply to a request.
    Reply(FlowReply<'a>),
}

impl<'a> Mgmt<'a> {
    /// Reads a management datagram from its first byte, the EID, to its last.
    ///
    /// Fields that the message does not use may have any value; `Raw` tells. Errors: [`WireError::Truncated`] if
    /// fixed part or hash are not whole, [`WireError::Unknown`] for another code, [`WireError::Invalid`] if the EID is
    /// not that of management.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, WireError> {
        Raw::parse(datagram)?.message()
    }

    /// Appends the message's bytes to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request(m) => m.emit(out),
            Self::Reply(m) => m.emit(out),
        }
    }
}

impl fmt::Display for Mgmt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(m) => m.fmt(f),
            Self::Reply(m) => m.fmt(f),
        }
    }
}

/// A flow request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRequest<'a> {
    /// The EID at which the requester will receive.
    pub s_eid: u32,
    /// The service asked for. Both ends derive the flow's framing from it.
    pub qos: QosSpec,
    /// MD5 of the name called, 16 bytes. A shorter hash is filled up with zeros when encoded, a longer one
    /// cut.
    pub dst: NameHash,
    /// The OAP request.
    pub data: &'a [u8],
}

impl FlowRequest<'_> {
    /// Bytes in front of `data`.
    pub const OVERHEAD: usize = MGMT_LEN + HASH_LEN;

    /// Appends the message's bytes to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let header = Header { s_eid: self.s_eid, code: CODE_REQUEST, ..Header::default() }.with_qos(&self.qos);
        header.emit(out);
        let hash = self.dst.as_bytes();
        out.extend(hash.iter().copied().chain(core::iter::repeat(0)).take(HASH_LEN));
        out.extend_from_slice(self.data);
    }

    /// The message's bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::OVERHEAD + self.data.len());
        self.emit(&mut out);
        out
    }
}

impl fmt::Display for FlowRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { s_eid, dst, data, qos } = self;
        write!(f, "flow request s_eid {s_eid} dst {dst} {} data {}", QosFields(qos), data.len())
    }
}

/// A flow reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowReply<'a> {
    /// The requester's EID, from the request.
    pub s_eid: u32,
    /// The EID at which the responder will receive.
    pub d_eid: u32,
    /// 0 if the flow is accepted, a negative error code if not.
    pub response: i32,
    /// The OAP response; empty in a refusal.
    pub data: &'a [u8],
}

impl FlowReply<'_> {
    /// Bytes in front of `data`.
    pub const OVERHEAD: usize = MGMT_LEN;

    /// Appends the message's bytes to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let Self { s_eid, d_eid, response, data } = *self;
        Header { s_eid, d_eid, response, code: CODE_REPLY, ..Header::default() }.emit(out);
        out.extend_from_slice(data);
    }

    /// The message's bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::OVERHEAD + self.data.len());
        self.emit(&mut out);
        out
    }
}

impl fmt::Display for FlowReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { s_eid, d_eid, response, data } = self;
        write!(f, "flow reply s_eid {s_eid} d_eid {d_eid} response {response} data {}", data.len())
    }
}

/// A management datagram as it stands, unused fields and all: whatever parses encodes to the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    header: Header,
    rest: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Reads a management datagram from its first byte, the EID, to its last. Any code will do. Errors as for
    /// [`Mgmt::parse`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, WireError> {
        if datagram.len() < MGMT_LEN {
            return Err(WireError::Truncated { need: MGMT_LEN, have: datagram.len() });
        }
        let mut r = Reader::new(datagram);
        if r.u32()? != MGMT_EID {
            return Err(WireError::Invalid { field: "eid" });
        }
        Ok(Self { header: Header::parse(&mut r)?, rest: r.rest() })
    }

    /// Returns the message.
    pub fn message(&self) -> Result<Mgmt<'a>, WireError> {
        let Header { s_eid, d_eid, response, code, .. } = self.header;
        match code {
            CODE_REQUEST => {
                let Some((hash, data)) = self.rest.split_at_checked(HASH_LEN) else {
                    let have = MGMT_LEN + self.rest.len();
                    return Err(WireError::Truncated { need: FlowRequest::OVERHEAD, have });
                };
                let dst = NameHash::new(hash).ok_or(WireError::Length { field: "hash", value: hash.len() })?;
                Ok(Mgmt::Request(FlowRequest { s_eid, qos: self.header.qos(), dst, data }))
            }
            CODE_REPLY => Ok(Mgmt::Reply(FlowReply { s_eid, d_eid, response, data: self.rest })),
            other => Err(WireError::Unknown { field: "management code", value: u32::from(other) }),
        }
    }

    /// Returns `true` if every field that this kind of message does not use is 0, and in_order is 0 or 1: if so, and
    /// only then, [`message`](Self::message) encodes to the bytes this was read from. `false` for unknown codes.
    pub fn is_canonical(&self) -> bool {
        let Header { s_eid, d_eid, response, code, .. } = self.header;
        match code {
            CODE_REQUEST => self.header == Header { s_eid, code, ..Header::default() }.with_qos(&self.header.qos()),
            CODE_REPLY => self.header == Header { s_eid, d_eid, response, code, ..Header::default() },
            _ => false,
        }
    }

    /// Appends the bytes this was read from to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        self.header.emit(out);
        out.extend_from_slice(self.rest);
    }

    /// All fields of the message, unused ones included.
    pub(super) fn fields(&self, to: &mut Fields<'_>) {
        let Header { s_eid, d_eid, response, code, in_order, .. } = self.header;
        to.number("o7s.udp.s_eid", s_eid);
        to.number("o7s.udp.d_eid", d_eid);
        to.signed("o7s.udp.response", response);
        to.qos(&self.header.qos(), QOS_FIELDS);
        to.number("o7s.udp.in_order", in_order);
        to.number("o7s.udp.code", code);
        if code == CODE_REQUEST {
            to.bytes("o7s.udp.hash", self.rest.get(..HASH_LEN).unwrap_or_default());
        }
    }
}

const QOS_FIELDS: [&str; 7] = [
    "o7s.udp.delay",
    "o7s.udp.bandwidth",
    "o7s.udp.availability",
    "o7s.udp.loss",
    "o7s.udp.ber",
    "o7s.udp.max_gap",
    "o7s.udp.timeout",
];

/// The fixed part of a management message, EID excluded, in wire order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Header {
    s_eid: u32,
    d_eid: u32,
    response: i32,
    bandwidth: u64,
    delay: u32,
    loss: u32,
    ber: u32,
    max_gap: u32,
    timeout: u32,
    code: u8,
    availability: u8,
    in_order: u8,
}

impl Header {
    fn parse(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            s_eid: r.u32()?,
            d_eid: r.u32()?,
            response: r.i32()?,
            bandwidth: r.u64()?,
            delay: r.u32()?,
            loss: r.u32()?,
            ber: r.u32()?,
            max_gap: r.u32()?,
            timeout: r.u32()?,
            code: r.u8()?,
            availability: r.u8()?,
            in_order: r.u8()?,
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MGMT_EID.to_be_bytes());
        out.extend_from_slice(&self.s_eid.to_be_bytes());
        out.extend_from_slice(&self.d_eid.to_be_bytes());
        out.extend_from_slice(&self.response.to_be_bytes());
        out.extend_from_slice(&self.bandwidth.to_be_bytes());
        out.extend_from_slice(&self.delay.to_be_bytes());
        out.extend_from_slice(&self.loss.to_be_bytes());
        out.extend_from_slice(&self.ber.to_be_bytes());
        out.extend_from_slice(&self.max_gap.to_be_bytes());
        out.extend_from_slice(&self.timeout.to_be_bytes());
        out.extend_from_slice(&[self.code, self.availability, self.in_order]);
    }

    fn with_qos(self, qos: &QosSpec) -> Self {
        Self {
            bandwidth: qos.bandwidth,
            delay: qos.delay,
            loss: qos.loss,
            ber: qos.ber,
            max_gap: qos.max_gap,
            timeout: qos.timeout,
            availability: qos.availability,
            in_order: u8::from(qos.in_order),
            ..self
        }
    }

    fn qos(&self) -> QosSpec {
        QosSpec {
            bandwidth: self.bandwidth,
            delay: self.delay,
            loss: self.loss,
            ber: self.ber,
            max_gap: self.max_gap,
            timeout: self.timeout,
            availability: self.availability,
            in_order: self.in_order != 0,
        }
    }
}
