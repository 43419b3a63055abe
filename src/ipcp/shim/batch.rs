//! Batching of a port's packets, and retries while the device is full.

use alloc::sync::{Arc, Weak};
use core::time::Duration;

use crate::base::sync::{AtomicBool, MutexGuard, Ordering};
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::forward::sched::Gate;

/// Packets that follow each other faster than this are a burst.
const BURST_GAP: Duration = Duration::from_micros(40);
/// From this many packets in a burst on they are collected, to be sent in one go.
const BURST_LEN: u32 = 8;
/// A device is asked again what waits in it before as many may wait: what it said last, and packets since. That is less than
/// what makes a mark, and than what it may always hold, so that no single packet is ever held back because of a guess; the end
/// of many that are sent at once may be, for as long as the gate waits before it looks again. A datagram to this host counts
/// until its receiver has it, so that one waits of every ping-pong.
const ASK_FROM: usize = Gate::LEAST;
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
    /// Packets since.
    unasked: usize,
}

impl Burst {
    /// Takes note of packets that are to be sent.
    pub(super) fn note(&mut self, now: Instant, packets: usize) {
        self.len = if now.since(self.last) < BURST_GAP { self.len.saturating_add(packets as u32) } else { 0 };
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

    /// About how many packets wait to leave: the port's `own`, and those in the `device`, which is asked if `always`, if some
    /// have been collected, or now and then.
    pub(super) fn queued(&mut self, own: usize, always: bool, device: impl FnOnce() -> usize) -> usize {
        // To ask the device may cost a system call. No more can wait, of this port, than this. Beyond that there is no
        // telling: that packets come one by one does not mean that nothing waits, for in front of a slow device they come no
        // faster than they leave. Those that have been collected would count twice.
        let guess = self.waiting + self.unasked;
        if own == 0 && guess < ASK_FROM && !always {
            return guess;
        }
        self.waiting = device();
        self.unasked = 0;
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

    fn asked(packets: u64, gap: Duration, own: usize, waiting: usize) -> usize {
        let (mut burst, mut asked) = (Burst::default(), 0);
        for n in 0..packets {
            burst.note(Instant::from_millis(1) + gap * n as u32, 1);
            burst.queued(own, false, || {
                asked += 1;
                waiting
            });
        }
        asked
    }

    #[test]
    fn a_device_is_asked_before_it_may_hold_what_matters() {
        for gap in [BURST_GAP * 2, BURST_GAP / 2] {
            assert_eq!([0, 1, 3, 7, 8].map(|waiting| asked(800, gap, 0, waiting)), [100, 114, 159, 793, 793]);
            assert_eq!(asked(800, gap, 1, 0), 800, "what was collected is more than a guess");
        }
    }

    /// Whatever it is told without asking, the gate in front of a device has room for a packet: else nothing would be sent,
    /// and the device never asked again.
    #[test]
    fn a_guess_holds_nothing_back() {
        for waiting in 0..20 {
            let mut burst = Burst::default();
            for n in 0..100 {
                burst.note(Instant::from_millis(n), 1);
                let mut asked = false;
                let queued = burst.queued(0, false, || {
                    asked = true;
                    waiting
                });
                assert!(asked || queued < Gate::LEAST, "{queued} without asking, {waiting} when asked");
            }
        }
    }
}
