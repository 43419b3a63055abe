//! Data transfer: every packet of the layer passes here, on the thread that has it.
//!
//! A packet from an N-1 flow is in transit, and then goes on to the next hop with two bytes of its header changed; or
//! for a flow that ends here, and goes up; or for a component of this IPCP, and waits for the control plane. Nothing is
//! copied or allocated, and no lock is taken that all flows share: the forwarding table is fetched once for all packets
//! that came together, as are the locks of a flow for those that follow each other in it.
//!
//! A packet shorter than its header, with a time to live that has run out, without a route, for an unknown flow or
//! component, is dropped and counted; its sender is not told, because the header does not name it.

pub(super) mod adjacency;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use self::adjacency::{Adjacency, ServiceList, cube_of};
use super::shared::{Shared, order};
use crate::base::buf::PacketBuf;
use crate::base::counter::counters;
use crate::base::journal::record;
use crate::base::sync::{AtomicU64, Ordered, RwLock};
use crate::base::time::Instant;
use crate::directory;
use crate::flow::{BURST, Drive, MemberKey, Outgoing};
use crate::forward::pff::ForwardingTable;
use crate::ipcp::Connection;
use crate::types::id::{Address, Eid, N1FlowId};
use crate::types::qos::QosCube;
use crate::types::routes::Routes;
use crate::wire::dt::{DIRECTORY, FLOW_ALLOCATOR, HeaderMut, LayerSizes, Pci};

/// Assumed limit of packets while there are no adjacencies, bytes.
const MTU_WITHOUT_NEIGHBOURS: usize = 1400;
/// An adjacency that carries less says nothing about what goes over others, bytes: whoever may connect over one narrow device
/// would decide over all. A path of IPv6 has 1280 at least, of which this much is left by IP, UDP, and a few layers with
/// encryption. What carries more may carry flows of each other at any time, when routes change; so all have its packets.
const NARROW: usize = 1024;
/// N-1 flows are asked at most so often how large packets they carry.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Destinations of the layer's packets in this member.
pub(super) trait Above {
    /// A flow.
    type Flow: Up;

    /// The flow that ends here under `eid`, all of which counts.
    fn flow(&self, eid: Eid) -> Option<Arc<Self::Flow>>;

    /// Keeps a packet that `from` has brought for the component `eid`. `false` if it was dropped.
    fn keep(&self, from: N1FlowId, eid: Eid, pkt: PacketBuf) -> bool;
}

/// A flow that ends here.
pub(super) trait Up {
    /// Takes packets, each with the congestion that it has met.
    fn handle_packets(&self, now: Instant, pkts: &mut Outgoing, ecn: &[u8]);
}

counters! {
    /// Packets that were dropped.
    pub(super) struct Counters {
        /// Packets dropped: shorter than their header.
        short => "short",
        /// Packets dropped: for a flow that does not exist.
        unknown_eid => "unknown_eid",
        /// Packets dropped: for a component that does not exist.
        no_component => "no_component",
        /// Packets of this member dropped: no route.
        no_route => "no_route",
        /// Packets of this member dropped: more layers than there is head room for.
        no_headroom => "no_headroom",
    }
}

type Table = ForwardingTable<Arc<Adjacency>>;

/// The data path of a member: its adjacencies and the forwarding table over them.
pub(super) struct DataPath {
    shared: Arc<Shared>,
    sizes: LayerSizes,
    max_ttl: u8,
    adjacencies: Ordered<RwLock<BTreeMap<N1FlowId, Arc<Adjacency>>>, { order::ADJACENCIES }>,
    table: Ordered<RwLock<Arc<Table>>, { order::TABLE }>,
    /// Salt of the table, which decides over the places of addresses in it.
    salt: u64,
    /// Adjacencies in front of which packets wait.
    waiting: Arc<ServiceList>,
    /// Bytes of a packet that all adjacencies carry, but for narrow ones if there are others.
    mtu: AtomicUsize,
    /// Bytes of a packet that all of them carry.
    least: AtomicUsize,
    /// Bytes that a message about a name may have.
    for_names: usize,
    /// When they were last asked, nanoseconds.
    looked: AtomicU64,
    pub(super) counters: Counters,
}

/// Packets of one next hop and cube that follow each other.
#[derive(Default)]
struct Onward {
    to: Option<(Arc<Adjacency>, QosCube)>,
    pkts: Outgoing,
}

impl Onward {
    fn flush(&mut self, now: Instant) {
        if let Some((to, cube)) = &self.to
            && !self.pkts.is_empty()
        {
            to.send(now, *cube, &mut self.pkts);
        }
    }

