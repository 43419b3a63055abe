//! The one door through which changes of an endpoint's state are told, and the steps that follow from them.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::inbox::BUSY;
use super::state::{Attached, Down, Inner, Life};
use super::{Endpoint, QUIET};
use crate::base::buf::PacketBuf;
use crate::base::sync::{AtomicU8, Ordering};
use crate::base::time::Instant;
use crate::flow::{BURST, Event, Outgoing, Port, Wakers, Watcher};
use crate::frct::Ending;
use crate::types::addr::Route;

/// Effects to carry out once the lock is released. Filled by [`Endpoint::settle`], carried out by
/// [`Endpoint::dispatch`].
#[derive(Default)]
pub(super) struct Effects {
    /// Packets to be passed to `port`; the output turn is this thread's if there is one.
    pub(super) out: Outgoing,
    pub(super) port: Option<Arc<dyn Port>>,
    /// There was more than fits into `out`, or something depends on their having been passed.
    pub(super) more: bool,
    /// Delivery for the sink.
    pub(super) delivery: super::n1::Delivery,
    pub(super) next: Option<Instant>,
    pub(super) tick: bool,
    calls: Option<Calls>,
}

impl Effects {
    /// Calls to make. Most packets make none, and pay for no more than the check.
    pub(super) fn calls(&mut self) -> &mut Calls {
        self.calls.get_or_insert_default()
    }

    /// Takes the calls about moves, which come first.
    pub(super) fn take_moves(&mut self) -> Option<MoveCalls> {
        self.calls.as_mut()?.moves.take()
    }

    /// Takes the calls, to make them.
    pub(super) fn take_calls(&mut self) -> Option<Calls> {
        self.calls.take()
    }
}

/// Calls to make once the lock is released.
#[derive(Default)]
pub(super) struct Calls {
    /// The peer has moved, or there are probes and answers to send.
    pub(super) moves: Option<MoveCalls>,
    /// The peer has been heard for the first time.
    pub(super) heard: bool,
    /// The inbox has become less busy: senders may go on.
    pub(super) drained: Option<Arc<dyn Port>>,
    pub(super) wakers: Wakers,
    pub(super) events: SmallVec<[Event; 4]>,
    pub(super) watcher: Option<(Arc<dyn Watcher>, u64)>,
    /// The endpoint has been released, and with it these.
    pub(super) released: Option<Released>,
}

/// What the port is to do about moves of the peer.
pub(super) struct MoveCalls {
    pub(super) port: Arc<dyn Port>,
    pub(super) moved: Option<Route>,
    pub(super) words: Vec<(Option<Route>, PacketBuf)>,
}

impl MoveCalls {
    /// No lock is held.
    pub(super) fn make(self, now: Instant) {
        if let Some(route) = self.moved {
            self.port.move_to(route);
        }
        for (to, pkt) in self.words {
            self.port.send_on(now, to, pkt);
        }
    }
}

/// Contents of an endpoint that was released.
pub(super) struct Released {
    pub(super) port: Option<Arc<dyn Port>>,
    pub(super) _sink: Option<Box<Attached>>,
    pub(super) _inbox: VecDeque<PacketBuf>,
}

/// The turn of the thread that passes packets to the port without holding the lock.
///
/// Packets must leave in the order in which they were sealed. So a single thread has the output turn at a time; another
/// one that has packets to send meanwhile leaves them to it. The turn is taken with the lock held, and given back with
/// or without.
pub(super) struct OutputTurn(AtomicU8);

const FREE: u8 = 0;
const TAKEN: u8 = 1;
/// Taken, and there is more to send.
const ASKED: u8 = 2;

