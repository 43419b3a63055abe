//! The link-state database: every announced direction of a link, and the graph of those that both ends announce.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::graph::{FAR, Graph, Tree};
use super::seqno::Seqno;
use crate::base::time::Instant;
use crate::base::timers::TimerId;
use crate::types::id::Address;

/// One direction of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) src: Address,
    pub(super) dst: Address,
    pub(super) seqno: Seqno,
    /// Announced, and not taken back.
    pub(super) live: bool,
    /// When it was heard of last.
    pub(super) heard: Instant,
    /// How long before that it had been announced, as far as is known, milliseconds.
    pub(super) late: u32,
    /// Looks at it: to announce an own link again, to forget one that was not.
    pub(super) timer: Option<TimerId>,
    /// The numbers of `src` and `dst` in the graph.
    vertices: (u32, u32),
}

impl Link {
    /// It has been announced just now.
    pub(super) fn fresh(&mut self, now: Instant) {
        (self.heard, self.late) = (now, 0);
    }

    /// How long ago it was announced, as far as is known.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now - self.heard + self.before()
    }

    /// When it will have been announced `life` ago.
    pub(super) fn ends(&self, life: Duration) -> Instant {
        self.heard + life.saturating_sub(self.before())
    }

    const fn before(&self) -> Duration {
        Duration::from_millis(self.late as u64)
    }
}

/// Links of a member that are looked at when one is to give way.
const LOOKED_AT: usize = 32;

/// All links. An entry keeps its index for as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Database {
    links: Vec<Option<Link>>,
    free: Vec<u32>,
    /// By source, then by destination.
    index: BTreeMap<(Address, Address), u32>,
    pub(super) graph: Graph,
}

impl Database {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn find(&self, src: Address, dst: Address) -> Option<u32> {
        self.index.get(&(src, dst)).copied()
    }

    pub(super) fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Link> {
        self.links.get_mut(index as usize)?.as_mut()
    }

    /// Links and their indices, by source, then by destination.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.index.values().filter_map(|index| Some((*index, self.get(*index)?)))
    }

    /// Adds a link that is not there yet, as one that is not announced: its index.
    pub(super) fn insert(&mut self, src: Address, dst: Address, seqno: Seqno, now: Instant) -> u32 {
        let vertices = self.graph.name(src, dst);
        let link = Some(Link { src, dst, seqno, live: false, heard: now, late: 0, timer: None, vertices });
        let index = self.free.pop().unwrap_or(self.links.len() as u32);
        match self.links.get_mut(index as usize) {
            Some(slot) => *slot = link,
            None => self.links.push(link),
        }
        self.index.insert((src, dst), index);
        index
    }

    /// A link of a member that is not announced by both ends, looked for among a few from `from` on.
    pub(super) fn useless_of(&self, src: Address, from: Address) -> Option<u32> {
        let first = Address(u64::MIN);
        let (ahead, behind) =
            (self.index.range((src, from)..=(src, Address(u64::MAX))), self.index.range((src, first)..(src, from)));
        let mut some = ahead.chain(behind).take(LOOKED_AT);
        some.find(|((src, dst), index)| !self.is_mutual(**index, *src, *dst)).map(|(_, index)| *index)
    }

    fn is_mutual(&self, index: u32, src: Address, dst: Address) -> bool {
        let live = |index: u32| self.get(index).is_some_and(|link| link.live);
        live(index) && self.find(dst, src).is_some_and(live)
    }

    /// The links of members that cannot be reached from `root`.
    pub(super) fn unreachable(&self, root: Address) -> Vec<u32> {
        let mut tree = Tree::default();
        if let Some(root) = self.graph.find(root) {
            tree.compute(&self.graph, root);
        }
        let unreachable = |(_, link): &(u32, &Link)| link.src != root && tree.distance(link.vertices.0) == FAR;
        self.iter().filter(unreachable).map(|(index, _)| index).collect()
    }

    /// Says whether a link is announced: whether that changes the graph.
    pub(super) fn set_live(&mut self, index: u32, live: bool) -> bool {
        let Some(link) = self.get_mut(index) else { return false };
        if link.live == live {
            return false;
        }
        link.live = live;
        let (src, dst, ends) = (link.src, link.dst, link.vertices);
        let both = self.find(dst, src).and_then(|other| self.get(other)).is_some_and(|other| other.live);
        if both && live {
            self.graph.connect(ends.0, ends.1);
        } else if both {
            self.graph.disconnect(ends.0, ends.1);
        }
        both
    }

    /// Forgets a link that is not announced.
    pub(super) fn remove(&mut self, index: u32) {
        if let Some(link) = self.links.get_mut(index as usize).and_then(Option::take) {
            self.index.remove(&(link.src, link.dst));
            self.graph.unname(link.vertices.0, link.vertices.1);
            self.free.push(index);
        }
    }
}
