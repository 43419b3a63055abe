//! IPC processes: the members of layers, which provide flows by name hash.
//!
//! An [`Ipcp`] knows name hashes, endpoints and its own peers; it does not know the names, listeners and policies of
//! the stack it lives in. Requests for flows to names that are registered in it go up through
//! [`Requests`]; the answers to its own requests go to the [`Answer`] that came with them.
//!
//! | kind | layer |
//! |---|---|
//! | [`local`] | the programs of this stack |
//! | [`unicast`] | members that have enrolled: a network on top of flows of other layers |
//! | [`broadcast`] | the same, in which all receive what one sends |
//! | [`shim::udp`] | the hosts that UDP reaches |
//! | [`shim::eth`] | the stations of an Ethernet segment |
//!
//! A [`Member`] is an IPCP that uses flows itself, its N-1 flows. The stack allocates and accepts them for it, does what
//! [enrollment](crate::wire::enroll) and [CEP](crate::wire::cep) say, and hands them over; a lost one is reported to
//! [`Connections`], which has it replaced.

pub mod broadcast;
pub mod connect;
pub mod local;
mod member;
mod reply;
mod request;
pub mod shim;
#[cfg(all(test, feature = "std", not(loom)))]
mod tests;
pub mod unicast;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use core::task::Waker;
use core::time::Duration;

use smallvec::SmallVec;

pub use self::member::{Alarm, Component, Connection, ConnectionRefused, Connections, Member};
pub use self::request::{
    Accepted, Answer, Attempt, Incoming, Origin, Reply, Request, RequestError, Requests, Resend, Responder, SendReply,
    give_up,
};
use crate::base::time::Instant;
pub use crate::directory::Doubt;
use crate::flow::{Drive, Endpoint, Port};
use crate::types::id::Address;
use crate::types::mac::Mac;
use crate::types::name::{HashAlg, NameHash};
use crate::types::tree::Tree;

/// Kind of the layer that an IPCP is a member of. Ordered by precedence in lookups of names.
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
    /// Ethernet with LLC headers (IEEE 802.3 and 802.2).
    EthLlc,
    /// Ethernet with an EtherType (DIX, Ethernet II).
    EthDix,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
    /// Over a device of the user's own, by the name that the user gives it. See [`Stack::add`](crate::Stack::add).
    Custom(&'static str),
}

impl Kind {
    /// Returns `true` if both ends of a flow are in one stack, and nothing lies between them: packets cannot be lost or
    /// forged.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
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
            Self::EthLlc => "eth-llc",
            Self::EthDix => "eth-dix",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
            Self::Custom(name) => name,
        })
    }
}

/// Fixed properties of an IPCP, from the time it is a member of its layer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// The sort of layer.
    pub kind: Kind,
    /// The IPCP's own name.
    pub name: String,
    /// The layer's name; not on the wire of a shim.
    pub layer: String,
    /// Hash of names in the layer. It is not announced on the wire: all members are configured alike.
    pub hash: HashAlg,
    /// The maximum packet lifetime in the layer, from which FRCT derives its timers.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub mpl: Duration,
    /// `true` if the layer leaves it to the ends of a flow to avoid congestion.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub congestible: bool,
    /// The largest receive window that makes sense, packets: what the layer can buffer without loss.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub window: u32,
}

impl Info {
    /// A description with the layer type's defaults for what is not given.
    pub fn new(kind: Kind, name: &str, layer: &str) -> Self {
        let (hash, mpl) = match kind {
            Kind::Direct => (HashAlg::Sha3_256, Duration::from_millis(1)),
            Kind::Local | Kind::Unicast | Kind::Broadcast | Kind::EthLlc | Kind::EthDix => {
                (HashAlg::Sha3_256, Duration::from_millis(100))
            }
            Kind::Udp4 | Kind::Udp6 => (HashAlg::Md5, Duration::from_millis(5000)),
            Kind::Custom(_) => (HashAlg::Sha3_256, Duration::from_millis(5000)),
        };
        let (congestible, window) = match kind {
            Kind::Direct | Kind::Local | Kind::Broadcast => (false, 512),
            Kind::Unicast | Kind::EthLlc | Kind::EthDix | Kind::Udp4 | Kind::Udp6 | Kind::Custom(_) => (true, 1 << 15),
        };
        Self { kind, name: name.into(), layer: layer.into(), hash, mpl, congestible, window }
    }

    /// Sets how names are hashed. The default of a [custom](Kind::Custom) layer is SHA3-256.
    #[must_use]
    pub fn hash(mut self, hash: HashAlg) -> Self {
        self.hash = hash;
        self
    }

