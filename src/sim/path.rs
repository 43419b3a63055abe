//! One direction between two addresses, with its state: the queue, the state of the loss, and the counters.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use super::link::{Link, Loss, Queue};
use super::trace::DropReason;
use crate::base::rng::Rng;
use crate::base::time::Instant;

/// Bytes that IP and UDP add to a datagram to `to`.
pub(super) fn header_len(to: IpAddr) -> usize {
    if to.is_ipv4() { 28 } else { 48 }
}

/// Counters of the datagrams of a path, or of all paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Bytes of datagrams that were sent, without headers.
    pub sent_bytes: u64,
    /// Datagrams that arrived at a socket, copies counted.
    pub delivered: u64,
    /// Bytes of datagrams that arrived.
    pub delivered_bytes: u64,
    /// Lost by [`Loss`].
    pub lost: u64,
    /// Dropped because the queue was full.
    pub queue_full: u64,
    /// Dropped by a partition, a [rule](super::Network::on_packet), the MTU, or for want of room or a socket at the receiver.
    pub dropped: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Delivered with flipped bits.
    pub corrupted: u64,
    /// Held up to be overtaken.
    pub reordered: u64,
}

impl LinkStats {
    /// Both together.
    pub(super) fn plus(self, other: &Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            delivered: self.delivered + other.delivered,
            delivered_bytes: self.delivered_bytes + other.delivered_bytes,
            lost: self.lost + other.lost,
            queue_full: self.queue_full + other.queue_full,
            dropped: self.dropped + other.dropped,
            duplicated: self.duplicated + other.duplicated,
            corrupted: self.corrupted + other.corrupted,
            reordered: self.reordered + other.reordered,
        }
    }

    /// Counts one dropped for `reason`.
    pub(super) fn count_drop(&mut self, reason: DropReason) {
        match reason {
            DropReason::Loss => self.lost += 1,
            DropReason::QueueFull => self.queue_full += 1,
            _ => self.dropped += 1,
        }
    }
}

/// Fate of a datagram on a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// The datagram is dropped.
    Dropped(DropReason),
    /// The datagram arrives, and if `copy` is given once more then.
    Arrives { at: Instant, corrupt: bool, copy: Option<Instant> },
}

/// A path and its state.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) link: Link,
    /// The link was set for this path; a new default does not change it.
    pub(super) own_link: bool,
    /// A partition is in the way.
    pub(super) cut: bool,
    pub(super) stats: LinkStats,
    rng: Rng,
    bad: bool,
    busy_until: Instant,
    /// End of transmission of the queued datagrams, and their sizes with headers.
    queue: VecDeque<(Instant, usize)>,
    queued_bytes: usize,
    /// Time at which the datagram that has just joined the queue leaves it.
    just_queued: Option<Instant>,
    /// The latest arrival of those that keep their order.
    last_arrival: Instant,
}

impl Path {
    pub(super) fn new(from: IpAddr, to: IpAddr, link: Link, rng: Rng) -> Self {
        Self {
            from,
            to,
            link,
            own_link: false,
            cut: false,
            stats: LinkStats::default(),
            rng,
            bad: false,
            busy_until: Instant::ZERO,
            queue: VecDeque::new(),
            queued_bytes: 0,
            just_queued: None,
            last_arrival: Instant::ZERO,
        }
    }

    /// Decides about a datagram of `size` bytes, headers included, that is sent now.
    pub(super) fn pass(&mut self, now: Instant, size: usize) -> Fate {
        if self.cut {
            return Fate::Dropped(DropReason::Partition);
        }
        if size > self.link.mtu {
            return Fate::Dropped(DropReason::TooLarge);
        }
        let Some(transmitted) = self.enqueue(now, size) else { return Fate::Dropped(DropReason::QueueFull) };
        if self.loses() {
            return Fate::Dropped(DropReason::Loss);
        }
        let corrupt = self.rng_says(self.link.corrupt);
        let copy = self.rng_says(self.link.duplicate).then(|| self.arrival(transmitted));
        Fate::Arrives { at: self.arrival(transmitted), corrupt, copy }
    }

    /// Flips one to four bits.
    pub(super) fn corrupt(&mut self, data: &mut [u8]) {
        let bits = data.len() as u64 * 8;
        if bits == 0 {
            return;
        }
        for _ in 0..=self.rng.below(4) {
            let bit = self.rng.below(bits);
            if let Some(byte) = data.get_mut((bit / 8) as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Puts a datagram into the queue and returns when it will have been transmitted; `None` if there is no room.
    fn enqueue(&mut self, now: Instant, size: usize) -> Option<Instant> {
        let Some(rate) = self.link.rate else { return Some(now) };
        while let Some(&(at, len)) = self.queue.front() {
            if at > now {
                break;
            }
            self.queue.pop_front();
            self.queued_bytes -= len;
        }
        let fits = match self.link.queue {
            Queue::Packets(n) => self.queue.len() < n,
            Queue::Bytes(n) => self.queued_bytes + size <= n,
        };
        if !fits {
            return None;
        }
        let nanos = (size as u128 * 8 * 1_000_000_000).div_ceil(u128::from(rate));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.busy_until = self.busy_until.max(now) + takes;
        self.queue.push_back((self.busy_until, size));
        self.queued_bytes += size;
        self.just_queued = Some(self.busy_until);
        Some(self.busy_until)
    }

    /// Returns the time at which the datagram that has just joined the queue leaves it, if one has.
    pub(super) fn take_queued(&mut self) -> Option<Instant> {
        self.just_queued.take()
    }

    fn loses(&mut self) -> bool {
        match self.link.loss {
            Loss::None => false,
            Loss::Random(p) => self.rng_says(p),
            Loss::Bursty { enter, leave, good, bad } => {
                let turn = if self.bad { leave } else { enter };
                self.bad ^= self.rng_says(turn);
                self.rng_says(if self.bad { bad } else { good })
            }
        }
    }

    /// Returns the arrival of a datagram that was transmitted at `from`.
    fn arrival(&mut self, from: Instant) -> Instant {
        let jitter = self.draw(self.link.jitter);
        let at = (from + self.link.latency + jitter).max(self.last_arrival);
        if self.rng_says(self.link.reorder) {
            self.stats.reordered += 1;
            return at + self.draw(self.link.reorder_delay);
        }
        self.last_arrival = at;
        at
    }

    /// Something between nothing and `most`.
    fn draw(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return Duration::ZERO;
        }
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(self.rng.below(most.saturating_add(1)))
    }

    /// True with probability `p`, without a draw where there is nothing to decide.
    fn rng_says(&mut self, p: f64) -> bool {
        p > 0.0 && self.rng.chance(p)
    }
}
