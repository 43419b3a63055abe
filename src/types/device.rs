//! The traits through which shims reach the outside: an operating system's sockets, a simulated link, a driver.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::base::buf::{BufCache, PacketBuf};

/// A datagram that arrived.
#[derive(Debug)]
pub struct Datagram {
    /// Who sent it.
    pub src: SocketAddr,
    /// Its contents, with the standard head room in front.
    pub data: PacketBuf,
}

/// Why a datagram could not be handed to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The device's queue is full; the datagram was dropped as a congested link would.
    #[error("the device's queue is full")]
    Full,
    /// The datagram is larger than the device carries.
    #[error("the datagram is larger than the device carries")]
    TooLarge,
    /// The device refused: no route, interface down, closed.
    #[error("the device is not able to send")]
    Down,
}

/// Something that carries datagrams between socket addresses: a UDP socket, or a simulated one.
///
/// All methods may be called from any thread. None blocks but [`wait`](Self::wait).
pub trait Datagrams: Send + Sync {
    /// The local address, port included.
    fn local_addr(&self) -> SocketAddr;

    /// The largest datagram that can be sent, bytes of UDP payload.
    fn max_datagram(&self) -> usize;

    /// How many datagrams of equal size to one peer a single [`send`](Self::send) takes (segmentation offload);
    /// at least 1.
    fn max_segments(&self) -> usize {
        1
    }

    /// About how many datagrams wait to leave on the way to `dst`, if the device can tell.
    fn queued(&self, dst: SocketAddr) -> usize {
        let _ = dst;
        0
    }

    /// Sends `data` to `dst`: one datagram, or, if `segment` is given, as many of `segment` bytes as there are in
    /// `data`, the last one possibly shorter. A full queue drops, as a network does.
    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError>;

    /// Appends the datagrams that have arrived to `out` and returns how many, 0 if there are none. Bounded per call;
    /// buffers come from `cache`.
    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize;

    /// Blocks until something has arrived, [`interrupt`](Self::interrupt) is called or `timeout` is over. Devices of
    /// polled and simulated stacks return at once.
    fn wait(&self, timeout: Duration);

    /// Makes a [`wait`](Self::wait) under way, or the next one, return. Only one thread at a time waits.
    fn interrupt(&self);

    /// As [`wait`](Self::wait), for a second thread at the same time, which looks after the device when nobody else
    /// does. Not [`interrupt`](Self::interrupt) ends it, which is for the other one, but [`dismiss`](Self::dismiss).
    fn guard(&self, timeout: Duration) {
        self.wait(timeout);
    }

    /// Makes a [`guard`](Self::guard) under way, or the next one, return.
    fn dismiss(&self) {
        self.interrupt();
    }
}
