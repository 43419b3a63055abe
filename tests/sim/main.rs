//! Whole stacks in virtual time: bad networks, partitions, peers that vanish, and a thousand random mixes of everything.
#![cfg(feature = "sim")]

#[path = "../world/mod.rs"]
mod world;

mod bulk;
mod faults;
mod mix;
