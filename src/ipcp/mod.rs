//! IPC processes: the members of layers, which provide flows by name hash.
//!
//! An [`Ipcp`] knows name hashes, endpoints and its own peers; it does not know the names, listeners and policies of
//! the stack it lives in. Requests for flows to names that are registered in it go up through
//! [`Requests`]; the answers to its own requests go to the [`Answer`] that came with them.
//!
//! | kind | layer |
//! |---|---|
//! | [`local`] | the programs of this stack |
//! | [`unicast`] | whoever has enrolled: a network on top of flows of other layers |
//! | [`broadcast`] | the same, in which all receive what one sends |
//! | [`shim::udp`] | the hosts that UDP reaches |
//!
//! A [`Member`] is an IPCP that uses flows itself, its N-1 flows. The stack allocates and accepts them for it, does what
//! [enrolment](crate::wire::enroll) and [CEP](crate::wire::cep) say, and hands them over; a lost one is reported to
//! [`Connections`], which has it replaced.

pub mod broadcast;
pub mod connect;
pub mod local;
mod reply;
pub mod shim;
pub mod unicast;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::task::{Poll, Waker};
use core::time::Duration;

use smallvec::SmallVec;

use self::connect::address::Met;
use crate::base::buf::PacketBuf;
use crate::base::sync::{AtomicBool, Ordering};
use crate::base::time::Instant;
pub use crate::directory::Doubt;
use crate::flow::{Drive, Endpoint, Port};
use crate::types::code::Code;
use crate::types::device::SendError;
use crate::types::id::{Address, Eid, N1FlowId};
use crate::types::layer::LayerConfig;
use crate::types::name::{HashAlg, NameHash};
use crate::types::qos::QosSpec;
use crate::types::tree::Tree;
use crate::wire::cep;

/// What sort of layer an IPCP is a member of. The order is that in which layers are asked for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Both ends in this stack, connected without a layer.
    Direct,
    /// The programs of this stack.
    Local,
    /// A network of members that have enrolled, for flows between two.
    Unicast,
    /// A network of members that have enrolled, in which all receive what one sends.
    Broadcast,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
    /// Over a device of the user's own, by the name that the user gives it. See [`Stack::add`](crate::Stack::add).
    Custom(&'static str),
}

impl Kind {
    /// Whether both ends of a flow are in one stack, and nothing lies between them: what one says arrives, and cannot be
    /// anybody else's.
    pub const fn is_in_memory(self) -> bool {
        matches!(self, Self::Direct | Self::Local)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Local => "local",
            Self::Unicast => "unicast",
            Self::Broadcast => "broadcast",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
            Self::Custom(name) => name,
        })
    }
}

/// What is fixed about an IPCP once it is a member of its layer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// The sort of layer.
    pub kind: Kind,
    /// The IPCP's own name.
    pub name: String,
    /// The layer's name; not on the wire of a shim.
    pub layer: String,
    /// How names are hashed in the layer. Not on the wire either: all members are configured alike.
    pub hash: HashAlg,
    /// The maximum packet lifetime in the layer, from which FRCT derives its timers.
    pub mpl: Duration,
    /// Whether the layer leaves it to the ends of a flow to avoid congestion.
    pub congestible: bool,
    /// The largest receive window that makes sense, packets: what the layer can buffer without loss.
    pub window: u32,
}

impl Info {
    /// A description with the layer type's defaults for what is not given.
    pub fn new(kind: Kind, name: &str, layer: &str) -> Self {
        let (hash, mpl) = match kind {
            Kind::Direct => (HashAlg::Sha3_256, Duration::from_millis(1)),
            Kind::Local | Kind::Unicast | Kind::Broadcast => (HashAlg::Sha3_256, Duration::from_millis(100)),
            Kind::Udp4 | Kind::Udp6 => (HashAlg::Md5, Duration::from_millis(5000)),
            Kind::Custom(_) => (HashAlg::Sha3_256, Duration::from_millis(5000)),
        };
        let (congestible, window) = match kind {
            Kind::Direct | Kind::Local | Kind::Broadcast => (false, 512),
            Kind::Unicast | Kind::Udp4 | Kind::Udp6 | Kind::Custom(_) => (true, 1 << 15),
        };
        Self { kind, name: name.into(), layer: layer.into(), hash, mpl, congestible, window }
    }

    /// Sets how names are hashed. The default of a [custom](Kind::Custom) layer is SHA3-256.
    #[must_use]
    pub fn with_hash(mut self, hash: HashAlg) -> Self {
        self.hash = hash;
        self
    }

