//! Attacks on the allocation of flows, on their keys and on their packets, by what an attacker does.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod fields;
#[cfg(target_os = "linux")]
mod fork;
mod restart;
mod rotation;
mod secrets;
