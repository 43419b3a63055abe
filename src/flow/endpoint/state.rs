//! The state of an endpoint, and what callers and waiters are told of it: pure functions of the state.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use smallvec::SmallVec;

use super::State;
use super::door::Effects;
use crate::base::buf::PacketBuf;
use crate::base::foreign::Panics;
use crate::base::lazy_queue::LazyQueue;
use crate::base::time::Instant;
use crate::flow::pipeline::Pipeline;
use crate::flow::waiters::{Interest, Waiters};
use crate::flow::{Event, Outgoing, Port, ReadError, Sink, Watcher, WriteError};
use crate::frct::{Ending, fragment_len};
use crate::types::device::SendError;

/// Packets that wait for a thread that is passing earlier ones to the port; writers then wait as well.
const OUT_LIMIT: usize = 64;

/// State of an endpoint's life.
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

/// The watcher of events.
pub(super) struct Watch {
    pub(super) watcher: Arc<dyn Watcher>,
    pub(super) token: u64,
}

/// The IPCP that uses a flow as its own.
pub(super) struct Attached {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) token: u64,
    /// Memory for packets on their way to the sink.
    pub(super) delivery: VecDeque<PacketBuf>,
}

/// Constant properties of the way down. The default is for one that cannot be asked.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) lossy: bool,
    pub(super) tells_end: bool,
    pub(super) roams: bool,
}

impl Default for Way {
    fn default() -> Self {
        Self { lossy: true, tells_end: false, roams: false }
    }
}

/// Everything about an endpoint that its lock protects.
pub(super) struct Inner {
    pub(super) pipe: Pipeline,
    pub(super) port: Option<Arc<dyn Port>>,
    /// Answers of the port when the flow was allocated: whether the layer below may lose packets, and whether its
    /// release tells the other end.
    pub(super) way: Way,
    /// Through which the port is called.
    panics: Arc<Panics>,
    pub(super) life: Life,
    pub(super) down: Option<Down>,
    pub(super) peer_gone: bool,
    pub(super) may_read: bool,
    /// The application writes no more.
    pub(super) shut: bool,
    /// The application, or its patience, has given the flow up: the peer is owed nothing but to be told.
    pub(super) given_up: bool,
    /// Part of the peer's ending that has been noticed.
    pub(super) noticed: Option<Ending>,
    /// Packets that were written and not delivered when the flow was given up.
    pub(super) lost: u32,
    /// The IPCP that uses the flow.
    pub(super) sink: Option<Box<Attached>>,
    /// Sealed packets that wait for the thread that has the output turn.
    pub(super) out: LazyQueue<PacketBuf>,
    /// The device's queue is full: nothing is sent until it says that there is room, or the next tick.
    pub(super) blocked: bool,
    /// Why the device refused packets last; `None` when it has taken some since.
    pub(super) fault: Option<SendError>,
    pub(super) readers: Waiters,
    pub(super) writers: Waiters,
    pub(super) closers: Waiters,
    pub(super) watch: Option<Box<Watch>>,
    /// Events that the watcher has not been told yet.
    pub(super) events: SmallVec<[Event; 4]>,
    /// The watcher is told when there is something to read: packets have come or a read has found none since the last
    /// time.
    pub(super) tell_readable: bool,
    /// The watcher is told when there is room to write: a write was told to wait since the last time.
    pub(super) tell_writable: bool,
}

impl Inner {
    pub(super) fn new(pipe: Pipeline, panics: &Arc<Panics>) -> Self {
        Self {
            pipe,
            port: None,
            way: Way::default(),
            panics: Arc::clone(panics),
            life: Life::Pending,
            down: None,
            peer_gone: false,
            may_read: true,
            shut: false,
            given_up: false,
            noticed: None,
            lost: 0,
            sink: None,
            out: LazyQueue::default(),
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

    /// Returns `true` if the application has closed the flow, or it is over.
    pub(super) fn is_closed(&self) -> bool {
        !matches!(self.life, Life::Pending | Life::Active)
    }

    /// Returns `true` if the application has closed the flow, and it is not over.
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.life, Life::Lingering(_))
    }

