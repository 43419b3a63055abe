//! What drives routing and directory: one message, one deadline, one command at a time.
//!
//! The two machines are behind one lock, held while a machine takes an input or gives an output and never while a packet
//! is sent or anybody is called. Whoever brings an input passes the outputs on; if somebody is doing so already, that one
//! sees the input too, so the outputs of the machines leave in the order in which they were made.

pub(super) mod inbox;
pub(super) mod terms;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::task::Waker;

use self::inbox::Class;
use super::{Config, Punt, Unicast, count};
use crate::base::rng::Rng;
use crate::base::time::{Clock, Instant};
use crate::directory::{self, Directory};
use crate::flow::Endpoint;
use crate::forward::pff::ForwardingTable;
use crate::ipcp::connect::address::Watch;
use crate::ipcp::{Doubt, RegisterError};
use crate::routing::{self, Dialect, LinkState};
use crate::types::id::{Address, N1FlowId};
use crate::types::layer::{LayerConfig, Unicast as Parameters};
use crate::types::name::NameHash;
use crate::wire::dt::DIRECTORY;
use crate::wire::fa;
use crate::wire::link_state::Lsu;

/// An N-1 flow to a neighbour's management component.
pub(super) struct Management {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) peer: Address,
    /// Of the neighbour, when it was connected; none of a reference.
    pub(super) incarnation: Option<u32>,
}

/// Tasks that wait for the same name; more have to ask again.
const MAX_WAITERS: usize = 64;

/// Messages that are handled before what the machines put out has its turn.
const MESSAGES_PER_ROUND: usize = 64;

/// Rounds after which whoever handles messages goes back to its own work.
const ROUNDS: usize = 16;

/// Updates that are sent at once, bytes.
const UPDATES: usize = 50 * Lsu::LEN;

/// Who the member is in the layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) address: Address,
    /// It may have had the address in an earlier life.
    pub(super) kept: bool,
    /// When this life began, seconds since 1970: its links are numbered above those of the earlier one.
    pub(super) since: u32,
    /// N-1 flows that it may have.
    pub(super) max_connections: usize,
}

impl Identity {
    pub(super) fn new(address: Address, config: &Config, clock: &dyn Clock) -> Self {
        let since = u32::try_from(clock.unix_nanos() / 1_000_000_000).unwrap_or(1);
        let kept = config.address == Some(address);
        Self { address, kept, since, max_connections: config.max_connections }
    }
}

/// The machines.
pub(super) struct Control {
    routing: LinkState,
    directory: Directory,
    /// Who waits for a name.
    waiting: BTreeMap<NameHash, Vec<Waker>>,
    /// Looks for others who have our address.
    watch: Watch,
    /// Bytes of a packet of updates that all management flows take.
    most: usize,
}

impl Control {
    pub(super) fn new(
        now: Instant,
        identity: Identity,
        layer: &LayerConfig,
        parameters: &Parameters,
        rng: &mut Rng,
    ) -> Self {
        let Identity { address, kept, since, max_connections } = identity;
        let mut routing = routing::Config::new(address);
        routing.timers = parameters.routing;
        routing.incarnation = since;
        routing.max_management = max_connections;
        let directory = directory::Config::new(address, layer.hash, parameters.directory);
        Self {
            routing: LinkState::new(routing, rng.split("routing")),
            directory: Directory::new(now, directory, rng.split("directory")),
            waiting: BTreeMap::new(),
            most: UPDATES,
            watch: if kept { Watch::kept(address) } else { Watch::new(address) },
        }
    }
}

impl Control {
    /// The next packet of updates to send, and the management flow to send it on.
    fn poll_updates(&mut self, now: Instant) -> Option<(N1FlowId, Vec<u8>)> {
        let (to, updates) = self.routing.poll_packet(now, self.most)?;
        let (own, said) = (self.routing.address(), updates.chunks_exact(Lsu::LEN));
        for Lsu { dst, seqno, .. } in said.filter_map(|update| Lsu::parse(update).ok()).filter(|lsu| lsu.src == own) {
            self.watch.announcing(dst, seqno);
        }
        Some((to, updates))
    }

