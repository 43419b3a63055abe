//! The layer as a graph: members, the links that both ends announce, and shortest paths.
//!
//! Members have dense numbers, so that the search works on arrays. The graph is kept up to date link by link; nothing
//! is built anew for a computation.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::blocks::{Blocks, List};
use crate::types::id::Address;

/// The distance of what cannot be reached.
pub(super) const FAR: u32 = u32::MAX;

/// No vertex.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Vertex {
    address: Address,
    /// Entries of the database that name it.
    named: u32,
    /// Entries of the database that it announced.
    announced: u32,
    /// The other ends of its usable links.
    neighbours: List,
}

/// Members and usable links.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    vertices: Vec<Vertex>,
    free: Vec<u32>,
    /// Vertices by address. Where one is in there is not known to those who choose the addresses.
    index: HashTable<u32>,
    keys: [u64; 2],
    /// Vertices in the order of their addresses, if none has come or gone meanwhile.
    order: Vec<u32>,
    changed: bool,
    blocks: Blocks,
    links: usize,
}

impl Graph {
    pub(super) fn new(keys: [u64; 2]) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Members that are named by an entry of the database.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Numbers are less than this.
    pub(super) fn size(&self) -> usize {
        self.vertices.len()
    }

    /// Usable links.
    pub(super) const fn links(&self) -> usize {
        self.links
    }

    /// The number of a member, if it has one.
    pub(super) fn find(&self, address: Address) -> Option<u32> {
        self.index.find(hash(self.keys, address), |vertex| self.address(*vertex) == address).copied()
    }

    /// The numbers of members, by ascending address.
    pub(super) fn members(&self) -> Cow<'_, [u32]> {
        if self.changed { Cow::Owned(self.sorted()) } else { Cow::Borrowed(&self.order) }
    }

    /// Has the order of members at hand until some come or go: many may do so between two computations.
    pub(super) fn arrange(&mut self) {
        if core::mem::take(&mut self.changed) {
            self.order = self.sorted();
        }
    }

    fn sorted(&self) -> Vec<u32> {
        let named = (0..).zip(&self.vertices).filter(|(_, v)| v.named > 0).map(|(vertex, _)| vertex);
        let mut order = Vec::with_capacity(self.len());
        order.extend(named);
        order.sort_unstable_by_key(|vertex| self.address(*vertex));
        order
    }

    /// Links that a member has announced.
    pub(super) fn announced(&self, address: Address) -> u32 {
        self.find(address).and_then(|v| self.vertices.get(v as usize)).map_or(0, |v| v.announced)
    }

    pub(super) fn address(&self, vertex: u32) -> Address {
        self.vertices.get(vertex as usize).map_or(Address(0), |v| v.address)
    }

    pub(super) fn neighbours(&self, vertex: u32) -> &[u32] {
        self.vertices.get(vertex as usize).map_or(&[], |v| self.blocks.get(v.neighbours))
    }

    /// An entry of the database names `src` and `dst`: their numbers.
    pub(super) fn name(&mut self, src: Address, dst: Address) -> (u32, u32) {
        let ends = (self.intern(src), self.intern(dst));
        self.with(ends.0, |v| v.announced += 1);
        ends
    }

    fn intern(&mut self, address: Address) -> u32 {
        if let Some(vertex) = self.find(address) {
            self.with(vertex, |v| v.named += 1);
            return vertex;
        }
        let fresh = Vertex { address, named: 1, announced: 0, neighbours: List::default() };
        let vertex = match self.free.pop() {
            Some(vertex) => {
                self.with(vertex, |v| *v = fresh);
                vertex
            }
            None => {
                grow_a_little(&mut self.vertices);
                self.vertices.push(fresh);
                self.vertices.len() as u32 - 1
            }
        };
        let (keys, vertices) = (self.keys, &self.vertices);
        let rehash = |vertex: &u32| vertices.get(*vertex as usize).map_or(0, |v| hash(keys, v.address));
        self.index.insert_unique(hash(keys, address), vertex, rehash);
        self.changed = true;
        vertex
    }

    /// An entry of the database that named both is gone.
    pub(super) fn unname(&mut self, src: u32, dst: u32) {
        self.with(src, |v| v.announced -= 1);
        for vertex in [src, dst] {
            self.with(vertex, |v| v.named -= 1);
            if self.vertices.get(vertex as usize).is_some_and(|v| v.named == 0) {
                let hash = hash(self.keys, self.address(vertex));
                if let Ok(entry) = self.index.find_entry(hash, |other| *other == vertex) {
                    entry.remove();
                }
                self.free.push(vertex);
                self.changed = true;
            }
        }
    }

    fn with(&mut self, vertex: u32, change: impl FnOnce(&mut Vertex)) {
        if let Some(v) = self.vertices.get_mut(vertex as usize) {
            change(v);
        }
    }

    /// Both ends announce the link.
    pub(super) fn connect(&mut self, a: u32, b: u32) {
        for (of, other) in [(a, b), (b, a)] {
            if let Some(v) = self.vertices.get_mut(of as usize) {
                self.blocks.push(&mut v.neighbours, other);
            }
        }
        self.links += 1;
    }

    /// One of the ends does not announce it any more.
    pub(super) fn disconnect(&mut self, a: u32, b: u32) {
        for (of, other) in [(a, b), (b, a)] {
            if let Some(v) = self.vertices.get_mut(of as usize) {
                self.blocks.remove(&mut v.neighbours, other);
            }
        }
        self.links -= 1;
    }
}

