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
//!   IPCPs        local │ udp4 │ udp6 │ eth-dix │ eth-llc │ your own │ unicast │ broadcast: each is a member of one
//!     │          layer; the last two are themselves users of flows, which other IPCPs of the stack provide
//!  devices       UDP sockets, Ethernet interfaces, simulated links, your own driver
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
//! // Each flow has a thread of its own: nobody waits for a client that says nothing.
//! server.bind_handler("echo", |flow| {
//!     let mut buf = [0; 1500];
//!     while let Ok(len) = flow.read(&mut buf) {
//!         let _ = flow.write(&buf[..len]);
//!     }
//! })?;
//!
//! let client = Stack::new()?;
//! let at = net.local_addr().unwrap().to_string();
//! client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at))?;
//! let flow = client.flow("echo").qos(QosSpec::DATA).alloc()?;
//! flow.write(b"hello")?;
//! let mut buf = [0; 64];
//! assert_eq!(flow.read(&mut buf)?, 5);
//!
//! // Another one is served meanwhile.
//! let second = client.flow("echo").qos(QosSpec::DATA).alloc()?;
//! second.write(b"hello again")?;
//! assert_eq!(second.read(&mut buf)?, 11);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A server may also accept by itself: with [`Stack::bind`], and [`Listener::accept`] for a thread or
//! [`Listener::accept_async`] for a task. One that serves a flow to its end before it accepts the next keeps the others
//! waiting in the [backlog](Stack::set_backlog), for as long as that takes. A client that is killed says nothing, and only
//! the flow's [timeout](QosSpec::timeout), two minutes by default, ends the reads of its server; a
//! [read timeout](Flow::set_read_timeout) ends them sooner.
//!
//! **Polled**: no threads, no clock. The application says what time it is with [`Stack::poll`], is told when to call
//! next, and uses the calls that do not wait, or the asynchronous ones. Sockets are of its own making
//! ([`Stack::udp4_over`]).
//!
//! ```
//! use std::pin::pin;
//! use std::task::{Context, Poll, Waker};
//! use o7s::time::Instant;
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
//!     // Dropping a flow does not lose what was written, as long as its stack is there; here the host keeps it.
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
//! A layer is a network: its members enroll with each other, find routes and names by themselves, and provide flows by
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
//! reference describes, and [`manual::configuration`] tells what may be in one. What goes on in a stack is in its
//! [tree of counters and state](Stack::rib), which [`rib::prometheus()`] exports.
//!
//! # Log records
//!
//! With the feature `log`, which is on by default, a stack writes records to whatever logger the program has installed for
//! the [`log`](https://docs.rs/log) crate, with keys and values for structured consumers. Keys are named alike everywhere:
//! `name`, `peer`, `layer`, `ipcp`, `flow`, `reason`; records of a stack with a [name](Builder::name) carry it as `stack`,
//! and those of polled and simulated ones their `time` in seconds.
//!
//! | level | what |
//! |---|---|
//! | error | somebody must act: an address that two members have, a handler that panicked |
//! | warn | a request that was refused, with its reason; a neighbour that was lost and is connected anew; a receive buffer that is smaller than the program asked for; keys or payload that leave the stack |
//! | info | life of stacks, layers, members, neighbours and flows |
//! | debug | decisions: routes, lookups, retries, allocations that failed, malformed packets |
//! | trace | packets |
//!
//! | target | of what |
//! |---|---|
//! | `o7s::stack`, `o7s::layer` | stacks, and the layers they join and leave |
//! | `o7s::irm` | listeners, and requests that are refused or repeated |
//! | `o7s::flow` | flows, and allocations under way |
//! | `o7s::udp`, `o7s::eth` | datagrams; frames, and what becomes of interfaces |
//! | `o7s::unicast`, `o7s::broadcast` | neighbours of members |
//! | `o7s::routing`, `o7s::directory`, `o7s::enroll` | forwarding tables; lookups; new members |
//!
//! No record has payload or keys in it. What a stranger can cause is limited to 10 records a second of each sort, 50 after a
//! pause, except for packets at `trace`; the next record tells how many were suppressed.
//!
//! # Settings
//!
//! All settings have one form: a value that has a default for everything, and a method of the name of each setting, which
//! takes the value and gives it back changed. It says what is set, in which unit and range, the default, and what becomes of
//! a value out of range.
//!
//! ```
//! use std::time::Duration;
//! use o7s::settings::{FrctConfig, Limits};
//! use o7s::{Stack, Udp4};
//!
//! let limits = Limits::default().flows(1000).frct(FrctConfig::default().retransmit_max(Duration::from_secs(30)));
//! let stack = Stack::builder().limits(limits).build()?;
//! let net = stack.udp4(Udp4::bind("127.0.0.1:0").mtu(1420).max_flows(100))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a program reads has public fields instead: [`ConnectionInfo`], [`stats`]; and so has [`QosSpec`], which is the
//! content of a message.
//!
//! # Where things are
//!
//! | module | what is there |
//! |---|---|
//! | the root | [`Stack`], its [`Builder`], [`Flow`], [`Listener`], [`FlowSet`]; layers and their members; errors, events, names, QoS |
//! | [`aio`] | asynchronous flows |
//! | [`settings`], [`time`], [`stats`], [`cause`] | bounds and parameters; instants and clocks; counters of flows; causes that errors carry |
//! | [`rib`] | counters and state as a tree, and its export |
//! | [`sim`] | simulated networks |
//! | [`capture`] | captures of packets: written, read and followed |
//! | [`dissect`] | captured packets, decoded for people |
//! | [`manual`] | longer texts |
//! | [`device`], [`resolve`], [`shim`], [`policy`], [`congestion`], [`cipher`], [`admission`] | what a program can [bring along](manual::doors): traits, and what implementations need |
//!
//! Everything else is private. The feature `internals` shows it to the crate's own tests, benchmarks and fuzz targets; it
//! is no interface and changes at any time, nor is what the documentation hides. That goes for the parts that need no
//! standard library, too, until there is a `Stack` without one.
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(feature = "internals"),
    allow(dead_code, unused_imports, unreachable_pub, reason = "what only tests use is no less wanted"),
    allow(clippy::wrong_self_convention, reason = "what is public inside is not looked at otherwise")
)]
// The interface, without the inside: with the feature `internals` everything would be meant.
#![cfg_attr(
    all(feature = "std", not(feature = "internals")),
    deny(missing_debug_implementations, unnameable_types),
    warn(clippy::exhaustive_enums, clippy::exhaustive_structs)
)]

