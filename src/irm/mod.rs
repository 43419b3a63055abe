//! The IPC resource manager: names, and who accepts flows to them.
//!
//! A name that is bound has one or more listeners; a request for a flow to it is offered to one that is accepting, by
//! the name's [`LoadBalancing`], or waits in a bounded backlog for one to come, as long as its requester does, or has a
//! handler started. It knows nothing of layers: what a request is, is up to the caller, who also sends the refusals that
//! come out of here.
//!
//! A request belongs to no listener until it is taken. The one that is woken for it has a moment in which no other may
//! take it; a task that is not polled any more does not keep it from those that are there. A requester may be one who would
//! lose an answer that comes at once: nobody takes its request before that moment has passed, so nobody who gives up
//! meanwhile has it.
//!
//! This is a serial state machine: no lock, no clock, no waiting of its own. Wakers and factories are never called or
//! dropped in here, because callers hold a lock: they come out as [`Calls`], or in exchange for new ones.
//!
//! ```
//! use core::task::{Poll, Waker};
//! use o7s::base::time::Instant;
//! use o7s::irm::{Caller, Calls, Irm, Limits};
//! use o7s::types::name::Name;
//!
//! let mut irm: Irm<&str> = Irm::new(Limits::default());
//! let name = Name::new("echo").unwrap();
//! let listener = irm.bind(&name).unwrap();
//! let (mut waiter, mut calls) = (None, Calls::default());
//! let mut waker = Some(Waker::noop().clone());
//!
//! // A request arrives while nobody accepts: it waits.
//! irm.place(Instant::ZERO, &name, "a request", Caller::default(), &mut calls).unwrap();
//! let Poll::Ready(Some(taken)) = irm.poll_accept(listener, &mut waiter, &mut waker) else { unreachable!() };
//! assert_eq!(taken.request, "a request");
//! // The next accept waits for a request instead.
//! assert!(irm.poll_accept(listener, &mut waiter, &mut waker).is_pending());
//! assert!(waker.is_none(), "kept to be woken");
//! ```

mod names;

use alloc::sync::Arc;
use core::time::Duration;

use crate::base::sync::{AtomicBool, Ordering};
use crate::base::time::Instant;
use crate::oap::SecurityConfig;

pub use names::{Calls, Factory, Irm, ListenerId, Placed, Refused, Taken, WaiterId};

/// Protection of the flows to a name: those that are accepted, and those that are allocated here. It belongs to the
/// name, never to the call that allocates.
#[derive(Clone, Debug, Default)]
pub struct NameSecurity {
    /// For flows that are accepted under the name.
    pub server: SecurityConfig,
    /// For flows that are allocated to the name.
    pub client: SecurityConfig,
}

/// Choice among several accepting listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadBalancing {
    /// The one that called accept last: it keeps serving, and others get work only while it is busy.
    #[default]
    Spillover,
    /// The one that has waited longest.
    RoundRobin,
}

/// Assumed patience of a requester that does not say: the reference's limit for an allocation.
pub const REFERENCE_WAIT: Duration = Duration::from_secs(20);

/// Facts about a waiting request.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The requester's host or member: requests of equal ones share one part of a backlog, however many ports it has.
    pub host: u64,
    /// The requester: one of its host.
    pub peer: u64,
    /// The request's id, if it has one: a later request with the same one of the same peer is its repetition.
    pub id: Option<[u8; 16]>,
    /// Patience of the requester, from this request on; `None` if it does not say.
    pub wait: Option<Duration>,
    /// Bytes that the request holds.
    pub bytes: usize,
    /// Time before which no acceptor gets the request, because its answer would be lost; `None` if it may be answered at
    /// once.
    pub held_until: Option<Instant>,
    /// Becomes true when the requester gives up, if that can be seen.
    pub withdrawn: Option<Arc<AtomicBool>>,
    /// Its address may be made up: when there is no room, it gives way to those of which that is not so, but to an eighth of
    /// the queue for each host.
    pub is_unproven: bool,
}

impl Caller {
    fn is_gone(&self) -> bool {
        self.withdrawn.as_ref().is_some_and(|withdrawn| withdrawn.load(Ordering::Acquire))
    }

    /// Time for which its request is worth keeping.
    fn patience(&self) -> Duration {
        let unknown = if self.withdrawn.is_some() { Duration::MAX } else { REFERENCE_WAIT };
        self.wait.unwrap_or(unknown)
    }

    fn repeats(&self, other: &Self) -> bool {
        self.id.is_some() && self.id == other.id && self.peer == other.peer
    }
}

/// Bounds of the IRM: a part of those of a [node](crate::node::Limits).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Names known at a time. Default 65 536.
    pub names: usize,
    /// Limit of requests for one name that wait for an acceptor, unless the name has a limit of its own. Beyond it, the
    /// newest request of the host with the most is refused, to be tried again later: as long as others wait, no host
    /// has more than a fair part. At least one may wait. Default 1024.
    pub backlog: usize,
    /// Bytes of the requests for one name that wait; beyond it as beyond [`backlog`](Self::backlog). Default 4 MiB.
    pub backlog_bytes: usize,
    /// Longest wait of a request before it is refused. It waits only for as long as its requester does, which a program
    /// of this stack shows, and one of another says in the request; a reference is taken to wait for 20 s. Default 10
    /// min.
    pub accept_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { names: 65_536, backlog: 1024, backlog_bytes: 4 << 20, accept_wait: Duration::from_secs(600) }
    }
}

/// Why a name could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum BindError {
    /// The limit of known names is reached.
    #[error("this stack knows {0} names, and its limit allows no more: unbind one, or raise the limit")]
    Full(usize),
    /// The stack was shut down.
    #[error("the stack was shut down")]
    Down,
}

#[cfg(test)]
mod tests;
