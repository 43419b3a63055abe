//! The names, and what is known of each. In tests it counts the entries that are looked at.

use alloc::collections::BTreeMap;

use super::entry::Entry;
use crate::types::name::Name;

/// See the [module](self).
pub(super) struct Table<R> {
    entries: BTreeMap<Name, Entry<R>>,
    #[cfg(test)]
    looks: core::cell::Cell<usize>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            #[cfg(test)]
            looks: core::cell::Cell::new(0),
        }
    }
}

impl<R> Table<R> {
    /// Entries that were looked at so far.
    #[cfg(test)]
    pub(super) fn looks(&self) -> usize {
        self.looks.get()
    }

    fn look(&self) {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, name: &Name) -> Option<&Entry<R>> {
        self.look();
        self.entries.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &Name) -> Option<&mut Entry<R>> {
        self.look();
        self.entries.get_mut(name)
    }

    /// The entry of a name, which is made if there is none.
    pub(super) fn get_or_default(&mut self, name: &Name) -> &mut Entry<R> {
        self.look();
        self.entries.entry(name.clone()).or_default()
    }

    pub(super) fn remove(&mut self, name: &Name) -> Option<Entry<R>> {
        self.look();
        self.entries.remove(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &Entry<R>)> {
        self.entries.iter().inspect(|_| self.look())
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Entry<R>> + use<R> {
        core::mem::take(&mut self.entries).into_values()
    }
}
