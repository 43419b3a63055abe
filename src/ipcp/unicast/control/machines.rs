//! The machines: routing and the directory, and what goes with them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::task::Waker;

use super::conflicts::Identity;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::directory::{self, Directory};
use crate::ipcp::unicast::shared::Shared;
use crate::routing::{self, Computation, LinkState, Watch};
use crate::types::id::{Address, N1FlowId};
use crate::types::name::NameHash;
use crate::wire::link_state::Lsu;

/// Updates that are sent at once, bytes, where the flow takes as many.
const UPDATES: usize = 50 * Lsu::LEN;

/// The machines.
pub(super) struct Machines {
    pub(super) routing: LinkState,
    pub(super) directory: Directory,
    /// Tasks that wait for a name.
    pub(super) waiting: BTreeMap<NameHash, Vec<Waker>>,
    /// Looks for others that have our address.
    watch: Watch,
}

/// Sources of the machines' randomness.
pub(in crate::ipcp::unicast) struct Seeds {
    routing: Rng,
    directory: Rng,
}

impl Seeds {
    pub(in crate::ipcp::unicast) fn new(rng: &mut Rng) -> Self {
        Self { routing: rng.split("routing"), directory: rng.split("directory") }
    }
}

/// Something that a machine has put out.
pub(super) enum Output {
    LinkState(N1FlowId, Vec<u8>),
    Directory(Address, Vec<u8>),
    /// A computation of routes, to be done outside of the lock.
    Computation(Computation),
    Routes,
    Found(directory::Event, Vec<Waker>),
}

impl Machines {
    /// Machines of a member without neighbours.
    pub(super) fn new(now: Instant, identity: Identity, shared: &Shared, seeds: Seeds) -> Self {
        let Identity { address, kept, since } = identity;
        let mut routing = routing::Config::new(address);
        routing.timers = shared.unicast.routing;
        routing.policy = shared.config.routing.clone();
        routing.incarnation = since;
        routing.max_management = shared.config.max_connections;
        let directory = directory::Config::new(address, shared.layer.hash, shared.unicast.directory);
        let routing = LinkState::new(routing, seeds.routing);
        let memory = routing.memory();
        Self {
            routing,
            directory: Directory::new(now, directory, seeds.directory),
            waiting: BTreeMap::new(),
            watch: if kept { Watch::kept(address, memory) } else { Watch::new(address, memory) },
        }
    }

    /// The next packet of updates to send, and the management flow to send it on.
    fn poll_updates(&mut self, now: Instant) -> Option<(N1FlowId, Vec<u8>)> {
        let (to, updates) = self.routing.poll_packet(now, UPDATES)?;
        let (own, said) = (self.routing.address(), updates.chunks_exact(Lsu::LEN));
        for Lsu { dst, seqno, .. } in said.filter_map(|update| Lsu::parse(update).ok()).filter(|lsu| lsu.src == own) {
            self.watch.announcing(now, dst, seqno);
        }
        Some((to, updates))
    }

    /// Takes a packet of updates. Returns `true` if another member has our address.
    pub(super) fn handle_updates(&mut self, now: Instant, from: N1FlowId, updates: &[u8]) -> bool {
        let said = updates.chunks_exact(Lsu::LEN).filter_map(|update| Lsu::parse(update).ok());
        let conflicts = said.filter_map(|update| self.watch.heard(now, &update)).count();
        self.routing.handle_packet(now, from, updates);
        conflicts > 0
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, unix: u64) {
        if self.routing.next_deadline().is_some_and(|at| at <= now) {
            self.routing.handle_timeout(now);
        }
        if self.directory.next_deadline().is_some_and(|at| at <= now) {
            self.directory.handle_timeout(now, unix);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.routing.next_deadline(), self.directory.next_deadline()].into_iter().flatten().min()
    }

    /// Returns the next output of the machines. `neighbours` are those with adjacencies, `room` is how many bytes a message
    /// to a member may have.
    pub(super) fn poll_output(
        &mut self,
        now: Instant,
        neighbours: impl FnOnce() -> Vec<(N1FlowId, Address)>,
        room: impl Fn(Address) -> usize,
    ) -> Option<Output> {
        if let Some(computation) = self.routing.poll_computation(now) {
            return Some(Output::Computation(computation));
        }
        if self.routing.poll_computed_routes(now).is_some() {
            self.directory.route_known(now);
            // Neighbours that can be asked now: the directory hangs together like the layer.
            for (_, peer) in neighbours() {
                self.directory.suggest(now, peer);
            }
            return Some(Output::Routes);
        }
        if let Some((to, updates)) = self.poll_updates(now) {
            return Some(Output::LinkState(to, updates));
        }
        if let Some((to, message)) = self.directory.poll_message(room) {
            return Some(Output::Directory(to, message));
        }
        let event = self.directory.poll_event()?;
        let directory::Event::LookupDone { hash, .. } = &event;
        let waiting = self.waiting.remove(hash).unwrap_or_default();
        Some(Output::Found(event, waiting))
    }
}
