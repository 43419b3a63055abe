//! The traits through which shims reach the outside: an operating system's sockets, a simulated link, a driver.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::mac::Mac;
use crate::base::buf::{BufCache, PacketBuf};
use crate::base::delegate::delegate;

/// A datagram that arrived.
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram {
    /// Source address.
    pub src: SocketAddr,
    /// At which of its addresses the device was reached, if it has several and can tell.
    pub local: Option<IpAddr>,
    /// Its contents, with the standard head room in front.
    pub data: PacketBuf,
}

impl Datagram {
    /// A datagram from `src`.
    pub fn new(src: SocketAddr, data: PacketBuf) -> Self {
        Self { src, local: None, data }
    }

    /// The same, for a device with several addresses: it was sent to this one.
    pub fn at(mut self, local: IpAddr) -> Self {
        self.local = Some(local);
        self
    }
}

/// Reason why a device did not send a datagram or frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The device's queue is full (`EAGAIN`). Nothing was sent; there will be room again.
    #[error("the device's queue is full")]
    Full,
    /// The system has no memory for it at the moment (`ENOBUFS`). Nothing was sent; there will be some again.
    #[error("the device has no buffer at the moment")]
    NoBuffers,
    /// The datagram or frame is larger than the device carries (`EMSGSIZE`).
    #[error("the packet is larger than the device carries")]
    TooLarge,
    /// There is no way to the destination, or from the source address (`ENETUNREACH`, `EHOSTUNREACH`).
    #[error("there is no route to the destination")]
    Unreachable,
    /// A rule forbids it, a packet filter for instance (`EPERM`, `EACCES`).
    #[error("sending there is forbidden on this host")]
    Denied,
    /// The interface is down (`ENETDOWN`).
    #[error("the network interface is down")]
    InterfaceDown,
    /// The device is closed, or broken in a way that has no name here.
    #[error("the device is not able to send")]
    Down,
}

impl SendError {
    /// Returns `true` if the same datagram can be sent in a moment.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Full | Self::NoBuffers)
    }
}

/// Something that carries datagrams between socket addresses: a UDP socket, or a simulated one.
///
/// All methods may be called from any thread. None blocks but [`wait`](Self::wait) and [`guard`](Self::guard).
pub trait Datagrams: Send + Sync {
    /// The local address, port included.
    fn local_addr(&self) -> SocketAddr;

    /// The largest datagram that can be sent, bytes of UDP payload.
    fn max_datagram(&self) -> usize;

    /// The number of datagrams of equal size to one peer that a single [`send`](Self::send) takes (segmentation offload);
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
    /// `data`, the last one possibly shorter.
    ///
    /// # Errors
    /// [`SendError::Full`] and [`NoBuffers`](SendError::NoBuffers), which are [temporary](SendError::is_temporary): the caller
    /// tries again, with all of it. Any other says why this datagram cannot be sent, and it counts as lost.
    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError>;

    /// As [`send`](Self::send), from the address `src`, if the device has several and `src` is one of them.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn send_from(
        &self,
        src: Option<IpAddr>,
        dst: SocketAddr,
        data: &[u8],
        segment: Option<usize>,
    ) -> Result<(), SendError> {
        let _ = src;
        self.send(dst, data, segment)
    }

    /// Appends the datagrams that have arrived to `out` and returns how many, 0 if there are none. Bounded per call;
    /// buffers come from `cache`.
    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize;

    /// The layer drops a datagram that came from here, and why: for devices that keep records. Called from where it is
    /// dropped, before anything is done about it; must not block.
    fn note_dropped(&self, datagram: &Datagram, why: &dyn fmt::Display) {
        let _ = (datagram, why);
    }

    /// The number of times so far that the network has said that a datagram did not arrive (ICMP), if the device is told. That is
    /// information, which anybody can forge, and ends nothing.
    fn rejected(&self) -> u64 {
        0
    }

    /// The number of datagrams so far that had arrived and were lost because nobody took them in time, if the device knows.
    fn overrun(&self) -> u64 {
        0
    }

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

    /// The layer has been left: whatever the device holds of the system, its port for instance, is free when this
    /// returns, and nothing is sent, received or waited for any more. It may be called more than once.
    fn close(&self) {
        self.interrupt();
        self.dismiss();
    }
}

/// Bytes in front of the payload of an Ethernet frame: destination, source, and type or length.
pub const FRAME_HEADER: usize = 14;

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Link {
    /// Frames can be sent and received.
    Up,
    /// The interface is switched off, or has no carrier. It may come up again.
    Down,
    /// The interface does not exist any more. One of the same name may appear, with which the device goes on.
    Gone,
}

/// Losses of a device among the frames that came in, as far as it can tell: frames since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameLosses {
    /// Nobody took them in time.
    pub overrun: u64,
    /// Larger than the device's buffers.
    pub oversized: u64,
    /// With a VLAN tag that the device does not hand up.
    pub tagged: u64,
    /// Not whole, of a bad checksum, or with one that was left to hardware.
    pub damaged: u64,
}

