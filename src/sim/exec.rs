//! The executor: tasks polled in the order in which they were woken, all on one thread.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::panic::Location;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Wake;

use crate::base::sync::Mutex;

/// Which task; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TaskId(u64);

impl TaskId {
    /// The future that [`Network::block_on`](super::Network::block_on) was called with.
    pub(super) const MAIN: Self = Self(0);
}

/// The woken tasks, each at most once. The only part of the executor that other threads may touch.
#[derive(Debug, Default)]
struct Ready(Mutex<VecDeque<TaskId>>);

#[derive(Debug)]
struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.0.lock().push_back(self.id);
        }
    }
}

type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    /// `None` while it is being polled.
    future: Option<TaskFuture>,
    waker: Arc<TaskWaker>,
    spawned_at: &'static Location<'static>,
}

/// All tasks.
pub(super) struct Exec {
    tasks: RefCell<BTreeMap<TaskId, Task>>,
    next: Cell<u64>,
    ready: Arc<Ready>,
    main: Arc<TaskWaker>,
    closed: Cell<bool>,
}

impl Exec {
    pub(super) fn new() -> Rc<Self> {
        let ready = Arc::<Ready>::default();
        let main = Arc::new(TaskWaker { id: TaskId::MAIN, queued: AtomicBool::new(false), ready: Arc::clone(&ready) });
        Rc::new(Self { tasks: RefCell::default(), next: Cell::new(1), ready, main, closed: Cell::new(false) })
    }

    /// Starts a task. After [`clear`](Self::clear) its future is dropped at once.
    pub(super) fn spawn<T: 'static>(
        self: &Rc<Self>,
        future: impl Future<Output = T> + 'static,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<T> {
        let result = Rc::new(RefCell::new(JoinState { output: None, waiting: None }));
        let id = TaskId(self.next.replace(self.next.get() + 1));
        let handle = JoinHandle { id, exec: Rc::downgrade(self), result: Rc::clone(&result) };
        let future = async move {
            let output = future.await;
            let mut state = result.borrow_mut();
            state.output = Some(output);
            let waiting = state.waiting.take();
            drop(state);
            if let Some(waker) = waiting {
                waker.wake();
            }
        };
        if self.closed.get() {
            return handle;
        }
        let waker = Arc::new(TaskWaker { id, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
        waker.wake_by_ref();
        self.tasks.borrow_mut().insert(id, Task { future: Some(Box::pin(future)), waker, spawned_at });
        handle
    }

    /// Wakes the main future.
    pub(super) fn wake_main(&self) {
        self.main.wake_by_ref();
    }

    /// Polls the main future.
    pub(super) fn poll_main(&self, main: &mut dyn FnMut(&mut Context<'_>) -> bool) -> bool {
        self.main.queued.store(false, Ordering::Relaxed);
        main(&mut Context::from_waker(&Waker::from(Arc::clone(&self.main))))
    }

    /// Polls a task, if it is still there.
    pub(super) fn poll(&self, id: TaskId) {
        let Some((mut future, waker)) = self.tasks.borrow_mut().get_mut(&id).and_then(|task| {
            task.waker.queued.store(false, Ordering::Relaxed);
            Some((task.future.take()?, Waker::from(Arc::clone(&task.waker))))
        }) else {
            return;
        };
        let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.tasks.borrow_mut();
        if done {
            tasks.remove(&id);
        } else if let Some(task) = tasks.get_mut(&id) {
            task.future = Some(future);
            return;
        }
        // Finished or aborted. What it owns may do things when it is dropped: nothing is borrowed then.
        drop(tasks);
        drop(future);
    }

    /// How many tasks are woken.
    pub(super) fn ready(&self) -> usize {
        self.ready.0.lock().len()
    }

    /// The task that was woken first.
    pub(super) fn next_ready(&self) -> Option<TaskId> {
        self.ready.0.lock().pop_front()
    }

    /// Where a task was spawned.
    pub(super) fn spawned_at(&self, id: TaskId) -> Option<&'static Location<'static>> {
        self.tasks.borrow().get(&id).map(|t| t.spawned_at)
    }

    /// Where the tasks that are not finished were spawned.
    pub(super) fn unfinished(&self) -> Vec<&'static Location<'static>> {
        self.tasks.borrow().values().map(|t| t.spawned_at).collect()
    }

    /// Drops all tasks, for good.
    pub(super) fn clear(&self) {
        self.closed.set(true);
        drop(self.tasks.take());
        self.ready.0.lock().clear();
    }

    fn abort(&self, id: TaskId) {
        let task = self.tasks.borrow_mut().remove(&id);
        drop(task);
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exec({} tasks)", self.tasks.borrow().len())
    }
}

struct JoinState<T> {
    output: Option<T>,
    waiting: Option<Waker>,
}

/// A task that was [spawned](super::Network::spawn). Awaiting it gives its result; dropping it leaves the task
/// running by itself.
///
/// A panic in a task ends the whole simulation, as a failed assertion in a test should.
pub struct JoinHandle<T> {
    id: TaskId,
    exec: Weak<Exec>,
    result: Rc<RefCell<JoinState<T>>>,
}

impl<T> JoinHandle<T> {
    /// Ends the task where it is waiting and drops it.
    pub fn abort(self) {
        if let Some(exec) = self.exec.upgrade() {
            exec.abort(self.id);
        }
    }

    /// Whether the task has come to its end and its result was not fetched yet.
    pub fn is_finished(&self) -> bool {
        self.result.borrow().output.is_some()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.result.borrow_mut();
        match state.output.take() {
            Some(output) => Poll::Ready(output),
            None => {
                state.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({}, finished: {})", self.id.0, self.is_finished())
    }
}
