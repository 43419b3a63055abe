//! The link-state database: every announced direction of a link, and the graph of those that both ends announce.
//!
//! Each member of a layer keeps all links of it, which may be thousands, so their size matters: 24 bytes each, five to
//! nine in the index, and their part of the graph. Members are named by their number in the graph, times by
//! milliseconds, and links of other members have no timers: they are checked together.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashTable;

use super::graph::{FAR, Graph, Tree};
use super::seqno::Seqno;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::types::id::Address;

/// No vertex, and no link.
const NIL: u32 = u32::MAX;

/// The longest time that the database can tell from a shorter one: 20 days. It counts milliseconds in 32 bits, and looks at
/// a link once in its life at least.
pub(super) const LONGEST: Duration = Duration::from_secs(20 * 24 * 3600);

/// One direction of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) seqno: Seqno,
    /// Numbers in the graph. Of a place that is free, none and the next free place.
    src: u32,
    dst: u32,
    /// Time at which it was heard of last, milliseconds, wrapping.
    heard: u32,
    /// Age of the announcement at that time, as far as is known, milliseconds; and the flag [`LIVE`].
    late: u32,
}

/// Flag in [`Link::late`]: announced, and not withdrawn.
const LIVE: u32 = 1 << 31;

const fn stamp(now: Instant) -> u32 {
    (now.as_nanos() / 1_000_000) as u32
}

impl Link {
    /// Announced, and not taken back.
    pub(super) const fn live(&self) -> bool {
        self.late & LIVE != 0
    }

    /// Returns `true` if it is a link of the member with this number.
    pub(super) fn is_of(&self, vertex: Option<u32>) -> bool {
        vertex == Some(self.src)
    }

    /// It has been announced just now.
    pub(super) const fn fresh(&mut self, now: Instant) {
        self.heard = stamp(now);
        self.late &= LIVE;
    }

    /// Age of the announcement, as far as is known.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.silence(now) + self.late()
    }

    /// Time since it was heard of last.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        Duration::from_millis(stamp(now).wrapping_sub(self.heard).into())
    }

    /// Age of the announcement when it was heard of last, as far as is known.
    pub(super) fn late(&self) -> Duration {
        Duration::from_millis((self.late & !LIVE).into())
    }

    pub(super) fn set_late(&mut self, late: Duration) {
        let late = u32::try_from(late.as_millis()).unwrap_or(!LIVE).min(!LIVE);
        self.late = self.late & LIVE | late;
    }
}

/// Links in a piece of [`Links`].
const PIECE: usize = 64;

/// A list that grows by pieces of memory of one size. A list in one piece would have moved into ever larger ones, with spare
/// room in each, and left holes behind that nothing else fits into: in a process with many members that is a tenth of all.
#[derive(Default)]
struct Links {
    pieces: Vec<Vec<Link>>,
}

impl Links {
    fn get(&self, index: u32) -> Option<&Link> {
        self.pieces.get(index as usize / PIECE)?.get(index as usize % PIECE)
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Link> {
        self.pieces.get_mut(index as usize / PIECE)?.get_mut(index as usize % PIECE)
    }

    fn iter(&self) -> impl Iterator<Item = &Link> {
        self.pieces.iter().flatten()
    }

    /// Adds one at the end: its index.
    fn push(&mut self, link: Link) -> u32 {
        let before = self.pieces.len().saturating_sub(1) * PIECE;
        match self.pieces.last_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => {
                piece.push(link);
                (before + piece.len() - 1) as u32
            }
            None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(link);
                self.pieces.push(piece);
                ((self.pieces.len() - 1) * PIECE) as u32
            }
        }
    }
}

/// All links. An entry keeps its index for as long as it lives.
pub(super) struct Database {
    links: Links,
    /// The first place that is free.
    free: u32,
    /// Links by source and destination.
    index: HashTable<u32>,
    /// Keys of the hash: members that choose their addresses cannot predict the place of a link.
    keys: [u64; 2],
    /// Links that are of no use, by the number of their source: those that are not announced by both ends.
    useless: BTreeSet<(u32, u32)>,
    /// Copied if it changes while routes are computed from it, and only then.
    graph: Arc<Graph>,
}

