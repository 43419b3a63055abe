//! The table through which packets find their flow, by random numbers: looked up by many threads, without a lock that
//! all share.
//!
//! ```
//! use std::sync::Arc;
//! use o7s::base::ids::IdTable;
//! use o7s::base::rng::Rng;
//!
//! let mut rng = Rng::from_seed([1; 32]);
//! let flows: IdTable<Arc<str>> = IdTable::new(1000);
//! let eid = flows.insert_with(|| rng.u64(), |eid| format!("flow {eid}").into()).unwrap();
//! assert_eq!(flows.get(eid).as_deref(), Some(&*format!("flow {eid}")));
//! assert!(flows.get(eid ^ 1).is_none(), "the whole id must be right");
//! flows.remove(eid);
//! assert!(flows.get(eid).is_none());
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{BuildHasherDefault, Hasher};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hashbrown::HashMap;

use super::sync::{Once, RwLock};

/// Parts of a table that have a lock of their own.
const SHARDS: usize = 64;
/// Draws before a table gives up. With fewer entries than half of the numbers that may be drawn the chance of so many
/// misses is 2⁻⁶⁴.
const DRAWS: usize = 64;

/// Spreads ids. They are drawn at random, so that none can be chosen from outside to collide.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = spread(id);
    }
}

/// Multiplies by the golden ratio (Knuth, "The Art of Computer Programming", volume 3, 6.4), folded so that low bits
/// depend on all.
fn spread(id: u64) -> u64 {
    let h = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^ (h >> 32)
}

/// Entries without a value are ids that have been given out to an insertion under way.
type Map<T> = HashMap<u64, Option<T>, BuildHasherDefault<Spread>>;

/// On a cache line of its own, so that threads with different flows seldom slow each other down.
#[repr(align(64))]
struct Shard<T>(RwLock<Map<T>>);

/// A bounded table from ids, drawn at random, to `T`, normally an `Arc`.
///
/// An id says nothing of where its entry is, so every bit of it can be random: to hit an entry without having been
/// told, all of them have to be guessed. All methods may be called from any thread; a lookup locks one of 64 parts.
pub struct IdTable<T> {
    /// Made for the first entry: many tables never have one.
    shards: Once<Box<[Shard<T>]>>,
    len: AtomicUsize,
    limit: usize,
    closed: AtomicBool,
}

impl<T: Clone> IdTable<T> {
    /// An empty table for at most `limit` entries, at least one.
    pub fn new(limit: usize) -> Self {
        Self { shards: Once::new(), len: AtomicUsize::new(0), limit: limit.max(1), closed: AtomicBool::new(false) }
    }

    /// Entries in the table.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Returns `true` if the table takes another entry.
    pub fn has_room(&self) -> bool {
        self.len() < self.limit
    }

    /// Returns `true` if the table has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, id: u64) -> Option<&RwLock<Map<T>>> {
        // Other bits than those by which a map chooses a place.
        let at = (spread(id) >> 40) as usize % SHARDS;
        self.shards.get()?.get(at).map(|s| &s.0)
    }

    /// Inserts what `f` makes of a new id and returns the id; `None`, and `f` is not called, if the table is full. `None`,
    /// too, if the table is [closed](Self::close) before the entry is in it.
    ///
    /// The id is the first that `draw` gives and that is not taken; `draw` leaves out what cannot be one. No lock is
    /// held while either runs.
    pub fn insert_with(&self, mut draw: impl FnMut() -> u64, f: impl FnOnce(u64) -> T) -> Option<u64> {
        if self.is_closed() {
            return None;
        }
        // Counted before it is entered: the table is never too full, not even for a moment.
        if self.len.fetch_add(1, Ordering::AcqRel) >= self.limit {
            self.len.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let Some(id) = (0..DRAWS).map(|_| draw()).find(|id| self.reserve(*id)) else {
            self.len.fetch_sub(1, Ordering::AcqRel);
            return None;
        };
        let refused = self.enter(id, f(id));
        if refused.is_some() {
            self.len.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(id)
    }

    /// Gives a reserved id its value. A closed table gives the value back, to be dropped without the lock.
    fn enter(&self, id: u64, value: T) -> Option<T> {
        let Some(shard) = self.shard(id) else { return Some(value) };
        let mut map = shard.write();
        // Under the lock that `close` takes as well: it finds the entry, or the entry finds the table closed.
        if self.is_closed() {
            map.remove(&id);
            return Some(value);
        }
        map.insert(id, Some(value));
        None
    }

    /// Takes no more entries, and returns those that there are, in the order of their ids. They can still be looked up and
    /// removed. Of an insertion that runs at the same time, the entry is either returned here or not in the table.
    pub fn close(&self) -> Vec<(u64, T)> {
        self.closed.store(true, Ordering::Release);
        // Made if need be: an insertion that comes later sees with them that the table is closed.
        self.make_shards();
        self.entries()
    }

    /// Returns `true` if the table takes no more entries.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn make_shards(&self) {
        self.shards.get_or_init(|| (0..SHARDS).map(|_| Shard(RwLock::new(HashMap::default()))).collect());
    }

    fn reserve(&self, id: u64) -> bool {
        self.make_shards();
        let Some(shard) = self.shard(id) else { return false };
        let mut map = shard.write();
        if map.contains_key(&id) {
            return false;
        }
        map.insert(id, None);
        true
    }

    /// The entry with this id.
    pub fn get(&self, id: u64) -> Option<T> {
        self.shard(id)?.read().get(&id)?.clone()
    }

    /// Removes the entry with this id.
    pub fn remove(&self, id: u64) -> Option<T> {
        let removed = {
            let mut map = self.shard(id)?.write();
            // An insertion under way keeps its id.
            if !map.get(&id).is_some_and(Option::is_some) {
                return None;
            }
            let removed = map.remove(&id).flatten();
            if map.is_empty() && map.capacity() > SHARDS {
                *map = HashMap::default();
            }
            removed
        };
        self.len.fetch_sub(1, Ordering::AcqRel);
        removed
    }

    /// All entries at about this time, in the order of their ids. For those who look, not for the data path.
    pub fn entries(&self) -> Vec<(u64, T)> {
        let mut out = Vec::new();
        for shard in self.shards.get().into_iter().flatten() {
            let map = shard.0.read();
            // In no order, which comes below.
            out.extend(map.iter().filter_map(|(id, value)| value.clone().map(|value| (*id, value))));
        }
        out.sort_unstable_by_key(|(id, _)| *id);
        out
    }

    /// The ids of the values that `are` of interest, in their order. Copies nothing, and holds one of the locks while it looks.
    pub(crate) fn ids_where(&self, are: impl Fn(&T) -> bool) -> Vec<u64> {
        let mut out = Vec::new();
        for shard in self.shards.get().into_iter().flatten() {
            let map = shard.0.read();
            // In no order, which comes below.
            out.extend(map.iter().filter(|(_, value)| value.as_ref().is_some_and(&are)).map(|(id, _)| *id));
        }
        out.sort_unstable();
        out
    }

    /// The values of all [`entries`](Self::entries).
    pub fn values(&self) -> Vec<T> {
        self.entries().into_iter().map(|(_, value)| value).collect()
    }
}

impl<T> fmt::Debug for IdTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdTable({} of {})", self.len.load(Ordering::Relaxed), self.limit)
    }
}

#[cfg(test)]
mod tests;
