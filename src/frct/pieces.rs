//! Numbered packets that come in pieces, because they are too large for the path: see
//! [the wire page](crate::wire::frct#pieces-and-path-probes).
//!
//! A piece costs no more memory than it has brought, whatever it says about its packet. All of it is bounded, in packets and
//! in bytes, and packets that come later in the stream make room for those that come sooner.

use alloc::vec::Vec;

use super::fragments::Part;
use crate::base::buf::PacketBuf;
use crate::base::seq::Seq;

#[cfg(test)]
mod tests;

/// Least length of a piece that is not the last, and greatest of a packet, bytes of data.
pub(super) const PIECE_MIN: usize = 64;
const TOTAL_MAX: usize = 1 << 16;
/// Packets that are incomplete at a time, and the memory that they hold, bytes. The sender cuts only what has its number when
/// the path becomes narrower, and sends the pieces of a packet together: only losses leave packets incomplete.
const OPEN_MAX: usize = 64;
const BYTES_MAX: usize = 256 << 10;

/// What the header says about a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceOf {
    pub(super) seq: Seq,
    /// Which part of a message its packet is.
    pub(super) part: Part,
    /// Where it lies in the packet's data, and the length of that, bytes.
    pub(super) offset: u32,
    pub(super) total: u32,
}

/// Returns `true` if there can be a piece of `len` bytes there.
pub(super) fn is_sound(offset: u32, total: u32, len: usize) -> bool {
    let (offset, total) = (offset as usize, total as usize);
    let end = offset.saturating_add(len);
    // All but the last are of one length.
    let whole = if end == total { len > 0 } else { len >= PIECE_MIN && offset.is_multiple_of(len) };
    whole && end <= total && total <= TOTAL_MAX && len < total
}

/// Packets of which some pieces have come.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// In the order of their numbers.
    open: Vec<Open>,
    /// Memory that they hold, bytes.
    bytes: usize,
}

/// A packet that is not complete.
#[derive(Debug)]
struct Open {
    seq: Seq,
    total: u32,
    part: Part,
    /// Bytes of data that have come.
    have: u32,
    /// Where each piece lies, in that order; none of them overlap.
    pieces: Vec<(u32, PacketBuf)>,
}

impl Open {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.pieces.iter().map(|(_, packet)| cost(packet)).sum::<usize>()
    }

    /// Returns `true` if a piece is from another cut than those that are here, or contradicts them.
    fn contradicts(&self, of: PieceOf, len: u32) -> bool {
        let is_last = |at: u32, len: u32| at + len == self.total;
        let here = || self.pieces.iter().map(|(at, packet)| (*at, packet.len() as u32));
        // The length of those that are not the last, as far as one of them is known.
        let cut = here().chain([(of.offset, len)]).find(|(at, len)| !is_last(*at, *len)).map(|(_, len)| len);
        let fits = |(at, len): (u32, u32)| {
            cut.is_none_or(|cut| at.is_multiple_of(cut) && if is_last(at, len) { len <= cut } else { len == cut })
        };
        // Of two last pieces, which differ in their lengths, one is from another cut.
        let same = |(at, other): (u32, u32)| {
            if at == of.offset { other == len } else { !(is_last(at, other) && is_last(of.offset, len)) }
        };
        self.total != of.total || self.part != of.part || !fits((of.offset, len)) || !here().all(|p| fits(p) && same(p))
    }

    /// All the data, in one packet, if the pieces follow each other from its beginning to its end.
    fn whole(&self) -> Option<PacketBuf> {
        let mut whole = PacketBuf::with_capacity(self.total as usize);
        for (at, packet) in &self.pieces {
            if *at as usize != whole.len() {
                return None;
            }
            whole.extend_from_slice(packet)?;
        }
        (whole.len() == self.total as usize).then_some(whole)
    }
}

/// Memory that a piece holds, with its place in the list, bytes.
fn cost(packet: &PacketBuf) -> usize {
    size_of::<(u32, PacketBuf)>() - size_of::<PacketBuf>() + packet.memory()
}

impl Pieces {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Memory that is held, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a [sound](is_sound) piece of a packet, not before `next`. Returns the packet if it is complete.
    pub(super) fn insert(&mut self, next: Seq, of: PieceOf, data: &[u8]) -> Option<PacketBuf> {
        let (seq, len) = (of.seq, data.len() as u32);
        let mut at = self.open.partition_point(|open| open.seq.before(seq));
        if let Some(open) = self.open.get(at).filter(|open| open.seq == seq) {
            // The sender cuts anew each time it sends the packet: what came later counts.
            if open.contradicts(of, len) {
                self.remove(at);
            } else if open.pieces.iter().any(|(place, _)| *place == of.offset) {
                return None;
            }
        }
        // In a buffer of its own length; the one in which it came may be many times as large.
        let packet = PacketBuf::snug_of(data);
        let fresh = self.open.get(at).is_none_or(|open| open.seq != seq);
        let more = cost(&packet) + if fresh { size_of::<Open>() } else { 0 };
        if !self.make_room(next, seq, fresh, more) {
            return None;
        }
        if fresh {
            at = self.open.partition_point(|open| open.seq.before(seq));
            self.open.insert(at, Open { seq, total: of.total, part: of.part, have: 0, pieces: Vec::new() });
        }
        let open = self.open.get_mut(at)?;
        let place = open.pieces.partition_point(|(place, _)| *place < of.offset);
        open.pieces.insert(place, (of.offset, packet));
        open.have += len;
        self.bytes += more;
        if open.have < open.total {
            return None;
        }
        // So many bytes are not all of them yet: that the pieces follow each other is looked at here.
        let whole = open.whole();
        self.remove(at);
        whole
    }

    /// Makes room for `more` bytes of the packet `seq`, at the cost of later ones. `false` if there is none.
    fn make_room(&mut self, next: Seq, seq: Seq, fresh: bool, more: usize) -> bool {
        while self.bytes + more > BYTES_MAX || (fresh && self.open.len() >= OPEN_MAX) {
            let last = self.open.len().checked_sub(1);
            // By the distance from the next one, for the numbers wrap.
            let later = |open: &Open| open.seq - next > seq - next;
            let Some(last) = last.filter(|last| self.open.get(*last).is_some_and(later)) else { return false };
            self.remove(last);
        }
        true
    }

    fn remove(&mut self, at: usize) {
        if at < self.open.len() {
            let open = self.open.remove(at);
            self.bytes = self.bytes.saturating_sub(open.bytes());
        }
    }

    /// Forgets packets before `next`: they have come.
    pub(super) fn drop_before(&mut self, next: Seq) {
        while self.open.first().is_some_and(|open| open.seq.before(next)) {
            self.remove(0);
        }
    }
}
