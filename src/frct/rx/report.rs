//! Reports of the receiving half on packets beyond a gap.

use alloc::vec::Vec;

use super::Receiver;
use crate::base::seq::Seq;
use crate::wire::frct::Sack;

/// Oldest ranges that a report tells again, if it has room.
const OLDEST_BLOCKS: usize = 8;
/// Arrivals remembered for the next report.
const FRESH_MAX: usize = 1024;

/// What the peer is told of packets beyond a gap.
#[derive(Default)]
pub(super) struct Reports {
    /// The number that arrived last.
    latest: Seq,
    /// Those that arrived since they were last reported.
    fresh: Vec<Seq>,
    /// Payload of the next control packet.
    sack: Vec<u8>,
}

impl Reports {
    /// A packet has arrived.
    pub(super) fn note(&mut self, seq: Seq) {
        self.latest = seq;
        if self.fresh.len() < FRESH_MAX {
            self.fresh.push(seq);
        }
    }
}

impl Receiver {
    /// Makes the report, of ranges held beyond the gap: first those that grew since the last report. A full report says
    /// that another follows; the last one is filled up, with room left, with what the peer is told again.
    pub(in crate::frct) fn report(&mut self) {
        let (next, held) = (self.next, &self.held);
        let Some(Reports { latest, fresh, sack: payload }) = self.reports.as_deref_mut() else { return };
        // From `next` upwards: the numbers of one range then follow each other, and each range is picked once.
        fresh.sort_unstable_by_key(|s| s.0.wrapping_sub(next.0));
        let mut picked = [0; Sack::MAX_BLOCKS];
        let (mut count, mut used) = (0, 0);
        for seq in &*fresh {
            let index = held.position(*seq);
            if count == 0 || picked.get(count - 1).is_some_and(|last| *last < index) {
                let Some(place) = picked.get_mut(count) else { break };
                *place = index;
                count += 1;
            }
            used += 1;
        }
        fresh.drain(..used);
        // Reports get lost, so the oldest ranges and those around the newest arrival are told again. Never so many that the
        // report is full: the peer takes a full one for the first of several.
        if count < Sack::MAX_BLOCKS {
            let newest = held.position(*latest);
            let around = newest.saturating_sub(Sack::MAX_BLOCKS / 2);
            let again = (0..OLDEST_BLOCKS).chain(around..around + Sack::MAX_BLOCKS).filter(|i| *i < held.len());
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
        for (first, end) in blocks.iter().filter_map(|i| held.get(*i)) {
            sack.push(first, end);
        }
        payload.resize(sack.encoded_len(), 0);
        if sack.emit(payload).is_err() {
            payload.clear();
        }
        // What found no room follows at once, in a report of its own.
        self.due = !fresh.is_empty();
    }

    /// There is nothing to report, or the peer does not understand it.
    pub(in crate::frct) fn forget_report(&mut self) {
        if let Some(reports) = &mut self.reports {
            reports.fresh.clear();
            reports.sack.clear();
        }
    }

    /// The report that was made last.
    pub(in crate::frct) fn sack(&self) -> &[u8] {
        self.reports.as_deref().map(|reports| reports.sack.as_slice()).unwrap_or_default()
    }
}
