//! The lead of a device: the one place that decides which thread receives from it.
//!
//! A thread that waits for a packet drives the device itself while it waits: it *leads*. That saves a ping-pong the
//! switch from one thread to another. But it leads only while it waits, and what it does between two reads is its own
//! affair, so when it is away somebody else has to look: the device's background thread, the *standby*.
//!
//! | the device is | the standby |
//! |---|---|
//! | led a moment ago | rests, then looks again |
//! | led for a while | sleeps until it is left |
//! | left by somebody who has come back soon of late | rests, then looks again |
//! | left by a thread that takes its time, and others depend on it | is woken at once and waits on the device itself |
//!
//! How long leaders stay away is measured ([`Lead::absence`], a moving average of the time from a leave to the next
//! arrival). Below [`SHORT`] it is not worth waking somebody who will find the leader back; above it, somebody whose
//! packets come through the same device would wait for the leader's own work.
//!
//! If there is such a somebody: a thread that decrypts a burst between two reads is away for long, too, and when its flow
//! is the only one, each handover costs two switches of threads and brings nobody anything. So it is measured as well
//! ([`Lead::note`]) whether what had come meanwhile reached anyone but the leader. Each batch that did not takes one of at most
//! [`CREDIT_MAX`] away, each that did brings [`CREDIT_FOR_REACHED`] back. Without any left the standby only looks now and
//! then, at intervals of [`REST`].
//!
//! # Orderings
//!
//! The standby must not sleep when nobody leads, nor rest when it was meant to take over. It *announces* what it is
//! about to do and *then* looks at what the leader does; a leader *ends*, or leaves, and *then* looks for an
//! announcement. A sequentially consistent fence stands between the two steps on either side, so at least one of the two
//! sees what the other has done: either the standby finds the device free, or the leader finds it announced and wakes
//! it. Without the fences each could look before its own step is visible to the other, also on a processor that orders
//! acquire and release; the lock alone does not forbid it, because failing to take it is a plain load.

use core::task::Waker;
use core::time::Duration;

use crate::base::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, fence};
use crate::base::time::Instant;

/// An absence that is not worth waking somebody for.
const SHORT: Duration = Duration::from_micros(100);
/// How long the standby rests until it looks whether the leader has come back.
const REST: Duration = Duration::from_millis(1);
/// The longest absence that counts: after a pause the average has to come down again soon.
const LONGEST: Duration = Duration::from_millis(2);

/// Batches that reached nobody, until the device is handed over no more.
const CREDIT_MAX: u64 = 64;
/// So many of them one makes up for that reached somebody: the wait that a handover saves is that much longer than the work
/// that it costs.
const CREDIT_FOR_REACHED: u64 = 16;

/// What the standby is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Wait on the device: it is nobody's.
    Guard,
    /// Ask again after this time, or when woken.
    Rest(Duration),
    /// Sleep until woken.
    Sleep,
}

/// A device, and who leads it.
///
/// Public for the model checker only, which looks at every interleaving of it (`tests/loom.rs`).
#[doc(hidden)]
pub struct Lead<T> {
    device: Mutex<T>,
    /// The standby, when it sleeps or rests.
    standby: Mutex<Option<Waker>>,
    /// It sleeps: wake it as soon as the device is left.
    sleeping: AtomicBool,
    /// It rests: wake it if the leader will be away for long.
    resting: AtomicBool,
    /// When somebody last led, nanoseconds; 0 if the device was handed over since.
    led_at: AtomicU64,
    /// When the last leader went back to its own work, nanoseconds; 0 when somebody has come since.
    left_at: AtomicU64,
    /// Moving average of absences, nanoseconds.
    absence: AtomicU64,
    /// The leader has come back from one that was long.
    was_long: AtomicBool,
    /// Futile batches left until there are no more handovers.
    pub(super) credit: AtomicU64,
}

