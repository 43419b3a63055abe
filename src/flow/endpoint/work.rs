//! The work: taking packets through the pipeline, sending, waking, letting go.

use alloc::sync::Arc;
use core::sync::atomic::{Ordering, fence};

use super::{Endpoint, Inner, News, QUIET, SERVICE_BURST, SERVICE_BURSTS, status};
use crate::base::time::Instant;
use crate::flow::{Event, Outgoing, Port, Wakers};

impl Endpoint {
    /// Takes what is in the inbox through the pipeline, sends the answers and tells the waiters. Returns `false`,
    /// having done nothing, if that is being done already, by another thread or further up this call chain.
    ///
    /// However fast packets arrive meanwhile, it ends: what is left after an inbox full waits for the next tick, or
    /// for a reader.
    pub(super) fn service(&self, now: Instant) -> bool {
        if !self.has(status::ACTIVE) || self.servicing.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut bursts = 0;
        loop {
            bursts += 1;
            if self.service_burst(now) && bursts < SERVICE_BURSTS {
                continue;
            }
            self.servicing.store(false, Ordering::Release);
            fence(Ordering::SeqCst);
            // What was queued, or made room for, between the look and the store would otherwise be nobody's.
            if !self.has_work() {
                break;
            }
            if bursts >= SERVICE_BURSTS {
                self.tick();
                break;
            }
            if self.servicing.swap(true, Ordering::AcqRel) {
                break;
            }
        }
        true
    }

    /// Whether there is something in the inbox, and room for it above.
    fn has_work(&self) -> bool {
        self.inbox_len.load(Ordering::Acquire) > 0 && self.inner.lock().pipe.room() > 0
    }

    /// One burst; `true` if there is more to take. What the application's queue has no room for stays in the inbox,
    /// where it keeps senders that can wait from sending more.
    pub(super) fn service_burst(&self, now: Instant) -> bool {
        let mut out = Outgoing::new();
        let (port, done, next, news, delivery, more) = {
            let mut inner = self.inner.lock();
            let pipe = &mut inner.pipe;
            let (n, left) = {
                let mut inbox = self.inbox.lock();
                let n = inbox.len().min(SERVICE_BURST).min(pipe.room());
                pipe.work.extend(inbox.drain(..n));
                self.inbox_len.store(inbox.len(), Ordering::Release);
                (n, inbox.len())
            };
            while let Some(pkt) = pipe.work.pop_front() {
                pipe.receive(now, pkt);
            }
            let delivery = self.take_delivery(now, &mut inner);
            let done = inner.pipe.pump(now, &mut out);
            (inner.port.clone(), done, self.next_timeout(&inner), self.news(&inner), delivery, n > 0 && left > 0)
        };
        if let Some(port) = port {
            self.transmit(now, &port, out, done);
            port.drained();
        }
        self.deliver(now, delivery);
        self.arm(next);
        self.publish(news);
        self.release_if_done(now);
        more
    }

    /// Sends `out`, and whatever else there is if `done` says that this was not all.
    pub(super) fn transmit(&self, now: Instant, port: &Arc<dyn Port>, mut out: Outgoing, mut done: bool) {
        loop {
            if !out.is_empty() {
                // Lost like any other packet: FRCT repeats it, an application without FRCT expects losses.
                let _ = port.send(now, &mut out);
            }
            if done && out.is_empty() {
                return;
            }
            let mut inner = self.inner.lock();
            for pkt in out.drain(..) {
                inner.pipe.take_back(pkt);
            }
            if done {
                return;
            }
            done = inner.pipe.pump(now, &mut out);
        }
    }

    pub(super) fn news(&self, inner: &Inner) -> News {
        let waiting = self.readers.any() || self.watched.load(Ordering::Relaxed);
        News {
            readable: waiting && inner.pipe.is_readable(),
            writable: self.writers.any() && inner.pipe.has_room(),
            went_down: inner.pipe.frct.as_ref().is_some_and(|f| f.is_down()) && !self.has(status::DOWN),
        }
    }

    pub(super) fn publish(&self, news: News) {
        if news.readable {
            self.readers.wake();
            self.tell(Event::Packet);
        }
        if news.writable {
            self.writers.wake();
            self.tell(Event::Writable);
        }
        if news.went_down {
            self.mark_down(Event::Down);
        }
    }

    pub(super) fn wake_all(&self) {
        let mut wakers = Wakers::new();
        self.readers.take(&mut wakers);
        self.writers.take(&mut wakers);
        self.closers.take(&mut wakers);
        for w in wakers {
            w.wake();
        }
    }

    pub(super) fn tell(&self, event: Event) {
        if !self.watched.load(Ordering::Acquire) {
            return;
        }
        let watcher = self.watcher.lock().clone();
        if let Some((watcher, token)) = watcher {
            watcher.notify(token, event);
        }
    }

    /// Releases a closed endpoint that has nothing left to deliver, or no time left to do it.
    pub(super) fn release_if_done(&self, now: Instant) {
        if !self.has(status::CLOSED) || self.has(status::RELEASED) {
            return;
        }
        if self.has_arrivals() && self.servicing.load(Ordering::Acquire) {
            // Whoever services the endpoint asks again after the next burst, which may settle everything.
            return;
        }
        let (release, next) = {
            let mut inner = self.inner.lock();
            let over = now >= inner.linger_until || self.has(status::DOWN | status::PEER_GONE);
            let drained = inner.pipe.frct.as_ref().is_none_or(|f| f.is_drained());
            if !over && (!drained || self.has(status::DONE)) {
                return;
            }
            let quiet =
                !over && inner.pipe.has_received_reliably() && inner.port.as_ref().is_some_and(|p| p.is_lossy());
            if quiet {
                inner.linger_until = now + QUIET;
                self.set(status::DONE);
            }
            (!quiet, self.next_timeout(&inner))
        };
        if release {
            self.release(now);
        } else {
            self.arm(next);
            self.closers.wake();
        }
    }

    pub(super) fn release(&self, now: Instant) {
        let (port, sink) = {
            let mut inner = self.inner.lock();
            if self.set(status::RELEASED) & status::RELEASED != 0 {
                return;
            }
            inner.lost = inner.pipe.tx_queue_len();
            inner.pipe.frct = None;
            inner.pipe.work.clear();
            inner.pipe.relax();
            drop(core::mem::take(&mut inner.delivery));
            (inner.port.take(), inner.sink.take())
        };
        self.inbox.lock().clear();
        self.inbox_len.store(0, Ordering::Release);
        if let Some(port) = port {
            port.flush(now);
            port.release(now);
        }
        drop(sink);
        self.env.host.released(self.key);
        self.wake_all();
    }
}
