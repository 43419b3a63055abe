//! Enrollment: how a new member of a layer gets its configuration from one that is a member already.
//!
//! After [CEP](super::cep), three messages in Protocol Buffers (proto2), one a packet. They have no type: which one it
//! is follows from the order. None has more than [`MAX_LEN`] bytes.
//!
//! | message | direction | no. | type | field | meaning |
//! |---|---|---|---|---|---|
//! | [`Request`] | to the member | 1 | bytes | id | 8 random bytes, the same in all three |
//! | [`Response`] | from the member | 1 | bytes | id | |
//! | | | 2 | int64 | t_sec | the member's clock, seconds since 1970-01-01 UTC |
//! | | | 3 | int32 | t_nsec | and nanoseconds |
//! | | | 4 | int32 | response | 0: granted; negative: denied |
//! | | | 5 | configuration | conf | present if granted |
//! | [`Ack`] | to the member | 1 | bytes | id | |
//! | | | 2 | int32 | result | 0: the new member is up |
//!
//! # Configuration
//!
//! | field | no. in the parts | values | meaning |
//! |---|---|---|---|
//! | layer_info.name | 1.1 | 1 to 255 bytes | name of the layer |
//! | layer_info.dir_hash_algo | 1.2 | 0 to 3 | SHA3-224, -256, -384, -512 |
//! | ipcp_type | 2 | 1, 2 | unicast, broadcast |
//! | unicast.dt.addr_size | 3.1.1 | 1 to 8 | bytes of an address |
//! | unicast.dt.eid_size | 3.1.2 | 1 to 8 | bytes of an EID; see [`LayerSizes::of`](super::dt::LayerSizes::of) |
//! | unicast.dt.max_ttl | 3.1.3 | 1 to 255 | ttl of a new packet |
//! | unicast.dt.routing.pol | 3.1.4.1 | 0 | link state |
//! | unicast.dt.routing.ls.pol | 3.1.4.2.1 | 0, 1, 2 | simple, loop-free alternates, equal-cost multipath |
//! | unicast.dt.routing.ls.t_recalc | 3.1.4.2.2 | s | between recalculations of the forwarding table |
//! | unicast.dt.routing.ls.t_update | 3.1.4.2.3 | s | between announcements |
//! | unicast.dt.routing.ls.t_timeo | 3.1.4.2.4 | s | until a link that is not announced is gone |
//! | unicast.dir.pol | 3.2.1 | 0 | DHT |
//! | unicast.dir.dht.alpha | 3.2.2.1 | | questions at a time |
//! | unicast.dir.dht.k | 3.2.2.2 | | contacts a bucket, copies a name |
//! | unicast.dir.dht.t_expire | 3.2.2.3 | s | until a copy is gone |
//! | unicast.dir.dht.t_refresh | 3.2.2.4 | s | between refreshes of contacts |
//! | unicast.dir.dht.t_replicate | 3.2.2.5 | s | between replications |
//! | unicast.dir.dht.peer | 3.2.2.6 | | address of the member that answers: the first contact |
//! | unicast.addr_auth_type | 3.3 | 0 | addresses are random |
//! | unicast.cong_avoid | 3.4 | 0, 1 | none, multi-bit ECN |
//!
//! A policy that is not in the table is refused, because a member that does not follow it would harm the layer.
//! Unknown fields are skipped.
//!
//! ```
//! use o7s::types::name::HashAlg;
//! use o7s::types::layer::{LayerConfig, LayerKind};
//! use o7s::wire::enroll::{Response, Verdict};
//!
//! let config = LayerConfig { name: "bcast".parse()?, hash: HashAlg::Sha3_256, kind: LayerKind::Broadcast };
//! let response = Response { id: [7; 8], seconds: 1_767_225_600, nanoseconds: 0, verdict: Verdict::Granted(config) };
//! let bytes = response.encode()?;
//! assert_eq!(Response::decode(&bytes)?, response);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use super::WireError;
use super::protobuf::{self, required};
use crate::types::layer::{LayerConfig, LayerKind};
use crate::types::name::HashAlg;

mod proto;
#[cfg(test)]
mod tests;

