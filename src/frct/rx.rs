//! The receiving half: the run of numbers, the packets in and out of order, and when to acknowledge.

use alloc::boxed::Box;

use self::report::Reports;
use super::Params;
use super::counters::Counters;
use super::end::Ending;
use super::fragments::Part;
use super::pieces::Pieces;
use super::ranges::Ranges;
use super::reassembly::Messages;
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::lazy_queue::LazyQueue;
use crate::base::seq::Seq;
use crate::base::time::{Instant, MaybeInstant};
use crate::wire::frct::Flags;

mod partial;
mod report;
mod window;

/// No sender is believed to be further from the run than this.
const JUMP_MAX: i32 = 1 << 16;
/// Acknowledge every so many packets while there is a gap: the third packet beyond it proves the loss.
const ACK_EVERY_IN_GAP: u32 = 2;
/// Packets that a peer may send of a message that is not complete, when memory is short and nothing can be read: without it
/// the rest would never come.
const LAST_WINDOW: u32 = 64;

/// The most early packets that are moved to make room for one between them, 64 KiB: half of the default window, so that it
/// matters to larger ones only. Repairs come in order and fill a hole near the front. Where they do not, because the first was
/// lost again or two paths differ by that much, those behind come again once more.
const MOVES: usize = 2048;
/// Places for early packets that are not worth giving back while there is enough memory.
const PLACES: usize = 64;

/// Memory for packets that arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Memory {
    /// There is enough.
    Free,
    /// There is enough for the next packet: the window is closed, and nothing is taken beyond a gap.
    Tight,
    /// Nothing is taken while something waits to be read, whatever the window was.
    Full,
}

/// What a packet of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Data of the application.
    Data(Part),
    /// The end of the stream.
    End,
}

impl Kind {
    pub(super) const fn of(flags: Flags) -> Self {
        if flags.contains(Flags::END) { Self::End } else { Self::Data(Part::of(flags)) }
    }
}

/// A packet beyond a gap.
struct Early {
    seq: Seq,
    kind: Kind,
    packet: PacketBuf,
}

/// The receiving half of a machine.
pub(super) struct Receiver {
    /// Next number expected in order.
    pub(super) next: Seq,
    /// In order and not yet read by the application.
    pub(super) ready: Messages,
    /// How the peer has ended its stream, as far as it has arrived in order.
    pub(super) ended: Option<Ending>,
    /// Beyond a gap, in the order of their numbers: what is missing between them takes no place.
    early: LazyQueue<Early>,
    /// The memory that they hold, bytes.
    early_bytes: usize,
    /// Packets that come in pieces and are not complete; most flows never have any.
    pieces: Option<Box<Pieces>>,
    /// The path probe that is to be answered.
    pub(super) answer: Option<Seq>,
    pub(super) memory: Memory,
    pub(super) held: Ranges,
    /// What the peer is told of them; present since there was a gap, until the flow has been idle.
    reports: Option<Box<Reports>>,
    /// Right edge of the window as told to the peer: what it may send, and relies on.
    told: Seq,
    /// The packet that follows in order was refused, although told that it may come: the peer is told instead that nothing is
    /// taken for now.
    shut: bool,
    /// What the peer was told last lets it send on.
    lets_send: bool,
    /// Where the sender of a best-effort flow is, as far as it has said: `next`, or further if all since was lost.
    sender_at: Seq,
    /// Last time that data or a run start arrived; `None`: no run yet.
    heard: MaybeInstant,
    pub(super) window: u32,
    unacked: u32,
    /// A control packet is due now.
    pub(super) due: bool,
    /// When it becomes due.
    pub(super) due_at: Instant,
    /// Repetitions of the window still to send, and when.
    repeats: u8,
    repeat_at: Instant,
}

impl Receiver {
    pub(super) fn new(p: &Params) -> Self {
        Self {
            next: Seq(0),
            ready: Messages::new(p.message_in),
            ended: None,
            early: LazyQueue::default(),
            early_bytes: 0,
            pieces: None,
            answer: None,
            memory: Memory::Free,
            held: Ranges::default(),
            reports: None,
            told: Seq(0),
            shut: false,
            lets_send: false,
            sender_at: Seq(0),
            heard: MaybeInstant::default(),
            window: if p.o7s_peer { p.window } else { p.legacy_window },
            unacked: 0,
            due: false,
            due_at: Instant::FAR_FUTURE,
            repeats: 0,
            repeat_at: Instant::FAR_FUTURE,
        }
    }

