//! Faults that are planted into simulations, each of which those who watch must catch: a test of the tests.
//!
//! The fault is put into the network, between the members, or into what they are told to do; the crate is the same.
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

mod layers;
mod runs;
mod streams;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// `scenario` fails, and says `what`.
#[track_caller]
fn caught(what: &str, scenario: impl FnOnce()) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(scenario)) else { panic!("not caught: {what}") };
    let said = panic.downcast_ref::<String>().cloned();
    let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
    assert!(said.contains(what), "caught, but for another reason: {said}");
}