/// Something that carries Ethernet frames: an interface, a driver, or a simulated one.
///
/// Frames are whole but for the checksum: destination, source, type or length ([`FRAME_HEADER`]), payload. A device may add
/// padding to those that it sends, and need not take it away from those that it receives.
///
/// All methods may be called from any thread. None blocks but [`wait`](Self::wait) and [`guard`](Self::guard).
///
/// # What an implementation does
///
/// It hands up every frame whole or not at all: one that is larger than its buffers is dropped and
/// [counted](Self::losses), whatever the MTU is. Frames that the device itself has sent are not received. A frame with a
/// VLAN tag is either handed up with the tag in its place (type 0x8100 or 0x88a8 at offset 12), also if the hardware has
/// taken it out, or dropped and counted: never handed up as though it had none. It may drop frames that can be of no use to
/// the layer above, those of other protocols or for other addresses, and should; but the layer does not rely on it.
///
/// When [`mac`](Self::mac), [`mtu`](Self::mtu) or [`link`](Self::link) change, waiting threads return as if a frame had
/// arrived; the layer asks for all three whenever it has received.
pub trait Frames: Send + Sync {
    /// The interface's address. It may change.
    fn mac(&self) -> Mac;

    /// The largest payload of a frame, bytes behind the [header](FRAME_HEADER): 1500 on most interfaces. It may change.
    fn mtu(&self) -> usize;

    /// The state of the link. It may change.
    fn link(&self) -> Link {
        Link::Up
    }

    /// The number of frames that one [`send_batch`](Self::send_batch) hands to the system in one go. 1, the default, if it gains
    /// nothing: nobody holds frames back to have a batch then.
    fn max_batch(&self) -> usize {
        1
    }

    /// The number of frames that wait to leave, about, if the device can tell.
    fn queued(&self) -> usize {
        0
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// [`SendError::Full`] and [`NoBuffers`](SendError::NoBuffers), which are [temporary](SendError::is_temporary): the caller
    /// tries again. Any other says why this frame cannot be sent, and it counts as lost.
    fn send(&self, frame: &[u8]) -> Result<(), SendError>;

    /// Sends frames from the first one on, in this order, and returns how many the device has taken: at least one. By
    /// default they are sent one by one.
    ///
    /// # Errors
    /// As [`send`](Self::send), if not even the first was sent. The state of the others is not known before they are sent again.
    fn send_batch(&self, frames: &[PacketBuf]) -> Result<usize, SendError> {
        for (sent, frame) in frames.iter().enumerate() {
            match self.send(frame) {
                Ok(()) => {}
                Err(e) if sent == 0 => return Err(e),
                // The next call finds out.
                Err(_) => return Ok(sent),
            }
        }
        Ok(frames.len())
    }

    /// Appends the frames that have arrived to `out` and returns how many, 0 if there are none. Bounded per call; buffers
    /// come from `cache`, with the standard head room in front.
    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize;

    /// The layer drops a frame that came from here, and why: for devices that keep records. Called from where it is
    /// dropped, before anything is done about it; must not block.
    fn note_dropped(&self, frame: &[u8], why: &dyn fmt::Display) {
        let _ = (frame, why);
    }

    /// Losses on the way in, if the device can tell.
    fn losses(&self) -> FrameLosses {
        FrameLosses::default()
    }

    /// Blocks until something has arrived or changed, [`interrupt`](Self::interrupt) is called or `timeout` is over. Devices
    /// of polled and simulated stacks return at once.
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

    /// The layer has been left: whatever the device holds of the system is free when this returns, and nothing is sent,
    /// received or waited for any more. It may be called more than once.
    fn close(&self) {
        self.interrupt();
        self.dismiss();
    }
}

/// A shared device is one: what wraps a device can wrap it.
impl<D: Datagrams + ?Sized> Datagrams for Arc<D> {
    delegate! {
        self => (**self);
        fn local_addr() -> SocketAddr;
        fn max_datagram() -> usize;
        fn max_segments() -> usize;
        fn queued(dst: SocketAddr) -> usize;
        fn send(dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError>;
        fn send_from(src: Option<IpAddr>, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError>;
        fn recv(out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize;
        fn note_dropped(datagram: &Datagram, why: &dyn fmt::Display);
        fn rejected() -> u64;
        fn overrun() -> u64;
        fn wait(timeout: Duration);
        fn interrupt();
        fn guard(timeout: Duration);
        fn dismiss();
        fn close();
    }
}

/// A shared device is one.
impl<D: Frames + ?Sized> Frames for Arc<D> {
    delegate! {
        self => (**self);
        fn mac() -> Mac;
        fn mtu() -> usize;
        fn link() -> Link;
        fn max_batch() -> usize;
        fn queued() -> usize;
        fn send(frame: &[u8]) -> Result<(), SendError>;
        fn send_batch(frames: &[PacketBuf]) -> Result<usize, SendError>;
        fn recv(out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize;
        fn note_dropped(frame: &[u8], why: &dyn fmt::Display);
        fn losses() -> FrameLosses;
        fn wait(timeout: Duration);
        fn interrupt();
        fn guard(timeout: Duration);
        fn dismiss();
        fn close();
    }
}
