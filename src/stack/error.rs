//! Errors, one type for each operation.
//!
//! The text of each is complete: what its source says is part of it. `Debug` prints the same text behind the name of the
//! variant, because that is what a program prints whose `main` returns an error.

mod io;

use std::fmt;

use super::cause::Cause;
use crate::base::debug::debug_by_text;
use crate::ipcp::connect::enroll::EnrollError;
use crate::ipcp::connect::manager::ManagerError;
use crate::ipcp::{RegisterError, RequestError};
use crate::irm;
use crate::node::{accept, alloc, join, member};
use crate::oap::{Encryption, OapError};
use crate::types::code::Code;
use crate::types::device::SendError;
use crate::types::name::{Name, NameError};

/// Error of making a stack or an IPCP.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// The string is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The operating system's random source failed.
    #[error("the operating system's random source failed")]
    NoRandomness,
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
    /// The socket could not be bound. A stack that nobody calls needs no port of its own:
    /// [`Udp4::outgoing`](super::Udp4::outgoing), [`Udp6::outgoing`](super::Udp6::outgoing).
    #[error("the address {addr} could not be bound: {error}{hint}", hint = bind_hint(error))]
    Bind {
        /// The address asked for.
        addr: std::net::SocketAddr,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The network interface could not be opened.
    #[error("the network interface could not be opened: {error}")]
    Interface {
        /// The interface, as it was asked for.
        interface: String,
        /// The error of the operating system, and what may help.
        error: std::io::Error,
    },
    /// The string is not an address.
    #[error("{0:?} is not a valid address: write IP or IP:PORT, with an IPv6 address before a port in brackets")]
    Address(String),
    /// There is no such network interface.
    #[error("{0:?} names no network interface of this host")]
    NoInterface(String),
    /// A link-local address that does not say on which link.
    #[error("{0} is link-local: name the interface as well, as in fe80::1%eth0")]
    LinkLocal(std::net::SocketAddr),
    /// A layer cannot have port 0.
    #[error("a layer cannot have port 0; to bind this member to any free port, give it the address IP:0")]
    Port,
    /// The layer is for IPv4.
    #[error("{0} is not an IPv4 address: a UDP/IPv6 layer (Udp6) takes it")]
    NotIpv4(std::net::SocketAddr),
    /// The number is no EtherType that a layer can have.
    #[error("the EtherType {0:#06x} cannot be used: take one from 0x0600 to 0xfffe, for smaller ones are lengths")]
    EtherType(u16),
    /// A layer with LLC framing was given an EtherType.
    #[error("a layer with LLC framing has no EtherType: leave it out, or take DIX framing")]
    EtherTypeOfLlc,
    /// The layer is for IPv6.
    #[error("{0} is not an IPv6 address")]
    NotIpv6(std::net::SocketAddr),
    /// A file of the [security directory](super::Builder::security_dir) cannot be used.
    #[error(transparent)]
    Security(#[from] super::SecurityFileError),
    /// The stack was shut down.
    #[error("the stack was shut down")]
    Down,
}

debug_by_text!(StackError {
    Name,
    NoRandomness,
    Thread,
    Bind,
    Interface,
    Address,
    NoInterface,
    LinkLocal,
    Port,
    NotIpv4,
    NotIpv6,
    EtherType,
    EtherTypeOfLlc,
    Security,
    Down
});

/// Advice for an address that could not be bound.
fn bind_hint(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;

    match error.kind() {
        ErrorKind::AddrInUse => {
            "; give another port, or port 0 for any free one, which will do if nobody calls this stack"
        }
        ErrorKind::AddrNotAvailable => "; give an address of this host, or 0.0.0.0 or :: for all of them",
        ErrorKind::PermissionDenied => "; ports below 1024 need privileges, others may be forbidden by a policy",
        _ => "",
    }
}

/// Error of binding, configuring or registering a name.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The string is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The stack knows as many names as its limit allows; carries the limit.
    #[error("this stack knows {0} names, and its limit allows no more: unbind one, or raise the limit")]
    TooManyNames(usize),
    /// The layer has registered as many names as its limit allows; carries the limit.
    #[error("the layer has registered {0} names, and its limit allows no more: unregister one, or raise the limit")]
    LayerFull(usize),
    /// Broadcast layers have no names.
    #[error("a broadcast layer has no names: programs join it")]
    NoNames,
    /// The stack was shut down, or its member has left the layer.
    #[error("the stack was shut down, or has left the layer")]
    Down,
}

