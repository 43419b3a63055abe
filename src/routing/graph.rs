//! The layer as a graph: members, the links that both ends announce, and shortest paths.
//!
//! Members have dense numbers, so that the search works on arrays. The graph is kept up to date link by link; nothing
//! is built anew for a computation.

use alloc::vec::Vec;

use super::blocks::{Blocks, List};
use crate::types::id::Address;

/// The distance of what cannot be reached.
pub(super) const FAR: u32 = u32::MAX;

/// No vertex.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
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
#[derive(Debug, Default)]
pub(super) struct Graph {
    vertices: Vec<Vertex>,
    free: Vec<u32>,
    /// Vertices by address.
    order: Vec<u32>,
    blocks: Blocks,
    links: usize,
}

impl Graph {
    /// Members that are named by an entry of the database.
    pub(super) fn len(&self) -> usize {
        self.order.len()
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
        self.order.get(self.search(address).ok()?).copied()
    }

    fn search(&self, address: Address) -> Result<usize, usize> {
        self.order.binary_search_by_key(&address, |vertex| self.address(*vertex))
    }

    /// Members and their numbers, by ascending address.
    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = (Address, u32)> {
        self.order.iter().map(|vertex| (self.address(*vertex), *vertex))
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
        let place = match self.search(address) {
            Ok(known) => {
                let vertex = self.order.get(known).copied().unwrap_or(NONE);
                self.with(vertex, |v| v.named += 1);
                return vertex;
            }
            Err(place) => place,
        };
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
        grow_a_little(&mut self.order);
        self.order.insert(place, vertex);
        vertex
    }

    /// An entry of the database that named both is gone.
    pub(super) fn unname(&mut self, src: u32, dst: u32) {
        self.with(src, |v| v.announced -= 1);
        for vertex in [src, dst] {
            self.with(vertex, |v| v.named -= 1);
            if self.vertices.get(vertex as usize).is_some_and(|v| v.named == 0) {
                if let Ok(place) = self.search(self.address(vertex)) {
                    self.order.remove(place);
                }
                self.free.push(vertex);
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

/// Makes room for one more; an eighth more than there is, rather than as much again.
pub(super) fn grow_a_little<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(8));
    }
}

/// What there is to say about one member as seen from the root of a [`Tree`].
#[derive(Clone, Copy, Debug)]
struct Reach {
    distance: u32,
    /// Of the members one hop nearer, the one with the lowest address.
    from: u32,
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
        self.reach.resize(graph.vertices.len(), Reach { distance: FAR, from: NONE, via: NONE });
        self.queue.clear();
        self.queue.push(root);
        if let Some(r) = self.reach.get_mut(root as usize) {
            r.distance = 0;
        }
        let mut at = 0;
        while let Some(&near) = self.queue.get(at) {
            at += 1;
            let Some(&Reach { distance, via, .. }) = self.reach.get(near as usize) else { continue };
            let address = graph.address(near);
            for &next in graph.neighbours(near) {
                let Some(r) = self.reach.get_mut(next as usize) else { continue };
                if r.distance == FAR {
                    self.queue.push(next);
                } else if r.distance <= distance || graph.address(r.from) <= address {
                    continue;
                }
                *r = Reach { distance: distance + 1, from: near, via: if near == root { next } else { via } };
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
