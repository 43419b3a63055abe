//! One end of a flow: FRCT, encryption, checksum, keepalive and queues, in one pipeline.
//!
//! ```text
//! write:  data ─ FRCT ─ AEAD ─ CRC ─► Port ─► the layer below
//! read:   data ◄ FRCT ◄ AEAD ◄ CRC ◄─ inbox ◄─ the layer below
//! ```
//!
//! An [`Endpoint`] is what an application's flow and the N-1 flow of an IPCP have in common; there is no second
//! implementation. It sends down through a [`Port`], which the IPCP that carries the flow implements, and is handed
//! packets from below with [`Endpoint::handle_packets`].
//!
//! # The machine
//!
//! An endpoint is one state machine behind one lock. Its state is the pipeline, where the flow is in its life, why it is
//! down if it is, and who waits for what. Three things hold everywhere:
//!
//! - *Looking and waiting are one step.* A call that would block leaves its [`Waiter`] in the critical section in which
//!   it looked ([`Endpoint::poll_read`], [`Endpoint::poll_write`], [`Endpoint::poll_closed`]).
//! - *There is one door.* Each change of the state happens under the lock and ends with `settle`, but for a read that
//!   finds a packet and moves no window, which cannot end any wait. `settle` draws the conclusions: packets to send,
//!   the next step of life, waiters to wake, events for the watcher. Whether a waiter is woken is a function of the
//!   state: a reader if there is data, or the flow has ended and the inbox is taken in; a writer if there is room, or
//!   never will be; a closer if everything has been dealt with.
//! - *No call is made under the lock.* The results of `settle` are carried out by `dispatch` when the lock is released:
//!   ports, sinks, wakers, watchers, and the dropping of what callers handed in. A panic in a port, waker or watcher
//!   ends there. The few questions that are asked under the lock all the same, because the answer decides about the
//!   state, are [listed](crate::base::sync#foreign-code-with-a-lock-held).
//!
//! Waiters, watchers and sinks therefore have the same guarantee: when the lock is released, every change of the state
//! has been told to all whom it concerns. `tests/loom.rs` checks it, over this code, in every interleaving that a bound
//! allows.
//!
//! # Who does the work
//!
//! Packets from below wait in the inbox, which has a lock of its own so that producers never wait. Taking them in,
//! through the pipeline, needs the endpoint's lock and is done by the first thread with a reason: one that wants to
//! read (so that a ping-pong pays no thread switch and decryption runs beside the sender's encryption), one that writes
//! or waits for the end, else the thread that delivers, else, a millisecond later, the stack's driver. The inbox's
//! *turn* names the party responsible while there are packets: none if there are none, a thread that services, a user
//! who is expected, with a tick armed in case none comes, or the next reader if the application's queue is full.
//! A thread that services gives the turn back in the critical section in which it takes the last packets, or, if it
//! delivers to a sink, looks again after the delivery.
//!
//! No lock is held while packets go down or while another endpoint is called. Packets of one endpoint leave in the order
//! in which they were sealed: one thread at a time has the *output turn*, and others that have something to send leave it
//! to that one. So does the same thread further down the same call chain, which is why the recursion between two ends of a
//! local flow has a depth of two.
//!
//! The N-1 flow of an IPCP is serviced by the thread that delivers, which takes the packets straight on to the
//! [`Sink`] of the IPCP, and from there down again through another endpoint, or up to the endpoint of a flow that the
//! IPCP provides.

mod endpoint;
mod error;
mod moves;
mod notice;
mod pipeline;
mod waiters;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::AtomicBool;
use core::task::Waker;
use core::time::Duration;

use smallvec::SmallVec;

use crate::base::buf::{BufPool, PacketBuf};
use crate::base::foreign::Panics;
use crate::base::time::{Clock, Instant};
use crate::types::addr::Route;
use crate::types::device::SendError;