debug_by_text!(BindError { Name, TooManyNames, LayerFull, NoNames, Down });

#[doc(hidden)]
impl From<irm::BindError> for BindError {
    fn from(e: irm::BindError) -> Self {
        match e {
            irm::BindError::Full(max) => Self::TooManyNames(max),
            irm::BindError::Down => Self::Down,
        }
    }
}

#[doc(hidden)]
impl From<RegisterError> for BindError {
    fn from(e: RegisterError) -> Self {
        match e {
            RegisterError::Full(max) => Self::LayerFull(max),
            RegisterError::NoNames => Self::NoNames,
            RegisterError::Down => Self::Down,
        }
    }
}

/// Error of allocating a flow.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocError {
    /// The string is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Polled stacks do not support blocking calls: no thread would end the wait.
    #[error("this stack is polled: use the asynchronous call, and poll the stack")]
    Polled,
    /// No layer of this stack knows the name. A UDP layer is told hosts of names with [`Udp4::host`](super::Udp4::host),
    /// [`Udp6::host`](super::Udp6::host), or a resolver.
    #[error(
        "no layer of this stack knows the name {0:?}: tell a UDP layer its host, or join a layer in which it is registered"
    )]
    Unreachable(Name),
    /// Layers were still looking for the name at the end of the allocation's timeout: a directory, a
    /// [resolver](crate::resolve::Resolver) or a server of names was slow or did not answer.
    #[error("{0:?} was not found in time: a directory, a resolver or a server of names is slow or does not answer")]
    LookupTimedOut(Name),
    /// No answer came from the other end within the timeout of the allocation.
    #[error("no answer from {0:?} in time: it may be down or busy, or its network unreachable")]
    TimedOut(Name),
    /// The other end refused the flow.
    #[error("the other end refused the flow to {name:?}: {code}{hint}", hint = RefusalHint(*code, offered.as_ref()))]
    Refused {
        /// The name that was asked for.
        name: Name,
        /// Its reason.
        code: Code,
        /// The encryption that this end asked for; `None` if for a plain flow. What the other end requires, the wire does
        /// not tell.
        offered: Option<Encryption>,
    },
    /// The security exchange failed, or could not be prepared. [`code`](Self::code) tells whether it is about encryption
    /// (`CRYPT`) or the identity of the other end and the authenticity of its message (`AUTH`).
    #[error("the flow could not be secured: {0}")]
    Security(OapError),
    /// The security exchange needs a larger message than the layer carries.
    #[error(
        "the request needs {size} bytes, and the layer's messages take {max}: use a smaller key exchange or less data"
    )]
    TooLarge {
        /// Size of the request, bytes.
        size: usize,
        /// The limit of the layer's messages, bytes.
        max: usize,
    },
    /// The device did not send the request.
    #[error("the request could not be sent: {0}")]
    Unsent(SendError),
    /// The layer carries as many flows as its limit allows.
    #[error("the layer carries as many flows as its limit allows: close some, or raise its setting max_flows")]
    LayerFull,
    /// The stack carries as many flows as its limit allows.
    #[error("this stack carries as many flows as its limit allows: close some, or raise the limit of flows")]
    TooManyFlows,
    /// The layer was left while the request was under way.
    #[error("the layer was left during the allocation")]
    LayerDown,
    /// The stack was shut down.
    #[error("the stack was shut down")]
    Down,
}

debug_by_text!(AllocError {
    Name,
    Polled,
    Unreachable,
    LookupTimedOut,
    TimedOut,
    Refused,
    Security,
    TooLarge,
    Unsent,
    LayerFull,
    TooManyFlows,
    LayerDown,
    Down,
});

impl AllocError {
    /// The reference's number for this error.
    pub fn code(&self) -> Code {
        match self {
            Self::Name(_) | Self::Unreachable(_) => Code::NAME,
            Self::Polled => Code::PERM,
            Self::TimedOut(_) | Self::LookupTimedOut(_) => Code::TIMEDOUT,
            Self::Refused { code, .. } => *code,
            Self::Security(e) => Code::from_response(e.refusal_code()),
            Self::TooManyFlows => Code::NOMEM,
            Self::TooLarge { .. } | Self::Unsent(_) | Self::LayerFull | Self::LayerDown | Self::Down => Code::IPCP,
        }
    }
}

