//! Captures: packets that pass, written as pcapng, and captured packets, read and followed.
//!
//! [`Stack::capture`](crate::Stack::capture) is a switch on a running stack: from then on, until the [`Capture`] is stopped
//! or dropped, the datagrams and frames of all its layers over devices are written. Wireshark shows them with the dissector
//! that [`DISSECTOR`] is, and `examples/odump` without. While there is no capture, a device pays for the possibility with
//! one relaxed load a call.
//!
//! ```
//! use o7s::capture::{CaptureConfig, Reader};
//! use o7s::{Stack, Udp4};
//!
//! let file = std::env::temp_dir().join("o7s-capture-example.pcapng");
//! let stack = Stack::new()?;
//! let net = stack.udp4(Udp4::bind("127.0.0.1:0"))?;
//! let capture = stack.capture(std::fs::File::create(&file)?, CaptureConfig::default())?;
//! // A request for a flow to a name that nobody has.
//! let at = net.local_addr().unwrap().to_string();
//! let other = Stack::new()?;
//! other.udp4(Udp4::outgoing("127.0.0.1").host("nobody", &at))?;
//! assert!(other.flow("nobody").alloc().is_err());
//! let stats = capture.stop()?;
//! assert!(stats.packets >= 2 && stats.lost == 0);
//!
//! let mut reader = Reader::new(std::fs::File::open(&file)?)?;
//! let first = reader.packet()?.unwrap();
//! assert!(first.interface.starts_with("udp4."));
//! # std::fs::remove_file(&file)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is written
//!
//! | interface | link type | what |
//! |---|---|---|
//! | the name of a UDP layer's IPCP | 101, raw IP | its datagrams, behind headers of IP and UDP that are made up |
//! | the name of an Ethernet layer's IPCP | 1, Ethernet | its frames |
//! | either, with ` (dropped)` behind | the same | once more what a layer has dropped, or a device has not taken, with the reason as a comment |
//! | `flow N`, if [asked for](CaptureConfig::flows) | 147, [`FlowHeader`] | the packets of a flow in the clear; what was dropped with the reason as a comment |
//!
//! Packets wait in memory of [bounded size](CaptureConfig::queue) for a thread that writes them, in a polled stack for the
//! next [`poll`](crate::Stack::poll). A disk that is too slow costs packets in the file, which are counted there, and never
//! the flows. A simulated stack writes the same bytes for the same seed.
//!
//! # Risks
//!
//! A capture has what passed, as it passed: payload of flows that are not encrypted, names as hashes, addresses. With
//! [`CaptureConfig::flows`] it has the payload of all flows, and with [`CaptureConfig::keys`] the means to read all that is
//! encrypted, also in captures that others have made. Neither is on unless asked for.
//!
//! # Key logs
//!
//! One line for each encrypted flow, in the manner of NSS's `SSLKEYLOGFILE`: a label, the id of the flow's request, the
//! session key, in hexadecimal. Keys of later packets follow from it. A program gets them by
//! [`Builder::key_log`](crate::Builder::key_log), a capture has them in blocks of secrets; [`KeyLog`] reads them.
//!
//! | label | flow |
//! |---|---|
//! | `O7S_PEER_SESSION_KEY` | between two ends of this library |
//! | `O7S_REFERENCE_SESSION_KEY` | to a reference |
//!
//! # Reading
//!
//! [`Reader`] takes a capture apart, of this crate or another program, as a file or as it is being written. [`Follower`] is
//! given its packets one by one: it knows which flow each belongs to and what is in it, and opens what is encrypted if it
//! [has the keys](Follower::add_keys).

mod config;
mod flow;
mod follow;
mod headers;
mod keys;
#[cfg(feature = "sim")]
mod network;
mod pcap;
mod read;
mod tap;
#[cfg(test)]
mod tests;
mod waiting;
mod writing;

pub use config::{CaptureConfig, CaptureError, CaptureStats};
pub(crate) use flow::FlowRecorder;
pub use follow::{Followed, Follower};
pub use keys::KeyLog;
#[cfg(feature = "sim")]
pub(crate) use network::{NetworkRecorder, PacketKind};
pub use pcap::Pcap;
pub use read::{CapturedPacket, Reader};
pub use tap::{Capture, Tap};

pub use crate::wire::pcapng::Flow as FlowHeader;

/// The Wireshark dissector, a script in Lua: saved as `o7s.lua` in Wireshark's folder of personal plugins, or given as
/// `tshark -X lua_script:o7s.lua`, it shows the packets of all layers, and which flow each belongs to. Ports, EtherType and
/// sizes are preferences. The [names of its fields](crate::dissect#fields) are those of [`Follower`].
pub const DISSECTOR: &str = include_str!("../wire/o7s.lua");