pub use endpoint::{Endpoint, State};
#[cfg(loom)]
pub use endpoint::{Fault, PLANTED};
pub use error::{ReadError, WriteError};
pub use pipeline::{Counters, Opening, Params, ReadMode};
pub use waiters::Waiter;
#[cfg(feature = "std")]
pub(crate) use waiters::Waiters;

/// Packets on their way down, at most 16 of them.
pub type Outgoing = SmallVec<[PacketBuf; BURST]>;

/// Packets that an endpoint hands to its port at a time.
pub const BURST: usize = 16;

/// A member of a layer, among all in the process; see [`Port::stands_on`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberKey(usize);

impl MemberKey {
    /// The key of the member with this state, as long as that is there.
    pub fn of<T>(state: &Arc<T>) -> Self {
        Self(Arc::as_ptr(state).addr())
    }
}

/// The way down: what an IPCP gives an endpoint to send through.
///
/// Implementations must not call back into the *same* endpoint other than through [`Endpoint::handle_packets`], and not
/// even so from [`mtu`](Self::mtu), [`is_congested`](Self::is_congested), [`is_holding`](Self::is_holding) and
/// [`queued`](Self::queued), which are called with its lock held. A panic is counted (`node/foreign_panics`): packets that
/// were being sent are lost, as with [`SendError::Down`], and the largest packet is taken to be 0 bytes until the next time
/// that it is asked for.
pub trait Port: Send + Sync {
    /// Sends the packets in `pkts`, or takes them out to send them later; what cannot be sent is dropped and counted
    /// there. Packets left behind have been dealt with: their memory is used again.
    ///
    /// # Errors
    /// Why some of them, or earlier ones that were held back, could not be sent.
    fn send(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), SendError>;

    /// Sends what the port may have held back to send in one go.
    fn flush(&self, _now: Instant) {}

    /// Returns `true` if the layer below would drop a packet for lack of room now. Only ports that can tell when room
    /// returns (see [`Endpoint::notify_writable`]) ever say so.
    fn is_congested(&self) -> bool {
        false
    }

    /// Returns `true` if packets that were taken wait for their turn, and would be lost with the port: a flow that was closed
    /// is not released before, within its time. Only ports ever say so from which the last of them goes in a
    /// [`flush`](Self::flush), or that tell when it has gone (see [`Endpoint::notify_writable`]).
    fn is_holding(&self) -> bool {
        false
    }

    /// Packets that wait in front of the device through which this port sends, as far as that can be told.
    fn queued(&self) -> usize {
        0
    }

    /// Returns `true` if the layer below may lose packets. Asked once, when the flow has been allocated.
    fn is_lossy(&self) -> bool {
        true
    }

    /// Returns `true` if a [`release`](Self::release) tells the other end that this one is closed, which then needs no
    /// packet. Asked once, when the flow has been allocated.
    fn tells_end(&self) -> bool {
        false
    }

    /// Returns `true` if the peer may turn up at another address, which the layer tells with
    /// [`Endpoint::receive_elsewhere`]. Asked once, when the flow has been allocated.
    fn roams(&self) -> bool {
        false
    }

    /// Sends one packet on this route, or where the others go if it is `None`. It may be lost.
    fn send_on(&self, _now: Instant, _route: Option<Route>, _pkt: PacketBuf) {}

    /// Sends everything on this route from now on, and takes what comes on it for the peer's.
    fn move_to(&self, _route: Route) {}

    /// The endpoint has taken everything out of its inbox: the other end may have room to send again.
    fn drained(&self) {}

    /// The largest packet that can be sent, bytes.
    fn mtu(&self) -> usize;

    /// Returns `true` if what is sent may go through the member with this [`MemberKey`], of this layer or of one further down.
    fn stands_on(&self, _member: MemberKey) -> bool {
        false
    }

    /// The device that packets for this endpoint come from, for a thread that wants to wait on it.
    fn device(&self) -> Option<Arc<dyn Drive>> {
        None
    }

