//! The messages of a unicast layer's flow allocator: flow requests, flow replies and congestion updates.
//!
//! Each is the payload of a packet for EID 0 ([`FLOW_ALLOCATOR`](super::dt::FLOW_ALLOCATOR)) and starts with a fixed
//! part of 61 bytes.
//!
//! | offset | size | field | request | reply | update |
//! |---|---|---|---|---|---|
//! | 0 | 8 | s_addr | address of the requester | 0 | 0 |
//! | 8 | 8 | r_eid | 0 | the requester's EID, echoed | EID of the flow at the receiver |
//! | 16 | 8 | s_eid | the requester's EID | the responder's EID | 0 |
//! | 24 | 8 | bandwidth, bit/s | QoS | 0 | 0 |
//! | 32 | 4 | response, signed | 0 | 0: accepted; negative: refused | 0 |
//! | 36 | 4 | delay, ms | QoS | 0 | 0 |
//! | 40 | 4 | loss | QoS | 0 | 0 |
//! | 44 | 4 | ber, bit errors per 10^9 | QoS | 0 | 0 |
//! | 48 | 4 | max_gap, ms | QoS | 0 | 0 |
//! | 52 | 4 | timeout, ms | QoS | 0 | 0 |
//! | 56 | 2 | ece | 0 | 0 | congestion level |
//! | 58 | 1 | code | 0 | 1 | 2 |
//! | 59 | 1 | availability, nines | QoS | 0 | 0 |
//! | 60 | 1 | in_order, 0 or 1 | QoS | 0 | 0 |
//! | 61 | the layer's | hash of the name | present | absent | absent |
//! | then | rest | data | OAP request | OAP response, if accepted | none, or a report |
//!
//! The length of the hash is that of the layer's algorithm and not on the wire. A message of more than
//! [`REFERENCE_MAX`] bytes is dropped by the C reference. There is no message for the end of a flow.
//!
//! # Reports
//!
//! The reference ignores what follows the fixed part of an update. Between two members of our own kind it is a report
//! of 20 bytes on both directions of the flow, as its sender sees them: how many packets it has sent and had, and the
//! sum of the marks of those that it had, all modulo 2³². Other lengths and versions are ignored.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 61 | 1 | version, 1 |
//! | 62 | 1 | flags: 1 an answer is asked for, 2 this is one |
//! | 63 | 2 | 0 |
//! | 65 | 4 | packets sent |
//! | 69 | 4 | packets delivered |
//! | 73 | 4 | sum of their marks |
//! | 77 | 4 | in an answer, the packets sent that were in the question |
//!
//! Fields that a message does not use are 0. Others are accepted and ignored, as the reference does;
//! [`Raw::is_canonical`] tells them apart, and [`Raw`] keeps them.
//!
//! ```
//! use o7s::types::id::Eid;
//! use o7s::types::name::HashAlg;
//! use o7s::wire::fa::{FlowUpdate, Message};
//!
//! let update = Message::Update(FlowUpdate { r_eid: Eid(0xa1b2_c3d4_0000_0041), ece: 41, report: None });
//! let bytes = update.to_vec();
//! assert_eq!(bytes.len(), 61);
//! assert_eq!(bytes[56..], [0, 41, 2, 0, 0]);
//! assert_eq!(Message::parse(HashAlg::Sha3_256, &bytes)?, update);
//! # Ok::<(), o7s::wire::WireError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use super::dissect::Fields;
use super::{NO_QOS, QosFields, Reader, WireError};
use crate::types::id::{Address, Eid};
use crate::types::name::{HashAlg, NameHash};
use crate::types::qos::QosSpec;

#[cfg(test)]
mod tests;

/// Bytes of the fixed part.
pub const FIXED_LEN: usize = 61;
/// The longest message that the C reference reads, bytes.
pub const REFERENCE_MAX: usize = 2048;

const CODE_REQUEST: u8 = 0;
const CODE_REPLY: u8 = 1;
const CODE_UPDATE: u8 = 2;

