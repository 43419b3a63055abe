//! The one timer queue of a stack.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::task::Waker;
use core::time::Duration;

use super::shared::{Shared, order};
use crate::base::sync::{AtomicU64, Mutex, Ordered};
use crate::base::time::Instant;
use crate::base::timers::{TimerId, Timers};
use crate::flow::{Endpoint, FlowKey};

/// Time after which endpoints that were left to a user, and packets that were held back, are served.
const TICK: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    /// An endpoint's deadline.
    Flow(FlowKey),
    /// All endpoints that asked for a tick.
    Tick,
    /// A task that sleeps.
    Sleep(u64),
    /// Expiry of requests without an acceptor.
    Expiry,
    /// Tasks that were woken.
    Tasks,
}

type WakeUp = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Inner {
    queue: Timers<Key>,
    /// The entry of each endpoint, so that an earlier deadline replaces it.
    flows: BTreeMap<FlowKey, (Instant, TimerId)>,
    sleepers: BTreeMap<u64, (TimerId, Waker)>,
    ticking: Vec<FlowKey>,
    /// The memory of the list before, for the next one.
    spare: Vec<FlowKey>,
    next_sleeper: u64,
    /// Next check of the requests that wait for an acceptor.
    expiry: Option<(Instant, TimerId)>,
    /// `true` if the tasks are to be polled soon.
    tasks: bool,
    wake: Option<WakeUp>,
    down: bool,
}

impl Inner {
    /// Takes a sleeper out, if it has not been woken.
    fn end_sleep(&mut self, n: u64) -> Option<Waker> {
        let (id, waker) = self.sleepers.remove(&n)?;
        self.queue.cancel(id);
        Some(waker)
    }

    /// Arms a timer. Returns the callback for an earlier deadline, if it is one.
    fn arm(&mut self, at: Instant, key: Key) -> (TimerId, Option<WakeUp>) {
        let earlier = self.queue.next().is_none_or(|next| at < next);
        let id = self.queue.arm(at, key);
        (id, if earlier { self.wake.clone() } else { None })
    }

    /// Takes the next timer that has expired out, with the waker of a task that sleeps.
    fn take_due(&mut self, now: Instant) -> Option<(Key, Option<Waker>)> {
        let (_, key) = self.queue.pop_due(now)?;
        let mut waker = None;
        match key {
            Key::Flow(flow) => {
                self.flows.remove(&flow);
            }
            Key::Sleep(n) => waker = self.sleepers.remove(&n).map(|(_, w)| w),
            Key::Expiry => self.expiry = None,
            Key::Tasks => self.tasks = false,
            Key::Tick => {}
        }
        Some((key, waker))
    }
}

/// Receiver of expired deadlines.
pub(super) trait Due {
    /// The endpoint of a flow.
    fn endpoint(&self, flow: FlowKey) -> Option<Arc<Endpoint>>;

    /// Refuses requests that no acceptor took in time.
    fn expire_requests(&self, now: Instant);

    /// Polls tasks that were woken. `true` if others are left.
    fn run_tasks(&self) -> bool;
}

/// The timers of a node.
pub(super) struct TimerQueue {
    shared: Arc<Shared>,
    inner: Ordered<Mutex<Inner>, { order::TIMERS }>,
}