    /// Returns `true` if there is a flow: it has been allocated, and is not released yet.
    pub(super) fn has_flow(&self) -> bool {
        !matches!(self.life, Life::Pending | Life::Released)
    }

    /// Returns `true` if all written data has been dealt with.
    pub(super) fn is_done(&self) -> bool {
        match self.life {
            Life::Quiet(_) | Life::Released => true,
            Life::Lingering(_) => false,
            // A half-close can be waited for as well, and ends when the peer has everything, or never can.
            Life::Pending | Life::Active => self.shut && (self.pipe.is_drained() || self.is_dead()),
        }
    }

    /// Why a read that finds nothing does not have to wait; `None`: it does. Packets in the inbox may still change it.
    pub(super) fn read_end(&self) -> Option<ReadError> {
        // First the reasons of this end, then the word of the peer, which explains more than the state of the layer
        // below, last the silence.
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

    /// Returns `true` if a stream that ends without a word of the peer is incomplete.
    fn breaks_off(&self) -> bool {
        // An o7s peer closes a reliable flow in its stream. If the layer says that it is gone and the stream has no
        // end, data may be missing.
        self.pipe.tells() && self.pipe.qos.is_reliable()
    }

    /// Returns `true` if a read would not have to wait, given whether there are packets in the inbox.
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
            (_, None) => return None,
        })
    }

    /// Leaves sealed packets to the thread that has the output turn, or to a later one.
    pub(super) fn keep(&mut self, pkts: &mut Outgoing) {
        if !pkts.is_empty() {
            self.out.get_or_make().extend(pkts.drain(..));
        }
    }

    /// Returns `true` if packets of an IPCP, which does not wait, are taken.
    pub(super) fn has_output_room(&self) -> bool {
        self.out.len() < OUT_LIMIT
    }

    /// Returns `true` if the layer below takes packets.
    pub(super) fn is_clear(&self) -> bool {
        // A port that panicked gives no answer. It counts as free, or writers would wait without end.
        !self.blocked && self.out.len() < OUT_LIMIT && self.ask(Port::is_congested) != Some(true)
    }

    /// Returns `true` if a release would have the layer drop data that waits there for its turn.
    pub(super) fn is_held_below(&self) -> bool {
        // A reliable flow is over when the peer has everything, and one that has closed reads nothing more.
        let matters = !self.pipe.qos.is_reliable() && self.pipe.peer_ending() < Some(Ending::Closed);
        matters && self.ask(Port::is_holding) == Some(true)
    }

    /// Asks the port, which may be a user's own, with the lock held. `None` if there is none, or it panicked.
    pub(super) fn ask<R>(&self, what: impl FnOnce(&(dyn Port + 'static)) -> R) -> Option<R> {
        let port = self.port.as_deref()?;
        self.panics.call(|| what(port))
    }

    /// The largest packet of user data that the layer below carries now, bytes.
    pub(super) fn layer_packet(&self) -> usize {
        self.ask(Port::mtu).map_or(0, |mtu| mtu.saturating_sub(self.pipe.overhead()))
    }

    /// Tells FRCT of that, if it is about to ask what the path behind it carries.
    pub(super) fn tell_path(&mut self) {
        if !self.pipe.frct.as_ref().is_some_and(|frct| frct.asks_path()) {
            return;
        }
        let most = self.layer_packet();
        if let Some(frct) = &mut self.pipe.frct {
            frct.fit_path(most);
        }
    }

    /// The largest packet of user data that the layer below carries, bytes, or the path, if that is known to carry less.
    pub(super) fn max_packet(&self) -> usize {
        let most = self.layer_packet();
        self.pipe.frct.as_ref().and_then(|frct| frct.packet_limit()).map_or(most, |limit| most.min(limit))
    }

    /// The most that can be written at a time, bytes, where packets of user data have up to `packet`; and the length of the
    /// fragments of what is larger than one.
    pub(super) fn max_write(&self, packet: usize) -> (usize, usize) {
        match (&self.pipe.frct, fragment_len(packet, self.way.lossy)) {
            (Some(frct), Some(fragment)) if frct.max_message() > packet => (frct.max_message(), fragment),
            _ => (packet, packet),
        }
    }

    /// Returns `true` if a write would be taken, or refused for good.
    pub(super) fn write_now(&self) -> bool {
        self.write_end().is_some() || (self.pipe.is_writable() && self.is_clear())
    }

    /// Returns `true` if a waiting write is worth trying again, which it is not for the room of each single packet.
    pub(super) fn write_ready(&self) -> bool {
        self.write_end().is_some() || (self.pipe.has_room() && self.is_clear())
    }

    /// Takes one packet from the application, to be sent.
    pub(super) fn write(&mut self, now: Instant, data: &[u8], fx: &mut Effects) -> Result<(), WriteError> {
        if let Some(end) = self.write_end() {
            return Err(end);
        }
        if self.port.is_none() {
            return Err(WriteError::Closed);
        }
        // Asked for each packet: the MTU of a path may change while the flow lives.
        let mut fragment = self.max_packet();
        if data.len() > fragment {
            let max;
            (max, fragment) = self.max_write(fragment);
            if data.len() > max {
                return Err(WriteError::TooLarge { size: data.len(), max });
            }
        }
        if !self.is_clear() {
            return Err(WriteError::WouldBlock);
        }
        self.pipe.write(now, data, fragment, &mut fx.out)
    }

    /// The result of `take`, or the reason for its lack.
    pub(super) fn read<R>(
        &mut self,
        now: Instant,
        take: &mut impl FnMut(&mut Pipeline, Instant) -> Option<R>,
    ) -> Result<R, ReadError> {
        if self.is_closed() || !self.may_read {
            return Err(self.read_end().unwrap_or(ReadError::WouldBlock));
        }
        // Data first: everything that arrived before the end is read before the end is told.
        take(&mut self.pipe, now).ok_or_else(|| self.read_end().unwrap_or(ReadError::WouldBlock))
    }

    /// Returns `true` if packets that have not been taken in might change the result.
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

    /// Notes the result of the port. Returns `true` if a later attempt has to be scheduled for when the device may have
    /// room.
    pub(super) fn note_sent(&mut self, sent: Result<(), SendError>) -> bool {
        // Only a full device blocks, because only it gets room by itself. Other refusals lose the packet and are told once,
        // until it takes one again.
        self.blocked |= sent == Err(SendError::Full);
        self.note_fault(sent.err());
        self.blocked
    }

    /// Notes why the layer below takes no packets, or that it does.
    pub(super) fn note_fault(&mut self, fault: Option<SendError>) {
        let refuses = |fault: Option<SendError>| fault.is_some_and(|why| why != SendError::Full);
        match (refuses(self.fault), refuses(fault)) {
            (false, true) => self.events.push(Event::Impaired),
            (true, false) if fault.is_none() => self.events.push(Event::Restored),
            // That it is full does not mean that it takes packets again.
            (true, false) => return,
            _ => {}
        }
        self.fault = fault;
    }

    /// Returns `true` if nothing more will come or go.
    pub(super) fn is_dead(&self) -> bool {
        self.down.is_some() || self.peer_gone
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let next = match self.life {
            Life::Pending | Life::Released => return None,
            // The tick comes first, and looks again.
            _ if self.blocked => None,
            // A silent peer is not waited for twice: keepalives and its timeout are over.
            _ => self.pipe.next_deadline(self.peer_gone),
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
            self.pipe.resign();
            if self.down.is_none() {
                self.events.push(Event::PeerGone);
            }
        }
    }

    /// Notes all events for a new watcher.
    pub(super) fn note_all(&mut self) {
        self.events.clear();
        if self.is_closed() {
            self.events.push(Event::Deallocated);
        }
        // An ending that was told to the watcher before is news to this one.
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
        self.out.shrink();
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
