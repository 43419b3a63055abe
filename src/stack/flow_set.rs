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
use crate::base::sync::Mutex;
use crate::flow::{Drive, Endpoint, Event, State, Watcher};

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
/// [`ReadError::WouldBlock`](crate::ReadError::WouldBlock). A flow tells one set at a time: adding it to another
/// silences it in the first, which it should be removed from. One that is closed here leaves the set with the event [`Event::Deallocated`]. A set does not keep
/// its flows, or their stack, alive.
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

/// Tasks that wait for a set; beyond it the one that has waited longest is woken and has to come back.
const MAX_WAITERS: usize = 1024;

#[derive(Default)]
struct Pending {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    events: BTreeMap<(u64, Event), ()>,
    waiters: Vec<Waker>,
}

impl Watcher for Pending {
    fn notify(&self, token: u64, event: Event) {
        let waiters = {
            let mut inner = self.inner.lock();
            inner.events.insert((token, event), ());
            std::mem::take(&mut inner.waiters)
        };
        for w in waiters {
            w.wake();
        }
    }
}

impl FlowSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a flow. If there is something to read already, that is an event.
    pub fn add(&self, flow: &Flow) -> Token {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let endpoint = Arc::clone(&flow.inner.endpoint);
        *self.shared.lock() = Arc::downgrade(&flow.inner.shared);
        self.members.lock().insert(token, Arc::clone(&endpoint));
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
        let wakers = {
            let mut inner = self.pending.inner.lock();
            inner.events.retain(|(t, _), ()| *t != token.0);
            std::mem::take(&mut inner.waiters)
        };
        // It may have been the last: nobody waits for an empty set.
        wakers.into_iter().for_each(Waker::wake);
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
        let mut members = self.members.lock();
        let mut out = Vec::with_capacity(events.len());
        let mut gone = Vec::new();
        for (token, event) in events.into_keys() {
            // What is no member any more was removed while its event was on the way.
            let Some(endpoint) = members.get(&token) else { continue };
            out.push(FlowEvent { token: Token(token), event });
            if event == Event::Deallocated && !matches!(endpoint.state(), State::Pending | State::Active) {
                gone.push(token);
            }
        }
        let gone: Vec<_> = gone.iter().filter_map(|token| members.remove(token)).collect();
        drop(members);
        drop(gone);
        out
    }

    /// Waits for events, for `timeout` at most if one is given; empty when it is over, or if the set is empty.
    pub fn wait(&self, timeout: Option<Duration>) -> Vec<FlowEvent> {
        let shared = self.shared.lock().upgrade();
        let Some(shared) = shared.filter(|s| s.may_block()) else { return self.try_wait() };
        let deadline = timeout.map(|t| shared.clock().now() + t);
        wait::block_on(shared.clock(), deadline, &mut Watching(self)).unwrap_or_default()
    }

    /// Waits for events; there are none if the set is empty.
    ///
    /// # Cancel safety
    /// Events are not lost when the future is dropped.
    pub async fn wait_async(&self) -> Vec<FlowEvent> {
        poll_fn(|cx| match Watching(self).poll(cx.waker()) {
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

struct Watching<'a>(&'a FlowSet);

impl Awaited for Watching<'_> {
    type Output = Vec<FlowEvent>;

    fn poll(&mut self, waker: &Waker) -> Option<Self::Output> {
        let mut crowded_out = None;
        {
            let mut inner = self.0.pending.inner.lock();
            if !inner.waiters.iter().any(|w| w.will_wake(waker)) {
                if inner.waiters.len() >= MAX_WAITERS {
                    crowded_out = Some(inner.waiters.remove(0));
                }
                inner.waiters.push(waker.clone());
            }
        }
        if let Some(waker) = crowded_out {
            waker.wake();
        }
        self.try_now()
    }

    fn try_now(&mut self) -> Option<Self::Output> {
        let events = self.0.try_wait();
        (!events.is_empty() || self.0.is_empty()).then_some(events)
    }

    fn hint(&self) -> bool {
        !self.0.pending.inner.lock().events.is_empty() || self.0.is_empty()
    }

    fn before_wait(&mut self) {
        let members: Vec<_> = self.0.members.lock().values().cloned().collect();
        for endpoint in members {
            endpoint.flush();
        }
    }

    /// Flows of one device can be waited for on it.
    fn device(&self) -> Option<Arc<dyn Drive>> {
        let shared = self.0.shared.lock().upgrade()?;
        let shims = shared.shims.lock();
        match shims.as_slice() {
            [one] => Some(Arc::clone(one) as Arc<dyn Drive>),
            _ => None,
        }
    }
}
