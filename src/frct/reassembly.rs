//! Reassembly: packets, and messages of several fragments, in order and waiting for the application.
//!
//! Fragments stay in the buffers in which they came until the application reads, which then copies them once, to where it
//! wants them. The last message may be *open*: its last fragment has not come yet, and nothing of it can be read. It takes
//! no place in the window, because the application cannot make room; its memory counts like all other, and it is no longer
//! than this end has told the peer.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::fragments::Part;
use crate::base::backlog::Backlog;
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::time::Instant;

#[cfg(test)]
mod tests;

/// Packets and messages in order.
#[derive(Default)]
pub(super) struct Messages {
    queue: Backlog,
    /// Whole packets behind the last message in fragments.
    whole: u32,
    /// Bytes that a message may have.
    limit: u32,
    /// Messages in fragments; most flows never have any.
    parts: Option<Box<Parts>>,
}

/// Messages of several fragments.
#[derive(Default)]
struct Parts {
    /// Complete messages.
    complete: VecDeque<Fragmented>,
    /// The open message, behind the whole packets.
    open: Open,
}

/// A message of several fragments, of which the first ones may have been read.
struct Fragmented {
    /// Whole packets between the message before, or the front, and this one.
    before: u32,
    packets: u32,
    bytes: u32,
}

/// A message that is not complete.
#[derive(Default)]
struct Open {
    packets: u32,
    bytes: u32,
    /// Arrival of its latest fragment.
    at: Instant,
}

impl Messages {
    /// None yet, and none longer than `limit` bytes if it comes in fragments.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The open message, if there is one.
    #[inline]
    fn open(&self) -> Option<&Open> {
        self.parts.as_ref().map(|parts| &parts.open).filter(|open| open.packets > 0)
    }

