//! Waiting for events on many flows and listeners at once.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Shared;
use super::flow::Flow;
use super::listener::Listener;
use super::wait::{self, Awaited};
use crate::base::foreign::Panics;
use crate::base::sync::Mutex;
use crate::base::time::Clock;
#[cfg(unix)]
use crate::device::Signal;
use crate::device::clock::OsClock;
use crate::flow::{Drive, Endpoint, Event, State, Waiters, Wakers, Watcher};
use crate::irm::ListenerId;
use crate::node::Node;

/// The number of a flow or a listener in a [`FlowSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

/// Something happened on a flow, or a listener, of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct FlowEvent {
    /// The flow, or the listener.
    pub token: Token,
    /// The event.
    pub event: Event,
}

/// A set of flows and listeners to wait for: the reference's `fset`, `fqueue` and `fevent` in one.
///
/// Events are edge-triggered and coalesced: however often something happens on a flow before it is asked for, it is one
/// event of its kind, so a set needs memory only for the flows that are in it. After [`Event::Packet`] read until
/// [`ReadError::WouldBlock`](crate::ReadError::WouldBlock); [`Event::Writable`] follows a write that said
/// [`WriteError::WouldBlock`](crate::WriteError::WouldBlock). A flow tells one set at a time: adding it to another
/// silences it in the first, which it should be removed from. One that is closed here leaves the set with the event
/// [`Event::Deallocated`]. A set does not keep its flows, or their stack, alive. Threads may share a set: add and remove
/// flows while others wait for it, and wait for it themselves. A wait for an empty set lasts until a member is added
/// and has an event.
///
/// A [listener](Self::add_listener) tells [`Event::Acceptable`]: then [`try_accept`](Listener::try_accept) until
/// [`AcceptError::WouldBlock`](super::AcceptError::WouldBlock). A program with an event loop of its own waits for the
/// [file descriptor](Self::pollable) of a set.
///
/// ```
/// use std::time::Duration;
/// use o7s::{FlowSet, QosSpec, Stack};
///
/// let stack = Stack::new()?;
/// let listener = stack.bind("news")?;
/// let reader = std::thread::spawn(move || listener.accept());
/// let out = stack.flow("news").qos(QosSpec::DATA).alloc()?;
/// let inn = reader.join().unwrap()?;
///
/// let set = FlowSet::new();
/// let token = set.add(&inn);
/// out.write(b"now")?;
/// let events = set.wait(Some(Duration::from_secs(5)));
/// assert_eq!(events[0].token, token);
/// assert_eq!(inn.try_read(&mut [0; 16])?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct FlowSet {
    pending: Arc<Pending>,
    members: Mutex<BTreeMap<u64, Member>>,
    shared: Mutex<Weak<Shared>>,
    next: AtomicU64,
}

#[derive(Clone)]
enum Member {
    Flow(Arc<Endpoint>),
    /// A listener does not keep its stack up, and neither does one that is in a set.
    Listener(Weak<Node>, ListenerId),
}

impl Member {
    fn unwatch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        match self {
            Self::Flow(endpoint) => endpoint.unwatch(watcher, token),
            Self::Listener(node, id) => {
                if let Some(node) = node.upgrade() {
                    node.unwatch_listener(*id, watcher, token);
                }
            }
        }
    }

    /// Returns `true` if a member with this event can have no further ones.
    fn is_over(&self) -> bool {
        match self {
            Self::Flow(endpoint) => !matches!(endpoint.state(), State::Pending | State::Active),
            Self::Listener(..) => true,
        }
    }
}

#[derive(Default)]
struct Pending {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    events: BTreeMap<(u64, Event), ()>,
    waiters: Waiters,
    /// Counts panics of wakers.
    panics: Option<Arc<Panics>>,
    #[cfg(unix)]
    bell: Option<Bell>,
}

/// The descriptor that event loops of programs wait for.
#[cfg(unix)]
struct Bell {
    signal: Arc<Signal>,
    raised: bool,
}

impl Inner {
    /// Makes the file descriptor, if there is one, readable while there are events.
    fn ring(&mut self) {
        #[cfg(unix)]
        if let Some(bell) = &mut self.bell
            && bell.raised == self.events.is_empty()
        {
            bell.raised = !bell.raised;
            if bell.raised {
                bell.signal.raise();
            } else {
                bell.signal.lower();
            }
        }
    }
}

impl Pending {
    /// Changes the state and wakes all waiters.
    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let (wakers, panics) = {
            let mut inner = self.inner.lock();
            change(&mut inner);
            inner.ring();
            let mut wakers = Wakers::new();
            inner.waiters.take(&mut wakers);
            (wakers, inner.panics.clone())
        };
        panics.unwrap_or_default().wake_all(wakers);
    }
}

