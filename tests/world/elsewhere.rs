//! Waiting for what other threads, or other processes, do.

use std::time::Duration;

/// Nothing that is waited for takes long; only a failure waits for so long.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Waits until `done` says so.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..BOUND.as_millis() {
        if done() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("not in time: {what}");
}
