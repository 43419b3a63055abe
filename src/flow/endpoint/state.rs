//! The state of an endpoint, what follows from it, and the one door through which changes of it are told.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use smallvec::SmallVec;

use super::inbox::BUSY;
use super::{Endpoint, QUIET, State};
use crate::base::buf::PacketBuf;
use crate::base::sync::{AtomicU8, Ordering};
use crate::base::time::Instant;
use crate::flow::pipeline::Pipeline;
use crate::flow::waiters::{Interest, Waiters};
use crate::flow::{BURST, Event, Outgoing, Port, ReadError, Sink, Wakers, Watcher, WriteError};
use crate::frct::Ending;
use crate::types::device::SendError;

/// Packets that wait for a thread that is passing earlier ones to the port; writers then wait as well.
const OUT_LIMIT: usize = 64;

/// Where an endpoint is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Pending,
    Active,
    /// Closed by the application: until everything is delivered, or then.
    Lingering(Instant),
    /// Everything is delivered: answers the peer until then.
    Quiet(Instant),
    Released,
}

/// Why no packets come and go any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Down {
    /// The layer below has given the flow up.
    Layer,
    /// The other end has given the flow up.
    Ended,
    /// Data could not be delivered within the retransmission time; what the device said last, if it refused.
    Undeliverable(Option<SendError>),
}

/// Who is told of events.
pub(super) struct Watch {
    pub(super) watcher: Arc<dyn Watcher>,
    pub(super) token: u64,
}

/// Everything about an endpoint that its lock protects.
pub(super) struct Inner {
    pub(super) pipe: Pipeline,
    pub(super) port: Option<Arc<dyn Port>>,
    pub(super) life: Life,
    pub(super) down: Option<Down>,
    pub(super) peer_gone: bool,
    pub(super) may_read: bool,
    pub(super) may_write: bool,
    /// The application writes no more.
    pub(super) shut: bool,
    /// The application, or its patience, has given the flow up: the peer is owed nothing but to be told.
    pub(super) given_up: bool,
    /// What of the peer's ending has been noticed.
    noticed: Option<Ending>,
    pub(super) lost: usize,
    /// The IPCP that uses the flow, and under which token.
    pub(super) sink: Option<(Arc<dyn Sink>, u64)>,
    /// Memory for packets on their way to the sink.
    pub(super) delivery: VecDeque<PacketBuf>,
    /// Sealed packets that wait for the thread that has the output turn.
    pub(super) out: VecDeque<PacketBuf>,
    /// The device's queue is full: nothing is sent until it says that there is room, or the next tick.
    pub(super) blocked: bool,
    /// Why the device refused packets last; `None` when it has taken some since.
    pub(super) fault: Option<SendError>,
    pub(super) readers: Waiters,
    pub(super) writers: Waiters,
    pub(super) closers: Waiters,
    pub(super) watch: Option<Watch>,
    /// What happened and the watcher has not been told yet.
    pub(super) events: SmallVec<[Event; 4]>,
    /// The watcher is told when there is something to read: packets have come or a read has found none since the last
    /// time.
    pub(super) tell_readable: bool,
    /// The watcher is told when there is room to write: a write was told to wait since the last time.
    pub(super) tell_writable: bool,
}

impl Inner {
    pub(super) fn new(pipe: Pipeline) -> Self {
        Self {
            pipe,
            port: None,
            life: Life::Pending,
            down: None,
            peer_gone: false,
            may_read: true,
            may_write: true,
            shut: false,
            given_up: false,
            noticed: None,
            lost: 0,
            sink: None,
            delivery: VecDeque::new(),
            out: VecDeque::new(),
            blocked: false,
            fault: None,
            readers: Waiters::default(),
            writers: Waiters::default(),
            closers: Waiters::default(),
            watch: None,
            events: SmallVec::new(),
            tell_readable: true,
            tell_writable: false,
        }
    }

