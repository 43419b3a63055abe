//! Simulated UDP sockets.

use core::fmt;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use super::hosts::HostWaker;
use super::path::header_len;
use super::trace::DropReason;
use crate::base::buf::{BufCache, BufPool, PacketBuf};
use crate::base::sync::Mutex;
use crate::base::time::{Clock, Instant, ManualClock};
use crate::types::device::{Datagram, Datagrams, SendError};

/// Datagrams that one call of [`Datagrams::recv`] returns at most.
const RECV_BATCH: usize = 64;
/// Datagrams that may be sent between two turns of the network; it empties the outbox before time moves on.
const OUTBOX_LIMIT: usize = 65_536;
/// Room for datagrams that is kept in an inbox that is empty.
const FEW_UNREAD: usize = 8;
/// Room for datagrams that is kept in an outbox that is empty.
const FEW_SENT: usize = 4096;
/// Datagrams that are shorter have memory of just their length while they are on their way: in a large network those are
/// keepalives, link state and the like, and there are many at once.
const SMALL: usize = 1300;
/// Idle buffers kept, 2 KiB each.
const IDLE_BUFFERS: usize = 1024;

/// A datagram on its way into the network.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    pub(super) data: PacketBuf,
}

/// State shared by the sockets of a network: the only part of it that other threads may touch.
pub(super) struct Ports {
    bound: Mutex<HashMap<SocketAddr, Arc<SocketState>>>,
    outbox: Mutex<Outbox>,
    /// Shared with all hosts.
    pool: Arc<BufPool>,
    mtu: AtomicUsize,
    segments: AtomicUsize,
    receive_queue: AtomicUsize,
    clock: Arc<ManualClock>,
    /// Times at which datagrams leave the queues in front of paths of limited rate, by both ends: a device can tell
    /// them.
    queues: Mutex<HashMap<(IpAddr, IpAddr), VecDeque<Instant>>>,
}

struct Outbox {
    packets: Vec<Outgoing>,
    /// Number of them between the same two addresses.
    between: HashMap<(IpAddr, IpAddr), usize>,
}

