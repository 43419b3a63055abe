//! The table of flows that a shim needs: ends by number, requests under way included.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};

use crate::base::ids::IdTable;
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::flow::Endpoint;
use crate::ipcp::reply::refused;
use crate::ipcp::{Answer, Attempt, Request, RequestError, give_up};
use crate::types::code::Code;
use crate::types::device::SendError;

/// One end of a flow, as its shim knows it.
pub struct End<P> {
    /// Where packets of the flow go.
    pub endpoint: Arc<Endpoint>,
    /// The other end, as far as it is known.
    pub peer: P,
    /// Who waits for the reply; `None` once it has come, and on the accepting side.
    requested: Mutex<Option<(Arc<dyn Answer>, u64)>>,
}

impl<P> End<P> {
    fn new(endpoint: &Arc<Endpoint>, peer: P, requested: Option<(Arc<dyn Answer>, u64)>) -> Arc<Self> {
        Arc::new(Self { endpoint: Arc::clone(endpoint), peer, requested: Mutex::new(requested) })
    }

    /// Who waits for the reply, and the token to give back: once, when the first reply has come.
    pub fn take_request(&self) -> Option<(Arc<dyn Answer>, u64)> {
        self.requested.lock().take()
    }

    /// Returns `true` if the reply is still waited for.
    pub fn is_requested(&self) -> bool {
        self.requested.lock().is_some()
    }
}

/// The ends of a shim's flows, by numbers that are drawn at random. Bounded; lookups share no lock.
pub struct Ends<P> {
    me: Weak<Self>,
    table: IdTable<Arc<End<P>>>,
}

impl<P: Send + Sync + 'static> Ends<P> {
    /// An empty table for at most `limit` ends.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { me: Weak::clone(me), table: IdTable::new(limit) })
    }

    /// Enters this end of a flow that is asked for at `peer`, and returns its number: the first that `draw` gives and
    /// that is not taken. Dropping the [`Asking`] removes it again, unless the answer has been
    /// [taken](End::take_request).
    ///
    /// # Errors
    /// [`RequestError::Full`] if the table is, [`RequestError::Down`] once it is [given up](Self::give_up).
    pub fn ask(&self, request: &Request<'_>, peer: P, draw: impl FnMut() -> u64) -> Result<Asking<P>, RequestError> {
        let requested = Some((Arc::clone(&request.answer), request.token));
        let end = End::new(request.endpoint, peer, requested);
        let weak = Arc::downgrade(&end);
        let id = self.table.insert_with(draw, |_| end).ok_or_else(|| self.refusal())?;
        Ok(Asking { ends: Weak::clone(&self.me), id, end: weak, sent: true })
    }

    /// Enters this end of a flow that is accepted from `peer`, and returns its number.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), with what the requester is told.
    pub fn accept(
        &self,
        endpoint: &Arc<Endpoint>,
        peer: P,
        draw: impl FnMut() -> u64,
    ) -> Result<u64, (Code, RequestError)> {
        let id = self.table.insert_with(draw, |_| End::new(endpoint, peer, None));
        id.ok_or_else(|| refused(self.refusal()))
    }

    /// Why the table takes no end.
    fn refusal(&self) -> RequestError {
        if self.table.is_closed() { RequestError::Down } else { RequestError::Full }
    }

    /// The end with this number.
    pub fn get(&self, id: u64) -> Option<Arc<End<P>>> {
        self.table.get(id)
    }

    /// Forgets an end: when its port is [released](crate::flow::Port::release) or dropped.
    pub fn remove(&self, id: u64) {
        self.table.remove(id);
    }

    /// Returns `true` if the table takes another end.
    pub fn has_room(&self) -> bool {
        self.table.has_room()
    }

    /// Ends in the table.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns `true` if the table is empty.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Calls `f` with every end.
    pub fn for_each(&self, f: impl FnMut(Arc<End<P>>)) {
        self.table.values().into_iter().for_each(f);
    }

    /// The layer is left: pending requests fail, flows that are open go down, and the table takes no more of either. A flow
    /// that comes about at the same time is either among those or [refused](Self::accept).
    ///
    /// Threads that are sending packets of open flows are waited for, `until` then at most: the device is closed next.
    pub fn give_up(&self, until: Instant) {
        for (id, end) in self.table.close() {
            let requested = end.take_request();
            if requested.is_some() {
                // Nobody else forgets it: its attempt has no answer to take any more.
                self.table.remove(id);
            } else {
                end.endpoint.finish_sending(until);
            }
            give_up(requested, &end.endpoint);
        }
    }
}

/// A request that has been sent: an [`Attempt`].
pub struct Asking<P: Send + Sync + 'static> {
    ends: Weak<Ends<P>>,
    id: u64,
    /// Where numbers are few, another end may have this one's by the time that this is dropped.
    end: Weak<End<P>>,
    sent: bool,
}

impl<P: Send + Sync + 'static> Asking<P> {
    /// The number of this end.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The attempt, for the stack, once the request was handed to the device: one that could not be sent for the moment is lost
    /// like any other, and is repeated.
    ///
    /// # Errors
    /// [`RequestError::Unsent`] if it could not be sent for good.
    pub fn into_attempt(mut self, sent: Result<(), SendError>) -> Result<Box<dyn Attempt>, RequestError> {
        match sent {
            Err(e) if !e.is_temporary() => return Err(RequestError::Unsent(e)),
            sent => self.sent = sent.is_ok(),
        }
        Ok(Box::new(self))
    }
}

impl<P: Send + Sync + 'static> Attempt for Asking<P> {
    fn is_sent(&self) -> bool {
        self.sent
    }
}

impl<P: Send + Sync + 'static> Drop for Asking<P> {
    fn drop(&mut self) {
        let Some(ends) = self.ends.upgrade() else { return };
        let Some(end) = ends.get(self.id).filter(|end| Weak::ptr_eq(&Arc::downgrade(end), &self.end)) else { return };
        // Answered requests belong to their port.
        if end.take_request().is_some() {
            ends.remove(self.id);
        }
    }
}
