//! Decoding of captured packets, for tools that show what travels.
//!
//! A [`Dissector`] takes the bytes of a packet and the [`Protocol`] that they are in, and decodes from there inwards. What it
//! returns is for people: one line with a part for each header.
//!
//! ```
//! use o7s::dissect::{Dissector, Protocol};
//!
//! let dissector = Dissector::default();
//! // A datagram of a UDP layer: a refusal.
//! let mut datagram = [0; 47];
//! datagram[7] = 64;
//! datagram[12..16].copy_from_slice(&(-1007i32).to_be_bytes());
//! datagram[44] = 2;
//! let packet = dissector.dissect(Protocol::Udp, &datagram)?;
//! assert_eq!(packet.to_string(), "flow reply s_eid 64 d_eid 0 response -1007 data 0");
//!
//! // A packet of a unicast layer, for a flow with FRCT.
//! let packet = [1, 2, 3, 4, 0, 60, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x03, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, b'h', b'i'];
//! let outer = dissector.dissect(Protocol::DataTransfer, &packet)?;
//! let inner = dissector.dissect(Protocol::Frct, outer.payload())?;
//! assert_eq!(inner.to_string(), "data|drf seq 9 | 2 bytes");
//! assert_eq!(inner.payload(), b"hi");
//!
//! assert!(dissector.dissect(Protocol::LinkState, b"no link").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a flow carries is not on the wire: whether its packets have an [FRCT](Protocol::Frct) header depends on the quality
//! of service in its request, and what is encrypted stays closed. [`Follower`](crate::capture::Follower) remembers that, and
//! opens what it has keys for.
//!
#![doc = include_str!("dissect/fields.md")]

use alloc::vec::Vec;
use core::fmt;

use super::WireError;
use super::link_state::{Age, Lsu};
use super::{cep, dht, dt, enroll, eth, fa, frct, oap, udp};
use crate::types::name::HashAlg;

mod fields;
#[cfg(test)]
mod tests;

pub(crate) use fields::Fields;
pub use fields::{Field, Value};

/// The protocol of the outermost header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// A datagram of a UDP layer, without the header of UDP.
    Udp,
    /// A frame of an Ethernet layer, DIX or LLC, with its addresses.
    Ethernet,
    /// A packet of a unicast layer.
    DataTransfer,
    /// A message of a unicast layer's flow allocator.
    FlowAllocator,
    /// A message of a unicast layer's directory.
    Directory,
    /// A packet with link state between neighbours of a unicast layer.
    LinkState,
    /// A packet of a flow that is in order: flow and retransmission control.
    Frct,
    /// The first message on a flow between two members of a layer: which component connects.
    Connection,
    /// A message by which a new member enrolls.
    Enrollment,
    /// The security header of a request or reply.
    Security,
}

/// Decodes packets of layers that are configured alike.
#[derive(Clone, Copy, Debug)]
pub struct Dissector {
    hash: HashAlg,
    sizes: dt::LayerSizes,
    /// The number of the digest in the request that a reply answers, if it is known.
    digest: Option<u16>,
}

impl Default for Dissector {
    /// For layers with the defaults: names hashed by SHA3-256, addresses of 4 bytes.
    fn default() -> Self {
        Self { hash: HashAlg::Sha3_256, sizes: dt::LayerSizes::default(), digest: None }
    }
}

impl Dissector {
    /// Sets how unicast and Ethernet layers hash names. UDP layers use MD5 in any case.
    #[must_use]
    pub fn hash(mut self, hash: HashAlg) -> Self {
        self.hash = hash;
        self
    }

    /// Sets the length of addresses in packets of unicast layers, 1 to 8 bytes.
    ///
    /// # Errors
    /// [`WireError::Length`] for any other.
    pub fn address_len(mut self, bytes: u8) -> Result<Self, WireError> {
        self.sizes = dt::LayerSizes::new(bytes, 8)?;
        Ok(self)
    }

    /// Sets the digest in the request of the replies to come; `None` if it is not known.
    #[must_use]
    pub(crate) fn digest(self, digest: Option<u16>) -> Self {
        Self { digest, ..self }
    }

    /// Sets the sizes of a layer.
    #[must_use]
    pub(crate) fn sizes(self, sizes: dt::LayerSizes) -> Self {
        Self { sizes, ..self }
    }

    /// How names are hashed.
    pub(crate) fn hash_alg(&self) -> HashAlg {
        self.hash
    }

    /// The sizes in packets of unicast layers.
    pub(crate) fn layer_sizes(&self) -> dt::LayerSizes {
        self.sizes
    }

