//! Replies that are much larger than their requests, to hosts that have not shown that they are where they say.
//!
//! What a server shows, its certificate first, makes the reply to a small request many times as large as that, and whoever names
//! another as the sender has that one flooded. It could be asked to show its address before, but a requester of the reference
//! cannot, and all others would wait for a round trip more. So there is a bound, for each host, on what replies have beyond
//! [three times](super::limits::AMPLIFICATION) the bytes of their requests, counted until the host is heard on the flow that a
//! reply opens, or could not be heard any more. One that is there is heard within a round trip, so that few are ever refused; a
//! requester of this library then learns how it shows its address.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::base::time::Instant;
use crate::flow::FlowKey;

/// Bytes that the replies to one host may have beyond that; a single one may have more.
const EXCESS: usize = 64 << 10;
/// A reply counts for as many bytes at least, so that those of a host are few.
const LEAST: usize = 512;
/// Replies that are counted, of all hosts; beyond it the oldest are not any more. Whoever has them pushed out, to have a host sent
/// more than that, asks for as many.
const MOST: usize = 16_384;
/// Bytes of a reply besides the security header, without those of what carries it.
pub(super) const HEADER: usize = 48;

/// What hosts have been sent and not been heard for.
pub(super) struct Owed {
    /// Bytes by host.
    hosts: BTreeMap<u64, usize>,
    flows: BTreeMap<FlowKey, Debt>,
    /// Ordered by age.
    order: BTreeSet<(Instant, FlowKey)>,
    /// Time for which a reply counts.
    keep: Duration,
}

struct Debt {
    host: u64,
    bytes: usize,
    until: Instant,
}

impl Owed {
    /// Each is counted for the time `keep`.
    pub(super) const fn new(keep: Duration) -> Self {
        Self { hosts: BTreeMap::new(), flows: BTreeMap::new(), order: BTreeSet::new(), keep }
    }

    /// Counts the reply that opens a flow, which has `bytes` more than it may. `false` if that is too much for the host.
    pub(super) fn add(&mut self, now: Instant, host: u64, bytes: usize, flow: FlowKey) -> bool {
        self.expire(now);
        let bytes = bytes.max(LEAST);
        let owed = self.hosts.get(&host).copied().unwrap_or(0);
        if owed > 0 && owed.saturating_add(bytes) > EXCESS {
            return false;
        }
        if self.flows.len() >= MOST
            && let Some((_, oldest)) = self.order.first().copied()
        {
            self.pay(oldest);
        }
        let until = now + self.keep;
        self.hosts.insert(host, owed.saturating_add(bytes));
        self.flows.insert(flow, Debt { host, bytes, until });
        self.order.insert((until, flow));
        true
    }

    /// The host was heard on this flow, or was sent no reply.
    pub(super) fn pay(&mut self, flow: FlowKey) {
        let Some(Debt { host, bytes, until }) = self.flows.remove(&flow) else { return };
        self.order.remove(&(until, flow));
        if let Some(owed) = self.hosts.get_mut(&host) {
            *owed = owed.saturating_sub(bytes);
            if *owed == 0 {
                self.hosts.remove(&host);
            }
        }
    }

    /// Replies that are counted.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    fn expire(&mut self, now: Instant) {
        while let Some((until, flow)) = self.order.first().copied().filter(|(until, _)| *until <= now) {
            debug_assert!(until <= now);
            self.pay(flow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(45);
    const NOW: Instant = Instant::from_millis(1);

    /// How many replies of so many bytes a host is sent from this flow on.
    fn sent(owed: &mut Owed, now: Instant, host: u64, bytes: usize, first: FlowKey) -> u64 {
        (first..).take_while(|flow| owed.add(now, host, bytes, *flow)).count() as u64
    }

    #[test]
    fn a_host_is_sent_so_much_until_it_is_heard_or_cannot_be() {
        let mut owed = Owed::new(KEEP);
        assert_eq!(sent(&mut owed, NOW, 7, 1024, 0), 64);
        assert_eq!(sent(&mut owed, NOW, 8, 1024, 1000), 64, "and another one as much");
        owed.pay(3);
        owed.pay(3);
        owed.pay(99);
        assert_eq!(sent(&mut owed, NOW, 7, 1024, 2000), 1);
        assert_eq!(sent(&mut owed, NOW + KEEP - Duration::from_nanos(1), 7, 1024, 3000), 0);
        assert_eq!(sent(&mut owed, NOW + KEEP, 7, 1024, 4000), 64);
        assert_eq!(owed.len(), 64);
        (4000..4064).for_each(|flow| owed.pay(flow));
        assert_eq!((owed.len(), owed.hosts.len(), owed.order.len()), (0, 0, 0));
    }

    #[test]
    fn a_single_reply_may_always_be_sent_and_small_ones_are_no_fewer() {
        let mut owed = Owed::new(KEEP);
        assert!(owed.add(NOW, 7, 1 << 20, 1) && !owed.add(NOW, 7, 1, 2));
        assert_eq!(sent(&mut owed, NOW, 8, 1, 10), (EXCESS / LEAST) as u64);
    }

    #[test]
    fn hosts_that_are_many_keep_nobody_out() {
        let mut owed = Owed::new(KEEP);
        assert!(owed.add(NOW, 7, 1024, 1));
        for n in 0..2 * MOST as u64 {
            assert!(owed.add(NOW + Duration::from_nanos(n), 100 + n, 1024, 100 + n));
        }
        assert_eq!((owed.len(), owed.hosts.len(), owed.order.len()), (MOST, MOST, MOST));
        assert!(owed.add(NOW + Duration::from_secs(1), 7, 1024, 2));
    }
}