    /// Sets the maximum packet lifetime. The default of a [custom](Kind::Custom) layer is 5 s.
    #[must_use]
    pub fn with_mpl(mut self, mpl: Duration) -> Self {
        self.mpl = mpl;
        self
    }

    /// Sets whether the ends of a flow avoid congestion. The default of a [custom](Kind::Custom) layer is `true`.
    #[must_use]
    pub fn with_congestible(mut self, on: bool) -> Self {
        self.congestible = on;
        self
    }

    /// Sets the largest receive window, packets. The default of a [custom](Kind::Custom) layer is 32 768.
    #[must_use]
    pub fn with_window(mut self, packets: u32) -> Self {
        self.window = packets;
        self
    }
}

/// A member of a layer.
pub trait Ipcp: Send + Sync {
    /// What is fixed about it.
    fn info(&self) -> &Info;

    /// Makes a name known in the layer. Registering twice is no error.
    ///
    /// # Errors
    /// [`RegisterError`] if the layer cannot take it.
    fn register(&self, now: Instant, hash: NameHash) -> Result<(), RegisterError>;

    /// Withdraws a name. Withdrawing an unknown one is no error.
    fn unregister(&self, now: Instant, hash: &NameHash);

    /// Whether a name can be reached in the layer. [`Lookup::Pending`] wakes `waker` when it is known.
    fn lookup(&self, now: Instant, hash: &NameHash, waker: &Waker) -> Lookup;

    /// Tells the layer that a name was not found at a place that [`lookup`](Self::lookup) gave: what the layer remembers of
    /// it may be out of date. The next lookup gives other places, or looks anew. By default this does nothing.
    fn doubt(&self, _now: Instant, _hash: &NameHash, _at: Location, _why: Doubt) {}

    /// Asks for a flow to a name, at a place that [`lookup`](Self::lookup) gave. `data` is the security header, which goes to
    /// the other side as it is. Dropping the attempt withdraws the request.
    ///
    /// # Errors
    /// [`RequestError`] if it could not be sent.
    fn request(&self, now: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError>;

    /// Makes `endpoint` that of a program that takes part in a broadcast layer, and returns its way down.
    ///
    /// # Errors
    /// [`JoinError`].
    fn join(&self, _now: Instant, _endpoint: &Arc<Endpoint>) -> Result<Arc<dyn Port>, JoinError> {
        Err(JoinError::NotBroadcast)
    }

    /// The device that answers come from, for a thread that wants to wait on it.
    fn device(&self) -> Option<Arc<dyn Drive>> {
        None
    }

    /// Begins to end the membership: nothing is accepted or found any more, the flows through the layer are given up, and
    /// what others rely on is taken back. Packets of others may still pass until [`shutdown`](Self::shutdown) at the moment
    /// that is returned; at once, if there is none. By default there is nothing to do.
    fn retire(&self, _now: Instant) -> Option<Instant> {
        None
    }

    /// Ends the membership: nothing is accepted or found any more. The flows are ended by whoever holds them.
    fn shutdown(&self, now: Instant);

    /// What has been counted, and what state there is, as a tree of the IPCP's [name](Info::name). Its numbers are
    /// those of the IPCP as a whole; its components have trees of their own below.
    fn rib(&self, now: Instant) -> Tree;
}

/// A request for a flow, on its way out.
pub struct Request<'a> {
    /// The hash of the name.
    pub dst: NameHash,
    /// Where in the layer to ask.
    pub at: Location,
    /// The quality of service asked for.
    pub qos: QosSpec,
    /// This side's end.
    pub endpoint: &'a Arc<Endpoint>,
    /// Who is told of the answer.
    pub answer: Arc<dyn Answer>,
    /// Comes back with the answer.
    pub token: u64,
    /// The security header.
    pub data: &'a [u8],
}

/// The state that a pending request has in an IPCP. Dropping it withdraws the request.
pub trait Attempt: Send + Sync {
    /// Whether the request is on its way. One that could not be sent for the moment is as good as lost: it may be repeated,
    /// but nothing is gained by waiting for an answer.
    fn is_sent(&self) -> bool {
        true
    }
}

/// What a peer said to a request.
pub struct Reply {
    /// The way down, or the refusal.
    pub result: Result<Arc<dyn Port>, Code>,
    /// The peer's security header; empty in a refusal.
    pub data: Vec<u8>,
}

