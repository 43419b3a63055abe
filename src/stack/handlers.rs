//! The threads that run the handlers of names: as many as there is work for, up to a bound, and none that stays idle.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::base::sync::waiting::{Condvar, Mutex};

use super::flow::Inner;
use super::{Flow, Shared, Stack};
use crate::base::foreign::Panics;
use crate::flow::FlowKey;
use crate::irm::Factory;

/// Idle time after which a thread ends. Handing a flow to an idle thread takes a tenth of the time of starting one.
const IDLE: Duration = Duration::from_secs(2);
/// Time limit for taking a request that was waiting when it was looked for: a layer may delay it a moment.
const ANSWER: Duration = Duration::from_secs(1);

/// The threads of a stack.
pub(super) struct Handlers {
    most: usize,
    /// Entries that a single name may have in the queue. A thread that has served one flow looks for another by itself,
    /// so that one entry would do; with more of them more threads are started.
    most_queued: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    /// One entry for each request, whichever thread takes it.
    queue: VecDeque<Arc<Handler>>,
    threads: usize,
    idle: usize,
    /// The flows that handlers are working on.
    busy_with: BTreeSet<FlowKey>,
    closed: bool,
}

/// A thread works on a flow.
struct Busy<'a>(&'a Handlers, FlowKey);

impl<'a> Busy<'a> {
    fn with(handlers: &'a Handlers, flow: FlowKey) -> Self {
        handlers.state.lock().busy_with.insert(flow);
        Self(handlers, flow)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state.lock().busy_with.remove(&self.1);
    }
}

/// Handler of the flows to a name.
pub(super) struct Handler {
    name: String,
    stack: Weak<Shared>,
    panics: Arc<Panics>,
    handle: Box<dyn Fn(Flow) + Send + Sync>,
    queued: AtomicUsize,
}

impl Handler {
    pub(super) fn new(stack: &Arc<Shared>, name: &str, handle: Box<dyn Fn(Flow) + Send + Sync>) -> Self {
        Self {
            name: name.to_owned(),
            stack: Arc::downgrade(stack),
            panics: Arc::clone(stack.node.panics()),
            handle,
            queued: AtomicUsize::new(0),
        }
    }

    /// Accepts one flow, if one is being asked for, and handles it on a thread of `handlers`. `false` if none is.
    fn serve(&self, handlers: &Handlers) -> bool {
        let Some(shared) = self.stack.upgrade() else { return false };
        let Ok(listener) = (Stack { shared }).bind(&self.name) else { return false };
        if !listener.has_request() {
            return false;
        }
        let accepted = listener.accept_timeout(ANSWER);
        // A handler may run for long, and keeps no listener from being the last.
        drop(listener);
        if let Ok(flow) = accepted {
            flow.inner.abort_on_panic();
            let _busy = Busy::with(handlers, flow.inner.endpoint.key());
            self.panics.call(|| (self.handle)(flow));
        }
        true
    }
}

impl Inner {
    /// Has a panic that drops the flow give it up: its other end must not take what came before for all there is.
    pub(super) fn abort_on_panic(&self) {
        self.aborts.store(true, Ordering::Release);
    }

    /// Whether a panic is what drops the flow, and gives it up.
    pub(super) fn is_aborting(&self) -> bool {
        self.aborts.load(Ordering::Acquire) && std::thread::panicking()
    }
}

/// Starts the handler of a name.
pub(super) struct OnRequest(pub(super) Arc<Handler>);

impl Factory for OnRequest {
    fn start(&self) {
        if let Some(shared) = self.0.stack.upgrade() {
            shared.handlers.call(&shared, &self.0);
        }
    }
}

impl Handlers {
    pub(super) fn new(most: usize, most_queued: usize) -> Arc<Self> {
        let (most, most_queued) = (most.max(1), most_queued.max(1));
        Arc::new(Self { most, most_queued, state: Mutex::default(), work: Condvar::new() })
    }

    /// Has a thread serve a request for `handler`: one that is idle, a new one, or the next that has nothing to do.
    fn call(self: &Arc<Self>, shared: &Shared, handler: &Arc<Handler>) {
        let (starts, busy_with) = {
            let mut state = self.state.lock();
            if state.closed || handler.queued.load(Ordering::Acquire) >= self.most_queued {
                return;
            }
            handler.queued.fetch_add(1, Ordering::AcqRel);
            state.queue.push_back(Arc::clone(handler));
            let short = state.queue.len() > state.idle;
            let starts = short && state.threads < self.most;
            state.threads += usize::from(starts);
            (starts, (short && !starts).then(|| state.busy_with.clone()))
        };
        self.work.notify_one();
        if starts {
            let pool = Arc::clone(self);
            let run = move || pool.run();
            if std::thread::Builder::new().name("o7s-handler".into()).spawn(run).is_err() {
                // Those that run see to the request when they are done.
                self.state.lock().threads -= 1;
            }
        } else if let Some(busy_with) = busy_with {
            shared.node.shed_silent(&|flow| busy_with.contains(&flow));
        }
    }

    fn run(&self) {
        while let Some(handler) = self.next() {
            // Requests may be there whose entries were one too many.
            while handler.serve(self) && self.state.lock().queue.is_empty() {}
            // It may be the last that holds what a user has made, which must not take the thread's place with it.
            let panics = Arc::clone(&handler.panics);
            panics.discard(handler);
        }
    }

    /// Waits for work; `None` if there is none, and the thread is to end.
    fn next(&self) -> Option<Arc<Handler>> {
        let mut state = self.state.lock();
        loop {
            if let Some(handler) = state.queue.pop_front() {
                handler.queued.fetch_sub(1, Ordering::AcqRel);
                return Some(handler);
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let late = self.work.wait_for(&mut state, IDLE).timed_out();
            state.idle -= 1;
            if late && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        None
    }

    /// Ends the threads, each as soon as its handler returns.
    pub(super) fn close(&self, panics: &Panics) {
        let queue = {
            let mut state = self.state.lock();
            state.closed = true;
            core::mem::take(&mut state.queue)
        };
        self.work.notify_all();
        // They may be the last that hold what users have made.
        queue.into_iter().for_each(|handler| panics.discard(handler));
    }
}
