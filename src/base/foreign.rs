//! Calling code that is not ours: a user's handlers and policies, an executor's wakers.
//!
//! It runs on a thread that others depend on, so a panic in it ends there, is counted, and the stack goes on. It runs
//! without a lock held, but for what [`sync`](super::sync#foreign-code-with-a-lock-held) lists.

use core::error::Error;
use core::fmt;
use core::sync::atomic::Ordering;
use core::task::Waker;

use super::counter::{Row, counters};
use super::journal::{Journal, record};
use super::sync::plain;

/// Counts what foreign code did wrong, and how often somebody who waits was reached; has the [`Journal`] that tells the
/// logger, which is foreign code, too.
#[derive(Debug, Default)]
pub struct Panics {
    counters: Counters,
    /// Nothing is ordered by it, which is why it is not the model checker's.
    reached: plain::AtomicU64,
    journal: Journal,
}

counters! {
    /// Faults of foreign code.
    struct Counters {
        /// Panics of handlers, wakers, policies and loggers, which ended there.
        panics => "foreign_panics",
    }
}

impl Panics {
    /// One whose records go to `journal`; by default there are none.
    pub fn new(journal: Journal) -> Self {
        Self { counters: Counters::default(), reached: Default::default(), journal }
    }

    /// Returns the journal for records.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Panics of foreign code so far.
    pub fn count(&self) -> u64 {
        self.counters.panics.get()
    }

    /// The same, as it is shown.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        self.counters.rows()
    }

    /// Calls `f`; `None` if it panicked, which is counted. The panic hook reports it as any other.
    ///
    /// Without the standard library nothing unwinds, and a panic is what the program has made of it.
    pub fn call<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        let result = self.guard(f);
        if result.is_none() {
            record!(
                self,
                Foreign,
                Error,
                [],
                "a handler, waker or policy of the application panicked; the stack goes on"
            );
        }
        result
    }

    /// As [`call`](Self::call), for the logger, which is not told of its own panics.
    pub(crate) fn guard<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        #[cfg(feature = "std")]
        {
            // What `f` has left half done belongs to its owner, who must know what a panic means for it.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            if result.is_err() {
                self.counters.panics.count();
            }
            result.ok()
        }
        #[cfg(not(feature = "std"))]
        Some(f())
    }

    /// Drops something that others made: it may be the last that holds a task, whose drop may do anything.
    pub fn discard<T>(&self, value: T) {
        self.call(|| drop(value));
    }

    /// How often something that has arrived has reached somebody who waits for it: wakers woken here, and what callers of
    /// [`note_reached`](Self::note_reached) report. Wraps around.
    pub(crate) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }

    /// Somebody was [reached](Self::reached).
    pub(crate) fn note_reached(&self) {
        self.reached.fetch_add(1, Ordering::Relaxed);
    }

    /// Wakes all, whatever one of them does.
    pub fn wake_all(&self, wakers: impl IntoIterator<Item = Waker>) {
        for waker in wakers {
            self.note_reached();
            self.call(|| waker.wake());
        }
    }
}

/// An error with what caused it, in one line.
pub(crate) struct Causes<'a, E>(pub(crate) &'a E);

impl<E: Error> fmt::Display for Causes<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use alloc::task::Wake;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Bad;

    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("a bug of an executor"));
        }
    }

    struct Fragile;

    impl Drop for Fragile {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a bug of a task"));
        }
    }

    #[test]
    fn a_drop_that_panics_is_counted() {
        let panics = Panics::default();
        panics.discard([Fragile]);
        assert_eq!((panics.count(), panics.call(|| 7)), (1, Some(7)));
    }

    struct Good(AtomicUsize);

    impl Wake for Good {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_panicking_waker_keeps_nobody_from_being_woken() {
        let (panics, good) = (Panics::default(), Arc::new(Good(AtomicUsize::new(0))));
        let wakers = [Waker::from(Arc::new(Bad)), Waker::from(Arc::clone(&good)), Waker::from(Arc::new(Bad))];
        panics.wake_all(wakers);
        assert_eq!((panics.count(), good.0.load(Ordering::Relaxed)), (2, 1));
    }
}
