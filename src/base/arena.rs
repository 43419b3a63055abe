//! A table with generational ids: an id of something that was removed never finds what took its place.
//!
//! ```
//! use o7s::base::arena::Arena;
//!
//! let mut rooms = Arena::new(2);
//! let first = rooms.insert("kitchen").unwrap();
//! let second = rooms.insert("hall").unwrap();
//! assert!(rooms.insert("attic").is_none(), "two is the limit");
//!
//! assert_eq!(rooms.remove(first), Some("kitchen"));
//! let third = rooms.insert("attic").unwrap();
//! assert_eq!(rooms.get(first), None, "the attic took the kitchen's slot, but not its id");
//! assert_eq!(rooms.get(third), Some(&"attic"));
//! assert_eq!(rooms.iter().map(|(id, _)| id).collect::<Vec<_>>(), [third, second]);
//! ```

use alloc::vec::Vec;
use core::fmt;

/// Key of an entry of an [`Arena`]: the number of a slot and how often the slot was filled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    index: u32,
    generation: u32,
}

impl Id {
    /// The id as a number, never 0.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The id that [`to_bits`](Self::to_bits) gave the number of. Any other number is an id that finds nothing.
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[derive(Debug)]
struct Slot<T> {
    /// Generation of the occupant; of the next one, if the slot is free.
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Taken(T),
    /// The next free slot.
    Free(Option<u32>),
}

/// A bounded table of `T` with ids that are never used twice. All operations take constant time.
#[derive(Debug)]
pub struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Option<u32>,
    len: usize,
    limit: usize,
}

impl<T> Arena<T> {
    /// An empty table for at most `limit` entries. Memory is taken as it is needed.
    pub const fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), free: None, len: 0, limit }
    }

    /// Entries in the table.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns `true` if the table has no entries.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most entries that the table takes.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Inserts a value; `None`, and the value is dropped, if the table is full.
    pub fn insert(&mut self, value: T) -> Option<Id> {
        self.insert_with(|_| value)
    }

    /// Inserts what `f` makes of the new id; `None`, and `f` is not called, if the table is full.
    pub fn insert_with(&mut self, f: impl FnOnce(Id) -> T) -> Option<Id> {
        if self.len >= self.limit {
            return None;
        }
        let id = match self.free {
            Some(index) => {
                let slot = self.slots.get_mut(index as usize)?;
                let Content::Free(next) = slot.content else { return None };
                let id = Id { index, generation: slot.generation };
                slot.content = Content::Taken(f(id));
                self.free = next;
                id
            }
            None => {
                let id = Id { index: u32::try_from(self.slots.len()).ok()?, generation: 1 };
                self.slots.push(Slot { generation: 1, content: Content::Taken(f(id)) });
                id
            }
        };
        self.len += 1;
        Some(id)
    }

    /// The entry with this id.
    pub fn get(&self, id: Id) -> Option<&T> {
        match self.slots.get(id.index as usize)? {
            Slot { generation, content: Content::Taken(value) } if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// The entry with this id, to change it.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        match self.slots.get_mut(id.index as usize)? {
            Slot { generation, content: Content::Taken(value) } if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// Returns `true` if there is an entry with this id.
    pub fn contains(&self, id: Id) -> bool {
        self.get(id).is_some()
    }

    /// Removes the entry with this id. The id is never given to another one.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        self.get(id)?;
        let slot = self.slots.get_mut(id.index as usize)?;
        let content = match slot.generation.checked_add(1) {
            Some(next) => {
                slot.generation = next;
                core::mem::replace(&mut slot.content, Content::Free(self.free.replace(id.index)))
            }
            // All generations are used up: the slot is left out from now on.
            None => core::mem::replace(&mut slot.content, Content::Free(None)),
        };
        self.len -= 1;
        match content {
            Content::Taken(value) => Some(value),
            Content::Free(_) => None,
        }
    }

    /// All entries, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| match &slot.content {
            Content::Taken(value) => Some((Id { index, generation: slot.generation }, value)),
            Content::Free(_) => None,
        })
    }

    /// All entries, in the order of their slots, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut T)> {
        (0..).zip(&mut self.slots).filter_map(|(index, slot)| match &mut slot.content {
            Content::Taken(value) => Some((Id { index, generation: slot.generation }, value)),
            Content::Free(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_worn_out_slot_is_left_out() {
        let mut arena = Arena::new(1);
        let id = arena.insert('a').unwrap();
        arena.slots[0].generation = u32::MAX;
        let last = Id { index: id.index, generation: u32::MAX };
        assert_eq!(arena.remove(last), Some('a'));
        assert_eq!(arena.get(last), None);
        let id = arena.insert('b').unwrap();
        assert_eq!(id.index, 1);
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn ids_are_numbers_and_back() {
        let mut arena = Arena::new(1);
        let id = arena.insert_with(Id::to_bits).unwrap();
        assert_eq!(arena.get(Id::from_bits(id.to_bits())), Some(&id.to_bits()));
        assert_ne!(id.to_bits(), 0);
        assert_eq!(arena.get(Id::from_bits(0)), None);
        assert_eq!(arena.get(Id::from_bits(u64::MAX)), None);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u16),
        Remove(usize),
        Change(usize, u16),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        prop::collection::vec(
            prop_oneof![
                any::<u16>().prop_map(Op::Insert),
                any::<usize>().prop_map(Op::Remove),
                any::<(usize, u16)>().prop_map(|(i, v)| Op::Change(i, v)),
            ],
            0..200,
        )
    }

    proptest! {
        /// Against a map that never forgets an id it gave.
        #[test]
        fn the_arena_agrees_with_a_map_and_never_reuses_keys(ops in ops(), limit in 0usize..20) {
            let (mut arena, mut model, mut given) = (Arena::new(limit), BTreeMap::new(), Vec::new());
            for op in ops {
                match op {
                    Op::Insert(v) => match arena.insert(v) {
                        Some(id) => {
                            prop_assert!(!given.contains(&id));
                            given.push(id);
                            model.insert(id, v);
                        }
                        None => prop_assert_eq!(model.len(), limit),
                    },
                    Op::Remove(_) | Op::Change(..) if given.is_empty() => {}
                    Op::Remove(i) => {
                        let id = given[i % given.len()];
                        prop_assert_eq!(arena.remove(id), model.remove(&id));
                    }
                    Op::Change(i, v) => {
                        let id = given[i % given.len()];
                        if let Some(x) = arena.get_mut(id) {
                            *x = v;
                        }
                        model.entry(id).and_modify(|x| *x = v);
                    }
                }
                prop_assert_eq!(arena.len(), model.len());
                prop_assert_eq!(arena.iter().map(|(i, v)| (i, *v)).collect::<BTreeMap<_, _>>(), model.clone());
                for id in &given {
                    prop_assert_eq!(arena.get(*id), model.get(id));
                }
            }
            prop_assert!(arena.slots.len() <= limit);
        }
    }
}
