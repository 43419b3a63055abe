//! The unicast layer: flows between any two members of a network of our own, on top of flows of any layer.
//!
//! A [`Unicast`] is one member. Its neighbours are those with whom it has N-1 flows, of which one kind carries packets
//! (data transfer) and the other link state (management).
//!
//! | component | what it does |
//! |---|---|
//! | `dt` | data transfer: every packet's way through the IPCP ([header](crate::wire::dt)) |
//! | `adjacency` | the N-1 flows to neighbours, and what waits in front of them |
//! | `terms` | how soon a neighbour that is silent is missed, and which of its N-1 flows are of an earlier life |
//! | `fa` | the flow allocator: flows between members ([messages](crate::wire::fa)) |
//! | [`routing`](crate::routing) | link state: who is next to whom, and the shortest paths ([messages](crate::wire::link_state)) |
//! | [`pff`](crate::forward::pff) | the forwarding table: which neighbour is next on the way to a member |
//! | [`directory`](crate::directory) | the directory: at which members a name is ([messages](crate::wire::dht)) |
//! | [`ca`](crate::forward::ca) | congestion avoidance: how fast a flow may send |
//! | [`shape`](crate::forward::shape) | how fast a flow may send by its quality of service |
//! | [`sched`](crate::forward::sched) | which packet is next where several wait |
//! | `inbox` | messages of components that wait, with shares for all |
//! | `control` | what drives routing and directory, serially |
//!
//! The data path takes a packet from an N-1 flow to the next, or up to the flow that it is for, on the thread that has it.
//! Messages of components are put aside, in a queue with a bound, and handled one after the other by whoever finds that
//! nobody is doing so; nothing calls out under a lock.

mod control;
mod dt;
mod fa;
mod member;
mod rib;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use core::task::Waker;
use core::time::Duration;

use self::control::inbox::Inbox;
use self::control::terms::Doubts;
use self::control::{Control, Identity, Management};
use self::dt::adjacency::Adjacency;
use self::fa::FaFlow;
use super::{
    Alarm, Attempt, Connections, Doubt, Info, Ipcp, Kind, Location, Lookup, RegisterError, Request, RequestError,
    Requests,
};
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::foreign::Panics;
use crate::base::ids::IdTable;
use crate::base::rng::Rng;
use crate::base::sync::{AtomicU64, Mutex, RwLock};
use crate::base::time::{Clock, Instant};
use crate::base::timers::{TimerId, Timers};
use crate::directory::Found;
use crate::flow::{Drive, Outgoing, Sink};
use crate::forward::pff::ForwardingTable;
use crate::forward::sched::Limits;
use crate::types::id::{Address, Eid, N1FlowId};
use crate::types::layer::{self, LayerConfig};
use crate::types::name::NameHash;
use crate::types::tree::Tree;
use crate::wire::dt::LayerSizes;

/// Bounds of a member of a unicast layer, which are its own business.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Flows that begin or end here, requests under way included. Default 65 536, at most 2²⁰.
    pub max_flows: usize,
    /// N-1 flows. Default 4096.
    pub max_connections: usize,
    /// Messages of components that wait to be handled; more are dropped. Link state, requests for flows, what else
    /// concerns flows, and the directory have a quarter each, of which no N-1 flow may fill more than an eighth. Default
    /// 4096.
    pub inbox: usize,
    /// Packets of a flow that wait for their turn to be sent; more are dropped. Default 256.
    pub flow_queue: usize,
    /// Packets that wait in front of each N-1 flow, by cube.
    pub queues: Limits,
    /// The address to have; a random one if not given. It is kept over restarts: what the layer remembers of an earlier
    /// life is contradicted. A new member takes another one all the same if somebody answers that.
    pub address: Option<Address>,
    /// How long a neighbour that is a member of this library may be silent before it is taken for gone, and packets go
    /// around it. Both ends hold to the longer one of what they say, to no less than four times what it took to allocate
    /// the N-1 flow, and to no more than the flow's [timeout](crate::QosSpec::timeout). Eight keepalives are sent in that
    /// time. A member says more the more neighbours it has when one is connected, so that its keepalives do not become as
    /// many more: with the default, 2000 a second for 500 N-1 flows, and less than four times as many for 4096. Zero: what
    /// the other end says counts, and if that is zero, too, only the flow's timeout, as with neighbours of the C reference.
    /// Default 2 s.
    pub detection: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_flows: 65_536,
            max_connections: 4096,
            inbox: 4096,
            flow_queue: 256,
            queues: Limits::default(),
            address: None,
            detection: Duration::from_secs(2),
        }
    }
}

/// What a member is built from.
pub struct Parts {
    /// The IPCP's own name.
    pub name: String,
    /// What all members of the layer agree on. The directory's first contact is the member that told us.
    pub layer: LayerConfig,
    /// What is special about a unicast layer; from `layer`.
    pub unicast: layer::Unicast,
    /// Our address.
    pub address: Address,
    /// Bounds.
    pub config: Config,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where packet buffers come from.
    pub pool: Arc<BufPool>,
    /// Randomness.
    pub rng: Rng,
    /// Where requests for flows go that arrive.
    pub requests: Weak<dyn Requests>,
    /// Who looks after N-1 flows that are lost.
    pub connections: Weak<dyn Connections>,
    /// Through which wakers are called.
    pub panics: Arc<Panics>,
    /// Makes the alarm that wakes the waker given.
    pub alarm: Box<dyn FnOnce(Waker) -> Arc<dyn Alarm>>,
}

