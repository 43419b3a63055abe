//! The receiving half: the run of numbers, the packets in and out of order, and when to acknowledge.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::end::Ending;
use super::ranges::Ranges;
use super::recovery::later;
use super::rtt::{after, nanos_since};
use super::{Params, Stats};
use crate::base::backlog::{Backlog, SNUG_FROM};
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::wire::frct::{Flags, Pci, Sack};

/// No sender is believed to be further from the run than this.
const JUMP_MAX: i32 = 1 << 16;
/// A best-effort receiver tells the window anew after this many packets; a reference stops after 64 without it.
const TELL_EVERY: u32 = 32;
/// A window told unasked is repeated so often, after this many nanoseconds without data and then ever later: a writer
/// of the reference that waits for a lost one never asks.
const REPEATS: u8 = 6;
const REPEAT_AFTER: u64 = 100_000_000;
/// Acknowledge every so many packets while there is a gap: the third packet beyond it proves the loss.
const ACK_EVERY_IN_GAP: u32 = 2;
/// Oldest ranges that a report tells again, if it has room.
const OLDEST_BLOCKS: usize = 8;
/// Ends beyond a gap that are remembered: more are none.
const ENDS_MAX: usize = 2;
/// Arrivals remembered for the next report.
const FRESH_MAX: usize = 1024;

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

/// The receiving half of a machine.
pub(super) struct Receiver {
    /// Next number expected in order.
    pub(super) next: Seq,
    /// In order and not yet read by the application.
    ready: Backlog,
    /// Numbers of packets beyond a gap that end the stream. Two at most are sent.
    ends: Vec<Seq>,
    /// How the peer has ended its stream, as far as it has arrived in order.
    pub(super) ended: Option<Ending>,
    /// Beyond a gap: index 0 is `next`.
    early: VecDeque<Option<PacketBuf>>,
    /// Packets in `early`, and the memory that they hold, bytes.
    early_count: usize,
    early_bytes: usize,
    pub(super) memory: Memory,
    pub(super) held: Ranges,
    /// The number that arrived last beyond the gap, and those that did since they were last reported.
    latest: Seq,
    fresh: Vec<Seq>,
    /// Right edge of the window as last told to the peer.
    told: Seq,
    /// Where the sender of a best-effort flow is, as far as it has said: `next`, or further if all since was lost.
    sender_at: Seq,
    /// Last time that data or a run start arrived; `None`: no run yet.
    heard: Option<Instant>,
    pub(super) window: u32,
    unacked: u32,
    /// A control packet is due now.
    pub(super) due: bool,
    /// When it becomes due.
    pub(super) due_at: Instant,
    /// Repetitions of the window still to send, and when.
    repeats: u8,
    repeat_at: Instant,
    /// Payload of the next control packet.
    pub(super) sack: Vec<u8>,
}

impl Receiver {
    pub(super) fn new(p: &Params) -> Self {
        Self {
            next: Seq(0),
            ready: Backlog::default(),
            ends: Vec::new(),
            ended: None,
            early: VecDeque::new(),
            early_count: 0,
            early_bytes: 0,
            memory: Memory::Free,
            held: Ranges::default(),
            latest: Seq(0),
            fresh: Vec::new(),
            told: Seq(0),
            sender_at: Seq(0),
            heard: None,
            window: if p.o7s_peer { p.window } else { p.legacy_window },
            unacked: 0,
            due: false,
            due_at: Instant::FAR_FUTURE,
            repeats: 0,
            repeat_at: Instant::FAR_FUTURE,
            sack: Vec::new(),
        }
    }

    /// Whether there is a run that the sender still knows.
    pub(super) fn active(&self, now: Instant, p: &Params) -> bool {
        self.heard.is_some_and(|t| nanos_since(now, t) <= p.receiver_inactive)
    }

    /// Whether a number of the run cannot be near this one: before or behind every window and what was sent again.
    pub(super) fn is_far(&self, seq: Seq) -> bool {
        (seq - self.next).unsigned_abs() > JUMP_MAX.unsigned_abs()
    }

