//! What a member of a layer may take: bytes that are allocated while nothing happens, and while it comes into being.
//!
//! The allocator counts for the whole process, so there is one test.
#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

use o7s::{Connect, UnicastLayer};

#[path = "world/mod.rs"]
mod world;

use world::{large, secs};

/// Counts the bytes that are allocated, and the most that ever were.
struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

#[global_allocator]
static HEAP: Counting = Counting;

fn count(bytes: i64) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

#[allow(unsafe_code, reason = "the trait of allocators is unsafe; every call goes on to the system's, unchanged")]
// SAFETY: passes every call on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as i64 - layout.size() as i64);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Bytes of a layer of so many members that stands, and the most that it took to get there.
fn bytes(members: usize) -> (i64, i64) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let layer = large::layer(3, members, UnicastLayer::new("net"), Connect::new());
    large::converge(&layer);
    layer.net.run_for(secs(20));
    let standing = LIVE.load(Ordering::Relaxed) - before;
    (standing, PEAK.load(Ordering::Relaxed) - before)
}

/// A member and its host, with seven ends of flows and four sockets' worth of queues, when nothing happens. Before caches
/// gave back what they did not use it was more than 700 KiB.
const STANDING: i64 = 192 << 10;
/// The same at the worst moment, when all join at once.
const JOINING: i64 = 224 << 10;

#[test]
fn a_member_keeps_no_stock() {
    let ((few, few_peak), (many, many_peak)) = (bytes(10), bytes(60));
    let (standing, joining) = ((many - few) / 50, (many_peak - few_peak) / 50);
    println!("a member: {} KiB when nothing happens, {} KiB at most", standing >> 10, joining >> 10);
    assert!(standing <= STANDING, "{standing} bytes");
    assert!(joining <= JOINING, "{joining} bytes");
}
