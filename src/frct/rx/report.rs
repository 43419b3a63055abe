//! Reports of the receiving half on packets beyond a gap.

use super::Receiver;
use crate::wire::frct::Sack;

/// Oldest ranges that a report tells again, if it has room.
const OLDEST_BLOCKS: usize = 8;

impl Receiver {
    /// Writes ranges held beyond the gap into `sack`: first those that grew since the last report. A full report says
    /// that another follows; the last one is filled up, with room left, with what the peer is told again.
    pub(in crate::frct) fn report(&mut self) {
        let next = self.next;
        // From `next` upwards: the numbers of one range then follow each other, and each range is picked once.
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
        // Reports get lost, so the oldest ranges and those around the newest arrival are told again. Never so many that the
        // report is full: the peer takes a full one for the first of several.
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
        // What found no room follows at once, in a report of its own.
        self.due = !self.fresh.is_empty();
    }

    /// The peer does not understand reports.
    pub(in crate::frct) fn forget_report(&mut self) {
        self.fresh.clear();
    }
}
