//! The errors as those of `std::io`, each with the kind that tells most.

use std::io;

use super::{AcceptError, AllocError, BindError, CloseError, JoinError, MemberError, StackError};
use crate::types::code::Code;
use crate::types::device::SendError;

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
        let kind = match &e {
            AllocError::Name(_) | AllocError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            AllocError::Polled => io::ErrorKind::Unsupported,
            AllocError::Unreachable(_) => io::ErrorKind::NotFound,
            AllocError::TimedOut(_) | AllocError::LookupTimedOut(_) => io::ErrorKind::TimedOut,
            AllocError::Refused { code: Code::AUTH | Code::CRYPT, .. } | AllocError::Security(_) => {
                io::ErrorKind::PermissionDenied
            }
            // The other end is busy: it may take the next one.
            AllocError::Refused { code: Code::AGAIN, .. } => io::ErrorKind::ResourceBusy,
            AllocError::Refused { .. } => io::ErrorKind::ConnectionRefused,
            AllocError::Unsent(e) => kind_of(*e),
            AllocError::LayerFull | AllocError::TooManyFlows => io::ErrorKind::QuotaExceeded,
            AllocError::LayerDown | AllocError::Down => io::ErrorKind::NotConnected,
        };
        Self::new(kind, e)
    }
}

impl From<AcceptError> for io::Error {
    fn from(e: AcceptError) -> Self {
        let kind = match e {
            AcceptError::Polled => io::ErrorKind::Unsupported,
            AcceptError::WouldBlock => io::ErrorKind::WouldBlock,
            AcceptError::TimedOut => io::ErrorKind::TimedOut,
            AcceptError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, e)
    }
}

impl From<MemberError> for io::Error {
    fn from(e: MemberError) -> Self {
        let kind = match &e {
            MemberError::Name(_)
            | MemberError::Parameter { .. }
            | MemberError::NoMember
            | MemberError::NoLayer
            | MemberError::Layer(_) => io::ErrorKind::InvalidInput,
            MemberError::UnknownThere { .. } => io::ErrorKind::NotFound,
            MemberError::Polled => io::ErrorKind::Unsupported,
            MemberError::TimedOut(_) | MemberError::Silent => io::ErrorKind::TimedOut,
            MemberError::Alloc(why) => Self::from(why.clone()).kind(),
            MemberError::Refused(_) | MemberError::Enrollment(_) => io::ErrorKind::ConnectionRefused,
            MemberError::Denied(_) => io::ErrorKind::PermissionDenied,
            MemberError::Bind(why) => Self::from(why.clone()).kind(),
            MemberError::TooManyConnections(_) | MemberError::NoAddress => io::ErrorKind::QuotaExceeded,
            MemberError::GivenUp => io::ErrorKind::ConnectionAborted,
            MemberError::Down => io::ErrorKind::NotConnected,
        };
        Self::new(kind, e)
    }
}

impl From<JoinError> for io::Error {
    fn from(e: JoinError) -> Self {
        let kind = match &e {
            JoinError::Name(_) => io::ErrorKind::InvalidInput,
            JoinError::NoLayer(_) => io::ErrorKind::NotFound,
            JoinError::LayerFull(_) | JoinError::TooManyFlows => io::ErrorKind::QuotaExceeded,
            JoinError::Down => io::ErrorKind::NotConnected,
        };
        Self::new(kind, e)
    }
}

impl From<BindError> for io::Error {
    fn from(e: BindError) -> Self {
        let kind = match e {
            BindError::Name(_) | BindError::NoNames => io::ErrorKind::InvalidInput,
            BindError::TooManyNames(_) | BindError::LayerFull(_) => io::ErrorKind::QuotaExceeded,
            BindError::Down => io::ErrorKind::NotConnected,
        };
        Self::new(kind, e)
    }
}

impl From<StackError> for io::Error {
    fn from(e: StackError) -> Self {
        let kind = match &e {
            StackError::Thread(error) | StackError::Bind { error, .. } | StackError::Interface { error, .. } => {
                error.kind()
            }
            StackError::Name(_)
            | StackError::Address(_)
            | StackError::NoInterface(_)
            | StackError::LinkLocal(_)
            | StackError::Port
            | StackError::NotIpv4(_)
            | StackError::NotIpv6(_)
            | StackError::EtherType(_)
            | StackError::EtherTypeOfLlc
            | StackError::Security(_) => io::ErrorKind::InvalidInput,
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