/// The longest message, bytes: the buffer of the C reference has 1024, and what fills it breaks the next one.
pub const MAX_LEN: usize = 1023;
/// Bytes of an id.
pub const ID_LEN: usize = 8;

const REQUEST: &str = "enrollment request";
const RESPONSE: &str = "enrollment response";
const ACK: &str = "enrollment acknowledgement";

/// Let me in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Random, for this enrollment.
    pub id: [u8; ID_LEN],
}

/// Come in, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Id of the request.
    pub id: [u8; ID_LEN],
    /// The member's clock, seconds since 1970-01-01 UTC.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: i32,
    /// Decision of the member.
    pub verdict: Verdict,
}

/// Decision about an applicant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may, with this configuration.
    Granted(LayerConfig),
    /// It may not: a negative number that says why.
    Denied(i32),
}

/// I am in, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Id of the request.
    pub id: [u8; ID_LEN],
    /// 0 if the new member is up.
    pub result: i32,
}

impl Request {
    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError::Length`] beyond [`MAX_LEN`] and for an id that is not [`ID_LEN`] long, [`WireError::Malformed`]
    /// for what is no Protocol Buffers, [`WireError::Missing`] if a field is not there.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        protobuf::decode::<proto::Request>(REQUEST, MAX_LEN, message)?.read()
    }

    /// The message's bytes.
    ///
    /// # Errors
    /// None: the message has 10 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        protobuf::encode(REQUEST, MAX_LEN, &proto::Request::from(self))
    }
}

impl Response {
    /// Reads a message.
    ///
    /// # Errors
    /// As [`Request::decode`], and [`WireError::Unknown`] or [`WireError::Invalid`] for a value that is not in the
    /// [table](self#configuration) or a positive response.
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        protobuf::decode::<proto::Response>(RESPONSE, MAX_LEN, message)?.read()
    }

    /// The message's bytes.
    ///
    /// # Errors
    /// [`WireError::Invalid`] for a denial that is not negative and for what [`decode`](Self::decode) would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        match &self.verdict {
            Verdict::Denied(..0) => {}
            Verdict::Denied(_) => return Err(WireError::Invalid { field: "response" }),
            Verdict::Granted(config) => check(config)?,
        }
        protobuf::encode(RESPONSE, MAX_LEN, &proto::Response::from(self))
    }
}

impl Ack {
    /// Reads a message. Errors as for [`Request::decode`].
    pub fn decode(message: &[u8]) -> Result<Self, WireError> {
        protobuf::decode::<proto::Ack>(ACK, MAX_LEN, message)?.read()
    }

    /// The message's bytes.
    ///
    /// # Errors
    /// None: the message has at most 21 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        protobuf::encode(ACK, MAX_LEN, &proto::Ack::from(self))
    }
}

/// Fails unless a member can be enrolled with this configuration.
fn check(config: &LayerConfig) -> Result<(), WireError> {
    let sizes = 1..=8;
    let field = match &config.kind {
        _ if config.hash == HashAlg::Md5 => "dir_hash_algo",
        LayerKind::Unicast(unicast) if !sizes.contains(&unicast.addr_size) => "addr_size",
        LayerKind::Unicast(unicast) if !sizes.contains(&unicast.eid_size) => "eid_size",
        LayerKind::Unicast(unicast) if unicast.max_ttl == 0 => "max_ttl",
        LayerKind::Unicast(_) | LayerKind::Broadcast => return Ok(()),
    };
    Err(WireError::Invalid { field })
}

/// An id, for people.
struct Id<'a>(&'a [u8; ID_LEN]);

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enrollment request id {}", Id(&self.id))
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, seconds, nanoseconds, verdict } = self;
        write!(f, "enrollment response id {} time {seconds}.{nanoseconds:09} ", Id(id))?;
        match verdict {
            Verdict::Granted(LayerConfig { name, hash, kind }) => {
                let kind = if *kind == LayerKind::Broadcast { "broadcast" } else { "unicast" };
                write!(f, "granted: {kind} layer {name}, {hash}")
            }
            Verdict::Denied(why) => write!(f, "denied: {why}"),
        }
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enrollment acknowledgement id {} result {}", Id(&self.id), self.result)
    }
}
