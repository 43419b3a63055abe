//! Thousands of small random layers with random faults.

use super::world::faults;
use super::world::stopwatch::Stopwatch;

#[test]
#[ignore = "long; run it in release mode"]
fn thousands_of_random_layers_with_random_faults() {
    let stopwatch = Stopwatch::start();
    let count = std::env::var("O7S_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    for seed in o7s::sim::seeds(0..count) {
        faults::run(seed);
        if seed % 100 == 99 {
            println!("{} seeds in {:.1} s", seed + 1, stopwatch.wall().as_secs_f64());
        }
    }
}