#[doc(hidden)]
impl From<alloc::AllocError> for AllocError {
    fn from(e: alloc::AllocError) -> Self {
        use alloc::AllocError as E;
        match e {
            E::Unreachable(name) => Self::Unreachable(name),
            E::LookupTimedOut(name) => Self::LookupTimedOut(name),
            E::TimedOut(name) => Self::TimedOut(name),
            E::Refused { name, code, offered } => Self::Refused { name, code, offered },
            E::Security(e) => Self::Security(e),
            E::Layer(RequestError::TooLarge { size, max }) => Self::TooLarge { size, max },
            E::Layer(RequestError::Unsent(e)) => Self::Unsent(e),
            E::Layer(RequestError::Full) => Self::LayerFull,
            E::Layer(RequestError::Unknown | RequestError::Down | RequestError::Gone) => Self::LayerDown,
            E::TooManyFlows => Self::TooManyFlows,
            E::StackDown => Self::Down,
        }
    }
}

/// Explanation of a refused flow, beyond the code.
struct RefusalHint<'a>(Code, Option<&'a Encryption>);

impl fmt::Display for RefusalHint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self(Code::NAME, _) => f.write_str("; it has to be registered there, and bound"),
            Self(Code::CRYPT, Some(own)) => write!(f, "; this end asked for {own}, and the other may require better"),
            Self(Code::CRYPT, None) => {
                f.write_str("; this end asked for a plain flow, and the other may require encryption")
            }
            Self(Code::AUTH, _) => f.write_str(
                "; it may require a certificate, or not accept the one shown, or the clocks of both hosts differ",
            ),
            Self(..) => Ok(()),
        }
    }
}

/// Error of accepting a flow.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// A blocking call in a polled stack, which has no thread to end the wait.
    #[error("this stack is polled: use the asynchronous call, and poll the stack")]
    Polled,
    /// There is no request at the moment.
    #[error("no request for a flow waits at the moment")]
    WouldBlock,
    /// No request came before the deadline.
    #[error("no request for a flow came before the deadline")]
    TimedOut,
    /// The listener was closed, or the stack shut down.
    #[error("the listener was closed")]
    Closed,
}

debug_by_text!(AcceptError { Polled, WouldBlock, TimedOut, Closed });

#[doc(hidden)]
impl From<accept::AcceptError> for AcceptError {
    fn from(e: accept::AcceptError) -> Self {
        match e {
            accept::AcceptError::Closed => Self::Closed,
            accept::AcceptError::TimedOut => Self::TimedOut,
        }
    }
}

/// Error of becoming a member of a layer, or of connecting to another member.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The string is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A parameter of the layer, or of this member, is out of its range.
    #[error("{field} cannot be used: {reason}")]
    Parameter {
        /// The parameter, by its name in a configuration file if it can be in one.
        field: &'static str,
        /// The fault and the valid values.
        reason: String,
    },
    /// A blocking call in a polled stack, which has no thread to end the wait.
    #[error("this stack is polled: use the asynchronous call, and poll the stack")]
    Polled,
    /// Members of this kind of layer have no connections.
    #[error("this ipcp has no connections to others: it belongs to a shim or local layer, or has left its layer")]
    NoMember,
    /// No flow to the other member could be allocated.
    #[error("no flow to the member: {0}")]
    Alloc(AllocError),
    /// The layer to [connect](crate::ConnectOptions::over) or [be made](crate::MemberBuilder::over) over is not there: it is
    /// that of another stack, or, to connect over, it was left, is the member's own, or none of those that it was made over.
    #[error("the layer to go over is not there: it is another stack's, it was left, or this ipcp was made over others")]
    NoLayer,
    /// The layer to [connect over](crate::ConnectOptions::over) does not know the name, whatever others do.
    #[error("the layer of {ipcp:?} does not know the name {name:?}: register it there, or connect over another layer")]
    UnknownThere {
        /// The neighbour's name.
        name: Name,
        /// The name of this stack's IPCP in that layer.
        ipcp: String,
    },
    /// The other member does not answer on the flow that it accepted.
    #[error("the member accepted a flow but does not answer on it: is it a member of this layer?")]
    Silent,
    /// One of the two members refused the connection, or could not use it.
    #[error("the connection was refused: {0}")]
    Refused(Cause),
    /// The other member does not admit this one; carries the number that its [admission](crate::admission::Admission) gave.
    #[error("the member denies the enrollment with code {0}: ask the operator of the layer")]
    Denied(i32),
    /// The other member's layer is not for this one, or its answer could not be used.
    #[error("the enrollment failed: {0}")]
    Enrollment(Cause),
    /// The IPCP has as many connections as its limit allows; carries the limit.
    #[error("the ipcp has {0} connections, and its limit allows no more: disconnect some, or raise the limit")]
    TooManyConnections(usize),
    /// A name of the IPCP could not be bound, or registered in the layer below.
    #[error("the ipcp's names could not be registered: {0}")]
    Bind(BindError),
    /// The layer's parameters do not fit into an enrollment message.
    #[error("the layer's parameters cannot be encoded for other members: {0}")]
    Layer(Cause),
    /// No connection stood before the deadline, or nobody said where the name is.
    #[error("no connection to {0:?}, or no word about it, in time")]
    TimedOut(Name),
    /// No address of the layer is free.
    #[error("no address of the layer is free")]
    NoAddress,
    /// The connection was given up meanwhile: by `disconnect`, or because the layer was left.
    #[error("the connection was cancelled: it was disconnected, or the layer was left")]
    GivenUp,
    /// The stack was shut down.
    #[error("the stack was shut down")]
    Down,
}

