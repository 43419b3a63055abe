//! When the adjacencies in front of which packets wait are looked at.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::base::sync::{Mutex, Ordered};
use crate::base::time::Instant;
use crate::ipcp::Alarm;
use crate::ipcp::unicast::shared::order;
use crate::types::id::N1FlowId;

/// The adjacencies in front of which packets wait, and when each is to be served.
pub(in crate::ipcp::unicast) struct ServiceList {
    of: Ordered<Mutex<Due>, { order::SERVICE_LIST }>,
    alarm: Arc<dyn Alarm>,
}

/// The same in both orders.
#[derive(Default)]
struct Due {
    at: BTreeMap<N1FlowId, Instant>,
    order: BTreeSet<(Instant, N1FlowId)>,
}

impl Due {
    fn set(&mut self, at: Instant, id: N1FlowId) {
        if let Some(before) = self.at.get(&id) {
            if *before <= at {
                return;
            }
            self.order.remove(&(*before, id));
        }
        self.at.insert(id, at);
        self.order.insert((at, id));
    }

    /// Takes one that is due, or says when the next one is.
    fn pop(&mut self, now: Instant) -> Result<N1FlowId, Option<Instant>> {
        match self.order.first().copied() {
            Some(first @ (at, id)) if at <= now => {
                self.order.remove(&first);
                self.at.remove(&id);
                Ok(id)
            }
            first => Err(first.map(|(at, _)| at)),
        }
    }
}

impl ServiceList {
    pub(in crate::ipcp::unicast::dt) fn new(alarm: &Arc<dyn Alarm>) -> Arc<Self> {
        Arc::new(Self { of: Ordered::default(), alarm: Arc::clone(alarm) })
    }

    /// Has an adjacency served at `at`, or earlier if that was said before.
    pub(super) fn look_again(&self, at: Instant, id: N1FlowId) {
        self.of.lock().set(at, id);
        self.alarm.set(at);
    }

    /// Takes those that are due, for the caller to serve. The alarm, which has rung, is set for the others.
    pub(in crate::ipcp::unicast::dt) fn take(&self, now: Instant) -> Vec<N1FlowId> {
        let mut due = Vec::new();
        let next = {
            let mut of = self.of.lock();
            loop {
                match of.pop(now) {
                    Ok(id) => due.push(id),
                    Err(next) => break next,
                }
            }
        };
        if let Some(next) = next {
            self.alarm.set(next);
        }
        due
    }
}
