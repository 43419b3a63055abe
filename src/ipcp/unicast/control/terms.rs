//! Terms between neighbours of our own kind: the time of silence after which one is missed, and the N-1 flows left over
//! from its earlier life.
//!
//! # Silence
//!
//! A stream of keepalives is not delayed by a long path, only by one that gets longer. So what has to be waited for does
//! not grow with the round trip but with how much that varies, which tends to be less than itself. Both ends say how long
//! they want to wait, one says how long it took to allocate the flow, and both compute the same from it; so none waits for
//! keepalives that the other does not send. Of eight keepalives in the time one is enough.
//!
//! # Restarts
//!
//! A neighbour that comes back under its old address says another incarnation. Its former N-1 flows do not end there,
//! but a liar could say the same; so they are not closed but *doubted*: nothing is sent over them while there is another,
//! and they are lost unless something is heard over them within the time of two keepalives. If none are sent over them,
//! because the N-1 flow has no timeout, silence proves nothing, and they stay doubted.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::Control;
use crate::base::time::Instant;
use crate::base::timers::{TimerId, Timers};
use crate::flow::Endpoint;
use crate::ipcp::Connection;
use crate::types::id::{Address, N1FlowId};
use crate::wire::cep::{self, Terms};

/// Keepalives in the time that a neighbour may be silent.
const KEEPALIVES: u32 = 8;
/// A neighbour may be silent for so many round trips.
const ROUND_TRIPS: u32 = 4;
/// A doubted N-1 flow is lost if nothing is heard in the time of so many keepalives.
const DOUBTED: u32 = 2;
/// The longest silence of a neighbour where the N-1 flow has no timeout, whatever it asks for.
const LONGEST: Duration = Duration::from_secs(10);
/// Least patience that a member announces, for each N-1 flow that it has.
const WAIT_A_FLOW: Duration = Duration::from_millis(4);

impl Control {
    /// Returns the terms that we announce to a neighbour.
    fn terms(&self) -> Terms {
        let detection = self.shared.config.detection;
        let flows = self.connection_count();
        let busy = WAIT_A_FLOW * u32::try_from(flows).unwrap_or(u32::MAX);
        let patience = if detection.is_zero() { detection } else { detection.max(busy) };
        Terms { incarnation: self.incarnation, patience, round_trip: Duration::ZERO }
    }

    /// A message that introduces a component, with the terms.
    pub(in crate::ipcp::unicast) fn introduction(&self, message: cep::Message) -> cep::Message {
        cep::Message { versions: self.terms().versions(), ..message }
    }

    /// Has the N-1 flow of a new connection watched as both ends have said.
    pub(super) fn watch_silence(&self, now: Instant, connection: &Connection) {
        let terms = (Terms::of(&connection.own_versions), Terms::of(&connection.versions));
        let (Some(own), Some(theirs)) = terms else { return };
        let timeout = connection.endpoint.qos().keepalive().unwrap_or(LONGEST);
        if let Some(silence) = silence(own, theirs, timeout) {
            connection.endpoint.set_patience(now, silence, silence / KEEPALIVES);
        }
    }

    /// Doubts the N-1 flows of a neighbour that were connected in another life of it, but for the new one.
    pub(super) fn doubt_former(&self, now: Instant, new: N1FlowId, peer: Address, incarnation: u32) {
        let former = |of: Address, life: Option<u32>| of == peer && life.is_some_and(|life| life != incarnation);
        let mut doubts = Vec::new();
        for adjacency in self.data.adjacencies_to(peer).iter().filter(|a| former(a.peer, a.incarnation)) {
            adjacency.doubt();
            doubts.push(Doubt::new(adjacency.id, &adjacency.endpoint));
        }
        let of_managements: Vec<_> = {
            let managements = self.managements.read();
            let former = managements.iter().filter(|(_, m)| former(m.peer, m.incarnation));
            former.map(|(id, m)| (*id, Arc::clone(&m.endpoint))).collect()
        };
        doubts.extend(of_managements.iter().map(|(id, endpoint)| Doubt::new(*id, endpoint)));
        for (doubt, interval) in doubts.into_iter().filter(|(doubt, _)| doubt.flow != new) {
            let Some(interval) = interval else { continue };
            let at = now + interval * DOUBTED;
            if self.doubts.lock().arm(at, doubt) {
                self.counters.doubted.count();
                self.shared.alarm.set(at);
            }
        }
    }