    /// Returns `true` if there is a run that the sender still knows.
    pub(super) fn active(&self, now: Instant, p: &Params) -> bool {
        self.heard.get().is_some_and(|t| now.nanos_since(t) <= p.receiver_inactive)
    }

    /// Returns `true` if a number of the run cannot be near this one: before or behind every window and what was sent
    /// again.
    pub(super) fn is_far(&self, seq: Seq) -> bool {
        (seq - self.next).unsigned_abs() > JUMP_MAX.unsigned_abs()
    }

    /// Returns `true` if a run has ever begun.
    pub(super) fn has_run(&self) -> bool {
        self.heard.get().is_some()
    }

    /// Returns `true` if a number lies before what has arrived in order.
    pub(super) fn is_behind(&self, seq: Seq) -> bool {
        seq.before(self.next)
    }

    /// Returns `true` if acknowledgements may be sent: at most A after the data.
    pub(super) fn may_ack(&self, now: Instant, p: &Params) -> bool {
        self.heard.get().is_some_and(|t| now.nanos_since(t) <= p.a)
    }

    /// First number outside the window.
    pub(super) fn limit(&self, p: &Params) -> Seq {
        let limit = if self.memory >= Memory::Tight {
            // No more is told, unless only more brings something to read.
            let least = match self.memory {
                Memory::Tight if self.is_stuck() => LAST_WINDOW,
                // A packet is always taken where nothing waits.
                _ => u32::from(self.ready.is_empty()),
            };
            self.next + least
        } else {
            // A best-effort flow skips what was lost: its window counts from where the sender is, or a loss would close it.
            let base = if p.reliable { self.next } else { self.sender_at };
            // Packets that wait to be read take their places in the window: so a slow reader slows down the writer.
            base + self.window.saturating_sub(self.ready.len() as u32)
        };
        // What was told stays told, also when a message takes the places of all its fragments at once, with the last one.
        self.told.later(limit)
    }

    /// A packet with the acknowledgement goes out.
    pub(super) fn acked(&mut self) {
        self.due = false;
        self.due_at = Instant::FAR_FUTURE;
        self.unacked = 0;
    }

    /// Drops what waits for something else to come. Returns how many messages were incomplete.
    pub(super) fn drop_incomplete(&mut self, cache: &mut BufCache) -> u64 {
        while let Some(early) = self.early.pop_front() {
            cache.put(early.packet);
        }
        self.early_bytes = 0;
        self.tidy_places();
        self.pieces = None;
        self.held.clear();
        self.ready.drop_open(cache)
    }

    /// Begins a run with `seq`, or continues the present one if that is where it stands.
    pub(super) fn start_run(&mut self, now: Instant, p: &Params, seq: Seq, cache: &mut BufCache) {
        if self.heard.get().is_none() || seq != self.next {
            self.next = seq;
            self.sender_at = seq;
            self.drop_incomplete(cache);
            self.forget_report();
            // The window that the peer begins with is enough until the first acknowledgement tells the true one.
            self.told = seq;
            self.told = self.limit(p);
            self.shut = false;
        }
        self.heard = MaybeInstant::at(now);
    }

    /// A control packet of one of our kind says where its sender stands.
    pub(super) fn sender_is_at(&mut self, now: Instant, seq: Seq) {
        if self.heard.get().is_some() && (0..=JUMP_MAX).contains(&(seq - self.sender_at)) {
            self.sender_at = seq;
        }
        // Only what is near the run prolongs it: a packet that was long on its way says nothing about the sender now.
        if (seq - self.next).unsigned_abs() <= self.window {
            self.heard = MaybeInstant::at(now);
        }
    }

    /// Data of a reliable flow, header removed.
    pub(super) fn on_reliable(
        &mut self,
        now: Instant,
        p: &Params,
        seq: Seq,
        (kind, packet): (Kind, PacketBuf),
        stats: &mut Counters,
        cache: &mut BufCache,
    ) {
        let ahead = seq - self.next;
        if ahead == 0 && self.has_place_for(kind, packet.len()) {
            self.heard = MaybeInstant::at(now);
            self.shut = false;
            self.take_in_order(now, (kind, packet), stats, cache);
            self.unacked += 1;
            if !self.early.is_empty() {
                self.fill(now, stats, cache);
            }
        } else if ahead > 0 && seq.before(self.limit(p)) {
            self.heard = MaybeInstant::at(now);
            self.hold(seq, (kind, packet), stats, cache);
        } else {
            self.refuse(now, p, seq, stats);
            cache.put(packet);
        }
        if self.pieces.is_some() {
            self.drop_passed_pieces();
        }
        if self.unacked >= p.ack_every {
            self.due = true;
        // The delay runs from the first unacknowledged packet: those that follow must not put it off.
        } else if self.unacked > 0 && self.due_at == Instant::FAR_FUTURE {
            self.due_at = now.plus_nanos(p.ack_delay);
        }
    }

