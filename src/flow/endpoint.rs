//! The endpoint: the pipeline with its locks, queues and waiters.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use core::task::Waker;
use core::time::Duration;

use super::pipeline::{Counters, Params, Pipeline, ReadMode};
use super::wait::WaitSet;
use super::{Drive, Env, Event, FlowKey, Outgoing, Port, ReadError, Wakers, Watcher, WriteError};
use crate::base::buf::PacketBuf;
use crate::base::sync::Mutex;
use crate::base::time::Instant;
use crate::types::qos::QosSpec;

/// Packets from below that wait to be serviced; more are dropped and counted.
const INBOX_LIMIT: usize = 2048;
/// From here on the delivering thread helps, and ports that can push back do.
const INBOX_BUSY: usize = 512;
/// Packets that wait while the flow is still being allocated.
const INBOX_PENDING: usize = 64;
/// Packets taken through the pipeline before what FRCT answers goes out and the lock is free for others.
const SERVICE_BURST: usize = 64;
/// How long an end that has nothing left to deliver still answers a peer over a layer that loses packets: the last
/// acknowledgement may be one of them, and without an answer the peer would take its data for lost.
const QUIET: Duration = Duration::from_secs(3);
/// A thread that used the flow this recently is expected to come back.
const USER_EXPECTED: Duration = Duration::from_millis(1);
/// Bursts after which whoever services an endpoint goes back to what it was doing.
const SERVICE_BURSTS: usize = INBOX_LIMIT / SERVICE_BURST;

/// Where an endpoint is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Being allocated: packets that arrive are kept, few of them.
    Pending,
    /// Carries data.
    Active,
    /// Closed by the application; what was written is still being delivered.
    Lingering,
    /// Closed, and everything delivered or given up; the peer may still need an answer.
    Quiet,
    /// Over.
    Released,
}

mod status {
    pub(super) const ACTIVE: u32 = 1;
    pub(super) const DOWN: u32 = 2;
    pub(super) const PEER_GONE: u32 = 4;
    pub(super) const CLOSED: u32 = 8;
    pub(super) const RELEASED: u32 = 16;
    pub(super) const NO_READ: u32 = 32;
    pub(super) const NO_WRITE: u32 = 64;
    pub(super) const DONE: u32 = 128;
}

/// One end of a flow. See the [module's documentation](super) for how packets pass through it.
pub struct Endpoint {
    key: FlowKey,
    env: Arc<Env>,
    inner: Mutex<Inner>,
    inbox: Mutex<VecDeque<PacketBuf>>,
    inbox_len: AtomicUsize,
    inbox_overflow: AtomicU64,
    servicing: AtomicBool,
    status: AtomicU32,
    /// When somebody last read or wrote, in nanoseconds, to about a tenth of [`USER_EXPECTED`].
    last_used: AtomicU64,
    /// When the host will call [`handle_timeout`](Self::handle_timeout), in nanoseconds.
    armed: AtomicU64,
    ticking: AtomicBool,
    readers: WaitSet,
    writers: WaitSet,
    closers: WaitSet,
    watched: AtomicBool,
    watcher: Mutex<Option<(Arc<dyn Watcher>, u64)>>,
}

struct Inner {
    pipe: Pipeline,
    port: Option<Arc<dyn Port>>,
    linger_until: Instant,
    lost: usize,
}

/// What changed while the lock was held, to be told once it is released.
#[derive(Default)]
struct News {
    readable: bool,
    writable: bool,
    went_down: bool,
}

impl Endpoint {
    /// An endpoint of a flow that is being allocated, known to the host by `key`.
    pub fn new(key: FlowKey, env: &Arc<Env>) -> Arc<Self> {
        let now = env.clock.now();
        Arc::new(Self {
            key,
            env: Arc::clone(env),
            inner: Mutex::new(Inner {
                pipe: Pipeline::new(now, &env.pool),
                port: None,
                linger_until: Instant::FAR_FUTURE,
                lost: 0,
            }),
            inbox: Mutex::new(VecDeque::new()),
            inbox_len: AtomicUsize::new(0),
            inbox_overflow: AtomicU64::new(0),
            servicing: AtomicBool::new(false),
            status: AtomicU32::new(0),
            last_used: AtomicU64::new(0),
            armed: AtomicU64::new(u64::MAX),
            ticking: AtomicBool::new(false),
            readers: WaitSet::default(),
            writers: WaitSet::default(),
            closers: WaitSet::default(),
            watched: AtomicBool::new(false),
            watcher: Mutex::new(None),
        })
    }

