//! Drivers written for other stacks are devices, and devices are drivers for other stacks: the traits of
//! `embassy-net-driver` and of `smoltcp::phy`, each behind the feature of its crate's name.
//!
//! Frames are copied once on the way. Memory that is held is bounded: frames that a device has handed up in one call, and
//! [`MAX_WAITING`] that it had no room for.

#[cfg(feature = "embassy-net-driver")]
mod embassy;
mod queue;
#[cfg(feature = "smoltcp")]
mod smoltcp;
#[cfg(all(test, feature = "std"))]
mod tests;
mod waiters;

#[cfg(feature = "embassy-net-driver")]
pub use self::embassy::{EmbassyDriver, EmbassyFrames, EmbassyReceived, EmbassyRoom};
#[cfg(feature = "smoltcp")]
pub use self::smoltcp::{SmoltcpDevice, SmoltcpFrames, SmoltcpReceived, SmoltcpRoom};

/// Frames that one call of `Frames::recv` returns at most.
const RECV_BATCH: usize = 64;
/// Frames of a stack above that wait because the device had no room for them; more are dropped.
const MAX_WAITING: usize = 16;
/// Idle buffers kept for a device.
const IDLE_BUFFERS: usize = 64;

/// The driver carries something else than Ethernet frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("the driver carries no Ethernet frames: use one that does")]
pub struct WrongMedium;
