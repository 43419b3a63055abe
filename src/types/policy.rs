//! Routing policies: which of the ways to a destination are used.
//!
//! A policy is one implementation of [`RoutingPolicy`], and all that is particular to it is there: the number and the
//! names by which it is asked for, the next hops that it wants of [routing](crate::routing), and what the
//! [forwarding table](crate::forward::pff) and routing make of these. Nobody else tells policies apart. Those that can be
//! asked for in the configuration of a layer are in [`RoutePolicy`]; a member may have one of the user's own instead
//! ([`MemberBuilder::routing`](crate::MemberBuilder::routing)).

use alloc::vec::Vec;
use core::fmt;

use super::id::Address;

/// The routing policy of a layer: which of the routes to a destination are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutePolicy {
    /// One is used.
    Simple,
    /// Another is ready for when the first fails.
    LoopFreeAlternates,
    /// All that cost the same are used.
    EqualCostMultipath,
}

impl RoutePolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Simple, Self::LoopFreeAlternates, Self::EqualCostMultipath];

    /// What it is.
    pub fn rules(self) -> &'static dyn RoutingPolicy {
        match self {
            Self::Simple => &Simple,
            Self::LoopFreeAlternates => &LoopFreeAlternates,
            Self::EqualCostMultipath => &EqualCostMultipath,
        }
    }

    /// The one that has this number when a member is enrolled.
    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.rules().number() == number)
    }

    /// The names by which it can be asked for in a configuration, each with the policy: the proper one before others for
    /// the same.
    pub fn names() -> impl Iterator<Item = (&'static str, Self)> {
        Self::ALL.into_iter().flat_map(|policy| policy.rules().names().iter().map(move |name| (*name, policy)))
    }
}

/// What a routing policy is. It is asked whenever routes are computed, with no lock held, so it may look at the stack; the
/// member's control messages wait meanwhile, so it must not wait for anything itself. That of a user takes no damage if it
/// panics: one shortest path is used then.
pub trait RoutingPolicy: fmt::Debug + Send + Sync {
    /// Its number when a member is enrolled; only of those in [`RoutePolicy`].
    fn number(&self) -> u32 {
        0
    }

    /// Its names in a configuration, the proper one first; only of those in [`RoutePolicy`].
    fn names(&self) -> &'static [&'static str] {
        &[]
    }

    /// Has found out what [`next_hops`](Self::next_hops) asks for, beyond one shortest path to every destination.
    fn prepare(&self, _paths: &mut dyn Paths) {}

    /// Puts the next hops on the way to a destination into `hops`, which is empty: the best first.
    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>);

    /// Whether the flows to a destination are spread over its next hops; if not, the first that is up takes all.
    fn spreads_flows(&self) -> bool {
        false
    }

    /// Whether next hops after the first lead to the destination even while nobody else knows that the first has failed:
    /// then these are used until others have heard of it, instead of new routes, which might lead back.
    fn has_detours(&self) -> bool {
        false
    }
}

/// What a policy can ask about the paths in the graph of a layer, first of all of them, then of those to one destination
/// after the other.
pub trait Paths {
    /// Looks for the paths from the neighbours, too. Costs a search of the graph for each.
    fn look_around(&mut self);

    /// Looks for all shortest paths, not only one.
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

#[derive(Debug)]
struct Simple;

impl RoutingPolicy for Simple {
    fn number(&self) -> u32 {
        0
    }

    fn names(&self) -> &'static [&'static str] {
        // The second as on the reference's command line.
        &["link-state", "link_state"]
    }

    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>) {
        hops.push(paths.first());
    }
}

#[derive(Debug)]
struct LoopFreeAlternates;

impl RoutingPolicy for LoopFreeAlternates {
    fn number(&self) -> u32 {
        1
    }

    fn names(&self) -> &'static [&'static str] {
        &["lfa"]
    }

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
    fn number(&self) -> u32 {
        2
    }

    fn names(&self) -> &'static [&'static str] {
        &["ecmp"]
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_tell_policies_apart() {
        for policy in RoutePolicy::ALL {
            assert_eq!(RoutePolicy::of_number(policy.rules().number()), Some(policy));
            for name in policy.rules().names() {
                let named: Vec<_> = RoutePolicy::names().filter(|(n, _)| n == name).map(|(_, p)| p).collect();
                assert_eq!(named, [policy], "{name}");
            }
        }
        assert_eq!(RoutePolicy::of_number(3), None);
        let proper = RoutePolicy::ALL.map(|policy| policy.rules().names().first().copied());
        assert_eq!(proper, [Some("link-state"), Some("lfa"), Some("ecmp")]);
    }
}
