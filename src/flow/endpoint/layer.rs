//! The side of the layer below, and of the host: packets, ticks, deadlines.

use super::door::Effects;
use super::inbox::BUSY;
use super::state::Down;
use super::{Endpoint, Ordering};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::Event;
use crate::types::addr::Route;
use crate::types::device::SendError;

impl Endpoint {
    /// Takes packets from below. What the inbox cannot hold is dropped and counted.
    pub fn handle_packets(&self, now: Instant, pkts: impl IntoIterator<Item = PacketBuf>) {
        self.handle_packets_busy(now, pkts);
    }

    /// As [`handle_packets`](Self::handle_packets); returns `true` if a sender that can wait should.
    pub fn handle_packets_busy(&self, now: Instant, pkts: impl IntoIterator<Item = PacketBuf>) -> bool {
        let (duty, busy) = {
            let mut inbox = self.arrivals.inbox.lock();
            let duty = inbox.put(now, pkts, || self.expects_user(now));
            let len = inbox.len();
            self.arrivals.len.store(len, Ordering::Release);
            (duty, len >= BUSY)
        };
        self.do_duty(now, duty);
        busy
    }

    /// Takes packets from below that came on another route than the peer's. Returns how many of them were words of the peer
    /// about that; the others are dropped.
    pub fn receive_elsewhere(&self, now: Instant, route: Route, pkts: impl IntoIterator<Item = PacketBuf>) -> usize {
        let taken = self.change(now, |inner, _| {
            if !inner.has_flow() || !inner.way.roams {
                return None;
            }
            let taken = pkts.into_iter().filter_map(|pkt| inner.pipe.receive_elsewhere(now, route, pkt).then_some(()));
            Some(taken.count())
        });
        taken.unwrap_or(0)
    }

    /// The port has room again.
    pub fn notify_writable(&self) {
        self.change(self.env.clock.now(), |inner, _| {
            inner.blocked = false;
            Some(())
        });
    }

    /// The layer below carries nothing for the time being, or does again: `None`.
    pub fn note_fault(&self, fault: Option<SendError>) {
        self.change(self.env.clock.now(), |inner, _| {
            inner.has_flow().then(|| {
                inner.note_fault(fault);
                inner.blocked &= fault.is_some();
            })
        });
    }

    /// The way that packets of this flow went is gone, as the layer below has found out for itself, and there is another: a
    /// reliable flow does not wait for the time to which it has put off its next attempt.
    pub(crate) fn handle_path_change(&self, now: Instant) {
        let port = self.change(now, |inner, _| {
            let repeats = inner.has_flow() && inner.pipe.handle_path_change(now);
            repeats.then(|| inner.port.clone())
        });
        self.flush_port(now, port.flatten());
    }

    /// Returns `true` if [`handle_path_change`](Self::handle_path_change) would have a reliable flow send again what is oldest of
    /// what is out.
    pub(crate) fn would_retry(&self, now: Instant) -> bool {
        // An answer may be among what nobody has looked at yet.
        !self.has_arrivals() && self.inner.lock().pipe.frct.as_ref().is_some_and(|frct| frct.would_retry(now))
    }

    /// The layer below, or the other end, has given the flow up. What has arrived can still be read.
    pub fn mark_down(&self, event: Event) {
        self.change(self.env.clock.now(), |inner, _| {
            match event {
                Event::PeerGone => inner.lose_peer(),
                Event::Deallocated => inner.go_down(Down::Ended, event),
                _ => inner.go_down(Down::Layer, Event::Down),
            }
            Some(())
        });
    }

    /// Does what is due. The host calls it at the moment it was armed for.
    pub fn handle_timeout(&self, now: Instant) {
        // Before the lock is taken: a deadline that is set while this runs arms the timer anew, at worst once too
        // often.
        self.armed.store(u64::MAX, Ordering::Release);
        let mut fx = Effects::default();
        let port = {
            let mut inner = self.inner.lock();
            if !inner.has_flow() {
                return;
            }
            if self.has_arrivals() {
                // It is the application that is slow, not the peer that was silent until these came.
                inner.pipe.note_heard(self.arrivals.inbox.lock().delivered);
            }
            if !inner.pipe.handle_timeout(now, &mut fx.out) {
                inner.lose_peer();
            }
            // First, because what is given back need not be waited for.
            inner.pipe.relax_if_quiet(now);
            // Timeouts are few next to packets: what is charged in advance of these is given back.
            inner.pipe.settle_charge();
            self.arrivals.inbox.lock().settle();
            self.settle(&mut inner, now, &mut fx);
            if inner.pipe.is_relaxed() {
                self.arrivals.inbox.lock().shrink();
                inner.shrink();
            }
            inner.port.clone()
        };
        let _ = self.dispatch(now, &mut fx);
        self.flush_port(now, port);
    }

    /// Services what a user did not come for, and sends what was held back.
    pub fn handle_tick(&self, now: Instant) {
        self.arrivals.ticking.store(false, Ordering::Release);
        // The holder of the turn settles; without one, packets that the device had no room for are tried again.
        let left = self.arrivals.inbox.lock().claim_left();
        let mut fx = Effects::default();
        let port = {
            let mut inner = self.inner.lock();
            inner.blocked = false;
            self.settle(&mut inner, now, &mut fx);
            inner.port.clone()
        };
        let _ = self.dispatch(now, &mut fx);
        if left {
            self.service(now);
        }
        self.flush_port(now, port);
    }

    /// Asks the host for a [`handle_tick`](Self::handle_tick).
    pub fn tick(&self) {
        // One tick at a time; the load keeps the common case from writing to a shared line.
        if !self.arrivals.ticking.load(Ordering::Acquire) && !self.arrivals.ticking.swap(true, Ordering::AcqRel) {
            self.env.host.tick(self.key);
        }
    }
}
