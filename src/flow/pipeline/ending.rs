//! The end of a flow: notices of this end and of the other.

use alloc::collections::VecDeque;

use super::Pipeline;
use crate::base::buf::PacketBuf;
use crate::base::time::Instant;
use crate::flow::notice;
use crate::frct::Ending;

impl Pipeline {
    /// The application goes: it writes no more, reads no more either, or gives the flow up. Returns packets that it has
    /// not read and that are dropped now.
    pub(in crate::flow) fn end(&mut self, now: Instant, ending: Ending) -> VecDeque<PacketBuf> {
        match (&mut self.frct, ending) {
            (Some(frct), Ending::Writing) => frct.finish(now),
            (Some(frct), Ending::Closed) => frct.close(now),
            (Some(frct), Ending::Aborted) => frct.abort(now, &mut self.cache),
            (None, _) => {
                if let Some(farewell) = &mut self.farewell {
                    farewell.say(now, ending);
                }
            }
        }
        // A half-closed end goes on reading.
        if ending == Ending::Writing { VecDeque::new() } else { self.leave() }
    }

    /// The application goes, and nobody is left afterwards to repeat anything, not even what was said before. Closed if that
    /// is `orderly` and nothing that was written is lost, else aborted. Returns packets that it has not read.
    pub(in crate::flow) fn end_now(&mut self, now: Instant, orderly: bool) -> VecDeque<PacketBuf> {
        match (&mut self.frct, &mut self.farewell) {
            (Some(frct), _) => frct.leave(now, orderly, &mut self.cache),
            (None, Some(farewell)) => {
                farewell.say(now, if orderly { Ending::Closed } else { Ending::Aborted });
                farewell.hasten(now);
            }
            (None, None) => {}
        }
        self.leave()
    }

    /// The application goes, and the layer below tells the peer. Returns packets that it has not read.
    pub(in crate::flow) fn leave(&mut self) -> VecDeque<PacketBuf> {
        self.deaf = true;
        let unread = self.ready.take();
        self.settle_charge();
        unread
    }

    /// Looks for a notice of the peer's end in the last packets, which the application will not read.
    pub(in crate::flow) fn heed_last_words(&mut self, now: Instant, unread: &mut VecDeque<PacketBuf>) {
        let notice = notice::LEN + self.overhead();
        if self.farewell.is_none() {
            return;
        }
        for pkt in unread.split_off(unread.len().saturating_sub(LAST_WORDS)) {
            // Told by its length, so that all others need not be decrypted.
            if pkt.len() == notice {
                self.handle_packet(now, pkt);
            } else {
                unread.push_back(pkt);
            }
        }
    }

    /// Forgets FRCT and what waits in it: the flow is over.
    pub(in crate::flow) fn forget(&mut self) {
        self.frct = None;
        self.partial = None;
        self.settle_charge();
    }

    /// Returns `true` if the peer is told how this end goes, and tells in turn.
    pub(in crate::flow) fn tells(&self) -> bool {
        self.tells
    }

    /// The ending that the peer has told; where there is an order, behind everything before it.
    pub(in crate::flow) fn peer_ending(&self) -> Option<Ending> {
        match &self.frct {
            Some(frct) => frct.peer_ending(),
            None => self.farewell.as_ref().and_then(|f| f.heard),
        }
    }

    /// Returns `true` if all written data and notices have been dealt with.
    pub(in crate::flow) fn is_drained(&self) -> bool {
        match &self.frct {
            Some(frct) => frct.is_drained(),
            None => self.farewell.as_ref().is_none_or(|f| f.is_over()),
        }
    }
}

/// Packets among which a notice is looked for when this end goes: the peer sends nothing behind it but the same again,
/// and the layer below may change the order a little. What more there is is not worth the time that decryption takes.
const LAST_WORDS: usize = 8;