    /// The flow has been allocated: packets go through `port`, and what has arrived already is taken in.
    pub fn activate(&self, now: Instant, port: Arc<dyn Port>, params: Params) {
        {
            let mut inner = self.inner.lock();
            if self.has(status::RELEASED | status::CLOSED) {
                drop(inner);
                port.release(now);
                return;
            }
            inner.pipe.configure(now, params);
            inner.port = Some(port);
            self.set(status::ACTIVE);
        }
        // Whoever delivers looks whether the flow is active after putting packets into the inbox, we look into the
        // inbox after activating it: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.inbox_len.load(Ordering::Relaxed) > 0 {
            self.service(now);
        }
        self.rearm();
    }

    // ----- the application's side -----

    /// Writes one packet. Never waits.
    ///
    /// An empty packet is a keepalive: it does not reach the other application.
    ///
    /// # Errors
    /// [`WriteError::WouldBlock`] if the window or the layer below has no room, else why the flow takes no more data.
    pub fn write(&self, data: &[u8]) -> Result<usize, WriteError> {
        self.check_writable()?;
        let now = self.env.clock.now();
        self.note_user(now);
        if self.has_arrivals() {
            // Acknowledgements, mostly, that were left to this thread.
            self.service(now);
        }
        let mut out = Outgoing::new();
        let (result, port, done, next) = {
            let mut inner = self.inner.lock();
            let Some(port) = inner.port.clone() else { return Err(WriteError::Closed) };
            let max = port.mtu().saturating_sub(inner.pipe.overhead());
            if data.len() > max {
                return Err(WriteError::TooLarge { size: data.len(), max });
            }
            if port.is_congested() {
                return Err(WriteError::WouldBlock);
            }
            let result = inner.pipe.write(now, data, &mut out);
            let done = inner.pipe.pump(now, &mut out);
            (result, port, done, self.next_timeout(&inner))
        };
        self.transmit(now, &port, out, done);
        self.arm(next);
        result.map(|()| data.len())
    }

    /// Reads one packet, or as much of it as `mode` says. Never waits.
    ///
    /// # Errors
    /// [`ReadError::WouldBlock`] if nothing has arrived, else why nothing will.
    pub fn read(&self, buf: &mut [u8], mode: ReadMode) -> Result<usize, ReadError> {
        self.read_with(|pipe, now| pipe.read(now, buf, mode)).and_then(|r| r)
    }

    /// Reads one packet without copying it. Never waits.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_packet(&self) -> Result<PacketBuf, ReadError> {
        self.read_with(Pipeline::take_packet)
    }

    fn read_with<R>(&self, mut take: impl FnMut(&mut Pipeline, Instant) -> Option<R>) -> Result<R, ReadError> {
        if self.has(status::CLOSED | status::NO_READ) {
            return Err(if self.has(status::CLOSED) { ReadError::Closed } else { ReadError::WriteOnly });
        }
        let now = self.env.clock.now();
        let mut looked = false;
        loop {
            let mut out = Outgoing::new();
            {
                let mut inner = self.inner.lock();
                if let Some(r) = take(&mut inner.pipe, now) {
                    // Reading may have opened the window enough to tell the peer.
                    let done = inner.pipe.pump(now, &mut out);
                    if out.is_empty() {
                        return Ok(r);
                    }
                    let (port, next) = (inner.port.clone(), self.next_timeout(&inner));
                    drop(inner);
                    if let Some(port) = port {
                        self.transmit(now, &port, out, done);
                    }
                    self.arm(next);
                    return Ok(r);
                }
            }
            // A second look is enough: what arrives later wakes whoever waits.
            if looked || self.inbox_len.load(Ordering::Acquire) == 0 || !self.service(now) {
                break;
            }
            looked = true;
        }
        self.note_user(now);
        Err(if self.has(status::DOWN | status::RELEASED) {
            ReadError::Down
        } else if self.has(status::PEER_GONE) {
            ReadError::PeerGone
        } else {
            ReadError::WouldBlock
        })
    }

    /// Remembers to wake `waker` when reading may give another result than [`ReadError::WouldBlock`]. Look again
    /// after this call: what arrived before it wakes nobody.
    pub fn register_reader(&self, waker: &Waker) {
        self.readers.register(waker);
    }

    /// As [`register_reader`](Self::register_reader), for writing.
    pub fn register_writer(&self, waker: &Waker) {
        self.writers.register(waker);
    }

    /// Remembers to wake `waker` when the endpoint is done, [`State::Quiet`] or [`State::Released`]. Look again after this call.
    pub fn register_closer(&self, waker: &Waker) {
        self.closers.register(waker);
    }

    /// Whether a read would return something, or an error other than [`ReadError::WouldBlock`].
    pub fn is_readable(&self) -> bool {
        if self.inbox_len.load(Ordering::Acquire) > 0 {
            self.service(self.env.clock.now());
        }
        self.has(status::DOWN | status::PEER_GONE | status::CLOSED | status::RELEASED)
            || self.inner.lock().pipe.is_readable()
    }

    /// Whether packets wait that nobody has looked at yet. Costs next to nothing: for a thread that spins.
    pub fn has_arrivals(&self) -> bool {
        self.inbox_len.load(Ordering::Acquire) > 0
    }

    /// Whether a write would be taken, or refused with an error other than [`WriteError::WouldBlock`].
    pub fn is_writable(&self) -> bool {
        if self.has(status::DOWN | status::PEER_GONE | status::CLOSED | status::RELEASED) {
            return true;
        }
        let inner = self.inner.lock();
        inner.pipe.is_writable() && inner.port.as_ref().is_none_or(|p| !p.is_congested())
    }

    /// Sends what the port holds back to send in one go. Called before a thread waits.
    pub fn flush(&self) {
        let port = self.inner.lock().port.clone();
        if let Some(port) = port {
            port.flush(self.env.clock.now());
        }
    }

    /// The device that packets for this endpoint come from, for a thread that wants to wait on it.
    pub fn device(&self) -> Option<Arc<dyn Drive>> {
        self.inner.lock().port.as_ref().and_then(|p| p.device())
    }

    /// Ends the application's use. What was written to a reliable flow is delivered for up to `linger`, then the
    /// endpoint is released; anything else is released at once. Never waits.
    pub fn close(&self, linger: Duration) {
        let now = self.env.clock.now();
        let mut out = Outgoing::new();
        let (port, done, next) = {
            let mut inner = self.inner.lock();
            if self.set(status::CLOSED) & status::CLOSED != 0 {
                return;
            }
            inner.linger_until = now + linger;
            if let Some(frct) = &mut inner.pipe.frct {
                frct.finish(now);
            }
            let done = inner.pipe.pump(now, &mut out);
            (inner.port.clone(), done, self.next_timeout(&inner))
        };
        if let Some(port) = port {
            self.transmit(now, &port, out, done);
            port.flush(now);
        }
        self.arm(next);
        self.tell(Event::Deallocated);
        self.wake_all();
        self.release_if_done(now);
    }

    /// Ends the endpoint at once; what is on its way is lost.
    pub fn abort(&self) {
        let before = self.set(status::CLOSED);
        self.release(self.env.clock.now());
        if before & status::CLOSED == 0 {
            self.tell(Event::Deallocated);
        }
        self.wake_all();
    }

    /// Packets that were written to a reliable flow and never acknowledged. Final once [`State::Quiet`].
    pub fn lost(&self) -> usize {
        let inner = self.inner.lock();
        inner.lost.max(inner.pipe.tx_queue_len())
    }

    // ----- the layer's side -----

    /// Takes packets from below. What the inbox cannot hold is dropped and counted.
    pub fn receive(&self, now: Instant, pkts: impl IntoIterator<Item = PacketBuf>) {
        let limit = match () {
            () if self.has(status::RELEASED) => 0,
            () if self.has(status::ACTIVE) => INBOX_LIMIT,
            () => INBOX_PENDING,
        };
        let len = {
            let mut inbox = self.inbox.lock();
            for pkt in pkts {
                if inbox.len() < limit {
                    inbox.push_back(pkt);
                } else {
                    self.inbox_overflow.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.inbox_len.store(inbox.len(), Ordering::Release);
            inbox.len()
        };
        fence(Ordering::SeqCst);
        if len == 0 || !self.has(status::ACTIVE) {
            return;
        }
        if self.env.inline || self.watched.load(Ordering::Relaxed) {
            self.service(now);
        } else if len < INBOX_BUSY && (self.readers.any() || self.writers.any()) {
            self.tick();
            self.readers.wake();
            self.writers.wake();
        } else if len < INBOX_BUSY && self.expects_user(now) {
            self.tick();
        } else {
            self.service(now);
        }
    }

    /// Whether a sender that can wait should.
    pub fn is_busy(&self) -> bool {
        self.inbox_len.load(Ordering::Relaxed) >= INBOX_BUSY
    }

    /// The port has room again.
    pub fn notify_writable(&self) {
        if self.writers.any() {
            self.writers.wake();
        }
    }

    /// The layer below, or the other end, has given the flow up. What has arrived can still be read.
    pub fn mark_down(&self, event: Event) {
        let before = match event {
            Event::PeerGone => self.set(status::PEER_GONE),
            _ => self.set(status::DOWN),
        };
        if before & (status::DOWN | status::PEER_GONE) == 0 {
            self.tell(event);
        }
        self.wake_all();
        self.release_if_done(self.env.clock.now());
    }

    /// The layer below carries packets again after [`mark_down`](Self::mark_down).
    pub fn mark_up(&self) {
        if self.status.fetch_and(!status::DOWN, Ordering::AcqRel) & status::DOWN != 0 {
            self.tell(Event::Up);
            self.wake_all();
        }
    }

    // ----- the host's side -----

    /// Does what is due. The host calls it at the moment it was [armed](super::Host::arm) for.
    pub fn handle_timeout(&self, now: Instant) {
        self.armed.store(u64::MAX, Ordering::Release);
        let mut out = Outgoing::new();
        let (port, done, next, peer_gone, news) = {
            let mut inner = self.inner.lock();
            if !self.has(status::ACTIVE) || self.has(status::RELEASED) {
                return;
            }
            if self.inbox_len.load(Ordering::Relaxed) > 0 {
                // It is the application that is slow, not the peer that is silent.
                inner.pipe.note_heard(now);
            }
            let heard = inner.pipe.handle_timeout(now, &mut out);
            let peer_gone = !heard && !self.has(status::PEER_GONE);
            if peer_gone {
                self.set(status::PEER_GONE);
            }
            let done = inner.pipe.pump(now, &mut out);
            if self.inbox_len.load(Ordering::Relaxed) == 0 && inner.pipe.tx_queue_len() == 0 {
                inner.pipe.relax();
            }
            (inner.port.clone(), done, self.next_timeout(&inner), peer_gone, self.news(&inner))
        };
        if let Some(port) = port {
            self.transmit(now, &port, out, done);
            port.flush(now);
        }
        self.arm(next);
        if peer_gone {
            self.tell(Event::PeerGone);
            self.wake_all();
        }
        self.publish(news);
        self.release_if_done(now);
    }

    /// Services what a reader did not come for, and sends what was held back.
    pub fn handle_tick(&self, now: Instant) {
        self.ticking.store(false, Ordering::Release);
        if self.inbox_len.load(Ordering::Acquire) > 0 {
            self.service(now);
        }
        let port = self.inner.lock().port.clone();
        if let Some(port) = port {
            port.flush(now);
        }
    }

    /// Asks the host for a [`handle_tick`](Self::handle_tick).
    pub fn tick(&self) {
        if !self.ticking.load(Ordering::Relaxed) && !self.ticking.swap(true, Ordering::AcqRel) {
            self.env.host.tick(self.key);
        }
    }

    // ----- looking -----

    /// The number by which the host knows this endpoint.
    pub fn key(&self) -> FlowKey {
        self.key
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        let s = self.status.load(Ordering::Acquire);
        match s {
            _ if s & status::RELEASED != 0 => State::Released,
            _ if s & status::DONE != 0 => State::Quiet,
            _ if s & status::CLOSED != 0 => State::Lingering,
            _ if s & status::ACTIVE != 0 => State::Active,
            _ => State::Pending,
        }
    }

    /// Whether the flow is down.
    pub fn is_down(&self) -> bool {
        self.has(status::DOWN | status::RELEASED)
    }

    /// Whether the peer has been silent for the flow's timeout.
    pub fn is_peer_gone(&self) -> bool {
        self.has(status::PEER_GONE)
    }

    /// Forbids or allows reading and writing.
    pub fn set_access(&self, read: bool, write: bool) {
        let bits = if read { 0 } else { status::NO_READ } | if write { 0 } else { status::NO_WRITE };
        self.status.fetch_and(!(status::NO_READ | status::NO_WRITE), Ordering::AcqRel);
        self.set(bits);
        self.wake_all();
    }

    /// The flow's quality of service.
    pub fn qos(&self) -> QosSpec {
        self.inner.lock().pipe.qos
    }

    /// Whether packets are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.inner.lock().pipe.is_encrypted()
    }

    /// The largest packet of user data that can be written, bytes.
    pub fn max_packet(&self) -> usize {
        let inner = self.inner.lock();
        inner.port.as_ref().map_or(0, |p| p.mtu().saturating_sub(inner.pipe.overhead()))
    }

    /// Packets that wait to be read, and packets written that the peer has not acknowledged.
    pub fn queue_lengths(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (self.inbox_len.load(Ordering::Relaxed) + inner.pipe.rx_queue_len(), inner.pipe.tx_queue_len())
    }

    /// What has been counted.
    pub fn counters(&self) -> Counters {
        let mut c = self.inner.lock().pipe.counters;
        c.overflow += self.inbox_overflow.load(Ordering::Relaxed);
        c
    }

    /// What FRCT has counted, on flows that have it.
    pub fn frct_stats(&self) -> Option<crate::frct::Stats> {
        self.inner.lock().pipe.frct.as_ref().map(|f| f.stats().clone())
    }

    /// Tells `watcher` of the events of this flow from now on, instead of an earlier one, and at once if there is
    /// something to read. Packets are then serviced as they arrive, because only then is it known whether there is data
    /// for the application.
    pub fn watch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let before = self.watcher.lock().replace((Arc::clone(watcher), token));
        self.watched.store(true, Ordering::SeqCst);
        drop(before);
        if self.has(status::CLOSED) {
            self.tell(Event::Deallocated);
        }
        if self.has(status::DOWN) {
            self.tell(Event::Down);
        }
        if self.has(status::PEER_GONE) {
            self.tell(Event::PeerGone);
        }
        if self.has(status::ACTIVE) && !self.has(status::CLOSED) && self.is_readable() {
            self.tell(Event::Packet);
        }
    }

    /// Tells `watcher` nothing any more, unless it is another one's turn already.
    pub fn unwatch(&self, watcher: &Arc<dyn Watcher>, token: u64) {
        let mut slot = self.watcher.lock();
        let ours = |(w, t): &(Arc<dyn Watcher>, u64)| *t == token && Arc::ptr_eq(w, watcher);
        let before = if slot.as_ref().is_some_and(ours) { slot.take() } else { None };
        self.watched.store(slot.is_some(), Ordering::SeqCst);
        drop(slot);
        drop(before);
    }

    // ----- the work -----

    /// Takes what is in the inbox through the pipeline, sends the answers and tells the waiters. Returns `false`,
    /// having done nothing, if that is being done already, by another thread or further up this call chain.
    ///
    /// However fast packets arrive meanwhile, it ends: what is left after an inbox full waits for the next tick, or
    /// for a reader.
    fn service(&self, now: Instant) -> bool {
        if !self.has(status::ACTIVE) || self.servicing.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut bursts = 0;
        loop {
            bursts += 1;
            if self.service_burst(now) && bursts < SERVICE_BURSTS {
                continue;
            }
            self.servicing.store(false, Ordering::Release);
            fence(Ordering::SeqCst);
            // What was queued, or made room for, between the look and the store would otherwise be nobody's.
            if !self.has_work() {
                break;
            }
            if bursts >= SERVICE_BURSTS {
                self.tick();
                break;
            }
            if self.servicing.swap(true, Ordering::AcqRel) {
                break;
            }
        }
        true
    }

    /// Whether there is something in the inbox, and room for it above.
    fn has_work(&self) -> bool {
        self.inbox_len.load(Ordering::Acquire) > 0 && self.inner.lock().pipe.room() > 0
    }

    /// One burst; `true` if there is more to take. What the application's queue has no room for stays in the inbox,
    /// where it keeps senders that can wait from sending more.
    fn service_burst(&self, now: Instant) -> bool {
        let mut out = Outgoing::new();
        let (port, done, next, news, more) = {
            let mut inner = self.inner.lock();
            let pipe = &mut inner.pipe;
            let (n, left) = {
                let mut inbox = self.inbox.lock();
                let n = inbox.len().min(SERVICE_BURST).min(pipe.room());
                pipe.work.extend(inbox.drain(..n));
                self.inbox_len.store(inbox.len(), Ordering::Release);
                (n, inbox.len())
            };
            while let Some(pkt) = pipe.work.pop_front() {
                pipe.receive(now, pkt);
            }
            let done = pipe.pump(now, &mut out);
            (inner.port.clone(), done, self.next_timeout(&inner), self.news(&inner), n > 0 && left > 0)
        };
        if let Some(port) = port {
            self.transmit(now, &port, out, done);
            port.drained();
        }
        self.arm(next);
        self.publish(news);
        self.release_if_done(now);
        more
    }

    /// Sends `out`, and whatever else there is if `done` says that this was not all.
    fn transmit(&self, now: Instant, port: &Arc<dyn Port>, mut out: Outgoing, mut done: bool) {
        loop {
            if !out.is_empty() {
                port.send(now, &mut out);
            }
            if done {
                return;
            }
            out.clear();
            done = self.inner.lock().pipe.pump(now, &mut out);
        }
    }

    fn news(&self, inner: &Inner) -> News {
        let waiting = self.readers.any() || self.watched.load(Ordering::Relaxed);
        News {
            readable: waiting && inner.pipe.is_readable(),
            writable: self.writers.any() && inner.pipe.is_writable(),
            went_down: inner.pipe.frct.as_ref().is_some_and(|f| f.is_down()) && !self.has(status::DOWN),
        }
    }

    fn publish(&self, news: News) {
        if news.readable {
            self.readers.wake();
            self.tell(Event::Packet);
        }
        if news.writable {
            self.writers.wake();
            self.tell(Event::Writable);
        }
        if news.went_down {
            self.mark_down(Event::Down);
        }
    }

    fn wake_all(&self) {
        let mut wakers = Wakers::new();
        self.readers.take(&mut wakers);
        self.writers.take(&mut wakers);
        self.closers.take(&mut wakers);
        for w in wakers {
            w.wake();
        }
    }

    fn tell(&self, event: Event) {
        if !self.watched.load(Ordering::Acquire) {
            return;
        }
        let watcher = self.watcher.lock().clone();
        if let Some((watcher, token)) = watcher {
            watcher.notify(token, event);
        }
    }

    /// Releases a closed endpoint that has nothing left to deliver, or no time left to do it.
    fn release_if_done(&self, now: Instant) {
        if !self.has(status::CLOSED) || self.has(status::RELEASED) {
            return;
        }
        let (release, next) = {
            let mut inner = self.inner.lock();
            let over = now >= inner.linger_until || self.has(status::DOWN | status::PEER_GONE);
            let drained = inner.pipe.frct.as_ref().is_none_or(|f| f.is_drained());
            if !over && (!drained || self.has(status::DONE)) {
                return;
            }
            let quiet =
                !over && inner.pipe.has_received_reliably() && inner.port.as_ref().is_some_and(|p| p.is_lossy());
            if quiet {
                inner.linger_until = now + QUIET;
                self.set(status::DONE);
            }
            (!quiet, self.next_timeout(&inner))
        };
        if release {
            self.release(now);
        } else {
            self.arm(next);
            self.closers.wake();
        }
    }

    fn release(&self, now: Instant) {
        let port = {
            let mut inner = self.inner.lock();
            if self.set(status::RELEASED) & status::RELEASED != 0 {
                return;
            }
            inner.lost = inner.pipe.tx_queue_len();
            inner.pipe.frct = None;
            inner.pipe.work.clear();
            inner.pipe.relax();
            inner.port.take()
        };
        self.inbox.lock().clear();
        self.inbox_len.store(0, Ordering::Release);
        if let Some(port) = port {
            port.flush(now);
            port.release(now);
        }
        self.env.host.released(self.key);
        self.wake_all();
    }

    // ----- small things -----

    fn has(&self, bits: u32) -> bool {
        self.status.load(Ordering::Acquire) & bits != 0
    }

    /// Sets bits and returns what was set before.
    fn set(&self, bits: u32) -> u32 {
        self.status.fetch_or(bits, Ordering::AcqRel)
    }

    fn check_writable(&self) -> Result<(), WriteError> {
        let s = self.status.load(Ordering::Acquire);
        if s & (status::CLOSED | status::DOWN | status::PEER_GONE | status::NO_WRITE | status::RELEASED) == 0 {
            return Ok(());
        }
        Err(match s {
            _ if s & status::CLOSED != 0 => WriteError::Closed,
            _ if s & (status::DOWN | status::RELEASED) != 0 => WriteError::Down,
            _ if s & status::PEER_GONE != 0 => WriteError::PeerGone,
            _ => WriteError::ReadOnly,
        })
    }

    fn note_user(&self, now: Instant) {
        let (last, now) = (self.last_used.load(Ordering::Relaxed), now.as_nanos());
        if now.saturating_sub(last) > USER_EXPECTED.as_nanos() as u64 / 8 {
            self.last_used.store(now, Ordering::Relaxed);
        }
    }

    fn expects_user(&self, now: Instant) -> bool {
        let last = self.last_used.load(Ordering::Relaxed);
        last != 0 && now.as_nanos().saturating_sub(last) < USER_EXPECTED.as_nanos() as u64
    }

    fn next_timeout(&self, inner: &Inner) -> Option<Instant> {
        let next = inner.pipe.next_timeout(self.has(status::PEER_GONE));
        if inner.linger_until == Instant::FAR_FUTURE {
            return next;
        }
        Some(next.map_or(inner.linger_until, |n| n.min(inner.linger_until)))
    }

    fn rearm(&self) {
        let next = self.next_timeout(&self.inner.lock());
        self.arm(next);
    }

    fn arm(&self, next: Option<Instant>) {
        let Some(at) = next else { return };
        // Entries are only ever moved forward: one that fires too early costs less than moving it per packet.
        let nanos = at.as_nanos();
        if nanos < self.armed.load(Ordering::Relaxed) && nanos < self.armed.fetch_min(nanos, Ordering::AcqRel) {
            self.env.host.arm(at, self.key);
        }
    }
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endpoint").field("key", &self.key).field("state", &self.state()).finish_non_exhaustive()
    }
}
