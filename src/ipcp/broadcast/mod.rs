//! The broadcast layer: what one sends, all others receive.
//!
//! A [`Broadcast`] is one member. It has no names and no flows between two: a program [joins](crate::ipcp::Ipcp::join)
//! the layer at the member in its own stack, and what it writes goes to all programs that have joined anywhere in it.
//!
//! | | |
//! |---|---|
//! | members | enroll like those of a unicast layer, and are connected over N-1 flows for data transfer; there is no management |
//! | on the wire | packets as they were written: no header, no address, no number |
//! | delivery | to all members but the sender; lost packets stay lost, and what a program has no room for is dropped |
//! | size | up to [`MAX_PACKET`] bytes, less if the layer below an N-1 flow takes less |
//!
//! # Neighbours that vanish
//!
//! An empty packet, which is a keepalive on any flow, makes a broadcast IPCP of the C reference wait on that flow and
//! neglect all others. So N-1 flows are allocated without keepalives, unless something else is asked for. Two members
//! of our kind announce [`KEEPALIVES`] to each other, a version that the reference ignores, and send them all the same:
//! a neighbour that is silent for [`NEIGHBOUR_TIMEOUT`] is given up, and connected again by the side that had connected
//! it.
//!
//! The members pass on what they get from one to all others, see [`flood`]. The connections are meant to be a tree;
//! what happens if they are not is said there.

mod config;
mod digest;
pub mod flood;
mod member;
mod memory;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use core::time::Duration;

use smallvec::SmallVec;

use self::flood::{Flood, Port as Side};
use super::{Connections, Info, Kind};
use crate::base::buf::{BufPool, PacketBuf};
use crate::base::counter::counters;
use crate::base::rng::Rng;
use crate::base::sync::{AtomicU64, Mutex, RwLock};
use crate::base::time::{Clock, Instant};
use crate::flow::{Endpoint, Outgoing, Sink};
use crate::types::id::N1FlowId;
use crate::types::layer::LayerConfig;
use crate::types::tree::Tree;

/// The largest packet, bytes: the C reference reads 1400, and takes a packet of just that for the first part of a longer
/// one.
pub const MAX_PACKET: usize = 1399;

/// The further version of data transfer of members that accept keepalives.
pub const KEEPALIVES: i32 = 1;
/// Longest silence of a neighbour that speaks this version, milliseconds.
pub const NEIGHBOUR_TIMEOUT: u32 = 10_000;

/// Flows to neighbours are asked at most so often how large packets they carry.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Components and settings of a new member.
pub struct Parts {
    /// The IPCP's own name.
    pub name: String,
    /// Configuration of the layer, common to all members: its name and kind.
    pub layer: LayerConfig,
    /// Bounds.
    pub config: flood::Config,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// Pool of packet buffers.
    pub pool: Arc<BufPool>,
    /// Randomness.
    pub rng: Rng,
    /// Manager of N-1 flows, told of those that are lost.
    pub connections: Weak<dyn Connections>,
}

/// A member of a broadcast layer.
pub struct Broadcast {
    me: Weak<Self>,
    info: Info,
    layer: LayerConfig,
    clock: Arc<dyn Clock>,
    connections: Weak<dyn Connections>,
    sink: Arc<dyn Sink>,
    flood: Mutex<Flood>,
    /// Our ends of all N-1 flows, and of the flows of programs.
    ports: RwLock<BTreeMap<N1FlowId, (Side, Arc<Endpoint>)>>,
    next: AtomicU32,
    /// Bytes of a packet that the flows to all neighbours carry.
    mtu: AtomicUsize,
    /// When they were last asked, nanoseconds.
    looked: AtomicU64,
    pool: Arc<BufPool>,
    down: AtomicBool,
    counters: Counters,
}

counters! {
    /// Counters besides those of the flood.
    struct Counters {
        /// Packets that a neighbour's flow had no room for, or was too small for.
        not_sent => "not_sent",
        /// N-1 flows that were lost.
        lost => "lost_connections",
    }
}

