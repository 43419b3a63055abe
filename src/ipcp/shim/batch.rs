//! Batching of a port's packets, and retries while the device is full.

use alloc::sync::{Arc, Weak};
use core::time::Duration;

use crate::base::sync::{AtomicBool, MutexGuard, Ordering};
use crate::base::time::Instant;
use crate::flow::Endpoint;

/// Packets that follow each other faster than this are a burst.
const BURST_GAP: Duration = Duration::from_micros(40);
/// From this many packets in a burst on they are collected, to be sent in one go.
const BURST_LEN: u32 = 8;
/// After so many packets a device in which next to nothing waited is asked again what waits in it.
const ASK_AFTER: u32 = 8;
/// That is next to nothing: with as many packets as are sent meanwhile it is less than what makes a mark. A datagram to
/// this host counts until its receiver has it, so that one waits of every ping-pong.
const FEW: usize = 3;
/// A batch that has been unused for this long gives its memory back at the next flush.
const IDLE: Duration = Duration::from_millis(5);

/// Pause of a port before it tries a full device again, doubled each time up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(1);
const LONGEST_RETRY: Duration = Duration::from_millis(16);

/// The rate of a port's packets.
#[derive(Default)]
pub(super) struct Burst {
    last: Instant,
    len: u32,
    /// What the device said when it was last asked.
    waiting: usize,
    /// Packets since, if it said next to nothing; else no less than [`ASK_AFTER`].
    unasked: u32,
}

impl Burst {
    /// Takes note of packets that are to be sent.
    pub(super) fn note(&mut self, now: Instant, packets: usize) {
        let packets = packets as u32;
        self.len = if now.since(self.last) < BURST_GAP { self.len.saturating_add(packets) } else { 0 };
        self.last = now;
        self.unasked = self.unasked.saturating_add(packets);
    }

    /// Returns `true` if packets come fast enough to be collected.
    pub(super) fn is_long(&self) -> bool {
        self.len >= BURST_LEN
    }

    /// Returns `true` if the port has been unused for so long that its memory is better given back.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        now.since(self.last) > IDLE
    }

    /// About how many packets wait to leave: the port's `own`, and those in the `device`, which is asked if `always`, in a
    /// burst, or now and then.
    pub(super) fn queued(&mut self, own: usize, always: bool, device: impl FnOnce() -> usize) -> usize {
        // To ask the device may cost a system call, and in one that was all but empty a few packets ago no more than these wait
        // besides, of this port: together less than what makes a mark. Otherwise there is no telling: that packets come
        // one by one does not mean that nothing waits, for in front of a slow device they come no faster than they leave.
        if !self.is_long() && self.unasked < ASK_AFTER && !always {
            return own + self.waiting + self.unasked as usize;
        }
        self.waiting = device();
        self.unasked = if self.waiting <= FEW { 0 } else { ASK_AFTER };
        own + self.waiting
    }
}

/// The device has no room.
#[derive(Clone, Copy)]
pub(super) struct Stall {
    retry_at: Instant,
    pause: Duration,
}

impl Stall {
    /// The stall that begins now, or goes on after `before`.
    pub(super) fn new(now: Instant, before: Option<Self>) -> Self {
        let pause = before.map_or(FIRST_RETRY, |stall| (stall.pause * 2).min(LONGEST_RETRY));
        Self { retry_at: now + pause, pause }
    }

    /// Returns `true` if it is time to try again.
    pub(super) fn may_retry(&self, now: Instant) -> bool {
        now >= self.retry_at
    }
}

/// The packets that a port holds back, as far as its [`Up`] deals with them.
pub(super) trait Collected {
    fn stall(&mut self) -> &mut Option<Stall>;
    fn burst(&self) -> &Burst;
    /// Gives the memory back that bursts have made it grow to. It is empty.
    fn shrink(&mut self);
}

/// The way from a port up to its endpoint: ticks, and whether there is room in the device.
pub(super) struct Up {
    endpoint: Weak<Endpoint>,
    /// The port is stalled. Changed under the lock of its batch only, so that the last word is the true one.
    stalled: AtomicBool,
}

impl Up {
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self { endpoint: Arc::downgrade(endpoint), stalled: AtomicBool::new(false) }
    }

    /// The device has no room, or still has none. Under the lock of the batch.
    pub(super) fn stall(&self, now: Instant, batch: &mut impl Collected) {
        let stall = batch.stall();
        *stall = Some(Stall::new(now, *stall));
        self.stalled.store(true, Ordering::Release);
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Has `send` send what has been collected, which says whether there was room for everything, and ends the call. An idle
    /// port keeps no memory for bursts.
    pub(super) fn flush<B: Collected>(
        &self,
        now: Instant,
        mut batch: MutexGuard<'_, B>,
        send: impl FnOnce(&mut B) -> bool,
    ) {
        let stalled = !send(&mut batch);
        if !stalled && batch.burst().is_idle(now) {
            batch.shrink();
        }
        self.leave(batch, stalled, stalled);
    }

    /// Ends a call on the batch: takes note of how it has left it, gives back the lock, and tells the endpoint that something
    /// waits, and that there is room again, if there was none. No other lock is held.
    pub(super) fn leave<B>(&self, batch: MutexGuard<'_, B>, waits: bool, stalled: bool) {
        // Nobody else writes it meanwhile, and it is mostly as it was.
        let room = !stalled && self.stalled.load(Ordering::Relaxed);
        if room {
            self.stalled.store(false, Ordering::Release);
        }
        drop(batch);
        if !waits && !room {
            return;
        }
        let Some(endpoint) = self.endpoint.upgrade() else { return };
        if waits {
            endpoint.tick();
        }
        if room {
            endpoint.notify_writable();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(packets: u64, gap: Duration, waiting: usize) -> usize {
        let (mut burst, mut asked) = (Burst::default(), 0);
        for n in 0..packets {
            burst.note(Instant::from_millis(1) + gap * n as u32, 1);
            burst.queued(0, false, || {
                asked += 1;
                waiting
            });
        }
        asked
    }

    #[test]
    fn a_device_is_asked_as_often_as_its_answer_can_matter() {
        let apart = BURST_GAP * 2;
        assert_eq!([0, 1, FEW].map(|waiting| asked(800, apart, waiting)), [100; 3], "next to nothing waits");
        assert!(asked(800, apart, FEW + 1) > 790, "it fills up");
        assert!(asked(800, BURST_GAP / 2, 0) > 790, "a burst fills it within a moment");
    }
}
