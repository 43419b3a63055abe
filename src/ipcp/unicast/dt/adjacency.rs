//! An adjacency: the N-1 flow over which packets go to a neighbour, and what waits in front of it.

mod queue;
mod service;

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use self::queue::Queue;
pub(super) use self::service::ServiceList;
use crate::base::backlog::Account;
use crate::base::buf::PacketBuf;
use crate::base::counter::{Counter, counters};
use crate::base::sync::{AtomicU64, Mutex, Ordered};
use crate::base::time::Instant;
use crate::flow::{BURST, Endpoint, Outgoing};
use crate::forward::ca;
use crate::forward::pff::NextHop;
use crate::forward::sched::Gate;
use crate::ipcp::Connection;
use crate::ipcp::unicast::shared::{Shared, order};
use crate::types::id::{Address, N1FlowId};
use crate::types::layer::CongestionAvoidance;
use crate::types::qos::QosCube;
use crate::types::tree::Tree;
use crate::wire::cep::Terms;
use crate::wire::dt::{HeaderMut, LayerSizes};

/// Number of cubes.
const CUBES: usize = QosCube::ALL.len();

/// Returns the cube of a number in a header; best effort for an unknown one.
#[inline]
pub(in crate::ipcp::unicast) fn cube_of(qos: u8) -> QosCube {
    QosCube::from_number(qos).unwrap_or_default()
}

/// An N-1 flow to a neighbour's data-transfer component.
pub(in crate::ipcp::unicast) struct Adjacency {
    pub(in crate::ipcp::unicast) id: N1FlowId,
    pub(in crate::ipcp::unicast) peer: Address,
    pub(in crate::ipcp::unicast) endpoint: Arc<Endpoint>,
    /// Incarnation of the neighbour when it was connected; `None` for a reference.
    pub(in crate::ipcp::unicast) incarnation: Option<u32>,
    /// Bytes of a packet that the N-1 flow carries, when it was last asked.
    carries: AtomicUsize,
    sizes: LayerSizes,
    congestion: CongestionAvoidance,
    up: AtomicBool,
    /// `true` once the neighbour is known to have this connection too. The acceptor does not know at first: if the
    /// answer is lost, the neighbour makes another, and never hears what is sent on this one.
    proven: AtomicBool,
    /// Keepalives that had come before, and prove nothing.
    unproven: AtomicU64,
    waiting: Arc<ServiceList>,
    queue: Ordered<Mutex<Queue>, { order::QUEUE }>,
    /// Packets that wait in the queue.
    backlog: AtomicUsize,
    /// Packets that may wait in the device.
    device_limit: AtomicUsize,
    counters: Counters,
    cubes: [OfCube; CUBES],
}

counters! {
    /// Counters of a cube, as the reference has them.
    struct OfCube {
        /// Packets that went to the neighbour.
        sent => "sent",
        /// Bytes of packets that went to the neighbour.
        sent_bytes => "sent_bytes",
        /// Packets that came from the neighbour.
        received => "received",
        /// Bytes of packets that came from the neighbour.
        received_bytes => "received_bytes",
        /// Packets of our own components that went to the neighbour.
        own => "local_sent",
        /// Bytes of packets of our own components that went to the neighbour.
        own_bytes => "local_sent_bytes",
    }
}

counters! {
    /// Counters of all cubes.
    struct Counters {
        /// Packets from the neighbour whose time to live had run out.
        expired => "expired",
        /// Packets from the neighbour without a route.
        unroutable => "unroutable",
        /// Packets that the N-1 flow refused.
        failed => "failed",
        /// Packets for which there was no room to wait.
        overflow => "overflow",
    }
}

fn tally(packets: &Counter, bytes: &Counter, (some, of): (usize, usize)) {
    if some > 0 {
        packets.add(some as u64);
        bytes.add(of as u64);
    }
}

impl NextHop for Arc<Adjacency> {
    fn is_up(&self) -> bool {
        Adjacency::is_up(self)
    }

    fn is_proven(&self) -> bool {
        Adjacency::is_proven(self)
    }
}

impl Adjacency {
    pub(super) fn new(shared: &Shared, waiting: &Arc<ServiceList>, id: N1FlowId, connection: &Connection) -> Arc<Self> {
        let endpoint = Arc::clone(&connection.endpoint);
        Arc::new(Self {
            id,
            peer: connection.peer,
            carries: AtomicUsize::new(endpoint.carries()),
            sizes: shared.sizes,
            congestion: shared.unicast.congestion,
            up: AtomicBool::new(true),
            proven: AtomicBool::new(connection.ours),
            unproven: AtomicU64::new(endpoint.counters().keepalives_received),
            incarnation: Terms::of(&connection.versions).map(|terms| terms.incarnation),
            endpoint,
            waiting: Arc::clone(waiting),
            device_limit: AtomicUsize::new(Gate::new().limit()),
            queue: Ordered::new(Mutex::new(Queue::new(
                shared.config.queues,
                Account::new(connection.endpoint.meter()),
            ))),
            backlog: AtomicUsize::new(0),
            counters: Counters::default(),
            cubes: Default::default(),
        })
    }