impl<T> Lead<T> {
    /// A device that nobody leads.
    pub fn new(device: T) -> Self {
        Self {
            device: Mutex::new(device),
            standby: Mutex::new(None),
            sleeping: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            led_at: AtomicU64::new(0),
            left_at: AtomicU64::new(0),
            absence: AtomicU64::new(0),
            was_long: AtomicBool::new(false),
            credit: AtomicU64::new(CREDIT_MAX),
        }
    }

    /// The device, for a thread that does not wait for it; `None` if somebody has it.
    pub fn borrow(&self) -> Option<MutexGuard<'_, T>> {
        self.device.try_lock()
    }

    /// Makes the caller the leader until [`end`](Self::end); `None` if somebody has the device.
    pub fn begin(&self, now: Instant) -> Option<MutexGuard<'_, T>> {
        let device = self.device.try_lock()?;
        self.led_at.store(now.as_nanos(), Ordering::Relaxed);
        if self.left_at.load(Ordering::Relaxed) != 0 {
            let left = self.left_at.swap(0, Ordering::Relaxed);
            let away = now.as_nanos().saturating_sub(left).min(LONGEST.as_nanos() as u64);
            let average = self.absence.load(Ordering::Relaxed);
            // A lost update is one sample less.
            self.absence.store(average - average / 4 + away / 4, Ordering::Relaxed);
            self.was_long.store(away >= SHORT.as_nanos() as u64, Ordering::Relaxed);
        }
        Some(device)
    }

    /// Returns `true` once after a long absence, to the leader that has come back.
    pub fn take_was_long(&self) -> bool {
        self.was_long.load(Ordering::Relaxed) && self.was_long.swap(false, Ordering::Relaxed)
    }

    /// The leader has waited.
    pub fn still_led(&self, now: Instant) {
        self.led_at.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// The caller leads no more, for the moment at least.
    pub fn end(&self, device: MutexGuard<'_, T>) {
        drop(device);
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Takes note of whether what came while no leader was there has reached anyone but the leader. With the device, or
    /// just after.
    pub fn note(&self, reached: bool) {
        let credit = self.credit.load(Ordering::Relaxed);
        let next = if reached { (credit + CREDIT_FOR_REACHED).min(CREDIT_MAX) } else { credit.saturating_sub(1) };
        // Mostly it is at one of its ends. A lost update is one sample less.
        if next != credit {
            self.credit.store(next, Ordering::Relaxed);
        }
    }

    /// The leader goes back to its own work. If that is likely to take a while, the standby takes over.
    pub fn leave(&self, now: Instant) {
        self.left_at.store(now.as_nanos().max(1), Ordering::Relaxed);
        if self.absence() < SHORT || self.credit.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.led_at.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.resting.load(Ordering::Relaxed) && self.resting.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// How long leaders stay away, of late.
    pub fn absence(&self) -> Duration {
        Duration::from_nanos(self.absence.load(Ordering::Relaxed))
    }

    /// What the standby is to do now; `me` wakes it.
    pub fn turn(&self, now: Instant, me: &Waker) -> Turn {
        let before = self.standby.lock().replace(me.clone());
        drop(before);
        self.sleeping.store(false, Ordering::Relaxed);
        self.resting.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let led = self.led_at.load(Ordering::Relaxed);
        if led != 0 && now.as_nanos().saturating_sub(led) < REST.as_nanos() as u64 {
            // It comes and goes: a thread that announced its sleep would be woken each time.
            return Turn::Rest(REST);
        }
        self.resting.store(false, Ordering::Relaxed);
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.device.try_lock().is_none() {
            return Turn::Sleep;
        }
        self.sleeping.store(false, Ordering::Relaxed);
        Turn::Guard
    }

    fn wake(&self) {
        let standby = self.standby.lock().take();
        if let Some(standby) = standby {
            standby.wake();
        }
    }
}

#[cfg(test)]
mod tests;
