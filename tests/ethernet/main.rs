//! Layers over Ethernet: simulated segments, bad input of all kinds, and captures of the reference replayed against ours.
#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

mod captured;
mod changes;
mod hostile;
mod layers;
mod replayed;
mod simulated;
#[path = "../world/sink.rs"]
mod sink;
mod station;
mod threaded;
#[path = "../world/mod.rs"]
mod world;

use o7s::Eth;

/// Both framings.
fn framings() -> [Eth; 2] {
    [Eth::dix("eth0"), Eth::llc("eth0")]
}
