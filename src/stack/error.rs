//! What can go wrong, by operation.

use std::io;

use crate::ipcp::RequestError;
use crate::irm;
use crate::node::{accept, alloc};
use crate::types::code::Code;
use crate::types::device::SendError;
use crate::types::name::NameError;

/// Why a stack or an IPCP could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// The operating system gave no seed.
    #[error("the operating system gave no randomness")]
    NoRandomness,
    /// The operating system started no thread.
    #[error("the operating system started no thread")]
    Thread(#[source] io::Error),
    /// The socket could not be bound.
    #[error("the address {addr} could not be bound: is it this host's, and free?")]
    Bind {
        /// What was asked for.
        addr: std::net::SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// An address that is not one.
    #[error("{0:?} is no address: write IP or IP:PORT")]
    Address(String),
    /// This kind of layer is for another family of addresses.
    #[error("{0} is no IPv4 address")]
    NotIpv4(std::net::SocketAddr),
    /// The stack was shut down.
    #[error("the stack was shut down")]
    Down,
}

/// Why a name could not be bound, configured or registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// It is not a name.
    #[error("this is not a name: {0}")]
    Name(NameError),
    /// The stack takes no more.
    #[error(transparent)]
    Irm(#[from] irm::BindError),
    /// The layer takes no more.
    #[error(transparent)]
    Layer(#[from] crate::ipcp::RegisterError),
}

/// Why a flow could not be allocated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocError {
    /// It is not a name.
    #[error("this is not a name: {0}")]
    Name(NameError),
    /// A blocking call in a polled stack, where nobody would end the wait.
    #[error("this stack is polled: use the asynchronous call, and poll the stack")]
    Polled,
    /// The allocation failed.
    #[error(transparent)]
    Failed(#[from] alloc::AllocError),
}

impl AllocError {
    /// The reference's number for this error.
    pub fn code(&self) -> Code {
        use alloc::AllocError as E;
        match self {
            Self::Name(_) | Self::Failed(E::Unreachable(_)) => Code::NAME,
            Self::Polled => Code::PERM,
            Self::Failed(E::TimedOut(_)) => Code::TIMEDOUT,
            Self::Failed(E::Refused(code)) => *code,
            Self::Failed(E::Security(e)) => Code::from_response(e.refusal_code()),
            Self::Failed(E::TooManyFlows) => Code::NOMEM,
            Self::Failed(_) => Code::IPCP,
        }
    }
}

/// Why no flow was accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// A blocking call in a polled stack, where nobody would end the wait.
    #[error("this stack is polled: use the asynchronous call, and poll the stack")]
    Polled,
    /// There is no request at the moment.
    #[error("no flow is being asked for at the moment")]
    WouldBlock,
    /// No more will be accepted, or none came in time.
    #[error(transparent)]
    Failed(#[from] accept::AcceptError),
}

/// Why an IPCP could not become a member of a layer, or connect to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// It is not a name.
    #[error("this is not a name: {0}")]
    Name(NameError),
    /// A parameter of the layer is out of its range.
    #[error("the layer's {field} cannot be used: {reason}")]
    Parameter {
        /// Which, by its name in a configuration file.
        field: &'static str,
        /// What is wrong with it, and what would do.
        reason: String,
    },
    /// A blocking call in a polled stack, where nobody would end the wait.
    #[error("this stack is polled: use the asynchronous call, and poll the stack")]
    Polled,
    /// Members of this kind of layer have no connections.
    #[error("this ipcp has no connections to others: it belongs to a shim or local layer, or has left its layer")]
    NoMember,
    /// It did not work.
    #[error(transparent)]
    Failed(#[from] crate::node::member::MemberError),
}

/// Why a broadcast layer was not joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It is not a name.
    #[error("this is not a name: {0}")]
    Name(NameError),
    /// It did not work.
    #[error(transparent)]
    Failed(#[from] crate::node::join::JoinError),
}

/// What was lost when a flow was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// A blocking call in a polled stack. The flow is closed all the same, and delivers what it can while the stack is
    /// polled.
    #[error("this stack is polled: use the asynchronous call to learn what was lost; the flow is closed")]
    Polled,
    /// The peer did not acknowledge everything in time, or is gone.
    #[error("{packets} packets were not acknowledged by the peer")]
    Lost {
        /// Packets written and not acknowledged.
        packets: usize,
    },
}

fn kind_of(e: SendError) -> io::ErrorKind {
    match e {
        SendError::Full | SendError::NoBuffers => io::ErrorKind::WouldBlock,
        SendError::TooLarge => io::ErrorKind::InvalidInput,
        SendError::Unreachable => io::ErrorKind::NetworkUnreachable,
        SendError::Denied => io::ErrorKind::PermissionDenied,
        SendError::InterfaceDown => io::ErrorKind::NetworkDown,
        SendError::Down => io::ErrorKind::NotConnected,
    }
}

impl From<AllocError> for io::Error {
    fn from(e: AllocError) -> Self {
        use alloc::AllocError as E;
        let kind = match &e {
            AllocError::Name(_) => io::ErrorKind::InvalidInput,
            AllocError::Polled => io::ErrorKind::Unsupported,
            AllocError::Failed(E::Unreachable(_)) => io::ErrorKind::NotFound,
            AllocError::Failed(E::TimedOut(_)) => io::ErrorKind::TimedOut,
            AllocError::Failed(E::Refused(Code::AUTH | Code::CRYPT) | E::Security(_)) => {
                io::ErrorKind::PermissionDenied
            }
            // The other side is busy: it may take the next one.
            AllocError::Failed(E::Refused(Code::AGAIN)) => io::ErrorKind::ResourceBusy,
            AllocError::Failed(E::Refused(_)) => io::ErrorKind::ConnectionRefused,
            AllocError::Failed(E::Layer(RequestError::Unsent(e))) => kind_of(*e),
            AllocError::Failed(_) => io::ErrorKind::Other,
        };
        Self::new(kind, e)
    }
}

impl From<AcceptError> for io::Error {
    fn from(e: AcceptError) -> Self {
        let kind = match e {
            AcceptError::Polled => io::ErrorKind::Unsupported,
            AcceptError::WouldBlock => io::ErrorKind::WouldBlock,
            AcceptError::Failed(accept::AcceptError::TimedOut) => io::ErrorKind::TimedOut,
            AcceptError::Failed(_) => io::ErrorKind::NotConnected,
        };
        Self::new(kind, e)
    }
}

impl From<MemberError> for io::Error {
    fn from(e: MemberError) -> Self {
        use crate::node::member::MemberError as E;
        let kind = match &e {
            MemberError::Name(_) | MemberError::Parameter { .. } | MemberError::NoMember => io::ErrorKind::InvalidInput,
            MemberError::Polled => io::ErrorKind::Unsupported,
            MemberError::Failed(E::TimedOut(_) | E::Silent) => io::ErrorKind::TimedOut,
            MemberError::Failed(E::Alloc(alloc::AllocError::Unreachable(_))) => io::ErrorKind::NotFound,
            MemberError::Failed(E::Cep(_) | E::Enrol(_)) => io::ErrorKind::ConnectionRefused,
            MemberError::Failed(_) => io::ErrorKind::Other,
        };
        Self::new(kind, e)
    }
}

impl From<JoinError> for io::Error {
    fn from(e: JoinError) -> Self {
        use crate::node::join::JoinError as E;
        let kind = match &e {
            JoinError::Name(_) => io::ErrorKind::InvalidInput,
            JoinError::Failed(E::NoLayer(_)) => io::ErrorKind::NotFound,
            JoinError::Failed(_) => io::ErrorKind::Other,
        };
        Self::new(kind, e)
    }
}

impl From<BindError> for io::Error {
    fn from(e: BindError) -> Self {
        let kind = match e {
            BindError::Name(_) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, e)
    }
}

impl From<StackError> for io::Error {
    fn from(e: StackError) -> Self {
        let kind = match &e {
            StackError::Thread(source) | StackError::Bind { source, .. } => source.kind(),
            StackError::Address(_) | StackError::NotIpv4(_) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, e)
    }
}

impl From<CloseError> for io::Error {
    fn from(e: CloseError) -> Self {
        Self::new(io::ErrorKind::ConnectionAborted, e)
    }
}
