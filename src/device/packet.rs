//! Packet sockets of Linux: Ethernet frames of one interface, without IP.

mod link;
mod sys;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use smallvec::SmallVec;

use self::link::{ALL, Interface};
use self::sys::{Arrival, Arrivals, BATCH, VLAN_TAG};
use super::clock::OsClock;
use super::interrupt::Interrupt;
use crate::base::buf::{BufCache, POOLED_PAYLOAD, PacketBuf};
use crate::base::sync::{AtomicU64, Mutex, RwLock};
use crate::base::time::{Clock as _, Instant};
use crate::types::device::{FRAME_HEADER, FrameLosses, Frames, Link, SendError};
use crate::types::mac::Mac;

/// Buffer requested from the kernel for each direction, bytes; it may give less.
const SOCKET_BUFFER: usize = 8 << 20;
/// Bytes of a frame that are received into a buffer of the pool. The rest of a longer one is copied.
const BUFFER: usize = POOLED_PAYLOAD;
/// Memory for what does not fit into buffers of the pool, bytes.
const TAILS: usize = 1 << 20;
/// Bytes of the two addresses of a frame.
const ADDRESSES: usize = 12;
/// Frames that are asked for in the first call, and in each while few arrive.
const FEW: usize = 4;
/// Interval of checks of the interface while frames keep coming, or nobody waits.
const LOOK: Duration = Duration::from_millis(100);
/// The longest wait where the kernel tells nothing of changes of the interface.
const BLIND: Duration = Duration::from_millis(500);
/// Memory that the kernel accounts for a queued frame of the usual size, bytes.
const BYTES_OF_FRAME: usize = 2304;

/// The lowest EtherType; smaller numbers in its place are lengths.
const MIN_ETHERTYPE: u16 = 0x0600;
/// The protocol of the kernel for frames with a length in the place of the type, and an LLC header: `ETH_P_802_2`.
const LLC: u16 = 4;

/// Passes LLC frames of a flow or of management, as the Ethernet layer has them: the destination's number has six bits,
/// mirrored, so the last two are clear, and the control byte says "unnumbered information". Spanning tree (0x42) and SNAP
/// (0xaa) stay in the kernel.
const LLC_FILTER: [libc::sock_filter; 5] = {
    const fn step(code: u32, when_not: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt: 0, jf: when_not, k }
    }
    let word = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let masked = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let end = libc::BPF_RET | libc::BPF_K;
    [
        // The last byte of the length, the destination's number, the source's, and the control byte: a frame without
        // payload ends there.
        step(word, 0, FRAME_HEADER as u32 - 1),
        step(masked, 0, 0x0003_00ff),
        step(is, 1, 0x0000_0003),
        step(end, 0, u32::MAX),
        step(end, 0, 0),
    ]
};

/// A packet socket of Linux: frames of one protocol, or [all](Self::all), on one Ethernet interface, in both directions.
///
/// Opening one needs the right `CAP_NET_RAW` in the user namespace that the network namespace belongs to. The frames that it
/// does not want stay in the kernel: those of other protocols, those for other addresses, those with a VLAN tag, and those
/// that this host has sent itself. The interface is not made promiscuous.
///
/// Changes of the interface's MTU, address and carrier are followed. If it is deleted, the socket waits for another one of
/// the same name and goes on with that; if it is renamed, it stays with it.
///
/// ```no_run
/// use o7s::device::{Frames, PacketSocket};
///
/// let socket = PacketSocket::dix("eth0", 0xa000)?;
/// println!("{} carries {} bytes", socket.mac(), socket.mtu());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct PacketSocket {
    name: String,
    /// `None` once it is closed. Whoever is in a call of the system holds the lock meanwhile, so that no other socket
    /// gets its number.
    socket: RwLock<Option<OwnedFd>>,
    closed: AtomicBool,
    interface: Interface,
    takes_all: bool,
    clock: OsClock,
    receiving: Mutex<Receiving>,
    lost: Lost,
    interrupt: Interrupt,
    dismissal: Interrupt,
}

/// Frames that were not handed up.
#[derive(Default)]
struct Lost {
    overrun: AtomicU64,
    oversized: AtomicU64,
    tagged: AtomicU64,
    damaged: AtomicU64,
}

/// Working memory of the receiving thread.
#[derive(Default)]
struct Receiving {
    /// Each [`BUFFER`] bytes long.
    buffers: Vec<PacketBuf>,
    tails: Vec<u8>,
    arrivals: Arrivals,
    /// Frames to ask for.
    want: usize,
    looked_at: Instant,
}

