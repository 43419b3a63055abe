//! The side of the layer below, and of the host: packets, ticks, deadlines.

use alloc::collections::VecDeque;
use core::sync::atomic::{Ordering, fence};

use super::{Endpoint, INBOX_BUSY, INBOX_LIMIT, INBOX_PENDING, status};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::{Event, Outgoing};

impl Endpoint {
    /// Takes packets from below. What the inbox cannot hold is dropped and counted.
    pub fn receive(&self, now: Instant, pkts: impl IntoIterator<Item = PacketBuf>) {
        let limit = match () {
            () if self.has(status::RELEASED) => 0,
            () if self.has(status::ACTIVE) => INBOX_LIMIT,
            () => INBOX_PENDING,
        };
        let len = {
            let mut inbox = self.inbox.lock();
            for pkt in pkts {
                if inbox.len() < limit {
                    inbox.push_back(pkt);
                } else {
                    self.inbox_overflow.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.inbox_len.store(inbox.len(), Ordering::Release);
            inbox.len()
        };
        self.delivered.store(now.as_nanos(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if len == 0 || !self.has(status::ACTIVE) {
            return;
        }
        if self.env.inline || self.watched.load(Ordering::Relaxed) {
            self.service(now);
        } else if len < INBOX_BUSY && (self.readers.any() || self.writers.any()) {
            self.tick();
            self.readers.wake();
            self.writers.wake();
        } else if len < INBOX_BUSY && self.expects_user(now) {
            self.tick();
        } else {
            self.service(now);
        }
    }

    /// Whether a sender that can wait should.
    pub fn is_busy(&self) -> bool {
        self.inbox_len.load(Ordering::Relaxed) >= INBOX_BUSY
    }

    /// The port has room again.
    pub fn notify_writable(&self) {
        if self.writers.any() {
            self.writers.wake();
        }
    }

    /// The layer below, or the other end, has given the flow up. What has arrived can still be read.
    pub fn mark_down(&self, event: Event) {
        let now = self.env.clock.now();
        if self.has_arrivals() {
            // The last that came may be the acknowledgement of everything.
            self.service(now);
        }
        let before = match event {
            Event::PeerGone => self.set(status::PEER_GONE),
            Event::Deallocated => self.set(status::DOWN | status::ENDED),
            _ => self.set(status::DOWN),
        };
        if before & (status::DOWN | status::PEER_GONE) == 0 {
            self.tell(event);
        }
        self.wake_all();
        self.release_if_done(now);
    }

    /// The layer below carries packets again after [`mark_down`](Self::mark_down).
    pub fn mark_up(&self) {
        if self.status.fetch_and(!status::DOWN, Ordering::AcqRel) & status::DOWN != 0 {
            self.tell(Event::Up);
            self.wake_all();
        }
    }

    /// Does what is due. The host calls it at the moment it was [armed](crate::flow::Host::arm) for.
    pub fn handle_timeout(&self, now: Instant) {
        self.armed.store(u64::MAX, Ordering::Release);
        let mut out = Outgoing::new();
        let (port, done, next, peer_gone, news) = {
            let mut inner = self.inner.lock();
            if !self.has(status::ACTIVE) || self.has(status::RELEASED) {
                return;
            }
            if self.inbox_len.load(Ordering::Relaxed) > 0 {
                // It is the application that is slow, not the peer that was silent until these came.
                inner.pipe.note_heard(Instant::from_nanos(self.delivered.load(Ordering::Relaxed)));
            }
            let heard = inner.pipe.handle_timeout(now, &mut out);
            let peer_gone = !heard && !self.has(status::PEER_GONE);
            if peer_gone {
                self.set(status::PEER_GONE);
            }
            let done = inner.pipe.pump(now, &mut out);
            inner.pipe.relax_if_quiet(now);
            let mut inbox = self.inbox.lock();
            if inbox.is_empty() && inner.pipe.is_relaxed() {
                *inbox = VecDeque::new();
            }
            drop(inbox);
            (inner.port.clone(), done, self.next_timeout(&inner), peer_gone, self.news(&inner))
        };
        if let Some(port) = port {
            self.transmit(now, &port, out, done);
            port.flush(now);
        }
        self.arm(next);
        if peer_gone {
            self.tell(Event::PeerGone);
            self.wake_all();
        }
        self.publish(news);
        self.release_if_done(now);
    }

    /// Services what a reader did not come for, and sends what was held back.
    pub fn handle_tick(&self, now: Instant) {
        self.ticking.store(false, Ordering::Release);
        if self.inbox_len.load(Ordering::Acquire) > 0 {
            self.service(now);
        }
        let port = self.inner.lock().port.clone();
        if let Some(port) = port {
            port.flush(now);
        }
    }

    /// Asks the host for a [`handle_tick`](Self::handle_tick).
    pub fn tick(&self) {
        if !self.ticking.load(Ordering::Relaxed) && !self.ticking.swap(true, Ordering::AcqRel) {
            self.env.host.tick(self.key);
        }
    }
}