impl Ports {
    pub(super) fn new(mtu: usize, clock: Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            bound: Mutex::new(HashMap::new()),
            outbox: Mutex::new(Outbox { packets: Vec::new(), between: HashMap::new() }),
            pool: BufPool::new(IDLE_BUFFERS),
            clock,
            queues: Mutex::new(HashMap::new()),
            mtu: AtomicUsize::new(mtu),
            segments: AtomicUsize::new(16),
            receive_queue: AtomicUsize::new(16_384),
        })
    }

    /// A socket at `addr`; `None` if there is one already.
    pub(super) fn bind(self: &Arc<Self>, addr: SocketAddr) -> Option<Arc<UdpSocket>> {
        let mut bound = self.bound.lock();
        if bound.get(&addr).is_some_and(|s| !s.is_closed()) {
            return None;
        }
        let state = Arc::new(SocketState { addr, closed: AtomicBool::new(false), inbox: Mutex::default() });
        bound.insert(addr, Arc::clone(&state));
        Some(Arc::new(UdpSocket { state, ports: Arc::clone(self) }))
    }

    pub(super) fn pool(&self) -> &Arc<BufPool> {
        &self.pool
    }

    pub(super) fn set_mtu(&self, mtu: usize) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    pub(super) fn set_segments(&self, segments: usize) {
        self.segments.store(segments.max(1), Ordering::Relaxed);
    }

    pub(super) fn set_receive_queue(&self, datagrams: usize) {
        self.receive_queue.store(datagrams, Ordering::Relaxed);
    }

    /// Puts a datagram, or several of `segment` bytes, into the outbox.
    pub(super) fn send(&self, src: SocketAddr, dst: SocketAddr, data: &[u8], segment: usize) -> Result<(), SendError> {
        let mut outbox = self.outbox.lock();
        let mut post = |data: &[u8]| {
            if outbox.packets.len() >= OUTBOX_LIMIT {
                return Err(SendError::Full);
            }
            outbox.packets.push(Outgoing { src, dst, data: self.copy_of(data) });
            *outbox.between.entry((src.ip(), dst.ip())).or_default() += 1;
            Ok(())
        };
        if data.is_empty() {
            return post(data);
        }
        data.chunks(segment.max(1)).try_for_each(post)
    }

    /// Moves everything that was sent to `to`, which is empty.
    pub(super) fn take_sent(&self, to: &mut Vec<Outgoing>) {
        let mut outbox = self.outbox.lock();
        core::mem::swap(&mut outbox.packets, to);
        outbox.between.clear();
        if outbox.packets.capacity() > FEW_SENT {
            outbox.packets = Vec::new();
        }
    }

    /// Notes that a datagram has joined the queue of a path, and leaves it at `until`.
    pub(super) fn note_queued(&self, path: (IpAddr, IpAddr), until: Instant) {
        let now = self.clock.now();
        let mut queues = self.queues.lock();
        let queue = queues.entry(path).or_default();
        queue.push_back(until);
        drop_left(queue, now);
    }

    /// Datagrams that wait to leave on a path.
    fn queued(&self, path: (IpAddr, IpAddr)) -> usize {
        let now = self.clock.now();
        let unsent = self.outbox.lock().between.get(&path).copied().unwrap_or(0);
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(&path) else { return 0 };
        drop_left(queue, now);
        unsent + queue.len()
    }

    /// A packet with these bytes, which may be on its way for long.
    pub(super) fn copy_of(&self, data: &[u8]) -> PacketBuf {
        if data.len() < SMALL {
            return PacketBuf::snug_of(data);
        }
        let mut packet = self.pool.take(data.len());
        // The capacity was just asked for.
        let _ = packet.extend_from_slice(data);
        packet
    }

    pub(super) fn recycle(&self, packet: PacketBuf) {
        self.pool.put(packet);
    }

    /// Hands a datagram to its socket; wakers to call are added to `wake`.
    pub(super) fn deliver(
        &self,
        dst: SocketAddr,
        datagram: Datagram,
        wake: &mut Vec<Waker>,
    ) -> Result<(), (DropReason, PacketBuf)> {
        let socket = self.bound.lock().get(&dst).cloned();
        let Some(socket) = socket.filter(|s| !s.is_closed()) else { return Err((DropReason::NoSocket, datagram.data)) };
        let mut inbox = socket.inbox.lock();
        if inbox.queue.len() >= self.receive_queue.load(Ordering::Relaxed) {
            return Err((DropReason::ReceiverFull, datagram.data));
        }
        inbox.queue.push_back(datagram);
        wake.append(&mut inbox.wakers);
        if let Some(host) = &inbox.host {
            host.wake();
        }
        Ok(())
    }
}

/// Forgets datagrams that have left.
fn drop_left(queue: &mut VecDeque<Instant>, now: Instant) {
    while queue.front().is_some_and(|until| *until <= now) {
        queue.pop_front();
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ports({} bound)", self.bound.lock().len())
    }
}

/// The receiving side of a socket.
#[derive(Debug)]
pub(super) struct SocketState {
    addr: SocketAddr,
    closed: AtomicBool,
    inbox: Mutex<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    queue: VecDeque<Datagram>,
    wakers: Vec<Waker>,
    host: Option<Arc<HostWaker>>,
}

impl SocketState {
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn unread(&self) -> usize {
        self.inbox.lock().queue.len()
    }

    pub(super) fn set_host(&self, host: Arc<HostWaker>) {
        self.inbox.lock().host = Some(host);
    }