    /// A packet of updates has come. `true` if somebody else has our address.
    fn receive_updates(&mut self, now: Instant, from: N1FlowId, updates: &[u8]) -> bool {
        let said = updates.chunks_exact(Lsu::LEN).filter_map(|update| Lsu::parse(update).ok());
        let conflicts = said.filter_map(|update| self.watch.heard(&update)).count();
        self.routing.receive(now, from, updates);
        conflicts > 0
    }
}

/// Something that a machine has put out.
enum Output {
    LinkState(N1FlowId, Vec<u8>),
    Directory(Address, Vec<u8>),
    Routes,
    Wake(Vec<Waker>),
}

impl Unicast {
    fn unix_secs(&self) -> u64 {
        self.clock.unix_nanos() / 1_000_000_000
    }

    // ----- inputs -----

    /// Keeps a message for the control plane. `false` if it was dropped.
    pub(super) fn keep(&self, from: N1FlowId, punt: Punt) -> bool {
        let class = match &punt {
            Punt::FlowAllocator(pkt) if fa::is_request(pkt) => Class::Requests,
            Punt::FlowAllocator(_) => Class::Flows,
            Punt::Directory(_) => Class::Directory,
            Punt::LinkState(..) => Class::LinkState,
        };
        let (gave_way, kept) = {
            let mut inbox = self.inbox.lock();
            (inbox.make_room(class, from), inbox.push(class, from, punt))
        };
        if !kept || gave_way.is_some() {
            count(&self.counters.inbox_full);
        }
        kept
    }

    /// The forwarding table follows when the machines have their turn.
    pub(super) fn adjacency_new(&self, now: Instant, id: N1FlowId, peer: Address) {
        self.control.lock().routing.adjacency_up(now, id, peer);
    }

    /// As [`adjacency_new`](Self::adjacency_new). Nothing is sent over one that is not up, whatever the table says.
    pub(super) fn adjacency_gone(&self, now: Instant, id: N1FlowId) {
        self.control.lock().routing.adjacency_down(now, id);
    }

    /// The links that these adjacencies carry are taken back.
    pub(super) fn take_back_links(&self, now: Instant, adjacencies: &[N1FlowId]) {
        let mut control = self.control.lock();
        adjacencies.iter().for_each(|id| control.routing.adjacency_down(now, *id));
    }

    pub(super) fn management_new(&self, now: Instant, id: N1FlowId, peer: Address, dialect: Dialect, most: usize) {
        let mut control = self.control.lock();
        control.most = control.most.min(most);
        control.routing.management_up(now, id, peer, dialect);
    }

    pub(super) fn management_gone(&self, now: Instant, id: N1FlowId) {
        self.control.lock().routing.management_down(now, id);
    }

    /// Forgets everything about the layer but our names, and goes on under another address.
    pub(super) fn begin_anew(&self, now: Instant, address: Address, mut rng: Rng) {
        let unix = self.unix_secs();
        let names: Vec<_> = self.names.lock().iter().copied().collect();
        let identity = Identity::new(address, &self.config, &*self.clock);
        let mut fresh = Control::new(now, identity, &self.layer, &self.unicast, &mut rng);
        for name in names {
            // They were accepted before, under the same limits.
            let _ = fresh.directory.register(now, unix, name);
        }
        let waiting = {
            let mut control = self.control.lock();
            core::mem::swap(&mut *control, &mut fresh);
            fresh.waiting
        };
        self.panics.wake_all(waiting.into_values().flatten());
        self.publish_table();
    }

    /// Whether routing knows of a member with this address.
    pub(super) fn knows(&self, address: Address) -> bool {
        self.control.lock().routing.knows(address)
    }

