//! Errors of reading from and writing to a flow.

use crate::base::debug::debug_by_text;
use crate::types::code::Code;
use crate::types::device::SendError;

/// Error of a write that did not take place.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The window or the layer below has no room: wait until the flow is writable.
    #[error("the flow has no room for more data at the moment; wait until it is writable")]
    WouldBlock,
    /// The deadline passed before there was room.
    #[error("the deadline passed before the flow had room for the data")]
    TimedOut,
    /// More than the flow [takes at a time](crate::Flow::max_write): than a packet of its path, as it is now, on raw flows
    /// and towards a reference.
    #[error("{size} bytes are more than this flow carries at a time; write at most {max}")]
    TooLarge {
        /// Size of the write, bytes.
        size: usize,
        /// The largest that fits, bytes.
        max: usize,
    },
    /// The flow is down: the other end or the layer below gave it up, or data could not be delivered for the
    /// retransmission time (120 s).
    #[error("the flow is down; allocate a new one")]
    Down,
    /// Data could not be delivered for the retransmission time, while the layer below refused to send it.
    #[error("the flow is down, because its packets could not be sent: {0}")]
    Undeliverable(SendError),
    /// The layer below refused this packet, or one before it that had been held back to be sent in one go. It was not
    /// sent; reliable flows keep trying instead of saying so.
    #[error("the packet could not be sent: {0}")]
    Refused(SendError),
    /// Nothing was heard of the other end for the flow's timeout.
    #[error("nothing arrived from the other end for the flow's timeout; allocate a new flow")]
    PeerGone,
    /// This end was closed, or shut for writing.
    #[error("this end of the flow was closed")]
    Closed,
    /// The other end has closed the flow, and reads no more.
    #[error("the other end has closed the flow; allocate a new one")]
    PeerClosed,
    /// The other end has given the flow up without closing it.
    #[error("the other end aborted the flow; allocate a new one")]
    Reset,
    /// Encryption failed.
    #[error("the packet could not be encrypted")]
    Crypt,
    /// A blocking call in a polled stack, where no thread would end the wait.
    #[error("this stack is polled: use the call that does not wait, or the asynchronous one, and poll the stack")]
    Polled,
    /// This process was forked from the one that the flow belongs to. It has the keys of the flow a second time, and two that
    /// use them give them away. Nothing was sent; the flow goes on in the parent.
    #[error(
        "the flow belongs to the process that this one was forked from: make a stack here, and allocate a new flow"
    )]
    Forked,
}

debug_by_text!(WriteError {
    WouldBlock,
    TimedOut,
    TooLarge,
    Down,
    Undeliverable,
    Refused,
    PeerGone,
    Closed,
    PeerClosed,
    Reset,
    Crypt,
    Polled,
    Forked,
});

/// Error of a read, which returned nothing.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing has arrived: wait until the flow is readable.
    #[error("nothing to read at the moment; wait until the flow is readable")]
    WouldBlock,
    /// The deadline passed before something arrived.
    #[error("the deadline passed before anything arrived")]
    TimedOut,
    /// The packet is larger than the buffer and the flow reads whole packets; it is still there.
    #[error("a packet of {size} bytes does not fit into the buffer of {room}: read it with a larger one")]
    TooSmall {
        /// Bytes in the packet.
        size: usize,
        /// Bytes in the buffer.
        room: usize,
    },
    /// The flow is down and everything that had arrived has been read.
    #[error("the flow is down and everything that arrived has been read")]
    Down,
    /// The flow is down because data could not be delivered for the retransmission time, while the layer below refused
    /// to send it; everything that had arrived has been read.
    #[error("the flow is down, because its packets could not be sent: {0}")]
    Undeliverable(SendError),
    /// Nothing was heard of the other end for the flow's timeout, and everything that had arrived has been read.
    #[error("nothing arrived from the other end for the flow's timeout")]
    PeerGone,
    /// The other end has closed the flow, or shut it for writing, and everything that it wrote has been read: the end of
    /// the stream. What is written in the other direction may still arrive.
    #[error("the other end has closed the flow and everything that arrived has been read")]
    Closed,
    /// The other end has given the flow up without closing it: what it wrote may not have arrived.
    #[error("the other end aborted the flow; some of what it wrote may be missing")]
    Reset,
    /// This end was closed.
    #[error("this end of the flow was closed")]
    ClosedHere,
    /// A blocking call in a polled stack, where no thread would end the wait.
    #[error("this stack is polled: use the call that does not wait, or the asynchronous one, and poll the stack")]
    Polled,
    /// This end was [shut](crate::Flow::shutdown) for reading.
    #[error("this end of the flow was shut down for reading")]
    WriteOnly,
}