/// Who asked for a flow.
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
    /// How [`dst`](Self::dst) was hashed.
    pub hash: HashAlg,
    /// The name asked for.
    pub dst: NameHash,
    /// The quality of service asked for.
    pub qos: QosSpec,
    /// As in [`Info`].
    pub mpl: Duration,
    /// As in [`Info`].
    pub congestible: bool,
    /// As in [`Info`].
    pub window: u32,
    /// The peer's security header, unchecked.
    pub data: Vec<u8>,
    /// Where the answer goes. Dropping it unanswered refuses the request.
    pub responder: Box<dyn Responder>,
    /// Who asks, as far as the layer can tell: distinguishes peers, means nothing else.
    pub peer: u64,
    /// The same, for people.
    pub from: Location,
    /// Where the request says it came from; `None` if there can be no doubt.
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

    /// Whether the requester is known to have given up.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.as_ref().is_some_and(|withdrawn| withdrawn.load(Ordering::Acquire))
    }

    /// Sets who asks ([`peer`](Self::peer)), and where the request claims to come from ([`origin`](Self::origin)).
    #[must_use]
    pub fn from_peer(mut self, peer: u64, origin: Option<Origin>) -> Self {
        (self.peer, self.origin) = (peer, origin);
        self
    }
}

/// Where a request claims to come from, which is not known to be true before a packet on the flow comes from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A number for the host or member: another one for each, without any other meaning.
    pub address: u64,
    /// Length of the request, bytes, with the headers of the layer and without those of what carries it. Until the address
    /// has proven to be its own, what is sent there is bounded by this.
    pub received: usize,
}

/// How a request for a flow is answered. Exactly one of the methods is called, once.
pub trait Responder: Send {
    /// Reserves what the flow needs in the layer and prepares the reply with the security header `data`. Packets for
    /// `endpoint` are delivered from now on; nothing has been sent yet.
    ///
    /// # Errors
    /// [`RequestError`] if the layer has no room or the header does not fit; the requester has then been refused.
    fn accept(self: Box<Self>, now: Instant, endpoint: &Arc<Endpoint>, data: &[u8]) -> Result<Accepted, RequestError>;

    /// Tells the requester no.
    fn refuse(self: Box<Self>, now: Instant, code: Code);

    /// The request is a repetition of one that was accepted, whose reply seems to be lost: `again` sends it again.
    fn resend(self: Box<Self>, now: Instant, again: &dyn Resend);
}

/// A prepared positive reply.
pub struct Accepted {
    /// The way down.
    pub port: Arc<dyn Port>,
    /// When to send the reply: some peers lose one that comes at once.
    pub not_before: Instant,
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
}

/// Where requests for flows go that arrive in a layer.
pub trait Requests: Send + Sync {
    /// A request has arrived. Called without locks held.
    fn incoming(&self, now: Instant, request: Incoming);
}

/// A component of an IPCP to which its neighbours connect, each over an N-1 flow of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Component {
    /// Exchanges link state.
    Management,
    /// Forwards packets.
    DataTransfer,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Management => "management",
            Self::DataTransfer => "data transfer",
        })
    }
}

/// An N-1 flow that is ready for a component of the IPCP.
pub struct Connection {
    /// The component, here and there.
    pub component: Component,
    /// This end of the flow.
    pub endpoint: Arc<Endpoint>,
    /// The neighbour's address; 0 in a layer without addresses.
    pub peer: Address,
    /// Whether this end made the connection, and so knows that the other end has it.
    pub ours: bool,
    /// The further versions of the component's protocol that the neighbour says it supports, and what else members of
    /// this library [say there](crate::wire::cep::Terms).
    pub versions: Vec<i32>,
    /// What this end has said there.
    pub own_versions: Vec<i32>,
    /// Packets that arrived behind the handshake, in their order.
    pub early: Vec<PacketBuf>,
}

/// An IPCP that uses flows of other layers.
pub trait Member: Ipcp {
    /// What CEP announces of a component; `None` if there is no such component in this kind of layer.
    fn component(&self, component: Component) -> Option<cep::Message>;

    /// What a new member is told of the layer. Its first contact is this member.
    fn layer_config(&self) -> LayerConfig;

    /// Takes over an N-1 flow, and returns the number by which it is known from now on.
    ///
    /// # Errors
    /// [`ConnectionRefused`]; the flow is closed then.
    fn connected(&self, now: Instant, connection: Connection) -> Result<N1FlowId, ConnectionRefused>;

