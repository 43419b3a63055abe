//! What a node does on its own: futures that it drives when they are woken, on whatever thread polls it.
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
    down: bool,
}

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
            node.timers.arm_tasks(node.env.clock.now());
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

    /// Polls the tasks that were woken. No lock is held meanwhile.
    pub(super) fn run_tasks(&self) {
        for _ in 0..POLLS {
            let (id, waker, mut task) = {
                let mut inner = self.tasks.inner.lock();
                let Some(id) = inner.ready.pop_front() else { return };
                let task = inner.tasks.get_mut(&id).and_then(Option::take);
                // One that is gone, or is being polled by another thread, which looks again when it is done.
                let (Some(waker), Some(task)) = (inner.wakers.get(&id).cloned(), task) else { continue };
                (id, waker, task)
            };
            waker.queued.store(false, Ordering::Release);
            let done = task.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&waker)))).is_ready();
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
            drop(finished);
        }
        if !self.tasks.inner.lock().ready.is_empty() {
            self.timers.arm_tasks(self.env.clock.now());
        }
    }

    /// Drops all tasks.
    pub(super) fn end_tasks(&self) {
        let (tasks, wakers) = {
            let mut inner = self.tasks.inner.lock();
            inner.down = true;
            inner.ready.clear();
            (core::mem::take(&mut inner.tasks), core::mem::take(&mut inner.wakers))
        };
        // They may hold flows, whose end comes by here.
        drop(tasks);
        drop(wakers);
    }

    /// Tasks under way.
    pub(super) fn task_count(&self) -> usize {
        self.tasks.inner.lock().tasks.len()
    }
}