    /// Decodes a packet, and what is inside it as far as the packet says what that is.
    ///
    /// # Errors
    /// [`WireError`] if the outermost header is not of that protocol, or something inside it that its header promises.
    pub fn dissect<'a>(&self, protocol: Protocol, bytes: &'a [u8]) -> Result<Dissection<'a>, WireError> {
        let digest = self.digest;
        let mut found = Dissection { parts: Vec::new(), fields: Vec::new(), payload: &[], digest };
        match protocol {
            Protocol::Udp => found.udp(bytes)?,
            Protocol::Ethernet => found.ethernet(self.hash, eth::Frame::parse(bytes)?)?,
            Protocol::DataTransfer => {
                let (pci, payload) = dt::Pci::parse(self.sizes, bytes)?;
                found.push(Part::DataTransfer(pci));
                match pci.eid {
                    dt::FLOW_ALLOCATOR => found.flow_allocator(self.hash, payload)?,
                    dt::DIRECTORY => found.directory(self.hash, payload)?,
                    _ => found.payload = payload,
                }
            }
            Protocol::FlowAllocator => found.flow_allocator(self.hash, bytes)?,
            Protocol::Directory => found.directory(self.hash, bytes)?,
            Protocol::LinkState => found.link_state(bytes)?,
            Protocol::Frct => found.frct(bytes)?,
            Protocol::Connection => found.push(Part::Connection(cep::Message::decode(bytes)?)),
            Protocol::Enrollment => found.enrollment(bytes)?,
            Protocol::Security => {
                let message = oap::Message::parse_request(bytes);
                let message = message.or_else(|error| found.security_reply(bytes).map_err(|_| error))?;
                found.push(Part::Security(message));
            }
        }
        Ok(found)
    }
}

/// A packet that has been decoded.
///
/// `Display` prints its headers in one line, from the outermost on, and the length of what follows them.
#[derive(Clone, Debug)]
pub struct Dissection<'a> {
    parts: Vec<Part<'a>>,
    fields: Vec<Field>,
    payload: &'a [u8],
    digest: Option<u16>,
}

