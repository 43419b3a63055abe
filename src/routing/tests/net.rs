//! Members and seeded connections between them, in virtual time.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::reference::Reference;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::routing::{Config, Dialect, LinkState};
use crate::types::id::{Address, N1FlowId};
use crate::wire::link_state::Lsu;

/// Faults of the network. Probabilities are per packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) loss: f64,
    pub(super) duplicate: f64,
    /// Cuts a packet short, or flips a bit of it: as no layer below would.
    pub(super) corrupt: f64,
}

impl Path {
    pub(super) fn clean() -> Self {
        let latency = Duration::from_micros(500);
        Self { latency, jitter: Duration::ZERO, loss: 0.0, duplicate: 0.0, corrupt: 0.0 }
    }

    pub(super) fn lossy() -> Self {
        Self { jitter: Duration::from_millis(3), loss: 0.2, duplicate: 0.05, ..Self::clean() }
    }
}

pub(super) enum Member {
    Ours(Box<LinkState>),
    Theirs(Box<Reference>),
    Gone,
}

/// A connection between two members: a data-transfer and a management flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) ends: [usize; 2],
    /// It carries packets.
    pub(super) whole: bool,
    /// The flows are allocated.
    pub(super) connected: bool,
}

enum Event {
    Arrival {
        edge: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    /// An end finds out that the connection is whole, or not.
    Detection {
        edge: usize,
        end: usize,
    },
    /// A packet to `dst` is at one end of a connection.
    Packet {
        edge: usize,
        end: usize,
        dst: usize,
        ttl: u8,
        number: usize,
    },
    /// A reference begins to read a management flow; its data-transfer flow is up.
    Added {
        edge: usize,
        end: usize,
    },
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) members: Vec<Member>,
    pub(super) edges: Vec<Edge>,
    pub(super) path: Path,
    pub(super) detection: Duration,
    pub(super) rng: Rng,
    queue: BTreeMap<(Instant, u64), Event>,
    timers: BTreeSet<(Instant, usize)>,
    armed: Vec<Option<Instant>>,
    count: u64,
    /// Updates, ages counted.
    pub(super) carried: u64,
    /// Connections that an end has seen to fail.
    failed: BTreeSet<(usize, usize)>,
    /// Arrival of each packet sent.
    pub(super) arrived: Vec<bool>,
}

fn management(edge: usize) -> N1FlowId {
    N1FlowId(2 * edge as u32)
}

fn data(edge: usize) -> N1FlowId {
    N1FlowId(2 * edge as u32 + 1)
}

/// Addresses are in no order that has to do with the topology.
pub(super) fn address(member: usize) -> Address {
    Address(0x1000 + (member as u64 * 7919) % 0x10_0000)
}

impl Net {
    pub(super) fn new(seed: u8) -> Self {
        Self {
            now: Instant::from_millis(1),
            members: Vec::new(),
            edges: Vec::new(),
            path: Path::clean(),
            detection: Duration::from_millis(50),
            rng: Rng::from_seed([seed; 32]),
            queue: BTreeMap::new(),
            timers: BTreeSet::new(),
            armed: Vec::new(),
            count: 0,
            carried: 0,
            failed: BTreeSet::new(),
            arrived: Vec::new(),
        }
    }

    /// A net of o7s members with these connections.
    pub(super) fn of(seed: u8, members: usize, edges: &[(usize, usize)]) -> Self {
        let mut net = Self::new(seed);
        for _ in 0..members {
            net.add(|_| {});
        }
        edges.iter().for_each(|(a, b)| {
            net.connect(*a, *b);
        });
        net
    }

    pub(super) fn add(&mut self, change: impl FnOnce(&mut Config)) -> usize {
        let index = self.members.len();
        let mut config = Config::new(address(index));
        change(&mut config);
        self.members.push(Member::Ours(Box::new(LinkState::new(config, self.rng.split("member")))));
        self.armed.push(None);
        index
    }

    pub(super) fn add_reference(&mut self) -> usize {
        let index = self.members.len();
        self.members.push(Member::Theirs(Box::new(Reference::new(address(index).0, self.now))));
        self.armed.push(None);
        self.pump(index);
        index
    }

    /// Gives a crashed member's place to a new one with the same address.
    pub(super) fn revive(&mut self, member: usize, change: impl FnOnce(&mut Config)) {
        let mut config = Config::new(address(member));
        change(&mut config);
        self.members[member] = Member::Ours(Box::new(LinkState::new(config, self.rng.split("member"))));
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) -> usize {
        let edge = self.edges.len();
        self.edges.push(Edge { ends: [a, b], whole: true, connected: true });
        self.allocate(edge);
        edge
    }