    /// Whether a run has ever begun.
    pub(super) fn has_run(&self) -> bool {
        self.heard.is_some()
    }

    /// Whether a number lies before what has arrived in order.
    pub(super) fn is_behind(&self, seq: Seq) -> bool {
        seq.before(self.next)
    }

    /// Whether acknowledgements may be sent: at most A after the data.
    pub(super) fn may_ack(&self, now: Instant, p: &Params) -> bool {
        self.heard.is_some_and(|t| nanos_since(now, t) <= p.a)
    }

    /// First number outside the window.
    pub(super) fn limit(&self, p: &Params) -> Seq {
        if self.memory >= Memory::Tight {
            // What was told stays told; no more is.
            return later(self.told, self.next);
        }
        let base = if p.reliable { self.next } else { self.sender_at };
        base + self.window.saturating_sub(self.ready.len() as u32)
    }

    /// The window as it goes into a packet; remembers that the peer was told.
    pub(super) fn tell(&mut self, p: &Params) -> u32 {
        self.told = self.limit(p);
        self.told.0 & 0x00FF_FFFF
    }

    /// A packet with the acknowledgement goes out.
    pub(super) fn acked(&mut self) {
        self.due = false;
        self.due_at = Instant::FAR_FUTURE;
        self.unacked = 0;
    }

    /// Begins a run with `seq`, or continues the present one if that is where it stands.
    pub(super) fn start_run(&mut self, now: Instant, p: &Params, seq: Seq, cache: &mut BufCache) {
        if self.heard.is_none() || seq != self.next {
            self.next = seq;
            self.sender_at = seq;
            for packet in self.early.drain(..).flatten() {
                cache.put(packet);
            }
            self.early_count = 0;
            self.early_bytes = 0;
            self.held.clear();
            self.ends.clear();
            self.fresh.clear();
            // The window that the peer begins with is enough until the first acknowledgement tells the true one.
            self.told = self.limit(p);
        }
        self.heard = Some(now);
    }

    /// A control packet of one of our kind says where its sender stands.
    pub(super) fn sender_is_at(&mut self, now: Instant, seq: Seq) {
        if self.heard.is_some() && (0..=JUMP_MAX).contains(&(seq - self.sender_at)) {
            self.sender_at = seq;
        }
        if (seq - self.next).unsigned_abs() <= self.window {
            self.heard = Some(now);
        }
    }

    /// Data of a reliable flow, header removed.
    pub(super) fn on_reliable(
        &mut self,
        now: Instant,
        p: &Params,
        pci: &Pci,
        packet: PacketBuf,
        stats: &mut Stats,
        cache: &mut BufCache,
    ) {
        let (seq, end) = (pci.seqno, pci.flags.contains(Flags::END));
        let ahead = seq - self.next;
        // The end takes no place in the application's queue, and comes through a window that the application has shut.
        if ahead == 0 && (end || self.has_place()) {
            self.heard = Some(now);
            self.take_in_order(end, packet, stats, cache);
            self.unacked += 1;
            if !self.early.is_empty() {
                self.fill(stats, cache);
            }
        } else if ahead > 0 && seq.before(self.limit(p)) {
            self.heard = Some(now);
            if self.hold(seq, ahead as usize, packet, stats, cache) && end && self.ends.len() < ENDS_MAX {
                self.ends.push(seq);
            }
        } else {
            if ahead < 0 {
                stats.duplicates += 1;
                if ahead.unsigned_abs() <= self.window {
                    self.heard = Some(now);
                }
            } else {
                stats.out_of_window += 1;
            }
            cache.put(packet);
            self.due = true;
        }
        if self.unacked >= p.ack_every {
            self.due = true;
        } else if self.unacked > 0 && self.due_at == Instant::FAR_FUTURE {
            self.due_at = after(now, p.ack_delay);
        }
    }