    pub(super) fn state(&self) -> State {
        match self.life {
            Life::Pending => State::Pending,
            Life::Active => State::Active,
            Life::Lingering(_) => State::Lingering,
            Life::Quiet(_) => State::Quiet,
            Life::Released => State::Released,
        }
    }

    /// Whether the application has closed the flow, or it is over.
    pub(super) fn is_closed(&self) -> bool {
        !matches!(self.life, Life::Pending | Life::Active)
    }

    /// Whether everything that was written has been dealt with.
    pub(super) fn is_done(&self) -> bool {
        match self.life {
            Life::Quiet(_) | Life::Released => true,
            Life::Lingering(_) => false,
            Life::Pending | Life::Active => self.shut && (self.pipe.is_drained() || self.is_dead()),
        }
    }

    /// Why a read that finds nothing does not have to wait; `None`: it does. Packets in the inbox may still change it.
    pub(super) fn read_end(&self) -> Option<ReadError> {
        Some(match (self.pipe.peer_ending(), self.down) {
            _ if self.is_closed() => ReadError::ClosedHere,
            _ if !self.may_read => ReadError::WriteOnly,
            (Some(Ending::Aborted), _) => ReadError::Reset,
            (Some(_), _) => ReadError::Closed,
            (None, Some(Down::Ended)) if self.breaks_off() => ReadError::Reset,
            (None, Some(Down::Ended)) => ReadError::Closed,
            (None, Some(Down::Undeliverable(Some(reason)))) => ReadError::Undeliverable(reason),
            (None, Some(_)) => ReadError::Down,
            (None, None) if self.peer_gone => ReadError::PeerGone,
            (None, None) => return None,
        })
    }

    /// Whether a stream that ends without the peer having said so is not complete.
    fn breaks_off(&self) -> bool {
        self.pipe.tells() && self.pipe.qos.is_reliable()
    }

    /// Whether a read would not have to wait, given whether there are packets in the inbox.
    pub(super) fn read_ready(&self, arrivals: bool) -> bool {
        match self.read_end() {
            Some(ReadError::ClosedHere | ReadError::WriteOnly) => true,
            // Packets that came before it may hold something to read.
            Some(_) => !arrivals || self.pipe.is_readable(),
            None => self.pipe.is_readable(),
        }
    }

    /// Why a write is refused for good.
    pub(super) fn write_end(&self) -> Option<WriteError> {
        Some(match (self.pipe.peer_ending(), self.down) {
            _ if self.is_closed() || self.shut => WriteError::Closed,
            (Some(Ending::Aborted), _) => WriteError::Reset,
            (Some(Ending::Closed), _) => WriteError::PeerClosed,
            (_, Some(Down::Ended)) if self.breaks_off() => WriteError::Reset,
            (_, Some(Down::Ended)) => WriteError::PeerClosed,
            (_, Some(Down::Undeliverable(Some(reason)))) => WriteError::Undeliverable(reason),
            (_, Some(_)) => WriteError::Down,
            (_, None) if self.peer_gone => WriteError::PeerGone,
            (_, None) if !self.may_write => WriteError::ReadOnly,
            (_, None) => return None,
        })
    }

    /// Whether packets of an IPCP, which does not wait, are taken.
    pub(super) fn has_output_room(&self) -> bool {
        self.out.len() < OUT_LIMIT
    }

    /// Whether the layer below takes packets.
    pub(super) fn is_clear(&self) -> bool {
        !self.blocked && self.out.len() < OUT_LIMIT && self.port.as_ref().is_none_or(|p| !p.is_congested())
    }

    /// Whether a write would be taken, or refused for good.
    pub(super) fn write_now(&self) -> bool {
        self.write_end().is_some() || (self.pipe.is_writable() && self.is_clear())
    }

    /// Whether a write that waits is worth trying again, which it is not for the room of each single packet.
    fn write_ready(&self) -> bool {
        self.write_end().is_some() || (self.pipe.has_room() && self.is_clear())
    }

