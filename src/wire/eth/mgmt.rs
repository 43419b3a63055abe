//! Management messages of the Ethernet shims, in both layouts.

use alloc::vec::Vec;
use core::fmt;

use super::Format;
use crate::types::name::{HashAlg, NameHash};
use crate::types::qos::QosSpec;
use crate::wire::dissect::Fields;
use crate::wire::{NO_QOS, QosFields, Reader, WireError};

const CODE_REQUEST: u8 = 0;
const CODE_REPLY: u8 = 1;
const CODE_QUERY: u8 = 2;
const CODE_ANSWER: u8 = 3;

/// A management message: what it says. [Layout](super#management-message).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mgmt<'a> {
    /// Request for a flow to a name.
    Request(FlowRequest<'a>),
    /// Reply to a request.
    Reply(FlowReply<'a>),
    /// Query for the location of a name. Sent to the broadcast address.
    Query(NameHash),
    /// The name is registered at the sender.
    Answer(NameHash),
}

impl<'a> Mgmt<'a> {
    /// Reads the payload of a management frame in a layer that names things by hashes of algorithm `alg`.
    ///
    /// Fields that the message does not use may have any value; [`Raw`] tells.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if fixed part or hash are not whole, [`WireError::Unknown`] for another code.
    pub fn parse(format: Format, alg: HashAlg, payload: &'a [u8]) -> Result<Self, WireError> {
        Raw::parse(format, payload)?.message(alg)
    }

    /// Appends the message's bytes to `out`.
    ///
    /// # Errors
    /// [`WireError::Invalid`] for a number above 255 in the LLC format; nothing is appended then.
    pub fn emit(&self, format: Format, out: &mut Vec<u8>) -> Result<(), WireError> {
        let (header, hash, data) = match self {
            Self::Request(m) => (m.header(), Some(&m.dst), m.data),
            Self::Reply(m) => (m.header(), None, m.data),
            Self::Query(hash) => (Header::new(CODE_QUERY), Some(hash), &[][..]),
            Self::Answer(hash) => (Header::new(CODE_ANSWER), Some(hash), &[][..]),
        };
        header.emit(format, out)?;
        out.extend_from_slice(hash.map_or(&[], NameHash::as_bytes));
        out.extend_from_slice(data);
        Ok(())
    }

    /// The message's bytes.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn to_vec(&self, format: Format) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::new();
        self.emit(format, &mut out)?;
        Ok(out)
    }
}

impl fmt::Display for Mgmt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(m) => m.fmt(f),
            Self::Reply(m) => m.fmt(f),
            Self::Query(hash) => write!(f, "name query {hash}"),
            Self::Answer(hash) => write!(f, "name answer {hash}"),
        }
    }
}

/// A flow request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRequest<'a> {
    /// The EID or SAP at which the requester will receive.
    pub s_eid: u16,
    /// The service asked for. Both ends derive the flow's framing from it.
    pub qos: QosSpec,
    /// Hash of the name called, with the layer's algorithm.
    pub dst: NameHash,
    /// The OAP request.
    pub data: &'a [u8],
}

impl FlowRequest<'_> {
    fn header(&self) -> Header {
        let in_order = u8::from(self.qos.in_order);
        Header { s_eid: self.s_eid, qos: self.qos, in_order, ..Header::new(CODE_REQUEST) }
    }
}

impl fmt::Display for FlowRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { s_eid, qos, dst, data } = self;
        write!(f, "flow request s_eid {s_eid} dst {dst} {} data {}", QosFields(qos), data.len())
    }
}

/// A flow reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowReply<'a> {
    /// The EID or SAP at which the responder will receive.
    pub s_eid: u16,
    /// The requester's, from the request.
    pub d_eid: u16,
    /// 0 if the flow is accepted, a negative error code if not.
    pub response: i32,
    /// The OAP response; empty in a refusal.
    pub data: &'a [u8],
}

impl FlowReply<'_> {
    fn header(&self) -> Header {
        let Self { s_eid, d_eid, response, .. } = *self;
        Header { s_eid, d_eid, response, ..Header::new(CODE_REPLY) }
    }
}

impl fmt::Display for FlowReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { s_eid, d_eid, response, data } = self;
        write!(f, "flow reply s_eid {s_eid} d_eid {d_eid} response {response} data {}", data.len())
    }
}

