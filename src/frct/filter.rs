//! The least or greatest of the values of a window that moves on.

/// The best value of a sliding window, and the second and third best that came after it, so that there is a successor
/// when the best grows old (K. Nichols, as in the Linux kernel's `minmax`). Positions are times or numbers of rounds.
///
/// Unlike a minimum with a date, it can be corrected: when the window has moved on, the value is the best of what came
/// *since*, not whatever comes next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter {
    best: [(u64, u64); 3],
    filled: bool,
}

impl Filter {
    /// Takes `value` at the position `at`; `better(a, b)` says whether `a` is at least as good as `b`.
    pub(super) fn update(&mut self, at: u64, value: u64, window: u64, better: impl Fn(u64, u64) -> bool) {
        let new = (at, value);
        let [first, second, third] = &mut self.best;
        let age = |of: &(u64, u64)| at.saturating_sub(of.0);
        // A new best makes all others worthless. So does a pause longer than the window: none of them is in it any
        // more.
        if !self.filled || better(value, first.1) || age(third) > window {
            self.best = [new; 3];
            self.filled = true;
            return;
        }
        if better(value, second.1) {
            (*second, *third) = (new, new);
        } else if better(value, third.1) {
            *third = new;
        }
        // The successors move up; the second may be too old as well.
        if age(first) > window {
            (*first, *second, *third) = (*second, *third, new);
            if age(first) > window {
                (*first, *second) = (*second, *third);
            }
        // The best has had no rival for a quarter of the window: the present value becomes its successor, or there
        // would be none when it expires.
        } else if second.0 == first.0 && age(first) > window / 4 {
            (*second, *third) = (new, new);
        } else if third.0 == second.0 && age(first) > window / 2 {
            *third = new;
        }
    }

    /// Forgets everything but `value`.
    pub(super) fn reset(&mut self, at: u64, value: u64) {
        self.best = [(at, value); 3];
        self.filled = true;
    }

    /// The best value of the window; 0 before the first.
    pub(super) fn get(&self) -> u64 {
        let [first, ..] = self.best;
        first.1
    }
}
