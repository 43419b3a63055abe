//! Devices: clocks, UDP sockets, raw Ethernet and the resolver of the operating system; links in memory, faults in front of
//! any device, and a switch between devices. With the features `embassy-net-driver` and `smoltcp`, drivers written for those
//! crates are devices, too, and devices are such drivers.
//!
//! The only room that reads a clock or opens a socket; it knows nothing of stacks. Protocol code never comes here; a polled
//! or simulated stack does without it.
//!
//! ```
//! use o7s::device::UdpSocket;
//! use o7s::device::Datagrams;
//!
//! let socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
//! assert_ne!(socket.local_addr().port(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(any(feature = "embassy-net-driver", feature = "smoltcp"))]
mod adapt;
mod bell;
mod bridge;
pub(crate) mod clock;
mod faults;
mod interrupt;
mod memory;
#[cfg(target_os = "linux")]
mod packet;
#[cfg(not(target_os = "linux"))]
#[path = "packet_missing.rs"]
mod packet;
pub(crate) mod process;
pub(crate) mod resolve;
#[cfg(unix)]
mod signal;
mod udp;

pub use crate::base::buf::{BufCache, BufPool, PacketBuf};
pub use crate::types::device::{Datagram, Datagrams, FRAME_HEADER, FrameLosses, Frames, Link, SendError};
pub use crate::types::mac::{Mac, ParseMacError};
#[cfg(any(feature = "embassy-net-driver", feature = "smoltcp"))]
pub use adapt::WrongMedium;
#[cfg(feature = "embassy-net-driver")]
pub use adapt::{EmbassyDriver, EmbassyFrames, EmbassyReceived, EmbassyRoom};
#[cfg(feature = "smoltcp")]
pub use adapt::{SmoltcpDevice, SmoltcpFrames, SmoltcpReceived, SmoltcpRoom};
pub use bell::Bell;
pub use bridge::Bridge;
#[cfg(feature = "sim")]
pub(crate) use bridge::{Learning, Way, addresses};
pub use faults::{FaultConfig, Faults};
pub use memory::MemoryFrames;
pub use packet::PacketSocket;
pub use resolve::SystemResolver;
#[cfg(unix)]
pub(crate) use signal::Signal;
pub(crate) use udp::Clamped;
pub(crate) use udp::SocketOptions;
pub use udp::UdpSocket;