    /// Sets the maximum packet lifetime. The default of a [custom](Kind::Custom) layer is 5 s.
    #[must_use]
    pub fn mpl(mut self, mpl: Duration) -> Self {
        self.mpl = mpl;
        self
    }

    /// Sets whether the ends of a flow avoid congestion. The default of a [custom](Kind::Custom) layer is `true`.
    #[must_use]
    pub fn congestible(mut self, on: bool) -> Self {
        self.congestible = on;
        self
    }

    /// Sets the largest receive window, packets. The default of a [custom](Kind::Custom) layer is 32 768.
    #[must_use]
    pub fn window(mut self, packets: u32) -> Self {
        self.window = packets;
        self
    }
}

/// A member of a layer.
pub trait Ipcp: Send + Sync {
    /// Returns its fixed properties.
    fn info(&self) -> &Info;

    /// Makes a name known in the layer. Registering twice is no error.
    ///
    /// # Errors
    /// [`RegisterError`] if the layer cannot take it.
    fn register(&self, now: Instant, hash: NameHash) -> Result<(), RegisterError>;

    /// Withdraws a name. Withdrawing an unknown one is no error.
    fn unregister(&self, now: Instant, hash: &NameHash);

    /// Looks up a name in the layer. [`Lookup::Pending`] and [`Lookup::Calling`] wake `waker` when the answer is known.
    fn lookup(&self, now: Instant, hash: &NameHash, waker: &Waker) -> Lookup;

    /// Tells the layer that a name was not found at a place that [`lookup`](Self::lookup) gave: what the layer remembers of
    /// it may be out of date. The next lookup gives other places, or looks anew. By default this does nothing.
    fn doubt(&self, _now: Instant, _hash: &NameHash, _at: Location, _why: Doubt) {}

    /// Asks for a flow to a name, at a place that [`lookup`](Self::lookup) gave. `data` is the security header, which goes to
    /// the other end as it is. Dropping the attempt withdraws the request.
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

    /// The stack is about to end. What waits to be sent is lost, and from now on nothing is made to wait: the last packet of
    /// a flow tells its other end. By default nothing happens: a socket that takes no more at that moment is not waited for, and
    /// what a reliable N-1 flow has not delivered is lost with it.
    fn hasten(&self, _now: Instant) {}

    /// Ends the membership: nothing is accepted or found any more. The flows are ended by their owners.
    fn shutdown(&self, now: Instant);

    /// Returns counters and state as a tree under the IPCP's [name](Info::name). Its numbers are those of the IPCP as a
    /// whole; its components have trees of their own below.
    fn rib(&self, now: Instant) -> Tree;
}

/// Result of a lookup of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lookup {
    /// Reachable at these places; the best to try comes first. Never empty.
    Known(Locations),
    /// Not reachable.
    Unknown,
    /// Being looked up. This ends with one of the others, however long it takes.
    Pending,
    /// Being looked up where perhaps nobody answers: those that do not have the name say nothing, or nobody is there.
    Calling,
}

/// Places where a name is.
pub type Locations = SmallVec<[Location; 2]>;

/// Place of a name in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// This stack.
    Here,
    /// The member with this address.
    Member(Address),
    /// The host with this address.
    Host(SocketAddr),
    /// At the station with this Ethernet address.
    Mac(Mac),
    /// The station of a [custom](Kind::Custom) layer that has this number there: a MAC address, an address on a bus.
    Station(u64),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("this stack"),
            Self::Member(address) => write!(f, "member {address}"),
            Self::Host(address) => address.fmt(f),
            Self::Mac(address) => address.fmt(f),
            Self::Station(number) => write!(f, "station {number:#x}"),
        }
    }
}

/// Error of registering a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum RegisterError {
    /// The layer's limit of registered names is reached.
    #[error("the layer has registered {0} names, and its limit allows no more: unregister one, or raise the limit")]
    Full(usize),
    /// The layer has no names.
    #[error("a broadcast layer has no names: programs join it")]
    NoNames,
    /// The IPCP was shut down.
    #[error("the ipcp was shut down")]
    Down,
}

/// Error of joining a broadcast layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum JoinError {
    /// The layer is none that can be joined.
    #[error("only broadcast layers are joined; to others, allocate flows")]
    NotBroadcast,
    /// The IPCP's limit of neighbours and programs is reached.
    #[error("the ipcp has {0} neighbours and programs, and its limit allows no more: leave, or raise the limit")]
    Full(usize),
    /// The IPCP was shut down.
    #[error("the ipcp was shut down")]
    Down,
}