    /// Gives an N-1 flow up.
    fn disconnect(&self, now: Instant, flow: N1FlowId);

    /// A neighbour was met that has the `address` by which this member has introduced itself.
    fn same_address(&self, _now: Instant, _address: Address, _met: Met) {}

    /// Does what is due. Called when the [`Alarm`] rings.
    fn run(&self, now: Instant);

    /// Whether the N-1 flow has been taken over and neither given up nor lost since.
    fn is_connected(&self, flow: N1FlowId) -> bool;

    /// The neighbour to which a packet for the member at `_destination` would go now, if there is a way; `_flow` is the EID
    /// that it is for, on which the choice between equal ways depends.
    fn next_hop(&self, _destination: Address, _flow: Eid) -> Option<Address> {
        None
    }

    /// At which other members a name is; at none, if it is not in the layer. While that is being found out, `_waker` is
    /// kept to be woken.
    fn locate(&self, _now: Instant, _hash: &NameHash, _waker: &Waker) -> Poll<Vec<Address>> {
        Poll::Ready(Vec::new())
    }

    /// The IPCP as what it is besides.
    fn as_ipcp(self: Arc<Self>) -> Arc<dyn Ipcp>;
}

/// Why an IPCP does not take a flow over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionRefused {
    /// As many N-1 flows as the IPCP takes are connected.
    #[error("the ipcp takes no more than {0} connections; disconnect one, or raise the limit")]
    Full(usize),
    /// The neighbour's address cannot be one.
    #[error("{0} is not an address that a neighbour can have here")]
    Address(Address),
    /// There is a connection to this neighbour already, and another one would make a loop.
    #[error("connected to this neighbour already")]
    Duplicate,
    /// This member has taken another address since it introduced itself.
    #[error("this member has taken another address meanwhile; it connects again")]
    Renamed,
    /// There is no such component in this kind of layer.
    #[error("there is no such component in this kind of layer")]
    Component,
    /// The IPCP was shut down.
    #[error("the ipcp was shut down")]
    Down,
}

/// Who looks after the N-1 flows of an IPCP.
pub trait Connections: Send + Sync {
    /// The N-1 flow is lost: its peer is gone, the layer below gave it up, or the neighbour closed it.
    fn lost(&self, now: Instant, flow: N1FlowId);
}

/// What wakes an IPCP when something of it is due.
pub trait Alarm: Send + Sync {
    /// Wakes the IPCP at `at`, unless it is woken earlier: it sets the alarm again then.
    fn set(&self, at: Instant);

    /// The IPCP has been woken.
    fn rang(&self);
}

/// What an IPCP knows of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// It can be reached at these places; the best to try comes first. Never empty.
    Known(Locations),
    /// It cannot.
    Unknown,
    /// Being looked up.
    Pending,
}

/// Places where a name is.
pub type Locations = SmallVec<[Location; 2]>;

/// Where in a layer a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// In this stack.
    Here,
    /// At the member with this address.
    Member(Address),
    /// At the host with this address.
    Host(SocketAddr),
    /// At the station of a [custom](Kind::Custom) layer that has this number there: a MAC address, an address on a bus.
    Station(u64),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("this stack"),
            Self::Member(address) => write!(f, "member {address}"),
            Self::Host(address) => address.fmt(f),
            Self::Station(number) => write!(f, "station {number:#x}"),
        }
    }
}

/// Why a name could not be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// As many names as the layer takes are registered.
    #[error("the layer takes no more than {0} names; unregister one")]
    Full(usize),
    /// The layer has no names.
    #[error("a broadcast layer has no names: join it")]
    NoNames,
    /// The IPCP was shut down.
    #[error("the ipcp was shut down")]
    Down,
}

/// Why a program cannot take part in a broadcast layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The layer is none that can be joined.
    #[error("only broadcast layers are joined; to others, allocate flows")]
    NotBroadcast,
    /// As many neighbours and programs as the IPCP takes.
    #[error("the ipcp takes no more than {0} neighbours and programs; leave, or raise the limit")]
    Full(usize),
    /// The IPCP was shut down.
    #[error("the ipcp was shut down")]
    Down,
}

/// Why a request or reply could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The layer carries no more flows.
    #[error("the layer carries no more flows; close some, or raise its limit")]
    Full,
    /// The security header does not fit into the layer's message.
    #[error(
        "the request needs {size} bytes but the layer's messages take {max}; use a smaller key exchange or less data"
    )]
    TooLarge {
        /// Bytes of the header.
        size: usize,
        /// What fits.
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