impl OutputTurn {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(FREE))
    }

    /// With the lock held: takes the turn, or asks the thread that has it to come back. That thread will do so with the
    /// lock held.
    fn take_or_ask(&self) -> bool {
        // A plain load first: in the common case, without contention, the exchange is not needed. If the exchange finds
        // FREE, the holder gave the turn back in between, without the lock.
        if self.0.load(Ordering::Acquire) != FREE
            && self.0.compare_exchange(TAKEN, ASKED, Ordering::AcqRel, Ordering::Acquire) != Err(FREE)
        {
            return false;
        }
        // Free now, and only holders of the lock take it.
        self.0.store(TAKEN, Ordering::Relaxed);
        true
    }

    /// Returns `true` if a thread has the turn, and perhaps packets in its hands.
    pub(super) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire) != FREE
    }

    /// Has the turn, which this thread has taken, given back if something panics.
    pub(super) fn held(&self) -> TurnHeld<'_> {
        TurnHeld(self)
    }

    /// Gives the turn back, unless another thread has asked for more to be sent.
    pub(super) fn give_back_if_done(&self) -> bool {
        // Fails exactly if another thread has asked in between, so no such request is lost although no lock is held.
        self.0.compare_exchange(TAKEN, FREE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// With the lock held: gives the turn back.
    pub(super) fn give_back(&self) {
        self.0.store(FREE, Ordering::Release);
    }
}

/// The output turn of a thread that may panic: it is given back then. What others have left to this thread goes with the
/// next packet, or the next tick.
pub(super) struct TurnHeld<'a>(&'a OutputTurn);

