//! Waiting for events on many flows at once.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Shared;
use super::flow::Flow;
use super::wait::{self, Awaited};
use crate::base::foreign::Panics;
use crate::base::sync::Mutex;
use crate::base::time::Clock;
use crate::device::clock::OsClock;
use crate::flow::{Drive, Endpoint, Event, State, Waiters, Wakers, Watcher};

/// The number of a flow in a [`FlowSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

/// Something happened on a flow of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct FlowEvent {
    /// The flow.
    pub token: Token,
    /// What happened.
    pub event: Event,
}

/// A set of flows to wait for: the reference's `fset`, `fqueue` and `fevent` in one.
///
/// Events are edge-triggered and coalesced: however often something happens on a flow before it is asked for, it is one
/// event of its kind, so a set needs memory only for the flows that are in it. After [`Event::Packet`] read until
/// [`ReadError::WouldBlock`](crate::ReadError::WouldBlock); [`Event::Writable`] follows a write that said
/// [`WriteError::WouldBlock`](crate::WriteError::WouldBlock). A flow tells one set at a time: adding it to another
/// silences it in the first, which it should be removed from. One that is closed here leaves the set with the event
/// [`Event::Deallocated`]. A set does not keep its flows, or their stack, alive. Threads may share a set: add and remove
/// flows while others wait for it, and wait for it themselves.
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
    members: Mutex<BTreeMap<u64, Arc<Endpoint>>>,
    shared: Mutex<Weak<Shared>>,
    next: AtomicU64,
}

#[derive(Default)]
struct Pending {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    events: BTreeMap<(u64, Event), ()>,
    waiters: Waiters,
    /// Whom a panic of a waker is counted by.
    panics: Option<Arc<Panics>>,
}

impl Pending {
    /// Changes something and wakes everybody.
    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let (wakers, panics) = {
            let mut inner = self.inner.lock();
            change(&mut inner);
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
        self.members.lock().insert(token, Arc::clone(&endpoint));
        // Whoever waits on the device of the others looks where the packets of this one come from.
        self.pending.change(|inner| inner.panics = Some(Arc::clone(endpoint.panics())));
        endpoint.watch(&self.watcher(), token);
        Token(token)
    }

    fn watcher(&self) -> Arc<dyn Watcher> {
        Arc::clone(&self.pending) as Arc<dyn Watcher>
    }

    /// Removes a flow, and its events.
    pub fn remove(&self, token: Token) {
        let member = self.members.lock().remove(&token.0);
        if let Some(endpoint) = member {
            endpoint.unwatch(&self.watcher(), token.0);
        }
        self.pending.inner.lock().events.retain(|(t, _), ()| *t != token.0);
    }

    /// Whether a flow is in the set.
    pub fn contains(&self, token: Token) -> bool {
        self.members.lock().contains_key(&token.0)
    }

    /// Flows in the set.
    pub fn len(&self) -> usize {
        self.members.lock().len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The events that have happened since they were last asked for, by flow; empty if there are none.
    pub fn try_wait(&self) -> Vec<FlowEvent> {
        let events = std::mem::take(&mut self.pending.inner.lock().events);
        let mut out = Vec::with_capacity(events.len());
        for (token, event) in events.into_keys() {
            // What is no member any more was removed while its event was on the way.
            let Some(endpoint) = self.members.lock().get(&token).cloned() else { continue };
            out.push(FlowEvent { token: Token(token), event });
            if event == Event::Deallocated && !matches!(endpoint.state(), State::Pending | State::Active) {
                let gone = self.members.lock().remove(&token);
                drop(gone);
            }
        }
        out
    }

    /// Waits for events, for `timeout` at most if one is given; empty when it is over. An empty set is waited for as any
    /// other, as another thread may [add](Self::add) a flow: without a time limit for ever, if none does. In a polled
    /// stack, where nobody would end the wait, it does not wait.
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
        for (token, endpoint) in members {
            endpoint.unwatch(&watcher, token);
        }
    }
}

impl std::fmt::Debug for FlowSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowSet").field("flows", &self.len()).finish_non_exhaustive()
    }
}

/// Somebody who waits for a set.
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
            // Of flows that are members no more there may be events that are told nobody.
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
        for endpoint in members {
            endpoint.flush();
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