/// A member of a unicast layer.
pub struct Unicast {
    me: Weak<Self>,
    info: Info,
    layer: LayerConfig,
    unicast: layer::Unicast,
    config: Config,
    /// Of the layer; changes if somebody else turns out to have it.
    address: AtomicU64,
    /// Of this life of the member: it tells a restart from another connection.
    incarnation: u32,
    /// From when on the member counts as settled, nanoseconds: before that it may take another address.
    settled: AtomicU64,
    sizes: LayerSizes,
    max_ttl: u8,
    clock: Arc<dyn Clock>,
    requests: Weak<dyn Requests>,
    connections: Weak<dyn Connections>,
    panics: Arc<Panics>,
    alarm: Arc<dyn Alarm>,
    sink: Arc<dyn Sink>,
    cache: Mutex<BufCache>,
    eids: Mutex<Rng>,
    table: RwLock<Arc<ForwardingTable<Arc<Adjacency>>>>,
    adjacencies: RwLock<BTreeMap<N1FlowId, Arc<Adjacency>>>,
    managements: RwLock<BTreeMap<N1FlowId, Management>>,
    next_n1: AtomicU32,
    /// Bytes of a packet that all adjacencies take.
    mtu: AtomicUsize,
    flows: IdTable<Arc<FaFlow>>,
    paced: Mutex<Timers<Eid>>,
    doubts: Mutex<Doubts>,
    /// Adjacencies in front of which packets wait.
    backlogged: Mutex<BTreeSet<N1FlowId>>,
    names: Mutex<BTreeSet<NameHash>>,
    control: Mutex<Control>,
    inbox: Mutex<Inbox<Punt>>,
    /// Whether somebody handles the inbox and the machines, and whether there is something to handle.
    handling: AtomicBool,
    pending: AtomicBool,
    publishing: Mutex<()>,
    salt: u64,
    /// The layer is being left, or was.
    down: AtomicBool,
    ended: AtomicBool,
    counters: Counters,
}

/// A message for the control plane.
enum Punt {
    FlowAllocator(PacketBuf),
    Directory(PacketBuf),
    LinkState(N1FlowId, PacketBuf),
}

#[derive(Default)]
struct Counters {
    short: AtomicU64,
    unknown_eid: AtomicU64,
    no_component: AtomicU64,
    no_route: AtomicU64,
    no_headroom: AtomicU64,
    inbox_full: AtomicU64,
    malformed: AtomicU64,
    requests_in: AtomicU64,
    requests_out: AtomicU64,
    requests_lost: AtomicU64,
    replies_in: AtomicU64,
    replies_unexpected: AtomicU64,
    updates_unexpected: AtomicU64,
    refused: AtomicU64,
    tables: AtomicU64,
    lost: AtomicU64,
    conflicts: AtomicU64,
    doubted: AtomicU64,
    lookups: AtomicU64,
    lookup_rounds: AtomicU64,
    lookup_questions: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A packet that N-1 flows of unknown size are hoped to take.
const MTU_WITHOUT_NEIGHBOURS: usize = 1400;

impl Unicast {
    /// A member without neighbours.
    ///
    /// # Errors
    /// [`WireError`](crate::wire::WireError) if addresses cannot have the size that the layer has for them.
    pub fn new(parts: Parts) -> Result<Arc<Self>, crate::wire::WireError> {
        let sizes = LayerSizes::of(&parts.unicast)?;
        let now = parts.clock.now();
        let mut info = Info::new(Kind::Unicast, &parts.name, parts.layer.name.as_str());
        info.hash = parts.layer.hash;
        let mut rng = parts.rng;
        let eids = rng.split("eids");
        let salt = rng.u64();
        let incarnation = rng.split("incarnation").u32() >> 1;
        let identity = Identity::new(parts.address, &parts.config, &*parts.clock);
        let control = Control::new(now, identity, &parts.layer, &parts.unicast, &mut rng);
        let (layer, unicast) = (parts.layer, parts.unicast);
        Ok(Arc::new_cyclic(|me: &Weak<Self>| Self {
            alarm: (parts.alarm)(member::ring(me)),
            sink: member::sink(me),
            me: Weak::clone(me),
            info,
            layer,
            unicast,
            address: AtomicU64::new(parts.address.0),
            incarnation,
            settled: AtomicU64::new(u64::MAX),
            sizes,
            max_ttl: unicast.max_ttl,
            clock: parts.clock,
            requests: parts.requests,
            connections: parts.connections,
            panics: parts.panics,
            cache: Mutex::new(BufCache::new(&parts.pool)),
            eids: Mutex::new(eids),
            table: RwLock::new(Arc::new(ForwardingTable::default())),
            adjacencies: RwLock::new(BTreeMap::new()),
            managements: RwLock::new(BTreeMap::new()),
            next_n1: AtomicU32::new(0),
            mtu: AtomicUsize::new(MTU_WITHOUT_NEIGHBOURS),
            flows: IdTable::new(parts.config.max_flows.min(1 << 20)),
            paced: Mutex::new(Timers::default()),
            doubts: Mutex::new(Doubts::default()),
            backlogged: Mutex::new(BTreeSet::new()),
            names: Mutex::new(BTreeSet::new()),
            control: Mutex::new(control),
            inbox: Mutex::new(Inbox::new(parts.config.inbox)),
            handling: AtomicBool::new(false),
            pending: AtomicBool::new(false),
            publishing: Mutex::new(()),
            salt,
            down: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            counters: Counters::default(),
            config: parts.config,
        }))
    }

