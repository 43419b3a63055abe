//! The IPC resource manager: names, and who accepts flows to them.
//!
//! A name that is bound has one or more listeners; a request for a flow to it goes to one that is accepting, by the
//! name's [`LoadBalancing`], or waits up to [`Limits::accept_wait`] for one to come, or has a handler started. It
//! knows nothing of layers: what a request is, is up to the caller, who also sends the refusals that come out of here.
//!
//! This is a serial state machine: no lock, no clock, no waiting of its own.
//!
//! ```
//! use core::task::{Poll, Waker};
//! use o7s::base::time::Instant;
//! use o7s::irm::{Irm, Limits, Placed};
//! use o7s::types::name::Name;
//!
//! let mut irm: Irm<&str> = Irm::new(Limits::default());
//! let name = Name::new("echo").unwrap();
//! let listener = irm.bind(&name).unwrap();
//! let mut waiter = None;
//!
//! // A request arrives while nobody accepts: it waits.
//! assert!(matches!(irm.place(Instant::ZERO, &name, "a request"), Placed::Waiting(_)));
//! assert_eq!(irm.poll_accept(listener, &mut waiter, Waker::noop()), Poll::Ready(Some("a request")));
//! // The next accept waits for a request instead.
//! assert_eq!(irm.poll_accept(listener, &mut waiter, Waker::noop()), Poll::Pending);
//! ```

mod names;

use core::time::Duration;

use crate::oap::SecurityConfig;

pub use names::{Factory, Irm, ListenerId, Placed, WaiterId};

/// How flows to a name are protected: by those who accept them and by those who ask for them here. It belongs to the
/// name, never to the call that allocates.
#[derive(Clone, Debug, Default)]
pub struct NameSecurity {
    /// For flows that are accepted under the name.
    pub server: SecurityConfig,
    /// For flows that are allocated to the name.
    pub client: SecurityConfig,
}

/// Which of several accepting listeners gets a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadBalancing {
    /// The one that called accept last: it keeps serving, and others get work only while it is busy.
    #[default]
    Spillover,
    /// The one that has waited longest.
    RoundRobin,
}

/// Bounds of the IRM.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Names known at a time. Default 65 536.
    pub names: usize,
    /// Requests that wait for somebody to accept them, a name. Default 1024.
    pub backlog: usize,
    /// How long a request waits for that. Default 1 s; the reference's client gives up after 20 s.
    pub accept_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { names: 65_536, backlog: 1024, accept_wait: Duration::from_secs(1) }
    }
}

/// Why a name could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// As many names as are allowed are known.
    #[error("no more than {0} names can be bound; unbind one or raise the limit")]
    Full(usize),
    /// The stack was shut down.
    #[error("the stack was shut down")]
    Down,
}

#[cfg(test)]
mod tests;