    /// Takes one packet from the application, to be sent.
    pub(super) fn write(&mut self, now: Instant, data: &[u8], fx: &mut Effects) -> Result<(), WriteError> {
        if let Some(end) = self.write_end() {
            return Err(end);
        }
        let Some(port) = &self.port else { return Err(WriteError::Closed) };
        let max = port.mtu().saturating_sub(self.pipe.overhead());
        if data.len() > max {
            return Err(WriteError::TooLarge { size: data.len(), max });
        }
        if !self.is_clear() {
            return Err(WriteError::WouldBlock);
        }
        self.pipe.write(now, data, &mut fx.out)
    }

    /// What `take` finds, or why there is nothing.
    pub(super) fn read<R>(
        &mut self,
        now: Instant,
        take: &mut impl FnMut(&mut Pipeline, Instant) -> Option<R>,
    ) -> Result<R, ReadError> {
        let end = self.read_end();
        if let Some(end @ (ReadError::ClosedHere | ReadError::WriteOnly)) = end {
            return Err(end);
        }
        take(&mut self.pipe, now).ok_or(end.unwrap_or(ReadError::WouldBlock))
    }

    /// Whether there might be something after all in packets that have not been taken in.
    pub(super) fn is_open_question<R>(result: &Result<R, ReadError>) -> bool {
        !matches!(result, Ok(_) | Err(ReadError::ClosedHere | ReadError::WriteOnly))
    }

    pub(super) fn waiters(&mut self, interest: Interest) -> &mut Waiters {
        match interest {
            Interest::Read => &mut self.readers,
            Interest::Write => &mut self.writers,
            Interest::Close => &mut self.closers,
        }
    }

    /// Notes what the port said. Whether somebody has to look again when the device may have room.
    pub(super) fn note_sent(&mut self, sent: Result<(), SendError>) -> bool {
        if let Err(reason) = sent {
            self.blocked |= reason == SendError::Full;
            if reason != SendError::Full && self.fault.is_none() {
                self.events.push(Event::Impaired);
            }
        }
        self.fault = sent.err();
        self.blocked
    }

    /// Whether nothing more will come or go.
    pub(super) fn is_dead(&self) -> bool {
        self.down.is_some() || self.peer_gone
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let next = match self.life {
            Life::Pending | Life::Released => return None,
            // The tick comes first, and looks again.
            _ if self.blocked => None,
            _ => self.pipe.next_timeout(self.peer_gone),
        };
        match self.life {
            Life::Lingering(until) | Life::Quiet(until) => Some(next.map_or(until, |n| n.min(until))),
            _ => next,
        }
    }

    /// Notes that nothing was heard of the peer for too long.
    pub(super) fn lose_peer(&mut self) {
        if !self.peer_gone {
            self.peer_gone = true;
            if self.down.is_none() {
                self.events.push(Event::PeerGone);
            }
        }
    }

    /// Notes everything that a new watcher is to be told.
    pub(super) fn note_all(&mut self) {
        self.events.clear();
        if self.is_closed() {
            self.events.push(Event::Deallocated);
        }
        self.noticed = None;
        match self.down {
            Some(Down::Ended) => self.events.push(Event::Deallocated),
            Some(_) => self.events.push(Event::Down),
            None if self.peer_gone => self.events.push(Event::PeerGone),
            None => {}
        }
        self.tell_readable = true;
    }

    /// Gives spare memory back.
    pub(super) fn shrink(&mut self) {
        for waiters in [&mut self.readers, &mut self.writers, &mut self.closers] {
            waiters.shrink();
        }
        if self.out.is_empty() {
            self.out = VecDeque::new();
        }
    }

    /// Notes that the flow is down, unless it is already.
    pub(super) fn go_down(&mut self, why: Down, event: Event) {
        if self.down.is_none() {
            self.down = Some(why);
            if !self.peer_gone {
                self.events.push(event);
            }
        }
    }
}

