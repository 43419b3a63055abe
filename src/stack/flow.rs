//! One end of a flow, for threads.

mod identity;
pub(super) mod stream;
mod waits;

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

pub use self::stream::{ReadHalf, Stream, WriteHalf};
use self::waits::{Call, Closing, Reading, Writing, read_packet};
use super::wait;
use super::{CloseError, Shared, aio};
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::crypto::certificate::VerifiedPeer;
use crate::flow::{Counters, Endpoint, ReadError, ReadMode, WriteError};
use crate::ipcp::Kind;
use crate::node::alloc::Allocated;
use crate::oap::FlowSecurity;
use crate::types::name::Name;
use crate::types::qos::QosSpec;

/// One end of a flow.
///
/// # Packets and streams
///
/// A flow carries packets: one write is one read on the other end, also where it is larger than a packet of the layer below
/// and goes [in fragments](Self::max_write). Whoever wants a stream of bytes takes
/// [`stream`](Self::stream). No trait that is imported changes what a method of a flow means.
///
/// | | packets | a stream of bytes |
/// |---|---|---|
/// | for threads | [`Flow::read`], [`Flow::write`] | [`flow.stream()`](Self::stream), a [`Stream`]: [`io::Read`](std::io::Read), [`io::Write`](std::io::Write) |
/// | for tasks | [`aio::Flow::read`], [`aio::Flow::write`] | [`flow.stream()`](aio::Flow::stream), an [`aio::Stream`]: `AsyncRead`, `AsyncWrite` of `tokio` and `futures-io` |
/// | one write | is one packet, or [several](Self::max_write) that are read as one, or fails if it is too large | takes what fits into one packet, and returns how much |
/// | one read | is one packet, or fails if the buffer is too small for it | is what is there, of any packets |
/// | the end | [`ReadError::Closed`] | 0 bytes |
///
/// All of these take `&self`, and may be used by several threads at once; [`split`](Self::split) makes two owned halves.
///
/// Dropping a flow never blocks: what was written to a reliable flow is still delivered, and what was written to another is
/// still sent, in the background, for the stack's [linger time](super::Builder::linger), as long as the stack is up.
/// [`close`](Self::close) waits for it and says what was lost.
///
/// # What a write waits for
///
/// On flows with FRCT, reliable or not, a write waits for room in the window: a slow reader slows down the writer. On
/// flows without it, raw ones, nothing tells how fast the other end reads, and it depends on the layer:
///
/// - Within a stack, or a local layer of it, a write waits while about 1500 packets have not been read, fewer if they hold
///   as much memory as a flow [may](crate::node::Limits::flow_bytes). Nothing is lost, and a reader who never comes stops
///   the writer.
/// - Over UDP a write waits only for room in this host's own socket. It has succeeded when the packet has left; what the
///   network or the reader has no room for is lost, and counted where that happens.
/// - Over a unicast layer a write waits while many packets of the flow
///   [wait for their turn](crate::ipcp::unicast::Config::flow_queue) here; elsewhere they are lost as over UDP.
///
/// # How a flow ends
///
/// Between two ends of this library a close is told, over every sort of layer and for every quality of service. On a
/// reliable flow it is part of the stream: the other end reads everything that was written, and then
/// [`ReadError::Closed`], which is the end of a [`Stream`], so that `read_to_end` and
/// `lines` work. On other flows it is a notice that is repeated until it is answered, a few times at most.
///
/// - [`shutdown`](Self::shutdown)`(Shutdown::Write)`, and dropping a [`WriteHalf`], end one direction; the other goes on.
/// - [`close`](Self::close), and dropping the last handle, end both. What the other end writes afterwards is refused
///   there, with [`WriteError::PeerClosed`].
/// - [`abort`](Self::abort) gives the flow up. The other end is told that it was, and not closed: [`ReadError::Reset`].
/// - A [`Stack`](super::Stack) that is dropped or shut down, and one that [leaves](super::IpcpHandle::leave) a layer, tells
///   the other ends of the flows once: that they are closed, or, if something that was written was not acknowledged, that
///   they are given up.
/// - A process that is killed sends no notice. Then, if every notice is lost, and if the other end is a reference,
///   which has no packet for a close, reads end with [`ReadError::PeerGone`] when nothing has come for the flow's
///   [timeout](QosSpec::timeout).
pub struct Flow {
    pub(super) inner: Arc<Inner>,
}

