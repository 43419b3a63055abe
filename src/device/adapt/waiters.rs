//! Notifications of a driver or a device: of threads that wait, and of tasks.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::Waker;
#[cfg(feature = "std")]
use core::time::Duration;

use crate::base::waker::WakerCell;
#[cfg(feature = "std")]
use crate::device::Bell;

/// The waiters of a driver: the threads of a stack, and the task of one that is polled.
#[derive(Default)]
pub(super) struct Waiters {
    #[cfg(feature = "std")]
    bell: Bell,
    task: WakerCell,
}

impl Waiters {
    pub(super) fn set_waker(&self, waker: &Waker) {
        self.task.set(waker);
    }
}

impl Wake for Waiters {
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
impl Waiters {
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
impl Waiters {
    pub(super) fn wait(&self, _: core::time::Duration) {}

    pub(super) fn interrupt(&self) {}

    pub(super) fn guard(&self, _: core::time::Duration) {}

    pub(super) fn dismiss(&self) {}
}
