//! The application's side of an endpoint.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::task::Waker;
use core::time::Duration;

use super::door::Effects;
use super::state::Life;
use super::{Endpoint, Inner, QUIET, SERVICE_BURSTS};
use crate::base::buf::PacketBuf;
use crate::base::sync::yield_now;
use crate::base::time::Instant;
use crate::flow::pipeline::{Pipeline, ReadMode};
use crate::flow::waiters::Interest;
use crate::flow::{Drive, Event, Outgoing, ReadError, Waiter, WriteError};
use crate::frct::Ending;
use crate::types::device::SendError;

/// A waiter and what wakes it: a clone made before the lock is taken, because it is foreign code.
type Waiting<'a> = Option<(&'a Waiter, Waker)>;

/// Result of a call with a waiter.
struct Waited {
    /// It waits. If not, and the call would block, something has changed since it looked.
    waits: bool,
    /// A waker that is not needed any more. Dropping it is foreign code as well, for when the lock is released.
    _spare: Option<Waker>,
}

impl Waited {
    fn not(spare: Option<Waker>) -> Self {
        Self { waits: false, _spare: spare }
    }
}

#[cfg_attr(not(feature = "internals"), doc(hidden))]
impl Endpoint {
    // ----- waiting -----

    /// A place for a waiting reader.
    pub fn reader(self: &Arc<Self>) -> Waiter {
        Waiter::new(self, Interest::Read)
    }

    /// A place for a waiting writer.
    pub fn writer(self: &Arc<Self>) -> Waiter {
        Waiter::new(self, Interest::Write)
    }

    /// A place for a waiting closer.
    pub fn closer(self: &Arc<Self>) -> Waiter {
        Waiter::new(self, Interest::Close)
    }

    /// Has `waiter` wait, in the critical section in which it looked, unless what came of that has made it vain.
    fn wait(&self, inner: &mut Inner, waiter: &Waiter, waker: Waker) -> Waited {
        let ready = match waiter.interest() {
            Interest::Read => inner.read_ready(self.unsettled(inner)),
            Interest::Write => inner.write_now(),
            Interest::Close => inner.is_done(),
        };
        // What a sink gets is no user's to take in.
        let may_wait = || inner.sink.is_some() || self.arrivals.inbox.lock().await_packets(inner.pipe.room() > 0);
        if ready || !may_wait() {
            return Waited::not(Some(waker));
        }
        let (place, spare) = inner.waiters(waiter.interest()).put(waiter.place(), waker);
        waiter.settle_at(place);
        Waited { waits: true, _spare: spare }
    }

    /// The waiter at `place` is gone.
    pub(in crate::flow) fn forget(&self, interest: Interest, place: u64) {
        let waker = self.inner.lock().waiters(interest).remove(place);
        drop(waker);
    }

    // ----- writing -----

    /// Writes one packet. Never waits.
    ///
    /// An empty packet is a keepalive: it does not reach the other application.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if the window or the layer below has no room, else why the flow takes no more data.
    pub fn write(&self, data: &[u8]) -> Result<usize, WriteError> {
        self.write_or_wait(data, None).0
    }

    /// As [`write`](Self::write); `waker` is woken when it may say something else than [`WriteError::WouldBlock`].
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn poll_write(&self, waiter: &Waiter, waker: &Waker, data: &[u8]) -> Result<usize, WriteError> {
        for _ in 0..SERVICE_BURSTS {
            let (result, waits) = self.write_or_wait(data, Some((waiter, waker.clone())));
            if waits || result != Err(WriteError::WouldBlock) {
                return result;
            }
        }
        waker.wake_by_ref();
        Err(WriteError::WouldBlock)
    }

    /// Also says whether the waiter waits now.
    fn write_or_wait(&self, data: &[u8], waiting: Waiting<'_>) -> (Result<usize, WriteError>, bool) {
        // Before any lock: a thread that the fork does not have may hold it.
        if self.env.clock.is_forked() {
            return (Err(WriteError::Forked), false);
        }
        let now = self.env.clock.now();
        self.note_user(now);
        let mut fx = Effects::default();
        let (result, waited, raw) = {
            let mut inner = self.inner.lock();
            if self.unsettled(&inner) {
                // Acknowledgements, mostly, that were left to this thread.
                self.take_in(&mut inner, now, &mut fx);
            }
            let result = inner.write(now, data, &mut fx);
            inner.tell_writable |= result == Err(WriteError::WouldBlock);
            self.settle(&mut inner, now, &mut fx);
            let waited = match waiting {
                Some((waiter, waker)) if result == Err(WriteError::WouldBlock) => self.wait(&mut inner, waiter, waker),
                waiting => Waited::not(waiting.map(|(_, waker)| waker)),
            };
            (result, waited, inner.pipe.frct.is_none())
        };
        let sent = self.dispatch(now, &mut fx);
        match (result, sent) {
            (Ok(()), Err(SendError::Full)) if raw => (Err(WriteError::WouldBlock), false),
            (Ok(()), Err(refused)) if raw => (Err(WriteError::Refused(refused)), false),
            (result, _) => (result.map(|()| data.len()), waited.waits),
        }
    }

