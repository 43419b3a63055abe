//! The side of an IPCP that uses the flow: an N-1 flow of its layer.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::{Endpoint, Inner, status};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::{Outgoing, Sink, WriteError};

/// Packets that came out of the pipeline, and to whom they go.
pub(super) type Delivery = Option<(Arc<dyn Sink>, u64, VecDeque<PacketBuf>)>;

impl Endpoint {
    /// Hands what arrives to `sink` from now on, and tells it of the events of the flow, instead of an application that
    /// reads. What has arrived already comes first.
    ///
    /// The endpoint keeps the sink until it is released.
    pub fn attach(&self, sink: &Arc<dyn Sink>, token: u64) {
        self.inner.lock().sink = Some((Arc::clone(sink), token));
        let watcher: Arc<dyn crate::flow::Watcher> = Arc::clone(sink) as _;
        self.watch(&watcher, token);
        self.service_now(self.env.clock.now());
    }

    /// Services the endpoint even if nothing waits in its inbox: there may be packets that nobody has read.
    fn service_now(&self, now: Instant) {
        if !self.has(status::ACTIVE) || self.servicing.swap(true, Ordering::AcqRel) {
            // Whoever services it hands everything to the sink.
            return;
        }
        self.service_burst(now);
        self.servicing.store(false, Ordering::Release);
        self.service(now);
    }

    /// What the sink is to be given.
    pub(super) fn take_delivery(&self, now: Instant, inner: &mut Inner) -> Delivery {
        let (sink, token) = inner.sink.as_ref()?;
        let mut pkts = core::mem::take(&mut inner.delivery);
        let (sink, token) = (Arc::clone(sink), *token);
        inner.pipe.take_all(now, &mut pkts);
        if pkts.is_empty() {
            inner.delivery = pkts;
            return None;
        }
        Some((sink, token, pkts))
    }

    /// Gives it to the sink. No lock is held.
    pub(super) fn deliver(&self, now: Instant, delivery: Delivery) {
        let Some((sink, token, mut pkts)) = delivery else { return };
        sink.deliver(token, now, &mut pkts);
        let mut inner = self.inner.lock();
        for pkt in pkts.drain(..) {
            inner.pipe.take_back(pkt);
        }
        if !inner.pipe.is_relaxed() {
            inner.delivery = pkts;
        }
    }

    /// Writes packets without copying them. What the flow's window has no room for stays in `pkts`, in order.
    ///
    /// # Errors
    /// Why the flow takes no more data; the packets are still there. Too large ones are not noticed here: see
    /// [`max_packet`](Self::max_packet).
    pub fn send_packets(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), WriteError> {
        self.check_writable()?;
        let mut out = Outgoing::new();
        let (port, done, next) = {
            let mut inner = self.inner.lock();
            let Some(port) = inner.port.clone() else { return Err(WriteError::Closed) };
            inner.pipe.write_packets(now, pkts, &mut out);
            let done = inner.pipe.pump(now, &mut out);
            (port, done, self.next_timeout(&inner))
        };
        self.transmit(now, &port, out, done);
        self.arm(next);
        Ok(())
    }

    /// Has the peer taken for gone when it is silent for `ms` milliseconds from now on (0: never), whatever was agreed
    /// when the flow was allocated, and keepalives sent that prevent the same at the other end. Both ends must do it.
    pub fn set_timeout(&self, now: Instant, ms: u32) {
        let next = {
            let mut inner = self.inner.lock();
            inner.pipe.set_timeout(now, ms);
            self.next_timeout(&inner)
        };
        self.arm(next);
    }

    /// Packets that wait in front of the device through which this flow goes.
    pub fn queued(&self) -> usize {
        self.inner.lock().port.as_ref().map_or(0, |p| p.queued())
    }
}
