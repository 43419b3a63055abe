//! The endpoint: the pipeline with its locks, queues and waiters.

mod layer;
mod look;
mod n1;
mod user;
mod work;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering, fence};
use core::time::Duration;

use super::pipeline::{Params, Pipeline};
use super::wait::WaitSet;
use super::{Env, FlowKey, Port, Sink, Watcher, WriteError};
use crate::base::buf::PacketBuf;
use crate::base::sync::{AtomicU64, Mutex};
use crate::base::time::Instant;

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
    pub(super) const ENDED: u32 = 256;
}

/// One end of a flow. See the [module's documentation](super) for how packets pass through it.
pub struct Endpoint {
    key: FlowKey,
    env: Arc<Env>,
    inner: Mutex<Inner>,
    inbox: Mutex<VecDeque<PacketBuf>>,
    inbox_len: AtomicUsize,
    inbox_overflow: AtomicU64,
    /// When packets last arrived, in nanoseconds.
    delivered: AtomicU64,
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
    /// The IPCP that uses the flow, and under which token.
    sink: Option<(Arc<dyn Sink>, u64)>,
    /// Memory for packets on their way to the sink.
    delivery: VecDeque<PacketBuf>,
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
                sink: None,
                delivery: VecDeque::new(),
            }),
            inbox: Mutex::new(VecDeque::new()),
            inbox_len: AtomicUsize::new(0),
            inbox_overflow: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
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