impl fmt::Debug for PacketSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketSocket({})", self.name)
    }
}

impl PacketSocket {
    /// Opens a socket for frames of this EtherType (DIX, Ethernet II) on the interface of this name.
    ///
    /// # Errors
    /// `InvalidInput` if the number is a length and no type, `PermissionDenied` if the right `CAP_NET_RAW` is missing,
    /// `NotFound` if there is no such interface, `Unsupported` if it is none of Ethernet or the system has no such sockets;
    /// else the operating system's.
    pub fn dix(interface: &str, ethertype: u16) -> io::Result<Arc<Self>> {
        if !(MIN_ETHERTYPE..u16::MAX).contains(&ethertype) {
            let why =
                format!("{ethertype:#06x} is not a valid EtherType: use 0x0600 to 0xfffe, smaller numbers are lengths");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Self::open(interface, ethertype, &[])
    }

    /// Opens a socket for LLC frames (IEEE 802.2) of the kind that the Ethernet layer has on the interface of this name:
    /// unnumbered information to a number of six bits.
    ///
    /// # Errors
    /// As [`dix`](Self::dix).
    pub fn llc(interface: &str) -> io::Result<Arc<Self>> {
        Self::open(interface, LLC, &LLC_FILTER)
    }

    /// Opens a socket for all frames on the interface of this name, whatever they are and whoever they are for, which makes
    /// the interface promiscuous: for switches. Those with a VLAN tag are received with it.
    ///
    /// Frames whose checksum a program on this host, or in a namespace of it, has left to the hardware are dropped and
    /// [counted](FrameLosses::damaged), and those that several were put together into are [too
    /// large](FrameLosses::oversized): `ethtool -K DEV tx off tso off gro off` on the interfaces of a cable or bridge that
    /// carries such traffic. What Ethernet layers send is not concerned.
    ///
    /// # Errors
    /// As [`dix`](Self::dix).
    pub fn all(interface: &str) -> io::Result<Arc<Self>> {
        Self::open(interface, ALL, &[])
    }

    fn open(interface: &str, protocol: u16, filter: &[libc::sock_filter]) -> io::Result<Arc<Self>> {
        let failed = |error| explain(interface, error);
        // Without a protocol it receives nothing until it is bound to an interface: not even for a moment what is for
        // others.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None);
        let socket = socket.map_err(|error| failed(error.into()))?;
        prepare(socket.as_fd(), filter).map_err(failed)?;
        let bound = Interface::bind(socket.as_fd(), interface, protocol).map_err(failed)?;
        Ok(Arc::new(Self {
            name: interface.to_owned(),
            socket: RwLock::new(Some(socket)),
            closed: AtomicBool::new(false),
            interface: bound,
            takes_all: protocol == ALL,
            clock: OsClock::new(),
            receiving: Mutex::default(),
            lost: Lost::default(),
            interrupt: Interrupt::new()?,
            dismissal: Interrupt::new()?,
        }))
    }

    /// Sets whether frames pass by the queue that the interface has for outgoing packets (`PACKET_QDISC_BYPASS`): a little
    /// faster, but nothing else limits or orders what is sent, and what the interface has no room for is lost. Default:
    /// `false`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn set_queue_bypass(&self, on: bool) -> io::Result<()> {
        let socket = self.socket.read();
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        sys::set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, on.into())
    }

    /// The name that the interface had when the socket was opened.
    pub fn interface(&self) -> &str {
        &self.name
    }

    /// Returns `true` if it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn try_send<R>(&self, send: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> Result<R, SendError> {
        let socket = self.socket.read();
        let socket = socket.as_ref().ok_or(SendError::Down)?.as_fd();
        send(socket).map_err(|error| {
            let error = send_error(&error);
            // Too large for the MTU that it has by now; down, or gone.
            if matches!(error, SendError::TooLarge | SendError::InterfaceDown) && self.link() == Link::Up {
                self.interface.look(socket);
            }
            error
        })
    }

    fn wait_for(&self, interrupt: &Interrupt, timeout: Duration) {
        let socket = self.socket.read();
        // Whoever closes sets the mark, and then interrupts whoever waits.
        let Some(socket) = socket.as_ref().filter(|_| !self.closed.load(Ordering::SeqCst)) else { return };
        let changes = self.interface.changes();
        let timeout = if changes.is_some() { timeout } else { timeout.min(BLIND) };
        let sources: SmallVec<[BorrowedFd<'_>; 2]> = core::iter::once(socket.as_fd()).chain(changes).collect();
        let ready = interrupt.wait(&sources, timeout);
        if (ready >> 1 != 0 || changes.is_none()) && self.interface.has_changes() {
            self.interface.look(socket.as_fd());
        }
    }

    /// Returns `true` if a frame is to be handed up; counts it if not.
    fn takes(&self, frame: &[u8], arrival: &Arrival) -> bool {
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        if arrival.index != self.interface.index() {
            return false;
        }
        let Some(dst) = frame.first_chunk().filter(|_| frame.len() >= FRAME_HEADER) else {
            return count(&self.lost.damaged);
        };
        let dst = Mac(*dst);
        if self.takes_all {
            return match arrival {
                Arrival { is_cut: true, .. } => count(&self.lost.oversized),
                Arrival { is_unfinished: true, .. } => count(&self.lost.damaged),
                Arrival { to, .. } => *to <= libc::PACKET_OTHERHOST,
            };
        }
        let is_ours = match arrival.to {
            libc::PACKET_HOST | libc::PACKET_BROADCAST => true,
            // The loopback interface has another broadcast address.
            libc::PACKET_MULTICAST => dst == Mac::BROADCAST,
            // The kernel takes the tag of a VLAN that nobody has out and forgets it; what it says then is that the frame
            // is for another host.
            libc::PACKET_OTHERHOST if dst == self.mac() || dst == Mac::BROADCAST => return count(&self.lost.tagged),
            _ => false,
        };
        match arrival {
            Arrival { tag: Some(_), .. } if is_ours => count(&self.lost.tagged),
            Arrival { is_cut: true, .. } if is_ours => count(&self.lost.oversized),
            _ => is_ours,
        }
    }
}

