//! The retransmissions that are due.

use crate::base::lazy_queue::LazyQueue;
use crate::base::seq::Seq;
use crate::base::time::Instant;
use crate::frct::Params;
use crate::frct::segment::State;
use crate::frct::tx::Sender;

/// Packets that are to be sent again, and those that were.
#[derive(Default)]
pub(in crate::frct) struct Repairs {
    /// Numbers to retransmit.
    pub(in crate::frct) lost: LazyQueue<Seq>,
    /// Those retransmitted, in the order of time.
    pub(in crate::frct) resent: LazyQueue<(Seq, Instant)>,
    /// Packets that wait for their retransmission.
    pub(in crate::frct) lost_count: u32,
    /// The first retransmission of a recovery ignores the congestion window.
    pub(in crate::frct) forced: bool,
}

impl Repairs {
    /// Nothing is to be sent again.
    pub(in crate::frct) fn clear(&mut self) {
        self.lost.clear();
        self.resent.clear();
        self.lost_count = 0;
        self.forced = false;
    }

    /// Gives back memory that an idle flow does not need.
    pub(in crate::frct) fn shrink(&mut self) {
        self.lost.shrink();
        self.resent.shrink();
    }
}

impl Sender {
    /// The next packet to retransmit, if window and rate let it go.
    pub(in crate::frct) fn pick_lost(&mut self, now: Instant, p: &Params) -> Option<Seq> {
        while let Some(&seq) = self.repairs.lost.front() {
            let waits = !seq.before(self.edge) && self.segment(seq).is_some_and(|s| s.state.has(State::LOST));
            // It has arrived meanwhile, or was sent again as a probe.
            if !waits {
                self.repairs.lost.pop_front();
                continue;
            }
            // Repairs come before new data, but take their place in window and rate like these.
            if !core::mem::take(&mut self.repairs.forced) && !self.may_send(now, seq) {
                return None;
            }
            self.repairs.lost.pop_front();
            self.send_again(now, p, seq);
            return Some(seq);
        }
        None
    }

    pub(super) fn send_again(&mut self, now: Instant, p: &Params, seq: Seq) {
        if let Some(segment) = self.segment(seq) {
            let was_lost = segment.state.has(State::LOST);
            segment.state.clear(State::LOST);
            segment.state.set(State::RESENT);
            self.repairs.lost_count -= u32::from(was_lost);
        }
        self.note_resent(now, p, seq);
        self.launch(now, seq);
        // With its time: an entry whose packet was sent once more since is told by it, and passed over.
        self.repairs.resent.push_back((seq, now));
        self.start_rto(now, p);
    }
}
