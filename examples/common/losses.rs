//! What a capture and a key log lack at their end, in words.

use o7s::capture::CaptureStats;

/// Warnings about a capture, and about so many keys that could not be written to a key log.
pub(crate) fn warnings(capture: &CaptureStats, unlogged: u64) -> Vec<String> {
    let losses = [
        ("packets that were too many for the capture", capture.lost),
        ("keys that were too many for the capture, which does not open their flows", capture.keys_lost),
        ("keys that could not be written to the key log, which does not open their flows", unlogged),
    ];
    losses
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("warning: {what}: {count}"))
        .collect()
}
