//! Flows on paths that are narrow or change, the sizes of their packets and messages, and readers that pause.
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
mod narrow;
mod pauses;
mod pmtu;
#[cfg(target_os = "linux")]
mod rejected;