    /// Sends what there is, and what the device may have held back to send in one go: for packets in transit there is
    /// no reader or writer that would have it sent.
    fn finish(&mut self, now: Instant) {
        self.flush(now);
        if let Some((to, _)) = self.to.take() {
            to.endpoint.note_passed_on();
            to.endpoint.flush();
        }
    }

    fn push(&mut self, now: Instant, to: &Arc<Adjacency>, cube: QosCube, pkt: PacketBuf) {
        let same = self.to.as_ref().is_some_and(|(t, c)| Arc::ptr_eq(t, to) && *c == cube);
        if !same {
            self.finish(now);
        } else if self.pkts.len() >= BURST {
            self.flush(now);
        }
        if !same {
            self.to = Some((Arc::clone(to), cube));
        }
        self.pkts.push(pkt);
    }
}

/// Packets of one flow that follow each other, and the congestion that each has met.
struct Upward<F> {
    to: Option<(Eid, Arc<F>)>,
    pkts: Outgoing,
    ecn: [u8; BURST],
}

impl<F: Up> Upward<F> {
    fn flush(&mut self, now: Instant) {
        if let Some((_, flow)) = &self.to
            && !self.pkts.is_empty()
        {
            let ecn = self.ecn.get(..self.pkts.len()).unwrap_or_default();
            flow.handle_packets(now, &mut self.pkts, ecn);
        }
    }

    /// Collects packets of `eid` from now on, if there is such a flow.
    fn turn_to(&mut self, now: Instant, eid: Eid, above: &impl Above<Flow = F>) -> bool {
        let Some(flow) = above.flow(eid) else { return false };
        self.flush(now);
        self.to = Some((eid, flow));
        true
    }

    /// Returns `true` if packets of `eid` are being collected.
    fn is_for(&self, eid: Eid) -> bool {
        self.to.as_ref().is_some_and(|(e, _)| *e == eid)
    }

    fn push(&mut self, now: Instant, ecn: u8, pkt: PacketBuf) {
        if self.pkts.len() >= BURST {
            self.flush(now);
        }
        if let Some(slot) = self.ecn.get_mut(self.pkts.len()) {
            *slot = ecn;
        }
        self.pkts.push(pkt);
    }
}

impl DataPath {
    /// Makes a data path without adjacencies. `salt` is a random number.
    pub(super) fn new(shared: &Arc<Shared>, salt: u64) -> Arc<Self> {
        Arc::new(Self {
            sizes: shared.sizes,
            max_ttl: shared.unicast.max_ttl,
            adjacencies: Ordered::default(),
            table: Ordered::default(),
            salt,
            waiting: ServiceList::new(&shared.alarm),
            mtu: AtomicUsize::new(MTU_WITHOUT_NEIGHBOURS),
            least: AtomicUsize::new(MTU_WITHOUT_NEIGHBOURS),
            for_names: directory::least_message(shared.layer.hash),
            looked: AtomicU64::new(0),
            counters: Counters::default(),
            shared: Arc::clone(shared),
        })
    }

    // ----- adjacencies and the table -----

    pub(super) fn add(&self, id: N1FlowId, connection: &Connection) {
        let adjacency = Adjacency::new(&self.shared, &self.waiting, id, connection);
        {
            let mut adjacencies = self.adjacencies.write();
            adjacencies.insert(id, Arc::clone(&adjacency));
            self.note_mtu(&adjacencies);
        }
        self.tell_size(&adjacency);
    }

    /// Returns `true` if the packets of an adjacency may go through another member, or this one. Ends, because no flow is taken
    /// over that stands on the member which it is for.
    pub(super) fn stand_on(&self, member: MemberKey) -> bool {
        let below: Vec<_> = self.adjacencies.read().values().cloned().collect();
        below.iter().any(|adjacency| adjacency.endpoint.stands_on(member))
    }

    /// Removes an adjacency. From now on no packet goes there, whatever the forwarding table says.
    pub(super) fn remove(&self, id: N1FlowId) -> Option<Arc<Adjacency>> {
        let adjacency = {
            let mut adjacencies = self.adjacencies.write();
            let adjacency = adjacencies.remove(&id)?;
            self.note_mtu(&adjacencies);
            adjacency
        };
        adjacency.set_up(false);
        adjacency.clear();
        Some(adjacency)
    }

    /// Under the lock: of two that change them at once the later has the last word.
    fn note_mtu(&self, adjacencies: &BTreeMap<N1FlowId, Arc<Adjacency>>) {
        let sizes = || adjacencies.values().map(|a| a.carries());
        let mtu = sizes().filter(|size| *size >= NARROW).min().or_else(|| sizes().max());
        self.mtu.store(mtu.unwrap_or(MTU_WITHOUT_NEIGHBOURS), Ordering::Relaxed);
        self.least.store(sizes().min().unwrap_or(MTU_WITHOUT_NEIGHBOURS), Ordering::Relaxed);
    }

