//! The operating system's information on a socket: errors of sending, and the bytes that wait in it.

use std::io;

use crate::types::device::SendError;

/// Memory that the kernel accounts for a queued packet of the usual size, bytes.
pub(super) const BYTES_OF_PACKET: usize = 2304;

/// Returns the bytes that the kernel holds for the socket, in its buffer and in the queue of the interface; 0 where the
/// system does not tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code, reason = "the operating system's interface")]
pub(super) fn unsent(socket: &std::net::UdpSocket) -> usize {
    use rustix::ioctl::{Getter, ioctl};
    /// `SIOCOUTQ`, see socket(7) and udp(7).
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: for a socket this request writes one int to where its argument points, which is what `Getter` provides.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, core::ffi::c_int>::new()) };
    bytes.map_or(0, |n| usize::try_from(n).unwrap_or(0))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn unsent(_socket: &std::net::UdpSocket) -> usize {
    0
}

/// Returns how many datagrams the kernel has dropped that had arrived for the socket, because its buffer was full or their
/// checksum was wrong; 0 where the system does not tell.
///
/// `SO_RXQ_OVFL` would tell with each datagram, but the library that receives keeps no such message. This one may be
/// asked at any time.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code, reason = "the operating system's interface")]
pub(super) fn dropped(socket: &std::net::UdpSocket) -> u64 {
    use std::os::fd::AsRawFd as _;
    /// `SO_MEMINFO`, and the place of `SK_MEMINFO_DROPS` in its answer, see linux/sock_diag.h.
    const SO_MEMINFO: libc::c_int = 55;
    const DROPS: usize = 8;
    let mut info = [0u32; DROPS + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `info`, which has as many, and `len`; both outlive the call. Of a
    // refusal nothing is written.
    let result = unsafe {
        let (to, len) = (info.as_mut_ptr().cast(), &raw mut len);
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_MEMINFO, to, len)
    };
    if result < 0 { 0 } else { info.last().copied().map_or(0, u64::from) }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn dropped(_socket: &std::net::UdpSocket) -> u64 {
    0
}

/// Returns `true` for an error that the network reported about an earlier datagram.
pub(super) fn is_of_earlier(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

/// The error of a send, as a layer is told.
pub(super) fn send_error(e: &io::Error) -> SendError {
    use io::ErrorKind as K;
    match e.kind() {
        K::WouldBlock => SendError::Full,
        K::OutOfMemory => SendError::NoBuffers,
        // Linux calls it an invalid argument to send from a loopback address to another host.
        K::NetworkUnreachable | K::HostUnreachable | K::AddrNotAvailable | K::InvalidInput => SendError::Unreachable,
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
