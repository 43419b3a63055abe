//! The unicast layer: flows between any two members of a network of our own, on top of flows of any layer.
//!
//! A [`Unicast`] is one member. Its neighbours are the members that it has N-1 flows to, of which one kind carries
//! packets (data transfer) and the other link state (management). It is put together from four parts, of which each
//! owns what it works with and knows only those above it in this table:
//!
//! | part | what it does |
//! |---|---|
//! | `shared` | what all parts have in common, and the order of their locks |
//! | `dt` | data transfer: every packet's way through the IPCP ([header](crate::wire::dt)); the adjacencies, which are N-1 flows to neighbours, with what waits in front of them |
//! | `fa` | the flow allocator: flows between members ([messages](crate::wire::fa)) |
//! | `control` | what drives routing and directory, serially |
//!
//! The machines that they are made of are rooms of their own:
//!
//! | machine | what it does |
//! |---|---|
//! | [`routing`](crate::routing) | link state: the graph of neighbours, and the shortest paths ([messages](crate::wire::link_state)) |
//! | [`pff`](crate::forward::pff) | the forwarding table: which neighbour is next on the way to a member |
//! | [`directory`](crate::directory) | the directory: at which members a name is ([messages](crate::wire::dht)) |
//! | [`ca`](crate::forward::ca) | congestion avoidance: how fast a flow may send |
//! | [`shape`](crate::forward::shape) | how fast a flow may send by its quality of service |
//! | [`sched`](crate::forward::sched) | which packet is next where several wait |
//!
//! # Sizes of packets
//!
//! A packet may be as large as all N-1 flows of the member carry, so that it fits wherever routes lead next. What they carry
//! is a matter of the layers below on this side, never of the neighbour: what a reliable N-1 flow finds out about its path
//! counts for that flow, over which larger packets go in pieces. An N-1 flow that carries less than 1024 bytes limits only
//! the packets that go over it, if there are others. All that is asked again every second.
//!
//! Names are found where an N-1 flow carries 169 bytes besides the header, with SHA3-256, and 265 with SHA3-512, see
//! [`directory`](crate::directory#small-packets); a neighbour with less is recorded as a warning. A flow needs more where keys
//! are exchanged: [`AllocError::TooLarge`](crate::AllocError::TooLarge) says how much. So each device below should have an MTU
//! of 300 bytes at least.
//!
//! # Packets
//!
//! The data path takes a packet from an N-1 flow to the next, or up to the flow that it is for, on the thread that has
//! it. Messages of components are put aside, in a queue with a bound, and handled one after the other by the first
//! thread that finds no other doing so. Nothing calls out under a lock, but for what
//! [`sync`](crate::base::sync#foreign-code-with-a-lock-held) lists. Locks are taken from control down to what is
//! shared, see `shared`.

mod config;
mod control;
mod dt;
mod fa;
mod member;
mod rib;
mod shared;
#[cfg(all(test, feature = "std", not(loom)))]
mod tests;

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::AtomicBool;
use core::task::Waker;

pub use self::config::{Config, Parts};
use self::control::Control;
use self::dt::DataPath;
use self::fa::FlowAllocator;
use self::shared::Shared;
use super::{Attempt, Doubt, Info, Ipcp, Location, Lookup, RegisterError, Request, RequestError};
use crate::base::time::Instant;
use crate::directory::Found;
use crate::flow::{Drive, Sink};
use crate::types::id::Address;
use crate::types::name::NameHash;
use crate::types::tree::Tree;
use crate::wire::dt::LayerSizes;

/// A member of a unicast layer.
pub struct Unicast {
    shared: Arc<Shared>,
    data: Arc<DataPath>,
    flows: Arc<FlowAllocator>,
    control: Control,
    /// Receiver of N-1 flows' packets.
    sink: Arc<dyn Sink>,
    ended: AtomicBool,
}

impl Unicast {
    /// A member without neighbours.
    ///
    /// # Errors
    /// [`WireError`](crate::wire::WireError) if addresses cannot have the size that the layer has for them.
    pub fn new(mut parts: Parts) -> Result<Arc<Self>, crate::wire::WireError> {
        let sizes = LayerSizes::of(&parts.unicast)?;
        let eids = parts.rng.split("eids");
        let salt = parts.rng.u64();
        let incarnation = parts.rng.split("incarnation").u32() >> 1;
        let seeds = control::Seeds::new(&mut parts.rng);
        Ok(Arc::new_cyclic(|me: &Weak<Self>| {
            let (panics, keeper) = (Arc::clone(&parts.panics), Weak::clone(&parts.connections));
            let requests = Weak::clone(&parts.requests);
            let shared = Shared::new(parts, member::ring(me), sizes, eids);
            let data = DataPath::new(&shared, salt);
            let flows = FlowAllocator::new(&shared, &data, requests);
            let below =
                control::Below { shared: Arc::clone(&shared), data: Arc::clone(&data), flows: Arc::clone(&flows) };
            let control = Control::new(below, incarnation, panics, keeper, seeds);
            Self { shared, data, flows, control, sink: member::sink(me), ended: AtomicBool::new(false) }
        }))
    }

    /// Our address in the layer.
    pub fn address(&self) -> Address {
        self.shared.address()
    }
}

impl Ipcp for Unicast {
    fn info(&self) -> &Info {
        &self.shared.info
    }

    fn register(&self, now: Instant, hash: NameHash) -> Result<(), RegisterError> {
        if self.shared.is_down() {
            return Err(RegisterError::Down);
        }
        self.control.publish(now, hash)?;
        self.flows.add_name(hash);
        // Left meanwhile: the names were taken back before this one was there.
        if self.shared.is_down() {
            self.unregister(now, &hash);
            return Err(RegisterError::Down);
        }
        self.control.handle(now);
        Ok(())
    }

    fn unregister(&self, now: Instant, hash: &NameHash) {
        self.flows.remove_name(hash);
        self.control.withdraw(now, hash);
        self.control.handle(now);
    }

    fn lookup(&self, now: Instant, hash: &NameHash, waker: &Waker) -> Lookup {
        if self.shared.is_down() {
            return Lookup::Unknown;
        }
        let found = self.control.find(now, hash, waker);
        self.control.handle(now);
        match found {
            Found::Known(addresses) => Lookup::Known(addresses.into_iter().map(Location::Member).collect()),
            // Left meanwhile: those that waited were woken before this one did.
            Found::Pending if self.shared.is_down() => {
                self.control.wake_lookups();
                Lookup::Unknown
            }
            // Nobody is there who could say that the name is nowhere: each lookup would be followed by the next.
            Found::Pending if self.control.is_cut_off() => Lookup::Calling,
            Found::Pending => Lookup::Pending,
            Found::Unknown => Lookup::Unknown,
        }
    }

    fn doubt(&self, now: Instant, hash: &NameHash, at: Location, why: Doubt) {
        if let Location::Member(at) = at {
            self.control.doubt_name(now, hash, at, why);
            self.control.handle(now);
        }
    }

    fn request(&self, now: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        self.flows.request(now, request)
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.data.device()
    }

    fn retire(&self, now: Instant) -> Option<Instant> {
        self.begin_to_leave(now)
    }

    fn hasten(&self, now: Instant) {
        self.flows.hasten(now);
        self.data.hasten();
    }

    fn shutdown(&self, now: Instant) {
        self.end(now);
    }

    fn rib(&self, now: Instant) -> Tree {
        self.tree(now)
    }
}