impl TurnHeld<'_> {
    /// Nothing has panicked: who has the turn gives it back.
    pub(super) fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for TurnHeld<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Endpoint {
    /// Changes something under the lock, and does what follows from it without. `None` if there was nothing to change, and
    /// nothing follows.
    ///
    /// What the port says of packets that are sent concerns the callers of few changes, which do these steps themselves.
    pub(super) fn change<T>(
        &self,
        now: Instant,
        what: impl FnOnce(&mut Inner, &mut Effects) -> Option<T>,
    ) -> Option<T> {
        let mut fx = Effects::default();
        let changed = {
            let mut inner = self.inner.lock();
            let changed = what(&mut inner, &mut fx)?;
            self.settle(&mut inner, now, &mut fx);
            changed
        };
        let _ = self.dispatch(now, &mut fx);
        Some(changed)
    }

    /// The one door: draws the conclusions from whatever has been changed under the lock, and notes in `fx` what the
    /// thread has to do about it afterwards. Called at the end of every critical section that changed something.
    ///
    /// Who waits is decided here and nowhere else, from the state alone: a waiter is called as soon as its verdict is
    /// no longer "wait". As waiters look and register in one critical section too, no change can fall between.
    pub(super) fn settle(&self, inner: &mut Inner, now: Instant, fx: &mut Effects) {
        if inner.pipe.is_moving() {
            Self::follow(inner, now, fx);
        }
        if inner.pipe.poll_heard() {
            fx.calls().heard = true;
        }
        let mine = self.collect(inner, now, fx);
        self.advance(inner, now, fx);
        self.call(inner, fx);
        // The thread that sends the rest settles, too, and knows more.
        fx.next = if mine { inner.next_deadline() } else { None };
    }

    /// Collects what there is to do about moves of the peer.
    fn follow(inner: &mut Inner, now: Instant, fx: &mut Effects) {
        let Some(port) = inner.port.clone() else { return };
        let words = core::iter::from_fn(|| inner.pipe.poll_probe()).collect();
        let moved = inner.pipe.poll_moved(now);
        fx.calls().moves = Some(MoveCalls { port, moved, words });
    }

    /// Takes packets to send. `false` if another thread is sending, which comes back for them.
    pub(super) fn collect(&self, inner: &mut Inner, now: Instant, fx: &mut Effects) -> bool {
        // A port in `fx` means that this critical section has collected before; the packets are with it.
        if fx.port.is_some() || !inner.has_flow() {
            return true;
        }
        let waiting = !inner.out.is_empty() || !fx.out.is_empty();
        if !waiting && !inner.pipe.has_to_send() {
            return true;
        }
        if inner.blocked {
            // The device said that it is full. Packets stay sealed in `out`, ahead of any that are sealed later, until
            // it has room.
            inner.keep(&mut fx.out);
            return true;
        }
        if !self.output.take_or_ask() {
            inner.keep(&mut fx.out);
            return false;
        }
        if !inner.out.is_empty() {
            inner.keep(&mut fx.out);
            // Older packets first: the numbers of sealed packets, and FRCT's, grow in the order of sealing.
            let n = inner.out.len().min(BURST);
            fx.out.extend(inner.out.get_or_make().drain(..n));
        }
        inner.tell_path();
        // Writers wait for a layer without room before they write; what a write has left in FRCT waits there.
        let room = !inner.pipe.has_burst() || inner.ask(Port::is_congested) != Some(true);
        inner.pipe.set_room(room);
        // The pipeline encrypts here, with a backend that may be a user's own and panic: the turn must not be lost with
        // it.
        let turn = self.output.held();
        let all = inner.pipe.pump(now, &mut fx.out) && inner.out.is_empty();
        turn.keep();
        if fx.out.is_empty() {
            self.output.give_back();
            return true;
        }
        // A fault is over when the port takes packets again, which is noted under the lock.
        fx.more = !all || inner.fault.is_some();
        fx.port = inner.port.clone();
        true
    }

    /// The steps of the endpoint's life that follow from its state.
    fn advance(&self, inner: &mut Inner, now: Instant, fx: &mut Effects) {
        if inner.down.is_none() && inner.pipe.frct.as_ref().is_some_and(|f| f.is_down()) {
            inner.go_down(Down::Undeliverable(inner.fault), Event::Down);
        }
        self.notice_peer(inner);
        let over = match inner.life {
            Life::Lingering(until) => {
                // A lingering end must not conclude from a state that packets in its own inbox are about to change.
                if now < until && inner.pipe.minds_arrivals() && self.unsettled(inner) {
                    // They may hold the last acknowledgement. The thread that has the turn for them settles again.
                    return;
                }
                let over = now >= until || inner.is_dead();
                let drained = inner.out.is_empty() && inner.pipe.is_drained();
                if !over && (!drained || self.is_sending(fx) || inner.is_held_below()) {
                    return;
                }
                if now >= until && !drained && !inner.is_dead() && inner.pipe.tells() {
                    if inner.pipe.tx_queue_len() > 0 {
                        // The peer shall not take for the end what is none.
                        inner.pipe.end(now, Ending::Aborted);
                    }
                    inner.given_up = true;
                    inner.life = Life::Quiet(now + QUIET);
                    self.collect(inner, now, fx);
                    return;
                }
                // Like TIME-WAIT: the peer may not have our last acknowledgement, and has to get one more when it
                // repeats its data.
                if !over && inner.port.is_some() && inner.way.lossy && inner.pipe.has_received_reliably() {
                    inner.life = Life::Quiet(now + QUIET);
                    return;
                }
                true
            }
            Life::Quiet(until) => {
                let told = inner.given_up && inner.pipe.is_drained() && !self.is_sending(fx);
                told || now >= until || inner.is_dead()
            }
            _ => false,
        };
        if over {
            self.let_go(inner, fx);
        }
    }

    /// Notes what the peer has said of its end since the last time.
    fn notice_peer(&self, inner: &mut Inner) {
        let ending = inner.pipe.peer_ending();
        // Of a flow that is released nothing is known any more.
        if ending <= inner.noticed {
            return;
        }
        inner.noticed = ending;
        if ending >= Some(Ending::Closed) {
            inner.events.push(Event::Deallocated);
        } else {
            inner.events.push(Event::Ended);
        }
    }

    /// Returns `true` if packets that were taken are still on their way to the port. The thread that passes them
    /// settles afterwards.
    fn is_sending(&self, fx: &mut Effects) -> bool {
        if fx.port.is_some() {
            fx.more = true;
            return true;
        }
        let free = self.output.take_or_ask();
        if free {
            self.output.give_back();
        }
        !free
    }

    /// The end.
    pub(super) fn let_go(&self, inner: &mut Inner, fx: &mut Effects) {
        if inner.life == Life::Released {
            return;
        }
        inner.life = Life::Released;
        inner.lost = u32::try_from(inner.pipe.tx_queue_len()).unwrap_or(u32::MAX);
        // Keys and buffers go with the flow, not with the last handle of the endpoint, which a program may keep.
        inner.pipe.forget();
        inner.pipe.work.clear();
        inner.pipe.relax();
        inner.out.clear();
        self.arrivals.inbox.lock().close();
        let packets = self.empty_inbox();
        fx.calls().released = Some(Released { port: inner.port.take(), _sink: inner.sink.take(), _inbox: packets });
    }

    /// Takes what has arrived out of the inbox, to be dropped.
    pub(super) fn empty_inbox(&self) -> VecDeque<PacketBuf> {
        let mut inbox = self.arrivals.inbox.lock();
        let packets = inbox.empty();
        self.arrivals.len.store(0, Ordering::Release);
        packets
    }

    /// Collects the waiters whose wait is over, and the events for the watcher.
    fn call(&self, inner: &mut Inner, fx: &mut Effects) {
        if inner.readers.any() && inner.read_ready(self.unsettled(inner)) && !planted(Fault::NobodyWoken) {
            inner.readers.take(&mut fx.calls().wakers);
        }
        if inner.writers.any() && inner.write_ready() && !planted(Fault::WritersAsleep) {
            inner.writers.take(&mut fx.calls().wakers);
        }
        if inner.closers.any() && inner.is_done() && !planted(Fault::ClosersAsleep) {
            inner.closers.take(&mut fx.calls().wakers);
        }
        let Some(watch) = &inner.watch else {
            inner.events.clear();
            return;
        };
        let usable = !inner.is_closed();
        if usable && inner.tell_readable && inner.pipe.is_readable() {
            // Edge-triggered: it is told again only after packets have arrived or a read has found none.
            inner.tell_readable = false;
            inner.events.push(Event::Packet);
        }
        let told = || inner.write_end().is_none() && inner.pipe.has_room() && inner.is_clear();
        if usable && inner.tell_writable && told() && !planted(Fault::WritersAsleep) {
            inner.tell_writable = false;
            inner.events.push(Event::Writable);
        }
        if !inner.events.is_empty() {
            let calls = fx.calls();
            calls.watcher = Some((Arc::clone(&watch.watcher), watch.token));
            // A set has waiters, or a descriptor that somebody polls; a layer above only passes on what it is told. (Of
            // listeners in a set the wakers alone count.)
            if inner.sink.is_none() {
                self.env.panics.note_reached();
            }
            calls.events.append(&mut inner.events);
        }
    }

    /// Returns `true` if packets wait that some thread will take in.
    pub(super) fn unsettled(&self, inner: &Inner) -> bool {
        self.has_arrivals() && inner.life != Life::Pending
    }

    /// Returns `true` if packets wait that no thread has looked at yet. Costs next to nothing: for a thread that spins.
    pub fn has_arrivals(&self) -> bool {
        self.arrivals.len.load(Ordering::Acquire) > 0
    }

    /// Returns `true` if a sender that can wait should.
    pub fn is_busy(&self) -> bool {
        self.arrivals.len.load(Ordering::Relaxed) >= BUSY
    }
}

/// A fault that can be planted, for the model checker to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(loom), expect(unreachable_pub, reason = "tests use it with `--cfg loom`"))]
pub enum Fault {
    /// Readers are not woken.
    NobodyWoken,
    /// Writers are not woken.
    WritersAsleep,
    /// Those who wait for the end are not woken.
    ClosersAsleep,
    /// A turn ends with the last packet even if it is delivered to a sink.
    TurnWithoutDelivery,
}

/// Returns `true` if `fault` is planted.
#[cfg(not(loom))]
pub(super) const fn planted(_fault: Fault) -> bool {
    false
}

#[cfg(loom)]
pub(super) fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

#[cfg(loom)]
std::thread_local! {
    /// Planted in all models of this thread: a fault that the checker must find, or it finds nothing.
    pub static PLANTED: core::cell::Cell<Option<Fault>> = const { core::cell::Cell::new(None) };
}
