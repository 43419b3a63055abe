//! What a node does on its own: futures that it drives when they are woken, on a thread of their own where there are
//! threads, else on the one that polls the node.
//!
//! Allocating the N-1 flows of an IPCP, accepting those of its neighbours, enrolment: all of it waits most of the time,
//! and is written as it is described.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};

use super::Node;
use crate::base::sync::Mutex;

/// Something that a node does.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks polled in one go, before timers get their turn again.
const POLLS: usize = 256;

/// The tasks of a node.
#[derive(Default)]
pub(super) struct Tasks {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// `None` while it is being polled.
    tasks: BTreeMap<u64, Option<Task>>,
    wakers: BTreeMap<u64, Arc<TaskWaker>>,
    ready: VecDeque<u64>,
    next: u64,
    /// Who polls them; `None`, or one that cannot: whoever polls the node.
    runner: Option<Runner>,
    down: bool,
}

/// Has a thread call [`Node::run_tasks`]. `false` if there is none.
pub type Runner = Arc<dyn Fn() -> bool + Send + Sync>;

struct TaskWaker {
    node: Weak<Node>,
    id: u64,
    queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(node) = self.node.upgrade() {
            node.tasks.inner.lock().ready.push_back(self.id);
            node.tasks_are_ready();
        }
    }
}

impl Node {
    /// Does `task` from the next [`poll`](Self::poll) on.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let waker = {
            let mut inner = self.tasks.inner.lock();
            if inner.down {
                return;
            }
            let id = inner.next;
            inner.next += 1;
            let waker = Arc::new(TaskWaker { node: Weak::clone(&self.me), id, queued: AtomicBool::new(false) });
            inner.tasks.insert(id, Some(Box::pin(task)));
            inner.wakers.insert(id, Arc::clone(&waker));
            waker
        };
        waker.wake();
    }

    /// Has tasks polled by another thread than the one that polls the node. They agree on keys and the like, which
    /// timers should not have to wait for.
    pub fn run_tasks_elsewhere(&self, runner: Runner) {
        let before = self.tasks.inner.lock().runner.replace(runner);
        drop(before);
        self.tasks_are_ready();
    }

    fn tasks_are_ready(&self) {
        let runner = {
            let inner = self.tasks.inner.lock();
            if inner.ready.is_empty() {
                return;
            }
            inner.runner.clone()
        };
        if !runner.is_some_and(|run| run()) {
            self.timers.arm_tasks(self.env.clock.now());
        }
    }

    /// Polls the tasks that were woken, some of them. `true` if others are left. No lock is held meanwhile.
    pub fn run_tasks(&self) -> bool {
        for _ in 0..POLLS {
            let (id, waker, mut task) = {
                let mut inner = self.tasks.inner.lock();
                let Some(id) = inner.ready.pop_front() else { return false };
                let task = inner.tasks.get_mut(&id).and_then(Option::take);
                // One that is gone, or is being polled by another thread, which looks again when it is done.
                let (Some(waker), Some(task)) = (inner.wakers.get(&id).cloned(), task) else { continue };
                (id, waker, task)
            };
            waker.queued.store(false, Ordering::Release);
            let own = Waker::from(Arc::clone(&waker));
            // A task that panics is over.
            let done = self.env.panics.call(|| task.as_mut().poll(&mut Context::from_waker(&own)).is_ready());
            let done = done.unwrap_or(true);
            let finished = {
                let mut inner = self.tasks.inner.lock();
                if done || inner.down {
                    inner.tasks.remove(&id);
                    inner.wakers.remove(&id);
                    Some(task)
                } else {
                    inner.tasks.insert(id, Some(task));
                    // Woken meanwhile, when there was nothing to poll.
                    if waker.queued.load(Ordering::Acquire) && !inner.ready.contains(&id) {
                        inner.ready.push_back(id);
                    }
                    None
                }
            };
            self.env.panics.discard(finished);
        }
        !self.tasks.inner.lock().ready.is_empty()
    }

    /// Drops all tasks.
    pub(super) fn end_tasks(&self) {
        let (tasks, wakers, runner) = {
            let mut inner = self.tasks.inner.lock();
            inner.down = true;
            inner.ready.clear();
            let runner = inner.runner.take();
            (core::mem::take(&mut inner.tasks), core::mem::take(&mut inner.wakers), runner)
        };
        // They may hold flows, whose end comes by here.
        drop(tasks);
        drop(wakers);
        drop(runner);
    }

    /// Tasks under way.
    pub(super) fn task_count(&self) -> usize {
        self.tasks.inner.lock().tasks.len()
    }
}
