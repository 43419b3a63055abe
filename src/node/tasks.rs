//! What a node does on its own: futures that it drives when they are woken, on a thread of their own where there are
//! threads, else on the one that polls the node.
//!
//! Allocating the N-1 flows of an IPCP, accepting those of its neighbours, enrolment: all of it waits most of the time,
//! and is written as it is described.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::future::Future;
use core::pin::Pin;

use super::Node;
use crate::base::sync::Mutex;
use crate::base::tasks;

/// Something that a node does.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks polled in one go, before timers get their turn again.
const POLLS: usize = 256;

/// The tasks of a node.
pub(super) struct Tasks {
    tasks: tasks::Tasks<Task>,
    /// Who polls them; `None`, or one that cannot: whoever polls the node.
    runner: Mutex<Option<Runner>>,
}

impl Tasks {
    pub(super) fn new(node: &Weak<Node>) -> Self {
        let node = Weak::clone(node);
        let bell = move || {
            if let Some(node) = node.upgrade() {
                node.tasks_are_ready();
            }
        };
        Self { tasks: tasks::Tasks::new(bell), runner: Mutex::new(None) }
    }
}

/// Has a thread call [`Node::run_tasks`]. `false` if there is none.
pub type Runner = Arc<dyn Fn() -> bool + Send + Sync>;

impl Node {
    /// Does `task` from the next [`poll`](Self::poll) on.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.tasks.spawn((), |_| Box::pin(task));
    }

    /// Has tasks polled by another thread than the one that polls the node. They agree on keys and the like, which
    /// timers should not have to wait for.
    pub fn run_tasks_elsewhere(&self, runner: Runner) {
        let before = self.tasks.runner.lock().replace(runner);
        drop(before);
        self.tasks_are_ready();
    }

    fn tasks_are_ready(&self) {
        if self.tasks.tasks.ready() == 0 {
            return;
        }
        let runner = self.tasks.runner.lock().clone();
        if !runner.is_some_and(|run| run()) {
            self.timers.arm_tasks(self.env.clock.now());
        }
    }

    /// Polls the tasks that were woken, some of them. `true` if others are left. No lock is held meanwhile.
    pub fn run_tasks(&self) -> bool {
        for _ in 0..POLLS {
            let Some(id) = self.tasks.tasks.next_ready() else { return false };
            let finished = self.tasks.tasks.poll(id, |task, cx| {
                // A task that panics is over.
                self.env.panics.call(|| task.as_mut().poll(cx).is_ready()).unwrap_or(true)
            });
            self.env.panics.discard(finished);
        }
        self.tasks.tasks.ready() > 0
    }

    /// Drops all tasks.
    pub(super) fn end_tasks(&self) {
        // They may hold flows, whose end comes by here.
        drop(self.tasks.tasks.close());
        let runner = self.tasks.runner.lock().take();
        drop(runner);
    }

    /// Tasks under way.
    pub(super) fn task_count(&self) -> usize {
        self.tasks.tasks.len()
    }
}
