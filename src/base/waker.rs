//! The waker of a task that anything may wake, a handler of interrupts included.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::task::Waker;

use super::sync::{AtomicBool, Mutex, Ordering, fence};

/// The waker of a task. Waking the task never waits for a lock, so a handler of interrupts may do it, and neither that nor
/// [`set`](Self::set) calls or drops a waker with the lock held.
///
/// Who wakes marks that it is due, and then tries the lock; who holds the lock releases it, and then looks for the mark. With
/// a fence between the two steps of either, at least one sees what the other has done.
#[derive(Default)]
pub struct WakerCell {
    /// In an `Arc`, so that it can be taken along without foreign code.
    waker: Mutex<Option<Arc<Waker>>>,
    is_due: AtomicBool,
}

impl WakerCell {
    /// Has `waker` called from now on. It is called at once if [`wake`](Self::wake) was since the last call.
    pub fn set(&self, waker: &Waker) {
        let is_known = self.waker.lock().as_ref().is_some_and(|known| known.will_wake(waker));
        if !is_known {
            let made = Arc::new(waker.clone());
            let before = self.waker.lock().replace(made);
            drop(before);
        }
        self.pass_on();
    }

    /// Wakes the task; whoever is set next if there is none.
    pub fn wake(&self) {
        // Swapped, not stored: who takes the last mark sees what was done before all of them.
        self.is_due.swap(true, Ordering::AcqRel);
        self.pass_on();
    }

    /// Calls the waker if that is due, unless somebody else has the lock, who does it afterwards.
    fn pass_on(&self) {
        fence(Ordering::SeqCst);
        while self.is_due.load(Ordering::Acquire) {
            let Some(known) = self.waker.try_lock() else { return };
            let Some(waker) = (*known).clone() else { return };
            // Under the lock: the waker that was set last is called for every mark that is taken. What was done before the
            // marks is seen by the task.
            self.is_due.swap(false, Ordering::AcqRel);
            drop(known);
            waker.wake_by_ref();
            drop(waker);
            fence(Ordering::SeqCst);
        }
    }
}

impl Wake for WakerCell {
    fn wake(self: Arc<Self>) {
        Self::wake(&self);
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::sync::Weak;

    use super::*;

    std::thread_local! {
        /// Whether the cell's lock was free when wakers were dropped.
        static WAS_FREE: Cell<Option<bool>> = const { Cell::new(None) };
    }

    /// A waker that looks at the lock of the cell that it was in.
    struct Nosy(Weak<WakerCell>);

    impl Wake for Nosy {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Nosy {
        fn drop(&mut self) {
            if let Some(cell) = self.0.upgrade() {
                WAS_FREE.set(Some(cell.waker.try_lock().is_some()));
            }
        }
    }

    #[test]
    fn wakers_are_dropped_without_the_lock() {
        let cell = Arc::new(WakerCell::default());
        cell.set(&Waker::from(Arc::new(Nosy(Arc::downgrade(&cell)))));
        assert_eq!(WAS_FREE.get(), None, "it is kept");
        cell.set(Waker::noop());
        assert_eq!(WAS_FREE.get(), Some(true), "it was replaced");
    }
}
