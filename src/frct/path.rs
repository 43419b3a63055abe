//! The state of a sender, for observers of a flow.

use core::time::Duration;

use super::Frct;

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
}