/// State shared by the handles of one flow; dropping the last closes it.
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) endpoint: Arc<Endpoint>,
    name: Name,
    kind: Kind,
    data: Box<[u8]>,
    security: FlowSecurity,
    /// Who the other end is, if it has shown a certificate: in parts, which take less room.
    peer: Option<Arc<VerifiedPeer>>,
    is_confirmed: bool,
    nonblocking: AtomicBool,
    /// Nanoseconds; `u64::MAX` for none.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
    /// A panic of whoever has the flow gives it up.
    pub(super) aborts: AtomicBool,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow").field("name", &self.name).field("layer", &self.kind).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Inner {
    fn note_end(&self) {
        let (key, name, endpoint) = (self.endpoint.key(), &self.name, &self.endpoint);
        record!(
            self.shared.node.panics(),
            Closed,
            Info,
            [flow = format_args!("{key:x}"), name = name, layer = self.kind, reason = endpoint.end()],
            "flow {key:x} to {name:?} closed: {}",
            endpoint.end()
        );
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.note_end();
        if self.is_aborting() {
            self.endpoint.reset();
        } else {
            self.endpoint.close(self.shared.linger);
        }
    }
}

impl Flow {
    pub(super) fn new(shared: Arc<Shared>, name: Name, flow: Allocated) -> Self {
        Self {
            inner: Arc::new(Inner {
                shared,
                endpoint: flow.endpoint,
                name,
                kind: flow.kind,
                data: flow.data.into_boxed_slice(),
                security: flow.security,
                is_confirmed: flow.peer.is_confirmed(),
                peer: flow.peer.into_shown(),
                nonblocking: AtomicBool::new(false),
                read_timeout: AtomicU64::new(u64::MAX),
                write_timeout: AtomicU64::new(u64::MAX),
                aborts: AtomicBool::new(false),
            }),
        }
    }

    /// The flow as a stream of bytes: another handle of it, for [`io::Read`](std::io::Read) and
    /// [`io::Write`](std::io::Write). See [packets and streams](Self#packets-and-streams).
    pub fn stream(&self) -> Stream {
        Stream::new(self.share())
    }

    /// Writes one packet, waiting for room if need be, and returns its length.
    ///
    /// An empty packet is a keepalive; it does not reach the other application.
    ///
    /// # Errors
    /// [`WriteError`]; the data was not taken.
    pub fn write(&self, data: &[u8]) -> Result<usize, WriteError> {
        match self.inner.endpoint.write(data) {
            Err(WriteError::WouldBlock) if !self.inner.is_nonblocking() => {
                self.inner.write_until(data, self.inner.deadline(&self.inner.write_timeout))
            }
            result => result,
        }
    }

    /// Writes one packet if there is room for it now.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if there is none.
    pub fn try_write(&self, data: &[u8]) -> Result<usize, WriteError> {
        self.inner.endpoint.write(data)
    }

    /// As [`write`](Self::write), waiting no longer than `timeout`.
    ///
    /// # Errors
    /// [`WriteError::TimedOut`] when it is over.
    pub fn write_timeout(&self, data: &[u8], timeout: Duration) -> Result<usize, WriteError> {
        let deadline = self.inner.shared.clock().now() + timeout;
        self.inner.write_until(data, Some(deadline))
    }

    /// Reads one packet into `buf`, waiting for one if need be, and returns its length.
    ///
    /// # Errors
    /// [`ReadError`]. One for which `buf` is [too small](ReadError::TooSmall) stays, to be read into a larger one or by
    /// [`read_bytes`](Self::read_bytes).
    pub fn read(&self, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.inner.read(buf, ReadMode::Whole)
    }

