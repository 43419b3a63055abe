//! The messages about flows between two members of a custom layer.

use alloc::vec::Vec;
use core::fmt;

use crate::types::code::Code;
use crate::types::id::{Address, Eid};
use crate::types::name::{HashAlg, NameHash};
use crate::types::qos::QosSpec;
use crate::wire::{WireError, fa};

/// A message about a flow, from one member of the layer to another.
///
/// A protocol of its own encodes the fields as it likes. Where any encoding will do, there are [`to_vec`](Self::to_vec) and
/// [`parse`](Self::parse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are requests and replies, and a shim has to send either")]
pub enum Message<'a> {
    /// Asks for a flow.
    Request {
        /// The number by which the sender will know the flow: packets for it say so.
        flow: u32,
        /// The hash of the name that is asked for, by the algorithm of the layer.
        name: NameHash,
        /// The quality of service that is asked for. Both ends must know all of it.
        qos: QosSpec,
        /// The security header, which goes to the other side as it is.
        data: &'a [u8],
    },
    /// Answers a request.
    Reply {
        /// The number in the request.
        flow: u32,
        /// The number by which the sender will know the flow, or why there is none.
        answer: Result<u32, Code>,
        /// The security header; empty in a refusal.
        data: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// Encodes the message: 61 bytes, the hash and the security header, in the layout of a unicast layer's flow allocator.
    pub fn to_vec(&self) -> Vec<u8> {
        self.encoded().to_vec()
    }

    /// Decodes what [`to_vec`](Self::to_vec) has encoded; `hash` is the algorithm of the layer.
    ///
    /// # Errors
    /// [`WireError`] if it is no such message.
    pub fn parse(hash: HashAlg, bytes: &'a [u8]) -> Result<Self, WireError> {
        let number = |eid: Eid, field| u32::try_from(eid.0).map_err(|_| WireError::Invalid { field });
        match fa::Message::parse(hash, bytes)? {
            fa::Message::Request(fa::FlowRequest { s_eid, qos, dst, data, .. }) => {
                Ok(Self::Request { flow: number(s_eid, "the number of the flow")?, name: dst, qos, data })
            }
            fa::Message::Reply(fa::FlowReply { r_eid, s_eid, response, data }) => {
                let flow = number(r_eid, "the requester's number of the flow")?;
                let answer = match response {
                    0 => Ok(number(s_eid, "the number of the flow")?),
                    _ => Err(Code::from_response(response)),
                };
                Ok(Self::Reply { flow, answer, data })
            }
            fa::Message::Update(_) => Err(WireError::Malformed { message: "message about a flow" }),
        }
    }

    /// The security header, and the message without it.
    pub(super) fn split(self) -> (Message<'static>, &'a [u8]) {
        match self {
            Self::Request { flow, name, qos, data } => (Message::Request { flow, name, qos, data: &[] }, data),
            Self::Reply { flow, answer, data } => (Message::Reply { flow, answer, data: &[] }, data),
        }
    }

    fn encoded(&self) -> fa::Message<'a> {
        match *self {
            Self::Request { flow, name, qos, data } => {
                let s_eid = Eid(flow.into());
                fa::Message::Request(fa::FlowRequest { s_addr: Address(0), s_eid, qos, dst: name, data })
            }
            Self::Reply { flow, answer, data } => {
                let (s_eid, response) = match answer {
                    Ok(own) => (own, 0),
                    Err(code) => (0, code.to_response()),
                };
                fa::Message::Reply(fa::FlowReply { r_eid: Eid(flow.into()), s_eid: Eid(s_eid.into()), response, data })
            }
        }
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { flow, name, data, .. } => write!(f, "request flow {flow} name {name} data {}", data.len()),
            Self::Reply { flow, answer: Ok(own), data } => {
                write!(f, "reply flow {flow} accepted as {own} data {}", data.len())
            }
            Self::Reply { flow, answer: Err(code), .. } => write!(f, "reply flow {flow} refused: {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::Message;
    use crate::types::code::Code;
    use crate::types::name::{HashAlg, Name};
    use crate::types::qos::QosSpec;

    #[test]
    fn messages_survive_their_encoding() {
        for hash in [HashAlg::Md5, HashAlg::Sha3_512] {
            let name = hash.hash(&Name::new("echo").unwrap());
            for message in [
                Message::Request { flow: u32::MAX, name, qos: QosSpec::DATA, data: b"header" },
                Message::Reply { flow: 1, answer: Ok(u32::MAX), data: b"header" },
                Message::Reply { flow: 1, answer: Err(Code::NAME), data: b"" },
            ] {
                let bytes = message.to_vec();
                assert_eq!(Message::parse(hash, &bytes), Ok(message));
                for cut in 0..61 {
                    assert!(Message::parse(hash, &bytes[..cut]).is_err(), "{message} cut to {cut} bytes");
                }
            }
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let mut bytes = Message::Reply { flow: 1, answer: Ok(2), data: b"" }.to_vec();
        bytes[8] = 1;
        let refused = Message::parse(HashAlg::Md5, &bytes).unwrap_err();
        assert_eq!(refused.to_string(), "the requester's number of the flow contradicts the rest of the message");
    }
}