extern crate alloc;

/// The examples of the README, which are to compile and to work.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// The rooms. Only the crate's own tests, benchmarks and fuzz targets see them, by the feature `internals`; what users may
// rely on is listed below.
#[cfg(not(feature = "internals"))]
mod base;
#[cfg(feature = "internals")]
pub mod base;
#[cfg(not(feature = "internals"))]
mod crypto;
#[cfg(feature = "internals")]
pub mod crypto;
#[cfg(not(feature = "internals"))]
mod directory;
#[cfg(feature = "internals")]
pub mod directory;
#[cfg(not(feature = "internals"))]
mod flow;
#[cfg(feature = "internals")]
pub mod flow;
#[cfg(not(feature = "internals"))]
mod forward;
#[cfg(feature = "internals")]
pub mod forward;
#[cfg(not(feature = "internals"))]
mod frct;
#[cfg(feature = "internals")]
pub mod frct;
#[cfg(not(feature = "internals"))]
mod ipcp;
#[cfg(feature = "internals")]
pub mod ipcp;
#[cfg(not(feature = "internals"))]
mod irm;
#[cfg(feature = "internals")]
pub mod irm;
#[cfg(not(feature = "internals"))]
mod node;
#[cfg(feature = "internals")]
pub mod node;
#[cfg(not(feature = "internals"))]
mod oap;
#[cfg(feature = "internals")]
pub mod oap;
#[cfg(not(feature = "internals"))]
mod routing;
#[cfg(feature = "internals")]
pub mod routing;
#[cfg(all(feature = "std", not(feature = "internals")))]
mod stack;
#[cfg(all(feature = "std", feature = "internals"))]
pub mod stack;
#[cfg(not(feature = "internals"))]
mod types;
#[cfg(feature = "internals")]
pub mod types;
#[cfg(not(feature = "internals"))]
mod wire;
#[cfg(feature = "internals")]
pub mod wire;

#[cfg(feature = "std")]
pub mod capture;
#[cfg(feature = "std")]
pub mod device;
#[cfg(all(not(feature = "std"), any(feature = "embassy-net-driver", feature = "smoltcp")))]
#[path = "device/no_std.rs"]
pub mod device;
#[cfg(feature = "std")]
pub mod manual;
pub mod rib;
#[cfg(feature = "sim")]
pub mod sim;

