//! The work: taking packets through the pipeline, and doing outside the lock what was decided under it.

use alloc::sync::Arc;

use super::door::{Calls, Effects, Fault, planted};
use super::inbox::{Duty, Next, Taken, Taker};
use super::{Endpoint, Inner, SERVICE_BURST, SERVICE_BURSTS};
use crate::base::time::Instant;
use crate::flow::{Outgoing, Port};
use crate::types::device::SendError;

/// Returns of a thread to the lock for packets that others have left it to send, before it leaves the rest to the next
/// sender, or to the tick.
const OUTPUT_ROUNDS: usize = 64;

impl Endpoint {
    /// Carries out the duty of a thread that has put packets into the inbox.
    pub(super) fn do_duty(&self, now: Instant, duty: Duty) {
        match duty {
            Duty::Nothing => {}
            Duty::Service => self.service(now),
            Duty::Leave => self.tick(),
            Duty::Call => {
                // The user may never come, although woken: its task can be dropped. The tick bounds what that costs.
                self.tick();
                self.call_user(now);
            }
        }
    }

    /// Wakes a waiter, to service the endpoint: a reader, or a writer if there is none. The others are woken when it
    /// turns out that there is data or room for them.
    fn call_user(&self, now: Instant) {
        let (waker, duty) = {
            let mut inner = self.inner.lock();
            let waker = inner.readers.take_first();
            let writer = || inner.writers.take_first().filter(|_| !planted(Fault::WritersAsleep));
            let waker = waker.or_else(writer);
            let mut inbox = self.arrivals.inbox.lock();
            let duty = match &waker {
                // The waiter left between the delivery and this lock. Its packets are this thread's again, unless a
                // user is about to read.
                None => inbox.nobody_waits(self.expects_user(now)),
                Some(_) => {
                    if !inner.readers.any() && !inner.writers.any() {
                        inbox.all_called();
                    }
                    Duty::Nothing
                }
            };
            (waker, duty)
        };
        self.env.panics.wake_all(waker);
        if duty == Duty::Service {
            self.service(now);
        }
    }

    /// Takes what is in the inbox through the pipeline, sends the answers and tells the waiters. The turn is this
    /// thread's.
    ///
    /// However fast packets arrive meanwhile, it ends: what is left after an inbox full waits for the next tick, or
    /// for a user.
    pub(super) fn service(&self, now: Instant) {
        // A panic in a sink above unwinds through here: without this guard the turn would never be free again, and the
        // flow would stand still.
        let turn = ServiceHeld(self);
        let mut bursts = 0;
        loop {
            bursts += 1;
            let mut fx = Effects::default();
            let over = {
                let mut inner = self.inner.lock();
                let by = Taker::Turn { delivers: inner.sink.is_some() && !planted(Fault::TurnWithoutDelivery) };
                let over = self.take(&mut inner, now, by, &mut fx).over;
                self.take_delivery(now, &mut inner, &mut fx);
                self.settle(&mut inner, now, &mut fx);
                over
            };
            if over {
                turn.end();
                // The result of the port for these packets has no reader here.
                let _ = self.dispatch(now, &mut fx);
                return;
            }
            let _ = self.dispatch(now, &mut fx);
            let next = self.arrivals.inbox.lock().after_burst(bursts < SERVICE_BURSTS);
            match next {
                Next::Burst => {}
                Next::Leave => return turn.end(),
                Next::Tick => {
                    turn.end();
                    return self.tick();
                }
            }
        }
    }

    /// Takes a burst through the pipeline without having the turn, as far as there is room above; whether that was
    /// anything.
    pub(super) fn take_in(&self, inner: &mut Inner, now: Instant, fx: &mut Effects) -> bool {
        let may = inner.sink.is_none() && inner.pipe.room() > 0;
        may && self.take(inner, now, Taker::Passing, fx).n > 0
    }

    /// Takes a burst from the inbox through the pipeline. What the application's queue has no room for stays in the
    /// inbox, where it keeps senders that can wait from sending more.
    fn take(&self, inner: &mut Inner, now: Instant, by: Taker, fx: &mut Effects) -> Taken {
        let pipe = &mut inner.pipe;
        let (taken, eased) = {
            let mut inbox = self.arrivals.inbox.lock();
            let before = inbox.len();
            // No more than the application's queue has room for: the rest stays in the inbox, whose length is what
            // slows senders down.
            let taken = inbox.take(SERVICE_BURST.min(pipe.room()), by, &mut pipe.work);
            let after = inbox.len();
            self.arrivals.len.store(after, super::Ordering::Release);
            (taken, before >= super::inbox::BUSY && after < super::inbox::BUSY)
        };
        // Plain N-1 flows need no pipeline: a router hands their packets on without touching each.
        let passed_on = inner.sink.as_mut().is_some_and(|attached| pipe.pass_on(now, &mut attached.delivery));
        if !passed_on {
            while let Some(pkt) = pipe.work.pop_front() {
                pipe.handle_packet(now, pkt);
            }
        }
        // A keepalive of an idle flow: the list it came in would be kept until the next.
        if pipe.is_relaxed() {
            pipe.drop_work();
            self.arrivals.inbox.lock().settle();
        }
        fx.tick |= taken.tick;
        inner.tell_readable |= taken.n > 0;
        if eased {
            fx.calls().drained = inner.port.clone();
        }
        taken
    }