    pub(super) fn publish(&self, now: Instant, hash: NameHash) -> Result<(), RegisterError> {
        let unix = self.unix_secs();
        self.control.lock().directory.register(now, unix, hash).map_err(|e| match e {
            directory::RegisterError::Full(limit) => RegisterError::Full(limit),
            // The stack hashes with the algorithm that we say.
            _ => RegisterError::Down,
        })
    }

    pub(super) fn withdraw(&self, now: Instant, hash: &NameHash) {
        self.control.lock().directory.unregister(now, hash);
    }

    /// Takes all names back, while there is a way to those who were told of them.
    pub(super) fn withdraw_all(&self, now: Instant) {
        let names: Vec<NameHash> = self.control.lock().directory.names().map(|(name, _)| name).collect();
        for name in names {
            self.withdraw(now, &name);
            // One after the other: the directory's outbox has a bound.
            self.handle_control(now);
        }
    }

    /// A name was not found at a member that is said to have it.
    pub(super) fn doubt_name(&self, now: Instant, hash: &NameHash, at: Address, why: Doubt) {
        self.control.lock().directory.doubt(now, hash, at, why);
    }

    /// Where a name is. If that has to be found out, `waker` is woken when it is known.
    pub(super) fn find(&self, now: Instant, hash: &NameHash, waker: &Waker) -> directory::Found {
        let unix = self.unix_secs();
        // Made and dropped where no lock is held: a waker is code of others.
        let mut kept = Some(waker.clone());
        let found = {
            let mut control = self.control.lock();
            let found = control.directory.lookup(now, unix, *hash);
            if found == directory::Found::Pending {
                let waiting = control.waiting.entry(*hash).or_default();
                let known = |w: &&mut Waker| waiting.len() >= MAX_WAITERS || waiting.iter().any(|o| o.will_wake(w));
                let fresh = kept.as_mut().filter(|w| !known(w)).is_some();
                waiting.extend(if fresh { kept.take() } else { None });
            }
            found
        };
        self.panics.discard(kept);
        found
    }

    /// Wakes everybody who waits for a name, to see that there will be no answer.
    pub(super) fn wake_lookups(&self) {
        let waiting = core::mem::take(&mut self.control.lock().waiting);
        self.panics.wake_all(waiting.into_values().flatten());
    }

    /// Has the machines do what is due.
    pub(super) fn control_timeouts(&self, now: Instant) {
        let unix = self.unix_secs();
        let mut control = self.control.lock();
        if control.routing.next_timeout().is_some_and(|at| at <= now) {
            control.routing.handle_timeout(now);
        }
        if control.directory.next_timeout().is_some_and(|at| at <= now) {
            control.directory.handle_timeout(now, unix);
        }
    }

    // ----- the work -----

    /// Handles what is in the inbox and passes on what the machines put out, unless somebody is doing so, who then sees
    /// what has come meanwhile. Whoever has done enough leaves the rest to the next, or to the alarm: a flood over one
    /// N-1 flow does not keep the thread of another from its packets.
    pub(super) fn handle_control(&self, now: Instant) {
        self.pending.store(true, Ordering::SeqCst);
        let mut rounds = ROUNDS;
        while self.pending.load(Ordering::SeqCst) && !self.handling.swap(true, Ordering::SeqCst) {
            while rounds > 0 && self.pending.swap(false, Ordering::SeqCst) {
                if !self.work(now) {
                    self.pending.store(true, Ordering::SeqCst);
                    rounds -= 1;
                }
            }
            self.handling.store(false, Ordering::SeqCst);
            if rounds == 0 {
                return self.alarm.set(now);
            }
        }
    }

    /// One round: a part of the inbox, and then everything that the machines put out, which also has its turn while the
    /// inbox never becomes empty. `false` if there may be more in the inbox.
    fn work(&self, now: Instant) -> bool {
        for _ in 0..MESSAGES_PER_ROUND {
            let next = self.inbox.lock().pop();
            let Some(punt) = next else {
                while self.pass_on(now) {}
                return self.inbox.lock().is_empty();
            };
            self.handle_punt(now, punt);
        }
        while self.pass_on(now) {}
        false
    }

