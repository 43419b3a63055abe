//! The end of what is sent.

use super::Sender;
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::time::Instant;
use crate::frct::Params;
use crate::frct::end::Ending;
use crate::frct::fragments::Part;
use crate::frct::ranges::Ranges;
use crate::frct::recovery::TimeoutProbe;
use crate::frct::segment::{Segment, State};

impl Sender {
    /// Packets of user data in the queue.
    pub(in crate::frct) fn unacked(&self) -> usize {
        // The end was said twice at most.
        let ends = self.queue.iter().rev().take(2).filter(|s| s.state.has(State::END)).count();
        self.queue.len() - ends
    }

    /// Queues the end of the stream.
    pub(in crate::frct) fn push_end(&mut self, now: Instant, p: &Params, ending: Ending) {
        self.push(now, p, PacketBuf::copy_of(&[ending.to_byte()]), Part::Whole);
        if let Some(last) = self.queue.back_mut() {
            last.state.set(State::END);
        }
    }

    /// Forgets everything that was not acknowledged, because nobody is left to read it, and returns how many packets of
    /// user data that were.
    pub(in crate::frct) fn abandon(&mut self, cache: &mut BufCache) -> usize {
        // An end that has arrived is no data that has.
        let arrived = |s: &&Segment| s.state.has(State::SACKED) && !s.state.has(State::END);
        let lost = self.unacked().saturating_sub(self.queue.iter().filter(arrived).count());
        for packet in self.queue.drain(..).filter_map(|s| s.packet) {
            cache.put(packet);
        }
        // Acknowledgements that are still on their way are then old ones, and do nothing.
        self.edge = self.next;
        self.sacked = Ranges::default();
        self.sacked_count = 0;
        self.repairs.clear();
        self.probe = TimeoutProbe::default();
        self.flight = 0;
        self.queued = 0;
        self.episode = None;
        self.rate.pacer.idle();
        self.evidence.scan = self.next;
        self.evidence.highest = self.next;
        self.timer.at = Instant::FAR_FUTURE;
        self.evidence.reorder_at = Instant::FAR_FUTURE;
        self.asking.stop();
        self.pmtu = None;
        lost
    }
}
