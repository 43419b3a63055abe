//! The path of a flow: the state of a sender, for observers, and what the layer says of its way.

use core::time::Duration;

use super::Frct;
use crate::base::time::Instant;

/// The state of the sending direction of a flow with FRCT, at one moment.
///
/// Sizes count what layers below add to a packet, by an estimate, as congestion control does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrctPath {
    /// Smoothed round-trip time; zero before the first measurement.
    pub round_trip: Duration,
    /// Shortest round-trip time of about the last ten seconds; zero before the first measurement.
    pub min_round_trip: Duration,
    /// Bytes that congestion control allows to be in flight; `None` within a stack, where there is none, and on flows that
    /// are not reliable.
    pub window: Option<u64>,
    /// Bytes in flight: sent, and neither acknowledged nor believed lost.
    pub in_flight: u64,
    /// The largest packet of user data that the path carries, bytes, if that was found to be less than the layer below says.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub packet_limit: Option<usize>,
}

impl Frct {
    /// The state of the sending direction.
    pub fn path(&self) -> FrctPath {
        FrctPath {
            round_trip: Duration::from_nanos(self.tx.rtt.smoothed()),
            min_round_trip: Duration::from_nanos(self.tx.rtt.min()),
            window: self.tx.rate.congestion.as_ref().map(|controller| controller.window()),
            in_flight: self.tx.flight,
            packet_limit: self.packet_limit(),
        }
    }

    /// Returns `true` if [`handle_path_change`](Self::handle_path_change) would have the oldest packet sent again.
    pub(crate) fn would_retry(&self, now: Instant) -> bool {
        !self.down && self.tx.backs_off() && self.tx.may_retry(now, &self.params)
    }

    /// The layer has lost the way that packets of this end went, as it found out for itself, and now sends them another. What
    /// was lost there says nothing of congestion (RFC 6069): a sender that has backed off tries again, as after one more timeout
    /// and with the window that such a one leaves, and a receiver repeats what it may have said in vain. However often this is
    /// called, either happens once in a timeout at most.
    pub(crate) fn handle_path_change(&mut self, now: Instant) {
        if self.down {
            return;
        }
        self.tx.asking.hurry(now);
        let heeded = self.tx.retry(now, &self.params);
        // Later than A after the data it would not be sent (Delta-t), nor would anybody wait for it.
        if heeded && self.params.reliable && self.stats.received > 0 && self.rx.may_ack(now, &self.params) {
            self.rx.due = true;
        }
    }
}
