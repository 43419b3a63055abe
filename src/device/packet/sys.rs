//! The system calls of packet sockets for which there is no safe interface: see packet(7), netdevice(7) and socket(7).
#![allow(unsafe_code, reason = "the operating system's interface")]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::base::buf::PacketBuf;
use crate::types::mac::Mac;

/// Frames that are sent or received in one call, at most.
pub(super) const BATCH: usize = 64;
/// For so many a call prepares less memory.
const FEW: usize = 4;
/// Bytes of a tag that may be behind the addresses of a frame.
pub(super) const VLAN_TAG: usize = 4;

/// The binding of a packet socket, as the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// The interface; -1 if it has been deleted.
    pub(super) index: c_int,
    /// The kind of its hardware, `ARPHRD_ETHER` for Ethernet.
    pub(super) hardware: u16,
    /// The hardware's address, if it has six bytes.
    pub(super) mac: Option<Mac>,
}

const LL_LEN: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn no_address() -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Binds a packet socket to an interface and a protocol at once: from now on it receives.
pub(super) fn bind(socket: BorrowedFd<'_>, index: c_int, protocol: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll { sll_protocol: protocol.to_be(), sll_ifindex: index, ..no_address() };
    // SAFETY: the pointer is to a `sockaddr_ll` of `LL_LEN` bytes that outlives the call.
    checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), LL_LEN) }).map(|_| ())
}

/// Has an interface receive what is for others, too, for as long as this socket is open or the interface exists.
pub(super) fn be_promiscuous(socket: BorrowedFd<'_>, index: c_int) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let len = size_of::<libc::packet_mreq>() as libc::socklen_t;
    let (level, option) = (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP);
    // SAFETY: the pointer is to a `packet_mreq` of `len` bytes that outlives the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const request).cast(), len) };
    checked(result).map(|_| ())
}

/// To which interface a packet socket is bound, and what that has for an address.
pub(super) fn bound(socket: BorrowedFd<'_>) -> io::Result<Bound> {
    let (mut address, mut len) = (no_address(), LL_LEN);
    // SAFETY: the kernel writes at most `len` bytes into `address`, which has as many, and `len`; both outlive the call.
    checked(unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut len) })?;
    let mac = address.sll_addr.first_chunk::<6>().filter(|_| address.sll_halen == 6);
    Ok(Bound { index: address.sll_ifindex, hardware: address.sll_hatype, mac: mac.copied().map(Mac) })
}

/// Sets an option that is a number.
pub(super) fn set_option(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to an `int` that outlives the call, and `len` is its size.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    checked(result).map(|_| ())
}

/// Drops frames for which this program of the classic packet filter returns 0, in the kernel.
pub(super) fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    // The kernel only reads through the pointer, which is not `const` in its interface.
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    let len = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: the pointer is to a `sock_fprog` of `len` bytes, whose own pointer is to `program.len` instructions; both
    // outlive the call, and the kernel copies and checks the instructions.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const program).cast(), len) };
    checked(result).map(|_| ())
}

/// Frames that the kernel had no room for since it was last asked.
pub(super) fn overruns(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    let (level, option) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
    // SAFETY: the kernel writes at most `len` bytes into `statistics`, which has as many, and `len`; both outlive the call.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut statistics).cast(), &raw mut len) };
    checked(result).map(|_| statistics.tp_drops)
}

/// Bytes of sent frames that have not left yet.
pub(super) fn unsent(socket: BorrowedFd<'_>) -> usize {
    let mut bytes: c_int = 0;
    // SAFETY: for a socket this request writes one `int` to where its argument points.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 { 0 } else { usize::try_from(bytes).unwrap_or(0) }
}

/// The MTU of the interface of this name, and its flags (`IFF_UP`, `IFF_RUNNING`).
pub(super) fn mtu_and_flags(socket: BorrowedFd<'_>, name: &str) -> io::Result<(usize, c_int)> {
    let bytes = name.as_bytes();
    let mut ifr_name = [0; libc::IFNAMSIZ];
    // The last byte stays 0.
    if bytes.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let mut request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_mtu: 0 } };
    // SAFETY: both requests read the name from the `ifreq` and write into it; it outlives the calls.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as _, &raw mut request) })?;
    // SAFETY: this is the field that the first request writes, an `int`, for which every pattern is a value.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    // SAFETY: as above.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) })?;
    // SAFETY: this is the field that the second request writes, a `short`.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok((usize::try_from(mtu).unwrap_or(0), flags.into()))
}

/// Sends frames, [`BATCH`] at most, and returns how many were taken.
pub(super) fn send_batch(socket: BorrowedFd<'_>, frames: &[PacketBuf]) -> io::Result<usize> {
    match frames.len() {
        0..=FEW => send_some::<FEW>(socket, frames),
        _ => send_some::<BATCH>(socket, frames),
    }
}

fn send_some<const N: usize>(socket: BorrowedFd<'_>, frames: &[PacketBuf]) -> io::Result<usize> {
    let count = frames.len().min(N);
    let mut slices = [NO_SLICE; N];
    let mut messages = [const { no_message() }; N];
    for ((message, slice), frame) in messages.iter_mut().zip(&mut slices).zip(frames) {
        // The kernel only reads through the pointer, which is not `const` in its interface.
        *slice = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast::<c_void>(), iov_len: frame.len() };
        message.msg_hdr.msg_iov = slice;
        message.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: the first `count` messages, which are no more than there are, each point to a slice of their own, and that to
    // the bytes of a frame; all of them outlive the call.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count as libc::c_uint, libc::MSG_DONTWAIT as _)
    };
    checked(sent).map(|n| usize::try_from(n).unwrap_or(0))
}

