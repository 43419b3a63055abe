//! What paths do to flows, and how large the packets are that they carry.
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

mod devices;
mod ends;
mod fits;
mod foreign;
mod messages;
mod moves;
mod pauses;
