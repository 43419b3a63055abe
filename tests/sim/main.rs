//! Whole stacks in virtual time: bad networks, partitions, peers that vanish, and a thousand random mixes of everything.
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

mod broadcast;
mod bulk;
mod callers;
mod config;
mod faults;
mod ipv6;
mod mix;
mod names;
mod once;
mod rib;
mod unicast;
mod unicast_bad;
mod unicast_directory;
mod unicast_faults;
mod unicast_links;
mod unicast_routing;
mod unicast_shapes;
mod unicast_sizes;
mod unicast_waits;