impl TimerQueue {
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared), inner: Ordered::default() })
    }

    fn tell(&self, wake: Option<WakeUp>) {
        if let Some(wake) = wake {
            self.shared.panics().call(|| wake());
            self.shared.panics().discard(wake);
        }
    }

    pub(super) fn set_wake(&self, wake: Option<WakeUp>) {
        let before = core::mem::replace(&mut self.inner.lock().wake, wake);
        self.shared.panics().discard(before);
    }

    /// Has the node polled at once.
    fn call(&self) {
        let wake = self.inner.lock().wake.clone();
        self.tell(wake);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.inner.lock().queue.next()
    }

    pub(super) fn len(&self) -> usize {
        self.inner.lock().queue.len()
    }

    /// One entry serves all requests: each check sets the time of the next.
    pub(super) fn arm_expiry(&self, at: Instant) {
        let wake = {
            let mut inner = self.inner.lock();
            match inner.expiry {
                _ if inner.down => return,
                Some((armed, _)) if armed <= at => return,
                Some((_, later)) => {
                    inner.queue.cancel(later);
                }
                None => {}
            }
            let (id, wake) = inner.arm(at, Key::Expiry);
            inner.expiry = Some((at, id));
            wake
        };
        self.tell(wake);
    }

    /// Has the tasks polled.
    pub(super) fn arm_tasks(&self, now: Instant) {
        let wake = {
            let mut inner = self.inner.lock();
            if inner.down || core::mem::replace(&mut inner.tasks, true) {
                return;
            }
            inner.arm(now, Key::Tasks).1
        };
        self.tell(wake);
    }

    /// Has an endpoint called at `at`, unless it is called earlier.
    pub(super) fn arm_flow(&self, at: Instant, flow: FlowKey) {
        let wake = {
            let mut inner = self.inner.lock();
            if inner.down {
                return;
            }
            match inner.flows.get(&flow).copied() {
                // Two threads may arm the same endpoint, and the later deadline come last.
                Some((armed, _)) if armed <= at => return,
                Some((_, later)) => {
                    inner.queue.cancel(later);
                }
                None => {}
            }
            let (id, wake) = inner.arm(at, Key::Flow(flow));
            inner.flows.insert(flow, (at, id));
            wake
        };
        self.tell(wake);
    }

    pub(super) fn forget_flow(&self, flow: FlowKey) {
        let mut inner = self.inner.lock();
        if let Some((_, id)) = inner.flows.remove(&flow) {
            inner.queue.cancel(id);
        }
    }

    /// Has an endpoint called a moment later.
    pub(super) fn tick(&self, flow: FlowKey) {
        let now = self.shared.now();
        let wake = {
            let mut inner = self.inner.lock();
            if inner.down {
                return;
            }
            let first = inner.ticking.is_empty();
            inner.ticking.push(flow);
            if first { inner.arm(now + TICK, Key::Tick).1 } else { None }
        };
        self.tell(wake);
    }

    fn sleep(&self, at: Instant, waker: &Waker) -> u64 {
        let slept = self.replace_sleep(None, at, waker.clone());
        let n = slept.n;
        if let Some(waker) = slept.settle(self) {
            // The node is down and nobody would wake it: let the task see for itself.
            self.shared.panics().wake_all([waker]);
        }
        n.unwrap_or(u64::MAX)
    }

    /// Has a task woken at `at`, and not for `before` any more. Calls nobody: that is left to [`Slept::settle`], where no
    /// lock is held.
    fn replace_sleep(&self, before: Option<u64>, at: Instant, waker: Waker) -> Slept {
        let mut inner = self.inner.lock();
        let before = before.and_then(|n| inner.end_sleep(n));
        if inner.down {
            return Slept { n: None, earlier: None, before, refused: Some(waker) };
        }
        let n = inner.next_sleeper;
        inner.next_sleeper += 1;
        let (id, earlier) = inner.arm(at, Key::Sleep(n));
        inner.sleepers.insert(n, (id, waker));
        Slept { n: Some(n), earlier, before, refused: None }
    }

    fn cancel_sleep(&self, n: u64) {
        let sleeper = self.inner.lock().end_sleep(n);
        // A waker may be the last that holds a task, and dropping that may come back here.
        self.shared.panics().discard(sleeper);
    }

    pub(super) fn shutdown(&self) {
        let (sleepers, wake) = {
            let mut inner = self.inner.lock();
            inner.down = true;
            inner.queue = Timers::default();
            inner.flows.clear();
            inner.ticking.clear();
            inner.expiry = None;
            (core::mem::take(&mut inner.sleepers), inner.wake.take())
        };
        self.shared.panics().discard(wake);
        self.shared.panics().wake_all(sleepers.into_values().map(|(_, waker)| waker));
    }

    /// Serves all expired deadlines. Returns the next one.
    pub(super) fn run(&self, node: &impl Due, now: Instant) -> Option<Instant> {
        // What is armed meanwhile for this very moment waits for the next call, so that this one ends.
        let mut budget = self.len();
        loop {
            let (key, waker) = {
                let mut inner = self.inner.lock();
                if budget == 0 {
                    return inner.queue.next();
                }
                budget -= 1;
                let Some(due) = inner.take_due(now) else { return inner.queue.next() };
                due
            };
            match key {
                Key::Flow(flow) => {
                    if let Some(endpoint) = node.endpoint(flow) {
                        endpoint.handle_timeout(now);
                    }
                }
                Key::Tick => {
                    let mut ticking = {
                        let inner = &mut *self.inner.lock();
                        core::mem::replace(&mut inner.ticking, core::mem::take(&mut inner.spare))
                    };
                    for endpoint in ticking.drain(..).filter_map(|f| node.endpoint(f)) {
                        endpoint.handle_tick(now);
                    }
                    self.inner.lock().spare = ticking;
                }
                Key::Sleep(_) => {
                    self.shared.panics().wake_all(waker);
                }
                Key::Expiry => node.expire_requests(now),
                Key::Tasks => {
                    if node.run_tasks() {
                        self.arm_tasks(now);
                    }
                }
            }
        }
    }
}

