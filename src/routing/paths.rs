//! Routes from the graph, by policy.

use alloc::vec::Vec;

use smallvec::SmallVec;

use super::graph::{Graph, Tree};
use super::policy::{self, RoutingPolicy};
use crate::types::id::Address;
use crate::types::routes::Routes;

/// Limits of the work and of the result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Next hops of a destination.
    pub(super) next_hops: usize,
    /// Neighbours that are looked at as alternates.
    pub(super) candidates: usize,
}

/// Computes routes; what is computed several times uses the memory of the time before.
#[derive(Debug, Default)]
pub(super) struct Paths {
    own: Tree,
    /// A neighbour's address and number, by address, and the paths from there: for alternates.
    around: Vec<(Address, u32, Tree)>,
    /// For every member the neighbours on shortest paths to it, by address: for equal-cost multipath.
    equal: Vec<SmallVec<[Address; 4]>>,
    /// Candidates for one destination, with what ranks them.
    ranked: Vec<(bool, u32, Address)>,
    /// Edges looked at in the last computation.
    work: usize,
}

impl Paths {
    /// The routes of `root`.
    pub(super) fn compute(
        &mut self,
        graph: &Graph,
        root: Address,
        rules: &dyn RoutingPolicy,
        limits: Limits,
    ) -> Routes {
        let mut routes = Routes::new(rules.spreads_flows());
        self.work = 0;
        let Some(root) = graph.find(root) else { return routes };
        self.own.compute(graph, root);
        let most = limits.next_hops.max(1);
        let mut asked = Asked { paths: self, graph, root, limits, searches: 1, dst: root, first: Address(0) };
        rules.prepare(&mut asked);
        asked.paths.work = asked.searches * (graph.len() + 2 * graph.links());
        let mut hops = Vec::new();
        routes.reserve(graph.len());
        for &vertex in &*graph.members() {
            let dst = graph.address(vertex);
            let Some(first) = asked.paths.own.via(vertex) else { continue };
            (asked.dst, asked.first) = (vertex, graph.address(first));
            hops.clear();
            rules.next_hops(&mut asked, &mut hops);
            hops.truncate(most);
            routes.push(dst, &hops);
        }
        routes
    }

    /// Members and links that the last computation has looked at.
    pub(super) const fn work(&self) -> usize {
        self.work
    }

    /// Computes the paths from the neighbours of `root`, lowest address first, from so many at most.
    fn look_around(&mut self, graph: &Graph, root: u32, most: usize) -> usize {
        let mut neighbours: Vec<_> = graph.neighbours(root).iter().map(|n| (graph.address(*n), *n)).collect();
        neighbours.sort_unstable();
        neighbours.truncate(most);
        self.around.resize_with(neighbours.len(), || (Address(0), 0, Tree::default()));
        for ((address, vertex), slot) in neighbours.into_iter().zip(&mut self.around) {
            (slot.0, slot.1) = (address, vertex);
            slot.2.compute(graph, vertex);
        }
        self.around.len()
    }

    /// The loop-free alternates of `primary` towards a destination, best first: those that avoid the primary
    /// altogether and not only the link to it, then those with the shorter way.
    fn rank_alternates(&mut self, dst: u32, primary: Address) {
        let direct = self.own.distance(dst);
        let first = self.around.iter().find(|n| n.0 == primary);
        self.ranked.clear();
        for (address, _, tree) in &self.around {
            let distance = tree.distance(dst);
            // D(n, v) < D(n, s) + D(s, v), where every neighbour n is one hop away (RFC 5286, inequality 1).
            if *address == primary || distance > direct {
                continue;
            }
            // Node-protecting alternates sort first (RFC 5286, inequality 3).
            let through =
                first.map_or(0, |(_, first, onward)| tree.distance(*first).saturating_add(onward.distance(dst)));
            self.ranked.push((distance >= through, distance, *address));
        }
        self.ranked.sort_unstable();
    }

    /// Finds for every member the neighbours on shortest paths to it, those with the lowest addresses if there are more
    /// than `most`: those of all members one hop nearer together.
    fn spread(&mut self, graph: &Graph, root: u32, most: usize) -> usize {
        self.equal.clear();
        self.equal.resize_with(graph.size(), SmallVec::new);
        // By ascending distance: the hops of nearer members are complete when they are looked at.
        for &vertex in self.own.reached() {
            let distance = self.own.distance(vertex);
            let mut hops = SmallVec::<[Address; 4]>::new();
            for &near in graph.neighbours(vertex) {
                if near == root {
                    hops.push(graph.address(vertex));
                } else if self.own.distance(near) < distance {
                    hops.extend_from_slice(self.equal.get(near as usize).map_or(&[], |hops| hops));
                }
            }
            hops.sort_unstable();
            hops.dedup();
            hops.truncate(most);
            if let Some(equal) = self.equal.get_mut(vertex as usize) {
                *equal = hops;
            }
        }
        1
    }
}

/// View of the graph for a policy.
struct Asked<'a> {
    paths: &'a mut Paths,
    graph: &'a Graph,
    root: u32,
    limits: Limits,
    /// Number of searches of the graph.
    searches: usize,
    /// The destination in question, and the neighbour on a shortest path to it.
    dst: u32,
    first: Address,
}

impl policy::Paths for Asked<'_> {
    fn look_around(&mut self) {
        self.searches += self.paths.look_around(self.graph, self.root, self.limits.candidates);
    }

    fn spread(&mut self) {
        self.searches += self.paths.spread(self.graph, self.root, self.limits.next_hops.max(1));
    }

    fn first(&self) -> Address {
        self.first
    }

    fn loop_free(&mut self, hops: &mut Vec<Address>) {
        self.paths.rank_alternates(self.dst, self.first);
        hops.extend(self.paths.ranked.iter().map(|(_, _, address)| *address));
    }

    fn equal(&self, hops: &mut Vec<Address>) {
        hops.extend_from_slice(self.paths.equal.get(self.dst as usize).map_or(&[], |hops| hops));
    }
}

#[cfg(test)]
mod tests;

/// Merges routes: `new` ones, but where the first next hop of `old` has failed and others of it have not, those. They
/// do not lead back here even while other members have not heard of the failure.
pub(super) fn with_alternates(new: &Routes, old: &Routes) -> Routes {
    let mut merged = Routes::new(new.spreads_flows());
    let works = |hop: &Address| new.get(*hop).first() == Some(hop);
    for (dst, hops) in new.iter() {
        let before = old.get(dst);
        let left: SmallVec<[_; 8]> = before.iter().copied().filter(works).collect();
        match before.first() {
            Some(first) if !works(first) && !left.is_empty() => merged.push(dst, left),
            _ => merged.push(dst, hops),
        }
    }
    merged
}
