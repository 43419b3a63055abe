//! Simulated networks in virtual time: whole scenarios as ordinary, repeatable tests.
//!
//! A [`Network`] is a world of its own with
//!
//! - **virtual time**, which stands still while anybody has something to do and then jumps to the next thing that
//!   happens: an hour of keepalives takes a moment, and a test never waits;
//! - **UDP sockets** ([`Network::udp`]) between which datagrams are delayed, lost, doubled, swapped, damaged or queued, as the
//!   [`Link`] of each direction says; [partitions](Network::partition) and [rules](Network::on_packet) for what
//!   should happen to a particular one;
//! - **Ethernet** ([`Network::switch`]): switches into which interfaces are plugged, with the same kinds of cables;
//! - **hosts** ([`Network::host`]): polled stacks on those sockets and interfaces;
//! - **an executor** on one thread ([`Network::spawn`], [`Network::block_on`]), so that a scenario is ordinary async code; if it can
//!   never end, it is told why;
//! - **a trace** of all that happened ([`Network::digest`]).
//!
//! Everything random follows from one seed, and nothing else is random: the same program with the same seed does the
//! same, down to the last bit.
//!
//! ```
//! use core::time::Duration;
//! use o7s::sim::{Link, Loss, Network};
//! use o7s::device::Datagrams;
//!
//! let net = Network::new(7);
//! net.set_default_link(Link::default().latency(Duration::from_millis(20)).loss(Loss::Random(0.5)));
//! let (client, server) = (net.udp("10.0.0.1:1000"), net.udp("10.0.0.2:2000"));
//! let to = server.local_addr();
//!
//! net.spawn(async move {
//!     loop {
//!         let request = server.receive().await;
//!         server.send(request.src, b"pong", None).unwrap();
//!     }
//! });
//! net.block_on(async {
//!     // As often as it takes.
//!     loop {
//!         client.send(to, b"ping", None).unwrap();
//!         if net.timeout(Duration::from_millis(100), client.receive()).await.is_ok() {
//!             break;
//!         }
//!     }
//! });
//! assert!(net.now().as_nanos() >= 40_000_000, "there and back again takes 40 ms");
//! ```
//!
//! [`Network::host`] puts whole stacks there; a routed layer of 20 of them is in `examples/short/ring.rs`.
//!
//! # What is not simulated
//!
//! Processors are infinitely fast: polls take no virtual time. Threads have no place here: what happens on
//! another thread happens at a random moment, and the same seed no longer means the same run.

mod addr;
mod ethernet;
mod exec;
mod host;
mod hosts;
mod link;
mod names;
mod network;
mod path;
mod report;
mod rules;
mod run;
mod seeds;
mod sleep;
mod socket;
mod trace;
mod world;

#[cfg(test)]
mod tests;

pub use addr::{ToIp, ToSocketAddr};
pub use ethernet::{Interface, Switch, ToMac};
pub use exec::JoinHandle;
pub use host::{Host, HostBuilder};
pub use link::{Link, Loss, Queue};
pub use network::Network;
pub use path::LinkStats;
pub use report::{Stuck, StuckReason};
pub use rules::{Packet, RuleGuard, Verdict};
pub use seeds::seeds;
pub use sleep::{Elapsed, Sleep};
pub use socket::UdpSocket;
pub use trace::Digest;

pub use crate::base::rng::Rng;

// What only the crate's own tests need.
#[cfg(feature = "internals")]
pub use run::EPOCH_UNIX_NANOS;
#[cfg(feature = "internals")]
pub use trace::{Divergence, DropReason, Event, PacketSummary, What, diff};
