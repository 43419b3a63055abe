//! Accepting flows.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::wait::{self, Awaited};
use super::{AcceptError, Flow, Shared, aio};
use crate::base::time::Instant;
use crate::flow::Drive;
use crate::irm::ListenerId;
use crate::node::Node;
use crate::node::accept::{self, Accept};
use crate::node::alloc::Allocated;
use crate::types::name::Name;

/// Accepts flows to a name. Several threads and tasks may accept from one listener.
///
/// Requests that come without an acceptor wait in a [bounded backlog](super::Stack::set_backlog), each for as long as
/// its requester waits. A server that serves one flow after the other makes them wait for each other, and for two
/// minutes if a client dies without a word, unless its reads have a [timeout](Flow::set_read_timeout): better give
/// every flow a thread, as [`bind_handler`](super::Stack::bind_handler) does, or a task.
///
/// ```
/// use o7s::Stack;
///
/// let stack = Stack::new()?;
/// let listener = stack.bind("clock")?;
/// std::thread::spawn(move || {
///     for flow in listener.incoming() {
///         std::thread::spawn(move || flow.write(b"noon"));
///     }
/// });
/// assert_eq!(stack.flow("clock").alloc()?.read(&mut [0; 64])?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it refuses the requests that wait, if it was the name's last listener.
pub struct Listener {
    pub(super) shared: Arc<Shared>,
    id: ListenerId,
    name: Name,
}

/// An iterator over the flows that a [`Listener`] accepts, made by [`Listener::incoming`].
///
/// Yields [`Flow`], not `Result<Flow, _>` as the iterator of `std::net::TcpListener` does: a request that cannot be accepted
/// is refused and skipped.
#[derive(Debug)]
pub struct Incoming<'a>(&'a Listener);

impl Listener {
    pub(super) fn new(shared: Arc<Shared>, id: ListenerId, name: Name) -> Self {
        Self { shared, id, name }
    }

    pub(super) fn id(&self) -> ListenerId {
        self.id
    }

    /// The name that flows are accepted for.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Waits for a flow.
    ///
    /// A request whose security header is wrong, or too weak for the name, or for which the stack has no room, is refused and
    /// does not end the wait.
    ///
    /// # Errors
    /// [`AcceptError`] when there will be no more.
    pub fn accept(&self) -> Result<Flow, AcceptError> {
        self.accept_until(None, |_| Vec::new())
    }

    /// As [`accept`](Self::accept), waiting no longer than `timeout`.
    ///
    /// # Errors
    /// [`AcceptError`], also when the time is over.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Flow, AcceptError> {
        self.accept_until(Some(self.shared.clock().now() + timeout), |_| Vec::new())
    }

    /// As [`accept`](Self::accept), with data for the requester that travels with the reply. `reply` makes it from
    /// the data that came with the request. Neither is encrypted.
    ///
    /// # Errors
    /// [`AcceptError`] when there will be no more.
    pub fn accept_with(&self, reply: impl FnMut(&[u8]) -> Vec<u8>) -> Result<Flow, AcceptError> {
        self.accept_until(None, reply)
    }

    /// Returns `true` if a request waits that no other accept was told of.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn has_request(&self) -> bool {
        self.shared.node.with_irm(|irm| irm.has_work(self.id, None))
    }

    /// Accepts a flow if one is being asked for now.
    ///
    /// # Errors
    /// [`AcceptError::WouldBlock`] if none is.
    pub fn try_accept(&self) -> Result<Flow, AcceptError> {
        let mut accept = self.next_accept();
        let waker = Waker::from(Arc::new(Retry { node: Arc::downgrade(&self.shared.node), id: self.id }));
        match accept.poll(&mut Context::from_waker(&waker), &mut |_| Vec::new()) {
            Poll::Ready(result) => Ok(self.flow(result?)),
            Poll::Pending => Err(AcceptError::WouldBlock),
        }
    }

    /// Waits for a flow. Dropping the future passes a request that it was given on.
    ///
    /// # Errors
    /// [`AcceptError`] when there will be no more.
    pub async fn accept_async(&self) -> Result<aio::Flow, AcceptError> {
        let mut accept = self.next_accept();
        let result = poll_fn(|cx| accept.poll(cx, &mut |_| Vec::new())).await;
        Ok(self.flow(result?).into_async())
    }

    /// Returns an iterator that accepts a flow in each step, in the order of the requests, and waits for it.
    ///
    /// Its items are flows, not results. It ends with the first error of [`accept`](Self::accept): when the stack is shut
    /// down, or is a polled one, in which no call waits. Requests that cannot be accepted are refused, and the iterator goes
    /// on. Hand each flow to a thread or a task: the next request waits until the iterator is asked again.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }

    fn accept_until(
        &self,
        deadline: Option<Instant>,
        reply: impl FnMut(&[u8]) -> Vec<u8>,
    ) -> Result<Flow, AcceptError> {
        if !self.shared.may_block() {
            return Err(AcceptError::Polled);
        }
        let accept = self.next_accept();
        let mut accepting = Accepting { accept, reply, shared: &self.shared };
        match wait::block_on(self.shared.clock(), deadline, &mut accepting) {
            Some(result) => Ok(self.flow(result?)),
            None => Err(accept::AcceptError::TimedOut.into()),
        }
    }

    fn next_accept(&self) -> Accept {
        Accept::new(&self.shared.node, self.id, self.name.clone())
    }

    fn flow(&self, accepted: Allocated) -> Flow {
        Flow::new(Arc::clone(&self.shared), self.name.clone(), accepted)
    }
}

/// Tells a set of flows that it is worth while to try again.
struct Retry {
    node: Weak<Node>,
    id: ListenerId,
}

impl Wake for Retry {
    fn wake(self: Arc<Self>) {
        if let Some(node) = self.node.upgrade() {
            node.tell_listener(self.id);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.node.close_listener(self.id);
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Iterator for Incoming<'_> {
    type Item = Flow;

    fn next(&mut self) -> Option<Flow> {
        self.0.accept().ok()
    }
}

struct Accepting<'a, F> {
    accept: Accept,
    reply: F,
    shared: &'a Shared,
}

impl<F: FnMut(&[u8]) -> Vec<u8>> Awaited for Accepting<'_, F> {
    type Output = Result<Allocated, accept::AcceptError>;

    fn poll(&mut self, waker: &Waker) -> Option<Self::Output> {
        match self.accept.poll(&mut Context::from_waker(waker), &mut self.reply) {
            Poll::Ready(out) => Some(out),
            Poll::Pending => None,
        }
    }

    fn try_now(&mut self) -> Option<Self::Output> {
        self.poll(Waker::noop())
    }

    fn hint(&self) -> bool {
        self.accept.has_request()
    }

    /// Requests may come from anywhere; a stack with one device has its acceptors drive it.
    fn device(&self) -> Option<Arc<dyn Drive>> {
        match self.shared.shims.lock().as_slice() {
            [one] => Some(Arc::clone(one) as Arc<dyn Drive>),
            _ => None,
        }
    }
}
