//! Thousands of small random layers with random faults.

use core::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::faults::{self, Seen};
use super::world::progress::Progress;

/// Number of seeds of a full run.
const ALL: u64 = 2000;

/// The seeds to run, and whether these are all.
fn seeds() -> (Range<u64>, bool) {
    let count = std::env::var("O7S_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ALL);
    let seeds = o7s::sim::seeds(0..count);
    let all = seeds.start == 0 && seeds.end >= ALL;
    (seeds, all)
}

/// One that fails does not keep the others from being run.
#[test]
#[ignore = "long; run it in release mode"]
fn thousands_of_random_layers_with_random_faults() {
    let (seeds, all) = seeds();
    let mut progress = Progress::new("seeds", seeds.end - seeds.start, 100);
    let mut sum = Seen::default();
    for seed in seeds {
        let seen = catch_unwind(AssertUnwindSafe(|| faults::run_planted(seed, |_, _| {}).1));
        progress.done(seed, seen.is_ok());
        let Ok(seen) = seen else { continue };
        sum.looks += seen.looks;
        sum.armed += seen.armed;
        sum.down_seen += seen.down_seen;
        sum.loops += seen.loops;
        sum.holes += seen.holes;
        sum.longest_hole = sum.longest_hole.max(seen.longest_hole);
        sum.healed_after = sum.healed_after.max(seen.healed_after);
    }
    println!("{sum:?}; the times are the longest of a run");
    assert!(sum.armed > 0 && sum.down_seen > 0, "no member was watched");
    progress.assert_well();
    if !all {
        println!("NOT a full run: {ALL} seeds are one");
    }
}
