//! The tasks of a simulation, polled all on one thread, and what they come to.

use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Wake;

pub(super) use crate::base::tasks::TaskId;
use crate::base::tasks::{Signal, Tasks};

type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// All tasks, with the places where they were spawned.
pub(super) struct Exec {
    tasks: Tasks<TaskFuture, &'static Location<'static>>,
    /// Wakes the future that [`Network::block_on`](super::Network::block_on) was called with.
    main: Arc<Signal>,
}

impl Exec {
    pub(super) fn new() -> Rc<Self> {
        // No wake-up is needed: the loop of the network looks for woken tasks itself.
        let tasks = Tasks::new(|| ());
        Rc::new(Self { main: tasks.main(), tasks })
    }

    /// Starts a task. After [`clear`](Self::clear) its future is dropped at once.
    pub(super) fn spawn<T: 'static>(
        self: &Rc<Self>,
        future: impl Future<Output = T> + 'static,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<T> {
        let result = Rc::new(RefCell::new(JoinState { output: None, waiting: None }));
        let mut handle = JoinHandle { id: TaskId::MAIN, exec: Rc::downgrade(self), result: Rc::clone(&result) };
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
        self.tasks.spawn(spawned_at, |id| {
            handle.id = id;
            Box::pin(future)
        });
        handle
    }

    /// Wakes the main future.
    pub(super) fn wake_main(&self) {
        self.main.wake_by_ref();
    }

    /// Polls the main future.
    pub(super) fn poll_main(&self, main: &mut dyn FnMut(&mut Context<'_>) -> bool) -> bool {
        main(&mut Context::from_waker(&self.main.answer()))
    }

    /// Polls a task, if it is still there.
    pub(super) fn poll(&self, id: TaskId) {
        // What is over may do things when it is dropped: nothing is borrowed then.
        drop(self.tasks.poll(id, |future, cx| future.as_mut().poll(cx).is_ready()));
    }

    /// Returns the number of woken tasks.
    pub(super) fn ready(&self) -> usize {
        self.tasks.ready()
    }

    /// The task that was woken first.
    pub(super) fn next_ready(&self) -> Option<TaskId> {
        self.tasks.next_ready()
    }

    /// Returns the place where a task was spawned.
    pub(super) fn spawned_at(&self, id: TaskId) -> Option<&'static Location<'static>> {
        self.tasks.about(id)
    }

    /// Returns the places where the unfinished tasks were spawned.
    pub(super) fn unfinished(&self) -> Vec<&'static Location<'static>> {
        self.tasks.about_all()
    }

    /// Drops all tasks, for good.
    pub(super) fn clear(&self) {
        drop(self.tasks.close());
    }

    fn abort(&self, id: TaskId) {
        drop(self.tasks.remove(id));
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exec({} tasks)", self.tasks.len())
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

    /// Returns `true` if the task has finished and its result was not fetched yet.
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
        write!(f, "JoinHandle({:?}, finished: {})", self.id, self.is_finished())
    }
}