    /// Our address in the layer.
    pub fn address(&self) -> Address {
        Address(self.address.load(Ordering::Acquire))
    }

    /// What all members of the layer agree on.
    pub fn layer(&self) -> &LayerConfig {
        &self.layer
    }

    /// The neighbours to whom packets go, one for each adjacency.
    pub fn neighbours(&self) -> Vec<(N1FlowId, Address)> {
        self.adjacencies.read().values().map(|a| (a.id, a.peer)).collect()
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    fn table(&self) -> Arc<ForwardingTable<Arc<Adjacency>>> {
        Arc::clone(&self.table.read())
    }

    /// Whether somebody else in the layer can have this address.
    fn is_peer_address(&self, address: Address) -> bool {
        let bits = 8 * self.sizes.addr() as u32;
        address.0 != 0 && address != self.address() && (bits >= 64 || address.0 >> bits == 0)
    }

    /// Has a flow looked after when its next packet may go, instead of when `timer` says so far.
    fn pace_flow(&self, at: Instant, eid: Eid, timer: &mut Option<TimerId>) {
        {
            let mut paced = self.paced.lock();
            if let Some(before) = timer.take() {
                paced.cancel(before);
            }
            *timer = Some(paced.arm(at, eid));
        }
        self.alarm.set(at);
    }

    /// Sends what flows were not allowed to send earlier.
    fn release_paced(&self, now: Instant) {
        loop {
            let due = self.paced.lock().pop_due(now);
            let Some((_, eid)) = due else { break };
            if let Some(flow) = self.flow(eid) {
                flow.release_due(now, self);
            }
        }
        let next = self.paced.lock().next();
        if let Some(at) = next {
            self.alarm.set(at);
        }
    }

    /// Sends what waits in front of N-1 flows, as far as they have room again.
    fn release_queued(&self, now: Instant) {
        let waiting = core::mem::take(&mut *self.backlogged.lock());
        for id in waiting {
            let adjacency = self.adjacencies.read().get(&id).cloned();
            if let Some(adjacency) = adjacency {
                adjacency.look(now, self);
            }
        }
    }

    /// Has an adjacency in front of which packets wait looked after.
    fn look_again(&self, at: Instant, id: N1FlowId) {
        self.backlogged.lock().insert(id);
        self.alarm.set(at);
    }

    fn recycle(&self, pkts: &mut Outgoing) {
        let mut cache = self.cache.lock();
        pkts.drain(..).for_each(|pkt| cache.put(pkt));
    }
}

impl Ipcp for Unicast {
    fn info(&self) -> &Info {
        &self.info
    }

    fn register(&self, now: Instant, hash: NameHash) -> Result<(), RegisterError> {
        if self.is_down() {
            return Err(RegisterError::Down);
        }
        self.publish(now, hash)?;
        self.names.lock().insert(hash);
        self.handle_control(now);
        Ok(())
    }

    fn unregister(&self, now: Instant, hash: &NameHash) {
        self.names.lock().remove(hash);
        self.withdraw(now, hash);
        self.handle_control(now);
    }

    fn lookup(&self, now: Instant, hash: &NameHash, waker: &Waker) -> Lookup {
        if self.is_down() {
            return Lookup::Unknown;
        }
        let found = self.find(now, hash, waker);
        self.handle_control(now);
        match found {
            Found::Known(addresses) => Lookup::Known(addresses.into_iter().map(Location::Member).collect()),
            Found::Pending => Lookup::Pending,
            Found::Unknown => Lookup::Unknown,
        }
    }

    fn doubt(&self, now: Instant, hash: &NameHash, at: Location, why: Doubt) {
        if let Location::Member(at) = at {
            self.doubt_name(now, hash, at, why);
            self.handle_control(now);
        }
    }

    fn request(&self, now: Instant, request: Request<'_>) -> Result<Box<dyn Attempt>, RequestError> {
        self.request_flow(now, request)
    }

    fn device(&self) -> Option<Arc<dyn Drive>> {
        self.adjacencies.read().values().find_map(|a| a.endpoint.device())
    }

    fn retire(&self, now: Instant) -> Option<Instant> {
        self.begin_to_leave(now)
    }

    fn shutdown(&self, now: Instant) {
        self.end(now);
    }

    fn rib(&self, now: Instant) -> Tree {
        self.tree(now)
    }
}