const NO_SLICE: libc::iovec = libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 };

const fn no_message() -> libc::mmsghdr {
    // SAFETY: a structure of numbers and pointers, for which all zeros are a value: no address, no slices, no control data.
    unsafe { core::mem::zeroed() }
}

/// The kernel's information on a received frame.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    /// Bytes of the frame that were stored.
    pub(super) len: usize,
    /// The frame was longer.
    pub(super) is_cut: bool,
    /// The interface that it came in by.
    pub(super) index: c_int,
    /// To whom it is: `PACKET_HOST` and so on.
    pub(super) to: u8,
    /// The VLAN tag that it had, which has been taken out.
    pub(super) tag: Option<[u8; VLAN_TAG]>,
    /// Its checksum is left to the hardware, which it does not reach: it comes from this host.
    pub(super) is_unfinished: bool,
}

/// One for each frame of a call.
pub(super) type Arrivals = Vec<Arrival>;

/// The side data of a frame: what `CMSG_LEN` says is the offset of the data is that of the second field here.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    header: libc::cmsghdr,
    data: libc::tpacket_auxdata,
}

/// The VLAN tag that the kernel has taken out of a frame.
fn tag_of(data: &libc::tpacket_auxdata) -> Option<[u8; VLAN_TAG]> {
    let has = |status| data.tp_status & status != 0;
    // Kernels before 3.14 do not tell the type, which is the usual one then.
    let kind = if has(libc::TP_STATUS_VLAN_TPID_VALID) { data.tp_vlan_tpid } else { libc::ETH_P_8021Q as u16 };
    let ([a, b], [c, d]) = (kind.to_be_bytes(), data.tp_vlan_tci.to_be_bytes());
    has(libc::TP_STATUS_VLAN_VALID).then_some([a, b, c, d])
}

/// Receives frames without waiting: each into a buffer of `buffers`, and what does not fit into it into as many bytes of
/// `tails` as each has of them. `arrivals` then has what there is to say about each.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffers: &mut [PacketBuf],
    tails: &mut [u8],
    arrivals: &mut Arrivals,
) -> io::Result<()> {
    arrivals.clear();
    match buffers.len() {
        0..=FEW => receive_some::<FEW>(socket, buffers, tails, arrivals),
        _ => receive_some::<BATCH>(socket, buffers, tails, arrivals),
    }
}

fn receive_some<const N: usize>(
    socket: BorrowedFd<'_>,
    buffers: &mut [PacketBuf],
    tails: &mut [u8],
    arrivals: &mut Arrivals,
) -> io::Result<()> {
    let count = buffers.len().min(N);
    let tail = tails.len() / count.max(1);
    let mut tails = tails.chunks_exact_mut(tail.max(1));
    let mut slices = [[NO_SLICE; 2]; N];
    let mut messages = [const { no_message() }; N];
    let mut names = [no_address(); N];
    // SAFETY: structures of numbers, for which all zeros are values.
    let mut controls: [Control; N] = unsafe { core::mem::zeroed() };
    let parts = slices.iter_mut().zip(&mut names).zip(&mut controls);
    for ((message, buffer), ((slices, name), control)) in messages.iter_mut().zip(buffers.iter_mut()).zip(parts) {
        let (bytes, more): (&mut [u8], _) = (buffer, tails.next().unwrap_or_default());
        *slices = [bytes, more].map(|s| libc::iovec { iov_base: s.as_mut_ptr().cast::<c_void>(), iov_len: s.len() });
        message.msg_hdr.msg_iov = slices.as_mut_ptr();
        message.msg_hdr.msg_iovlen = if tail > 0 { 2 } else { 1 };
        message.msg_hdr.msg_name = (&raw mut *name).cast();
        message.msg_hdr.msg_namelen = LL_LEN;
        message.msg_hdr.msg_control = (&raw mut *control).cast();
        message.msg_hdr.msg_controllen = size_of::<Control>() as _;
    }
    // SAFETY: the first `count` messages, which are no more than there are, each point to slices, a name and control data
    // of their own with their sizes, and the slices to bytes that nothing else refers to; all of them outlive the call.
    let received = unsafe {
        let (flags, no_timeout) = (libc::MSG_DONTWAIT as _, core::ptr::null_mut());
        libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count as libc::c_uint, flags, no_timeout)
    };
    let received = usize::try_from(checked(received)?).unwrap_or(0);
    for ((message, name), Control { header, data }) in messages.iter().zip(&names).zip(&controls).take(received) {
        let has_data = (header.cmsg_level, header.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA);
        arrivals.push(Arrival {
            len: message.msg_len as usize,
            is_cut: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            index: name.sll_ifindex,
            to: name.sll_pkttype,
            tag: Some(data).filter(|_| has_data).and_then(tag_of),
            is_unfinished: has_data && data.tp_status & libc::TP_STATUS_CSUMNOTREADY != 0,
        });
    }
    Ok(())
}
