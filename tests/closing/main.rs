//! Ends of flows: the notices to each end, over every sort of layer and for every quality of service.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

mod padded;
mod simulated;
mod threaded;

#[path = "../world/cable.rs"]
mod cable;
#[path = "../doors/pipe.rs"]
mod pipe;

use o7s::{QosSpec, SecurityConfig};

/// A flow of every sort: raw, best effort, reliable.
fn all() -> [(&'static str, QosSpec); 3] {
    // Without a checksum even where the preset has one, as the API's default is.
    [("raw", QosSpec::RAW), ("best effort", QosSpec::BEST_EFFORT), ("reliable", QosSpec::DATA)]
}

fn security_of(text: &str) -> SecurityConfig {
    if text.is_empty() { SecurityConfig::default() } else { text.parse().unwrap() }
}

const ENCRYPTED: &str = "X25519,aes-256-gcm";
