//! The link-state database: every announced direction of a link, and the graph of those that both ends announce.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

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
    /// When it was announced last, as far as is known here.
    pub(super) heard: Instant,
    /// Looks at it: to announce an own link again, to forget one that was not.
    pub(super) timer: Option<TimerId>,
    /// The numbers of `src` and `dst` in the graph.
    ends: (u32, u32),
}

/// All links. An entry keeps its index for as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Database {
    links: Vec<Option<Link>>,
    free: Vec<u32>,
    /// By destination, then by source: the order in which the reference passes them on.
    index: BTreeMap<(Address, Address), u32>,
    pub(super) graph: Graph,
}

impl Database {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn find(&self, src: Address, dst: Address) -> Option<u32> {
        self.index.get(&(dst, src)).copied()
    }

    pub(super) fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Link> {
        self.links.get_mut(index as usize)?.as_mut()
    }

    /// Links and their indices, by destination, then by source.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.index.values().filter_map(|index| Some((*index, self.get(*index)?)))
    }

    /// Adds a link that is not there yet, as one that is not announced: its index.
    pub(super) fn insert(&mut self, src: Address, dst: Address, seqno: Seqno, now: Instant) -> u32 {
        let ends = self.graph.name(src, dst);
        let link = Some(Link { src, dst, seqno, live: false, heard: now, timer: None, ends });
        let index = self.free.pop().unwrap_or(self.links.len() as u32);
        match self.links.get_mut(index as usize) {
            Some(slot) => *slot = link,
            None => self.links.push(link),
        }
        self.index.insert((dst, src), index);
        index
    }

    /// The links of members that cannot be reached from `root`.
    pub(super) fn unreachable(&self, root: Address) -> Vec<u32> {
        let mut tree = Tree::default();
        if let Some(root) = self.graph.find(root) {
            tree.compute(&self.graph, root);
        }
        let unreachable = |(_, link): &(u32, &Link)| link.src != root && tree.distance(link.ends.0) == FAR;
        self.iter().filter(unreachable).map(|(index, _)| index).collect()
    }

    /// Says whether a link is announced: whether that changes the graph.
    pub(super) fn set_live(&mut self, index: u32, live: bool) -> bool {
        let Some(link) = self.get_mut(index) else { return false };
        if link.live == live {
            return false;
        }
        link.live = live;
        let (src, dst, ends) = (link.src, link.dst, link.ends);
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
            self.index.remove(&(link.dst, link.src));
            self.graph.unname(link.ends.0, link.ends.1);
            self.free.push(index);
        }
    }
}
