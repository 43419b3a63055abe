//! An IPCP that uses flows of other layers, its N-1 flows, and the manager of these.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::task::{Poll, Waker};

use super::Ipcp;
use super::connect::address::Met;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::types::id::{Address, Eid, N1FlowId};
use crate::types::layer::LayerConfig;
use crate::types::name::NameHash;
use crate::wire::cep;

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
    /// `true` if this end made the connection, and so knows that the other end has it.
    pub ours: bool,
    /// The further versions of the component's protocol that the neighbour says it supports, and what else members of
    /// this library [say there](crate::wire::cep::Terms).
    pub versions: Vec<i32>,
    /// Versions that this end has announced.
    pub own_versions: Vec<i32>,
    /// Packets that arrived behind the handshake, in their order.
    pub early: Vec<PacketBuf>,
}

/// An IPCP that uses flows of other layers.
pub trait Member: Ipcp {
    /// Returns CEP's announcement of a component; `None` if this kind of layer has no such component.
    fn component(&self, component: Component) -> Option<cep::Message>;

    /// Returns the configuration for a new member. Its first contact is this member.
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

    /// Returns `true` if the N-1 flow has been taken over and neither given up nor lost since.
    fn is_connected(&self, flow: N1FlowId) -> bool;

    /// The neighbour to which a packet for the member at `_destination` would go now, if there is a way; `_flow` is the EID
    /// that it is for, on which the choice between equal ways depends.
    fn next_hop(&self, _destination: Address, _flow: Eid) -> Option<Address> {
        None
    }

    /// Returns the other members that have a name; none, if it is not in the layer. While that is being found out,
    /// `_waker` is kept to be woken.
    fn locate(&self, _now: Instant, _hash: &NameHash, _waker: &Waker) -> Poll<Vec<Address>> {
        Poll::Ready(Vec::new())
    }

    /// Returns the same as an IPCP.
    fn as_ipcp(self: Arc<Self>) -> Arc<dyn Ipcp>;
}

/// Reason for an IPCP not to take a flow over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum ConnectionRefused {
    /// The IPCP's limit of connected N-1 flows is reached.
    #[error("the ipcp takes no more than {0} connections; disconnect one, or raise the limit")]
    Full(usize),
    /// The neighbour's address cannot be one.
    #[error("{0} is not an address that a neighbour can have here")]
    Address(Address),
    /// There is a connection to this neighbour already, and another one would make a loop.
    #[error("connected to this neighbour already")]
    Duplicate,
    /// The flow goes through this very member: what is sent over it would come back to it, time and again.
    #[error(
        "the flow to the neighbour goes through this ipcp itself; of two layers only one may be connected over the other"
    )]
    Loop,
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

/// The manager of an IPCP's N-1 flows.
pub trait Connections: Send + Sync {
    /// The N-1 flow is lost: its peer is gone, the layer below gave it up, or the neighbour closed it.
    fn lost(&self, now: Instant, flow: N1FlowId);
}

/// The timer that wakes an IPCP.
///
/// What is due, and when, is kept under a lock: it is written before [`set`](Self::set) is called, and read after
/// [`rang`](Self::rang). That orders the two, whichever thread is first, and no fence is needed for each packet.
pub trait Alarm: Send + Sync {
    /// Wakes the IPCP at `at`, unless it is woken earlier: it sets the alarm again then. Called without locks held.
    fn set(&self, at: Instant);

    /// The IPCP has been woken, and is about to look at everything that may be due.
    fn rang(&self);
}
