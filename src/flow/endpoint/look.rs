//! Looking at an endpoint, and being told of its events.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::{Endpoint, State, status};
use crate::flow::pipeline::Counters;
use crate::flow::{Event, FlowKey, Watcher};
use crate::types::qos::QosSpec;

impl Endpoint {
    /// The number by which the host knows this endpoint.
    pub fn key(&self) -> FlowKey {
        self.key
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        let s = self.status.load(Ordering::Acquire);
        match s {
            _ if s & status::RELEASED != 0 => State::Released,
            _ if s & status::DONE != 0 => State::Quiet,
            _ if s & status::CLOSED != 0 => State::Lingering,
            _ if s & status::ACTIVE != 0 => State::Active,
            _ => State::Pending,
        }
    }

    /// Whether the flow is down.
    pub fn is_down(&self) -> bool {
        self.has(status::DOWN | status::RELEASED)
    }

    /// Whether the flow carries nothing any more, here or there.
    pub fn is_over(&self) -> bool {
        self.has(status::CLOSED | status::DOWN | status::PEER_GONE | status::RELEASED)
    }

    /// Whether the other end has closed the flow, as opposed to the flow having failed. Only layers that tell, the local
    /// ones, ever say so.
    pub fn has_ended(&self) -> bool {
        self.has(status::ENDED)
    }

    /// Whether the peer has been silent for the flow's timeout.
    pub fn is_peer_gone(&self) -> bool {
        self.has(status::PEER_GONE)
    }

    /// Forbids or allows reading and writing.
    pub fn set_access(&self, read: bool, write: bool) {
        let bits = if read { 0 } else { status::NO_READ } | if write { 0 } else { status::NO_WRITE };
        self.status.fetch_and(!(status::NO_READ | status::NO_WRITE), Ordering::AcqRel);
        self.set(bits);
        self.wake_all();
    }

    /// The flow's quality of service.
    pub fn qos(&self) -> QosSpec {
        self.inner.lock().pipe.qos
    }

    /// Whether the peer was ever heard, or need not be: see [`Opening`](crate::flow::Opening).
    pub fn has_heard(&self) -> bool {
        self.inner.lock().pipe.has_heard()
    }

    /// Whether packets are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.inner.lock().pipe.is_encrypted()
    }

    /// The largest packet of user data that can be written, bytes.
    pub fn max_packet(&self) -> usize {
        let inner = self.inner.lock();
        inner.port.as_ref().map_or(0, |p| p.mtu().saturating_sub(inner.pipe.overhead()))
    }

    /// Packets that wait to be read, and packets written that the peer has not acknowledged.
    pub fn queue_lengths(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (self.inbox_len.load(Ordering::Relaxed) + inner.pipe.rx_queue_len(), inner.pipe.tx_queue_len())
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        let mut c = self.inner.lock().pipe.counters;
        c.overflow += self.inbox_overflow.load(Ordering::Relaxed);
        c
    }

    /// What FRCT has counted, on flows that have it.
    pub fn frct_stats(&self) -> Option<crate::frct::Stats> {
        self.inner.lock().pipe.frct.as_ref().map(|f| f.stats().clone())
    }

    /// Tells `watcher` of the events of this flow from now on, instead of an earlier one, and at once if there is
    /// something to read. Packets are then serviced as they arrive, because only then is it known whether there is data
    /// for the application.
    pub fn watch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let before = self.watcher.lock().replace((Arc::clone(watcher), token));
        self.watched.store(true, Ordering::SeqCst);
        drop(before);
        if self.has(status::CLOSED) {
            self.tell(Event::Deallocated);
        }
        if self.has(status::DOWN) {
            self.tell(Event::Down);
        }
        if self.has(status::PEER_GONE) {
            self.tell(Event::PeerGone);
        }
        if self.has(status::ACTIVE) && !self.has(status::CLOSED) && self.is_readable() {
            self.tell(Event::Packet);
        }
    }

    /// Tells `watcher` nothing any more, unless it is another one's turn already.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let mut slot = self.watcher.lock();
        let ours = |(w, t): &(Arc<dyn Watcher>, u64)| *t == token && Arc::ptr_eq(w, watcher);
        let before = if slot.as_ref().is_some_and(ours) { slot.take() } else { None };
        self.watched.store(slot.is_some(), Ordering::SeqCst);
        drop(slot);
        drop(before);
    }
}
