//! Error of becoming a member, or of connecting to one.

use alloc::string::String;

use crate::ipcp::connect::cep::CepError;
use crate::ipcp::connect::enroll::EnrollError;
use crate::ipcp::connect::manager::ManagerError;
use crate::ipcp::{ConnectionRefused, RegisterError};
use crate::irm::BindError;
use crate::node::alloc::AllocError;
use crate::types::name::Name;
use crate::wire::WireError;

/// Error of becoming a member, or of connecting to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum MemberError {
    /// No flow to the member.
    #[error("no flow to the member")]
    Alloc(#[from] AllocError),
    /// The layer of the caller's choice is not there, or not for this member.
    #[error("the layer to go over is not there: it is another stack's, it was left, or this ipcp was made over others")]
    NoLayer,
    /// The layer of the caller's choice does not know the name.
    #[error("the layer of {ipcp:?} does not know the name {name:?}")]
    UnknownThere {
        /// The neighbour's name.
        name: Name,
        /// The IPCP in that layer.
        ipcp: String,
    },
    /// The member does not answer.
    #[error("the member accepted a flow but does not answer on it: is it a member of this layer?")]
    Silent,
    /// The connection was refused, by the member or by us.
    #[error("the connection was refused")]
    Cep(#[from] CepError),
    /// The enrollment was refused or failed.
    #[error("enrollment failed")]
    Enroll(#[from] EnrollError),
    /// Our own IPCP did not take the connection.
    #[error("the connection was not taken over")]
    Connection(#[from] ConnectionRefused),
    /// There are too many connections.
    #[error("too many connections")]
    Manager(#[from] ManagerError),
    /// A name could not be bound.
    #[error("a name of the ipcp could not be bound")]
    Bind(#[from] BindError),
    /// A name could not be registered in the layer below.
    #[error("a name of the ipcp could not be registered in the layer below")]
    Register(#[from] RegisterError),
    /// The layer's parameters cannot be used.
    #[error("the layer's parameters cannot be used")]
    Layer(#[from] WireError),
    /// No connection stood in time, or nobody said where the name is.
    #[error("no connection to {0:?}, or no word about it, in time")]
    TimedOut(Name),
    /// No address is free.
    #[error("no address of the layer is free")]
    NoAddress,
    /// The connection was given up meanwhile.
    #[error("the connection was cancelled: it was disconnected, or the layer was left")]
    GivenUp,
    /// The stack was shut down.
    #[error("the stack was shut down")]
    StackDown,
}
