//! UDP sockets, with segmentation offload and batches where the platform has them.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::interrupt::Interrupt;
use crate::base::buf::BufCache;
use crate::base::sync::{AtomicU64, Mutex, RwLock};
use crate::types::device::{Datagram, Datagrams, SendError};

/// Messages taken from the kernel in one call. With receive offload each holds up to 64 datagrams.
const MESSAGES: usize = 8;
/// Bytes of one such message at most.
const MESSAGE_LEN: usize = 65_536;
/// What is asked of the kernel for each direction, bytes; it may give less.
const SOCKET_BUFFER: usize = 8 << 20;
/// The largest UDP payload over IPv4, bytes.
const MAX_UDP: usize = 65_507;

/// A UDP socket of the operating system.
///
/// It is bound until it is [closed](Datagrams::close) or dropped. Bound to the unspecified address it says at which of
/// the host's addresses a datagram arrived, and can send from each of them.
pub struct UdpSocket {
    /// `None` once it is closed. Whoever is in a call of the system holds the lock meanwhile, so that no other socket
    /// gets its number.
    socket: RwLock<Option<std::net::UdpSocket>>,
    closed: AtomicBool,
    rejected: AtomicU64,
    state: UdpSocketState,
    addr: SocketAddr,
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
    /// Binds a socket.
    ///
    /// # Errors
    /// The operating system's, for instance if the address is in use or not this host's.
    pub fn bind(addr: SocketAddr) -> io::Result<Arc<Self>> {
        Self::from_std(std::net::UdpSocket::bind(addr)?)
    }

