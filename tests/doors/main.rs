//! The doors: what a program adds to the library from outside, without touching it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[cfg(feature = "sim")]
mod bus;
mod controller;
mod crypto;
mod device;
#[path = "../world/elsewhere.rs"]
mod elsewhere;
mod exporter;
mod fragile;
mod pipe;
mod policy;
mod shim;

use o7s::Flow;

use self::elsewhere::{BOUND, wait_until};

/// Sends back whatever comes.
fn echo(flow: Flow) {
    let mut buf = vec![0; 65_536];
    while let Ok(n) = flow.read(&mut buf) {
        if flow.write(&buf[..n]).is_err() {
            break;
        }
    }
}

/// One message of each length there and back.
fn round_trips(flow: &Flow, count: usize) {
    let mut buf = vec![0; 65_536];
    for i in 0..count {
        let message = vec![i as u8; 1 + i * 7 % 1000];
        flow.write_timeout(&message, BOUND).unwrap();
        let n = flow.read_timeout(&mut buf, BOUND).unwrap_or_else(|e| panic!("answer {i}: {e}"));
        assert_eq!(buf[..n], message);
    }
}
