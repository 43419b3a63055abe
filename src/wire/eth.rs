//! The frames of the Ethernet shims: packets of flows, name queries, flow requests and flow replies. Once in the DIX
//! format (Ethernet II), once in the LLC format (IEEE 802.3 with an 802.2 header).
//!
//! # DIX frame
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 6 | destination | MAC address; all ones for a name query |
//! | 6 | 6 | source | MAC address |
//! | 12 | 2 | EtherType | which layer; at least 0x0600, 0xA000 by default |
//! | 14 | 2 | EID | the number by which the receiver knows the flow; 0 for management |
//! | 16 | 2 | length | bytes of payload |
//! | 18 | length | payload | a packet or a management message; none in a keepalive |
//! | 18 + length | rest | padding | what Ethernet needs to make a frame long enough; ignored |
//!
//! # LLC frame
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 6 | destination | as above |
//! | 6 | 6 | source | as above |
//! | 12 | 2 | length | 3 + bytes of payload; at most 0x05FF |
//! | 14 | 1 | DSAP | the number by which the receiver knows the flow, its bits mirrored |
//! | 15 | 1 | SSAP | the number by which the sender knows the flow, its bits mirrored |
//! | 16 | 1 | control | 3: unnumbered information |
//! | 17 | length - 3 | payload | as above |
//! | 14 + length | rest | padding | ignored |
//!
//! Mirrored means that bit 0 is sent as bit 7 and so on, which keeps the two bits that mean something to 802.2 clear
//! for numbers below 64. A frame is management if both numbers are 1, 0x80 on the wire. Flows have 2 to 63.
//!
//! # Management message
//!
//! The same fields in either format, but in another order and with SAPs of one byte, not mirrored, for EIDs.
//!
//! | DIX offset | LLC offset | size | field | flow request | flow reply | name query, answer |
//! |---|---|---|---|---|---|---|
//! | 0 | 0 | 2; 1 | source EID or SAP | the requester's | the responder's | 0 |
//! | 2 | 1 | 2; 1 | destination EID or SAP | 0 | the requester's, echoed | 0 |
//! | 4 | 4 | 4 | loss | QoS | 0 | 0 |
//! | 8 | 8 | 8 | bandwidth, bit/s | QoS | 0 | 0 |
//! | 16 | 16 | 4 | ber, bit errors per 10^9 | QoS | 0 | 0 |
//! | 20 | 20 | 4 | max_gap, ms | QoS | 0 | 0 |
//! | 24 | 24 | 4 | delay, ms | QoS | 0 | 0 |
//! | 28 | 28 | 4 | timeout, ms | QoS | 0 | 0 |
//! | 32 | 32 | 4 | response, signed | 0 | 0: accepted; negative: refused | 0 |
//! | 36 | 36 | 1 | in_order, 0 or 1 | QoS | 0 | 0 |
//! | 37 | 2 | 1 | code | 0 | 1 | 2, 3 |
//! | 38 | 3 | 1 | availability, nines | QoS | 0 | 0 |
//! | 39 | 37 | the layer's | hash of the name | present | absent | present |
//! | then | then | rest | data | OAP request | OAP response, if accepted | none |
//!
//! The length of the hash is that of the layer's algorithm and not on the wire. Whose message it is only the frame's
//! source address says, and the answer to a query goes there; it is matched by its hash alone.
//!
//! Fields that a message does not use are 0. Others are accepted and ignored, as the C reference does;
//! [`Raw::is_canonical`] tells them apart, and [`Raw`] keeps them.
//!
//! ```
//! use o7s::types::name::HashAlg;
//! use o7s::wire::eth::{FlowReply, Format, Frame, Mac, Mgmt, Port};
//!
//! let keepalive = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0xa0, 0, 0, 65, 0, 0];
//! let frame = Frame::parse(&keepalive)?;
//! assert_eq!(frame.port, Port::Dix { ethertype: 0xa000, eid: 65 });
//! assert_eq!((frame.src, frame.payload), (Mac([2, 0, 0, 0, 0, 1]), &[][..]));
//! assert_eq!(frame.to_vec()?, keepalive);
//!
//! let refusal = Mgmt::Reply(FlowReply { s_eid: 4, d_eid: 2, response: -1009, data: &[] });
//! let bytes = refusal.to_vec(Format::Llc)?;
//! assert_eq!(bytes[..4], [4, 2, 1, 0]);
//! assert_eq!(Mgmt::parse(Format::Llc, HashAlg::Sha3_256, &bytes)?, refusal);
//! # Ok::<(), o7s::wire::WireError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use super::{Reader, WireError};

mod mgmt;
#[cfg(test)]
mod tests;

pub use crate::types::mac::Mac;
pub use mgmt::{FlowReply, FlowRequest, Mgmt, Raw};

/// The EtherType of a DIX layer that is not given another one.
pub const DEFAULT_ETHERTYPE: u16 = 0xa000;
/// The lowest EtherType; smaller numbers in its place are lengths.
pub const MIN_ETHERTYPE: u16 = 0x0600;
/// The EID that marks a management message in a DIX frame.
pub const MGMT_EID: u16 = 0;
/// The SAP, at both ends, that marks a management message in an LLC frame.
pub const MGMT_SAP: u8 = 1;
/// The SAPs that flows may have: the C reference looks them up in a table of 64.
pub const FLOW_SAPS: core::ops::RangeInclusive<u8> = 2..=63;

/// LLC control field "unnumbered information": LLC does not retransmit the frame.
const UI: u8 = 3;
/// Bytes of an LLC header, which the length in front of it counts.
const LLC_LEN: usize = 3;

/// Frame format of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Ethernet II: [layout](self#dix-frame).
    Dix,
    /// 802.3 with 802.2: [layout](self#llc-frame).
    Llc,
}