/// Sets what has to be set before frames arrive.
fn prepare(socket: BorrowedFd<'_>, filter: &[libc::sock_filter]) -> io::Result<()> {
    use rustix::net::sockopt;
    if !filter.is_empty() {
        sys::attach_filter(socket, filter)?;
    }
    sys::set_option(socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    // Kernels before 4.20 cannot, and then `takes` does it.
    let _ = sys::set_option(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
    // Beyond the system's limit only with the right CAP_NET_ADMIN. Smaller ones work too, they only lose more under load.
    if sockopt::set_socket_recv_buffer_size_force(socket, SOCKET_BUFFER).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, SOCKET_BUFFER).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER);
    }
    Ok(())
}

/// The error of opening a socket, with a remedy.
fn explain(interface: &str, error: io::Error) -> io::Error {
    let (kind, why) = match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => (
            io::ErrorKind::PermissionDenied,
            "the right CAP_NET_RAW is missing, which raw Ethernet needs; run as root, give the program the right \
             (setcap cap_net_raw+ep FILE), or give it to the container"
                .into(),
        ),
        Some(Errno::NODEV) => (io::ErrorKind::NotFound, "there is no network interface of this name here".into()),
        Some(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT) => {
            (io::ErrorKind::Unsupported, "this system has no packet sockets".into())
        }
        _ => (error.kind(), error.to_string()),
    };
    io::Error::new(kind, format!("{interface}: {why}"))
}

fn send_error(error: &io::Error) -> SendError {
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => SendError::Full,
        Some(Errno::NOBUFS | Errno::NOMEM) => SendError::NoBuffers,
        Some(Errno::MSGSIZE) => SendError::TooLarge,
        Some(Errno::NETDOWN | Errno::NXIO | Errno::NODEV) => SendError::InterfaceDown,
        Some(Errno::PERM | Errno::ACCESS) => SendError::Denied,
        _ => SendError::Down,
    }
}

impl Receiving {
    /// Prepares as many buffers as are wanted, for frames with payloads of `mtu` bytes.
    fn prepare(&mut self, mtu: usize, cache: &mut BufCache) {
        let tail = (mtu + FRAME_HEADER + VLAN_TAG).saturating_sub(BUFFER);
        let most = TAILS.checked_div(tail).unwrap_or(BATCH);
        self.want = self.want.clamp(FEW, most.clamp(FEW, BATCH));
        while self.buffers.len() < self.want {
            let mut buffer = cache.take(BUFFER);
            // A buffer of the pool has that much room.
            let _ = buffer.append(BUFFER);
            self.buffers.push(buffer);
        }
        while self.buffers.len() > self.want {
            self.buffers.pop().into_iter().for_each(|buffer| cache.put(buffer));
        }
        if self.tails.len() != tail * self.want {
            self.tails.resize(tail * self.want, 0);
            self.tails.shrink_to_fit();
        }
    }

