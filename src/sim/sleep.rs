//! Waiting for virtual time to pass.

use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::base::time::{Clock, Instant, ManualClock};

/// Pending sleeps, in order of time, then of their beginning.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    wakers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Sleepers {
    /// Returns the time of the first wake-up.
    pub(super) fn first(&self) -> Option<Instant> {
        self.wakers.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes out one whose time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Waker> {
        self.wakers.first_entry().filter(|e| e.key().0 <= now).map(|e| e.remove())
    }

    pub(super) fn len(&self) -> usize {
        self.wakers.len()
    }
}

/// Ends when virtual time has reached a moment; see [`Network::sleep`](super::Network::sleep).
#[derive(Debug)]
#[must_use = "it waits only when it is awaited"]
pub struct Sleep {
    until: Instant,
    clock: Arc<ManualClock>,
    sleepers: Rc<RefCell<Sleepers>>,
    key: Option<(Instant, u64)>,
    /// It was over when it was first polled.
    polled: bool,
}

impl Sleep {
    pub(super) fn new(until: Instant, clock: &Arc<ManualClock>, sleepers: &Rc<RefCell<Sleepers>>) -> Self {
        Self { until, clock: Arc::clone(clock), sleepers: Rc::clone(sleepers), key: None, polled: false }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.until {
            // One that is over at once lets others run first: a loop around it must not keep everything else from going on.
            if self.key.is_some() || core::mem::replace(&mut self.polled, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let key = match self.key {
            Some(key) => key,
            None => {
                let mut sleepers = self.sleepers.borrow_mut();
                let key = (self.until, sleepers.next);
                sleepers.next += 1;
                drop(sleepers);
                self.key = Some(key);
                key
            }
        };
        let old = self.sleepers.borrow_mut().wakers.insert(key, cx.waker().clone());
        drop(old);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.sleepers.borrow_mut().wakers.remove(&key);
            drop(waker);
        }
    }
}

/// The time given to [`Network::timeout`](super::Network::timeout) is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to tell")]
pub struct Elapsed;
