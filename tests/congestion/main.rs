//! Flows that share links: a table of paths, with what must come of each, and a second one of flows of a unicast layer.
//!
//! Everything happens in virtual time and repeats exactly. `cargo test --test congestion -- --nocapture` prints the table;
//! the rows of a gigabit are run with `--ignored`. `cargo run --release --example bottleneck` prints and draws the first table, the
//! example `congestion` whatever case of the second one likes.
#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

mod bandwidth;
#[allow(dead_code, reason = "the example plots, too")]
mod experiment;
mod layer;
mod rows;
mod scenario;
mod stall;
mod start;
mod tcp;

use rows::{Row, rows};

/// Runs and prints the rows that are chosen, and fails for those that miss what they must.
fn check(chosen: impl Fn(&Row) -> bool) {
    let mut missed = Vec::new();
    for row in rows().iter().filter(|r| chosen(r)) {
        for seed in 1..=row.seeds {
            let came = row.run(seed);
            let text = format!("{} | {} | {} | seed {seed}: {}", row.path, row.flows, row.must, came.text());
            let holds = (row.holds)(&came);
            println!("{} {text} | before: {}", if holds { "ok  " } else { "MISS" }, row.before);
            if !holds {
                missed.push(text);
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn flows_share_a_link() {
    check(|r| !r.long && !r.path.contains("TCP") && !r.path.contains("chance") && matches!(r.run, rows::Run::Share(_)));
}

#[test]
fn transfers_end_on_thin_and_long_paths() {
    check(|r| matches!(r.run, rows::Run::Transfer(..)));
}

#[test]
fn random_loss_can_be_told_from_congestion() {
    check(|r| r.path.contains("chance"));
}

#[test]
fn beside_tcp() {
    check(|r| r.path.contains("TCP"));
}

#[test]
#[ignore = "a gigabit takes half a minute"]
fn a_gigabit() {
    check(|r| r.long);
}

/// Runs and prints the cases of the second table that are chosen, and fails for those that miss what they must.
fn check_layer(chosen: impl Fn(&layer::Case) -> bool) {
    let cases = layer::cases();
    let runs = cases.iter().filter(|case| chosen(case)).flat_map(|case| [1, 2, 3].map(|seed| (case, seed)));
    let missed: Vec<_> = runs.filter_map(|(case, seed)| case.check(seed)).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn flows_of_a_layer_share_a_link() {
    check_layer(|case| !case.long);
}

#[test]
#[ignore = "a gigabit takes a minute"]
fn flows_of_a_layer_share_a_gigabit() {
    check_layer(|case| case.long);
}
