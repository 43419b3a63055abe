//! Pacing: the time at which the next packet may leave, and the rate at which the last ones arrived.

use super::segment::Segment;
use crate::base::time::Instant;

/// A flow that was late may catch up by so much, nanoseconds: the longest burst. A path shorter than this is not paced
/// at all, its window leaves in one go, and packets that are due within it go out together.
const CREDIT: u64 = 1_000_000;
/// A flow that has to wait waits until so much is due, nanoseconds, so that no timer runs for each packet.
const WAIT: u64 = 500_000;

/// Spreads packets over time. Without a rate everything may leave at once.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Nanoseconds a byte, 1/65536; 0: no rate.
    price: u64,
    /// When the next packet is due, and what the last one cost, nanoseconds.
    due: Instant,
    gap: u64,
    /// When to look again; far in the future unless something waits.
    pub(super) wake_at: Instant,
}

impl Pacer {
    pub(super) fn new() -> Self {
        Self { price: 0, due: Instant::ZERO, gap: 0, wake_at: Instant::FAR_FUTURE }
    }

    /// Bytes a second from now on.
    pub(super) fn set_rate(&mut self, rate: u64) {
        self.price = (1_000_000_000 << 16) / rate.max(1);
    }

    /// Returns `true` if a packet may leave; if not, [`wake_at`](Self::wake_at) says when.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if self.price == 0 || self.due <= now {
            self.wake_at = Instant::FAR_FUTURE;
            return true;
        }
        self.wake_at = self.due.plus_nanos(WAIT.saturating_sub(self.gap));
        false
    }

    /// A packet leaves.
    pub(super) fn sent(&mut self, now: Instant, bytes: u64) {
        if self.price == 0 {
            return;
        }
        self.gap = (bytes.saturating_mul(self.price) >> 16).min(60_000_000_000);
        // Time that was not used is credited up to a limit: a flow that was held up catches up, one that has rested
        // does not flood the path.
        let earliest = Instant::from_nanos(now.as_nanos().saturating_sub(CREDIT.max(self.gap)));
        self.due = self.due.max(earliest).plus_nanos(self.gap);
    }

    /// The timer part: whether something waits is looked at again.
    pub(super) fn check(&mut self, now: Instant) {
        if now >= self.wake_at {
            self.idle();
        }
    }

    /// Whoever waited has nothing left to wait for.
    pub(super) fn idle(&mut self) {
        self.wake_at = Instant::FAR_FUTURE;
    }
}

/// Measures the rate of delivery, after draft-cheng-iccrg-delivery-rate-estimation.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Bytes that have arrived, and when the last of them did.
    pub(super) delivered: u64,
    delivered_at: Instant,
    /// When the packet was sent that arrived last.
    first_sent: Instant,
    /// Until so many have arrived the application, not the path, sets the rate.
    limited_until: u64,
}

/// What a segment remembers of the moment it was sent.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    limited: bool,
}

/// What an acknowledgement says about the rate: of the packet sent last.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) mark: Option<(Mark, Instant)>,
}

impl Meter {
    /// A packet leaves, while `in_flight` bytes are under way.
    pub(super) fn sent(&mut self, now: Instant, in_flight: u64) -> Mark {
        // The interval begins here. Otherwise the pause before would count as slow delivery.
        if in_flight == 0 {
            self.delivered_at = now;
            self.first_sent = now;
        }
        let limited = self.limited_until != 0;
        Mark { delivered: self.delivered, delivered_at: self.delivered_at, first_sent: self.first_sent, limited }
    }

    /// A segment arrived that counts `bytes`.
    pub(super) fn arrived(&mut self, now: Instant, segment: &Segment, bytes: u64, sample: &mut Sample) {
        self.delivered += bytes;
        self.delivered_at = now;
        // Of those that arrive together the one sent last has the shortest interval, and tells the present rate.
        if sample.mark.is_none_or(|(mark, sent)| (segment.mark.delivered, segment.sent) >= (mark.delivered, sent)) {
            sample.mark = Some((segment.mark, segment.sent));
        }
    }

    /// The rate that a sample shows, bytes a second, and whether the application kept it low.
    pub(super) fn rate(&mut self, now: Instant, sample: &Sample, min_rtt: u64) -> Option<(u64, bool)> {
        let (mark, sent) = sample.mark?;
        self.first_sent = sent;
        if self.delivered > self.limited_until {
            self.limited_until = 0;
        }
        // The longer of the times for sending and for arriving: acknowledgements that come in one go would otherwise
        // show a rate that the path does not have.
        let took = sent.nanos_since(mark.first_sent).max(now.nanos_since(mark.delivered_at));
        // Shorter than a round trip, it is the spacing of acknowledgements that would be measured.
        if took == 0 || took < min_rtt {
            return None;
        }
        let bytes = self.delivered - mark.delivered;
        let rate = u128::from(bytes) * 1_000_000_000 / u128::from(took);
        Some((u64::try_from(rate).unwrap_or(u64::MAX), mark.limited))
    }

    /// Returns `true` if as much has been noted.
    pub(super) fn is_starved(&self, in_flight: u64) -> bool {
        self.limited_until == (self.delivered + in_flight).max(1)
    }

    /// The application has nothing more to send, while `in_flight` bytes are under way.
    pub(super) fn starved(&mut self, in_flight: u64) {
        self.limited_until = (self.delivered + in_flight).max(1);
    }
}
