//! Turn of the threads that do the work of the control plane.

use core::sync::atomic::{AtomicBool, Ordering};

/// Turn among many threads, one of which works at a time.
#[derive(Default)]
pub(super) struct Turn {
    /// `true` while a thread works.
    handling: AtomicBool,
    /// `true` if there is work.
    pending: AtomicBool,
}

impl Turn {
    /// Does the work that has come, and what comes meanwhile, unless another thread is at it, which sees it then.
    /// `work` does a part and says whether that was all. If there was too much for so many `rounds`, or `work` has
    /// panicked, the rest is for the next thread, which `leave` is to send.
    pub(super) fn take(&self, mut rounds: usize, work: impl Fn() -> bool, leave: impl Fn()) {
        self.pending.store(true, Ordering::SeqCst);
        while self.pending.load(Ordering::SeqCst) && !self.handling.swap(true, Ordering::SeqCst) {
            let held = Held { turn: self, leave: &leave };
            while rounds > 0 && self.pending.swap(false, Ordering::SeqCst) {
                if !work() {
                    self.pending.store(true, Ordering::SeqCst);
                    rounds -= 1;
                }
            }
            core::mem::forget(held);
            self.handling.store(false, Ordering::SeqCst);
            if rounds == 0 {
                return leave();
            }
        }
    }
}

/// The turn of a thread that may panic.
struct Held<'a, L: Fn()> {
    turn: &'a Turn,
    leave: &'a L,
}

impl<L: Fn()> Drop for Held<'_, L> {
    fn drop(&mut self) {
        // What the panic was in is lost; what is behind it is not.
        self.turn.pending.store(true, Ordering::SeqCst);
        self.turn.handling.store(false, Ordering::SeqCst);
        (self.leave)();
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::boxed::Box;
    use core::cell::Cell;

    use super::*;
    use crate::base::foreign::Panics;

    #[test]
    fn a_panic_returns_the_turn_and_leaves_the_rest_to_another() {
        let (turn, panics) = (Turn::default(), Panics::default());
        let (left, handled) = (Cell::new(0), Cell::new(0));
        let leave = || left.set(left.get() + 1);
        let bug = || std::panic::resume_unwind(Box::new("a bug"));
        assert_eq!(panics.call(|| turn.take(9, bug, leave)), None);
        assert_eq!(left.get(), 1, "another thread is sent for the rest");
        let work = || {
            handled.set(handled.get() + 1);
            true
        };
        turn.take(9, work, leave);
        assert_eq!((handled.get(), left.get(), panics.count()), (1, 1, 1));
    }

    #[test]
    fn work_is_left_after_the_limit_of_rounds() {
        let (turn, left, rounds) = (Turn::default(), Cell::new(0), Cell::new(0));
        let endless = || {
            rounds.set(rounds.get() + 1);
            false
        };
        turn.take(3, endless, || left.set(left.get() + 1));
        assert_eq!((rounds.get(), left.get()), (3, 1));
    }
}