fn hash([a, b]: [u64; 2], address: Address) -> u64 {
    let product = u128::from(address.0 ^ a) * u128::from(b | 1);
    product as u64 ^ (product >> 64) as u64
}

/// Makes room for one more; an eighth more than there is, rather than as much again.
fn grow_a_little<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(8));
    }
}

/// Distance and next hop of one member as seen from the root of a [`Tree`].
#[derive(Clone, Copy, Debug)]
struct Reach {
    distance: u32,
    /// The lowest address among those of the members one hop nearer.
    from: Address,
    /// Towards it: the first hop.
    via: u32,
}

/// The shortest paths from one member: every link counts the same, so the search is breadth first.
#[derive(Debug, Default)]
pub(super) struct Tree {
    reach: Vec<Reach>,
    queue: Vec<u32>,
}

impl Tree {
    /// Computes the paths from `root`. What was computed before is overwritten, its memory used again.
    ///
    /// Among paths of the same length the one through the lowest-addressed member before the last hop counts, and so
    /// on backwards: the reference's choice.
    pub(super) fn compute(&mut self, graph: &Graph, root: u32) {
        self.reach.clear();
        self.reach.resize(graph.vertices.len(), Reach { distance: FAR, from: Address(0), via: NONE });
        self.queue.clear();
        self.queue.reserve(graph.len());
        self.queue.push(root);
        if let Some(r) = self.reach.get_mut(root as usize) {
            r.distance = 0;
        }
        let mut at = 0;
        while let Some(&near) = self.queue.get(at) {
            at += 1;
            let Some(&Reach { distance, via, .. }) = self.reach.get(near as usize) else { continue };
            let from = graph.address(near);
            for &next in graph.neighbours(near) {
                let Some(r) = self.reach.get_mut(next as usize) else { continue };
                if r.distance == FAR {
                    self.queue.push(next);
                // Nearer, or as near through a lower address: that path stays.
                } else if r.distance <= distance || r.from <= from {
                    continue;
                }
                *r = Reach { distance: distance + 1, from, via: if near == root { next } else { via } };
            }
        }
    }

    /// Hops to a member; [`FAR`] if there is no path.
    pub(super) fn distance(&self, vertex: u32) -> u32 {
        self.reach.get(vertex as usize).map_or(FAR, |r| r.distance)
    }

    /// The first hop towards a member other than the root.
    pub(super) fn via(&self, vertex: u32) -> Option<u32> {
        self.reach.get(vertex as usize).map(|r| r.via).filter(|via| *via != NONE)
    }

    /// The members that can be reached, the root first, by ascending distance.
    pub(super) fn reached(&self) -> &[u32] {
        &self.queue
    }
}