    /// Asks for more the next time if everything that was asked for has arrived, and for less if much less has.
    fn adapt(&mut self) {
        let received = self.arrivals.len();
        if received == self.want {
            self.want = (4 * self.want).min(BATCH);
        } else if received < self.want / 4 {
            self.want = (self.want / 2).max(FEW);
        }
    }
}

/// Puts the VLAN tag of a frame back behind its addresses.
fn put_back(tag: [u8; VLAN_TAG], frame: &mut PacketBuf) {
    // There is room for many headers.
    if frame.push(tag.len()).is_some() {
        frame.copy_within(tag.len()..tag.len() + ADDRESSES, 0);
        frame.iter_mut().skip(ADDRESSES).zip(tag).for_each(|(to, from)| *to = from);
    }
}

/// A frame that did not fit into its buffer, in one that it fits into.
fn joined(buffer: PacketBuf, tail: &[u8], cache: &mut BufCache) -> Option<PacketBuf> {
    let mut whole = cache.take(buffer.len() + tail.len());
    let copied = whole.extend_from_slice(&buffer).and_then(|()| whole.extend_from_slice(tail));
    cache.put(buffer);
    copied.map(|()| whole)
}

impl Frames for PacketSocket {
    fn mac(&self) -> Mac {
        self.interface.mac()
    }

    fn mtu(&self) -> usize {
        self.interface.mtu()
    }

    fn link(&self) -> Link {
        self.interface.link()
    }

    fn max_batch(&self) -> usize {
        BATCH
    }

    fn queued(&self) -> usize {
        self.socket.read().as_ref().map_or(0, |socket| sys::unsent(socket.as_fd())).div_ceil(BYTES_OF_FRAME)
    }

    fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        self.try_send(|socket| Ok(rustix::net::send(socket, frame, SendFlags::DONTWAIT)?)).map(|_| ())
    }

    fn send_batch(&self, frames: &[PacketBuf]) -> Result<usize, SendError> {
        match frames {
            [] => Ok(0),
            [frame] => self.send(frame).map(|()| 1),
            frames => self.try_send(|socket| sys::send_batch(socket, frames)),
        }
    }

    fn recv(&self, out: &mut Vec<PacketBuf>, cache: &mut BufCache) -> usize {
        let socket = self.socket.read();
        let Some(socket) = socket.as_ref() else { return 0 };
        let mut receiving = self.receiving.lock();
        let now = self.clock.now();
        if now.since(receiving.looked_at) >= LOOK {
            receiving.looked_at = now;
            if self.interface.has_changes() {
                self.interface.look(socket.as_fd());
            }
        }
        receiving.prepare(self.mtu(), cache);
        let Receiving { buffers, tails, arrivals, want, .. } = &mut *receiving;
        match sys::receive(socket.as_fd(), buffers, tails, arrivals) {
            Ok(()) => {}
            Err(error) => {
                // Told once, when the interface goes down.
                if send_error(&error) == SendError::InterfaceDown {
                    self.interface.look(socket.as_fd());
                }
                *want = FEW;
                return 0;
            }
        }
        let before = out.len();
        let tail = tails.len() / (*want).max(1);
        for (i, (mut buffer, arrival)) in buffers.drain(..arrivals.len()).zip(&*arrivals).enumerate() {
            buffer.truncate(arrival.len);
            if !self.takes(&buffer, arrival) {
                cache.put(buffer);
                continue;
            }
            if let Some(tag) = arrival.tag {
                put_back(tag, &mut buffer);
            }
            if let Some(more) = arrival.len.checked_sub(BUFFER).filter(|more| *more > 0) {
                let tail = tails.get(i * tail..).and_then(|tails| tails.get(..more)).unwrap_or_default();
                out.extend(joined(buffer, tail, cache));
            } else {
                out.push(buffer);
            }
        }
        receiving.adapt();
        out.len() - before
    }

    fn losses(&self) -> FrameLosses {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let overruns = self.socket.read().as_ref().and_then(|socket| sys::overruns(socket.as_fd()).ok());
        self.lost.overrun.fetch_add(overruns.unwrap_or(0).into(), Ordering::Relaxed);
        let Lost { overrun, oversized, tagged, damaged } = &self.lost;
        FrameLosses { overrun: read(overrun), oversized: read(oversized), tagged: read(tagged), damaged: read(damaged) }
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
        *self.receiving.lock() = Receiving::default();
    }
}
