//! o7s: Ouroboros, the recursive packet network, as an embeddable library.
//!
//! A program owns a [`Stack`]. Inside it live names and who accepts flows to them, the members of the layers that
//! the program has joined, and the flows. There is no daemon and nothing global: two stacks in one process are
//! strangers. On the wire a stack is a node of the reference implementation, version 0.23.
//!
//! ```text
//! application ── Flow / Listener / FlowSet
//!     │
//!    IRM         names, who accepts them, in which layers they are registered, flow allocation
//!     │
//!   IPCPs        local │ udp4 │ unicast │ broadcast: each is a member of one layer; the last two are
//!     │          themselves users of flows, which other IPCPs of the stack provide
//!  devices       UDP sockets, simulated links, your own driver
//! ```
//!
//! What can be brought along, a layer over a device of one's own for instance, is in [`manual::doors`].
//!
//! # Three ways to drive a stack
//!
//! **Threaded**, the default: a few background threads do what is due, and calls may block.
//!
//! ```
//! use o7s::{QosSpec, Stack, Udp4};
//!
//! // Two programs would do this, each with the stack that is its own.
//! let server = Stack::new()?;
//! let net = server.udp4(Udp4::bind("127.0.0.1:0"))?;
//! net.register("echo")?;
//! let listener = server.bind("echo")?;
//! std::thread::spawn(move || {
//!     for flow in listener.incoming() {
//!         let mut buf = [0; 1500];
//!         while let Ok(len) = flow.read(&mut buf) {
//!             let _ = flow.write(&buf[..len]);
//!         }
//!     }
//! });
//!
//! let client = Stack::new()?;
//! let at = net.local_addr().unwrap().to_string();
//! client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at))?;
//! let flow = client.flow("echo").qos(QosSpec::DATA).alloc()?;
//! flow.write(b"hello")?;
//! let mut buf = [0; 64];
//! assert_eq!(flow.read(&mut buf)?, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This server attends to one client after the other, and who comes meanwhile is refused after a second; with
//! [`Stack::bind_handler`] each has a thread of its own, with [`Listener::accept_async`] a task.
//!
//! **Polled**: no threads, no clock. The application says what time it is with [`Stack::poll`], is told when to call
//! next, and uses the calls that do not wait, or the asynchronous ones. Sockets are of its own making
//! ([`Stack::udp4_over`]).
//!
//! ```
//! use std::pin::pin;
//! use std::task::{Context, Poll, Waker};
//! use o7s::base::time::Instant;
//! use o7s::Stack;
//!
//! let stack = Stack::builder().polled().build()?;
//! let listener = stack.bind("echo")?;
//! let mut cx = Context::from_waker(Waker::noop());
//! let mut asking = pin!(stack.flow("echo").alloc_async());
//! assert!(asking.as_mut().poll(&mut cx).is_pending(), "nobody has accepted yet");
//! let server = listener.try_accept()?;
//! stack.poll(Instant::from_millis(1));
//!
//! let Poll::Ready(client) = asking.as_mut().poll(&mut cx) else { panic!("it was accepted") };
//! client?.into_blocking().try_write(b"hello")?;
//! assert_eq!(server.try_read(&mut [0; 64])?, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Simulated**: many stacks on one thread, in virtual time, on a network that loses, delays and reorders as a seed
//! will have it ([`sim`]).
//!
//! ```
//! # #[cfg(feature = "sim")] {
//! use std::time::Duration;
//! use o7s::QosSpec;
//! use o7s::sim::{Link, Loss, Network};
//!
//! let net = Network::new(7);
//! net.set_default_link(Link::default().latency(Duration::from_millis(20)).loss(Loss::Random(0.2)));
//! let server = net.host("server").udp4("10.0.0.1").build();
//! let client = net.host("client").udp4("10.0.0.2").build();
//! let listener = server.listen("echo");
//! net.spawn(async move {
//!     let flow = listener.accept_async().await.unwrap();
//!     let packet = flow.read_bytes().await.unwrap();
//!     flow.write(&packet).await.unwrap();
//!     // Dropping a flow does not lose what was written: the stack goes on until it has arrived.
//! });
//! net.block_on(async {
//!     let flow = client.stack().flow("echo").qos(QosSpec::DATA).alloc_async().await.unwrap();
//!     flow.write(b"hello").await.unwrap();
//!     assert_eq!(&*flow.read_bytes().await.unwrap(), b"hello");
//! });
//! # }
//! ```
//!
//! # Layers of your own
//!
//! A layer is a network: its members enrol with each other, find routes and names by themselves, and provide flows by
//! using flows of any layer below. A stack may be a member of as many as it likes, one on top of the other.
//!
//! ```
//! use o7s::{LocalConfig, Stack, UnicastLayer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = Stack::new()?;
//! // Between stacks this would be `stack.udp4(..)`; members of one stack meet in memory.
//! let below = stack.local(LocalConfig::new("wire", "wire"));
//! let first = stack.unicast("node-a").over(&below).bootstrap(UnicastLayer::new("net"))?;
//! let second = stack.unicast("node-b").over(&below).enroll("node-a")?;
//! // Neighbours: management, which carries the news of links, and data transfer.
//! second.connect("node-a")?;
//! first.register("a service")?;
//! assert_ne!(first.address(), second.address());
//! # Ok(())
//! # }
//! ```
//!
//! # Encryption
//!
//! Whether flows to a name are encrypted is a property of the name ([`Stack::set_security`]) or of the whole stack
//! ([`Builder::security`]), never of the call that allocates. With a [`SecurityConfig`] that requires it, a flow is
//! encrypted or does not come to be.
//!
//! # A network from a file
//!
//! Which layers there are may be said in a file as well: [`Stack::from_config`] makes what a configuration of the
//! reference describes, and [`stack::config`] tells what may be in one. What goes on in a stack is in its
//! [tree of counters and state](Stack::rib), which [`rib::prometheus()`] exports.
//!
//! # The rooms
//!
//! A room knows only those above it; the protocols in the upper half have no clock, socket, thread or random source
//! of their own, and need no standard library.
//!
//! | room | what is there |
//! |---|---|
//! | [`base`], [`types`] | time, timers, randomness, packet buffers, ids; names, QoS, the traits of devices |
//! | [`wire`] | every byte layout, with checked views |
//! | [`crypto`] | algorithms, key agreement, key derivation, packet protection with key rotation |
//! | [`frct`], [`oap`] | what the two ends of a flow say to each other: data with its acknowledgements, and allocation |
//! | [`routing`], [`directory`], [`forward`] | link-state routing; names without servers; forwarding table, queues, shaping and congestion avoidance |
//! | [`flow`] | one end of a flow: FRCT, encryption, checksum, keepalive and queues in one pipeline |
//! | [`irm`], [`ipcp`] | names and who accepts them; members of layers |
//! | [`node`] | what ties irm, ipcp and flow together |
//! | [`rib`], [`device`] | what everything has counted; clocks, sockets and threads of the operating system |
//! | [`stack`] | what applications see; the most of it is re-exported here |
//! | [`sim`] | simulated networks |
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

/// The examples of the README, which are to compile and to work.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod base;
pub mod crypto;
#[cfg(feature = "std")]
pub mod device;
pub mod directory;
pub mod flow;
pub mod forward;
pub mod frct;
pub mod ipcp;
pub mod irm;
#[cfg(feature = "std")]
pub mod manual;
pub mod node;
pub mod oap;
pub mod rib;
pub mod routing;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "std")]
pub mod stack;
pub mod types;
pub mod wire;

pub use flow::{Event, ReadError, ReadMode, WriteError};
pub use irm::LoadBalancing;
pub use oap::SecurityConfig;
#[cfg(feature = "std")]
pub use stack::{
    AcceptError, AllocError, BindError, BroadcastBuilder, BroadcastLayer, Builder, CloseError, ConfigError, Connect,
    Flow, FlowBuilder, FlowEvent, FlowFlags, FlowSet, IpcpHandle, JoinError, Listener, LocalConfig, MemberBuilder,
    MemberError, NetworkBuilder, NetworkConfig, Stack, StackError, Token, Udp4, UnicastBuilder, UnicastLayer, aio,
};
pub use types::name::Name;
pub use types::qos::{QosCube, QosSpec};
