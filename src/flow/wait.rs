//! Who waits for an endpoint, and how they are told.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering, fence};
use core::task::Waker;

use super::Wakers;
use crate::base::sync::Mutex;

/// The tasks and threads that wait for one condition. Several may; all are woken, and look again.
///
/// The protocol against lost wake-ups: a waiter registers, *then* looks at the condition again; whoever changes the
/// condition does so first and looks for waiters *then*. The sequentially consistent fences order the two.
#[derive(Default)]
pub(super) struct WaitSet {
    any: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

/// Waiters of one condition of one endpoint; beyond it the oldest is woken and has to come back.
const LIMIT: usize = 1024;

impl WaitSet {
    /// Remembers `waker`. The caller must look at its condition again afterwards.
    pub(super) fn register(&self, waker: &Waker) {
        let mut crowded_out = None;
        {
            let mut wakers = self.wakers.lock();
            if !wakers.iter().any(|w| w.will_wake(waker)) {
                if wakers.len() >= LIMIT {
                    crowded_out = Some(wakers.remove(0));
                }
                wakers.push(waker.clone());
            }
            self.any.store(true, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
        if let Some(waker) = crowded_out {
            waker.wake();
        }
    }

    /// Whether somebody may be waiting. Call after changing the condition.
    pub(super) fn any(&self) -> bool {
        fence(Ordering::SeqCst);
        self.any.load(Ordering::SeqCst)
    }

    /// Moves all waiters to `out`, to be woken once no lock is held.
    pub(super) fn take(&self, out: &mut Wakers) {
        if !self.any() {
            return;
        }
        let mut wakers = self.wakers.lock();
        out.extend(wakers.drain(..));
        self.any.store(false, Ordering::SeqCst);
    }

    /// Wakes everybody.
    pub(super) fn wake(&self) {
        if !self.any() {
            return;
        }
        let mut out = Wakers::new();
        self.take(&mut out);
        for w in out {
            w.wake();
        }
    }
}