impl Watcher for Pending {
    fn notify(&self, token: u64, event: Event) {
        self.change(|inner| {
            inner.events.insert((token, event), ());
        });
    }
}

impl FlowSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a flow, also while others wait for the set. If there is something to read already, that is an event.
    pub fn add(&self, flow: &Flow) -> Token {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let endpoint = Arc::clone(&flow.inner.endpoint);
        *self.shared.lock() = Arc::downgrade(&flow.inner.shared);
        self.members.lock().insert(token, Member::Flow(Arc::clone(&endpoint)));
        // Wakes waiters, which drive the device of the other flows only: this one's packets may come from another.
        self.pending.change(|inner| inner.panics = Some(Arc::clone(endpoint.panics())));
        endpoint.watch(&self.watcher(), token);
        Token(token)
    }

    /// Adds a listener, also while others wait for the set. A request that waits already is an event; when the listener
    /// is closed, its last event is [`Event::Deallocated`]. A listener may be in several sets, which all get the event.
    ///
    /// ```
    /// use o7s::{Event, FlowSet, Stack};
    ///
    /// let (stack, set) = (Stack::new()?, FlowSet::new());
    /// let listener = stack.bind("news")?;
    /// let accepting = set.add_listener(&listener);
    /// let asks = stack.flow("news");
    /// let client = std::thread::spawn(move || asks.alloc());
    /// let event = set.wait(None)[0];
    /// assert_eq!((event.token, event.event), (accepting, Event::Acceptable));
    /// let flow = listener.try_accept()?;
    /// set.add(&flow);
    /// client.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_listener(&self, listener: &Listener) -> Token {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let node = &listener.shared.node;
        *self.shared.lock() = Arc::downgrade(&listener.shared);
        self.members.lock().insert(token, Member::Listener(Arc::downgrade(node), listener.id()));
        self.pending.change(|inner| inner.panics = Some(Arc::clone(node.panics())));
        node.watch_listener(listener.id(), self.watcher(), token);
        Token(token)
    }

    /// A file descriptor that is readable while events wait: for `poll`, `epoll`, `kqueue` and what is built on them.
    /// [`try_wait`](Self::try_wait) takes the events, and makes it unreadable again. There is one for each set, made by the
    /// first call; when the set is dropped it stays readable.
    ///
    /// # Errors
    /// Those of the operating system: that the process has too many open files.
    #[cfg(unix)]
    pub fn pollable(&self) -> std::io::Result<Pollable> {
        let mut inner = self.pending.inner.lock();
        let signal = match &inner.bell {
            Some(bell) => Arc::clone(&bell.signal),
            None => {
                let signal = Arc::new(Signal::new()?);
                inner.bell = Some(Bell { signal: Arc::clone(&signal), raised: false });
                inner.ring();
                signal
            }
        };
        Ok(Pollable(signal))
    }

    fn watcher(&self) -> Arc<dyn Watcher> {
        Arc::clone(&self.pending) as Arc<dyn Watcher>
    }

    /// Removes a flow or a listener, and its events.
    pub fn remove(&self, token: Token) {
        let member = self.members.lock().remove(&token.0);
        if let Some(member) = member {
            member.unwatch(&self.watcher(), token.0);
        }
        let mut inner = self.pending.inner.lock();
        inner.events.retain(|(t, _), ()| *t != token.0);
        inner.ring();
    }

    /// Returns `true` if a flow or a listener is in the set.
    pub fn contains(&self, token: Token) -> bool {
        self.members.lock().contains_key(&token.0)
    }

    /// Flows and listeners in the set.
    pub fn len(&self) -> usize {
        self.members.lock().len()
    }

    /// Returns `true` if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events that have happened since they were last asked for, by flow; empty if there are none.
    pub fn try_wait(&self) -> Vec<FlowEvent> {
        let events = {
            let mut inner = self.pending.inner.lock();
            let events = std::mem::take(&mut inner.events);
            inner.ring();
            events
        };
        let mut out = Vec::with_capacity(events.len());
        for (token, event) in events.into_keys() {
            // What is no member any more was removed while its event was on the way.
            let Some(member) = self.members.lock().get(&token).cloned() else { continue };
            out.push(FlowEvent { token: Token(token), event });
            if event == Event::Deallocated && member.is_over() {
                let gone = self.members.lock().remove(&token);
                drop(gone);
            }
        }
        out
    }

    /// Waits for events, for `timeout` at most if one is given; empty when it is over. An empty set is waited for as
    /// any other, as another thread may [add](Self::add) a flow: without a time limit forever, if none does. In a
    /// polled stack, which has no thread to end the wait, it does not wait.
    pub fn wait(&self, timeout: Option<Duration>) -> Vec<FlowEvent> {
        let shared = self.shared.lock().upgrade();
        if shared.as_ref().is_some_and(|s| !s.may_block()) {
            return self.try_wait();
        }
        let clock: Arc<dyn Clock> = match &shared {
            Some(shared) => Arc::clone(shared.node.clock()),
            None => Arc::new(OsClock::new()),
        };
        // A set does not keep a stack alive, not even while it is waited for.
        drop(shared);
        let deadline = timeout.map(|t| clock.now() + t);
        wait::block_on(&*clock, deadline, &mut Watching { set: self, place: 0 }).unwrap_or_default()
    }

    /// Waits for events.
    ///
    /// # Cancel safety
    /// Events are not lost when the future is dropped.
    pub async fn wait_async(&self) -> Vec<FlowEvent> {
        let mut watching = Watching { set: self, place: 0 };
        poll_fn(|cx| match watching.poll(cx.waker()) {
            Some(events) => Poll::Ready(events),
            None => Poll::Pending,
        })
        .await
    }
}