    /// Packets that the application can read.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queue.len() - self.open().map_or(0, |open| open.packets as usize)
    }

    /// Returns `true` if nothing waits, not even a part of a message.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Memory that is held, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Returns `true` if the application can read something.
    #[inline]
    pub(super) fn can_deliver(&self) -> bool {
        self.whole > 0 || self.parts.as_ref().is_some_and(|parts| !parts.complete.is_empty())
    }

    /// Arrival of the latest fragment of the open message; `None` if there is none.
    pub(super) fn open_since(&self) -> Option<Instant> {
        self.open().map(|open| open.at)
    }

    /// The open message, if there is one, can go on only from now on.
    pub(super) fn touch_open(&mut self, now: Instant) {
        if let Some(parts) = &mut self.parts {
            parts.open.at = now;
        }
    }

    /// Returns `true` if a packet of `len` bytes, next in order, is within the bounds of a message.
    #[inline]
    pub(super) fn fits(&self, part: Part, len: usize) -> bool {
        let before = match part {
            Part::Whole => return true,
            // A first fragment drops the open message, so that does not count.
            Part::First => 0,
            Part::Middle | Part::Last => self.open().map_or(0, |open| open.bytes as usize),
        };
        before + len <= self.limit as usize
    }

    /// Takes the packet that follows in order. Returns how many were dropped, with it perhaps: their message is not complete
    /// and never will be.
    #[inline]
    pub(super) fn push(&mut self, now: Instant, part: Part, packet: PacketBuf, cache: &mut BufCache) -> u64 {
        if part != Part::Whole {
            return self.push_part(now, part, packet, cache);
        }
        // Packets are in order here: the rest of an open message does not come any more.
        let dropped = self.drop_open(cache);
        self.whole += 1;
        self.queue.push_back(packet);
        dropped
    }

    fn push_part(&mut self, now: Instant, part: Part, packet: PacketBuf, cache: &mut BufCache) -> u64 {
        let mut dropped = 0;
        if part == Part::First {
            dropped = self.drop_open(cache);
        } else if self.open().is_none() {
            cache.put(packet);
            return 1;
        }
        // What is held beyond a gap is taken without being asked about.
        if !self.fits(part, packet.len()) {
            cache.put(packet);
            return dropped + 1 + self.drop_open(cache);
        }
        // However short its fragments are: a message whose buffers took all the memory would never come to its end.
        let packet = cache.snug(packet);
        let parts = self.parts.get_or_insert_default();
        parts.open.packets += 1;
        parts.open.bytes += packet.len() as u32;
        parts.open.at = now;
        self.queue.push_back(packet);
        if part == Part::Last {
            let Open { packets, bytes, .. } = core::mem::take(&mut parts.open);
            parts.complete.push_back(Fragmented { before: core::mem::take(&mut self.whole), packets, bytes });
        }
        dropped
    }

    /// Drops the open message, if there is one; of how many packets.
    #[inline]
    pub(super) fn drop_open(&mut self, cache: &mut BufCache) -> u64 {
        let Some(parts) = &mut self.parts else { return 0 };
        let packets = core::mem::take(&mut parts.open).packets;
        for _ in 0..packets {
            if let Some(packet) = self.queue.pop_back() {
                cache.put(packet);
            }
        }
        packets.into()
    }

    /// The message at the front, if it came in fragments.
    #[inline]
    fn first(&mut self) -> Option<&mut Fragmented> {
        self.parts.as_mut()?.complete.front_mut().filter(|message| message.before == 0)
    }

    /// Forgets the message at the front, which came in fragments.
    fn forget_first(&mut self) {
        if let Some(parts) = &mut self.parts {
            parts.complete.pop_front();
        }
    }

    /// Length of the next packet or message, or of what is left of it, bytes.
    pub(super) fn next_len(&mut self) -> Option<usize> {
        if let Some(message) = self.first() {
            return Some(message.bytes as usize);
        }
        self.can_deliver().then(|| self.queue.front().map(|packet| packet.len()))?
    }

    /// Takes a whole packet from the front.
    fn pop_whole(&mut self) -> Option<PacketBuf> {
        match self.parts.as_mut().and_then(|parts| parts.complete.front_mut()) {
            Some(message) => message.before = message.before.checked_sub(1)?,
            None => self.whole = self.whole.checked_sub(1)?,
        }
        self.queue.pop_front()
    }

    /// The next packet or message, or what is left of it, in one piece.
    pub(super) fn deliver(&mut self, cache: &mut BufCache) -> Option<PacketBuf> {
        let Some(&mut Fragmented { packets, bytes, .. }) = self.first() else { return self.pop_whole() };
        self.forget_first();
        let mut whole = PacketBuf::with_capacity(bytes as usize);
        for _ in 0..packets {
            let Some(packet) = self.queue.pop_front() else { break };
            // The capacity was just made for all of them.
            let _ = whole.extend_from_slice(&packet);
            cache.put(packet);
        }
        Some(whole)
    }

    /// Copies the next packet or message, or as much of it as fits, to `buf`. Says how much that was, and whether that was
    /// the end of it.
    pub(super) fn read(&mut self, buf: &mut [u8], cache: &mut BufCache) -> Option<(usize, bool)> {
        let size = self.next_len()?;
        if self.first().is_some() {
            let n = self.read_fragments(buf, cache);
            return Some((n, n == size));
        }
        let (n, over) = self.copy_front(buf)?;
        if over {
            cache.put(self.pop_whole()?);
        }
        Some((n, over))
    }

    /// Copies of the packet at the front what fits, and removes that, unless it is all.
    fn copy_front(&mut self, buf: &mut [u8]) -> Option<(usize, bool)> {
        let packet = self.queue.front()?;
        let n = packet.len().min(buf.len());
        buf.get_mut(..n)?.copy_from_slice(packet.get(..n)?);
        let over = n == packet.len();
        if !over {
            self.queue.pull_front(n);
        }
        Some((n, over))
    }

    fn read_fragments(&mut self, buf: &mut [u8], cache: &mut BufCache) -> usize {
        let mut n = 0;
        while let Some((copied, over)) = buf.get_mut(n..).and_then(|room| self.copy_front(room)) {
            n += copied;
            if let Some(packet) = over.then(|| self.queue.pop_front()).flatten() {
                cache.put(packet);
            }
            let Some(message) = self.first() else { break };
            // A packet counts as read with its last byte only: what is left of it stays at the front.
            message.bytes -= copied as u32;
            message.packets -= u32::from(over);
            if message.packets == 0 {
                self.forget_first();
                break;
            }
            if !over {
                break;
            }
        }
        n
    }

    /// Gives back memory that an idle flow does not need.
    pub(super) fn shrink(&mut self) {
        self.queue.shrink();
        self.parts = self.parts.take().filter(|parts| parts.open.packets > 0 || !parts.complete.is_empty());
    }
}