    /// Reads one packet if there is one now.
    ///
    /// # Errors
    /// [`ReadError::WouldBlock`] if there is none.
    pub fn try_read(&self, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.inner.endpoint.read(buf, ReadMode::Whole)
    }

    /// As [`read`](Self::read), waiting no longer than `timeout`.
    ///
    /// # Errors
    /// [`ReadError::TimedOut`] when it is over.
    pub fn read_timeout(&self, buf: &mut [u8], timeout: Duration) -> Result<usize, ReadError> {
        let deadline = self.inner.shared.clock().now() + timeout;
        self.inner.read_until(Some(deadline), |e, call| read_packet(e, call, buf, ReadMode::Whole))
    }

    /// Reads one packet without copying it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_bytes(&self) -> Result<Bytes, ReadError> {
        match self.inner.endpoint.read_packet() {
            Err(ReadError::WouldBlock) if !self.inner.is_nonblocking() => {
                let deadline = self.inner.deadline(&self.inner.read_timeout);
                let read = |e: &Endpoint, call: Call<'_>| match call {
                    Some((waiter, waker)) => e.poll_read_packet(waiter, waker),
                    None => e.read_packet(),
                };
                self.inner.read_until(deadline, read).map(Bytes::from)
            }
            result => result.map(Bytes::from),
        }
    }

    /// Sends packets that are being held back to be sent in one go. It is never necessary: they leave by themselves
    /// within about a millisecond, and before this thread waits for anything on this flow.
    pub fn flush(&self) {
        self.inner.endpoint.flush();
    }

    /// Sets the longest wait of blocking reads; `None`, the default, for no limit. Asynchronous ones wait on.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        store_timeout(&self.inner.read_timeout, timeout);
    }

    /// Sets the longest wait of blocking writes; `None`, the default, for no limit. Asynchronous ones wait on.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        store_timeout(&self.inner.write_timeout, timeout);
    }

    /// Sets whether [`read`](Self::read), [`write`](Self::write) and streams return at once, with
    /// [`ReadError::WouldBlock`] and [`WriteError::WouldBlock`], where they would have to wait. It is a property of the flow
    /// and not of the handle. Default: `false`.
    pub fn set_nonblocking(&self, on: bool) {
        self.inner.nonblocking.store(on, Ordering::Relaxed);
    }

    /// Ends the writing direction, the reading one, or both, and lets the other one go on. Never waits.
    ///
    /// With `Shutdown::Write` the other end reads everything that was written, and then [`ReadError::Closed`]. With
    /// `Shutdown::Read` only this end reads no more: the other one is not told, and has to wait once the window is full.
    /// With `Shutdown::Both` the flow is closed, as by dropping it.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::Shutdown;
    /// use o7s::{QosSpec, Stack};
    ///
    /// let stack = Stack::new()?;
    /// stack.bind_handler("upper", |flow| {
    ///     let mut text = String::new();
    ///     flow.stream().read_to_string(&mut text).unwrap();
    ///     flow.stream().write_all(text.to_uppercase().as_bytes()).unwrap();
    /// })?;
    /// let flow = stack.flow("upper").qos(QosSpec::DATA).alloc()?;
    /// flow.stream().write_all(b"until the end")?;
    /// flow.shutdown(Shutdown::Write);
    /// let mut answer = String::new();
    /// flow.stream().read_to_string(&mut answer)?;
    /// assert_eq!(answer, "UNTIL THE END");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) {
        let endpoint = &self.inner.endpoint;
        match how {
            Shutdown::Write => endpoint.shut(),
            Shutdown::Read => endpoint.set_readable(false),
            Shutdown::Both => endpoint.close(self.inner.shared.linger),
        }
    }

    /// Gives the flow up, both ways and at once: what was written and not acknowledged is lost. The other end is told:
    /// [`ReadError::Reset`].
    pub fn abort(self) {
        self.inner.endpoint.reset();
    }

    /// Closes the flow and waits, up to `timeout`, until the other end has everything that was written and knows of the
    /// close. On a flow that is not reliable, or if the other end is a reference, that is as far as it can be known: until
    /// the notice is answered, or was repeated a few times, and the layer has sent what it has taken. What waits there when the
    /// time is over is dropped and not counted.
    ///
    /// # Errors
    /// [`CloseError`] says how many packets the other end does not have.
    pub fn close(self, timeout: Duration) -> Result<(), CloseError> {
        let inner = &self.inner;
        inner.endpoint.close(timeout);
        let mut closing = Closing { endpoint: &inner.endpoint, waiter: inner.endpoint.closer() };
        // Half a second more than the linger that is at work, which ends the wait in any case.
        let deadline = inner.shared.clock().now() + timeout + Duration::from_millis(500);
        if !inner.shared.may_block() {
            return Err(CloseError::Polled);
        }
        wait::block_on(inner.shared.clock(), Some(deadline), &mut closing);
        lost(&inner.endpoint)
    }

    /// Two handles, one for reading and one for writing, for different threads. Dropping the one for writing ends that
    /// direction, dropping both closes the flow. Dropping only the one for reading tells the other end nothing: what it
    /// writes waits here, and it has to wait once the window is full.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf(self.share()), WriteHalf(self))
    }

    /// Converts it into an asynchronous flow.
    pub fn into_async(self) -> aio::Flow {
        aio::Flow::new(self.inner)
    }

    /// The machine below, for tests.
    #[cfg(feature = "internals")]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.inner.endpoint
    }

    pub(super) fn from_inner(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// The name that was called.
    pub fn name(&self) -> &Name {
        &self.inner.name
    }

    /// The sort of layer that carries the flow.
    pub fn layer(&self) -> Kind {
        self.inner.kind
    }

    /// Returns the data that the other end sent along with its request or reply.
    pub fn peer_data(&self) -> &[u8] {
        &self.inner.data
    }

    /// The quality of service.
    pub fn qos(&self) -> QosSpec {
        self.inner.endpoint.qos()
    }

    /// The most that can be written at a time, bytes. A larger write is [`WriteError::TooLarge`], which says the same number.
    ///
    /// On flows with FRCT, reliable or not, to a peer of this library a write may be larger than a packet: it goes in
    /// fragments, and is put together at the other end, up to what
    /// [both ends](crate::settings::FrctConfig::max_message) allow, 1 MiB if nothing was set. Elsewhere, on raw flows and
    /// towards a reference, it is [one packet](Self::max_packet), which changes with the path.
    ///
    /// Nobody sends a lost fragment of a flow that is not reliable again, and its message is lost with it. Fragments wait for
    /// the peer's window, for room in the device, and in a unicast layer for its congestion avoidance; elsewhere they leave as fast
    /// as the device takes them, and what a path does not take in one burst is lost. Take a reliable flow for large messages.
    ///
    /// ```
    /// use o7s::{QosSpec, Stack, WriteError};
    ///
    /// let stack = Stack::new()?;
    /// stack.bind_handler("length", |flow| {
    ///     let packet = flow.read_bytes().unwrap();
    ///     flow.write(packet.len().to_string().as_bytes()).unwrap();
    /// })?;
    /// let flow = stack.flow("length").qos(QosSpec::DATA).alloc()?;
    /// let (size, max) = (flow.max_write() + 1, flow.max_write());
    /// assert_eq!(flow.write(&vec![7; size]), Err(WriteError::TooLarge { size, max }));
    /// flow.write(&vec![7; max])?;
    /// assert_eq!(flow.read_bytes()?, max.to_string());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_write(&self) -> usize {
        self.inner.endpoint.max_write()
    }

    /// The largest packet that the flow's path carries, bytes of what is written.
    ///
    /// It is no recommendation: over UDP it is 8.9 kB unless the layer was told its [MTU](super::Udp4::mtu), and IP carries
    /// such a packet in fragments where paths have an MTU of 1500, which costs much of the throughput, loses the packet with
    /// any of them, and does not work at all on some networks. See [`stream_packet`](Self::stream_packet).
    ///
    /// A path that drops large packets without a word is found out on reliable flows to a peer of this library, once some
    /// have been lost for seconds while small ones passed: then this is what it does carry. Larger is tried again every ten
    /// minutes, and as soon as the peer has moved to another address. On other flows what is too large is lost.
    pub fn max_packet(&self) -> usize {
        self.inner.endpoint.max_packet()
    }

    /// The size of the packets that a [`Stream`] of the flow makes, bytes; also for callers that cut packets
    /// themselves and know no better: with all headers they fit into an Ethernet frame, so that IP does not fragment
    /// them. It is the [choice of the stack](super::Builder::stream_packet), 1400 if not given, or less if the flow
    /// [carries less](Self::max_packet).
    pub fn stream_packet(&self) -> usize {
        stream::stream_packet(self.max_packet(), self.inner.shared.stream_packet)
    }

    /// Packets that wait to be read.
    pub fn read_queue(&self) -> usize {
        self.inner.endpoint.queue_lengths().0
    }

    /// Packets written to a reliable flow that the peer has not acknowledged.
    pub fn write_queue(&self) -> usize {
        self.inner.endpoint.queue_lengths().1
    }

    /// Returns the counters of the flow.
    pub fn counters(&self) -> Counters {
        self.inner.endpoint.counters()
    }

    /// Returns the counters of FRCT, on flows that have it.
    pub fn frct_stats(&self) -> Option<crate::frct::Stats> {
        self.inner.endpoint.frct_stats()
    }

    /// The state of the sending direction, on flows that have FRCT: round trip, window, bytes in flight. A
    /// [`Timeline`](super::Timeline) draws how it changes.
    pub fn frct_path(&self) -> Option<crate::frct::FrctPath> {
        self.inner.endpoint.frct_path()
    }
}

