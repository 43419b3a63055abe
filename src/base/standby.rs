//! Taking over what another thread stops doing.

use super::sync::{AtomicBool, Ordering, fence};

/// Between one thread that leads and one that stands by to take over: neither goes to sleep on the other.
///
/// The one that stands by says so and then looks whether there is a leader; the leader stops leading and then looks
/// whether somebody stands by. Each stores first and loads then, so that one of the two sees the other, but only with a
/// sequentially consistent fence between: without it a processor (AArch64 is one) may load first, and a load or store
/// that is sequentially consistent by itself is not enough, because what says who leads is a lock of ordinary strength.
#[derive(Debug)]
pub struct Standby(AtomicBool);

impl Standby {
    /// Nobody stands by.
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Stands by if `is_led` says that somebody leads: whether it does. Then the leader sees it when it stops.
    pub fn stand_by(&self, is_led: impl FnOnce() -> bool) -> bool {
        self.0.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        let led = is_led();
        if !led {
            self.0.store(false, Ordering::Relaxed);
        }
        led
    }

    /// For the leader, when it has stopped: whether somebody stood by, who is to be told.
    pub fn relieve(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}

impl Default for Standby {
    fn default() -> Self {
        Self::new()
    }
}
