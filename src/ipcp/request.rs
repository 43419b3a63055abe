//! A request for a flow, on its way out of a stack and into another, and what is answered.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Info, Kind, Location};
use crate::base::sync::{AtomicBool, Ordering};
use crate::base::time::Instant;
use crate::flow::{Endpoint, Port};
use crate::oap::PROOF_LEN;
use crate::types::code::Code;
use crate::types::device::SendError;
use crate::types::name::{HashAlg, NameHash};
use crate::types::qos::QosSpec;

/// A request for a flow, on its way out.
pub struct Request<'a> {
    /// The hash of the name.
    pub dst: NameHash,
    /// Place in the layer to ask.
    pub at: Location,
    /// The quality of service asked for.
    pub qos: QosSpec,
    /// This end of the flow.
    pub endpoint: &'a Arc<Endpoint>,
    /// Receiver of the answer.
    pub answer: Arc<dyn Answer>,
    /// Comes back with the answer.
    pub token: u64,
    /// The security header.
    pub data: &'a [u8],
}

/// The state that a pending request has in an IPCP. Dropping it withdraws the request.
pub trait Attempt: Send + Sync {
    /// Returns `true` if the request is on its way. One that could not be sent for the moment is as good as lost: it
    /// may be repeated, but nothing is gained by waiting for an answer.
    fn is_sent(&self) -> bool {
        true
    }
}

/// A peer's answer to a request.
pub struct Reply {
    /// The way down, or the refusal.
    pub result: Result<Arc<dyn Port>, Code>,
    /// The peer's security header; in a refusal, what it wants to be shown, if anything.
    pub data: Vec<u8>,
}

impl Reply {
    /// Returns the answer of a peer: of a refusal, what is not as long as a proof does not count.
    pub(in crate::ipcp) fn of<P: Port + 'static>(result: Result<Arc<P>, Code>, data: &[u8]) -> Self {
        match result {
            Ok(port) => Self { result: Ok(port), data: data.to_vec() },
            Err(code) if data.len() == PROOF_LEN => Self { result: Err(code), data: data.to_vec() },
            Err(code) => Self { result: Err(code), data: Vec::new() },
        }
    }
}

/// Receiver of answers to requests for flows.
pub trait Answer: Send + Sync {
    /// The peer has answered the request that was made with `token`. Called at most once for each.
    fn answered(&self, token: u64, reply: Reply);
}

/// Ends a flow whose layer is left: a request without reply, as `requested`, fails; the other end of an open flow is told.
pub fn give_up(requested: Option<(Arc<dyn Answer>, u64)>, endpoint: &Endpoint) {
    match requested {
        Some((answer, token)) => answer.answered(token, Reply { result: Err(Code::IPCPSTATE), data: Vec::new() }),
        None => endpoint.leave(),
    }
}

/// A request for a flow that has arrived.
pub struct Incoming {
    /// The sort of layer it came through.
    pub kind: Kind,
    /// Hash function of [`dst`](Self::dst).
    pub hash: HashAlg,
    /// The name asked for.
    pub dst: NameHash,
    /// The quality of service asked for.
    pub qos: QosSpec,
    /// Maximum packet lifetime of the layer, see [`Info`].
    pub mpl: Duration,
    /// Congestion avoidance by the ends, see [`Info`].
    pub congestible: bool,
    /// Largest receive window, packets, see [`Info`].
    pub window: u32,
    /// The peer's security header, unchecked.
    pub data: Vec<u8>,
    /// Way of the answer. Dropping it unanswered refuses the request.
    pub responder: Box<dyn Responder>,
    /// Number of the requester, as far as the layer can tell: distinguishes peers, means nothing else.
    pub peer: u64,
    /// Place of the requester, for people.
    pub from: Location,
    /// Claimed address of the requester; `None` if it is beyond doubt.
    pub origin: Option<Origin>,
    /// Becomes true when the requester gives up, if the layer can see that.
    pub withdrawn: Option<Arc<AtomicBool>>,
}

impl Incoming {
    /// A request for a flow to `dst` that has arrived in the layer that `info` describes, with the security header `data`.
    /// Its peer is the same as all others', and beyond doubt.
    pub fn new(info: &Info, dst: NameHash, qos: QosSpec, data: Vec<u8>, responder: Box<dyn Responder>) -> Self {
        Self {
            kind: info.kind,
            hash: info.hash,
            dst,
            qos,
            mpl: info.mpl,
            congestible: info.congestible,
            window: info.window,
            data,
            responder,
            peer: 0,
            from: Location::Here,
            origin: None,
            withdrawn: None,
        }
    }

    /// Sets where the request comes from, for people. Default: from this stack.
    #[must_use]
    pub fn located(mut self, from: Location) -> Self {
        self.from = from;
        self
    }

