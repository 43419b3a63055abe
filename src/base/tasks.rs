//! Futures that are polled when they were woken, in the order in which they were: the only executor. The thread on
//! which that happens, and what may not happen meanwhile, is up to the owner.
#![cfg_attr(not(feature = "sim"), allow(dead_code, reason = "some of it only simulations need"))]

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::task::{Context, Waker};

use super::sync::{AtomicBool, Mutex, Ordering};

/// Number of a task; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

impl TaskId {
    /// Number of what is polled in turn with the tasks without being one of them.
    pub(crate) const MAIN: Self = Self(0);
}

/// The woken tasks, each at most once.
struct Ready {
    queue: Mutex<VecDeque<TaskId>>,
    /// Called, without locks held, when there is another.
    bell: Box<dyn Fn() + Send + Sync>,
}

/// Wakes a task. It may be anywhere.
pub(crate) struct Signal {
    id: TaskId,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Signal {
    /// The task is about to be polled: from now on it can be woken again.
    pub(crate) fn answer(self: &Arc<Self>) -> Waker {
        // What the one who has woken it has done is seen from now on, also of one who found it woken already.
        self.queued.swap(false, Ordering::AcqRel);
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.queue.lock().push_back(self.id);
            (self.ready.bell)();
        }
    }
}

struct Task<F, A> {
    /// `None` while it is being polled.
    future: Option<F>,
    signal: Arc<Signal>,
    /// It was its turn while it was being polled.
    missed: bool,
    about: A,
}

struct Inner<F, A> {
    tasks: BTreeMap<TaskId, Task<F, A>>,
    next: u64,
    closed: bool,
}

/// Tasks, with something `about` each. No lock is held while one is polled or dropped.
pub(crate) struct Tasks<F, A = ()> {
    inner: Mutex<Inner<F, A>>,
    ready: Arc<Ready>,
}

impl<F, A: Copy> Tasks<F, A> {
    /// None. `bell` is called when there is something to poll.
    pub(crate) fn new(bell: impl Fn() + Send + Sync + 'static) -> Self {
        let ready = Arc::new(Ready { queue: Mutex::new(VecDeque::new()), bell: Box::new(bell) });
        Self { inner: Mutex::new(Inner { tasks: BTreeMap::new(), next: 1, closed: false }), ready }
    }

    /// Returns the waker of [`TaskId::MAIN`].
    pub(crate) fn main(&self) -> Arc<Signal> {
        self.signal(TaskId::MAIN)
    }

