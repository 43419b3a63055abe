//! Routing policies: which of the ways to a destination are used.
//!
//! A policy is one implementation of [`RoutingPolicy`]: the next hops that it wants of routing, and what the
//! [forwarding table](crate::forward::pff) and routing make of these. No other code tells policies apart. Those that a
//! layer can have, by a number that its members are told, are those of [`RoutePolicy`]; a member may have one of the
//! user's own instead ([`MemberBuilder::routing`](crate::MemberBuilder::routing)).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::types::id::Address;
use crate::types::layer::RoutePolicy;

/// A routing policy. It is asked whenever routes are computed, with no lock held, so it may look at the stack; the
/// member's control messages wait meanwhile, so it must not wait for anything itself. That of a user takes no damage if
/// it panics: one shortest path is used then.
pub trait RoutingPolicy: fmt::Debug + Send + Sync {
    /// Requests the paths that [`next_hops`](Self::next_hops) needs, beyond one shortest path to every destination.
    fn prepare(&self, _paths: &mut dyn Paths) {}

    /// Puts the next hops on the way to a destination into `hops`, which is empty: the best first.
    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>);

    /// Returns `true` if the flows to a destination are spread over its next hops; if not, the first that is up takes
    /// all.
    fn spreads_flows(&self) -> bool {
        false
    }

    /// Returns `true` if next hops after the first lead to the destination even while no other member knows that the
    /// first has failed: then these are used until others have heard of it, instead of new routes, which might lead
    /// back.
    fn has_detours(&self) -> bool {
        false
    }
}

/// Paths in the graph of a layer, as a policy can ask for them: first all of them, then those to one destination after
/// the other.
pub trait Paths {
    /// Computes the paths from the neighbours, too, with one search of the graph for each.
    fn look_around(&mut self);

    /// Computes all shortest paths, not only one.
    fn spread(&mut self);

    /// The neighbour on a shortest path to the destination.
    fn first(&self) -> Address;

    /// Adds the neighbours from which the way to the destination does not lead through here, without the
    /// [first](Self::first): those that avoid this neighbour altogether and not only the link to it, then those with the
    /// shorter way. Only after [`look_around`](Self::look_around).
    fn loop_free(&mut self, hops: &mut Vec<Address>);

    /// Adds the neighbours on shortest paths to the destination. Only after [`spread`](Self::spread).
    fn equal(&self, hops: &mut Vec<Address>);
}

/// Returns the implementation of a layer's policy.
pub(super) fn of(policy: RoutePolicy) -> &'static dyn RoutingPolicy {
    match policy {
        RoutePolicy::Simple => &Simple,
        RoutePolicy::LoopFreeAlternates => &LoopFreeAlternates,
        RoutePolicy::EqualCostMultipath => &EqualCostMultipath,
    }
}

/// A member's routing policy: its own, or that of the layer.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) own: Option<Arc<dyn RoutingPolicy>>,
    pub(super) layer: RoutePolicy,
}

impl Rules {
    /// The policy. It may be a user's own: it is asked where no lock is held.
    pub(super) fn get(&self) -> &dyn RoutingPolicy {
        self.own.as_deref().unwrap_or(of(self.layer))
    }
}

#[derive(Debug)]
struct Simple;

impl RoutingPolicy for Simple {
    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>) {
        hops.push(paths.first());
    }
}

#[derive(Debug)]
struct LoopFreeAlternates;

impl RoutingPolicy for LoopFreeAlternates {
    fn prepare(&self, paths: &mut dyn Paths) {
        paths.look_around();
    }

    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>) {
        hops.push(paths.first());
        paths.loop_free(hops);
    }

    fn has_detours(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct EqualCostMultipath;

impl RoutingPolicy for EqualCostMultipath {
    fn prepare(&self, paths: &mut dyn Paths) {
        paths.spread();
    }

    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>) {
        paths.equal(hops);
    }

    fn spreads_flows(&self) -> bool {
        true
    }
}
