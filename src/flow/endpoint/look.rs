//! Looking at an endpoint, and being told of its events.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use super::state::{Life, Watch};
use super::{Endpoint, Ordering, State};
use crate::base::foreign::Panics;
use crate::flow::pipeline::Counters;
use crate::flow::{FlowKey, ReadError, Watcher};
use crate::types::qos::QosSpec;
use crate::types::tap::FlowTap;

#[cfg_attr(not(feature = "internals"), doc(hidden))]
impl Endpoint {
    /// The number by which the host knows this endpoint.
    pub fn key(&self) -> FlowKey {
        self.key
    }

    /// Through which foreign code is called.
    pub fn panics(&self) -> &Arc<Panics> {
        &self.env.panics
    }

    /// Has `tap` see the flow's packets in the clear from now on, or nobody any more.
    pub fn set_tap(&self, tap: Option<Arc<dyn FlowTap>>) {
        let before = self.inner.lock().pipe.set_tap(self.key, tap);
        drop(before);
    }

    /// State of its life.
    pub fn state(&self) -> State {
        self.inner.lock().state()
    }

    /// Returns `true` if the flow is down.
    pub fn is_down(&self) -> bool {
        let inner = self.inner.lock();
        inner.down.is_some() || inner.life == Life::Released
    }

    /// Returns `true` if the flow carries nothing any more, here or there.
    pub fn is_over(&self) -> bool {
        let inner = self.inner.lock();
        inner.down.is_some() || !matches!(inner.life, Life::Pending | Life::Active)
    }

    /// Returns `true` if the peer has been silent for the flow's timeout.
    pub fn is_peer_gone(&self) -> bool {
        self.inner.lock().peer_gone
    }

    /// Why the flow carries nothing any more, in a few words; "here" if it does.
    #[cfg(feature = "std")]
    pub(crate) fn end(&self) -> &'static str {
        let inner = self.inner.lock();
        match inner.read_end() {
            Some(ReadError::Closed) => "the other end closed it",
            Some(ReadError::Reset) => "the other end gave it up",
            Some(ReadError::PeerGone) => "the other end is silent",
            Some(ReadError::Undeliverable(_)) => "nothing could be delivered",
            Some(ReadError::Down) => "the layer below gave it up",
            _ => "here",
        }
    }

    /// Returns `true` if an IPCP uses the flow, as an N-1 flow.
    pub fn is_attached(&self) -> bool {
        self.inner.lock().sink.is_some()
    }

    /// Forbids or allows reading.
    pub fn set_readable(&self, on: bool) {
        self.change(self.env.clock.now(), |inner, _| {
            inner.may_read = on;
            Some(())
        });
    }

    /// The flow's quality of service.
    pub fn qos(&self) -> QosSpec {
        self.inner.lock().pipe.qos
    }

    /// After how long a silence of this end it sends a keepalive; `None` if the flow has no timeout.
    pub fn keepalive_interval(&self) -> Option<Duration> {
        self.inner.lock().pipe.keepalive_interval()
    }

    /// Returns `true` if the peer was ever heard, or need not be: see [`Opening`](crate::flow::Opening).
    pub fn has_heard(&self) -> bool {
        self.inner.lock().pipe.has_heard()
    }

    /// Returns `true` if a packet has come that nobody but who agreed on the flow's key can have made.
    pub fn is_proven(&self) -> bool {
        self.inner.lock().pipe.is_proven()
    }

    /// Returns `true` if packets are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.inner.lock().pipe.is_encrypted()
    }

    /// The largest packet of user data that the layer below carries, bytes.
    pub fn max_packet(&self) -> usize {
        self.inner.lock().max_packet()
    }

    /// The most that can be written at a time, bytes: in one packet or in fragments.
    pub fn max_write(&self) -> usize {
        let inner = self.inner.lock();
        inner.max_write(inner.max_packet()).0
    }

    /// Packets that wait to be read, and packets written that the peer has not acknowledged.
    pub fn queue_lengths(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (self.arrivals.len.load(Ordering::Relaxed) + inner.pipe.rx_queue_len(), inner.pipe.tx_queue_len())
    }

    /// Counters.
    pub fn counters(&self) -> Counters {
        let mut c = self.inner.lock().pipe.counters;
        // The inbox has a lock of its own, so it counts its drops itself.
        c.overflow += self.arrivals.inbox.lock().overflow;
        c
    }

    /// Counters of FRCT, on flows that have it.
    pub fn frct_stats(&self) -> Option<crate::frct::Stats> {
        self.inner.lock().pipe.frct.as_ref().map(|f| f.stats())
    }

    /// The state of the sending direction, on flows that have FRCT.
    pub fn frct_path(&self) -> Option<crate::frct::FrctPath> {
        self.inner.lock().pipe.frct.as_ref().map(|f| f.path())
    }

    /// Tells `watcher` of the events of this flow from now on, instead of an earlier one; at once what it finds: that
    /// there is something to read, or that the flow is closed, down, or its peer gone. Packets are then serviced as they
    /// arrive, because only then is it known whether there is data for the application.
    pub fn watch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let now = self.env.clock.now();
        let watch = Box::new(Watch { watcher: Arc::clone(watcher), token });
        let changed = self.change(now, |inner, _| {
            let before = inner.watch.replace(watch);
            inner.note_all();
            inner.pipe.await_peer();
            let mut inbox = self.arrivals.inbox.lock();
            // With a watcher packets are not left to a reader: it reads only after it was told.
            inbox.set_eager(true);
            Some((before, inbox.claim()))
        });
        // Foreign code may run in the destructor of a watcher, so it is dropped without the lock.
        let turn = changed.is_some_and(|(_before, turn)| turn);
        if turn {
            self.service(now);
        }
    }

    /// Tells `watcher` nothing any more, unless it is another one's turn already.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let before = {
            let mut inner = self.inner.lock();
            // A flow tells one set at a time. Removing it from an earlier set must not silence the present one.
            let ours = |w: &Watch| w.token == token && Arc::ptr_eq(&w.watcher, watcher);
            let before = if inner.watch.as_deref().is_some_and(ours) { inner.watch.take() } else { None };
            if before.is_some() {
                self.arrivals.inbox.lock().set_eager(self.env.inline);
            }
            before
        };
        drop(before);
    }
}