/// A message of the flow allocator: what it says. [Layout](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Request for a flow to a name.
    Request(FlowRequest<'a>),
    /// Reply to a request.
    Reply(FlowReply<'a>),
    /// The other end of a flow tells how congested the way to it is.
    Update(FlowUpdate),
}

impl<'a> Message<'a> {
    /// Reads a message in a layer that names things by hashes of algorithm `alg`.
    ///
    /// Fields that the message does not use may have any value; [`Raw`] tells.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if fixed part or hash are not whole, [`WireError::Unknown`] for another code.
    pub fn parse(alg: HashAlg, message: &'a [u8]) -> Result<Self, WireError> {
        Raw::parse(message)?.message(alg)
    }

    /// Appends the message's bytes to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request(m) => m.emit(out),
            Self::Reply(m) => m.emit(out),
            Self::Update(m) => m.emit(out),
        }
    }

    /// The message's bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        self.emit(&mut out);
        out
    }

    /// Length of the message, bytes.
    fn encoded_len(&self) -> usize {
        let behind = match self {
            Self::Request(m) => m.dst.as_bytes().len() + m.data.len(),
            Self::Reply(m) => m.data.len(),
            Self::Update(m) => m.report.map_or(0, |_| REPORT_LEN),
        };
        FIXED_LEN + behind
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(m) => m.fmt(f),
            Self::Reply(m) => m.fmt(f),
            Self::Update(m) => m.fmt(f),
        }
    }
}

/// A flow request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRequest<'a> {
    /// Address of the requester, to which the reply goes.
    pub s_addr: Address,
    /// The EID at which the requester will receive.
    pub s_eid: Eid,
    /// The service asked for. Both ends derive the flow's framing from it.
    pub qos: QosSpec,
    /// Hash of the name called, with the layer's algorithm.
    pub dst: NameHash,
    /// The OAP request.
    pub data: &'a [u8],
}

impl FlowRequest<'_> {
    fn header(&self) -> Header {
        let (s_addr, s_eid, qos) = (self.s_addr, self.s_eid, self.qos);
        Header { s_addr, s_eid, qos, in_order: u8::from(qos.in_order), ..Header::new(CODE_REQUEST) }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        self.header().emit(out);
        out.extend_from_slice(self.dst.as_bytes());
        out.extend_from_slice(self.data);
    }
}

impl fmt::Display for FlowRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { s_addr, s_eid, qos, dst, data } = self;
        write!(f, "flow request s_addr {s_addr} s_eid {s_eid} dst {dst} {} data {}", QosFields(qos), data.len())
    }
}

/// A flow reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowReply<'a> {
    /// The requester's EID, from the request.
    pub r_eid: Eid,
    /// The EID at which the responder will receive.
    pub s_eid: Eid,
    /// 0 if the flow is accepted, a negative error code if not.
    pub response: i32,
    /// The OAP response; empty in a refusal.
    pub data: &'a [u8],
}

impl FlowReply<'_> {
    fn header(&self) -> Header {
        let Self { r_eid, s_eid, response, .. } = *self;
        Header { r_eid, s_eid, response, ..Header::new(CODE_REPLY) }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        self.header().emit(out);
        out.extend_from_slice(self.data);
    }
}

impl fmt::Display for FlowReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { r_eid, s_eid, response, data } = self;
        write!(f, "flow reply r_eid {r_eid} s_eid {s_eid} response {response} data {}", data.len())
    }
}

/// A congestion update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowUpdate {
    /// The EID of the flow at the receiver of the update.
    pub r_eid: Eid,
    /// The congestion that packets of the flow met.
    pub ece: u16,
    /// Report that follows the update, between members of this library.
    pub report: Option<Report>,
}

/// Delivery report behind an update, between two members of this library. [Layout](self#reports).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Packets that were sent on the flow, modulo 2³².
    pub sent: u32,
    /// Packets that were delivered, modulo 2³².
    pub delivered: u32,
    /// The sum of their marks, modulo 2³².
    pub marks: u32,
    /// An answer is asked for.
    pub asks: bool,
    /// In an answer: the [sent](Self::sent) packets of the question.
    pub answers: Option<u32>,
}