    /// Takes the packet numbered `next`.
    fn take_in_order(&mut self, end: bool, packet: PacketBuf, stats: &mut Stats, cache: &mut BufCache) {
        self.next += 1;
        if end {
            // Nothing but the last word of the peer counts, and no word takes back an earlier one.
            let ending = packet.first().copied().and_then(Ending::from_byte).unwrap_or(Ending::Writing);
            self.ended = self.ended.max(Some(ending));
            self.due = true;
            cache.put(packet);
        } else if self.ended.is_some() {
            stats.stray += 1;
            cache.put(packet);
        } else {
            stats.received += 1;
            self.ready.push_back(packet);
        }
    }

    /// The packet at the front of the gap has come: what it held back follows.
    fn fill(&mut self, stats: &mut Stats, cache: &mut BufCache) {
        self.early.pop_front();
        while let Some(Some(_)) = self.early.front() {
            if let Some(Some(packet)) = self.early.pop_front() {
                self.early_count -= 1;
                self.early_bytes -= packet.memory();
                let end = self.ends.contains(&self.next);
                self.take_in_order(end, packet, stats, cache);
            }
        }
        let next = self.next;
        self.ends.retain(|seq| !seq.before(next));
        self.held.remove_below(self.next);
        if self.held.is_empty() {
            self.early.clear();
            self.fresh.clear();
        }
        self.due = true;
    }

    /// Stores a packet beyond a gap. `false` if it is there already.
    fn hold(&mut self, seq: Seq, ahead: usize, packet: PacketBuf, stats: &mut Stats, cache: &mut BufCache) -> bool {
        if self.memory >= Memory::Tight {
            // It is sent again when there is room for it.
            stats.out_of_window += 1;
            cache.put(packet);
            return false;
        }
        while self.early.len() <= ahead {
            self.early.push_back(None);
        }
        let Some(slot) = self.early.get_mut(ahead) else { return false };
        if slot.is_some() {
            stats.duplicates += 1;
            cache.put(packet);
            self.due = true;
            return false;
        }
        let packet = match packet.snug().filter(|_| self.early_count >= SNUG_FROM) {
            Some(snug) => {
                cache.put(packet);
                snug
            }
            None => packet,
        };
        self.early_count += 1;
        self.early_bytes += packet.memory();
        *slot = Some(packet);
        stats.out_of_order += 1;
        self.latest = seq;
        if self.fresh.len() < FRESH_MAX {
            self.fresh.push(seq);
        }
        self.unacked += 1;
        let gaps = self.held.len();
        if self.held.insert(seq, seq + 1, |_| {}) || self.held.len() < gaps || self.unacked >= ACK_EVERY_IN_GAP {
            self.due = true;
        }
        true
    }

    /// Data of a best-effort flow, header removed.
    pub(super) fn on_best_effort(
        &mut self,
        now: Instant,
        p: &Params,
        seq: Seq,
        packet: PacketBuf,
        stats: &mut Stats,
        cache: &mut BufCache,
    ) {
        let ahead = seq - self.next;
        if ahead < 0 {
            stats.late += 1;
        } else {
            self.heard = Some(now);
            self.next = seq + 1;
            if self.sender_at.before(self.next) {
                self.sender_at = self.next;
            }
            stats.skipped += ahead as u64;
            if self.has_place() && self.memory < Memory::Tight {
                stats.received += 1;
                self.ready.push_back(packet);
                self.offer_window(now, p);
                return;
            }
            stats.out_of_window += 1;
        }
        cache.put(packet);
    }

    /// Whether one more packet may wait for the application.
    fn has_place(&self) -> bool {
        self.ready.len() < self.window as usize && (self.memory < Memory::Full || self.ready.is_empty())
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.ready.bytes() + self.early_bytes
    }

