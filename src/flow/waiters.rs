//! Waiters of an endpoint.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::task::Waker;

use super::{Endpoint, Wakers};
use crate::base::sync::{Ordering, plain};

/// Event that a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Something to read, or the reason why there will be nothing.
    Read,
    /// Room to write, or the reason why nothing more will be taken.
    Write,
    /// All written data has been dealt with.
    Close,
}

/// The place of one waiter at an endpoint: a task's future, a thread's blocking call, a handle that is polled.
///
/// A place keeps one waker, that of the last call that said it would block; it is woken once, when the same call may
/// say something else. As each waiter brings a place of its own, any number of them may wait for one flow, whether their
/// wakers are the same or not, and none has to be crowded out. Dropping it ends the waiting.
pub struct Waiter {
    endpoint: Arc<Endpoint>,
    interest: Interest,
    /// Changed only under the endpoint's lock, which is why it is not the model checker's. 0: never waited.
    place: plain::AtomicU64,
}

impl Waiter {
    pub(super) fn new(endpoint: &Arc<Endpoint>, interest: Interest) -> Self {
        Self { endpoint: Arc::clone(endpoint), interest, place: plain::AtomicU64::new(0) }
    }

    pub(super) fn interest(&self) -> Interest {
        self.interest
    }

    pub(super) fn place(&self) -> u64 {
        self.place.load(Ordering::Relaxed)
    }

    pub(super) fn settle_at(&self, place: u64) {
        self.place.store(place, Ordering::Relaxed);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // A model that has failed has no locks any more.
        #[cfg(loom)]
        if std::thread::panicking() {
            return;
        }
        if self.place() != 0 {
            self.endpoint.forget(self.interest, self.place());
        }
    }
}

impl core::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Waiter").field("interest", &self.interest).finish_non_exhaustive()
    }
}

/// The waiters of one interest, in the order in which they came. Every operation is O(log n), over time.
///
/// No method clones, wakes or drops a waker: that is foreign code, and this is used under a lock.
#[derive(Default)]
pub(crate) struct Waiters {
    /// Most flows have none most of the time.
    waiting: Option<Box<Waiting>>,
    /// The last place that was given out. None is given out twice, as who has left may still name it.
    last: u64,
}

#[derive(Default)]
struct Waiting {
    /// By place, ascending. `None`: has left.
    list: VecDeque<(u64, Option<Waker>)>,
    left: usize,
}

impl Waiters {
    /// Returns `true` if there are waiters.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.waiting.as_ref().is_some_and(|w| w.list.len() > w.left)
    }

    /// Puts `waker` at `place`, if it has a waiter, else at a new place. Returns the place, and the waker that is not
    /// needed any more.
    pub(crate) fn put(&mut self, place: u64, waker: Waker) -> (u64, Option<Waker>) {
        let waiting = self.waiting.get_or_insert_default();
        if let Some(slot) = waiting.slot(place) {
            // Mostly the same task polls again. Of two equal wakers the new one is given back: exchanging them would
            // cost as much and change nothing.
            let same = slot.as_ref().is_some_and(|w| w.will_wake(&waker));
            let before = if same { Some(waker) } else { slot.replace(waker) };
            return (place, before);
        }
        self.last += 1;
        waiting.list.push_back((self.last, Some(waker)));
        (self.last, None)
    }

    /// Removes the waiter at `place`.
    pub(crate) fn remove(&mut self, place: u64) -> Option<Waker> {
        self.waiting.as_mut()?.remove(place)
    }

    /// Moves all wakers to `out`, to be woken once no lock is held.
    pub(crate) fn take(&mut self, out: &mut Wakers) {
        if let Some(waiting) = &mut self.waiting {
            out.extend(waiting.list.drain(..).filter_map(|(_, waker)| waker));
            waiting.left = 0;
        }
    }

    /// The one that has waited longest.
    pub(crate) fn take_first(&mut self) -> Option<Waker> {
        let waiting = self.waiting.as_mut()?;
        // Waiters that have left are not at the front.
        let place = waiting.list.front()?.0;
        waiting.remove(place)
    }

    /// Gives spare memory back.
    pub(crate) fn shrink(&mut self) {
        if !self.any() {
            self.waiting = None;
        }
    }
}

impl Waiting {
    fn slot(&mut self, place: u64) -> Option<&mut Option<Waker>> {
        let at = self.list.binary_search_by_key(&place, |(p, _)| *p).ok()?;
        self.list.get_mut(at).map(|(_, waker)| waker).filter(|waker| waker.is_some())
    }

    fn remove(&mut self, place: u64) -> Option<Waker> {
        let waker = self.slot(place)?.take();
        self.left += 1;
        // The front is always one that waits: `take_first` need not search.
        while self.list.front().is_some_and(|(_, waker)| waker.is_none()) {
            self.list.pop_front();
            self.left -= 1;
        }
        // Cleared when half have left: each removal pays its part of that.
        if self.left * 2 > self.list.len() {
            self.list.retain(|(_, waker)| waker.is_some());
            self.left = 0;
        }
        waker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_reused_and_given_up() {
        let mut waiters = Waiters::default();
        let (a, _) = waiters.put(0, Waker::noop().clone());
        let (b, _) = waiters.put(0, Waker::noop().clone());
        assert_ne!(a, b, "two waiters with the same waker are two waiters");
        assert_eq!(waiters.put(a, Waker::noop().clone()).0, a);
        assert!(waiters.remove(a).is_some() && waiters.remove(a).is_none());
        assert!(waiters.any());
        let mut out = Wakers::new();
        waiters.take(&mut out);
        assert_eq!((out.len(), waiters.any()), (1, false));
        let (again, _) = waiters.put(b, Waker::noop().clone());
        assert_ne!(again, b, "a place that was woken is new when it waits again: behind those who were there first");
        assert!(waiters.take_first().is_some() && !waiters.any() && waiters.take_first().is_none());
    }

    #[test]
    fn places_survive_churn() {
        let mut waiters = Waiters::default();
        let places: Vec<_> = (0..100_000).map(|_| waiters.put(0, Waker::noop().clone()).0).collect();
        for place in &places {
            assert!(waiters.remove(*place).is_some());
        }
        assert!(!waiters.any() && waiters.waiting.as_ref().is_none_or(|w| w.list.is_empty()));
    }
}