/// A task that was put to sleep, and what is left to be done once no lock is held.
struct Slept {
    /// By what it is known; `None` if the node is down.
    n: Option<u64>,
    /// Whom to tell that there is an earlier deadline now.
    earlier: Option<WakeUp>,
    /// The waker of what it replaces.
    before: Option<Waker>,
    /// Its own waker, if the node is down.
    refused: Option<Waker>,
}

impl Slept {
    /// Tells who is to be told. Returns the waker, if the node is down.
    fn settle(self, timers: &TimerQueue) -> Option<Waker> {
        // A waker may be the last that holds a task, and dropping that may come back here.
        timers.shared.panics().discard(self.before);
        timers.tell(self.earlier);
        self.refused
    }
}

/// A task's alarm. Dropping it cancels.
pub(super) struct Sleep {
    timers: Weak<TimerQueue>,
    armed: Option<(Instant, u64)>,
}

impl Sleep {
    pub(super) fn new(timers: &Arc<TimerQueue>) -> Self {
        Self { timers: Arc::downgrade(timers), armed: None }
    }

    /// Wakes `waker` at `at`, once; replaces an earlier alarm.
    pub(super) fn set(&mut self, at: Instant, waker: &Waker) {
        self.cancel();
        if let Some(timers) = self.timers.upgrade() {
            self.armed = Some((at, timers.sleep(at, waker)));
        }
    }

    pub(super) fn cancel(&mut self) {
        if let (Some((_, n)), Some(timers)) = (self.armed.take(), self.timers.upgrade()) {
            timers.cancel_sleep(n);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Wakes a task once, at the earliest moment of those that it was set to. One that comes too early does no harm: it is
/// set again.
///
/// While `armed` names a moment, a sleep of that moment or an earlier one is pending, or has woken the task, which resets
/// it by [`rang`](crate::ipcp::Alarm::rang). Setting an alarm that is armed for an earlier moment is one load.
pub(super) struct Alarm {
    timers: Weak<TimerQueue>,
    /// The number of the sleep. Held while one is replaced by another, so that none is left out.
    sleep: Ordered<Mutex<Option<u64>>, { order::ALARM }>,
    armed: AtomicU64,
    waker: Waker,
}

impl Alarm {
    pub(super) fn new(timers: &Arc<TimerQueue>, waker: Waker) -> Self {
        Self::weak(&Arc::downgrade(timers), waker)
    }

    pub(super) fn weak(timers: &Weak<TimerQueue>, waker: Waker) -> Self {
        Self { timers: Weak::clone(timers), sleep: Ordered::default(), armed: AtomicU64::new(u64::MAX), waker }
    }
}

impl crate::ipcp::Alarm for Alarm {
    fn set(&self, at: Instant) {
        let nanos = at.as_nanos();
        if nanos < self.armed.load(Ordering::Relaxed) && nanos < self.armed.fetch_min(nanos, Ordering::AcqRel) {
            let Some(timers) = self.timers.upgrade() else { return };
            let waker = self.waker.clone();
            let slept = {
                let mut kept = self.sleep.lock();
                // Another thread may have come with an earlier moment, and been faster.
                let at = at.min(Instant::from_nanos(self.armed.load(Ordering::Acquire)));
                let slept = timers.replace_sleep(*kept, at, waker);
                *kept = slept.n;
                slept
            };
            // Whoever is told of an earlier deadline is the program's code, and may come back here. A member is not
            // woken because its node is down.
            let refused = slept.settle(&timers);
            timers.shared.panics().discard(refused);
        }
    }

    fn rang(&self) {
        self.armed.swap(u64::MAX, Ordering::AcqRel);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let kept = self.sleep.lock().take();
        if let (Some(n), Some(timers)) = (kept, self.timers.upgrade()) {
            timers.cancel_sleep(n);
        }
    }
}

/// Has the owner of the node poll it: for shims of polled stacks, whose packets no deadline announces.
pub(super) struct Bell(pub(super) Weak<TimerQueue>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(timers) = self.0.upgrade() {
            timers.call();
        }
    }
}

#[cfg(test)]
mod tests;
