//! A layer of a thousand members comes into being.

use std::time::Duration;

use o7s::{ConnectOptions, UnicastLayer};

use super::world::large;
use super::world::stopwatch::{self, Stopwatch};

#[test]
#[ignore = "takes a minute; run it in release mode"]
fn a_thousand_members_bootstrap_enroll_and_converge() {
    let (stopwatch, before) = (Stopwatch::start(), stopwatch::cpu());
    let layer = large::layer(1, 1000, UnicastLayer::new("net"), ConnectOptions::new());
    stopwatch.lap("enrolled and connected", &layer.net);
    large::converge(&layer);
    stopwatch.lap("converged", &layer.net);
    // Of the processor, which other programs do not change by much: it is about 20 s.
    let took = stopwatch::cpu() - before;
    let peak = stopwatch::peak_memory();
    println!("peak memory: {} MiB", peak >> 20);
    large::print_work(&layer);
    assert!(took <= Duration::from_secs(60), "{took:?}");
    assert!(peak <= 2 << 30, "{peak} bytes");
}
