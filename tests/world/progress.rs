//! Progress of a long run; one that is cut off says so.

use std::fmt;

use super::stopwatch::Stopwatch;

/// A run of so many parts, that tells how far it has come, and in the end, however it ends, whether that was all.
pub(crate) struct Progress {
    what: &'static str,
    all: u64,
    done: u64,
    failed: Vec<u64>,
    every: u64,
    stopwatch: Stopwatch,
}

impl Progress {
    /// `every` is after how many parts something is printed.
    pub(crate) fn new(what: &'static str, all: u64, every: u64) -> Self {
        println!("{what}: 0 of {all}");
        Self { what, all, done: 0, failed: Vec::new(), every, stopwatch: Stopwatch::start() }
    }

    /// Part `number` is done.
    pub(crate) fn done(&mut self, number: u64, well: bool) {
        self.done += 1;
        if !well {
            self.failed.push(number);
        }
        if self.done.is_multiple_of(self.every) {
            println!("{self}");
        }
    }

    /// All was done, and all of it well.
    pub(crate) fn assert_well(&self) {
        assert!(self.done == self.all && self.failed.is_empty(), "{self}");
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, all, done, failed, .. } = self;
        write!(f, "{what}: {done} of {all} in {:.1} s", self.stopwatch.wall().as_secs_f64())?;
        if !failed.is_empty() {
            write!(f, ", failed: {failed:?}")?;
        }
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let cut_off = if self.done < self.all { " -- CUT OFF, the others were not run" } else { "" };
        println!("{self}{cut_off}");
    }
}
