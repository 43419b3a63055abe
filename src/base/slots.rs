//! The table through which packets find their flow: looked up by many threads, without a lock that all share.
//!
//! ```
//! use std::sync::Arc;
//! use o7s::base::slots::SlotTable;
//!
//! let flows: SlotTable<Arc<str>> = SlotTable::new(1000);
//! // The random bits make the id of a later flow in the same slot a different one.
//! let eid = flows.insert_with(0x1234_5678, |eid| format!("flow {eid}").into()).unwrap();
//! assert_eq!(flows.get(eid).as_deref(), Some(&*format!("flow {eid}")));
//! assert!(flows.get(eid ^ 0x0010_0000).is_none(), "the whole id must be right");
//! flows.remove(eid);
//! assert!(flows.get(eid).is_none());
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use spin::Once;

use super::sync::{Mutex, RwLock};

/// Slots that are allocated together.
const CHUNK: usize = 64;
/// A freed slot is left alone until so many others were freed after it, unless no other is left.
const QUARANTINE: usize = 64;
/// The greatest limit of a table. It leaves seven random bits in an id.
const MAX_SLOTS: usize = 1 << 24;
/// Ids are positive as signed numbers: some peers keep them in one.
const ID_MASK: u32 = 0x7fff_ffff;
/// As the bits above are never all 0, ids are at least 64: smaller ones belong to the components of a layer.
const MIN_INDEX_BITS: u32 = 6;

type Chunk<T> = Box<[Slot<T>]>;

/// On a cache line of its own, so that threads with different flows do not slow each other down.
#[repr(align(64))]
struct Slot<T>(RwLock<Content<T>>);

struct Content<T> {
    /// Of the occupant; of the last one, if the slot is free; 0 at first.
    id: u32,
    value: Option<T>,
}

/// Which slots are free.
struct Free {
    /// Slots from here to the limit were never used.
    fresh: u32,
    /// Slots to use again, the longest free first.
    freed: VecDeque<u32>,
    len: usize,
}

/// A bounded table from 31-bit ids to `T`, normally an `Arc`.
///
/// An id is the number of a slot below random bits, so that a packet for a flow that is gone, or made up by somebody,
/// is unlikely to find another one. Ids are 64 to 0x7fff_ffff, and never the one that the slot had before. All methods
/// may be called from any thread; a lookup locks the one slot it looks into.
pub struct SlotTable<T> {
    chunks: Box<[Once<Chunk<T>>]>,
    free: Mutex<Free>,
    limit: u32,
    index_bits: u32,
}

impl<T: Clone> SlotTable<T> {
    /// An empty table for at most `limit` entries; 1 and 2²⁴ are the bounds. Takes 64 bytes a slot, in chunks of 64 as
    /// they are needed.
    pub fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, MAX_SLOTS);
        Self {
            chunks: (0..limit.div_ceil(CHUNK)).map(|_| Once::new()).collect(),
            free: Mutex::new(Free { fresh: 0, freed: VecDeque::new(), len: 0 }),
            limit: limit as u32,
            index_bits: limit.next_power_of_two().trailing_zeros().max(MIN_INDEX_BITS),
        }
    }

    /// Entries in the table.
    pub fn len(&self) -> usize {
        self.free.lock().len
    }

    /// Whether the table has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries at the moment, in the order of their slots. For those who look, not for the data path.
    pub fn values(&self) -> Vec<T> {
        let fresh = self.free.lock().fresh as usize;
        let chunks = self.chunks.iter().filter_map(Once::get).flat_map(|chunk| chunk.iter());
        chunks.take(fresh).filter_map(|slot| slot.0.read().value.clone()).collect()
    }

    /// The most entries that the table takes.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Inserts what `f` makes of the new id and returns the id; `None`, and `f` is not called, if the table is full.
    ///
    /// The id is made of as many of the `random` bits as there is room for. No lock is held while `f` runs. Slots are
    /// used again in the order in which they became free, and not soon.
    pub fn insert_with(&self, random: u32, f: impl FnOnce(u32) -> T) -> Option<u32> {
        let index = self.claim()?;
        let Some(slot) = self.slot_or_new(index) else {
            self.release(index);
            return None;
        };
        let last = slot.0.read().id >> self.index_bits;
        let mask = ID_MASK >> self.index_bits;
        let mut upper = random & mask;
        while upper == 0 || upper == last {
            upper = (upper + 1) & mask;
        }
        let id = upper << self.index_bits | index;
        let value = f(id);
        *slot.0.write() = Content { id, value: Some(value) };
        Some(id)
    }

    /// The entry with this id.
    pub fn get(&self, id: u32) -> Option<T> {
        let content = self.slot(id & self.index_mask())?.0.read();
        if content.id == id { content.value.clone() } else { None }
    }

    /// Removes the entry with this id.
    pub fn remove(&self, id: u32) -> Option<T> {
        let index = id & self.index_mask();
        let value = {
            let mut content = self.slot(index)?.0.write();
            if content.id != id {
                return None;
            }
            content.value.take()?
        };
        self.release(index);
        Some(value)
    }

    /// All entries at about this time, in the order of their slots.
    pub fn entries(&self) -> Vec<(u32, T)> {
        let slots = self.chunks.iter().filter_map(Once::get).flatten();
        slots
            .filter_map(|slot| {
                let content = slot.0.read();
                content.value.clone().map(|value| (content.id, value))
            })
            .collect()
    }

    fn index_mask(&self) -> u32 {
        (1 << self.index_bits) - 1
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        self.chunks.get(index as usize / CHUNK)?.get()?.get(index as usize % CHUNK)
    }

    fn slot_or_new(&self, index: u32) -> Option<&Slot<T>> {
        let empty = || Slot(RwLock::new(Content { id: 0, value: None }));
        let chunk = self.chunks.get(index as usize / CHUNK)?.call_once(|| (0..CHUNK).map(|_| empty()).collect());
        chunk.get(index as usize % CHUNK)
    }

    fn claim(&self) -> Option<u32> {
        let mut free = self.free.lock();
        let index = if free.fresh < self.limit && free.freed.len() <= QUARANTINE {
            free.fresh += 1;
            free.fresh - 1
        } else {
            free.freed.pop_front()?
        };
        free.len += 1;
        Some(index)
    }

    fn release(&self, index: u32) {
        let mut free = self.free.lock();
        free.len -= 1;
        free.freed.push_back(index);
    }
}

impl<T> fmt::Debug for SlotTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotTable({} of {})", self.free.lock().len, self.limit)
    }
}

#[cfg(test)]
mod tests;