    /// A packet, or a piece of one, is of no use. A duplicate tells of a lost acknowledgement, a packet beyond the window of
    /// a window that was misread. Either way the sender is put right at once.
    fn refuse(&mut self, now: Instant, p: &Params, seq: Seq, stats: &mut Counters) {
        let ahead = seq - self.next;
        if ahead < 0 {
            stats.rare().duplicates += 1;
            if ahead.unsigned_abs() <= self.window {
                self.heard = MaybeInstant::at(now);
            }
        } else {
            stats.rare().out_of_window += 1;
            if ahead == 0 && !self.has_place(seq) {
                self.heard = MaybeInstant::at(now);
                self.shut = p.o7s_peer;
            }
        }
        self.due = true;
    }

    /// Takes the packet numbered `next`.
    fn take_in_order(
        &mut self,
        now: Instant,
        (kind, packet): (Kind, PacketBuf),
        stats: &mut Counters,
        cache: &mut BufCache,
    ) {
        self.next += 1;
        let Kind::Data(part) = kind else {
            // Nothing but the last word of the peer counts, and no word takes back an earlier one.
            let ending = packet.first().copied().and_then(Ending::from_byte).unwrap_or(Ending::Writing);
            self.ended = self.ended.max(Some(ending));
            self.due = true;
            cache.put(packet);
            stats.note_incomplete(self.ready.drop_open(cache));
            return;
        };
        if self.ended.is_some() {
            stats.rare().stray += 1;
            cache.put(packet);
        } else {
            stats.received += 1;
            // The one that each flow may have when there is no memory.
            let packet = if self.memory == Memory::Full { cache.snug(packet) } else { packet };
            stats.note_incomplete(self.ready.push(now, part, packet, cache));
        }
    }

    /// The packet at the front of the gap has come: what it held back follows.
    fn fill(&mut self, now: Instant, stats: &mut Counters, cache: &mut BufCache) {
        while self.early.front().is_some_and(|early| early.seq == self.next)
            && let Some(Early { kind, packet, .. }) = self.early.pop_front()
        {
            self.early_bytes = self.early_bytes.saturating_sub(packet.memory());
            self.take_in_order(now, (kind, packet), stats, cache);
        }
        self.held.remove_below(self.next);
        if self.held.is_empty() {
            self.tidy_places();
            self.forget_report();
        }
        self.due = true;
    }

    /// Index of the early packet with this number; as an error, the index at which it belongs.
    fn place_of(&self, seq: Seq) -> Result<usize, usize> {
        // Mostly the latest has the highest number.
        if self.early.back().is_none_or(|last| last.seq.before(seq)) {
            return Err(self.early.len());
        }
        let place = self.early.partition_point(|early| early.seq.before(seq));
        if self.early.at(place).is_some_and(|early| early.seq == seq) { Ok(place) } else { Err(place) }
    }

    /// No packet is held: gives back memory for many.
    fn tidy_places(&mut self) {
        if let Some(early) = self.early.get_mut() {
            early.shrink_to(if self.memory == Memory::Free { PLACES } else { 0 });
        }
    }

    /// Returns `true` if an early packet can be put there without moving too many.
    fn has_room_at(&self, place: usize) -> bool {
        place.min(self.early.len() - place) <= MOVES
    }

    /// Stores a packet beyond a gap, unless it is there already.
    fn hold(&mut self, seq: Seq, (kind, packet): (Kind, PacketBuf), stats: &mut Counters, cache: &mut BufCache) {
        if self.memory >= Memory::Tight {
            // It is sent again when there is room for it.
            stats.rare().out_of_window += 1;
            cache.put(packet);
            return;
        }
        let Err(place) = self.place_of(seq) else {
            stats.rare().duplicates += 1;
            cache.put(packet);
            self.due = true;
            return;
        };
        if !self.has_room_at(place) {
            stats.rare().out_of_window += 1;
            cache.put(packet);
            return;
        }
        // A gap can hold a window of small packets in large buffers, and each of many flows a few, which a peer may provoke:
        // they are copied into buffers of their size. It is where something was lost, and not what all packets pay.
        let packet = cache.snug(packet);
        self.early_bytes += packet.memory();
        // The shorter side is moved to make room, and a hole is mostly filled near its front.
        self.early.get_or_make().insert(place, Early { seq, kind, packet });
        stats.rare().out_of_order += 1;
        self.reports.get_or_insert_default().note(seq);
        self.unacked += 1;
        let gaps = self.held.len();
        // A gap that opens or closes is what the sender waits for. Packets that extend a range prove less, and are
        // reported two at a time.
        if self.held.insert(seq, seq + 1, |_| {}) || self.held.len() < gaps || self.unacked >= ACK_EVERY_IN_GAP {
            self.due = true;
        }
    }