/// One header, or one message.
#[derive(Clone, Debug)]
enum Part<'a> {
    Udp(udp::Datagram<'a>),
    Ethernet(eth::Frame<'a>),
    EthernetMessage(eth::Mgmt<'a>),
    DataTransfer(dt::Pci),
    FlowAllocator(fa::Message<'a>),
    Directory(dht::Message, dht::Extension),
    LinkState(Lsu),
    Age(Age),
    Frct(frct::Pci),
    Sack(frct::Sack),
    /// What makes a path probe as large as it is, bytes.
    Padding(usize),
    End(u8),
    Connection(cep::Message),
    EnrollmentRequest(enroll::Request),
    EnrollmentResponse(enroll::Response),
    EnrollmentAck(enroll::Ack),
    Security(oap::Message<'a>),
}

impl<'a> Dissection<'a> {
    /// The bytes behind the innermost header that was decoded: the data of a flow, or nothing.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The fields of its headers, in their order, by the [names](self#fields) that the Wireshark dissector has for them.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Its headers, in one line, without the length of what follows them.
    pub(crate) fn headers(&self) -> impl fmt::Display {
        Headers(&self.parts)
    }

    fn push(&mut self, part: Part<'a>) {
        Fields(&mut self.fields).part(&part);
        self.parts.push(part);
    }

    fn udp(&mut self, bytes: &'a [u8]) -> Result<(), WireError> {
        let datagram = udp::Datagram::parse(bytes)?;
        self.push(Part::Udp(datagram));
        let mut fields = Fields(&mut self.fields);
        fields.number("o7s.udp.eid", if let udp::Datagram::Data { eid, .. } = datagram { eid } else { udp::MGMT_EID });
        if let udp::Datagram::Mgmt(_) = datagram {
            udp::Raw::parse(bytes)?.fields(&mut fields);
        }
        match datagram {
            udp::Datagram::Data { payload, .. } => self.payload = payload,
            udp::Datagram::Mgmt(udp::Mgmt::Request(request)) => self.request(request.data)?,
            udp::Datagram::Mgmt(udp::Mgmt::Reply(reply)) => self.reply(reply.response, reply.data)?,
        }
        Ok(())
    }

    fn ethernet(&mut self, hash: HashAlg, frame: eth::Frame<'a>) -> Result<(), WireError> {
        self.push(Part::Ethernet(frame));
        if !frame.port.is_mgmt() {
            self.payload = frame.payload;
            return Ok(());
        }
        let raw = eth::Raw::parse(frame.port.format(), frame.payload)?;
        let message = raw.message(hash)?;
        self.push(Part::EthernetMessage(message));
        raw.fields(hash, &mut Fields(&mut self.fields));
        match message {
            eth::Mgmt::Request(request) => self.request(request.data),
            eth::Mgmt::Reply(reply) => self.reply(reply.response, reply.data),
            eth::Mgmt::Query(_) | eth::Mgmt::Answer(_) => Ok(()),
        }
    }

    fn flow_allocator(&mut self, hash: HashAlg, bytes: &'a [u8]) -> Result<(), WireError> {
        let raw = fa::Raw::parse(bytes)?;
        let message = raw.message(hash)?;
        self.push(Part::FlowAllocator(message));
        raw.fields(hash, &mut Fields(&mut self.fields));
        match message {
            fa::Message::Request(request) => self.request(request.data),
            fa::Message::Reply(reply) => self.reply(reply.response, reply.data),
            fa::Message::Update(_) => Ok(()),
        }
    }

    fn directory(&mut self, hash: HashAlg, bytes: &[u8]) -> Result<(), WireError> {
        let (message, extension) = dht::Message::decode_extended(hash, bytes)?;
        self.push(Part::Directory(message, extension));
        Ok(())
    }

    /// Updates one behind the other, each followed by its age perhaps.
    fn link_state(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let (records, rest) = bytes.as_chunks::<{ Lsu::LEN }>();
        if records.is_empty() || !rest.is_empty() {
            return Lsu::parse(bytes).map(drop);
        }
        for record in records {
            let update = Lsu::parse(record)?;
            self.push(Age::of(&update).map_or(Part::LinkState(update), Part::Age));
        }
        Ok(())
    }

    fn frct(&mut self, bytes: &'a [u8]) -> Result<(), WireError> {
        let pci = frct::Pci::parse(bytes)?;
        self.push(Part::Frct(pci));
        let payload = bytes.get(frct::Pci::LEN..).unwrap_or_default();
        // A control packet that acknowledges may say what has arrived beyond that.
        let acknowledges = !pci.is_data() && pci.flags.contains(frct::Flags::ACK) && pci.path().is_none();
        match (frct::Sack::parse(pci.ackno, payload), payload) {
            // The zeros of a probe are nobody's data, and its length is what it is about.
            _ if matches!(pci.path(), Some(frct::PathPacket::Probe(_))) => self.push(Part::Padding(payload.len())),
            (_, [reason]) if pci.flags.contains(frct::Flags::END) && pci.path().is_none() => {
                self.push(Part::End(*reason));
            }
            (Ok(sack), _) if acknowledges => self.push(Part::Sack(sack)),
            _ => self.payload = payload,
        }
        Ok(())
    }

    /// The three messages are told apart by the fields that each must have.
    fn enrollment(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let part = enroll::Response::decode(bytes).map(Part::EnrollmentResponse);
        let part = part.or_else(|_| enroll::Ack::decode(bytes).map(Part::EnrollmentAck));
        self.push(part.or_else(|_| enroll::Request::decode(bytes).map(Part::EnrollmentRequest))?);
        Ok(())
    }

    fn request(&mut self, data: &'a [u8]) -> Result<(), WireError> {
        self.push(Part::Security(oap::Message::parse_request(data)?));
        Ok(())
    }

    fn reply(&mut self, response: i32, data: &'a [u8]) -> Result<(), WireError> {
        if response == 0 {
            self.push(Part::Security(self.security_reply(data)?));
        }
        Ok(())
    }

    /// The security header of a reply.
    fn security_reply(&self, bytes: &'a [u8]) -> Result<oap::Message<'a>, WireError> {
        self.digest.map_or_else(|| security_reply(bytes), |digest| oap::Message::parse_response(bytes, digest))
    }
}

/// The security header of a reply. How long the hash of the request is in it only the request says, so the usual lengths
/// are tried, the default first.
fn security_reply(bytes: &[u8]) -> Result<oap::Message<'_>, WireError> {
    const SHA256: u16 = 672;
    const SHA512: u16 = 674;
    let first = oap::Message::parse_response(bytes, 0);
    let others = || [SHA256, SHA512].into_iter().find_map(|digest| oap::Message::parse_response(bytes, digest).ok());
    first.or_else(|error| others().ok_or(error))
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(part) => part.fmt(f),
            Self::Ethernet(part) => part.fmt(f),
            Self::EthernetMessage(part) => part.fmt(f),
            Self::DataTransfer(part) => part.fmt(f),
            Self::FlowAllocator(part) => part.fmt(f),
            Self::Directory(part, _) => part.fmt(f),
            Self::LinkState(part) => part.fmt(f),
            Self::Age(Age(age)) => write!(f, "age {} ms", age.as_millis()),
            Self::Frct(part) => part.fmt(f),
            Self::Sack(part) => part.fmt(f),
            Self::End(reason) => write!(f, "end {reason}"),
            Self::Padding(len) => write!(f, "padding {len}"),
            Self::Connection(part) => part.fmt(f),
            Self::EnrollmentRequest(part) => part.fmt(f),
            Self::EnrollmentResponse(part) => part.fmt(f),
            Self::EnrollmentAck(part) => part.fmt(f),
            Self::Security(part) => part.fmt(f),
        }
    }
}

struct Headers<'a>(&'a [Part<'a>]);

impl fmt::Display for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for part in self.0 {
            write!(f, "{separator}{part}")?;
            separator = " | ";
        }
        Ok(())
    }
}

impl fmt::Display for Dissection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.headers().fmt(f)?;
        let separator = if self.parts.is_empty() { "" } else { " | " };
        match self.payload {
            [] => Ok(()),
            payload => write!(f, "{separator}{} bytes", payload.len()),
        }
    }
}