    pub(super) fn can_deliver(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next packet for the application.
    pub(super) fn deliver(&mut self, now: Instant, p: &Params) -> Option<PacketBuf> {
        let packet = self.ready.pop_front()?;
        self.offer_window(now, p);
        Some(packet)
    }

    /// Tells the window unasked when it has opened by much.
    fn offer_window(&mut self, now: Instant, p: &Params) {
        let large = self.window > p.legacy_window;
        let step = match (p.reliable, large) {
            (true, _) => self.window / 4,
            (false, true) => self.window / 8,
            (false, false) => TELL_EVERY,
        };
        if self.heard.is_none() || self.limit(p) - self.told < step.max(1) as i32 {
            return;
        }
        self.due = true;
        if !large {
            self.repeats = REPEATS;
            self.repeat_at = self.repeat_at.min(after(now, REPEAT_AFTER));
        }
    }

    /// The part of a timeout that sends acknowledgements and windows.
    pub(super) fn check(&mut self, now: Instant) {
        if now >= self.due_at {
            self.due_at = Instant::FAR_FUTURE;
            self.due = true;
        }
        if now < self.repeat_at {
            return;
        }
        let quiet_at = self.heard.map_or(now, |t| after(t, REPEAT_AFTER));
        if now < quiet_at {
            self.repeat_at = quiet_at;
            return;
        }
        self.due = true;
        self.repeats = self.repeats.saturating_sub(1);
        self.repeat_at = match self.repeats {
            0 => Instant::FAR_FUTURE,
            left => after(now, REPEAT_AFTER << (REPEATS - left)),
        };
    }

    pub(super) fn next_timeout(&self) -> Instant {
        self.due_at.min(self.repeat_at)
    }

    /// Acknowledges at once what waits for a better moment.
    pub(super) fn flush(&mut self) {
        self.due |= self.due_at != Instant::FAR_FUTURE;
    }

    /// Writes ranges held beyond the gap into `sack`: first those that grew since the last report. A full report says
    /// that another follows; the last one is filled up, with room left, with what the peer is told again.
    pub(super) fn report(&mut self) {
        let next = self.next;
        self.fresh.sort_unstable_by_key(|s| s.0.wrapping_sub(next.0));
        let mut picked = [0; Sack::MAX_BLOCKS];
        let (mut count, mut used) = (0, 0);
        for seq in &self.fresh {
            let index = self.held.position(*seq);
            if count == 0 || picked.get(count - 1).is_some_and(|last| *last < index) {
                let Some(place) = picked.get_mut(count) else { break };
                *place = index;
                count += 1;
            }
            used += 1;
        }
        self.fresh.drain(..used);
        if count < Sack::MAX_BLOCKS {
            let newest = self.held.position(self.latest);
            let around = newest.saturating_sub(Sack::MAX_BLOCKS / 2);
            let again = (0..OLDEST_BLOCKS).chain(around..around + Sack::MAX_BLOCKS).filter(|i| *i < self.held.len());
            for index in again {
                if count < Sack::MAX_BLOCKS - 1 && !picked.iter().take(count).any(|i| *i == index) {
                    if let Some(place) = picked.get_mut(count) {
                        *place = index;
                    }
                    count += 1;
                }
            }
        }
        let blocks = picked.get_mut(..count).unwrap_or_default();
        blocks.sort_unstable();
        let mut sack = Sack::new(next);
        for (first, end) in blocks.iter().filter_map(|i| self.held.get(*i)) {
            sack.push(first, end);
        }
        self.sack.resize(sack.encoded_len(), 0);
        if sack.emit(&mut self.sack).is_err() {
            self.sack.clear();
        }
        self.due = !self.fresh.is_empty();
    }

    /// The peer does not understand reports.
    pub(super) fn forget_report(&mut self) {
        self.fresh.clear();
    }

    /// Packets ready, places for early ones, ranges.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize, usize) {
        (self.ready.len(), self.early.len(), self.held.len())
    }

    /// Gives back memory that an idle flow does not need.
    pub(super) fn shrink(&mut self) {
        self.ready.shrink();
        self.early.shrink_to(self.early.len());
        self.held.shrink();
        if !self.due {
            self.sack = Vec::new();
            self.fresh = Vec::new();
        }
    }
}