    /// Does what was decided under the lock, now that it is released: the other side of [`settle`](Self::settle).
    /// Foreign code runs here, but for what [`sync`](crate::base::sync#foreign-code-with-a-lock-held) lists.
    ///
    /// # Errors
    /// What the port said of the packets in `fx`.
    pub(super) fn dispatch(&self, now: Instant, fx: &mut Effects) -> Result<(), SendError> {
        // Before anything else is sent: it goes where the peer is now.
        if let Some(moves) = fx.take_moves() {
            self.env.panics.call(move || moves.make(now));
        }
        let sent = if fx.port.is_some() { self.transmit(now, fx) } else { Ok(()) };
        if fx.delivery.is_some() {
            self.deliver(now, fx.delivery.take());
        }
        self.arm(fx.next);
        if fx.tick {
            self.tick();
        }
        if let Some(calls) = fx.take_calls() {
            self.make(now, calls);
        }
        sent
    }

    fn make(&self, now: Instant, calls: Calls) {
        if calls.heard {
            self.env.host.heard(self.key);
        }
        if let Some(port) = calls.drained {
            self.env.panics.call(move || port.drained());
        }
        if let Some(released) = calls.released {
            if let Some(port) = &released.port {
                self.env.panics.call(|| port.flush(now));
                self.env.panics.call(|| port.release(now));
            }
            // Dropping runs foreign destructors, too, and no lock is held here.
            self.env.panics.discard(released);
            self.env.host.released(self.key);
        }
        self.env.panics.wake_all(calls.wakers);
        if let Some((watcher, token)) = calls.watcher {
            for event in calls.events {
                self.env.panics.call(|| watcher.notify(token, event));
            }
        }
    }

    /// Has a port send what it holds back to send in one go.
    pub(super) fn flush_port(&self, now: Instant, port: Option<Arc<dyn Port>>) {
        let Some(port) = port else { return };
        self.env.panics.call(move || port.flush(now));
        // Nobody tells that this was the last that a closed flow waited for; one that was closed meanwhile, too.
        let lingers = self.inner.lock().is_lingering();
        if lingers {
            self.change(now, |_, _| Some(()));
        }
    }

    /// Gives packets to the port, the only way out. Not in a fork: what it has sealed, and the first of its numbers, its parent
    /// uses as well.
    pub(super) fn send(&self, now: Instant, port: Arc<dyn Port>, out: &mut Outgoing) -> Result<(), SendError> {
        if self.env.clock.is_forked() {
            out.clear();
            return Err(SendError::Down);
        }
        self.env.panics.call(move || port.send(now, out)).unwrap_or(Err(SendError::Down))
    }

    /// Passes packets to the port as long as there are any and the turn is this thread's.
    fn transmit(&self, now: Instant, fx: &mut Effects) -> Result<(), SendError> {
        let mut first = None;
        let mut rounds = 0;
        let turn = self.output.held();
        while let Some(port) = fx.port.take() {
            let sent = self.send(now, port, &mut fx.out);
            first.get_or_insert(sent);
            // The common case gives the turn back without taking the lock a second time.
            let nothing_left = fx.out.is_empty() && !fx.more && sent.is_ok();
            if nothing_left && self.output.give_back_if_done() {
                break;
            }
            rounds += 1;
            let mut inner = self.inner.lock();
            for pkt in fx.out.drain(..) {
                inner.pipe.take_back(pkt);
            }
            fx.tick |= inner.note_sent(sent);
            // Given back before `settle`, which takes it anew if there is more: the lock is held, so no other thread
            // can get in between.
            self.output.give_back();
            if rounds < OUTPUT_ROUNDS {
                fx.more = false;
                self.settle(&mut inner, now, fx);
            } else {
                fx.tick = true;
            }
        }
        turn.keep();
        first.unwrap_or(Ok(()))
    }
}

/// The inbox's turn of a thread that may panic, in a sink above for instance: it is left to the tick then.
struct ServiceHeld<'a>(&'a Endpoint);

impl ServiceHeld<'_> {
    /// Nothing has panicked, and the turn is over.
    fn end(self) {
        core::mem::forget(self);
    }
}

impl Drop for ServiceHeld<'_> {
    fn drop(&mut self) {
        self.0.arrivals.inbox.lock().leave();
        self.0.tick();
    }
}
