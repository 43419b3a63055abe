//! Packets that come in pieces.

use alloc::boxed::Box;

use super::{Kind, Memory, Receiver};
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::seq::Seq;
use crate::base::time::{Instant, MaybeInstant};
use crate::frct::Params;
use crate::frct::counters::Counters;
use crate::frct::pieces::{PieceOf, Pieces};

impl Receiver {
    /// A piece of a packet of a reliable flow, header removed. The packet is taken as any other as soon as it is complete.
    pub(in crate::frct) fn on_piece(
        &mut self,
        now: Instant,
        p: &Params,
        (piece, packet): (PieceOf, PacketBuf),
        stats: &mut Counters,
        cache: &mut BufCache,
    ) {
        let seq = piece.seq;
        let kind = Kind::Data(piece.part);
        if !self.takes_piece(p, seq, kind, piece.total as usize) {
            // If it is held beyond the gap already, the sender is told by the same report.
            self.refuse(now, p, seq, stats);
            cache.put(packet);
            return;
        }
        // The peer's run goes on, whatever becomes of the packet.
        self.heard = MaybeInstant::at(now);
        let pieces = self.pieces.get_or_insert_with(Box::<Pieces>::default);
        let whole = pieces.insert(self.next, piece, &packet);
        cache.put(packet);
        if let Some(whole) = whole {
            self.on_reliable(now, p, seq, (kind, whole), stats, cache);
        }
    }

    /// Returns `true` if the packet would be taken, were it complete.
    fn takes_piece(&self, p: &Params, seq: Seq, kind: Kind, total: usize) -> bool {
        let ahead = seq - self.next;
        match usize::try_from(ahead) {
            Ok(0) => self.has_place_for(kind, total),
            Ok(_) => {
                let place = self.place_of(seq);
                place.is_err_and(|place| self.has_room_at(place))
                    && seq.before(self.limit(p))
                    && self.memory < Memory::Tight
            }
            Err(_) => false,
        }
    }

    /// Forgets the pieces of packets that have come.
    pub(super) fn drop_passed_pieces(&mut self) {
        let Some(pieces) = &mut self.pieces else { return };
        pieces.drop_before(self.next);
        if pieces.is_empty() {
            self.pieces = None;
        }
    }
}