impl Broadcast {
    /// A member without neighbours.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { name, layer, config, clock, pool, mut rng, connections } = parts;
        let mut info = Info::new(Kind::Broadcast, &name, layer.name.as_str());
        info.hash = layer.hash;
        Arc::new_cyclic(|me: &Weak<Self>| Self {
            me: Weak::clone(me),
            info,
            layer,
            clock,
            connections,
            sink: member::sink(me),
            flood: Mutex::new(Flood::new(config, &mut rng)),
            ports: RwLock::new(BTreeMap::new()),
            next: AtomicU32::new(0),
            mtu: AtomicUsize::new(MAX_PACKET),
            looked: AtomicU64::new(0),
            pool,
            down: AtomicBool::new(false),
            counters: Counters::default(),
        })
    }

    /// Passes packets on that came from one port, and leaves those behind whose memory can be used again.
    fn spread(&self, now: Instant, from: N1FlowId, pkts: &mut VecDeque<PacketBuf>) {
        for pkt in pkts.iter() {
            self.spread_one(now, from, pkt);
        }
    }

    fn spread_one(&self, now: Instant, from: N1FlowId, pkt: &PacketBuf) {
        let decided = self.flood.lock().forward(now, from, pkt).map(|others| others.collect::<SmallVec<[_; 16]>>());
        let Ok(others) = decided else { return };
        for other in others {
            let port = self.ports.read().get(&other).cloned();
            // No lock is held: what is sent may come back this way before the call does.
            match port {
                Some((Side::Application, endpoint)) => endpoint.handle_packets(now, [self.copy(pkt)]),
                Some((Side::Neighbour, endpoint)) => self.send(now, &endpoint, pkt),
                None => {}
            }
        }
    }

    /// Sends a packet to a neighbour, or drops it: a slow neighbour must not hold up the others.
    fn send(&self, now: Instant, neighbour: &Endpoint, pkt: &PacketBuf) {
        let mut out = Outgoing::new();
        let most = neighbour.carries();
        if most < self.mtu.load(Ordering::Relaxed) {
            // Its device takes less than it did.
            self.note_mtu();
        }
        let sent = pkt.len() <= most && {
            out.push(self.copy(pkt));
            neighbour.note_passed_on();
            neighbour.send_packets(now, &mut out).is_ok() && out.is_empty()
        };
        if !sent {
            self.counters.not_sent.count();
            self.pool.put_all(out);
        }
    }

    fn copy(&self, pkt: &PacketBuf) -> PacketBuf {
        let mut copy = self.pool.take(pkt.len());
        // The room was just asked for.
        let _ = copy.extend_from_slice(pkt);
        copy
    }

    /// Takes a port in.
    fn add(&self, now: Instant, side: Side, endpoint: &Arc<Endpoint>) -> Result<N1FlowId, flood::Full> {
        let id = N1FlowId(self.next.fetch_add(1, Ordering::Relaxed));
        // Before it can be found, so that nothing is sent to a port that is not there.
        self.ports.write().insert(id, (side, Arc::clone(endpoint)));
        let added = self.flood.lock().add(now, id, side);
        if added.is_err() {
            self.ports.write().remove(&id);
        }
        self.note_mtu();
        added.map(|()| id)
    }

    /// Forgets a port.
    fn remove(&self, id: N1FlowId) -> Option<Arc<Endpoint>> {
        self.flood.lock().remove(id);
        let removed = self.ports.write().remove(&id);
        self.note_mtu();
        removed.map(|(_, endpoint)| endpoint)
    }

    /// Bytes that a packet may have. The neighbours' flows are asked once in a while.
    fn mtu(&self) -> usize {
        let (now, last) = (self.clock.now(), Instant::from_nanos(self.looked.load(Ordering::Relaxed)));
        if now.since(last) >= LOOK_EVERY {
            self.looked.store(now.as_nanos(), Ordering::Relaxed);
            self.note_mtu();
        }
        self.mtu.load(Ordering::Relaxed)
    }

    /// What a reliable flow finds out about its path does not count: a neighbour that acknowledges only what is small would
    /// decide for all. What is larger goes in pieces there.
    fn note_mtu(&self) {
        let neighbours: SmallVec<[_; 16]> = self.ports.read().values().filter_map(neighbour).collect();
        let mtu = neighbours.iter().map(|endpoint| endpoint.carries()).fold(MAX_PACKET, usize::min);
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    fn tree(&self) -> Tree {
        Tree::item("ipcp", &*self.info.name)
            .counters(self.counters.rows())
            .gauge("max_packet", self.mtu() as u64)
            .with(self.flood.lock().rib())
    }
}

/// The end of an N-1 flow, if it is one.
fn neighbour((side, endpoint): &(Side, Arc<Endpoint>)) -> Option<Arc<Endpoint>> {
    (*side == Side::Neighbour).then(|| Arc::clone(endpoint))
}
