//! Numbers that only grow, each in one place: what it counts, what it is called where it is shown, and the number.
//!
//! [`counters!`](crate::base::counter::counters) is for what several threads count, and
//! [`counts!`](crate::base::counter::counts) for what a machine counts by itself, of which others get copies.

use super::sync::{AtomicU64, Ordering};

/// A number that only grows, whoever counts.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    #[inline]
    pub(crate) fn count(&self) {
        self.add(1);
    }

    /// So many more.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many so far.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes a type of [`Counter`]s, which start at zero: after `=>` is the name by which the number is shown. `rows` gives
/// all, in the order in which they are written down.
macro_rules! counters {
    ($(#[$about:meta])* $vis:vis struct $name:ident { $($(#[$what:meta])* $field:ident => $row:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        $vis struct $name {
            $($(#[$what])* $vis $field: $crate::base::counter::Counter,)*
        }

        impl $name {
            /// Every counter by the name under which it is shown.
            $vis fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($row, self.$field.get())),*].into_iter()
            }
        }
    };
}

/// The same of plain numbers, for a machine that counts alone and gives others copies. What is not shown has no name.
macro_rules! counts {
    ($(#[$about:meta])* $vis:vis struct $name:ident { $($(#[$what:meta])* $field:ident $(=> $row:literal)?,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$what])* $vis $field: u64,)*
        }

        impl $name {
            /// Every number that is shown, by its name there.
            pub(crate) fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$($(($row, self.$field),)?)*].into_iter()
            }
        }
    };
}

pub(crate) use {counters, counts};

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    counters! {
        /// Of a post office.
        struct Letters {
            /// Brought.
            brought => "in",
            /// Of these, lost.
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
        assert_eq!(letters.rows().collect::<Vec<_>>(), [("in", 4), ("lost-letters", 1)]);
        let mut parcels = Parcels::default();
        parcels.brought += 2;
        parcels.heavy += 1;
        assert_eq!(parcels.rows().collect::<Vec<_>>(), [("parcels", 2)]);
    }
}
