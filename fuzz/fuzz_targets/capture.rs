//! Captures and key logs: no bytes panic, whatever they say; what is read of a file is in it, and memory is bounded by what was
//! read, not by what that says of lengths and numbers.
//!
//! The input: two bytes with the length of a key log, the log, a capture.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use libfuzzer_sys::fuzz_target;
use o7s::capture::{Follower, KeyLog, Reader};

/// Bytes that are allocated, and the most that were.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Memory that is used whatever is read, and for each byte of the input: a request of a hundred bytes is remembered with what
/// opens its packets.
const FIXED: usize = 1 << 20;
const PER_BYTE: usize = 64;

struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

// SAFETY: every call goes on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Reads and follows a capture; returns the bytes of its packets.
fn follow(log: &str, file: &[u8]) -> usize {
    let Ok(mut reader) = Reader::new(file) else { return 0 };
    let mut follower = Follower::default();
    follower.add_keys(log);
    let mut bytes = 0;
    // An error is the end.
    while let Ok(Some(packet)) = reader.packet() {
        bytes += packet.data.len();
        follower.add_keys(&reader.take_secrets());
        let followed = follower.follow(packet.link, &packet.data);
        assert_eq!(followed.is_o7s(), !followed.fields().is_empty());
        assert!(followed.payload().len() <= file.len());
        let _ = (followed.to_string(), followed.fields().iter().map(|field| field.value.to_string()).count());
    }
    bytes
}

fuzz_target!(|input: &[u8]| {
    let Some((len, rest)) = input.split_first_chunk() else { return };
    let (log, file) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    let log = String::from_utf8_lossy(log);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);

    let Ok(keys) = log.parse::<KeyLog>();
    // The shortest line has a key.
    assert!(keys.len() <= log.len() / 64);
    assert!(follow(&log, file) <= file.len());

    let used = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(used <= FIXED + PER_BYTE * input.len(), "{used} bytes for {}", input.len());
});
