//! A timer queue: what is due first, cheaply, with a hundred thousand entries armed and most of them cancelled.
//!
//! The queue does not run anything. Its owner asks for the [`next`](Timers::next) deadline, waits as it likes, and
//! takes out what is due.
//!
//! ```
//! use core::time::Duration;
//! use o7s::base::time::Instant;
//! use o7s::base::timers::Timers;
//!
//! let now = Instant::ZERO;
//! let mut timers = Timers::new();
//! let retransmit = timers.arm(now + Duration::from_millis(250), "retransmit");
//! timers.arm(now + Duration::from_secs(30), "keepalive");
//!
//! // The acknowledgement came.
//! assert!(timers.cancel(retransmit));
//! let deadline = timers.next().unwrap();
//! assert_eq!(timers.pop_due(now), None);
//! assert_eq!(timers.pop_due(deadline), Some((deadline, "keepalive")));
//! assert_eq!(timers.next(), None);
//! ```

use alloc::vec::Vec;

use super::time::Instant;

/// Children of a node of the heap. Four make it half as deep as two, and lie next to each other.
const ARITY: usize = 4;

/// Entries for which an empty queue keeps memory.
const KEPT: usize = 64;

/// Names an armed entry of a [`Timers`]. Never used twice, so one that has fired or was cancelled does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    serial: u64,
}

/// An armed entry in the heap. Compares by deadline, then by when it was armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    serial: u64,
    slot: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot<K> {
    /// Serial of the armed entry; 0 if the slot is free.
    serial: u64,
    /// Place of the entry in the heap; the next free slot, if the slot is free.
    place: u32,
    key: K,
}

/// No slot.
const NIL: u32 = u32::MAX;

/// Deadlines with a key each. Entries for the same moment come out in the order in which they were armed.
///
/// Arming, cancelling and taking out are O(log n); [`next`](Self::next) is O(1). A cancelled entry is gone at once, so
/// memory is bounded by the most that were armed since the queue was last empty. There is no limit of its own: its
/// users have one.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    /// A heap: no entry is greater than its children.
    heap: Vec<Entry>,
    slots: Vec<Slot<K>>,
    free: u32,
    last_serial: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { heap: Vec::new(), slots: Vec::new(), free: NIL, last_serial: 0 }
    }
}

impl<K: Copy> Timers<K> {
    /// A queue with nothing armed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Entries that are armed.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Returns `true` if nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.heap.first().map(|e| e.at)
    }

    /// Arms an entry. Nothing prevents several with the same key.
    pub fn arm(&mut self, at: Instant, key: K) -> TimerId {
        self.last_serial += 1;
        let serial = self.last_serial;
        let slot = match self.slots.get_mut(self.free as usize) {
            Some(slot) => {
                let number = self.free;
                self.free = slot.place;
                *slot = Slot { serial, place: 0, key };
                number
            }
            None => {
                self.slots.push(Slot { serial, place: 0, key });
                (self.slots.len() - 1) as u32
            }
        };
        let entry = Entry { at, serial, slot };
        self.heap.push(entry);
        self.rise(self.heap.len() - 1, entry);
        TimerId { slot, serial }
    }

    /// Disarms an entry. `false` if it is not armed any more.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        match self.slots.get(id.slot as usize) {
            Some(slot) if slot.serial == id.serial => self.remove(slot.place as usize).is_some(),
            _ => false,
        }
    }

    /// Takes out the earliest entry, if its deadline is not after `now`, and returns the deadline and the key.
    ///
    /// Timers armed between two calls are taken into account: a caller that re-arms for a moment that has passed must
    /// bound the number of calls.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.remove(0)
    }

    /// Removes the entry at a place of the heap and frees its slot.
    fn remove(&mut self, place: usize) -> Option<(Instant, K)> {
        let removed = *self.heap.get(place)?;
        let last = self.heap.pop()?;
        if place < self.heap.len() {
            // The last entry fills the gap, and may belong above it or below it.
            let above = place.checked_sub(1).and_then(|p| self.heap.get(p / ARITY));
            if above.is_some_and(|parent| last < *parent) {
                self.rise(place, last);
            } else {
                self.sink(place, last);
            }
        }
        let slot = self.slots.get_mut(removed.slot as usize)?;
        let key = slot.key;
        slot.serial = 0;
        slot.place = self.free;
        self.free = removed.slot;
        if self.heap.is_empty() {
            self.free = NIL;
            self.slots.clear();
            self.slots.shrink_to(KEPT);
            self.heap.shrink_to(KEPT);
        }
        Some((removed.at, key))
    }

    fn put(&mut self, place: usize, entry: Entry) {
        if let Some(e) = self.heap.get_mut(place) {
            *e = entry;
        }
        if let Some(slot) = self.slots.get_mut(entry.slot as usize) {
            slot.place = place as u32;
        }
    }

    /// Puts an entry where it belongs at or above `place`.
    fn rise(&mut self, mut place: usize, entry: Entry) {
        while place > 0 {
            let above = (place - 1) / ARITY;
            match self.heap.get(above) {
                Some(&parent) if entry < parent => self.put(place, parent),
                _ => break,
            }
            place = above;
        }
        self.put(place, entry);
    }

    /// Puts an entry where it belongs at or below `place`.
    fn sink(&mut self, mut place: usize, entry: Entry) {
        loop {
            let first = place * ARITY + 1;
            let children = self.heap.get(first..self.heap.len().min(first + ARITY)).unwrap_or_default();
            match (first..).zip(children).min_by_key(|&(_, child)| child) {
                Some((below, &child)) if child < entry => {
                    self.put(place, child);
                    place = below;
                }
                _ => break,
            }
        }
        self.put(place, entry);
    }
}

#[cfg(test)]
mod tests;
