//! The network between the sockets: paths, what is in flight on them, and the partitions.

use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeSet, BinaryHeap};

use hashbrown::HashMap;

use super::link::Link;
use super::path::{LinkStats, Path};
use super::seeds;
use super::trace::{DropReason, PacketSummary, Trace, What};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;

/// Number of datagrams on their way for which memory is kept.
const ROOM: usize = 1024;

/// A datagram on its way.
#[derive(Debug)]
pub(super) struct Flying {
    pub(super) packet: PacketSummary,
    pub(super) path: usize,
    pub(super) data: PacketBuf,
}

/// Everything between the sockets.
#[derive(Debug)]
pub(super) struct World {
    seed: u64,
    default_link: Link,
    paths: Vec<Path>,
    path_of: HashMap<(IpAddr, IpAddr), usize>,
    cuts: Cuts,
    /// Arrival, order of sending, place in `flying`.
    arrivals: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    flying: Vec<Option<Flying>>,
    free: Vec<usize>,
    next: u64,
    pub(super) trace: Trace,
}

impl World {
    pub(super) fn new(seed: u64, keep_events: usize) -> Self {
        Self {
            seed,
            default_link: Link::default(),
            paths: Vec::new(),
            path_of: HashMap::new(),
            cuts: Cuts::default(),
            arrivals: BinaryHeap::new(),
            flying: Vec::new(),
            free: Vec::new(),
            next: 0,
            trace: Trace::new(keep_events),
        }
    }

    pub(super) fn default_link(&self) -> Link {
        self.default_link
    }

    pub(super) fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
        for path in self.paths.iter_mut().filter(|p| !p.own_link) {
            path.link = link;
        }
    }

    pub(super) fn set_link(&mut self, from: IpAddr, to: IpAddr, link: Link) {
        let at = self.path_index(from, to);
        if let Some(path) = self.path(at) {
            path.link = link;
            path.own_link = true;
        }
    }

    pub(super) fn cut(&mut self, from: IpAddr, to: IpAddr) {
        self.cuts.pairs.insert((from, to));
        self.update_cuts();
    }

    pub(super) fn isolate(&mut self, addr: IpAddr) {
        self.cuts.isolated.insert(addr);
        self.update_cuts();
    }

    pub(super) fn heal(&mut self) {
        self.cuts = Cuts::default();
        self.update_cuts();
    }

    pub(super) fn stats(&self, from: IpAddr, to: IpAddr) -> LinkStats {
        let at = self.path_of.get(&(from, to));
        at.and_then(|&at| self.paths.get(at)).map(|p| p.stats).unwrap_or_default()
    }

    pub(super) fn total_stats(&self) -> LinkStats {
        self.paths.iter().fold(LinkStats::default(), |sum, path| sum.plus(&path.stats))
    }

    /// Returns the index of the path from `from` to `to`, which is made when first asked for. Its randomness depends on
    /// the seed and the two addresses only: hosts that join do not change what happens between these two.
    pub(super) fn path_index(&mut self, from: IpAddr, to: IpAddr) -> usize {
        if let Some(&at) = self.path_of.get(&(from, to)) {
            return at;
        }
        let rng = seeds::rng(self.seed, &format!("path {from} {to}"));
        let mut path = Path::new(from, to, self.default_link, rng);
        path.cut = self.cuts.between(from, to);
        self.paths.push(path);
        self.path_of.insert((from, to), self.paths.len() - 1);
        self.paths.len() - 1
    }

    pub(super) fn path(&mut self, at: usize) -> Option<&mut Path> {
        self.paths.get_mut(at)
    }

    /// Sends a datagram on its way, to arrive at `at`.
    pub(super) fn launch(&mut self, at: Instant, flying: Flying) {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.flying.push(None);
                self.flying.len() - 1
            }
        };
        if let Some(slot) = self.flying.get_mut(place) {
            *slot = Some(flying);
        }
        self.arrivals.push(Reverse((at, self.next, place)));
        self.next += 1;
    }

    /// Returns the time of the next arrival.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.arrivals.peek().map(|Reverse(key)| key.0)
    }

    /// Takes out a datagram that has arrived.
    pub(super) fn pop_arrived(&mut self, now: Instant) -> Option<Flying> {
        if self.next_arrival()? > now {
            return None;
        }
        let Reverse((_, _, place)) = self.arrivals.pop()?;
        self.free.push(place);
        let flying = self.flying.get_mut(place)?.take();
        if self.flying.len() > ROOM && self.arrivals.len() < self.flying.len() / 8 {
            self.compact();
        }
        flying
    }

    /// Gives back what a burst has taken.
    fn compact(&mut self) {
        let mut before = core::mem::take(&mut self.flying);
        self.free = Vec::new();
        let mut arrivals = core::mem::take(&mut self.arrivals).into_vec();
        for Reverse((_, _, place)) in &mut arrivals {
            self.flying.push(before.get_mut(*place).and_then(Option::take));
            *place = self.flying.len() - 1;
        }
        arrivals.shrink_to_fit();
        self.arrivals = arrivals.into();
    }

    pub(super) fn in_flight(&self) -> usize {
        self.arrivals.len()
    }

    /// Sends a copy on its way.
    pub(super) fn duplicate(&mut self, now: Instant, at: Instant, copy: Flying) {
        if let Some(path) = self.path(copy.path) {
            path.stats.duplicated += 1;
        }
        self.trace.add(now, What::Duplicated, Some(copy.packet));
        self.launch(at, copy);
    }

    /// Flips bits.
    pub(super) fn corrupt(&mut self, now: Instant, flying: &mut Flying) {
        if let Some(path) = self.path(flying.path) {
            path.stats.corrupted += 1;
            path.corrupt(&mut flying.data);
        }
        flying.packet.hash = super::trace::hash(&flying.data);
        self.trace.add(now, What::Corrupted, Some(flying.packet));
    }

    /// Counts and records a datagram that has reached its socket.
    pub(super) fn delivered(&mut self, now: Instant, path: usize, packet: PacketSummary) {
        if let Some(path) = self.path(path) {
            path.stats.delivered += 1;
            path.stats.delivered_bytes += packet.len as u64;
        }
        self.trace.add(now, What::Delivered, Some(packet));
    }

    /// Counts and records a datagram that is gone.
    pub(super) fn dropped(&mut self, now: Instant, path: usize, packet: PacketSummary, reason: DropReason) {
        if let Some(path) = self.path(path) {
            path.stats.count_drop(reason);
        }
        self.trace.add(now, What::Dropped(reason), Some(packet));
    }

    fn update_cuts(&mut self) {
        for path in &mut self.paths {
            path.cut = self.cuts.between(path.from, path.to);
        }
    }
}

/// Cut directions and isolated addresses.
#[derive(Debug, Default)]
struct Cuts {
    /// From the first address to the second.
    pairs: BTreeSet<(IpAddr, IpAddr)>,
    isolated: BTreeSet<IpAddr>,
}

impl Cuts {
    fn between(&self, from: IpAddr, to: IpAddr) -> bool {
        self.isolated.contains(&from) || self.isolated.contains(&to) || self.pairs.contains(&(from, to))
    }
}

/// Summarizes a datagram.
pub(super) fn summary(src: SocketAddr, dst: SocketAddr, data: &[u8]) -> PacketSummary {
    PacketSummary { src, dst, len: data.len(), hash: super::trace::hash(data) }
}