    /// Bytes of a packet that the N-1 flow carried when it was last asked: in one piece or several. It is a matter of this
    /// side alone. What a reliable flow finds out about its path is the neighbour's word, and counts for that flow only.
    pub(super) fn carries(&self) -> usize {
        self.carries.load(Ordering::Relaxed)
    }

    /// Asks the N-1 flow again: the device below it may have changed. Whether it has.
    pub(super) fn note_size(&self) -> bool {
        let most = self.endpoint.carries();
        self.carries.swap(most, Ordering::Relaxed) != most
    }

    /// Sets whether packets are sent this way, from this moment on.
    pub(in crate::ipcp::unicast) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    /// Packets that wait.
    pub(in crate::ipcp::unicast) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Sends packets that have their headers to the neighbour, marked with the queue that they meet here, or keeps them
    /// until the device has room. What is done with stays in `pkts`.
    pub(in crate::ipcp::unicast) fn send(&self, now: Instant, cube: QosCube, pkts: &mut Outgoing) {
        let queued = self.endpoint.queued();
        if self.backlog() == 0 && queued + pkts.len() <= self.device_limit.load(Ordering::Relaxed) {
            self.mark(queued, pkts);
            self.pass(now, pkts);
            if !pkts.is_empty() && !self.endpoint.is_down() {
                self.keep(now, cube, queued, pkts);
            }
        } else {
            self.keep(now, cube, queued, pkts);
        }
    }

    fn mark(&self, queued: usize, pkts: &mut Outgoing) {
        for (pkt, ahead) in pkts.iter_mut().zip(queued..) {
            let mark = ca::mark(self.congestion, 0, ahead);
            if mark > 0
                && let Ok(mut header) = HeaderMut::new(self.sizes, pkt)
            {
                header.mark(mark);
            }
        }
    }

    /// Hands packets to the N-1 flow. What it has no room for stays.
    fn pass(&self, now: Instant, pkts: &mut Outgoing) {
        let all = self.by_cube(pkts.iter());
        let sent = self.endpoint.send_packets(now, pkts);
        if sent.is_err() {
            self.counters.failed.add(pkts.len() as u64);
        }
        let left = self.by_cube(pkts.iter());
        for ((of, all), left) in self.cubes.iter().zip(all).zip(left) {
            tally(&of.sent, &of.sent_bytes, (all.0 - left.0, all.1 - left.1));
        }
    }

