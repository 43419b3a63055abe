//! UDP sockets, with segmentation offload and batches where the platform has them.

mod options;
mod system;

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

pub(crate) use self::options::{Clamped, SocketOptions};
use self::system::{BYTES_OF_PACKET, dropped, is_of_earlier, send_error, unsent};
use super::interrupt::Interrupt;
use crate::base::buf::BufCache;
use crate::base::sync::{AtomicU64, Mutex, RwLock};
use crate::types::addr::canonical;
use crate::types::device::{Datagram, Datagrams, SendError};

/// Messages taken from the kernel in one call. With receive offload each holds up to 64 datagrams.
const MESSAGES: usize = 8;
/// Bytes of one such message at most.
const MESSAGE_LEN: usize = 65_536;
/// The largest UDP payload over IPv4, bytes.
const MAX_UDP: usize = 65_507;
/// The largest UDP payload over IPv6 without jumbograms, whose length does not count the IP header, bytes.
const MAX_UDP_V6: usize = 65_527;

/// A UDP socket of the operating system.
///
/// It is bound until it is [closed](Datagrams::close) or dropped. Bound to the unspecified address it says at which of
/// the host's addresses a datagram arrived, and can send from each of them. One of IPv6 that takes IPv4 as well shows IPv4
/// addresses as such.
pub struct UdpSocket {
    /// `None` once it is closed. Whoever is in a call of the system holds the lock meanwhile, so that no other socket
    /// gets its number.
    socket: RwLock<Option<std::net::UdpSocket>>,
    closed: AtomicBool,
    rejected: AtomicU64,
    clamped: Option<Clamped>,
    state: UdpSocketState,
    addr: SocketAddr,
    /// One of IPv6, of which IPv4 addresses are spelt differently.
    is_v6: bool,
    max_datagram: usize,
    /// Allocated at the first receive.
    messages: Mutex<Vec<u8>>,
    interrupt: Interrupt,
    dismissal: Interrupt,
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpSocket({})", self.addr)
    }
}

impl UdpSocket {
    /// Binds a socket. One of IPv6 takes no IPv4.
    ///
    /// # Errors
    /// The operating system's, for instance if the address is in use or not this host's.
    pub fn bind(addr: SocketAddr) -> io::Result<Arc<Self>> {
        Self::bind_with(addr, &SocketOptions::default())
    }

    /// As [`bind`](Self::bind), with settings.
    pub(crate) fn bind_with(addr: SocketAddr, options: &SocketOptions) -> io::Result<Arc<Self>> {
        Self::take_over(options::open(addr, options)?, options.receive_buffer)
    }

    /// Takes over a socket that was bound elsewhere. Of its settings some are replaced: it does not block, has buffers of its
    /// own size, and fragments what is larger than the path's MTU. What it says of the priority of its datagrams (DSCP,
    /// `IP_TOS`) is not kept: each is sent with a traffic class of 0.
    ///
    /// # Errors
    /// The operating system's.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Arc<Self>> {
        Self::take_over(socket, options::BUFFER)
    }

    fn take_over(socket: std::net::UdpSocket, receive_buffer: usize) -> io::Result<Arc<Self>> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let bound = socket.local_addr()?;
        let is_v6 = bound.is_ipv6();
        let is_dual = is_v6 && !socket2::SockRef::from(&socket).only_v6()?;
        options::allow_fragments(&socket, is_v6);
        // A smaller one works too, it only loses more under load.
        let clamped = Clamped::ask(&state, &socket, receive_buffer);
        // Writers wait for a smaller one, and nothing is lost.
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), options::BUFFER);
        let (interrupt, dismissal) = (Interrupt::new()?, Interrupt::new()?);
        Ok(Arc::new(Self {
            socket: RwLock::new(Some(socket)),
            closed: AtomicBool::new(false),
            rejected: AtomicU64::new(0),
            clamped,
            state,
            addr: canonical(bound),
            is_v6,
            max_datagram: if is_v6 && !is_dual { MAX_UDP_V6 } else { MAX_UDP },
            messages: Mutex::new(Vec::new()),
            interrupt,
            dismissal,
        }))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let socket = self.socket.read();
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        match self.state.try_send(UdpSockRef::from(socket), transmit) {
            // What became of an earlier datagram; this one was not looked at.
            Err(e) if is_of_earlier(&e) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                self.state.try_send(UdpSockRef::from(socket), transmit)
            }
            result => result,
        }
    }

    fn receive(&self, slices: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Option<usize> {
        let socket = self.socket.read();
        let socket = socket.as_ref()?;
        for _ in 0..MESSAGES {
            match self.state.recv(UdpSockRef::from(socket), slices, meta) {
                Ok(n) => return Some(n),
                // Of a datagram that was sent earlier. What has arrived is behind it.
                Err(e) if is_of_earlier(&e) => self.rejected.fetch_add(1, Ordering::Relaxed),
                Err(_) => return None,
            };
        }
        None
    }

    fn wait_for(&self, interrupt: &Interrupt, timeout: Duration) {
        let socket = self.socket.read();
        // Whoever closes sets the mark, and then interrupts whoever waits.
        if let Some(socket) = socket.as_ref().filter(|_| !self.closed.load(Ordering::SeqCst)) {
            interrupt.wait(&[socket], timeout);
        }
    }

    /// The receive buffer, if the kernel gave less than it was asked for.
    pub(crate) fn clamped(&self) -> Option<Clamped> {
        self.clamped
    }

    /// Returns `true` if it was closed.
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// An address as the kernel wants it of this socket.
    fn spelt(&self, addr: SocketAddr) -> SocketAddr {
        match addr {
            SocketAddr::V4(v4) if self.is_v6 => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
            _ => addr,
        }
    }

    /// At which address a datagram arrived, if that is not the only one and one can be answered from it.
    fn local(&self, meta: &RecvMeta) -> Option<IpAddr> {
        let local = meta.dst_ip.filter(|_| self.addr.ip().is_unspecified())?.to_canonical();
        let broadcast = matches!(local, IpAddr::V4(v4) if v4.is_broadcast());
        (!broadcast && !local.is_multicast()).then_some(local)
    }
}

