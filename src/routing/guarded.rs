//! A routing policy of the user's own, on the member's threads.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::policy::{Paths, RoutingPolicy};
use crate::base::foreign::Panics;
use crate::types::id::Address;

/// A policy whose panics are counted: a destination for which it panics is reached by one shortest path.
#[derive(Debug)]
pub(crate) struct Guarded {
    policy: Arc<dyn RoutingPolicy>,
    panics: Arc<Panics>,
}

impl Guarded {
    /// `policy`, whose panics are counted by `panics`.
    pub(crate) fn new(policy: Arc<dyn RoutingPolicy>, panics: &Arc<Panics>) -> Arc<Self> {
        Arc::new(Self { policy, panics: Arc::clone(panics) })
    }
}

impl RoutingPolicy for Guarded {
    fn prepare(&self, paths: &mut dyn Paths) {
        self.panics.call(|| self.policy.prepare(paths));
    }

    fn next_hops(&self, paths: &mut dyn Paths, hops: &mut Vec<Address>) {
        if self.panics.call(|| self.policy.next_hops(paths, hops)).is_none() {
            hops.clear();
            hops.push(paths.first());
        }
    }

    fn spreads_flows(&self) -> bool {
        self.panics.call(|| self.policy.spreads_flows()).unwrap_or(false)
    }

    fn has_detours(&self) -> bool {
        self.panics.call(|| self.policy.has_detours()).unwrap_or(false)
    }
}