    /// Gives up the doubted N-1 flows over which nothing was heard in time.
    pub(in crate::ipcp::unicast) fn settle_doubts(&self, now: Instant) {
        loop {
            let due = self.doubts.lock().pop_due(now);
            let Some(Doubt { flow, heard }) = due else { break };
            if self.n1_endpoint(flow).is_some_and(|endpoint| endpoint.counters().received <= heard) {
                self.lose(now, flow);
            }
        }
        let next = self.doubts.lock().timers.next();
        if let Some(at) = next {
            self.shared.alarm.set(at);
        }
    }
}

/// An N-1 flow that may be left over from an earlier life of the neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    flow: N1FlowId,
    /// Packets that had been received when the doubt arose.
    heard: u64,
}

/// Each N-1 flow is doubted once at a time, and those that are gone are not, so there are no more than N-1 flows.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    timers: Timers<Doubt>,
    flows: BTreeMap<N1FlowId, TimerId>,
}

impl Doubts {
    /// `false` if the flow is doubted already.
    fn arm(&mut self, at: Instant, doubt: Doubt) -> bool {
        let fresh = !self.flows.contains_key(&doubt.flow);
        if fresh {
            self.flows.insert(doubt.flow, self.timers.arm(at, doubt));
        }
        fresh
    }

    /// The flow is gone. A peer may have chosen a timeout of weeks for it.
    pub(super) fn forget(&mut self, flow: N1FlowId) {
        if let Some(timer) = self.flows.remove(&flow) {
            self.timers.cancel(timer);
        }
    }

    fn pop_due(&mut self, now: Instant) -> Option<Doubt> {
        let (_, doubt) = self.timers.pop_due(now)?;
        self.flows.remove(&doubt.flow);
        Some(doubt)
    }
}

impl Doubt {
    /// And how far apart keepalives are on the flow, if there are some.
    fn new(flow: N1FlowId, endpoint: &Endpoint) -> (Self, Option<Duration>) {
        (Self { flow, heard: endpoint.counters().received }, endpoint.keepalive_interval())
    }
}

/// Returns the silence allowed to a neighbour; `None` to leave it at the flow's timeout.
fn silence(own: Terms, theirs: Terms, timeout: Duration) -> Option<Duration> {
    let wanted = own.patience.max(theirs.patience);
    let round_trip = own.round_trip.max(theirs.round_trip);
    (!wanted.is_zero()).then(|| wanted.max(ROUND_TRIPS * round_trip).min(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(patience: u64, round_trip: u64) -> Terms {
        let [patience, round_trip] = [patience, round_trip].map(Duration::from_millis);
        Terms { incarnation: 1, patience, round_trip }
    }

    #[test]
    fn a_flow_that_is_gone_is_not_doubted() {
        let mut doubts = Doubts::default();
        for flow in (0..1000).map(N1FlowId) {
            assert!(doubts.arm(Instant::FAR_FUTURE, Doubt { flow, heard: 0 }));
            assert!(!doubts.arm(Instant::ZERO, Doubt { flow, heard: 0 }), "it is already");
            doubts.forget(flow);
        }
        assert_eq!((doubts.timers.next(), doubts.flows.len()), (None, 0));
    }

    #[test]
    fn both_ends_compute_the_same_silence() {
        let timeout = Duration::from_secs(10);
        for (a, b, millis) in [
            (terms(2000, 20), terms(2000, 0), Some(2000)),
            (terms(500, 20), terms(3000, 0), Some(3000)),
            (terms(2000, 1200), terms(2000, 0), Some(4800)),
            (terms(2000, 60_000), terms(2000, 0), Some(10_000)),
            (terms(0, 20), terms(2000, 0), Some(2000)),
            (terms(0, 20), terms(0, 0), None),
            (terms(i32::MAX as u64, 0), terms(i32::MAX as u64, i32::MAX as u64), Some(10_000)),
        ] {
            let expected = millis.map(Duration::from_millis);
            assert_eq!((silence(a, b, timeout), silence(b, a, timeout)), (expected, expected));
        }
    }
}
