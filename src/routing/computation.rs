//! The computation of routes, as a job.
//!
//! It asks the routing policy, which may be code of a user: so it is done where no lock is held. What it works on is the
//! graph of the moment in which it was taken out; if links change meanwhile, another computation is due.

use alloc::sync::Arc;
use core::fmt;

use super::graph::Graph;
use super::paths::{Limits, Paths};
use super::policy::Rules;
use crate::types::id::Address;
use crate::types::routes::Routes;

/// A pending computation of routes; see [`LinkState::poll_computation`](super::LinkState::poll_computation).
pub struct Computation {
    pub(super) graph: Arc<Graph>,
    pub(super) root: Address,
    pub(super) rules: Rules,
    pub(super) limits: Limits,
    /// Only links of the member itself have failed: alternates may serve until others have heard of it.
    pub(super) may_detour: bool,
}

impl Computation {
    /// Computes the routes. Asks the routing policy, so no lock may be held.
    #[must_use]
    pub fn run(self) -> Computed {
        let rules = self.rules.get();
        // Computed now and then, in a moment: the memory for it is not worth keeping.
        let mut paths = Paths::default();
        let routes = paths.compute(&self.graph, self.root, rules, self.limits);
        let detours = self.may_detour && rules.has_detours();
        Computed { root: self.root, routes, work: paths.work(), detours }
    }
}

impl fmt::Debug for Computation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computation").field("root", &self.root).field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Routes that were computed; see [`LinkState::handle_computed`](super::LinkState::handle_computed).
#[derive(Debug)]
pub struct Computed {
    pub(super) root: Address,
    pub(super) routes: Routes,
    /// Members and links that were looked at.
    pub(super) work: usize,
    /// Alternates are to serve for a moment.
    pub(super) detours: bool,
}
