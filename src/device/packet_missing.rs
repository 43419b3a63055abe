//! In the place of packet sockets, on systems for which there is no raw Ethernet here yet.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::buf::{BufCache, PacketBuf};
use crate::types::device::{Frames, SendError};
use crate::types::mac::Mac;

/// A packet socket of Linux: frames of one protocol on one Ethernet interface, in both directions. On this system there is
/// none, and opening one fails.
#[derive(Debug)]
pub struct PacketSocket {
    never: core::convert::Infallible,
}

impl PacketSocket {
    /// Fails.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn dix(interface: &str, _ethertype: u16) -> io::Result<Arc<Self>> {
        Err(missing(interface))
    }

    /// Fails.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn llc(interface: &str) -> io::Result<Arc<Self>> {
        Err(missing(interface))
    }

    /// Fails.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn all(interface: &str) -> io::Result<Arc<Self>> {
        Err(missing(interface))
    }

    /// Sets whether frames pass by the queue that the interface has for outgoing packets.
    ///
    /// # Errors
    /// None: there is no such socket.
    pub fn set_queue_bypass(&self, _on: bool) -> io::Result<()> {
        match self.never {}
    }

    /// The name of the interface.
    pub fn interface(&self) -> &str {
        match self.never {}
    }

    /// Returns `true` if it was closed.
    pub fn is_closed(&self) -> bool {
        match self.never {}
    }
}

fn missing(interface: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "{interface}: raw Ethernet works on Linux only so far; bring a driver of your own along (device::Frames)"
        ),
    )
}

impl Frames for PacketSocket {
    fn mac(&self) -> Mac {
        match self.never {}
    }

    fn mtu(&self) -> usize {
        match self.never {}
    }

    fn send(&self, _frame: &[u8]) -> Result<(), SendError> {
        match self.never {}
    }

    fn recv(&self, _out: &mut Vec<PacketBuf>, _cache: &mut BufCache) -> usize {
        match self.never {}
    }

    fn wait(&self, _timeout: Duration) {
        match self.never {}
    }

    fn interrupt(&self) {
        match self.never {}
    }
}