/// What is to be done once the lock is released. Filled by [`Endpoint::settle`], done by [`Endpoint::dispatch`].
#[derive(Default)]
pub(super) struct Effects {
    /// Packets to be passed to `port`; the output turn is this thread's if there is one.
    pub(super) out: Outgoing,
    pub(super) port: Option<Arc<dyn Port>>,
    /// There was more than fits into `out`, or something depends on their having been passed.
    pub(super) more: bool,
    /// What the sink is given.
    pub(super) delivery: super::n1::Delivery,
    /// The inbox has become less busy: senders may go on.
    pub(super) drained: Option<Arc<dyn Port>>,
    pub(super) next: Option<Instant>,
    pub(super) tick: bool,
    pub(super) wakers: Wakers,
    pub(super) events: SmallVec<[Event; 4]>,
    pub(super) watcher: Option<(Arc<dyn Watcher>, u64)>,
    /// The endpoint has been released, and with it these.
    pub(super) released: Option<Released>,
}

/// What an endpoint held.
pub(super) struct Released {
    pub(super) port: Option<Arc<dyn Port>>,
    pub(super) _sink: Option<(Arc<dyn Sink>, u64)>,
    pub(super) _inbox: VecDeque<PacketBuf>,
    pub(super) _delivery: VecDeque<PacketBuf>,
}

