//! Replies that are much larger than their requests, to hosts that have not shown that they are where they say.
//!
//! What a server shows, its certificate first, makes the reply to a small request many times as large as that, and whoever names
//! another as the sender has that one flooded. It could be asked to show its address before, but a requester of the reference
//! cannot, and all others would wait for a round trip more. So there is a bound, for each host, on what replies have beyond
//! [three times](super::limits::AMPLIFICATION) the bytes of their requests, counted until the host is heard on the flow that a
//! reply opens, or could not be heard any more. One that is there is heard within a round trip, so that few are ever refused; a
//! requester of this library then learns how it shows its address.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::time::Duration;

use crate::base::time::Instant;
use crate::flow::{Endpoint, FlowKey, State};

/// Bytes that the replies to one host may have beyond that; a single one may have more.
const EXCESS: usize = 64 << 10;
/// Replies that are counted, of all hosts; beyond it hosts that have not shown their addresses get small ones alone.
const MOST: usize = 16_384;

/// What hosts have been sent and not been heard for.
pub(super) struct Owed {
    hosts: BTreeMap<u64, VecDeque<Debt>>,
    /// The hosts that have asked for these flows.
    flows: BTreeMap<FlowKey, u64>,
    /// Time for which a reply counts.
    keep: Duration,
    /// When all were last looked at.
    swept: Instant,
}

struct Debt {
    until: Instant,
    bytes: usize,
    flow: FlowKey,
    endpoint: Weak<Endpoint>,
}

impl Debt {
    fn is_settled(&self, now: Instant) -> bool {
        // A pending one cannot have heard its peer.
        let heard = |endpoint: &Endpoint| endpoint.state() != State::Pending && endpoint.has_heard();
        now >= self.until || self.endpoint.upgrade().is_some_and(|endpoint| heard(&endpoint))
    }
}

impl Owed {
    /// Each is counted for the time `keep`.
    pub(super) fn new(keep: Duration) -> Self {
        Self { hosts: BTreeMap::new(), flows: BTreeMap::new(), keep, swept: Instant::ZERO }
    }

    /// Counts the reply that opens a flow, which has `bytes` more than it may. `false` if that is too much for the host.
    pub(super) fn add(&mut self, now: Instant, host: u64, bytes: usize, endpoint: &Arc<Endpoint>) -> bool {
        self.settle(now, host);
        // It looks at every reply: not for each request of a flood.
        if self.flows.len() >= MOST && now >= self.swept + self.keep / 16 {
            self.swept = now;
            let hosts: Vec<_> = self.hosts.keys().copied().collect();
            hosts.into_iter().for_each(|host| self.settle(now, host));
        }
        let owed: usize = self.hosts.get(&host).map_or(0, |debts| debts.iter().map(|debt| debt.bytes).sum());
        if self.flows.len() >= MOST || (owed > 0 && owed.saturating_add(bytes) > EXCESS) {
            return false;
        }
        let (until, flow) = (now + self.keep, endpoint.key());
        let debt = Debt { until, bytes, flow, endpoint: Arc::downgrade(endpoint) };
        self.hosts.entry(host).or_default().push_back(debt);
        self.flows.insert(flow, host);
        true
    }

    /// A flow is over on which its peer was heard, or to which there was no reply.
    pub(super) fn forget(&mut self, flow: FlowKey) {
        if let Some(host) = self.flows.get(&flow).copied() {
            self.retain(host, |debt| debt.flow != flow);
        }
    }

    /// Replies that are counted.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    fn settle(&mut self, now: Instant, host: u64) {
        self.retain(host, |debt| !debt.is_settled(now));
    }

    fn retain(&mut self, host: u64, mut keep: impl FnMut(&Debt) -> bool) {
        let Some(debts) = self.hosts.get_mut(&host) else { return };
        debts.retain(|debt| {
            let kept = keep(debt);
            if !kept {
                self.flows.remove(&debt.flow);
            }
            kept
        });
        if debts.is_empty() {
            self.hosts.remove(&host);
        }
    }
}
