//! Raw Ethernet of Linux over veth pairs: the device, and layers over it.
//!
//! Each test runs in a network namespace of its own, in a process of its own, which takes its interfaces along when it
//! ends. That needs root, or user namespaces, and iproute2; without them the tests say so and do nothing.
#![cfg(all(target_os = "linux", feature = "std"))]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "real interfaces in real time"
)]

mod bridge;
mod device;
#[path = "../world/elsewhere.rs"]
mod elsewhere;
mod layers;
mod link;
mod net;