    /// Looks whether N-1 flows carry larger packets than they did, or only smaller ones; once in a while. `false` if it is
    /// not time for that.
    pub(super) fn look_at_sizes(&self, now: Instant) -> bool {
        let last = Instant::from_nanos(self.looked.load(Ordering::Relaxed));
        if now.since(last) < LOOK_EVERY {
            return false;
        }
        self.looked.store(now.as_nanos(), Ordering::Relaxed);
        let changed: Vec<_> = self.adjacencies().into_iter().filter(|a| a.note_size()).collect();
        if !changed.is_empty() {
            self.note_mtu(&self.adjacencies.write());
        }
        changed.iter().for_each(|adjacency| self.tell_size(adjacency));
        true
    }

    /// Says so if an adjacency carries too little for names to be found over it.
    fn tell_size(&self, adjacency: &Adjacency) {
        let (bytes, least) = (adjacency.carries(), self.for_names + self.sizes.header_len());
        if bytes < least {
            let (ipcp, id) = (&self.shared.info.name, adjacency.id);
            record!(
                self.shared.panics,
                Neighbour,
                Warn,
                [ipcp = ipcp, n1_flow = id, bytes: bytes],
                "N-1 flow {id} of {ipcp:?} carries packets of {bytes} bytes: the least for names is {least}"
            );
        }
    }

    pub(super) fn adjacency(&self, id: N1FlowId) -> Option<Arc<Adjacency>> {
        self.adjacencies.read().get(&id).cloned()
    }

    /// What waits in front of the neighbours is lost, and nothing is made to wait any more.
    pub(super) fn hasten(&self) {
        self.adjacencies().iter().for_each(|adjacency| adjacency.hasten());
    }

    pub(super) fn adjacencies(&self) -> Vec<Arc<Adjacency>> {
        self.adjacencies.read().values().cloned().collect()
    }

    /// Returns the adjacencies to `peer`.
    pub(super) fn adjacencies_to(&self, peer: Address) -> Vec<Arc<Adjacency>> {
        self.adjacencies.read().values().filter(|a| a.peer == peer).cloned().collect()
    }

    /// Returns the number of adjacencies.
    pub(super) fn len(&self) -> usize {
        self.adjacencies.read().len()
    }

    /// Returns their neighbours, one for each.
    pub(super) fn neighbours(&self) -> Vec<(N1FlowId, Address)> {
        self.adjacencies.read().values().map(|a| (a.id, a.peer)).collect()
    }

    pub(super) fn device(&self) -> Option<Arc<dyn Drive>> {
        let first = self.adjacencies.read().values().next().cloned()?;
        first.endpoint.device().or_else(|| self.adjacencies().iter().find_map(|a| a.endpoint.device()))
    }

    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    /// Makes the forwarding table that these routes and the adjacencies say.
    pub(super) fn follow(&self, routes: &Routes) {
        let mut by_peer: BTreeMap<Address, Vec<_>> = BTreeMap::new();
        for adjacency in self.adjacencies() {
            by_peer.entry(adjacency.peer).or_default().push(adjacency);
        }
        let resolve = |peer| by_peer.get(&peer).cloned().unwrap_or_default();
        self.set_table(ForwardingTable::new(routes, self.salt, resolve));
    }

    pub(super) fn forget_routes(&self) {
        self.set_table(Table::default());
    }

    fn set_table(&self, table: Table) {
        let before = core::mem::replace(&mut *self.table.write(), Arc::new(table));
        drop(before);
    }

    /// The adjacency on which packets for a flow with this EID leave.
    pub(super) fn next_hop(&self, dst: Address, eid: Eid) -> Option<Arc<Adjacency>> {
        self.table().lookup(dst, eid.0).cloned()
    }

    // ----- packets -----

