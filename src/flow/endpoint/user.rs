//! The application's side of an endpoint.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use core::task::Waker;
use core::time::Duration;

use super::{Endpoint, status};
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::pipeline::{Pipeline, ReadMode};
use crate::flow::{Drive, Event, Outgoing, ReadError, WriteError};

impl Endpoint {
    /// Writes one packet. Never waits.
    ///
    /// An empty packet is a keepalive: it does not reach the other application.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if the window or the layer below has no room, else why the flow takes no more data.
    pub fn write(&self, data: &[u8]) -> Result<usize, WriteError> {
        self.check_writable()?;
        let now = self.env.clock.now();
        self.note_user(now);
        if self.has_arrivals() {
            // Acknowledgements, mostly, that were left to this thread.
            self.service(now);
        }
        let mut out = Outgoing::new();
        let (result, port, done, next) = {
            let mut inner = self.inner.lock();
            let Some(port) = inner.port.clone() else { return Err(WriteError::Closed) };
            let max = port.mtu().saturating_sub(inner.pipe.overhead());
            if data.len() > max {
                return Err(WriteError::TooLarge { size: data.len(), max });
            }
            if port.is_congested() {
                return Err(WriteError::WouldBlock);
            }
            let result = inner.pipe.write(now, data, &mut out);
            let done = inner.pipe.pump(now, &mut out);
            (result, port, done, self.next_timeout(&inner))
        };
        self.transmit(now, &port, out, done);
        self.arm(next);
        result.map(|()| data.len())
    }

    /// Reads one packet, or as much of it as `mode` says. Never waits.
    ///
    /// # Errors
    /// [`ReadError::WouldBlock`] if nothing has arrived, else why nothing will.
    pub fn read(&self, buf: &mut [u8], mode: ReadMode) -> Result<usize, ReadError> {
        self.read_with(|pipe, now| pipe.read(now, buf, mode)).and_then(|r| r)
    }

    /// Reads one packet without copying it. Never waits.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_packet(&self) -> Result<PacketBuf, ReadError> {
        self.read_with(Pipeline::take_packet)
    }

    fn read_with<R>(&self, mut take: impl FnMut(&mut Pipeline, Instant) -> Option<R>) -> Result<R, ReadError> {
        if self.has(status::CLOSED | status::NO_READ) {
            return Err(if self.has(status::CLOSED) { ReadError::Closed } else { ReadError::WriteOnly });
        }
        let now = self.env.clock.now();
        let mut looked = false;
        loop {
            let mut out = Outgoing::new();
            {
                let mut inner = self.inner.lock();
                if let Some(r) = take(&mut inner.pipe, now) {
                    // Reading may have opened the window enough to tell the peer.
                    let done = inner.pipe.pump(now, &mut out);
                    if out.is_empty() {
                        return Ok(r);
                    }
                    let (port, next) = (inner.port.clone(), self.next_timeout(&inner));
                    drop(inner);
                    if let Some(port) = port {
                        self.transmit(now, &port, out, done);
                    }
                    self.arm(next);
                    return Ok(r);
                }
            }
            // A second look is enough: what arrives later wakes whoever waits.
            if looked || self.inbox_len.load(Ordering::Acquire) == 0 || !self.service(now) {
                break;
            }
            looked = true;
        }
        self.note_user(now);
        if self.has(status::DOWN | status::PEER_GONE) {
            // Another thread may have made something readable since we looked, before the flow went down or right now.
            if let Some(r) = take(&mut self.inner.lock().pipe, now) {
                return Ok(r);
            }
            if self.has_arrivals() && self.servicing.load(Ordering::Acquire) {
                return Err(ReadError::WouldBlock);
            }
        }
        Err(if self.has(status::DOWN | status::RELEASED) {
            ReadError::Down
        } else if self.has(status::PEER_GONE) {
            ReadError::PeerGone
        } else {
            ReadError::WouldBlock
        })
    }

    /// Remembers to wake `waker` when reading may give another result than [`ReadError::WouldBlock`]. Look again
    /// after this call: what arrived before it wakes nobody.
    pub fn register_reader(&self, waker: &Waker) {
        self.readers.register(waker);
    }

    /// As [`register_reader`](Self::register_reader), for writing.
    pub fn register_writer(&self, waker: &Waker) {
        self.writers.register(waker);
    }

    /// Remembers to wake `waker` when the endpoint is done, [`State::Quiet`](super::State::Quiet) or
    /// [`State::Released`](super::State::Released). Look again after this call.
    pub fn register_closer(&self, waker: &Waker) {
        self.closers.register(waker);
    }

    /// Whether a read would return something, or an error other than [`ReadError::WouldBlock`].
    pub fn is_readable(&self) -> bool {
        if self.inbox_len.load(Ordering::Acquire) > 0 {
            self.service(self.env.clock.now());
        }
        self.has(status::DOWN | status::PEER_GONE | status::CLOSED | status::RELEASED)
            || self.inner.lock().pipe.is_readable()
    }

    /// Whether packets wait that nobody has looked at yet. Costs next to nothing: for a thread that spins.
    pub fn has_arrivals(&self) -> bool {
        self.inbox_len.load(Ordering::Acquire) > 0
    }

    /// Whether a write would be taken, or refused with an error other than [`WriteError::WouldBlock`].
    pub fn is_writable(&self) -> bool {
        if self.has(status::DOWN | status::PEER_GONE | status::CLOSED | status::RELEASED) {
            return true;
        }
        let inner = self.inner.lock();
        inner.pipe.is_writable() && inner.port.as_ref().is_none_or(|p| !p.is_congested())
    }

    /// Sends what the port holds back to send in one go. Called before a thread waits.
    pub fn flush(&self) {
        let port = self.inner.lock().port.clone();
        if let Some(port) = port {
            port.flush(self.env.clock.now());
        }
    }

    /// The device that packets for this endpoint come from, for a thread that wants to wait on it.
    pub fn device(&self) -> Option<Arc<dyn Drive>> {
        self.inner.lock().port.as_ref().and_then(|p| p.device())
    }

    /// Ends the application's use. What was written to a reliable flow is delivered for up to `linger`, then the
    /// endpoint is released; anything else is released at once. Never waits.
    pub fn close(&self, linger: Duration) {
        let now = self.env.clock.now();
        if self.has_arrivals() {
            self.service(now);
        }
        let mut out = Outgoing::new();
        let (port, done, next) = {
            let mut inner = self.inner.lock();
            if self.set(status::CLOSED) & status::CLOSED != 0 {
                return;
            }
            inner.linger_until = now + linger;
            if let Some(frct) = &mut inner.pipe.frct {
                frct.finish(now);
            }
            let done = inner.pipe.pump(now, &mut out);
            (inner.port.clone(), done, self.next_timeout(&inner))
        };
        if let Some(port) = port {
            self.transmit(now, &port, out, done);
            port.flush(now);
        }
        self.arm(next);
        self.tell(Event::Deallocated);
        self.wake_all();
        self.release_if_done(now);
    }

    /// Ends the endpoint at once; what is on its way is lost.
    pub fn abort(&self) {
        let before = self.set(status::CLOSED);
        self.release(self.env.clock.now());
        if before & status::CLOSED == 0 {
            self.tell(Event::Deallocated);
        }
        self.wake_all();
    }

    /// Packets that were written to a reliable flow and never acknowledged. Final once [`State::Quiet`](super::State::Quiet).
    pub fn lost(&self) -> usize {
        let inner = self.inner.lock();
        inner.lost.max(inner.pipe.tx_queue_len())
    }
}
