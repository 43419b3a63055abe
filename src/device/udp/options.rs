//! Creation of UDP sockets, and what the kernel may do with their datagrams.

use std::io;
use std::net::SocketAddr;

use quinn_udp::{UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

/// Buffer requested from the kernel for each direction, bytes; it may give less.
pub(super) const BUFFER: usize = 8 << 20;

/// Settings of a socket that count when it is made.
#[derive(Clone, Debug)]
pub(crate) struct SocketOptions {
    /// Other sockets may be bound to the same address and port, if they say so as well.
    pub(crate) reuse: bool,
    /// One of IPv6 carries IPv4 as well.
    pub(crate) dual: bool,
    /// The network interface that datagrams pass, and no other.
    pub(crate) interface: Option<String>,
    /// Bytes of datagrams that the kernel is asked to keep until they are received.
    pub(crate) receive_buffer: usize,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { reuse: false, dual: false, interface: None, receive_buffer: BUFFER }
    }
}

impl SocketOptions {
    /// Returns `true` if nobody has asked for a receive buffer of a size.
    pub(crate) fn is_default_buffer(&self) -> bool {
        self.receive_buffer == BUFFER
    }
}

/// A receive buffer that is smaller than the one that was asked for, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clamped {
    pub(crate) wanted: usize,
    pub(crate) got: usize,
}

impl Clamped {
    /// What an operator raises to get more.
    pub(crate) const LIMIT: &str = if cfg!(any(target_os = "linux", target_os = "android")) {
        "the sysctl net.core.rmem_max"
    } else if cfg!(windows) {
        "the receive buffer that the system allows"
    } else {
        "the sysctl kern.ipc.maxsockbuf"
    };

    /// Asks the kernel to keep so many bytes, and looks how many it keeps.
    pub(super) fn ask(state: &UdpSocketState, socket: &std::net::UdpSocket, wanted: usize) -> Option<Self> {
        // The option is an int, of which Linux takes the double for its own use.
        let wanted = wanted.min(i32::MAX as usize / 2);
        // A refusal shows in the size.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(socket), wanted);
        let size = state.recv_buffer_size(UdpSockRef::from(socket)).ok()?;
        let got = if cfg!(any(target_os = "linux", target_os = "android")) { size / 2 } else { size };
        (got < wanted).then_some(Self { wanted, got })
    }
}

/// A socket at `addr`.
pub(super) fn open(addr: SocketAddr, options: &SocketOptions) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // Said in any case: what a system does without a word is a matter of its settings.
        socket.set_only_v6(!options.dual)?;
    }
    if options.reuse {
        share(&socket)?;
    }
    if let Some(interface) = &options.interface {
        bind_to(&socket, interface)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Lets the kernel deal the peers out among all sockets of the address.
#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))))]
fn share(_socket: &Socket) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not share ports among sockets"))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_to(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_to(_socket: &Socket, _interface: &str) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "sockets cannot be bound to an interface on this system"))
}

/// The layer itself has no path MTU discovery, and its packets may be larger than the path's MTU, so the kernel may cut them
/// up, as it does for the reference; the offload library forbids it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn allow_fragments(socket: &std::net::UdpSocket, is_v6: bool) {
    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
    // Also of one of IPv6, for IPv4 addresses that are mapped into it.
    let _ = sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT);
    if is_v6 {
        let _ = sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT);
        cut_up_v6(socket);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn allow_fragments(_socket: &std::net::UdpSocket, _is_v6: bool) {}

/// Over IPv6 only the sender can cut a datagram up, and there is a second option that forbids it.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code, reason = "the operating system's interface")]
fn cut_up_v6(socket: &std::net::UdpSocket) {
    use std::os::fd::AsRawFd as _;
    let off: libc::c_int = 0;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option is an int, and so many bytes are read from where the pointer points. What comes of a refusal is
    // that large datagrams are refused, which is told to whoever sends them.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, (&raw const off).cast(), len);
    }
}