    fn handle_punt(&self, now: Instant, punt: Punt) {
        let pkt = match punt {
            Punt::FlowAllocator(pkt) => {
                self.handle_fa(now, &pkt);
                pkt
            }
            Punt::Directory(pkt) => {
                let unix = self.unix_secs();
                self.control.lock().directory.receive(now, unix, &pkt);
                pkt
            }
            Punt::LinkState(id, pkt) => {
                let conflict = self.control.lock().receive_updates(now, id, &pkt);
                if conflict {
                    self.address_conflict(now);
                }
                pkt
            }
        };
        self.cache.lock().put(pkt);
    }

    /// Passes on one thing that a machine has put out; `false` if there was none.
    fn pass_on(&self, now: Instant) -> bool {
        let (output, next) = {
            let mut control = self.control.lock();
            let control = &mut *control;
            let output = if control.routing.poll_routes(now).is_some() {
                control.directory.route_known(now);
                // Neighbours who can be asked now: the directory hangs together like the layer.
                for peer in self.adjacencies.read().values().map(|a| a.peer) {
                    control.directory.suggest(now, peer);
                }
                Some(Output::Routes)
            } else if let Some((to, updates)) = control.poll_updates(now) {
                Some(Output::LinkState(to, updates))
            } else if let Some((to, message)) = control.directory.poll_transmit() {
                Some(Output::Directory(to, message))
            } else if let Some(event) = control.directory.poll_event() {
                let directory::Event::LookupDone { hash, effort, .. } = event;
                count(&self.counters.lookups);
                self.counters.lookup_rounds.fetch_add(effort.rounds.into(), Ordering::Relaxed);
                self.counters.lookup_questions.fetch_add(effort.questions.into(), Ordering::Relaxed);
                Some(Output::Wake(control.waiting.remove(&hash).unwrap_or_default()))
            } else {
                None
            };
            let next = [control.routing.next_timeout(), control.directory.next_timeout()];
            (output, next.into_iter().flatten().min())
        };
        if let (None, Some(at)) = (&output, next) {
            self.alarm.set(at);
        }
        match output {
            None => return false,
            Some(Output::Routes) => self.publish_table(),
            Some(Output::LinkState(to, updates)) => self.send_link_state(to, &updates),
            Some(Output::Directory(to, message)) => {
                if !self.originate_message(now, to, DIRECTORY, &message) {
                    self.control.lock().directory.unreachable(now, to);
                }
            }
            Some(Output::Wake(wakers)) => self.panics.wake_all(wakers),
        }
        true
    }

    fn send_link_state(&self, to: N1FlowId, updates: &[u8]) {
        let endpoint = self.managements.read().get(&to).map(|m| Arc::clone(&m.endpoint));
        if let Some(endpoint) = endpoint {
            // What cannot be sent is lost, as on the way: it will be repeated.
            let _ = endpoint.write(updates);
        }
    }

    /// Makes the forwarding table that routes and adjacencies say.
    fn publish_table(&self) {
        if self.is_down() {
            // The last one serves for those packets that are on their way here.
            return;
        }
        let _one_at_a_time = self.publishing.lock();
        let routes = Arc::clone(self.control.lock().routing.routes());
        let table = {
            let adjacencies = self.adjacencies.read();
            let mut by_peer: BTreeMap<Address, Vec<_>> = BTreeMap::new();
            for adjacency in adjacencies.values() {
                by_peer.entry(adjacency.peer).or_default().push(Arc::clone(adjacency));
            }
            ForwardingTable::new(&routes, self.salt, |peer| by_peer.get(&peer).cloned().unwrap_or_default())
        };
        let before = core::mem::replace(&mut *self.table.write(), Arc::new(table));
        drop(before);
        count(&self.counters.tables);
    }

    /// Looks at the machines, for the RIB.
    pub(super) fn with_machines<R>(&self, look: impl FnOnce(&LinkState, &Directory) -> R) -> R {
        let control = self.control.lock();
        look(&control.routing, &control.directory)
    }
}