    /// Takes packets that came over the adjacency `from`. Those that are done with stay in `pkts`. Whether some were kept
    /// for a component.
    pub(super) fn handle_packets<A: Above>(
        &self,
        now: Instant,
        from: &Adjacency,
        pkts: &mut VecDeque<PacketBuf>,
        above: &A,
    ) -> bool {
        let table = self.table();
        let own = self.shared.address();
        let mut onward = Onward::default();
        let mut upward = Upward { to: None, pkts: Outgoing::new(), ecn: [0; BURST] };
        let mut kept = false;
        from.note_received(pkts);
        for _ in 0..pkts.len() {
            let Some(mut pkt) = pkts.pop_front() else { break };
            let Ok((pci, _)) = Pci::parse(self.sizes, &pkt) else {
                self.counters.short.count();
                pkts.push_back(pkt);
                continue;
            };
            if pci.dst != own {
                match table.lookup(pci.dst, pci.eid.0) {
                    Some(next) if pci.ttl > 1 => {
                        if let Ok(mut header) = HeaderMut::new(self.sizes, &mut pkt) {
                            header.hop();
                        }
                        onward.push(now, next, cube_of(pci.qos), pkt);
                        continue;
                    }
                    Some(_) => from.note_expired(),
                    None if pci.ttl <= 1 => from.note_expired(),
                    None => from.note_unroutable(),
                }
                pkts.push_back(pkt);
                continue;
            }
            pkt.pull(self.sizes.header_len());
            if pci.eid.is_component() {
                kept |= self.put_aside(from.id, pci.eid, pkt, above);
            } else if upward.is_for(pci.eid) || upward.turn_to(now, pci.eid, above) {
                upward.push(now, pci.ecn, pkt);
            } else {
                self.counters.unknown_eid.count();
                pkts.push_back(pkt);
            }
        }
        onward.finish(now);
        upward.flush(now);
        kept
    }

    /// Keeps a packet for the component `eid`. `false` if it was dropped.
    fn put_aside(&self, from: N1FlowId, eid: Eid, pkt: PacketBuf, above: &impl Above) -> bool {
        match eid {
            FLOW_ALLOCATOR | DIRECTORY => above.keep(from, eid, pkt),
            _ => {
                self.counters.no_component.count();
                false
            }
        }
    }

    /// Sends what waits in front of N-1 flows, as far as they have room again.
    pub(super) fn release_queued(&self, now: Instant) {
        for id in self.waiting.take(now) {
            if let Some(adjacency) = self.adjacency(id) {
                adjacency.look(now);
            }
        }
    }

    /// Sends packets that begin here: to `eid` at `dst`, another member. Returns the adjacency that they leave by; `None`, and
    /// they stay, if there is no route. Packets that are done with stay in `pkts`.
    pub(super) fn originate(
        &self,
        now: Instant,
        dst: Address,
        cube: QosCube,
        eid: Eid,
        pkts: &mut Outgoing,
    ) -> Option<N1FlowId> {
        let table = self.table();
        let Some(next) = table.lookup(dst, eid.0) else {
            self.counters.no_route.add(pkts.len() as u64);
            return None;
        };
        let pci = Pci { dst, qos: cube.number(), ttl: self.max_ttl, ecn: 0, eid };
        let before = pkts.len();
        pkts.retain(|pkt| push_header(self.sizes, &pci, pkt));
        if pkts.len() < before {
            // More layers than there is head room for.
            self.counters.no_headroom.add((before - pkts.len()) as u64);
        }
        if eid.is_component() {
            next.note_own(cube, pkts);
        }
        next.send(now, cube, pkts);
        if eid.is_component() {
            next.endpoint.flush();
        }
        Some(next.id)
    }

    /// As [`originate`](Self::originate), for one message of a component.
    pub(super) fn originate_message(&self, now: Instant, dst: Address, eid: Eid, bytes: &[u8]) -> bool {
        self.originate_message_in(now, dst, QosCube::BestEffort, eid, bytes)
    }

    /// As [`originate_message`](Self::originate_message), in another cube than best effort.
    pub(super) fn originate_message_in(
        &self,
        now: Instant,
        dst: Address,
        cube: QosCube,
        eid: Eid,
        bytes: &[u8],
    ) -> bool {
        let mut pkts = Outgoing::new();
        let mut pkt = self.shared.buffer(bytes.len());
        if pkt.extend_from_slice(bytes).is_none() {
            return false;
        }
        pkts.push(pkt);
        let sent = self.originate(now, dst, cube, eid, &mut pkts).is_some();
        self.shared.recycle(pkts.drain(..));
        sent
    }

    /// Bytes that a packet to `eid` at `dst` may have.
    pub(super) fn mtu_to(&self, dst: Address, eid: Eid) -> usize {
        self.mtu_over(|| self.next_hop(dst, eid))
    }

    /// Bytes that a packet may have for which this is the next hop. Mostly they are alike, and it is not looked for.
    pub(super) fn mtu_over(&self, next_hop: impl FnOnce() -> Option<Arc<Adjacency>>) -> usize {
        let mut mtu = self.mtu.load(Ordering::Relaxed);
        if self.least.load(Ordering::Relaxed) < mtu {
            mtu = next_hop().map_or(mtu, |next| next.carries().min(mtu));
        }
        mtu.saturating_sub(self.sizes.header_len())
    }
}

fn push_header(sizes: LayerSizes, pci: &Pci, pkt: &mut PacketBuf) -> bool {
    pkt.push(sizes.header_len()).is_some_and(|header| pci.emit(sizes, header).is_ok())
}
