//! Notifications of a driver or a device: of threads that wait, and of tasks.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::Waker;
#[cfg(feature = "std")]
use core::time::Duration;

use crate::base::sync::{AtomicBool, Mutex, Ordering};
#[cfg(feature = "std")]
use crate::device::Bell;

/// The waiters of a driver: the threads of a stack, and the task of one that is polled.
#[derive(Default)]
pub(super) struct Told {
    #[cfg(feature = "std")]
    bell: Bell,
    task: Task,
}

/// A task that is to be woken. Waking it never waits for a lock, so a handler of interrupts may do it.
#[derive(Default)]
pub(super) struct Task {
    waker: Mutex<Option<Waker>>,
    is_due: AtomicBool,
}

impl Task {
    /// Has `waker` called from now on. It is called at once if [`wake`](Self::wake) was since the last call.
    pub(super) fn set(&self, waker: &Waker) {
        let mut known = self.waker.lock();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        drop(known);
        // Whoever found the lock taken has left this mark.
        if self.is_due.swap(false, Ordering::AcqRel) {
            waker.wake_by_ref();
        }
    }

    pub(super) fn wake(&self) {
        self.is_due.store(true, Ordering::Release);
        let waker = self.waker.try_lock().and_then(|waker| waker.clone());
        if let Some(waker) = waker {
            self.is_due.store(false, Ordering::Release);
            waker.wake();
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        Self::wake(&self);
    }
}

impl Told {
    pub(super) fn set_waker(&self, waker: &Waker) {
        self.task.set(waker);
    }
}

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        #[cfg(feature = "std")]
        self.bell.ring();
        self.task.wake();
    }
}

/// Without the standard library nobody waits: stacks are polled.
#[cfg(feature = "std")]
impl Told {
    pub(super) fn wait(&self, timeout: Duration) {
        self.bell.wait(timeout);
    }

    pub(super) fn interrupt(&self) {
        self.bell.interrupt();
    }

    pub(super) fn guard(&self, timeout: Duration) {
        self.bell.guard(timeout);
    }

    pub(super) fn dismiss(&self) {
        self.bell.dismiss();
    }
}

#[cfg(not(feature = "std"))]
impl Told {
    pub(super) fn wait(&self, _: core::time::Duration) {}

    pub(super) fn interrupt(&self) {}

    pub(super) fn guard(&self, _: core::time::Duration) {}

    pub(super) fn dismiss(&self) {}
}