debug_by_text!(ReadError {
    WouldBlock,
    TimedOut,
    TooSmall,
    Down,
    Undeliverable,
    PeerGone,
    Closed,
    Reset,
    ClosedHere,
    Polled,
    WriteOnly,
});

impl WriteError {
    /// The reference's number for this error.
    pub fn code(self) -> Code {
        match self {
            Self::WouldBlock => Code::AGAIN,
            Self::TimedOut => Code::TIMEDOUT,
            Self::TooLarge { .. } => Code::MSGSIZE,
            Self::Down | Self::Undeliverable(_) | Self::Refused(_) => Code::FLOWDOWN,
            Self::PeerGone => Code::FLOWPEER,
            Self::Closed => Code::NOTALLOC,
            Self::PeerClosed | Self::Reset => Code::FLOWDOWN,
            Self::Crypt => Code::CRYPT,
            Self::Polled | Self::Forked => Code::PERM,
        }
    }
}

impl ReadError {
    /// The reference's number for this error.
    pub fn code(self) -> Code {
        match self {
            Self::WouldBlock => Code::AGAIN,
            Self::TimedOut => Code::TIMEDOUT,
            Self::TooSmall { .. } => Code::MSGSIZE,
            Self::Down | Self::Undeliverable(_) => Code::FLOWDOWN,
            Self::PeerGone => Code::FLOWPEER,
            Self::ClosedHere => Code::NOTALLOC,
            Self::Closed | Self::Reset => Code::FLOWDOWN,
            Self::WriteOnly | Self::Polled => Code::PERM,
        }
    }
}

#[cfg(feature = "std")]
impl From<WriteError> for std::io::Error {
    fn from(e: WriteError) -> Self {
        use std::io::ErrorKind;
        let kind = match e {
            WriteError::WouldBlock => ErrorKind::WouldBlock,
            WriteError::TimedOut => ErrorKind::TimedOut,
            WriteError::TooLarge { .. } => ErrorKind::InvalidInput,
            WriteError::Down | WriteError::Undeliverable(_) | WriteError::PeerGone => ErrorKind::ConnectionReset,
            WriteError::Refused(SendError::TooLarge) => ErrorKind::InvalidInput,
            WriteError::Refused(_) => ErrorKind::NetworkUnreachable,
            WriteError::Closed => ErrorKind::NotConnected,
            WriteError::PeerClosed => ErrorKind::BrokenPipe,
            WriteError::Reset => ErrorKind::ConnectionReset,
            WriteError::Crypt => ErrorKind::InvalidData,
            WriteError::Polled | WriteError::Forked => ErrorKind::Unsupported,
        };
        Self::new(kind, e)
    }
}

#[cfg(feature = "std")]
impl From<ReadError> for std::io::Error {
    fn from(e: ReadError) -> Self {
        use std::io::ErrorKind;
        let kind = match e {
            ReadError::WouldBlock => ErrorKind::WouldBlock,
            ReadError::TimedOut => ErrorKind::TimedOut,
            ReadError::TooSmall { .. } => ErrorKind::InvalidInput,
            ReadError::Down | ReadError::Undeliverable(_) | ReadError::PeerGone => ErrorKind::ConnectionReset,
            ReadError::Closed => ErrorKind::UnexpectedEof,
            ReadError::Reset => ErrorKind::ConnectionReset,
            ReadError::ClosedHere => ErrorKind::NotConnected,
            ReadError::WriteOnly => ErrorKind::PermissionDenied,
            ReadError::Polled => ErrorKind::Unsupported,
        };
        Self::new(kind, e)
    }
}