impl Format {
    /// Bytes of a frame in front of its payload.
    pub const fn header_len(self) -> usize {
        match self {
            Self::Dix => 18,
            Self::Llc => 17,
        }
    }

    /// Bytes of the fixed part of a management message.
    pub const fn mgmt_len(self) -> usize {
        match self {
            Self::Dix => 39,
            Self::Llc => 37,
        }
    }

    /// The longest payload of a frame, bytes, whatever the interface could carry: the length field holds no more.
    pub const fn max_payload(self) -> usize {
        match self {
            Self::Dix => 0xffff,
            Self::Llc => 0x05ff - LLC_LEN,
        }
    }
}

/// Purpose of a frame: packets of a flow, or management.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// Purpose in a DIX frame.
    Dix {
        /// Ethertype of the layer; at least [`MIN_ETHERTYPE`].
        ethertype: u16,
        /// The number by which the receiver knows the flow, or [`MGMT_EID`].
        eid: u16,
    },
    /// Purpose in an LLC frame. The numbers are the true ones, not mirrored.
    Llc {
        /// The number by which the receiver knows the flow, or [`MGMT_SAP`].
        dsap: u8,
        /// The number by which the sender knows the flow, or [`MGMT_SAP`].
        ssap: u8,
    },
}

impl Port {
    /// The format of the frame.
    pub const fn format(self) -> Format {
        match self {
            Self::Dix { .. } => Format::Dix,
            Self::Llc { .. } => Format::Llc,
        }
    }

    /// Returns `true` if the payload is a management message.
    pub const fn is_mgmt(self) -> bool {
        matches!(self, Self::Dix { eid: MGMT_EID, .. } | Self::Llc { dsap: MGMT_SAP, ssap: MGMT_SAP })
    }
}

/// A frame, without the checksum that the interface handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// To whom.
    pub dst: Mac,
    /// Sender.
    pub src: Mac,
    /// Purpose.
    pub port: Port,
    /// The packet, empty for a keepalive, or the management message. Without padding.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a frame of either format; what follows the payload is padding and ignored.
    ///
    /// # Errors
    /// [`WireError::Truncated`] if header or payload are not whole, [`WireError::Length`] for an LLC frame too short
    /// for its own header, [`WireError::Unknown`] for another LLC control byte.
    pub fn parse(frame: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(frame);
        let (dst, src) = (Mac(r.array()?), Mac(r.array()?));
        let kind = r.u16()?;
        let (port, len) = if kind >= MIN_ETHERTYPE {
            (Port::Dix { ethertype: kind, eid: r.u16()? }, usize::from(r.u16()?))
        } else {
            let [dsap, ssap, control] = r.array()?;
            if control != UI {
                return Err(WireError::Unknown { field: "llc control", value: control.into() });
            }
            let len = usize::from(kind).checked_sub(LLC_LEN);
            let len = len.ok_or(WireError::Length { field: "llc frame", value: kind.into() })?;
            (Port::Llc { dsap: dsap.reverse_bits(), ssap: ssap.reverse_bits() }, len)
        };
        let need = port.format().header_len() + len;
        let payload = r.rest().get(..len).ok_or(WireError::Truncated { need, have: frame.len() })?;
        Ok(Self { dst, src, port, payload })
    }

    /// Bytes of the frame without padding: in a frame that was received, whatever follows them is padding.
    pub const fn encoded_len(&self) -> usize {
        self.port.format().header_len() + self.payload.len()
    }

    /// Appends the frame's bytes to `out`, without padding.
    ///
    /// # Errors
    /// As [`header`](Self::header); nothing is appended then.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let (header, len) = self.header()?;
        out.extend(header.iter().take(len));
        out.extend_from_slice(self.payload);
        Ok(())
    }

    /// The frame's bytes, without padding.
    ///
    /// # Errors
    /// As [`header`](Self::header).
    pub fn to_vec(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::with_capacity(self.encoded_len());
        self.emit(&mut out)?;
        Ok(out)
    }

    /// The bytes in front of the payload, and their number. For a payload that is sent from where it is in memory.
    ///
    /// # Errors
    /// [`WireError::Length`] if the payload is longer than [`Format::max_payload`], and [`WireError::Invalid`] for an
    /// EtherType that would be read as a length.
    pub fn header(&self) -> Result<([u8; 18], usize), WireError> {
        let format = self.port.format();
        if self.payload.len() > format.max_payload() {
            return Err(WireError::Length { field: "payload", value: self.payload.len() });
        }
        let len = self.payload.len() as u16;
        let fields = match self.port {
            Port::Dix { ethertype, .. } if ethertype < MIN_ETHERTYPE => {
                return Err(WireError::Invalid { field: "ethertype" });
            }
            Port::Dix { ethertype, eid } => {
                let ([a, b], [c, d], [e, g]) = (ethertype.to_be_bytes(), eid.to_be_bytes(), len.to_be_bytes());
                [a, b, c, d, e, g]
            }
            Port::Llc { dsap, ssap } => {
                let [a, b] = (len + LLC_LEN as u16).to_be_bytes();
                [a, b, dsap.reverse_bits(), ssap.reverse_bits(), UI, 0]
            }
        };
        let mut header = [0; 18];
        let all = self.dst.0.iter().chain(&self.src.0).chain(&fields);
        header.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        Ok((header, format.header_len()))
    }
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} ", self.src, self.dst)?;
        match self.port {
            Port::Dix { ethertype, eid } => write!(f, "dix {ethertype:04x} eid {eid}")?,
            Port::Llc { dsap, ssap } => write!(f, "llc ssap {ssap} dsap {dsap}")?,
        }
        match self.payload {
            [] => f.write_str(" keepalive"),
            payload => write!(f, " length {}", payload.len()),
        }
    }
}