    /// The endpoint is done with the flow: forget it.
    fn release(&self, now: Instant);
}

/// A device that a waiting thread may drive instead of a background thread.
pub trait Drive: Send + Sync {
    /// Receives and delivers arrived packets, waiting up to `wait` for one to arrive. Returns `false`, at once, if
    /// another thread is doing it.
    ///
    /// It does not wait if `woken` is set by the time that it is sure to be the one whom an
    /// [`interrupt`](Self::interrupt) reaches: one that came earlier may have reached the thread before it.
    fn drive(&self, wait: Duration, woken: &AtomicBool) -> bool;

    /// The caller has driven the device and goes back to its own work now. The thread that stands by for the device may
    /// want to know.
    fn leave(&self) {}

    /// Makes the wait of a [`drive`](Self::drive) under way return.
    fn interrupt(&self);
}

/// Services of the stack for an endpoint.
pub trait Host: Send + Sync {
    /// Calls [`Endpoint::handle_timeout`] at `at`, which replaces any earlier request of this endpoint if it is sooner.
    fn arm(&self, at: Instant, flow: FlowKey);

    /// Calls [`Endpoint::handle_tick`] about a millisecond from now, whatever else happens.
    fn tick(&self, flow: FlowKey);

    /// The peer of a flow whose [opening](Opening::allowance) bounds what it is sent has been heard for the first time.
    fn heard(&self, _flow: FlowKey) {}

    /// The endpoint has been released and may be forgotten.
    fn released(&self, flow: FlowKey);
}

/// The number by which the host knows an endpoint.
pub type FlowKey = u64;

/// The surroundings of all endpoints of a stack.
pub struct Env {
    /// Clock of the stack.
    pub clock: Arc<dyn Clock>,
    /// Pool of packet buffers.
    pub pool: Arc<BufPool>,
    /// Timers and housekeeping.
    pub host: Arc<dyn Host>,
    /// Through which foreign code is called: wakers, watchers.
    pub panics: Arc<Panics>,
    /// Service at once, on the delivering thread. Polled and simulated stacks do, because it is deterministic;
    /// threaded ones leave packets to a user that is about to come.
    pub inline: bool,
}

/// An event of a flow, or a listener, for a [set](crate::FlowSet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Event {
    /// There is something to read.
    Packet,
    /// There is room to write again.
    Writable,
    /// The layer below carries packets of this flow no more, and will not again: it has gone, or the address of an interface is
    /// another.
    Down,
    /// The layer below refuses the packets of this flow, for another reason than that its queue is full: the link of an
    /// interface is down, for instance. The flow keeps trying.
    Impaired,
    /// The layer below takes packets of this flow again, after [`Impaired`](Self::Impaired).
    Restored,
    /// The other end writes no more. When what has arrived is read, reads say so.
    Ended,
    /// The flow was closed or given up: by the other end, by the layer below, or here. What had arrived from the other end
    /// can still be read.
    Deallocated,
    /// Nothing was heard of the peer for the flow's timeout.
    PeerGone,
    /// Of a listener: a flow is asked for, and no other acceptor has been told.
    Acceptable,
}

/// An observer of the events of a flow. Called without locks held; must not block.
pub trait Watcher: Send + Sync {
    /// `event` happened on the flow, or the listener, that is being watched under `token`.
    fn notify(&self, token: u64, event: Event);
}

/// An IPCP that uses a flow, in place of an application that reads: packets come to it as they arrive, on the thread
/// that delivers them. See [`Endpoint::attach`].
pub trait Sink: Watcher {
    /// These packets have arrived on the flow that is attached under `token`, in this order. Packets left behind have
    /// been dealt with: their memory is used again. Called without locks held, and never twice at a time for one flow.
    fn deliver(&self, token: u64, now: Instant, pkts: &mut VecDeque<PacketBuf>);
}

/// Wakers to be woken once all locks are released.
pub(crate) type Wakers = SmallVec<[Waker; 4]>;