    /// Number of the requester's host or member, `None` in this stack: what each has a share of is shared by these, as a host
    /// has many ports.
    pub(crate) fn host(&self) -> Option<u64> {
        self.origin.map(|origin| origin.address)
    }

    /// Returns `true` if the requester is known to have given up.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.as_ref().is_some_and(|withdrawn| withdrawn.load(Ordering::Acquire))
    }

    /// Sets the requester ([`peer`](Self::peer)), and the claimed origin of the request ([`origin`](Self::origin)).
    #[must_use]
    pub fn from_peer(mut self, peer: u64, origin: Option<Origin>) -> Self {
        (self.peer, self.origin) = (peer, origin);
        self
    }
}

/// Claimed origin of a request, not known to be true before a packet on the flow comes from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A number for the host or member: another one for each, without any other meaning.
    pub address: u64,
    /// Length of the request, bytes, with the headers of the layer and without those of what carries it. Until the address
    /// has proven to be its own, what is sent there is bounded by this.
    pub received: usize,
}

/// Ways to answer a request for a flow. Exactly one of the methods that answer is called, once.
pub trait Responder: Send {
    /// Time from the arrival of the request on for which its answer must wait, because the requester would lose one that comes
    /// sooner. No acceptor is given the request before. By default there is none.
    fn hold(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns `true` if the layer takes another flow: if not, [`accept`](Self::accept) fails unless one ends before. By default
    /// it does.
    fn has_room(&self) -> bool {
        true
    }

    /// Reserves what the flow needs in the layer and prepares the reply with the security header `data`. Packets for
    /// `endpoint` are delivered from now on; nothing has been sent yet.
    ///
    /// # Errors
    /// [`RequestError`] if the layer has no room or the header does not fit; the requester has then been refused.
    fn accept(self: Box<Self>, now: Instant, endpoint: &Arc<Endpoint>, data: &[u8]) -> Result<Accepted, RequestError>;

    /// Tells the requester no.
    fn refuse(self: Box<Self>, now: Instant, code: Code);

    /// Returns `true` if the requester's address may be made up, and [`refuse_asking`](Self::refuse_asking) can have it proven. By
    /// default it does not.
    fn asks_proof(&self) -> bool {
        false
    }

    /// Tells the requester no, and what to show when it asks again. By default only the first.
    fn refuse_asking(self: Box<Self>, now: Instant, code: Code, _proof: &[u8]) {
        self.refuse(now, code);
    }

    /// Handles the repetition of a request that was accepted, whose reply seems to be lost: `again` sends it again.
    fn resend(self: Box<Self>, now: Instant, again: &dyn Resend);
}

/// A prepared positive reply.
pub struct Accepted {
    /// The way down.
    pub port: Arc<dyn Port>,
    /// The reply.
    pub reply: Box<dyn SendReply>,
}

/// A prepared reply. Dropping it unsent gives up the flow.
pub trait SendReply: Send {
    /// Sends it, and returns what can send it once more should it get lost.
    fn send(self: Box<Self>, now: Instant) -> Option<Arc<dyn Resend>>;
}

/// A reply that was sent and can be sent again, for as long as the flow lives.
pub trait Resend: Send + Sync {
    /// Sends it again.
    fn resend(&self, now: Instant);

    /// Returns `true` if the flow is there still.
    fn is_open(&self) -> bool;
}

/// Receiver of requests for flows that arrive in a layer.
pub trait Requests: Send + Sync {
    /// Handles a request that has arrived. Called without locks held.
    fn incoming(&self, now: Instant, request: Incoming);

    /// Handles a request for a name that the layer does not have, or not any more: one that repeats a request that was
    /// answered has the answer sent again. Any other is given back, to be refused. By default, all are.
    fn repeated(&self, _now: Instant, request: Incoming) -> Option<Incoming> {
        Some(request)
    }
}

/// Error of sending a request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum RequestError {
    /// The layer carries no more flows.
    #[error("the layer carries as many flows as its limit allows: close some, or raise its setting max_flows")]
    Full,
    /// The security header does not fit into the layer's message.
    #[error(
        "the request needs {size} bytes, and the layer's messages take {max}: use a smaller key exchange or less data"
    )]
    TooLarge {
        /// Bytes of the header.
        size: usize,
        /// Bytes that fit.
        max: usize,
    },
    /// The name is not, or no longer, reachable here.
    #[error("the name is not reachable in this layer")]
    Unknown,
    /// The device did not send it.
    #[error("the request could not be sent: {0}")]
    Unsent(SendError),
    /// The layer was left.
    #[error("the layer was left")]
    Down,
    /// The requester has gone.
    #[error("the requester has gone")]
    Gone,
}