fn store_timeout(slot: &AtomicU64, timeout: Option<Duration>) {
    let nanos = timeout.map_or(u64::MAX, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX));
    slot.store(nanos, Ordering::Relaxed);
}

pub(super) fn lost(endpoint: &Endpoint) -> Result<(), CloseError> {
    match endpoint.lost() {
        0 => Ok(()),
        packets => Err(CloseError::Lost { packets }),
    }
}

impl Inner {
    fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    fn deadline(&self, timeout: &AtomicU64) -> Option<Instant> {
        match timeout.load(Ordering::Relaxed) {
            u64::MAX => None,
            nanos => Some(self.shared.clock().now() + Duration::from_nanos(nanos)),
        }
    }

    fn read(&self, buf: &mut [u8], mode: ReadMode) -> Result<usize, ReadError> {
        match self.endpoint.read(buf, mode) {
            Err(ReadError::WouldBlock) if !self.is_nonblocking() => {
                self.read_until(self.deadline(&self.read_timeout), |e, call| read_packet(e, call, buf, mode))
            }
            result => result,
        }
    }

    fn read_until<R>(
        &self,
        deadline: Option<Instant>,
        read: impl FnMut(&Endpoint, Call<'_>) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        if !self.shared.may_block() {
            return Err(ReadError::Polled);
        }
        let mut reading = Reading { endpoint: &self.endpoint, waiter: None, read };
        wait::block_on(self.shared.clock(), deadline, &mut reading).unwrap_or(Err(ReadError::TimedOut))
    }

    fn write_until(&self, data: &[u8], deadline: Option<Instant>) -> Result<usize, WriteError> {
        if !self.shared.may_block() {
            return Err(WriteError::Polled);
        }
        let mut writing = Writing { endpoint: &self.endpoint, waiter: None, data };
        wait::block_on(self.shared.clock(), deadline, &mut writing).unwrap_or(Err(WriteError::TimedOut))
    }
}
