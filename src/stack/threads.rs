//! The background threads of a stack: one for its timers, one for what it does on its own, one for each device.
//!
//! All are [stopped](Background::stop) with the stack, which does not wait for them: they notice within a moment, because
//! every wait of theirs is interrupted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::thread::Thread;
use std::time::Duration;

use crate::base::foreign::Panics;
use crate::base::sync::Mutex;
use crate::base::time::Clock;
use crate::ipcp::shim::{Attended, Turn};
use crate::node::Node;

/// The longest wait; only bounds what a missed wake-up could cost.
const LONG: Duration = Duration::from_secs(10);
/// A pause before a device is asked again whose code has panicked.
const AFTER_PANIC: Duration = Duration::from_millis(10);

/// The threads of one stack.
pub(super) struct Background {
    stop: Arc<AtomicBool>,
    timer: Thread,
    tasks: Arc<TaskThread>,
    devices: Mutex<Vec<(Weak<dyn Attended>, Thread)>>,
}

impl Background {
    /// Starts the thread that watches the node's timers.
    ///
    /// # Errors
    /// The operating system's, if it starts no more threads.
    pub(super) fn start(node: &Arc<Node>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let timer = {
            let (stop, node) = (Arc::clone(&stop), Arc::downgrade(node));
            std::thread::Builder::new().name("o7s-timers".into()).spawn(move || watch_timers(&stop, &node))?
        };
        let timer = timer.thread().clone();
        let thread = timer.clone();
        node.on_earlier_deadline(Some(Arc::new(move || thread.unpark())));
        let tasks =
            Arc::new(TaskThread { stop: Arc::clone(&stop), node: Arc::downgrade(node), thread: OnceLock::new() });
        let runner = Arc::clone(&tasks);
        node.run_tasks_elsewhere(Arc::new(move || runner.wake()));
        Ok(Self { stop, timer, tasks, devices: Mutex::new(Vec::new()) })
    }

    /// Starts a thread that receives from the device of `shim` while no other thread does.
    ///
    /// # Errors
    /// The operating system's, if it starts no more threads.
    pub(super) fn serve(&self, shim: &Arc<dyn Attended>, clock: &Arc<dyn Clock>) -> io::Result<()> {
        let (stop, clock, weak) = (Arc::clone(&self.stop), Arc::clone(clock), Arc::downgrade(shim));
        let thread = std::thread::Builder::new()
            .name(format!("o7s-{}", shim.ipcp().info().name))
            .spawn(move || receive(&stop, &weak, &*clock))?;
        let mut devices = self.devices.lock();
        devices.retain(|(shim, _)| shim.strong_count() > 0);
        devices.push((Arc::downgrade(shim), thread.thread().clone()));
        Ok(())
    }

    /// Tells the threads to end. A device is dismissed, and with the last of it dropped, through `panics`: both are the
    /// program's code.
    pub(super) fn stop(&self, panics: &Panics) {
        self.stop.store(true, Ordering::Release);
        self.timer.unpark();
        if let Some(Some(thread)) = self.tasks.thread.get() {
            thread.unpark();
        }
        let devices = std::mem::take(&mut *self.devices.lock());
        for (shim, thread) in devices {
            if let Some(shim) = shim.upgrade() {
                shim.dismiss();
                panics.discard(shim);
            }
            thread.unpark();
        }
    }
}

/// The thread that polls a node's tasks; it begins with the first of them, because many stacks have none.
struct TaskThread {
    stop: Arc<AtomicBool>,
    node: Weak<Node>,
    thread: OnceLock<Option<Thread>>,
}

impl TaskThread {
    /// Has the tasks polled; `false` if there is no thread for it.
    fn wake(&self) -> bool {
        let thread = self.thread.get_or_init(|| {
            let (stop, node) = (Arc::clone(&self.stop), Weak::clone(&self.node));
            let spawned = std::thread::Builder::new().name("o7s-tasks".into()).spawn(move || run_tasks(&stop, &node));
            spawned.ok().map(|t| t.thread().clone())
        });
        thread.as_ref().map(Thread::unpark).is_some()
    }
}

fn run_tasks(stop: &AtomicBool, node: &Weak<Node>) {
    while !stop.load(Ordering::Acquire) {
        let more = {
            let Some(node) = node.upgrade() else { return };
            node.run_tasks()
        };
        if !more {
            std::thread::park_timeout(LONG);
        }
    }
}

fn watch_timers(stop: &AtomicBool, node: &Weak<Node>) {
    while !stop.load(Ordering::Acquire) {
        let wait = {
            let Some(node) = node.upgrade() else { return };
            // Whatever panics in there, the others' timers go on.
            match node.panics().call(|| node.poll(node.clock().now())) {
                Some(next) => next.map_or(LONG, |at| at.since(node.clock().now()).min(LONG)),
                None => Duration::ZERO,
            }
        };
        if !wait.is_zero() {
            std::thread::park_timeout(wait);
        }
    }
}

fn receive(stop: &AtomicBool, shim: &Weak<dyn Attended>, clock: &dyn Clock) {
    let me = Waker::from(Arc::new(Unpark(std::thread::current())));
    while !stop.load(Ordering::Acquire) {
        let Some(shim) = shim.upgrade() else { return };
        if shim.is_down() {
            return;
        }
        let pause = match shim.stand_by(clock.now(), &me) {
            Turn::Guard => {
                if shim.guard(LONG) {
                    Duration::ZERO
                } else {
                    AFTER_PANIC
                }
            }
            Turn::Rest(time) => time,
            Turn::Sleep => LONG,
        };
        drop(shim);
        if !pause.is_zero() {
            std::thread::park_timeout(pause);
        }
    }
}

struct Unpark(Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