    /// Takes over a socket that was bound elsewhere.
    ///
    /// # Errors
    /// The operating system's.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Arc<Self>> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        allow_fragments(&socket);
        // Smaller buffers than asked for work too, they only lose more under load.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER);
        let addr = socket.local_addr()?;
        let (interrupt, dismissal) = (Interrupt::new()?, Interrupt::new()?);
        Ok(Arc::new(Self {
            socket: RwLock::new(Some(socket)),
            closed: AtomicBool::new(false),
            rejected: AtomicU64::new(0),
            state,
            addr,
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

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// At which address a datagram arrived, if that is not the only one and one can be answered from it.
    fn local(&self, meta: &RecvMeta) -> Option<IpAddr> {
        let local = meta.dst_ip.filter(|_| self.addr.ip().is_unspecified())?;
        let broadcast = matches!(local, IpAddr::V4(v4) if v4.is_broadcast());
        (!broadcast && !local.is_multicast()).then_some(local)
    }
}

/// The layer has no path MTU discovery and its packets may be larger than the path's MTU, so the kernel may cut them
/// up, as it does for the reference; the offload library forbids it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn allow_fragments(socket: &std::net::UdpSocket) {
    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery};
    let _ = sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allow_fragments(_socket: &std::net::UdpSocket) {}

/// What the kernel accounts for a packet of the usual size that waits to leave, bytes.
const BYTES_OF_PACKET: usize = 2304;

/// Bytes that the kernel holds for the socket, in its buffer and in the queue of the interface.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code, reason = "the operating system's interface")]
fn unsent(socket: &std::net::UdpSocket) -> usize {
    use rustix::ioctl::{Getter, ioctl};
    /// `SIOCOUTQ`, see socket(7) and udp(7).
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: for a socket this request writes one int to where its argument points, which is what `Getter` provides.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, core::ffi::c_int>::new()) };
    bytes.map_or(0, |n| usize::try_from(n).unwrap_or(0))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn unsent(_socket: &std::net::UdpSocket) -> usize {
    0
}

/// Whether the error is one that the network reported of an earlier datagram.
fn is_of_earlier(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

fn send_error(e: &io::Error) -> SendError {
    use io::ErrorKind as K;
    match e.kind() {
        K::WouldBlock => SendError::Full,
        K::OutOfMemory => SendError::NoBuffers,
        K::NetworkUnreachable | K::HostUnreachable | K::AddrNotAvailable => SendError::Unreachable,
        K::PermissionDenied => SendError::Denied,
        K::NetworkDown => SendError::InterfaceDown,
        _ if quinn_udp::is_msg_size_err(e) => SendError::TooLarge,
        _ if is_no_buffers(e) => SendError::NoBuffers,
        _ => SendError::Down,
    }
}

#[cfg(unix)]
fn is_no_buffers(e: &io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

#[cfg(windows)]
fn is_no_buffers(e: &io::Error) -> bool {
    /// `WSAENOBUFS`
    const NO_BUFFERS: i32 = 10_055;
    e.raw_os_error() == Some(NO_BUFFERS)
}

#[cfg(not(any(unix, windows)))]
fn is_no_buffers(_: &io::Error) -> bool {
    false
}

impl Datagrams for UdpSocket {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn max_datagram(&self) -> usize {
        MAX_UDP
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
        let whole = Transmit { destination: dst, ecn: None, contents: data, segment_size: segment, src_ip: src };
        let Err(e) = self.try_send(&whole) else { return Ok(()) };
        let error = send_error(&e);
        let Some(segment) = segment.filter(|s| *s > 0 && *s < data.len()) else { return Err(error) };
        // Only what may be the fault of the offload gets another chance.
        if !matches!(error, SendError::Down | SendError::TooLarge) {
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
                    let datagram = Datagram::new(meta.addr, data);
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
mod tests {
    use std::thread::Builder;

    use super::*;
    use crate::base::buf::BufPool;

    fn pair() -> (Arc<UdpSocket>, Arc<UdpSocket>) {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap())
    }

    fn recv(socket: &UdpSocket, n: usize) -> Vec<Datagram> {
        let (mut out, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(10)));
        for _ in 0..100 {
            socket.recv(&mut out, &mut cache);
            if out.len() >= n {
                break;
            }
            socket.wait(Duration::from_millis(20));
        }
        out
    }

    #[test]
    fn segments_arrive_as_datagrams() {
        let (a, b) = pair();
        let data: Vec<u8> = (0..10_050u32).map(|i| i as u8).collect();
        let segments = a.max_segments().min(10);
        for batch in data.chunks(1000 * segments) {
            a.send(b.local_addr(), batch, Some(1000)).unwrap();
        }
        let got = recv(&b, 11);
        assert_eq!(got.len(), 11);
        assert!(got.iter().all(|d| d.src == a.local_addr()));
        assert_eq!(got.iter().flat_map(|d| d.data.iter().copied()).collect::<Vec<_>>(), data);
        assert_eq!(got[10].data.len(), 50);
    }

    #[test]
    fn large_and_empty_datagrams_pass() {
        let (a, b) = pair();
        for len in [0, 1, 8980, MAX_UDP] {
            a.send(b.local_addr(), &vec![7; len], None).unwrap();
            assert_eq!(recv(&b, 1)[0].data.len(), len);
        }
        assert_eq!(a.send(b.local_addr(), &vec![7; MAX_UDP + 1], None), Err(SendError::TooLarge));
    }

    #[test]
    fn two_threads_wait_and_each_is_told_for_itself() {
        let (a, _) = pair();
        for _ in 0..200 {
            let (b, c) = (Arc::clone(&a), Arc::clone(&a));
            let waits = Builder::new().spawn(move || b.wait(Duration::from_secs(60))).unwrap();
            let guards = Builder::new().spawn(move || c.guard(Duration::from_secs(60))).unwrap();
            a.interrupt();
            waits.join().unwrap();
            assert!(!guards.is_finished(), "an interrupt is not for the guard");
            a.dismiss();
            guards.join().unwrap();
        }
    }

    #[test]
    fn a_closed_socket_is_free_at_once_whoever_waits_on_it() {
        for _ in 0..50 {
            let (a, b) = pair();
            let addr = a.local_addr();
            let (c, d) = (Arc::clone(&a), Arc::clone(&a));
            let waits = Builder::new().spawn(move || c.wait(Duration::from_secs(60))).unwrap();
            let guards = Builder::new()
                .spawn(move || {
                    while !d.is_closed() {
                        d.guard(Duration::from_secs(60))
                    }
                })
                .unwrap();
            a.close();
            let again = UdpSocket::bind(addr).unwrap();
            waits.join().unwrap();
            guards.join().unwrap();
            assert_eq!(a.send(b.local_addr(), b"late", None), Err(SendError::Down));
            b.send(addr, b"for the next", None).unwrap();
            assert!(recv(&a, 1).is_empty());
            assert_eq!(recv(&again, 1).len(), 1);
            a.close();
        }
    }

    #[test]
    fn a_socket_of_all_addresses_says_which_was_meant_and_answers_from_it() {
        let all = UdpSocket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let (peer, _) = pair();
        let port = all.local_addr().port();
        for ip in ["127.0.0.1", "127.0.0.2"] {
            let to = SocketAddr::new(ip.parse().unwrap(), port);
            peer.send(to, b"question", None).unwrap();
            let got = recv(&all, 1);
            assert_eq!(got[0].local, Some(to.ip()));
            all.send_from(got[0].local, got[0].src, b"answer", None).unwrap();
            assert_eq!(recv(&peer, 1)[0].src, to);
            assert_eq!(peer.local_addr().ip(), got[0].src.ip());
        }
    }

    #[test]
    fn errors_have_names() {
        let (a, _) = pair();
        // From a loopback address nothing goes elsewhere, and this one is nobody's.
        let far: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let got = a.send(far, b"x", None);
        assert!(matches!(got, Err(SendError::Unreachable | SendError::Down | SendError::Denied)), "{got:?}");
    }

    #[cfg(unix)]
    #[test]
    fn error_codes_are_told_apart() {
        for (code, error) in [
            (rustix::io::Errno::AGAIN, SendError::Full),
            (rustix::io::Errno::NOBUFS, SendError::NoBuffers),
            (rustix::io::Errno::NOMEM, SendError::NoBuffers),
            (rustix::io::Errno::MSGSIZE, SendError::TooLarge),
            (rustix::io::Errno::NETUNREACH, SendError::Unreachable),
            (rustix::io::Errno::HOSTUNREACH, SendError::Unreachable),
            (rustix::io::Errno::PERM, SendError::Denied),
            (rustix::io::Errno::ACCESS, SendError::Denied),
            (rustix::io::Errno::NETDOWN, SendError::InterfaceDown),
            (rustix::io::Errno::IO, SendError::Down),
        ] {
            assert_eq!(send_error(&io::Error::from_raw_os_error(code.raw_os_error())), error, "{code:?}");
        }
    }

    #[test]
    fn an_interrupt_ends_the_wait_even_if_it_came_first() {
        let (a, _) = pair();
        a.interrupt();
        a.wait(Duration::from_secs(60));
        let b = Arc::clone(&a);
        let t = Builder::new().spawn(move || b.wait(Duration::from_secs(60))).unwrap();
        a.interrupt();
        t.join().unwrap();
    }
}