impl Drop for FlowSet {
    fn drop(&mut self) {
        let watcher = self.watcher();
        let members = std::mem::take(&mut *self.members.lock());
        for (token, member) in members {
            member.unwatch(&watcher, token);
        }
        #[cfg(unix)]
        {
            // Leaves the descriptor readable for good: programs that poll it wake, and watchers still at work find it
            // raised.
            let mut inner = self.pending.inner.lock();
            inner.events.insert((u64::MAX, Event::Deallocated), ());
            inner.ring();
        }
    }
}

impl std::fmt::Debug for FlowSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowSet").field("members", &self.len()).finish_non_exhaustive()
    }
}

/// The file descriptor of a [`FlowSet`]; see [`FlowSet::pollable`]. Clones share it.
///
/// It is for waiting only: what is read from it is of no use, and keeps others from waking.
///
/// ```
/// use o7s::{FlowSet, QosSpec, Stack};
/// use std::os::fd::AsFd;
///
/// let stack = Stack::new()?;
/// let (listener, set) = (stack.bind("news")?, FlowSet::new());
/// set.add_listener(&listener);
/// let pollable = set.pollable()?;
/// let _fd = pollable.as_fd(); // Give it to `poll`, register it with `epoll`; when it is readable:
/// let events = set.try_wait();
/// assert!(events.is_empty(), "no flow was asked for");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(unix)]
#[derive(Clone, Debug)]
pub struct Pollable(Arc<Signal>);

#[cfg(unix)]
impl std::os::fd::AsFd for Pollable {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Pollable {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsFd as _;
        self.0.as_fd().as_raw_fd()
    }
}

/// A wait for the events of a set.
struct Watching<'a> {
    set: &'a FlowSet,
    place: u64,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let waker = self.set.pending.inner.lock().waiters.remove(self.place);
        drop(waker);
    }
}

impl Awaited for Watching<'_> {
    type Output = Vec<FlowEvent>;

    fn poll(&mut self, waker: &Waker) -> Option<Self::Output> {
        loop {
            let waker = waker.clone();
            let spare = {
                let mut inner = self.set.pending.inner.lock();
                if inner.events.is_empty() {
                    let (place, spare) = inner.waiters.put(self.place, waker);
                    self.place = place;
                    drop(inner);
                    drop(spare);
                    return None;
                }
                waker
            };
            drop(spare);
            // Events of flows that have left the set are dropped: there may be none to return.
            if let Some(events) = self.try_now() {
                return Some(events);
            }
        }
    }

    fn try_now(&mut self) -> Option<Self::Output> {
        let events = self.set.try_wait();
        (!events.is_empty()).then_some(events)
    }

    fn hint(&self) -> bool {
        !self.set.pending.inner.lock().events.is_empty()
    }

    fn before_wait(&mut self) {
        let members: Vec<_> = self.set.members.lock().values().cloned().collect();
        for member in members {
            if let Member::Flow(endpoint) = member {
                endpoint.flush();
            }
        }
    }

    /// Flows of one device can be waited for on it.
    fn device(&self) -> Option<Arc<dyn Drive>> {
        let shared = self.set.shared.lock().upgrade()?;
        let shims = shared.shims.lock();
        match shims.as_slice() {
            [one] => Some(Arc::clone(one) as Arc<dyn Drive>),
            _ => None,
        }
    }
}