    /// Packets and their bytes by QoS cube, which their headers say: those that waited together may be of several.
    fn by_cube<'a>(&self, pkts: impl Iterator<Item = &'a PacketBuf>) -> [(usize, usize); CUBES] {
        let mut sums = [(0, 0); CUBES];
        for pkt in pkts {
            let cube = cube_of(pkt.get(self.sizes.addr()).copied().unwrap_or(0));
            if let Some((packets, bytes)) = sums.get_mut(usize::from(cube.number())) {
                *packets += 1;
                *bytes += pkt.len();
            }
        }
        sums
    }

    /// Queues packets. Those that are dropped stay in `pkts`.
    fn keep(&self, now: Instant, cube: QosCube, queued: usize, pkts: &mut Outgoing) {
        {
            let mut queue = self.queue.lock();
            let mut dropped = Outgoing::new();
            self.mark(queued + queue.packets.queued_before(cube), pkts);
            let mut copied = Outgoing::new();
            for pkt in pkts.drain(..) {
                let small = if queue.is_slow() { pkt.roomy() } else { None };
                let pkt = match small {
                    Some(small) => {
                        copied.push(pkt);
                        small
                    }
                    None => pkt,
                };
                dropped.extend(queue.keep(cube, pkt).err());
            }
            queue.charge();
            self.backlog.store(queue.len(), Ordering::Relaxed);
            self.counters.overflow.add(dropped.len() as u64);
            *pkts = dropped;
            pkts.append(&mut copied);
        }
        self.look(now);
    }

    /// The flow has room again. Those that bring it news of that may hold packets that come before what waits: the alarm has
    /// it looked at.
    pub(in crate::ipcp::unicast) fn note_room(&self, now: Instant) {
        let waits = {
            let mut queue = self.queue.lock();
            queue.told += 1;
            !queue.stuck.is_empty()
        };
        if waits {
            self.waiting.look_again(now, self.id);
        }
    }

    /// Sends what waits, as far as the device has room, and arms the alarm for the rest.
    pub(in crate::ipcp::unicast) fn look(&self, now: Instant) {
        let ahead = self.endpoint.queued();
        let mut room = None;
        loop {
            let (mut pkts, told) = {
                let mut queue = self.queue.lock();
                let queue = &mut *queue;
                let left = room.get_or_insert_with(|| queue.look(now, ahead));
                let mut pkts = queue.take_stuck();
                while pkts.len() < BURST && *left > 0 {
                    let Some(pkt) = queue.take() else { break };
                    *left -= 1;
                    pkts.push(pkt);
                }
                self.backlog.store(queue.len(), Ordering::Relaxed);
                self.device_limit.store(queue.limit(), Ordering::Relaxed);
                (pkts, queue.told)
            };
            if pkts.is_empty() {
                break;
            }
            self.pass(now, &mut pkts);
            if !pkts.is_empty() {
                let mut queue = self.queue.lock();
                // Another thread may have returned some meanwhile.
                queue.put_stuck(&mut pkts);
                self.backlog.store(queue.len(), Ordering::Relaxed);
                // Room that the flow has told of since it refused these is theirs: nobody else comes for them.
                if queue.told == told {
                    break;
                }
            }
        }
        let next = {
            let mut queue = self.queue.lock();
            queue.charge();
            (queue.len() > 0).then(|| queue.deadline(now))
        };
        if let Some(next) = next {
            self.waiting.look_again(next, self.id);
        }
    }

    /// Forgets what waits, and sends at once from now on what else comes: the last packets of flows.
    pub(super) fn hasten(&self) {
        self.clear();
        let mut queue = self.queue.lock();
        queue.hasty = true;
        self.device_limit.store(queue.limit(), Ordering::Relaxed);
    }

    /// Forgets what waits.
    pub(in crate::ipcp::unicast) fn clear(&self) {
        let mut queue = self.queue.lock();
        while queue.take().is_some() {}
        drop(queue.take_stuck());
        queue.charge();
        self.backlog.store(0, Ordering::Relaxed);
    }

    /// Returns its counters.
    pub(in crate::ipcp::unicast) fn tree(&self) -> Tree {
        let cubes = QosCube::ALL.into_iter().zip(&self.cubes);
        let cubes = cubes.map(|(cube, of)| Tree::item("cube", cube.number().to_string()).counters(of.rows()));
        Tree::item("adjacency", self.id.to_string())
            .text("endpoint", self.peer.to_string())
            .gauge("up", u64::from(self.is_up()))
            .gauge("queued", (self.backlog() + self.endpoint.queued()) as u64)
            .counters(self.counters.rows())
            .with_all(cubes)
    }

    pub(in crate::ipcp::unicast) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Reads before it writes: all threads have this line in their caches.
    fn note_proven(&self) {
        if !self.proven.load(Ordering::Relaxed) {
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    /// Keepalives prove the connection as packets do, but only the flow sees them.
    fn is_proven(&self) -> bool {
        let heard = || self.endpoint.counters().keepalives_received > self.unproven.load(Ordering::Relaxed);
        let proven = self.proven.load(Ordering::Relaxed) || heard();
        if proven {
            self.note_proven();
        }
        proven
    }

    /// The neighbour may not have this connection any more: others are preferred until something is heard over it.
    pub(in crate::ipcp::unicast) fn doubt(&self) {
        self.unproven.store(self.endpoint.counters().keepalives_received, Ordering::Relaxed);
        self.proven.store(false, Ordering::Relaxed);
    }

    pub(in crate::ipcp::unicast) fn note_received(&self, pkts: &VecDeque<PacketBuf>) {
        self.note_proven();
        for (of, came) in self.cubes.iter().zip(self.by_cube(pkts.iter())) {
            tally(&of.received, &of.received_bytes, came);
        }
    }

    /// Counts packets of our own components.
    pub(super) fn note_own(&self, cube: QosCube, pkts: &Outgoing) {
        if let Some(of) = self.cubes.get(usize::from(cube.number())) {
            tally(&of.own, &of.own_bytes, (pkts.len(), pkts.iter().map(|p| p.len()).sum()));
        }
    }

    pub(super) fn note_expired(&self) {
        self.counters.expired.count();
    }

    pub(super) fn note_unroutable(&self) {
        self.counters.unroutable.count();
    }
}