    /// Data of a best-effort flow, header removed.
    pub(super) fn on_best_effort(
        &mut self,
        now: Instant,
        p: &Params,
        seq: Seq,
        (part, packet): (Part, PacketBuf),
        stats: &mut Counters,
        cache: &mut BufCache,
    ) {
        let ahead = seq - self.next;
        if ahead < 0 {
            stats.rare().late += 1;
        } else {
            // A gap: missing fragments will not come any more, so nothing of their message can ever be read.
            if ahead > 0 {
                stats.note_incomplete(self.ready.drop_open(cache));
                stats.rare().skipped += ahead as u64;
            }
            self.heard = MaybeInstant::at(now);
            self.next = seq + 1;
            if self.sender_at.before(self.next) {
                self.sender_at = self.next;
            }
            // Short of memory a packet may wait, and a message that has begun come to its end.
            let may_wait = self.memory < Memory::Tight || (self.memory == Memory::Tight && self.is_stuck());
            if self.has_place(seq) && may_wait && self.ready.fits(part, packet.len()) {
                stats.received += 1;
                stats.note_incomplete(self.ready.push(now, part, packet, cache));
                self.offer_window(now, p);
                return;
            }
            stats.note_incomplete(self.ready.drop_open(cache));
            stats.rare().out_of_window += 1;
        }
        cache.put(packet);
    }

    /// Returns `true` if the packet numbered `seq` may wait for the application.
    fn has_place(&self, seq: Seq) -> bool {
        // The peer sends what it was told, and gives up if that is never taken.
        let may_come = seq.before(self.told) || self.ready.len() < self.window as usize;
        // A reader that has nothing is given one packet, whatever the memory: it could wait forever otherwise.
        may_come && (self.memory < Memory::Full || self.ready.is_empty())
    }

    /// Returns `true` if a packet that follows in order is taken. The end takes no place in the application's queue,
    /// and comes through a window that the application has shut.
    fn has_place_for(&self, kind: Kind, len: usize) -> bool {
        match kind {
            Kind::End => true,
            Kind::Data(part) => self.has_place(self.next) && self.ready.fits(part, len),
        }
    }

    /// Returns `true` if all that waits is a part of a message: nothing that the application does makes room.
    pub(super) fn is_stuck(&self) -> bool {
        !self.ready.can_deliver() && self.ready.open_since().is_some()
    }

    pub(super) fn held_bytes(&self) -> usize {
        // Places count by themselves: there is memory for as many as were ever taken at a time.
        let spare = if self.early.is_empty() { PLACES } else { 0 };
        let places = self.early.capacity().saturating_sub(spare) * size_of::<Early>();
        self.ready.bytes() + self.early_bytes + places + self.pieces.as_ref().map_or(0, |pieces| pieces.bytes())
    }

    pub(super) fn can_deliver(&self) -> bool {
        self.ready.can_deliver()
    }

    /// The next packet or message for the application, in one piece.
    pub(super) fn deliver(&mut self, now: Instant, p: &Params, cache: &mut BufCache) -> Option<PacketBuf> {
        let packet = self.ready.deliver(cache)?;
        self.offer_window(now, p);
        Some(packet)
    }

    /// Copies the next packet or message, or as much of it as fits, to `buf`.
    pub(super) fn read(
        &mut self,
        now: Instant,
        p: &Params,
        buf: &mut [u8],
        cache: &mut BufCache,
    ) -> Option<(usize, bool)> {
        let read = self.ready.read(buf, cache)?;
        self.offer_window(now, p);
        Some(read)
    }

    /// Packets ready, early ones, ranges.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize, usize) {
        (self.ready.len(), self.early.len(), self.held.len())
    }

    /// Gives back memory that an idle flow does not need.
    pub(super) fn shrink(&mut self) {
        self.ready.shrink();
        self.early.shrink();
        self.held.shrink();
        if self.held.is_empty() && !self.due {
            self.reports = None;
        }
    }
}