    fn signal(&self, id: TaskId) -> Arc<Signal> {
        Arc::new(Signal { id, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) })
    }

    /// Starts a task, by waking it; `make` is told which. After [`close`](Self::close) it is dropped at once.
    pub(crate) fn spawn(&self, about: A, make: impl FnOnce(TaskId) -> F) {
        let id = {
            let mut inner = self.inner.lock();
            inner.next += 1;
            TaskId(inner.next - 1)
        };
        let (future, signal) = (make(id), self.signal(id));
        let mut inner = self.inner.lock();
        if inner.closed {
            drop(inner);
            drop(future);
            return;
        }
        inner.tasks.insert(id, Task { future: Some(future), signal: Arc::clone(&signal), missed: false, about });
        drop(inner);
        signal.wake();
    }

    /// Returns the number of woken tasks.
    pub(crate) fn ready(&self) -> usize {
        self.ready.queue.lock().len()
    }

    /// The one that was woken first.
    pub(crate) fn next_ready(&self) -> Option<TaskId> {
        self.ready.queue.lock().pop_front()
    }

    /// Has `poll` poll a task and say whether it is over, if it is still there. If another thread is at it, that one looks
    /// again. What is over is returned.
    pub(crate) fn poll(&self, id: TaskId, poll: impl FnOnce(&mut F, &mut Context<'_>) -> bool) -> Option<F> {
        let (mut future, signal) = {
            let mut inner = self.inner.lock();
            let task = inner.tasks.get_mut(&id)?;
            let Some(future) = task.future.take() else {
                task.missed = true;
                return None;
            };
            (future, Arc::clone(&task.signal))
        };
        let over = poll(&mut future, &mut Context::from_waker(&signal.answer()));
        let missed = {
            let mut inner = self.inner.lock();
            match inner.tasks.get_mut(&id).filter(|_| !over) {
                Some(task) => {
                    task.future = Some(future);
                    core::mem::take(&mut task.missed)
                }
                // Or dropped meanwhile.
                None => {
                    inner.tasks.remove(&id);
                    return Some(future);
                }
            }
        };
        if missed {
            self.ready.queue.lock().push_back(id);
            (self.ready.bell)();
        }
        None
    }

    /// Takes a task that is not to go on. One that is being polled is over after that.
    pub(crate) fn remove(&self, id: TaskId) -> Option<F> {
        let task = self.inner.lock().tasks.remove(&id);
        task?.future
    }

    /// Takes all of them, for good.
    pub(crate) fn close(&self) -> Vec<F> {
        let tasks = {
            let mut inner = self.inner.lock();
            inner.closed = true;
            core::mem::take(&mut inner.tasks)
        };
        self.ready.queue.lock().clear();
        tasks.into_values().filter_map(|task| task.future).collect()
    }

    /// Tasks that are not over.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().tasks.len()
    }

    /// Returns the information about a task.
    pub(crate) fn about(&self, id: TaskId) -> Option<A> {
        self.inner.lock().tasks.get(&id).map(|task| task.about)
    }

    /// And about all that are not over.
    pub(crate) fn about_all(&self) -> Vec<A> {
        self.inner.lock().tasks.values().map(|task| task.about).collect()
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::sync::atomic::AtomicUsize;

    use super::*;

    /// Tasks that are numbers here: how they are polled is up to the test.
    fn tasks() -> (Tasks<u32, &'static str>, Arc<AtomicUsize>) {
        let rung = Arc::new(AtomicUsize::new(0));
        let bell = Arc::clone(&rung);
        let ring = move || {
            bell.fetch_add(1, Ordering::Relaxed);
        };
        (Tasks::new(ring), rung)
    }

    #[test]
    fn in_the_order_in_which_they_were_woken_each_once() {
        let (tasks, rung) = tasks();
        let ids = Cell::new([TaskId::MAIN; 2]);
        tasks.spawn("a", |id| (ids.set([id, id]), 7).1);
        tasks.spawn("b", |id| (ids.set([ids.get()[0], id]), 8).1);
        let [a, b] = ids.get();
        assert_eq!((tasks.next_ready(), tasks.next_ready(), tasks.next_ready()), (Some(a), Some(b), None));
        let mut kept = None;
        assert_eq!(tasks.poll(a, |_, cx| (kept = Some(cx.waker().clone()), false).1), None);
        let waker = kept.unwrap();
        waker.wake_by_ref();
        waker.wake();
        assert_eq!((tasks.ready(), rung.load(Ordering::Relaxed)), (1, 3));
        assert_eq!(tasks.poll(b, |_, _| true), Some(8), "it is over");
        assert_eq!((tasks.about(a), tasks.about_all()), (Some("a"), alloc::vec!["a"]));
        assert_eq!((tasks.close(), tasks.len(), tasks.ready()), (alloc::vec![7], 0, 0));
        tasks.spawn("late", |_| 9);
        assert_eq!((tasks.len(), tasks.ready()), (0, 0));
    }

    #[test]
    fn a_turn_while_it_is_polled_is_made_up_for() {
        let (tasks, rung) = tasks();
        tasks.spawn("", |_| 0);
        let id = tasks.next_ready().unwrap();
        let over = tasks.poll(id, |_, cx| {
            cx.waker().wake_by_ref();
            // Another thread has its turn.
            assert_eq!(tasks.next_ready(), Some(id));
            assert_eq!(tasks.poll(id, |_, _| panic!("twice at a time")), None);
            false
        });
        assert_eq!((over, tasks.next_ready(), rung.load(Ordering::Relaxed)), (None, Some(id), 3));
    }

    #[test]
    fn one_that_is_taken_while_it_is_polled_is_over_then() {
        let (tasks, _) = tasks();
        tasks.spawn("", |_| 5);
        let id = tasks.next_ready().unwrap();
        let over = tasks.poll(id, |_, _| {
            assert_eq!(tasks.remove(id), None);
            false
        });
        assert_eq!((over, tasks.len()), (Some(5), 0));
    }
}
