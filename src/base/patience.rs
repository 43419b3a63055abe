//! How much is put up with from each of those who may be wrong by mistake, or be up to no good: so many faults, then they are
//! ignored for a while, and for longer each time.
//!
//! Whoever makes up another's address has that one ignored. So what depends on it must be nothing that the other cannot do
//! without: an answer that says no, or a favour.
//!
//! ```
//! use core::time::Duration;
//! use o7s::base::patience::Patience;
//! use o7s::base::time::Instant;
//!
//! let mut patience = Patience::new(1000, 2);
//! let now = Instant::ZERO;
//! assert_eq!([7, 7, 7, 8].map(|who| patience.fault(now, who)), [true, true, false, true]);
//! assert!(patience.is_over(now, 7));
//! assert!(!patience.is_over(now + Duration::from_secs(1), 7));
//! ```

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::time::Instant;

/// The first pause in which somebody is ignored, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// In this time one fault is forgiven.
const FORGIVEN: Duration = Duration::from_millis(250);

/// Counts the faults of everybody, and bounded for as many as there may be: of more, those are forgotten that were not heard
/// for longest.
#[derive(Debug)]
pub struct Patience {
    /// Those who were heard lately, and before: no more than half of the limit in each.
    recent: BTreeMap<u64, Faults>,
    before: BTreeMap<u64, Faults>,
    limit: usize,
    faults: u32,
}

/// Faults of somebody.
#[derive(Clone, Copy, Debug)]
struct Faults {
    /// So many more are put up with.
    left: u32,
    /// The last one.
    last: Instant,
    /// Ignored until then.
    until: Instant,
    /// The next pause.
    pause: Duration,
}

impl Patience {
    /// Remembers as many as `limit`, and puts up with so many `faults` of each at a time.
    pub const fn new(limit: usize, faults: u32) -> Self {
        Self { recent: BTreeMap::new(), before: BTreeMap::new(), limit, faults }
    }

    /// `who` has made a fault. Returns `true` if it is put up with.
    pub fn fault(&mut self, now: Instant, who: u64) -> bool {
        let most = self.faults;
        let faults = self.of(now, who);
        // Those that are ignored count as well: whoever goes on is forgiven nothing.
        let quiet = now.since(faults.last);
        faults.last = now;
        if now < faults.until {
            return false;
        }
        if quiet >= LONGEST {
            // Who has been good for so long begins anew.
            (faults.left, faults.pause) = (most, FIRST);
        }
        let forgiven = quiet.as_millis() / FORGIVEN.as_millis();
        faults.left = faults.left.saturating_add(u32::try_from(forgiven).unwrap_or(u32::MAX)).min(most);
        if let Some(left) = faults.left.checked_sub(1) {
            faults.left = left;
            return true;
        }
        faults.until = now + faults.pause;
        faults.pause = (faults.pause * 2).min(LONGEST);
        false
    }

    /// Returns `true` if `who` is ignored at this moment.
    pub fn is_over(&self, now: Instant, who: u64) -> bool {
        self.recent.get(&who).or_else(|| self.before.get(&who)).is_some_and(|faults| now < faults.until)
    }

    /// Returns the number of those whose faults are remembered.
    pub fn len(&self) -> usize {
        self.recent.len() + self.before.len()
    }

    /// Returns `true` if no faults are remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The faults of `who`, none so far if they are not known, which are among the recent ones from now on.
    fn of(&mut self, now: Instant, who: u64) -> &mut Faults {
        let known = self.before.remove(&who);
        if self.recent.len() >= (self.limit / 2).max(1) && !self.recent.contains_key(&who) {
            self.before = core::mem::take(&mut self.recent);
        }
        let new = Faults { left: self.faults, last: now, until: Instant::ZERO, pause: FIRST };
        self.recent.entry(who).or_insert(known.unwrap_or(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Faults that are put up with, of as many as come within `span`, one in each millisecond.
    fn put_up_with(patience: &mut Patience, from: Instant, span: Duration) -> usize {
        let span = u64::try_from(span.as_millis()).unwrap_or(0);
        (0..span).filter(|ms| patience.fault(from + Duration::from_millis(*ms), 1)).count()
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut patience = Patience::new(100, 8);
        // Without end: the pauses are of 1, 2, 4, ... 60 s, and nothing is forgiven in them.
        assert_eq!(put_up_with(&mut patience, at(0), 3600 * SECOND), 8);
        assert!(patience.is_over(at(3_600_000), 1));
        assert!(!patience.is_over(at(3_700_000), 1));
        assert_eq!(put_up_with(&mut patience, at(3_800_000), SECOND / 2), 8, "as if nothing had been");
        // Who stops for two seconds, while nothing is said, hears a little.
        let mut other = Patience::new(100, 8);
        put_up_with(&mut other, at(0), SECOND / 2);
        assert_eq!(put_up_with(&mut other, at(2500), SECOND / 2), 8);
    }

    #[test]
    fn a_fault_now_and_then_is_no_offence() {
        let mut patience = Patience::new(100, 8);
        assert!((0..10_000).all(|n| patience.fault(at(n * 250), 1)));
    }

    #[test]
    fn each_is_counted_alone() {
        let mut patience = Patience::new(100, 8);
        put_up_with(&mut patience, at(0), SECOND);
        assert!(patience.is_over(at(1000), 1) && !patience.is_over(at(1000), 2));
        assert!(patience.fault(at(1000), 2));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_is_heard() {
        let mut patience = Patience::new(100, 8);
        for n in 0..100_000 {
            patience.fault(at(n), 1);
            patience.fault(at(n), 1000 + n);
            assert!(patience.len() <= 100);
            assert!(n < 10 || patience.is_over(at(n), 1) || n % 1000 == 0 || patience.recent.contains_key(&1));
        }
        assert!(patience.recent.contains_key(&1), "the one that never rests is not forgotten");
        let mut none = Patience::new(0, 0);
        assert!(!none.fault(at(0), 1) && none.len() == 1);
    }
}
