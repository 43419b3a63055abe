//! The side of an IPCP that uses the flow: an N-1 flow of its layer.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::time::Duration;

use super::door::Effects;
use super::state::Attached;
use super::{Endpoint, Inner};
use crate::base::backlog::Meter;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::{MemberKey, Outgoing, Port, Sink, WriteError};

/// Packets that came out of the pipeline, and to whom they go.
pub(super) type Delivery = Option<(Arc<dyn Sink>, u64, VecDeque<PacketBuf>)>;

#[cfg_attr(not(feature = "internals"), doc(hidden))]
impl Endpoint {
    /// Hands what arrives to `sink` from now on, and tells it of the events of the flow, instead of an application that
    /// reads. What has arrived already comes first.
    ///
    /// The endpoint keeps the sink until it is released.
    pub fn attach(&self, sink: &Arc<dyn Sink>, token: u64) {
        let attached = Attached { sink: Arc::clone(sink), token, delivery: VecDeque::new() };
        let before = self.inner.lock().sink.replace(Box::new(attached));
        drop(before);
        let watcher: Arc<dyn crate::flow::Watcher> = Arc::clone(sink) as _;
        self.watch(&watcher, token);
        // Even if the inbox is empty: there may be packets that were taken in and not read.
        let turn = self.arrivals.inbox.lock().claim_or_ask();
        if turn {
            self.service(self.env.clock.now());
        }
    }

    /// Takes note that packets of others leave through this flow: whoever received them did it for somebody else.
    pub fn note_passed_on(&self) {
        self.env.panics.note_reached();
    }

    /// Takes packets for the sink. The turn is this thread's.
    pub(super) fn take_delivery(&self, now: Instant, inner: &mut Inner, fx: &mut Effects) {
        let Some(attached) = &mut inner.sink else { return };
        inner.pipe.take_all(now, &mut attached.delivery);
        if !attached.delivery.is_empty() {
            // The queue itself moves to the thread that delivers and comes back empty: no allocation per burst.
            fx.delivery = Some((Arc::clone(&attached.sink), attached.token, core::mem::take(&mut attached.delivery)));
        }
    }

    /// Gives it to the sink. No lock is held.
    pub(super) fn deliver(&self, now: Instant, delivery: Delivery) {
        let Some((sink, token, mut pkts)) = delivery else { return };
        sink.deliver(token, now, &mut pkts);
        let mut inner = self.inner.lock();
        for pkt in pkts.drain(..) {
            inner.pipe.take_back(pkt);
        }
        let relaxed = inner.pipe.is_relaxed();
        // An idle flow keeps no memory for bursts.
        if let Some(attached) = inner.sink.as_mut().filter(|_| !relaxed) {
            attached.delivery = pkts;
        }
    }

    /// Writes packets without copying them. What the flow's window, or the thread that is sending, has no room for stays
    /// in `pkts`, in order; then the watcher is told when there is room for a good many, perhaps before this returns.
    ///
    /// # Errors
    /// Why the flow takes no more data; the packets are still there. Too large ones are not noticed here: see
    /// [`carries`](Self::carries).
    pub fn send_packets(&self, now: Instant, pkts: &mut Outgoing) -> Result<(), WriteError> {
        let mut end = None;
        // A layer counts what its N-1 flow could not send as the network's loss, which it is prepared for.
        self.change(now, |inner, fx| {
            end = inner.write_end().or(inner.port.is_none().then_some(WriteError::Closed));
            if end.is_some() {
                return None;
            }
            if inner.has_output_room() {
                inner.pipe.write_packets(now, pkts, &mut fx.out);
            }
            // In the critical section in which there was no room: whatever makes some settles after it.
            inner.tell_writable |= !pkts.is_empty();
            Some(())
        });
        end.map_or(Ok(()), Err)
    }

    /// The largest packet that [`send_packets`](Self::send_packets) carries, bytes: as much as the layer below does. What is
    /// larger than [`max_packet`](Self::max_packet), because the path was found to carry no more, goes in pieces.
    ///
    /// What was found of the path rests on the peer's acknowledgements alone. A layer that passes packets of many on goes by
    /// this, so that no peer has a say in the size of those that go elsewhere.
    pub fn carries(&self) -> usize {
        self.inner.lock().layer_packet()
    }

    /// Has the peer taken for gone when it is silent for `ms` milliseconds from now on (0: never), whatever was agreed
    /// when the flow was allocated, and keepalives sent that prevent the same at the other end. Both ends must do it.
    pub fn set_timeout(&self, now: Instant, ms: u32) {
        let next = {
            let mut inner = self.inner.lock();
            inner.pipe.set_timeout(now, ms);
            inner.next_deadline()
        };
        self.arm(next);
    }

    /// As [`set_timeout`](Self::set_timeout), with keepalives of which the first is sent at once and the next ones
    /// after `interval` each.
    pub fn set_patience(&self, now: Instant, silence: Duration, interval: Duration) {
        let next = {
            let mut inner = self.inner.lock();
            inner.pipe.set_patience(now, silence, interval);
            inner.next_deadline()
        };
        self.arm(next);
    }

    /// The meter of the memory that packets hold which wait in this flow: the peer's, if it has asked for the flow.
    pub(crate) fn meter(&self) -> Option<Arc<Meter>> {
        self.inner.lock().pipe.meter()
    }

    /// Returns `true` if the packets of this flow may go through this member.
    pub fn stands_on(&self, member: MemberKey) -> bool {
        let port = self.inner.lock().port.clone();
        port.is_some_and(|port| self.env.panics.call(move || port.stands_on(member)).unwrap_or(false))
    }

    /// Packets that wait in front of the device through which this flow goes.
    pub fn queued(&self) -> usize {
        let inner = self.inner.lock();
        inner.out.len() + inner.ask(Port::queued).unwrap_or(0)
    }
}
