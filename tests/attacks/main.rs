//! Attacks on the allocation of flows, on their keys and on their packets, by what an attacker does.
#![cfg(all(feature = "sim", feature = "algorithms"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod ages;
mod clocks;
mod downgrade;
mod ends;
mod fields;
mod floods;
#[cfg(target_os = "linux")]
mod fork;
#[path = "../world/heap.rs"]
mod heap;
mod identity;
#[allow(dead_code, reason = "not all of it is asked for here")]
#[path = "../certificates/issue.rs"]
mod issue;
mod packets;
mod points;
mod renewal;
mod restart;
mod rotation;
mod secrets;
mod sizes;