/// Bytes of a report.
pub const REPORT_LEN: usize = 20;
const REPORT_VERSION: u8 = 1;
const ASKS: u8 = 1;
const ANSWERS: u8 = 2;

impl Report {
    /// The report in what follows an update, if it is one.
    fn parse(rest: &[u8]) -> Option<Self> {
        if rest.len() != REPORT_LEN {
            return None;
        }
        let mut r = Reader::new(rest);
        if r.u8().ok()? != REPORT_VERSION {
            return None;
        }
        let flags = r.u8().ok()?;
        r.u16().ok()?;
        let (sent, delivered, marks, echo) = (r.u32().ok()?, r.u32().ok()?, r.u32().ok()?, r.u32().ok()?);
        Some(Self { sent, delivered, marks, asks: flags & ASKS != 0, answers: (flags & ANSWERS != 0).then_some(echo) })
    }

    fn fields(&self, to: &mut Fields<'_>) {
        to.number("o7s.fa.report.asks", u8::from(self.asks));
        to.number("o7s.fa.report.answers", u8::from(self.answers.is_some()));
        to.number("o7s.fa.report.sent", self.sent);
        to.number("o7s.fa.report.delivered", self.delivered);
        to.number("o7s.fa.report.marks", self.marks);
        to.number("o7s.fa.report.echo", self.answers.unwrap_or(0));
    }

    fn bytes(&self) -> [u8; REPORT_LEN] {
        let flags = if self.asks { ASKS } else { 0 } | if self.answers.is_some() { ANSWERS } else { 0 };
        let mut bytes = [0; REPORT_LEN];
        let head = [REPORT_VERSION, flags, 0, 0];
        let fields = [self.sent, self.delivered, self.marks, self.answers.unwrap_or(0)];
        let all = head.into_iter().chain(fields.into_iter().flat_map(u32::to_be_bytes));
        bytes.iter_mut().zip(all).for_each(|(byte, value)| *byte = value);
        bytes
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, delivered, marks, asks, answers } = self;
        write!(f, "sent {sent} delivered {delivered} marks {marks}{}", if *asks { " asks" } else { "" })?;
        answers.map_or(Ok(()), |sent| write!(f, " answers {sent}"))
    }
}

impl FlowUpdate {
    fn header(&self) -> Header {
        let Self { r_eid, ece, .. } = *self;
        Header { r_eid, ece, ..Header::new(CODE_UPDATE) }
    }

    fn emit(&self, out: &mut Vec<u8>) {
        self.header().emit(out);
        if let Some(report) = &self.report {
            out.extend_from_slice(&report.bytes());
        }
    }
}

impl fmt::Display for FlowUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flow update r_eid {} ece {}", self.r_eid, self.ece)?;
        self.report.map_or(Ok(()), |report| write!(f, " {report}"))
    }
}

