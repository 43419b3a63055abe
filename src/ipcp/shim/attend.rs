//! The receive loop of a shim: who reads from the device, when, and for how long.
//!
//! There is one for all shims. A thread that waits for a flow *drives* the device of that flow itself; when none does, a
//! background thread *stands by* ([`Lead`] decides between them); a polled stack *polls*. Each of these receives one batch
//! or two and then handles the management messages among them, so that nobody is kept here by a flood.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use core::time::Duration;

use super::{Lead, Shim, Turn};
use crate::base::foreign::Panics;
use crate::base::sync::MutexGuard;
use crate::base::time::{Clock, Instant};
use crate::flow::Drive;
use crate::ipcp::Ipcp;

/// A shim and its receive loop, whatever the type of the shim: what a stack and its background threads hold.
pub trait Attended: Drive {
    /// The layer's member.
    fn ipcp(&self) -> Arc<dyn Ipcp>;

    /// Receives one batch of what has arrived and delivers it, without waiting. `false` if another thread is receiving.
    fn poll(&self, now: Instant) -> bool;

    /// What the background thread of the device should do now; `me` wakes it.
    fn stand_by(&self, now: Instant, me: &Waker) -> Turn;

    /// Waits for the device as its background thread, for `timeout` at most, and receives what has arrived. `false` if
    /// the shim panicked.
    fn guard(&self, timeout: Duration) -> bool;

    /// Ends a [`guard`](Self::guard) under way, or the next one.
    fn dismiss(&self);

    /// Returns `true` if the layer has been left.
    fn is_down(&self) -> bool;
}

/// The receive loop of one shim.
pub struct ReceiveLoop<S: Shim> {
    shim: Arc<S>,
    lead: Lead<S::Receiver>,
    clock: Arc<dyn Clock>,
    panics: Arc<Panics>,
}

impl<S: Shim> ReceiveLoop<S> {
    /// The loop of the shim that `make` makes. `make` is given what leads back to the loop, for the shim's
    /// [`Ipcp::device`] and the [`Port::device`](crate::flow::Port::device) of its ports.
    pub fn new(
        clock: &Arc<dyn Clock>,
        panics: &Arc<Panics>,
        make: impl FnOnce(Weak<dyn Drive>) -> Arc<S>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me: &Weak<Self>| {
            let me: Weak<dyn Drive> = Weak::<Self>::clone(me);
            let shim = make(me);
            Self { lead: Lead::new(shim.receiver()), clock: Arc::clone(clock), panics: Arc::clone(panics), shim }
        })
    }

    /// Calls the shim, which may be a user's own. `None` if it panicked.
    fn on_shim<R>(&self, f: impl FnOnce(&S) -> R) -> Option<R> {
        self.panics.call(|| f(&self.shim))
    }

    /// Receives without waiting, and returns how many packets there were. `None` if the shim panicked.
    fn receive_once(&self, now: Instant, mut receiver: MutexGuard<'_, S::Receiver>) -> Option<usize> {
        let received = self.on_shim(|shim| shim.receive(now, &mut receiver));
        drop(receiver);
        self.on_shim(S::handle_management).and(received)
    }

    /// One turn of the thread that leads. Returns whether packets were waiting for it; `None` if the shim panicked.
    fn lead(&self, receiver: &mut S::Receiver, now: Instant, wait: Duration, woken: &AtomicBool) -> Option<bool> {
        let received = self.on_shim(|shim| shim.receive(now, receiver))?;
        if received == 0 && !wait.is_zero() && !woken.load(Ordering::SeqCst) {
            self.on_shim(|shim| shim.wait(wait))?;
            let now = self.clock.now();
            self.lead.still_led(now);
            self.on_shim(|shim| shim.receive(now, receiver))?;
        }
        Some(received > 0)
    }
}

impl<S: Shim> Attended for ReceiveLoop<S> {
    fn ipcp(&self) -> Arc<dyn Ipcp> {
        Arc::<S>::clone(&self.shim)
    }

    fn poll(&self, now: Instant) -> bool {
        let Some(receiver) = self.lead.borrow() else { return false };
        self.receive_once(now, receiver);
        true
    }

    fn stand_by(&self, now: Instant, me: &Waker) -> Turn {
        self.lead.turn(now, me)
    }

    fn guard(&self, timeout: Duration) -> bool {
        let waited = self.on_shim(|shim| shim.guard(timeout));
        let Some(receiver) = self.lead.borrow() else {
            // The leader is back, and was woken by the same packet.
            self.lead.note(false);
            return waited.is_some();
        };
        let before = self.panics.reached();
        let received = self.receive_once(self.clock.now(), receiver);
        if received != Some(0) {
            self.lead.note(self.panics.reached() != before);
        }
        waited.and(received).is_some()
    }

    fn dismiss(&self) {
        self.on_shim(S::dismiss);
    }

    fn is_down(&self) -> bool {
        self.shim.is_down()
    }
}

impl<S: Shim> Drive for ReceiveLoop<S> {
    fn drive(&self, wait: Duration, woken: &AtomicBool) -> bool {
        if self.shim.is_down() {
            return false;
        }
        let now = self.clock.now();
        let Some(mut receiver) = self.lead.begin(now) else { return false };
        let was_long = self.lead.take_was_long();
        let (before, was_woken) = (self.panics.reached(), woken.load(Ordering::SeqCst));
        let led = self.lead(&mut receiver, now, wait, woken);
        self.lead.end(receiver);
        let handled = self.on_shim(S::handle_management);
        if was_long {
            // The leader itself may be among those who were woken.
            let own = u64::from(!was_woken && woken.load(Ordering::SeqCst));
            let reached = self.panics.reached().wrapping_sub(before) > own;
            self.lead.note(led == Some(true) && reached);
        }
        // Whoever waits for a shim that panics must not be the one who asks it again at once.
        led.and(handled).is_some()
    }

    fn leave(&self) {
        self.lead.leave(self.clock.now());
    }

    fn interrupt(&self) {
        self.on_shim(S::interrupt);
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