    /// Returns `true` if a write would be taken, or refused with an error other than [`WriteError::WouldBlock`].
    pub fn is_writable(&self) -> bool {
        self.inner.lock().write_now()
    }

    // ----- reading -----

    /// Reads one packet, or as much of it as `mode` says. Never waits.
    ///
    /// # Errors
    /// [`ReadError::WouldBlock`] if nothing has arrived, else why nothing will.
    pub fn read(&self, buf: &mut [u8], mode: ReadMode) -> Result<usize, ReadError> {
        self.read_or_wait(None, |pipe, now| pipe.read(now, buf, mode)).and_then(|r| r)
    }

    /// Reads one packet without copying it. Never waits.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_packet(&self) -> Result<PacketBuf, ReadError> {
        self.read_or_wait(None, Pipeline::take_packet)
    }

    /// As [`read`](Self::read); `waker` is woken when it may say something else than [`ReadError::WouldBlock`].
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn poll_read(
        &self,
        waiter: &Waiter,
        waker: &Waker,
        buf: &mut [u8],
        mode: ReadMode,
    ) -> Result<usize, ReadError> {
        self.read_or_wait(Some((waiter, waker)), |pipe, now| pipe.read(now, buf, mode)).and_then(|r| r)
    }

    /// As [`read_packet`](Self::read_packet); `waker` is woken when it may say something else than
    /// [`ReadError::WouldBlock`].
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn poll_read_packet(&self, waiter: &Waiter, waker: &Waker) -> Result<PacketBuf, ReadError> {
        self.read_or_wait(Some((waiter, waker)), Pipeline::take_packet)
    }

    fn read_or_wait<R>(
        &self,
        waiting: Option<(&Waiter, &Waker)>,
        mut take: impl FnMut(&mut Pipeline, Instant) -> Option<R>,
    ) -> Result<R, ReadError> {
        let now = self.env.clock.now();
        for _ in 0..SERVICE_BURSTS {
            let waits = waiting.map(|(waiter, waker)| (waiter, waker.clone()));
            let mut fx;
            let (result, waited, took) = {
                let mut inner = self.inner.lock();
                let mut result = inner.read(now, &mut take);
                if result.is_ok() && !inner.pipe.owes_window() {
                    // Nothing has changed that would have to be settled. The lock goes before the waker, whose drop is
                    // foreign code.
                    drop(inner);
                    return result;
                }
                fx = Effects::default();
                let mut took = false;
                if Inner::is_open_question(&result) && self.unsettled(&inner) {
                    took = self.take_in(&mut inner, now, &mut fx);
                    result = inner.read(now, &mut take);
                    if Inner::is_open_question(&result) && self.unsettled(&inner) {
                        // What has not been taken in yet may hold something.
                        result = Err(ReadError::WouldBlock);
                    }
                }
                let nothing = matches!(result, Err(ReadError::WouldBlock));
                if nothing {
                    inner.tell_readable = true;
                    inner.pipe.await_peer();
                    self.note_user(now);
                }
                // Reading may have opened the window enough to tell the peer.
                self.settle(&mut inner, now, &mut fx);
                let waited = match waits {
                    Some((waiter, waker)) if nothing => self.wait(&mut inner, waiter, waker),
                    waits => Waited::not(waits.map(|(_, waker)| waker)),
                };
                (result, waited, took)
            };
            // What the port says of answers to the peer concerns no reader.
            let _ = self.dispatch(now, &mut fx);
            let again = if waiting.is_some() { !waited.waits } else { took };
            if !(again && matches!(result, Err(ReadError::WouldBlock))) {
                return result;
            }
        }
        if let Some((_, waker)) = waiting {
            // There is no end of packets that hold nothing to read: others shall have their turn.
            waker.wake_by_ref();
        }
        Err(ReadError::WouldBlock)
    }

    // ----- closing -----

    /// Returns `true` if all written data has been dealt with, [`State::Quiet`](super::State::Quiet) or
    /// [`State::Released`](super::State::Released); if not, `waker` is woken when it has.
    pub fn poll_closed(&self, waiter: &Waiter, waker: &Waker) -> bool {
        let now = self.env.clock.now();
        for _ in 0..SERVICE_BURSTS {
            let waker = waker.clone();
            let mut fx = Effects::default();
            let (done, waited) = {
                let mut inner = self.inner.lock();
                if self.unsettled(&inner) {
                    self.take_in(&mut inner, now, &mut fx);
                }
                self.settle(&mut inner, now, &mut fx);
                match inner.is_done() {
                    true => (true, Waited::not(Some(waker))),
                    false => (false, self.wait(&mut inner, waiter, waker)),
                }
            };
            let _ = self.dispatch(now, &mut fx);
            if done || waited.waits {
                return done;
            }
        }
        waker.wake_by_ref();
        false
    }

    /// The application writes no more. What it wrote is delivered, and a peer of our own kind told where it ends; the
    /// other direction goes on.
    pub fn shut(&self) {
        let now = self.env.clock.now();
        let shut = self.change(now, |inner, _| {
            if inner.is_closed() || inner.shut {
                return None;
            }
            inner.shut = true;
            inner.pipe.end(now, Ending::Writing);
            Some(())
        });
        if shut.is_some() {
            self.flush();
        }
    }

    /// Ends the application's use. What was written to a reliable flow is delivered, to another sent, and a peer of our own kind
    /// told, for up to `linger`; then the endpoint is released. Never waits, and leaves what has arrived to others, or drops it.
    pub fn close(&self, linger: Duration) {
        let now = self.env.clock.now();
        self.go(now, |inner| {
            inner.life = Life::Lingering(now + linger);
            Ending::Closed
        });
    }

    /// Gives the flow up: what is on its way is lost. A peer of our own kind is told, for a few seconds; reads and writes
    /// end at once.
    pub fn reset(&self) {
        let now = self.env.clock.now();
        self.go(now, |inner| {
            inner.given_up = true;
            inner.life = if inner.pipe.tells() { Life::Quiet(now + QUIET) } else { Life::Lingering(now) };
            Ending::Aborted
        });
    }

    fn go(&self, now: Instant, how: impl FnOnce(&mut Inner) -> Ending) {
        let mut fx = Effects::default();
        let (port, unread) = {
            let mut inner = self.inner.lock();
            if inner.is_closed() {
                return;
            }
            let mut unread = VecDeque::new();
            if inner.pipe.frct.is_none() {
                // Nothing of it concerns anybody any more but how the peer goes, which it is told that we know.
                unread = self.empty_inbox();
                inner.pipe.heed_last_words(now, &mut unread);
                fx.calls().drained = inner.port.clone();
            }
            let ending = how(&mut inner);
            let told = ending == Ending::Closed && inner.port.is_some() && inner.way.tells_end;
            unread.append(&mut match inner.pipe.frct {
                None if told => inner.pipe.leave(),
                _ => inner.pipe.end(now, ending),
            });
            inner.events.push(Event::Deallocated);
            self.settle(&mut inner, now, &mut fx);
            (inner.port.clone(), unread)
        };
        drop(unread);
        let _ = self.dispatch(now, &mut fx);
        self.flush_port(now, port);
    }

    /// Ends the endpoint at once; what is on its way is lost. A peer of our own kind is told once.
    pub fn abort(&self) {
        self.end_now(false);
    }

    /// As [`abort`](Self::abort), but if nothing is lost the peer is told that the flow was closed.
    pub fn leave(&self) {
        self.end_now(true);
    }

    /// Waits until no other thread is sending, `until` then at most: a thread that has taken packets out of the flow, and was
    /// interrupted before it has passed them on, would find the device closed. Where the thread that calls this does all the
    /// work it does not wait.
    pub fn finish_sending(&self, until: Instant) {
        while !self.env.inline && self.output.is_taken() && self.env.clock.now() < until {
            yield_now();
        }
    }

    fn end_now(&self, orderly: bool) {
        let now = self.env.clock.now();
        let mut fx = Effects::default();
        let mut last_words = Outgoing::new();
        let (port, unread) = {
            let mut inner = self.inner.lock();
            if !inner.is_closed() {
                inner.events.push(Event::Deallocated);
            }
            let (mut port, mut unread) = (None, VecDeque::new());
            if inner.has_flow() {
                unread = inner.pipe.end_now(now, orderly);
                inner.blocked = false;
                if !self.collect(&mut inner, now, &mut fx) {
                    // Who is sending finds the endpoint released when it comes back, so what it was left and the last
                    // words overtake it.
                    inner.pipe.pump(now, &mut last_words);
                    last_words.insert_many(0, inner.out.get_or_make().drain(..));
                    port = inner.port.clone();
                }
            }
            self.let_go(&mut inner, &mut fx);
            self.settle(&mut inner, now, &mut fx);
            (port, unread)
        };
        drop(unread);
        if let Some(port) = port {
            let _ = self.send(now, port, &mut last_words);
        }
        let _ = self.dispatch(now, &mut fx);
    }

    /// Packets that were written to a reliable flow and never acknowledged. Final once
    /// [`State::Quiet`](super::State::Quiet).
    pub fn lost(&self) -> usize {
        let inner = self.inner.lock();
        inner.pipe.tx_queue_len().max(inner.lost as usize)
    }

    // ----- the layer below, seen from above -----

    /// Sends what the port holds back to send in one go. Called before a thread waits.
    pub fn flush(&self) {
        let port = self.inner.lock().port.clone();
        if port.is_some() {
            self.flush_port(self.env.clock.now(), port);
        }
    }

    /// The device that packets for this endpoint come from, for a thread that wants to wait on it.
    pub fn device(&self) -> Option<Arc<dyn Drive>> {
        let port = self.inner.lock().port.clone()?;
        self.env.panics.call(move || port.device())?
    }
}