    /// Allocates both flows of a connection.
    fn allocate(&mut self, edge: usize) {
        let ends = self.edges[edge].ends;
        for (end, other) in [(0, ends[1]), (1, ends[0])] {
            let theirs = matches!(self.members[other], Member::Theirs(_));
            let dialect = if theirs { Dialect::Plain } else { Dialect::Confirming };
            let (member, other) = (ends[end], address(other));
            match &mut self.members[member] {
                Member::Ours(m) => {
                    m.management_up(self.now, management(edge), other, dialect);
                    m.adjacency_up(self.now, data(edge), other);
                }
                Member::Theirs(m) => {
                    m.management_up(management(edge), other.0);
                    let at = self.now + Duration::from_micros(self.rng.below(150_000));
                    self.put(at, Event::Added { edge, end });
                }
                Member::Gone => {}
            }
            self.pump(member);
        }
    }

    /// Deallocates both flows of a connection at both ends.
    pub(super) fn disconnect(&mut self, edge: usize) {
        self.edges[edge].connected = false;
        for member in self.edges[edge].ends {
            match &mut self.members[member] {
                Member::Ours(m) => m.adjacency_down(self.now, data(edge)),
                Member::Theirs(m) => m.data_down(data(edge)),
                Member::Gone => {}
            }
            self.pump(member);
            match &mut self.members[member] {
                Member::Ours(m) => m.management_down(self.now, management(edge)),
                Member::Theirs(m) => m.management_down(management(edge)),
                Member::Gone => {}
            }
        }
    }

    pub(super) fn reconnect(&mut self, edge: usize) {
        self.edges[edge].connected = true;
        self.edges[edge].whole = true;
        self.allocate(edge);
    }

    /// The connection carries nothing from now on, or again. The ends find out after the time of detection.
    pub(super) fn set_whole(&mut self, edge: usize, whole: bool) {
        self.edges[edge].whole = whole;
        for end in 0..2 {
            let at = self.now + self.detection - Duration::from_micros(self.rng.below(1000));
            self.put(at, Event::Detection { edge, end });
        }
    }

    /// A member is gone without notice.
    pub(super) fn crash(&mut self, member: usize) {
        self.members[member] = Member::Gone;
        self.pump(member);
        for edge in 0..self.edges.len() {
            if self.edges[edge].ends.contains(&member) && self.edges[edge].connected {
                self.set_whole(edge, false);
            }
        }
    }

    fn put(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.queue.insert((at, self.count), event);
    }

    /// Carries what a member has to send, has it compute routes, and notes when it wants to be called.
    pub(super) fn pump(&mut self, member: usize) {
        let mut sent = Vec::new();
        let next = match &mut self.members[member] {
            Member::Ours(m) => {
                if m.next_deadline().is_some_and(|at| at <= self.now) {
                    m.handle_timeout(self.now);
                }
                while let Some(update) = m.poll_packet(self.now, 1200) {
                    sent.push(update);
                }
                m.poll_routes(self.now);
                let next = m.next_deadline();
                assert!(next.is_none_or(|at| at > self.now), "a deadline that does not move: {next:?}, {m:?}");
                next
            }
            Member::Theirs(m) => {
                sent.extend(m.out.drain(..).map(|(flow, bytes)| (flow, bytes.to_vec())));
                Some(m.next_deadline())
            }
            Member::Gone => None,
        };
        for (flow, bytes) in sent {
            self.carry(member, flow.0 as usize / 2, &bytes);
        }
        if let Some(old) = core::mem::replace(&mut self.armed[member], next) {
            self.timers.remove(&(old, member));
        }
        self.timers.extend(next.map(|at| (at, member)));
    }