/// A management message as it stands, unused fields and all: whatever parses encodes to the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    format: Format,
    header: Header,
    rest: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Reads the payload of a management frame. Any code will do.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if the fixed part is not whole.
    pub fn parse(format: Format, payload: &'a [u8]) -> Result<Self, WireError> {
        if payload.len() < format.mgmt_len() {
            return Err(WireError::Truncated { need: format.mgmt_len(), have: payload.len() });
        }
        let mut r = Reader::new(payload);
        Ok(Self { format, header: Header::parse(format, &mut r)?, rest: r.rest() })
    }

    /// Returns the message, in a layer that hashes names with `alg`. Errors as for [`Mgmt::parse`].
    pub fn message(&self, alg: HashAlg) -> Result<Mgmt<'a>, WireError> {
        let Header { s_eid, d_eid, response, code, qos, .. } = self.header;
        match code {
            CODE_REQUEST => {
                let (dst, data) = self.hash(alg)?;
                Ok(Mgmt::Request(FlowRequest { s_eid, qos, dst, data }))
            }
            CODE_REPLY => Ok(Mgmt::Reply(FlowReply { s_eid, d_eid, response, data: self.rest })),
            CODE_QUERY => Ok(Mgmt::Query(self.hash(alg)?.0)),
            CODE_ANSWER => Ok(Mgmt::Answer(self.hash(alg)?.0)),
            other => Err(WireError::Unknown { field: "management code", value: u32::from(other) }),
        }
    }

    fn hash(&self, alg: HashAlg) -> Result<(NameHash, &'a [u8]), WireError> {
        let split = self.rest.split_at_checked(alg.len());
        let split = split.and_then(|(hash, data)| Some((NameHash::new(hash)?, data)));
        let fixed = self.format.mgmt_len();
        split.ok_or(WireError::Truncated { need: fixed + alg.len(), have: fixed + self.rest.len() })
    }

    /// Returns `true` if every field that this kind of message does not use is 0, in_order is 0 or 1, and nothing
    /// follows the hash of a query: if so, and only then, [`message`](Self::message) encodes to the bytes this was read
    /// from. `false` for anything that is not a message.
    pub fn is_canonical(&self, alg: HashAlg) -> bool {
        match self.message(alg) {
            Ok(Mgmt::Request(m)) => m.header() == self.header,
            Ok(Mgmt::Reply(m)) => m.header() == self.header,
            Ok(Mgmt::Query(_) | Mgmt::Answer(_)) => {
                self.header == Header::new(self.header.code) && self.rest.len() == alg.len()
            }
            Err(_) => false,
        }
    }

    /// Appends the bytes this was read from to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        // It was read in this format, so its numbers fit.
        if self.header.emit(self.format, out).is_ok() {
            out.extend_from_slice(self.rest);
        }
    }

    /// All fields of the message, unused ones included.
    pub(in crate::wire) fn fields(&self, alg: HashAlg, to: &mut Fields<'_>) {
        let Header { s_eid, d_eid, response, code, in_order, .. } = self.header;
        to.number("o7s.eth.s_eid", s_eid);
        to.number("o7s.eth.d_eid", d_eid);
        to.signed("o7s.eth.response", response);
        to.qos(&self.header.qos, QOS_FIELDS);
        to.number("o7s.eth.in_order", in_order);
        to.number("o7s.eth.code", code);
        if code != CODE_REPLY {
            to.bytes("o7s.eth.hash", self.rest.get(..alg.len()).unwrap_or_default());
        }
    }
}

const QOS_FIELDS: [&str; 7] = [
    "o7s.eth.delay",
    "o7s.eth.bandwidth",
    "o7s.eth.availability",
    "o7s.eth.loss",
    "o7s.eth.ber",
    "o7s.eth.max_gap",
    "o7s.eth.timeout",
];

/// The fixed part of a management message. `in_order` counts, not the one in `qos`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    s_eid: u16,
    d_eid: u16,
    qos: QosSpec,
    response: i32,
    in_order: u8,
    code: u8,
}

impl Header {
    const fn new(code: u8) -> Self {
        Self { s_eid: 0, d_eid: 0, qos: NO_QOS, response: 0, in_order: 0, code }
    }

    fn parse(format: Format, r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut header = Self::new(0);
        match format {
            Format::Dix => (header.s_eid, header.d_eid) = (r.u16()?, r.u16()?),
            Format::Llc => {
                (header.s_eid, header.d_eid) = (r.u8()?.into(), r.u8()?.into());
                (header.code, header.qos.availability) = (r.u8()?, r.u8()?);
            }
        }
        header.qos.loss = r.u32()?;
        header.qos.bandwidth = r.u64()?;
        header.qos.ber = r.u32()?;
        header.qos.max_gap = r.u32()?;
        header.qos.delay = r.u32()?;
        header.qos.timeout = r.u32()?;
        header.response = r.i32()?;
        header.in_order = r.u8()?;
        header.qos.in_order = header.in_order != 0;
        if format == Format::Dix {
            (header.code, header.qos.availability) = (r.u8()?, r.u8()?);
        }
        Ok(header)
    }

    fn emit(&self, format: Format, out: &mut Vec<u8>) -> Result<(), WireError> {
        let Self { s_eid, d_eid, qos, response, in_order, code } = self;
        match format {
            Format::Dix => {
                out.extend_from_slice(&s_eid.to_be_bytes());
                out.extend_from_slice(&d_eid.to_be_bytes());
            }
            Format::Llc => {
                let sap = |eid: &u16| u8::try_from(*eid).map_err(|_| WireError::Invalid { field: "sap" });
                out.extend_from_slice(&[sap(s_eid)?, sap(d_eid)?, *code, qos.availability]);
            }
        }
        out.extend_from_slice(&qos.loss.to_be_bytes());
        out.extend_from_slice(&qos.bandwidth.to_be_bytes());
        for field in [qos.ber, qos.max_gap, qos.delay, qos.timeout] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&response.to_be_bytes());
        out.push(*in_order);
        if format == Format::Dix {
            out.extend_from_slice(&[*code, qos.availability]);
        }
        Ok(())
    }
}