debug_by_text!(MemberError {
    Name,
    Parameter,
    Polled,
    NoMember,
    Alloc,
    NoLayer,
    UnknownThere,
    Silent,
    Refused,
    Denied,
    Enrollment,
    TooManyConnections,
    Bind,
    Layer,
    TimedOut,
    NoAddress,
    GivenUp,
    Down,
});

#[doc(hidden)]
impl From<member::MemberError> for MemberError {
    fn from(e: member::MemberError) -> Self {
        use member::MemberError as E;
        match e {
            E::Alloc(e) => Self::Alloc(e.into()),
            E::NoLayer => Self::NoLayer,
            E::UnknownThere { name, ipcp } => Self::UnknownThere { name, ipcp },
            E::Silent => Self::Silent,
            E::Cep(e) => Self::Refused(e.into()),
            E::Enroll(EnrollError::Denied(code)) => Self::Denied(code),
            E::Enroll(e) => Self::Enrollment(e.into()),
            E::Connection(e) => Self::Refused(e.into()),
            E::Manager(ManagerError::Full(max)) => Self::TooManyConnections(max),
            E::Manager(ManagerError::Unwanted) | E::GivenUp => Self::GivenUp,
            E::Bind(e) => Self::Bind(e.into()),
            E::Register(e) => Self::Bind(e.into()),
            E::Layer(e) => Self::Layer(e.into()),
            E::TimedOut(name) => Self::TimedOut(name),
            E::NoAddress => Self::NoAddress,
            E::StackDown => Self::Down,
        }
    }
}

/// Error of joining a broadcast layer.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The string is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No IPCP of this stack is a member of such a layer.
    #[error("no ipcp of this stack is a member of a broadcast layer {0:?}: bootstrap or enroll one")]
    NoLayer(Name),
    /// The IPCP has as many neighbours and programs as its limit allows; carries the limit.
    #[error("the ipcp has {0} neighbours and programs, and its limit allows no more: leave, or raise the limit")]
    LayerFull(usize),
    /// The stack carries as many flows as its limit allows.
    #[error("this stack carries as many flows as its limit allows: close some, or raise the limit of flows")]
    TooManyFlows,
    /// The layer was left, or the stack shut down.
    #[error("the layer was left, or the stack shut down")]
    Down,
}

debug_by_text!(JoinError { Name, NoLayer, LayerFull, TooManyFlows, Down });

#[doc(hidden)]
impl From<join::JoinError> for JoinError {
    fn from(e: join::JoinError) -> Self {
        use crate::ipcp::JoinError as Layer;
        match e {
            join::JoinError::NoLayer(name) => Self::NoLayer(name),
            join::JoinError::Layer(Layer::Full(max)) => Self::LayerFull(max),
            join::JoinError::TooManyFlows => Self::TooManyFlows,
            // It was one a moment ago.
            join::JoinError::Layer(Layer::Down | Layer::NotBroadcast) | join::JoinError::StackDown => Self::Down,
        }
    }
}

/// Losses of a closed flow.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// A blocking call in a polled stack. The flow is closed all the same, and delivers what it can while the stack is
    /// polled.
    #[error("this stack is polled: use the asynchronous call to learn what was lost; the flow is closed")]
    Polled,
    /// The peer did not acknowledge everything in time, or is gone.
    #[error("{packets} packets were not acknowledged by the other end")]
    Lost {
        /// Packets written and not acknowledged.
        packets: usize,
    },
}

debug_by_text!(CloseError { Polled, Lost });