/// A message as it stands, unused fields and all: whatever parses encodes to the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    header: Header,
    rest: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Reads a message. Any code will do.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if the fixed part is not whole.
    pub fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        if message.len() < FIXED_LEN {
            return Err(WireError::Truncated { need: FIXED_LEN, have: message.len() });
        }
        let mut r = Reader::new(message);
        Ok(Self { header: Header::parse(&mut r)?, rest: r.rest() })
    }

    /// Returns the message, in a layer that hashes names with `alg`. Errors as for [`Message::parse`].
    pub fn message(&self, alg: HashAlg) -> Result<Message<'a>, WireError> {
        let Header { s_addr, r_eid, s_eid, response, qos, ece, code, .. } = self.header;
        match code {
            CODE_REQUEST => {
                let split = self.rest.split_at_checked(alg.len());
                let split = split.and_then(|(hash, data)| Some((NameHash::new(hash)?, data)));
                let have = FIXED_LEN + self.rest.len();
                let (dst, data) = split.ok_or(WireError::Truncated { need: FIXED_LEN + alg.len(), have })?;
                Ok(Message::Request(FlowRequest { s_addr, s_eid, qos, dst, data }))
            }
            CODE_REPLY => Ok(Message::Reply(FlowReply { r_eid, s_eid, response, data: self.rest })),
            CODE_UPDATE => Ok(Message::Update(FlowUpdate { r_eid, ece, report: Report::parse(self.rest) })),
            other => Err(WireError::Unknown { field: "flow allocator code", value: other.into() }),
        }
    }

    /// Returns `true` if every field that this kind of message does not use is 0, in_order is 0 or 1, and only a report
    /// follows an update: if so, and only then, [`message`](Self::message) encodes to the bytes this was read from.
    /// `false` for anything that is not a message.
    pub fn is_canonical(&self, alg: HashAlg) -> bool {
        match self.message(alg) {
            Ok(Message::Request(m)) => m.header() == self.header,
            Ok(Message::Reply(m)) => m.header() == self.header,
            Ok(Message::Update(m)) => {
                let report = m.report.map(|report| report.bytes());
                m.header() == self.header && self.rest == report.as_ref().map_or(&[][..], |bytes| bytes)
            }
            Err(_) => false,
        }
    }

    /// Appends the bytes this was read from to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        self.header.emit(out);
        out.extend_from_slice(self.rest);
    }

    /// All fields of the message, unused ones included.
    pub(super) fn fields(&self, alg: HashAlg, to: &mut Fields<'_>) {
        let Header { s_addr, r_eid, s_eid, response, ece, code, in_order, .. } = self.header;
        to.number("o7s.fa.s_addr", s_addr.0);
        to.number("o7s.fa.r_eid", r_eid.0);
        to.number("o7s.fa.s_eid", s_eid.0);
        to.signed("o7s.fa.response", response);
        to.qos(&self.header.qos, QOS_FIELDS);
        to.number("o7s.fa.in_order", in_order);
        to.number("o7s.fa.ece", ece);
        to.number("o7s.fa.code", code);
        match code {
            CODE_REQUEST => to.bytes("o7s.fa.hash", self.rest.get(..alg.len()).unwrap_or_default()),
            CODE_UPDATE => Report::parse(self.rest).iter().for_each(|report| report.fields(to)),
            _ => {}
        }
    }
}

const QOS_FIELDS: [&str; 7] = [
    "o7s.fa.delay",
    "o7s.fa.bandwidth",
    "o7s.fa.availability",
    "o7s.fa.loss",
    "o7s.fa.ber",
    "o7s.fa.max_gap",
    "o7s.fa.timeout",
];

/// The fixed part. `in_order` counts, not the one in `qos`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    s_addr: Address,
    r_eid: Eid,
    s_eid: Eid,
    response: i32,
    qos: QosSpec,
    ece: u16,
    code: u8,
    in_order: u8,
}

impl Header {
    const fn new(code: u8) -> Self {
        let (s_addr, r_eid, s_eid) = (Address(0), Eid(0), Eid(0));
        Self { s_addr, r_eid, s_eid, response: 0, qos: NO_QOS, ece: 0, code, in_order: 0 }
    }

    fn parse(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut header = Self::new(0);
        header.s_addr = Address(r.u64()?);
        (header.r_eid, header.s_eid) = (Eid(r.u64()?), Eid(r.u64()?));
        header.qos.bandwidth = r.u64()?;
        header.response = r.i32()?;
        header.qos.delay = r.u32()?;
        header.qos.loss = r.u32()?;
        header.qos.ber = r.u32()?;
        header.qos.max_gap = r.u32()?;
        header.qos.timeout = r.u32()?;
        header.ece = r.u16()?;
        header.code = r.u8()?;
        header.qos.availability = r.u8()?;
        header.in_order = r.u8()?;
        header.qos.in_order = header.in_order != 0;
        Ok(header)
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let Self { s_addr, r_eid, s_eid, response, qos, ece, code, in_order } = self;
        for field in [s_addr.0, r_eid.0, s_eid.0, qos.bandwidth] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&response.to_be_bytes());
        for field in [qos.delay, qos.loss, qos.ber, qos.max_gap, qos.timeout] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&ece.to_be_bytes());
        out.extend_from_slice(&[*code, qos.availability, *in_order]);
    }
}
