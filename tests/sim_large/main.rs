//! Long simulations: a thousand members, thousands of seeds. All but a few are to be run by hand, in release mode:
//! `cargo test --release --test sim_large -- --ignored --nocapture --test-threads 1`.
#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

#[path = "../world/mod.rs"]
mod world;

mod bootstrap;
mod directory;
mod memory;
mod seeds;