impl Database {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let keys = [rng.u64(), rng.u64()];
        Self {
            links: Links::default(),
            free: NIL,
            index: HashTable::new(),
            keys,
            useless: BTreeSet::new(),
            graph: Arc::new(Graph::new(keys)),
        }
    }

    /// The graph, as it is now.
    pub(super) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The same, to change it.
    pub(super) fn graph_mut(&mut self) -> &mut Graph {
        Arc::make_mut(&mut self.graph)
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn find(&self, src: Address, dst: Address) -> Option<u32> {
        self.index.find(hash(self.keys, src, dst), |index| self.is_at(*index, src, dst)).copied()
    }

    fn is_at(&self, index: u32, src: Address, dst: Address) -> bool {
        self.links.get(index).is_some_and(|link| self.src(link) == src && self.dst(link) == dst)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(index).filter(|link| link.src != NIL)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Link> {
        self.links.get_mut(index).filter(|link| link.src != NIL)
    }

    /// Member that the link is of.
    pub(super) fn src(&self, link: &Link) -> Address {
        self.graph.address(link.src)
    }

    /// The neighbour.
    pub(super) fn dst(&self, link: &Link) -> Address {
        self.graph.address(link.dst)
    }

    /// Returns `true` if it is a link of this member.
    pub(super) fn is_of(&self, index: u32, src: Address) -> bool {
        self.get(index).is_some_and(|link| self.src(link) == src)
    }

    /// Links and their indices, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Link)> {
        (0..).zip(self.links.iter()).filter(|(_, link)| link.src != NIL)
    }

    /// The links, by source, then by destination.
    pub(super) fn sorted(&self) -> Vec<&Link> {
        let mut all: Vec<_> = self.iter().map(|(_, link)| link).collect();
        all.sort_unstable_by_key(|link| (self.src(link), self.dst(link)));
        all
    }

    /// Adds a link that is not there yet, as one that is not announced: its index.
    pub(super) fn insert(&mut self, src: Address, dst: Address, seqno: Seqno, now: Instant) -> u32 {
        let (from, to) = self.graph_mut().name(src, dst);
        let link = Link { seqno, src: from, dst: to, heard: stamp(now), late: 0 };
        let index = if let Some(place) = self.links.get_mut(self.free) {
            let index = self.free;
            self.free = place.dst;
            *place = link;
            index
        } else {
            self.links.push(link)
        };
        let (links, graph, keys) = (&self.links, &self.graph, self.keys);
        let rehash = |index: &u32| {
            let link = links.get(*index);
            link.map_or(0, |link| hash(keys, graph.address(link.src), graph.address(link.dst)))
        };
        self.index.insert_unique(hash(keys, src, dst), index, rehash);
        self.useless.insert((from, index));
        index
    }

    /// A link of a member that is not announced by both ends: the first from `from` on.
    pub(super) fn useless_of(&self, src: Address, from: u32) -> Option<u32> {
        let src = self.graph.find(src)?;
        // From `from` on, and around the end.
        let mut some = self.useless.range((src, from)..=(src, NIL)).chain(self.useless.range((src, 0)..(src, from)));
        some.next().map(|(_, index)| *index)
    }

    /// The links of members that cannot be reached from `root`.
    pub(super) fn unreachable(&self, root: Address) -> Vec<u32> {
        let mut tree = Tree::default();
        if let Some(root) = self.graph.find(root) {
            tree.compute(&self.graph, root);
        }
        let unreachable = |(_, link): &(u32, &Link)| self.src(link) != root && tree.distance(link.src) == FAR;
        self.iter().filter(unreachable).map(|(index, _)| index).collect()
    }

    /// Says whether a link is announced: whether that changes the graph.
    pub(super) fn set_live(&mut self, index: u32, live: bool) -> bool {
        let Some(link) = self.get_mut(index) else { return false };
        if link.live() == live {
            return false;
        }
        link.late ^= LIVE;
        let ends = (link.src, link.dst);
        let back = self.find(self.graph.address(ends.1), self.graph.address(ends.0));
        // A link counts only with both directions: one alone changes nothing in the graph.
        let Some(back) = back.filter(|back| self.get(*back).is_some_and(Link::live)) else { return false };
        if live {
            self.graph_mut().connect(ends.0, ends.1);
            self.useless.remove(&(ends.0, index));
            self.useless.remove(&(ends.1, back));
        } else {
            self.graph_mut().disconnect(ends.0, ends.1);
            self.useless.insert((ends.0, index));
            self.useless.insert((ends.1, back));
        }
        true
    }

    /// Forgets a link that is not announced.
    pub(super) fn remove(&mut self, index: u32) {
        let Some(link) = self.get(index).copied() else { return };
        let hash = hash(self.keys, self.src(&link), self.dst(&link));
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == index) {
            entry.remove();
        }
        self.useless.remove(&(link.src, index));
        self.graph_mut().unname(link.src, link.dst);
        if let Some(place) = self.links.get_mut(index) {
            // The list of free places is kept in the places themselves.
            (place.src, place.dst) = (NIL, self.free);
            self.free = index;
        }
    }
}

fn hash(keys: [u64; 2], src: Address, dst: Address) -> u64 {
    let [a, b] = keys;
    let product = u128::from(src.0 ^ a) * u128::from(dst.0.rotate_left(32) ^ b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests;
