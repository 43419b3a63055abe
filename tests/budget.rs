//! Memory of a member of a layer: bytes allocated while nothing happens, and while it comes into being.
#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

use o7s::{ConnectOptions, UnicastLayer};

#[path = "world/heap.rs"]
mod heap;
#[path = "world/mod.rs"]
mod world;

use world::{large, secs};

/// Bytes of a layer of so many members that stands, and the most that it took to get there.
fn bytes(members: usize) -> (i64, i64) {
    let before = heap::begin();
    let layer = large::layer(3, members, UnicastLayer::new("net"), ConnectOptions::new());
    large::converge(&layer);
    layer.net.run_for(secs(20));
    (heap::live() - before, heap::peak() - before)
}

/// A member and its host, with seven ends of flows and four sockets' worth of queues, when nothing happens. Before caches
/// gave back what they did not use it was more than 700 KiB.
const STANDING: i64 = 144 << 10;
/// The same at the worst moment, when all join at once.
const JOINING: i64 = 176 << 10;

#[test]
fn idle_members_keep_no_spare_memory() {
    let ((few, few_peak), (many, many_peak)) = (bytes(10), bytes(60));
    let (standing, joining) = ((many - few) / 50, (many_peak - few_peak) / 50);
    println!("a member: {} KiB when nothing happens, {} KiB at most", standing >> 10, joining >> 10);
    assert!(standing <= STANDING, "{standing} bytes");
    assert!(joining <= JOINING, "{joining} bytes");
}
