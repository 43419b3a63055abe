//! Numbers that only grow, each in one place: what it counts, what it is called where it is shown, and the number.
//!
//! [`counters!`](crate::base::counter::counters) is for what several threads count, and
//! [`counts!`](crate::base::counter::counts) for what a machine counts by itself, of which others get copies.

use super::sync::{AtomicU64, Ordering};

/// A number that only grows, counted by any thread.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    #[inline]
    pub(crate) fn count(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the count so far.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The name by which a number is shown, what it counts, and the number.
pub(crate) type Row = (&'static str, &'static str, u64);

/// Makes a type of [`Counter`]s, which start at zero: after `=>` is the name by which the number is shown. `rows` gives
/// all, in the order in which they are written down.
macro_rules! counters {
    ($(#[$about:meta])* $vis:vis struct $name:ident { $($(#[doc = $what:literal])+ $field:ident => $row:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        $vis struct $name {
            $($(#[doc = $what])+ $vis $field: $crate::base::counter::Counter,)*
        }

        impl $name {
            /// Every counter.
            $vis fn rows(&self) -> impl Iterator<Item = $crate::base::counter::Row> {
                [$(($row, concat!($($what),+), self.$field.get())),*].into_iter()
            }
        }
    };
}

/// The same of plain numbers, for a machine that counts alone and gives others copies. What is not shown has no name. Of a
/// public type, `(hidden)` before a field keeps it out of the interface: users have the number from the tree, by its name.
macro_rules! counts {
    ($(#[$about:meta])* $vis:vis struct $name:ident { $($(#[doc = $what:literal])+ $(($hidden:ident))? $field:ident $(=> $row:literal)?,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $name {
            $($(#[doc = $what])+ $(#[cfg_attr(not(feature = "internals"), doc($hidden))])? $vis $field: u64,)*
        }

        impl $name {
            /// Every number that is shown.
            pub(crate) fn rows(&self) -> impl Iterator<Item = $crate::base::counter::Row> + use<> {
                let all = [$((self.$field, concat!($($what),+), $crate::base::counter::row!($($row)?))),*];
                all.into_iter().filter_map(|(count, what, row)| Some((row?, what, count)))
            }
        }
    };
}

/// The name of a row, if there is one.
macro_rules! row {
    () => {
        None::<&'static str>
    };
    ($row:literal) => {
        Some($row)
    };
}

pub(crate) use {counters, counts, row};

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    counters! {
        /// Counters of a post office.
        struct Letters {
            /// Brought.
            brought => "in",
            /// Lost ones among these.
            lost => "lost-letters",
        }
    }

    counts! {
        /// The same.
        struct Parcels {
            /// Brought.
            brought => "parcels",
            /// Not shown.
            heavy,
        }
    }

    #[test]
    fn rows_are_as_written_down() {
        let letters = Letters::default();
        letters.brought.add(4);
        letters.lost.count();
        assert_eq!(
            letters.rows().collect::<Vec<_>>(),
            [("in", " Brought.", 4), ("lost-letters", " Lost ones among these.", 1)]
        );
        let mut parcels = Parcels::default();
        parcels.brought += 2;
        parcels.heavy += 1;
        assert_eq!(parcels.rows().collect::<Vec<_>>(), [("parcels", " Brought.", 2)]);
    }
}
