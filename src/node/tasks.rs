//! Background work of a node: futures that it polls when they are woken, on a thread of their own in threaded stacks,
//! else on the thread that polls the node.
//!
//! Allocating the N-1 flows of an IPCP, accepting those of its neighbours, enrollment: all of it waits most of the time,
//! and is written as it is described.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::future::Future;
use core::pin::Pin;

use super::shared::{Shared, order};
use super::timers::TimerQueue;
use crate::base::sync::{Mutex, Ordered};
use crate::base::tasks;

/// Something that a node does.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks polled in one go, before timers get their turn again.
const POLLS: usize = 256;

/// The tasks of a node.
pub(super) struct Tasks {
    shared: Arc<Shared>,
    timers: Arc<TimerQueue>,
    tasks: tasks::Tasks<Task>,
    /// Thread that polls the tasks; `None`, or a thread that could not be started: the caller that polls the node.
    runner: Ordered<Mutex<Option<Runner>>, { order::RUNNER }>,
}

/// Has a thread call [`Node::run_tasks`](super::Node::run_tasks). `false` if there is none.
pub type Runner = Arc<dyn Fn() -> bool + Send + Sync>;

impl Tasks {
    pub(super) fn new(shared: &Arc<Shared>, timers: &Arc<TimerQueue>) -> Arc<Self> {
        Arc::new_cyclic(|me: &Weak<Self>| {
            let me = Weak::clone(me);
            let bell = move || {
                if let Some(me) = me.upgrade() {
                    me.are_ready();
                }
            };
            Self {
                shared: Arc::clone(shared),
                timers: Arc::clone(timers),
                tasks: tasks::Tasks::new(bell),
                runner: Ordered::default(),
            }
        })
    }

    /// Runs `task` from the next poll of the tasks on.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn((), |_| Box::pin(task));
    }

    /// Has tasks polled by another thread than the one that polls the node. They agree on keys and the like, which
    /// timers should not have to wait for.
    pub(super) fn run_elsewhere(&self, runner: Runner) {
        let before = self.runner.lock().replace(runner);
        drop(before);
        self.are_ready();
    }

    fn are_ready(&self) {
        if self.tasks.ready() == 0 {
            return;
        }
        let runner = self.runner.lock().clone();
        if !runner.is_some_and(|run| run()) {
            self.timers.arm_tasks(self.shared.now());
        }
    }

    /// Polls the tasks that were woken, some of them. `true` if others are left. No lock is held meanwhile.
    pub(super) fn run(&self) -> bool {
        for _ in 0..POLLS {
            let Some(id) = self.tasks.next_ready() else { return false };
            let finished = self.tasks.poll(id, |task, cx| {
                // A task that panics is over.
                self.shared.panics().call(|| task.as_mut().poll(cx).is_ready()).unwrap_or(true)
            });
            self.shared.panics().discard(finished);
        }
        self.tasks.ready() > 0
    }

    /// Drops all tasks.
    pub(super) fn end(&self) {
        // They may hold flows, whose end comes by here.
        drop(self.tasks.close());
        let runner = self.runner.lock().take();
        drop(runner);
    }

    /// Tasks under way.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }
}
