//! A simulation is a function of program and seed: the same does the same, down to the last bit.
#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

mod world;

use o7s::sim::diff;

use world::{faults, mix};

#[test]
fn the_same_seed_gives_the_same_digest() {
    for seed in o7s::sim::seeds(0..20) {
        let (first, second) = (mix::run(seed), mix::run(seed));
        if let Some(divergence) = diff(&first.1, &second.1) {
            panic!("two runs with seed {seed} part ways:\n{divergence}");
        }
        assert_eq!(first.0, second.0, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_unicast_layer() {
    for seed in o7s::sim::seeds(0..4) {
        let (first, second) = (faults::run(seed), faults::run(seed));
        if let Some(divergence) = diff(&first.1, &second.1) {
            panic!("two runs with seed {seed} part ways:\n{divergence}");
        }
        assert_eq!(first.0, second.0, "seed {seed}");
    }
}

#[test]
fn different_seeds_give_different_digests() {
    let mut digests: Vec<_> = (0..50).map(|seed| mix::run(seed).0).collect();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 50);
}