/// Whether some thread is passing packets to the port, without holding the lock.
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

    /// With the lock held: takes the turn, or has whoever has it come back. The latter will do so with the lock held.
    fn take_or_ask(&self) -> bool {
        if self.0.load(Ordering::Acquire) != FREE
            && self.0.compare_exchange(TAKEN, ASKED, Ordering::AcqRel, Ordering::Acquire) != Err(FREE)
        {
            return false;
        }
        // Free now, and only holders of the lock take it.
        self.0.store(TAKEN, Ordering::Relaxed);
        true
    }

    /// Gives the turn back, unless somebody has asked for more to be sent.
    pub(super) fn give_back_if_done(&self) -> bool {
        self.0.compare_exchange(TAKEN, FREE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// With the lock held: gives the turn back.
    pub(super) fn give_back(&self) {
        self.0.store(FREE, Ordering::Release);
    }
}

impl Endpoint {
    /// The one door: draws the conclusions from whatever has been changed under the lock, and notes in `fx` what the
    /// thread has to do about it afterwards. Called at the end of every critical section that changed something.
    ///
    /// Who waits is decided here and nowhere else, from the state alone: a waiter is called as soon as its verdict is
    /// no longer "wait". As waiters look and register in one critical section too, no change can fall between.
    pub(super) fn settle(&self, inner: &mut Inner, now: Instant, fx: &mut Effects) {
        let mine = self.collect(inner, now, fx);
        self.advance(inner, now, fx);
        self.call(inner, fx);
        // Whoever sends what we have left settles, too, and knows better.
        fx.next = if mine { inner.next_timeout() } else { None };
    }

    /// Takes what there is to send. `false` if somebody else is sending, who comes back for it.
    pub(super) fn collect(&self, inner: &mut Inner, now: Instant, fx: &mut Effects) -> bool {
        if fx.port.is_some() || matches!(inner.life, Life::Pending | Life::Released) {
            return true;
        }
        let waiting = !inner.out.is_empty() || !fx.out.is_empty();
        if inner.blocked || !(waiting || inner.pipe.may_transmit()) {
            inner.out.extend(fx.out.drain(..));
            return true;
        }
        if !self.output.take_or_ask() {
            inner.out.extend(fx.out.drain(..));
            return false;
        }
        if !inner.out.is_empty() {
            inner.out.extend(fx.out.drain(..));
            let n = inner.out.len().min(BURST);
            fx.out.extend(inner.out.drain(..n));
        }
        let all = inner.pipe.pump(now, &mut fx.out) && inner.out.is_empty();
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
                if now < until && inner.pipe.may_transmit() && self.unsettled(inner) {
                    // They may hold the last acknowledgement. Whoever is responsible for them settles again.
                    return;
                }
                let over = now >= until || inner.is_dead();
                let drained = inner.out.is_empty() && inner.pipe.is_drained();
                if !over && (!drained || self.is_sending(fx)) {
                    return;
                }
                if now >= until && !drained && !inner.is_dead() && inner.pipe.tells() {
                    // The peer shall not take for the end what is none.
                    inner.pipe.end(now, Ending::Aborted);
                    inner.given_up = true;
                    inner.life = Life::Quiet(now + QUIET);
                    self.collect(inner, now, fx);
                    return;
                }
                let lossy = inner.port.as_ref().is_some_and(|p| p.is_lossy());
                if !over && lossy && inner.pipe.has_received_reliably() {
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

    /// What the peer has said of its end since the last time.
    fn notice_peer(&self, inner: &mut Inner) {
        let ending = inner.pipe.peer_ending();
        if ending == inner.noticed {
            return;
        }
        inner.noticed = ending;
        if ending >= Some(Ending::Closed) {
            inner.events.push(Event::Deallocated);
        } else {
            inner.events.push(Event::Ended);
        }
    }

    /// Whether packets that were taken are still on their way to the port. Whoever does it settles afterwards.
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
        inner.lost = inner.pipe.tx_queue_len();
        inner.pipe.frct = None;
        inner.pipe.work.clear();
        inner.pipe.relax();
        inner.out.clear();
        self.inbox.lock().close();
        let packets = self.empty_inbox();
        fx.released = Some(Released {
            port: inner.port.take(),
            _sink: inner.sink.take(),
            _inbox: packets,
            _delivery: core::mem::take(&mut inner.delivery),
        });
    }

    /// Takes what has arrived out of the inbox, to be dropped.
    pub(super) fn empty_inbox(&self) -> VecDeque<PacketBuf> {
        let mut inbox = self.inbox.lock();
        let packets = inbox.empty();
        self.inbox_len.store(0, Ordering::Release);
        packets
    }

    /// Whose wait is over, and what the watcher is told.
    fn call(&self, inner: &mut Inner, fx: &mut Effects) {
        if inner.readers.any() && inner.read_ready(self.unsettled(inner)) && !planted() {
            inner.readers.take(&mut fx.wakers);
        }
        if inner.writers.any() && inner.write_ready() {
            inner.writers.take(&mut fx.wakers);
        }
        if inner.closers.any() && inner.is_done() {
            inner.closers.take(&mut fx.wakers);
        }
        let Some(watch) = &inner.watch else {
            inner.events.clear();
            return;
        };
        let usable = !inner.is_closed();
        if usable && inner.tell_readable && inner.pipe.is_readable() {
            inner.tell_readable = false;
            inner.events.push(Event::Packet);
        }
        if usable && inner.tell_writable && inner.write_end().is_none() && inner.pipe.has_room() && inner.is_clear() {
            inner.tell_writable = false;
            inner.events.push(Event::Writable);
        }
        if !inner.events.is_empty() {
            fx.watcher = Some((Arc::clone(&watch.watcher), watch.token));
            fx.events.extend(inner.events.drain(..));
        }
    }

    /// Whether packets wait that somebody will take in.
    pub(super) fn unsettled(&self, inner: &Inner) -> bool {
        self.has_arrivals() && inner.life != Life::Pending
    }

    /// Whether packets wait that nobody has looked at yet. Costs next to nothing: for a thread that spins.
    pub fn has_arrivals(&self) -> bool {
        self.inbox_len.load(Ordering::Acquire) > 0
    }

    /// Whether a sender that can wait should.
    pub fn is_busy(&self) -> bool {
        self.inbox_len.load(Ordering::Relaxed) >= BUSY
    }
}

/// Whether a fault is planted, for the model checker to find: readers are not woken.
#[cfg(not(loom))]
const fn planted() -> bool {
    false
}

#[cfg(loom)]
fn planted() -> bool {
    PLANTED.get()
}

#[cfg(loom)]
std::thread_local! {
    /// Has readers not be woken, in all models of this thread: a fault that the checker must find, or it finds nothing.
    pub static PLANTED: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
}