impl Datagrams for UdpSocket {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn max_datagram(&self) -> usize {
        self.max_datagram
    }

    fn max_segments(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }

    fn queued(&self, _dst: SocketAddr) -> usize {
        self.socket.read().as_ref().map_or(0, unsent).div_ceil(BYTES_OF_PACKET)
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        self.send_from(None, dst, data, segment)
    }

    fn send_from(
        &self,
        src: Option<IpAddr>,
        dst: SocketAddr,
        data: &[u8],
        segment: Option<usize>,
    ) -> Result<(), SendError> {
        let dst = self.spelt(dst);
        let whole = Transmit { destination: dst, ecn: None, contents: data, segment_size: segment, src_ip: src };
        let Err(e) = self.try_send(&whole) else { return Ok(()) };
        let error = send_error(&e);
        let Some(segment) = segment.filter(|s| *s > 0 && *s < data.len()) else { return Err(error) };
        // Only what may be the fault of the offload gets another chance.
        let offload = matches!(error, SendError::Down | SendError::TooLarge) || e.kind() == io::ErrorKind::InvalidInput;
        if !offload {
            return Err(error);
        }
        // Segments above the path's MTU cannot be offloaded; one at a time the kernel fragments them. Should it run out
        // of room on the way, those that have left are sent again with the others: a datagram may come twice.
        for datagram in data.chunks(segment) {
            let one = Transmit { destination: dst, ecn: None, contents: datagram, segment_size: None, src_ip: src };
            self.try_send(&one).map_err(|e| send_error(&e))?;
        }
        Ok(())
    }

    fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    fn overrun(&self) -> u64 {
        self.socket.read().as_ref().map_or(0, dropped)
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let mut messages = self.messages.lock();
        if messages.is_empty() {
            messages.resize(MESSAGES * MESSAGE_LEN, 0);
        }
        let mut meta = [RecvMeta::default(); MESSAGES];
        let mut chunks = messages.chunks_exact_mut(MESSAGE_LEN);
        let mut slices: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let Some(n) = self.receive(&mut slices, &mut meta) else { return 0 };
        let before = out.len();
        for (message, meta) in slices.iter().zip(&meta).take(n) {
            let bytes = message.get(..meta.len).unwrap_or_default();
            let (first, more) = bytes.split_at(meta.stride.min(bytes.len()));
            // The first one may be empty.
            for datagram in core::iter::once(first).chain(more.chunks(meta.stride.max(1))) {
                let mut data = cache.take(datagram.len());
                if data.extend_from_slice(datagram).is_some() {
                    let datagram = Datagram::new(canonical(meta.addr), data);
                    out.push(match self.local(meta) {
                        Some(local) => datagram.at(local),
                        None => datagram,
                    });
                }
            }
        }
        out.len() - before
    }

    fn wait(&self, timeout: Duration) {
        self.wait_for(&self.interrupt, timeout);
    }

    fn interrupt(&self) {
        self.interrupt.raise();
    }

    fn guard(&self, timeout: Duration) {
        self.wait_for(&self.dismissal, timeout);
    }

    fn dismiss(&self) {
        self.dismissal.raise();
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.interrupt.raise();
        self.dismissal.raise();
        // Nobody holds the lock for longer than a call that does not block, but those that were just told to return.
        let socket = self.socket.write().take();
        drop(socket);
        *self.messages.lock() = Vec::new();
    }
}

#[cfg(test)]
mod tests;