    /// Stops the socket from sending and receiving, even while it is still held.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// A UDP socket in a simulated [`Network`](super::Network). Its address is free again when the socket is dropped.
///
/// A stack uses it through [`Datagrams`]; a test can also use it as it is:
///
/// ```
/// use o7s::sim::Network;
/// use o7s::device::Datagrams;
///
/// let net = Network::new(1);
/// let (a, b) = (net.udp("10.0.0.1:1000"), net.udp("10.0.0.2:2000"));
/// net.block_on(async {
///     a.send(b.local_addr(), b"hello", None).unwrap();
///     let got = b.receive().await;
///     assert_eq!((got.src, &got.data[..]), (a.local_addr(), &b"hello"[..]));
/// });
/// ```
pub struct UdpSocket {
    state: Arc<SocketState>,
    ports: Arc<Ports>,
}

impl UdpSocket {
    /// The next datagram. Any number may wait; each datagram goes to one of them.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn receive(&self) -> Datagram {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// The next datagram, or [`Poll::Pending`] and a wake-up when there is one.
    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Datagram> {
        let mut inbox = self.state.inbox.lock();
        match inbox.queue.pop_front() {
            Some(mut datagram) => {
                if datagram.data.len() < SMALL {
                    datagram.data = PacketBuf::copy_of(&datagram.data);
                }
                Poll::Ready(datagram)
            }
            None => {
                if !inbox.wakers.iter().any(|w| w.will_wake(cx.waker())) {
                    inbox.wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Sends a datagram, however large: the path decides.
    pub(super) fn post(&self, dst: SocketAddr, data: &[u8]) -> Result<(), SendError> {
        if self.state.is_closed() {
            return Err(SendError::Down);
        }
        self.ports.send(self.state.addr, dst, data, data.len())
    }

    /// Has the host of the socket polled, if it belongs to one.
    pub(super) fn wake_host(&self) {
        if let Some(host) = &self.state.inbox.lock().host {
            host.wake();
        }
    }

    /// Datagrams that have arrived and were not read yet.
    pub(super) fn unread(&self) -> usize {
        self.state.unread()
    }

    pub(super) fn state(&self) -> &Arc<SocketState> {
        &self.state
    }
}

impl Datagrams for UdpSocket {
    fn local_addr(&self) -> SocketAddr {
        self.state.addr
    }

    fn max_datagram(&self) -> usize {
        self.ports.mtu.load(Ordering::Relaxed).saturating_sub(header_len(self.state.addr.ip()))
    }

    fn max_segments(&self) -> usize {
        self.ports.segments.load(Ordering::Relaxed)
    }

    fn queued(&self, dst: SocketAddr) -> usize {
        self.ports.queued((self.state.addr.ip(), dst.ip()))
    }

    fn send(&self, dst: SocketAddr, data: &[u8], segment: Option<usize>) -> Result<(), SendError> {
        if self.state.is_closed() {
            return Err(SendError::Down);
        }
        let size = segment.unwrap_or(data.len()).clamp(1, data.len().max(1));
        if size > self.max_datagram() || data.len().div_ceil(size) > self.max_segments() {
            return Err(SendError::TooLarge);
        }
        self.ports.send(self.state.addr, dst, data, size)
    }

    fn recv(&self, out: &mut Vec<Datagram>, cache: &mut BufCache) -> usize {
        let mut inbox = self.state.inbox.lock();
        let n = inbox.queue.len().min(RECV_BATCH);
        let shared = Arc::ptr_eq(cache.pool(), &self.ports.pool);
        for mut datagram in inbox.queue.drain(..n) {
            if datagram.data.len() < SMALL {
                // Of just its length here, too: it may wait, and the ends of thousands of flows would each keep some.
                datagram.data = PacketBuf::roomy_of(&datagram.data);
            } else if !shared {
                // Buffer for buffer, so that neither side's stock runs dry.
                self.ports.pool.put(cache.take(0));
            }
            out.push(datagram);
        }
        if inbox.queue.is_empty() && inbox.queue.capacity() > FEW_UNREAD {
            inbox.queue = VecDeque::new();
        }
        n
    }

    fn wait(&self, _timeout: Duration) {}

    fn interrupt(&self) {}

    fn close(&self) {
        self.state.close();
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.state.close();
        let mut bound = self.ports.bound.lock();
        // A socket that was closed under its owner may have a successor.
        if bound.get(&self.state.addr).is_some_and(|s| Arc::ptr_eq(s, &self.state)) {
            bound.remove(&self.state.addr);
        }
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpSocket({}, {} unread)", self.state.addr, self.unread())
    }
}
