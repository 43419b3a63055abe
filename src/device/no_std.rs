//! The part of this room that needs no operating system: drivers of other crates as devices, and devices as such drivers.

mod adapt;

pub use crate::base::buf::{BufCache, BufPool, PacketBuf};
pub use crate::types::device::{FRAME_HEADER, FrameLosses, Frames, Link, SendError};
pub use crate::types::mac::{Mac, ParseMacError};
pub use adapt::WrongMedium;
#[cfg(feature = "embassy-net-driver")]
pub use adapt::{EmbassyDriver, EmbassyFrames, EmbassyReceived, EmbassyRoom};
#[cfg(feature = "smoltcp")]
pub use adapt::{SmoltcpDevice, SmoltcpFrames, SmoltcpReceived, SmoltcpRoom};
