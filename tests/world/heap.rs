//! Memory of a test, counted by the allocator. A simulation runs on the thread of its test, so each thread counts for
//! itself, and tests can run beside each other.
#![allow(dead_code, reason = "not every test asks for everything")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that are allocated, and the most that were.
    static BYTES: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
}

/// Bytes that this thread has allocated and not freed.
pub(crate) fn live() -> i64 {
    BYTES.get().0
}

/// The most that this was since [`begin`].
pub(crate) fn peak() -> i64 {
    BYTES.get().1
}

/// Forgets what the most was, and returns what is live.
pub(crate) fn begin() -> i64 {
    BYTES.set((live(), live()));
    live()
}

fn count(bytes: i64) {
    // Threads that end have no counter any more.
    let _ = BYTES.try_with(|counter| {
        let (live, peak) = counter.get();
        counter.set((live + bytes, peak.max(live + bytes)));
    });
}

struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

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
