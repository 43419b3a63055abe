//! Memory of a member of a layer: bytes allocated while nothing happens, and while it comes into being.
#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

use o7s::sim::Link;
use o7s::{ConnectOptions, QosSpec, UnicastLayer, aio};

#[path = "world/heap.rs"]
mod heap;
#[path = "world/mod.rs"]
mod world;

use world::{ENCRYPTED, Pair, large, ms, secs};

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

/// Bytes of both ends of so many reliable, encrypted flows over UDP. Each has carried a packet there and one back, some time
/// ago, and keeps itself alive.
fn idle(flows: usize) -> i64 {
    let before = heap::begin();
    let pair = Pair::new(7, Link::default().latency(ms(1)), ENCRYPTED);
    let qos = QosSpec { timeout: 8000, ..QosSpec::DATA };
    let all = pair.net.block_on(async {
        let mut all = Vec::with_capacity(1024);
        for _ in 0..flows {
            let (near, far) = pair.connect(qos).await;
            near.write(b"once").await.unwrap();
            far.read(&mut [0; 100]).await.unwrap();
            far.write(b"once").await.unwrap();
            near.read(&mut [0; 100]).await.unwrap();
            all.push((near, far));
        }
        all
    });
    // Until the beginning of the flows is over, too.
    pair.net.run_for(secs(100));
    let (near, far) = &all[0];
    let keepalives = |flow: &aio::Flow| flow.as_blocking().counters().keepalives_sent;
    assert!(keepalives(near) > 10 && keepalives(far) > 10);
    heap::live() - before
}

/// An idle end of a reliable, encrypted flow, with all that its stack keeps for it, bytes. It was 4256 when each end had lists for
/// losses, a generator of random numbers, and key schedules for keepalives.
const END: i64 = 2975;

#[test]
fn idle_flows_are_small() {
    let (few, many) = (idle(100), idle(600));
    let end = (many - few) / 1000;
    println!("an end: {end} bytes");
    assert!(end <= END, "{end} bytes");
}