pub use crypto::suite::{Cipher, Digest, Kdf, Kex};
pub use flow::{Event, ReadError, WriteError};
pub use ipcp::shim::udp::Moves;
pub use ipcp::{Component, Info as IpcpInfo, Kind as IpcpKind};
pub use irm::LoadBalancing;
pub use node::member::ConnectionInfo;
pub use oap::{Encryption, FlowSecurity, OapError as SecurityError, PeerIdentity, PeerKind, SecurityConfig};
#[cfg(all(feature = "std", unix))]
pub use stack::Pollable;
#[cfg(feature = "std")]
pub use stack::{
    AcceptError, AllocError, BindError, BroadcastBuilder, BroadcastLayer, Builder, CloseError, ConfigError,
    ConfigWarning, ConnectOptions, Eth, Flow, FlowBuilder, FlowEvent, FlowSet, Incoming, IpcpHandle, JoinError,
    Listener, LocalConfig, MemberBuilder, MemberError, NetworkBuilder, NetworkConfig, ReadHalf, SecurityFileError,
    SecurityWarning, Stack, StackError, Stream, Token, Udp, Udp4, Udp6, UnicastBuilder, UnicastLayer, WriteHalf, aio,
};
pub use types::code::Code;
pub use types::id::{Address, Eid, N1FlowId};
pub use types::name::{HashAlg, Name, NameError, NameHash};
pub use types::qos::{QosCube, QosSpec};

/// Time as a stack knows it.
pub mod time {
    pub use crate::base::time::{Clock, Instant, ManualClock};
    #[cfg(feature = "std")]
    pub use crate::device::clock::OsClock;
}

/// Bounds, timers and parameters of stacks, layers and flows. All have defaults that do for most.
pub mod settings {
    pub use crate::frct::Config as FrctConfig;
    pub use crate::ipcp::broadcast::flood::Config as BroadcastConfig;
    pub use crate::ipcp::unicast::Config as UnicastConfig;
    pub use crate::node::Limits;
    pub use crate::oap::{CertificatePolicy, KemMode};
    pub use crate::types::layer::{CongestionAvoidance, RoutePolicy};
}

/// Causes of failed operations, and errors of parsing settings.
pub mod cause {
    pub use crate::oap::ConfigError as SecurityConfigError;
    #[cfg(feature = "std")]
    pub use crate::stack::Cause;
    pub use crate::types::parse::ParseError;
    pub use crate::wire::WireError;
}

/// Counters and state of flows, and a drawing of them over time.
pub mod stats {
    pub use crate::flow::Counters as FlowCounters;
    pub use crate::frct::{FrctPath, Stats as FrctStats};
    #[cfg(feature = "std")]
    pub use crate::stack::Timeline;
}

/// Admission: rules for whose flows are accepted, and for who may enroll through a member of a layer.
pub mod admission {
    pub use crate::ipcp::connect::enroll::{Admission, Applicant};
    pub use crate::node::gate::{FlowRequest, Gate};
}

/// Resolvers: addresses of names, for layers over UDP.
pub mod resolve {
    pub use crate::ipcp::shim::resolve::{Found, HostTable, Resolver};
}

#[doc(inline)]
pub use ipcp::shim::custom as shim;
#[doc(inline)]
pub use wire::dissect;

/// Congestion control of reliable flows.
pub mod congestion {
    pub use crate::frct::congestion::{Ack, Algorithm, Bbr, Controller, Cubic, Loss};
}

/// Routing policies of unicast layers.
pub mod policy {
    pub use crate::routing::policy::{Paths, RoutingPolicy};
}

/// Keys that outlive a flow: those that messages are signed with, and those of servers that clients encapsulate to.
pub mod keys {
    pub use crate::crypto::kex::{KemKey, KemKeyError, KemPublicKey};
    pub use crate::crypto::sign::{KeyError, KeyKind, PrivateKey, PublicKey, SignError, Signer};
    pub use crate::oap::StaticKey;
    /// What a [`Signer`] is given to draw from.
    pub use rand_core::CryptoRng;
}

/// Certificates: one's own, those of authorities, and who a peer is by them.
pub mod certificate {
    pub use crate::crypto::certificate::{
        Certificate, CertificateError, Credentials, CredentialsError, Date, LeftOut, NameFault, StoreError, TrustStore,
        Unusable, VerifiedPath, VerifiedPeer,
    };
    pub use crate::crypto::pem::PemError;
}

/// The implementation of packet ciphers.
pub mod cipher {
    pub use crate::crypto::CryptoError;
    #[cfg(feature = "aws-lc-rs")]
    pub use crate::crypto::backend::AWS_LC_RS;
    #[cfg(feature = "ring")]
    pub use crate::crypto::backend::RING;
    pub use crate::crypto::backend::{Aead, AeadKey, Backend, Nonce, RUST, Tag, all};
}