    fn carry(&mut self, from: usize, edge: usize, bytes: &[u8]) {
        self.carried += bytes.len().div_ceil(Lsu::LEN) as u64;
        let Edge { ends, whole, connected } = self.edges[edge];
        if !whole || !connected || self.rng.chance(self.path.loss) {
            return;
        }
        let to = usize::from(ends[0] == from);
        let mut bytes = bytes.to_vec();
        if self.rng.chance(self.path.corrupt) {
            if self.rng.chance(0.5) {
                bytes.truncate(self.rng.below(24) as usize);
            } else {
                let bit = self.rng.below(8 * bytes.len() as u64) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        let copies = 1 + usize::from(self.rng.chance(self.path.duplicate));
        for _ in 0..copies {
            let extra = self.rng.below(self.path.jitter.as_nanos() as u64 + 1);
            let at = self.now + self.path.latency + Duration::from_nanos(extra);
            self.put(at, Event::Arrival { edge, to, bytes: bytes.clone() });
        }
    }

    /// Sends a packet to `dst`; returns its place in [`arrived`](Self::arrived).
    pub(super) fn send(&mut self, from: usize, dst: usize) -> usize {
        let number = self.arrived.len();
        self.arrived.push(false);
        self.forward(from, dst, 60, number);
        number
    }

    /// Sends a packet on to the first next hop over a connection that has not been seen to fail.
    fn forward(&mut self, member: usize, dst: usize, ttl: u8, number: usize) {
        if member == dst {
            self.arrived[number] = true;
            return;
        }
        let Member::Ours(m) = &self.members[member] else { return };
        let next = m.routes().get(address(dst)).iter().find_map(|hop| {
            (0..self.edges.len()).find_map(|edge| {
                let end = self.edges[edge].ends.iter().position(|m| *m == member)?;
                let up = self.edges[edge].connected && !self.failed.contains(&(edge, end));
                (up && address(self.edges[edge].ends[1 - end]) == *hop).then_some((edge, 1 - end))
            })
        });
        if let Some((edge, end)) = next
            && self.edges[edge].whole
            && ttl > 0
        {
            let at = self.now + self.path.latency;
            self.put(at, Event::Packet { edge, end, dst, ttl: ttl - 1, number });
        }
    }

    /// An update arrives at one end of a connection, as if from the other.
    pub(super) fn inject(&mut self, edge: usize, end: usize, lsu: Lsu) {
        self.put(self.now, Event::Arrival { edge, to: end, bytes: lsu.to_bytes().to_vec() });
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        let (edge, end) = match event {
            Event::Arrival { edge, to, .. } => (edge, to),
            Event::Detection { edge, end } | Event::Added { edge, end } | Event::Packet { edge, end, .. } => {
                (edge, end)
            }
        };
        let Edge { ends, whole, connected } = self.edges[edge];
        let (member, other) = (ends[end], address(ends[1 - end]));
        if !connected {
            return;
        }
        match (event, &mut self.members[member]) {
            (Event::Arrival { bytes, .. }, Member::Ours(m)) => m.handle_packet(now, management(edge), &bytes),
            (Event::Arrival { bytes, .. }, Member::Theirs(m)) => m.handle_packet(now, management(edge), &bytes),
            (Event::Packet { dst, ttl, number, .. }, _) => return self.forward(member, dst, ttl, number),
            (Event::Detection { .. }, Member::Ours(m)) => {
                m.adjacency_state(now, data(edge), whole);
                if whole {
                    self.failed.remove(&(edge, end));
                } else {
                    self.failed.insert((edge, end));
                }
            }
            (Event::Added { .. }, Member::Theirs(m)) => {
                m.management_added(now, management(edge));
                m.data_up(now, data(edge), other.0);
            }
            _ => {}
        }
        self.pump(member);
    }

    /// To the next event or deadline, if there is one before `limit`.
    fn step(&mut self, limit: Instant) -> bool {
        let event = self.queue.first_key_value().map(|(k, _)| k.0);
        let timer = self.timers.first().map(|(at, _)| *at);
        let Some(next) = event.into_iter().chain(timer).min().filter(|at| *at <= limit) else {
            self.now = self.now.max(limit);
            return false;
        };
        self.now = self.now.max(next);
        if event == Some(next) {
            let (_, event) = self.queue.pop_first().unwrap();
            self.handle(event);
        } else {
            let (_, member) = self.timers.pop_first().unwrap();
            self.armed[member] = None;
            let now = self.now;
            match &mut self.members[member] {
                Member::Ours(m) => m.handle_timeout(now),
                Member::Theirs(m) => m.handle_timeout(now),
                Member::Gone => {}
            }
            self.pump(member);
        }
        true
    }

    pub(super) fn run(&mut self, time: Duration) {
        let limit = self.now + time;
        while self.step(limit) {}
    }

    /// Runs until all routes are right; how long that takes, `None` if longer than `limit`.
    pub(super) fn settle(&mut self, limit: Duration) -> Option<Duration> {
        let start = self.now;
        // Looking at all routes is dear: every millisecond is enough.
        let mut look = start;
        while !self.is_settled() {
            look += Duration::from_millis(1);
            if look > start + limit {
                return None;
            }
            while self.step(look) {}
        }
        Some(self.now - start)
    }

    pub(super) fn ours(&mut self, member: usize) -> &mut LinkState {
        match &mut self.members[member] {
            Member::Ours(m) => m,
            _ => panic!("not one of ours"),
        }
    }

    pub(super) fn reference(&mut self, member: usize) -> &mut Reference {
        match &mut self.members[member] {
            Member::Theirs(m) => m,
            _ => panic!("not a reference"),
        }
    }

    /// Hops from `root` to every member over intact connections; `u32::MAX` where there is no way.
    pub(super) fn distances(&self, root: usize) -> Vec<u32> {
        let mut neighbours = vec![Vec::new(); self.members.len()];
        for edge in self.edges.iter().filter(|e| e.whole && e.connected) {
            let [a, b] = edge.ends;
            if !matches!(self.members[a], Member::Gone) && !matches!(self.members[b], Member::Gone) {
                neighbours[a].push(b);
                neighbours[b].push(a);
            }
        }
        let mut distance = vec![u32::MAX; self.members.len()];
        distance[root] = 0;
        let mut queue = VecDeque::from([root]);
        while let Some(near) = queue.pop_front() {
            for &next in &neighbours[near] {
                if distance[next] == u32::MAX {
                    distance[next] = distance[near] + 1;
                    queue.push_back(next);
                }
            }
        }
        distance
    }

    /// First hop of a packet from a member.
    pub(super) fn next_hop(&self, member: usize, dst: usize) -> Option<Address> {
        match &self.members[member] {
            Member::Ours(m) => m.routes().get(address(dst)).first().copied(),
            Member::Theirs(m) => m.routes().get(&address(dst).0).copied().map(Address),
            Member::Gone => None,
        }
    }

    /// Returns `true` if every member has a shortest path to every reachable one, and none to others.
    pub(super) fn is_settled(&self) -> bool {
        let all: Vec<_> = (0..self.members.len()).map(|m| self.distances(m)).collect();
        let index: BTreeMap<_, _> = (0..self.members.len()).map(|m| (address(m), m)).collect();
        for (from, member) in self.members.iter().enumerate() {
            let routes: BTreeMap<Address, Address> = match member {
                Member::Ours(m) => m.routes().iter().map(|(dst, hops)| (dst, hops[0])).collect(),
                Member::Theirs(m) => m.routes().into_iter().map(|(d, v)| (Address(d), Address(v))).collect(),
                Member::Gone => continue,
            };
            let reachable = all[from].iter().filter(|d| **d != u32::MAX).count() - 1;
            let good = routes.iter().all(|(dst, hop)| {
                let (Some(dst), Some(hop)) = (index.get(dst), index.get(hop)) else { return false };
                all[from][*hop] == 1 && all[*hop][*dst].saturating_add(1) == all[from][*dst]
            });
            if routes.len() != reachable || !good {
                return false;
            }
        }
        true
    }
}

pub(super) fn line(n: usize) -> Vec<(usize, usize)> {
    (1..n).map(|i| (i - 1, i)).collect()
}

pub(super) fn ring(n: usize) -> Vec<(usize, usize)> {
    (0..n).map(|i| (i, (i + 1) % n)).collect()
}

pub(super) fn grid(width: usize, height: usize) -> Vec<(usize, usize)> {
    let across = (0..width * height).filter(|i| i % width > 0).map(|i| (i - 1, i));
    across.chain((width..width * height).map(|i| (i - width, i))).collect()
}

pub(super) fn mesh(n: usize) -> Vec<(usize, usize)> {
    (0..n).flat_map(|a| (0..a).map(move |b| (b, a))).collect()
}

/// A random tree and `extra` more connections.
pub(super) fn random(rng: &mut Rng, n: usize, extra: usize) -> Vec<(usize, usize)> {
    let mut edges: BTreeSet<_> = (1..n).map(|i| (rng.below(i as u64) as usize, i)).collect();
    while edges.len() < n - 1 + extra {
        let (a, b) = (rng.below(n as u64) as usize, rng.below(n as u64) as usize);
        if a < b {
            edges.insert((a, b));
        }
    }
    edges.into_iter().collect()
}
